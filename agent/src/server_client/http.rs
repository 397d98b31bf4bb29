//! The HTTP client: reqwest over rustls, with the system's root certificates.

use crate::observer::TransportFailure;
use reqwest::{Certificate, Client, Method, RequestBuilder, Url, redirect};
use std::error::Error as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Limit for establishing a connection, TLS included.
    pub connect_timeout: Duration,
    /// Limit for silence on an established connection.
    pub read_timeout: Duration,
    /// Which certificates to trust; none of them are read for plain HTTP.
    pub tls: Option<TlsRoots>,
    /// Local address to connect from; none: the system chooses.
    pub local_address: Option<IpAddr>,
    /// Whether connections are kept for the next request.
    pub keep_alive: bool,
    /// Whether `http_proxy`, `https_proxy` and `no_proxy` count.
    pub proxies: bool,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsRoots {
    /// A PEM file of certificates to trust beside the system's.
    pub additional: Option<PathBuf>,
}

/// An HTTP client that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The additional certificates are unusable.
    #[error("cannot read certificates from [server] ca-file {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The library refused.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
}

/// An HTTP client that many agents may share; cloning is cheap.
#[derive(Debug, Clone)]
pub struct HttpClient(Client);

impl HttpClient {
    /// Makes a client. Header names are lower-case on the wire, redirects are not followed: a signed request is meant
    /// for one server.
    pub fn new(options: &HttpOptions) -> Result<Self, HttpError> {
        // Fails only where the program has installed a provider already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = options.tls.as_ref().map_or(Ok(Vec::new()), certificates)?;
        let mut builder = Client::builder()
            .user_agent(concat!("oco-agent/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .tls_certs_only(roots)
            .local_address(options.local_address);
        if !options.keep_alive {
            builder = builder.pool_max_idle_per_host(0);
        }
        if !options.proxies {
            builder = builder.no_proxy();
        }
        builder.build().map(Self).map_err(HttpError::Setup)
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.0.request(method, url)
    }
}

/// The system's root certificates and the additional ones. System certificates that cannot be read are left out: other
/// programs live with them too.
fn certificates(roots: &TlsRoots) -> Result<Vec<Certificate>, HttpError> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a system certificate cannot be read");
    }
    let mut certificates: Vec<_> = system
        .certs
        .iter()
        .filter_map(|certificate| Certificate::from_der(certificate).ok())
        .collect();
    if let Some(path) = &roots.additional {
        let wrong = |reason: String| HttpError::CaFile {
            path: path.clone(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let additional = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
        if additional.is_empty() {
            return Err(wrong("there is no PEM certificate in it".into()));
        }
        certificates.extend(additional);
    }
    Ok(certificates)
}

/// Puts an error of the library into one word.
pub(super) fn classify(error: &reqwest::Error) -> TransportFailure {
    let mut source = error.source();
    let mut io_kind = None;
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            io_kind = Some(io.kind());
        }
        source = cause.source();
    }
    match io_kind {
        _ if error.is_timeout() => TransportFailure::Timeout,
        _ if error.is_connect() => TransportFailure::Connect,
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => TransportFailure::Reset,
        Some(std::io::ErrorKind::UnexpectedEof) => TransportFailure::Incomplete,
        _ if error.is_body() || error.is_decode() => TransportFailure::Incomplete,
        _ => TransportFailure::Other,
    }
}
