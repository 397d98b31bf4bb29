//! The HTTP client: reqwest over rustls, with the system's root certificates.

use super::roots;
use crate::observer::TransportFailure;
use reqwest::{Certificate, Client, Method, RequestBuilder, Url, redirect};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
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
    let system = roots::load();
    for error in &system.errors {
        tracing::debug!(%error, "a system certificate cannot be read");
    }
    let mut certificates = usable(&system.certs);
    if let Some(path) = &roots.additional {
        let wrong = |reason: String| HttpError::CaFile {
            path: path.clone(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        certificates.extend(additional(&pem).map_err(wrong)?);
    }
    Ok(certificates)
}

/// The certificates that can be trusted.
fn usable(system: &[CertificateDer<'static>]) -> Vec<Certificate> {
    let usable = system.iter().filter_map(|certificate| {
        root(certificate)
            .inspect_err(|error| tracing::debug!(error, "a system certificate is left out"))
            .ok()
    });
    usable.collect()
}

/// All certificates of a PEM file, or what is wrong with it.
fn additional(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem).enumerate();
    let certificates = certificates.map(|(index, certificate)| {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| root(&certificate))
            .map_err(|reason| format!("certificate {}: {reason}", index + 1))
    });
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err("there is no PEM certificate in it".into());
    }
    Ok(certificates)
}

/// A certificate to trust. The library would refuse all of them for a damaged one, and say of none which it is.
fn root(certificate: &CertificateDer<'_>) -> Result<Certificate, String> {
    RootCertStore::empty()
        .add(certificate.clone().into_owned())
        .map_err(|error| error.to_string())?;
    Certificate::from_der(certificate).map_err(|error| error.to_string())
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

/// What TLS says is wrong, if that is why a request failed.
pub(super) fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref() {
            return Some(tls);
        }
        // An I/O error that is made of another error has the sources of that, but not itself, for its own.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        next = inner
            .map(|inner| inner as &(dyn std::error::Error + 'static))
            .or_else(|| cause.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PEM around three bytes that are no certificate.
    const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nMAMB\n-----END CERTIFICATE-----\n";

    fn options(ca_file: PathBuf) -> HttpOptions {
        HttpOptions {
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            tls: Some(TlsRoots {
                additional: Some(ca_file),
            }),
            local_address: None,
            keep_alive: false,
            proxies: false,
        }
    }

    #[test]
    fn a_damaged_certificate_of_the_ca_file_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for (content, reason) in [
            (BROKEN, "certificate 1: "),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "certificate 1: ",
            ),
            ("", "there is no PEM certificate in it"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = HttpClient::new(&options(path.clone())).unwrap_err().to_string();
            assert!(error.contains("ca.pem") && error.contains(reason), "{error}");
        }
        let error = HttpClient::new(&options(folder.path().join("missing.pem"))).unwrap_err();
        assert!(error.to_string().contains("missing.pem"), "{error}");
    }

    #[tokio::test]
    async fn what_tls_finds_wrong_is_found_in_an_error() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            stream
        };
        let client = HttpClient::new(&HttpOptions {
            tls: Some(TlsRoots::default()),
            ..options(PathBuf::new())
        });
        let request = client.unwrap().request(Method::GET, url.parse().unwrap());
        let (_stream, response) = tokio::join!(server, request.send());
        let error = response.unwrap_err();
        assert!(
            matches!(tls_error(&error), Some(rustls::Error::InvalidMessage(_))),
            "{error:?}"
        );
    }

    #[test]
    fn a_damaged_certificate_of_the_system_costs_itself_only() {
        let broken = CertificateDer::from(vec![0x30, 0x03, 0x01]);
        assert!(
            Client::builder()
                .tls_certs_only(usable(&[broken]))
                .build()
                .is_ok()
        );
    }
}
