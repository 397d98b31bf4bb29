//! HTTP clients for everybody but the agents, who bring their own.

use reqwest::Url;
use std::path::Path;
use std::time::Duration;

/// Certificates that cannot be trusted, or no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file.
    #[error("cannot read certificates from {path}")]
    Certificates {
        /// Which file.
        path: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The library refused.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
}

/// A client for `server` that trusts the system's certificates and those of the PEM file `ca`, and gives up after `limit`.
pub(crate) fn client(
    server: &Url,
    ca: Option<&Path>,
    limit: Duration,
) -> Result<reqwest::Client, ClientError> {
    // Fails only where the program has installed a provider already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().no_proxy().timeout(limit);
    if server.scheme() != "https" {
        // In a container there may be no certificates, without which the library makes no client that trusts the system's.
        return builder.tls_certs_only([]).build().map_err(ClientError::Setup);
    }
    if let Some(path) = ca {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Certificates {
            path: path.display().to_string(),
            source,
        };
        let pem = std::fs::read(path).map_err(|error| failed(error.into()))?;
        let certificates =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.into()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(ClientError::Setup)
}
