//! A certificate authority of the tests, and an HTTPS server with a certificate of it.

use super::scripted::{Captured, try_read_request};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An authority that nobody trusts by itself.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Until when a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Validity {
    /// For a long time.
    Long,
    /// For some days more.
    Days(u64),
    /// Not any more, since 2020-01-01.
    Expired,
    /// Not before 2090-01-01.
    NotYet,
}

impl Authority {
    /// A new one of this name.
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    fn server_config(&self, names: &[&str], validity: Validity) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        match validity {
            Validity::Long => {}
            Validity::Days(days) => {
                params.not_after = date_time_ymd(1970, 1, 1) + now() + Duration::from_secs(days * 86_400);
            }
            Validity::Expired => {
                params.not_before = date_time_ymd(2019, 1, 1);
                params.not_after = date_time_ymd(2020, 1, 1);
            }
            Validity::NotYet => params.not_before = date_time_ymd(2090, 1, 1),
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        // Installing it twice is no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// The time since 1970.
fn now() -> Duration {
    #[allow(clippy::disallowed_methods)] // the peer of a real agent needs the real time
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap()
}

/// A server with a certificate for `names`; each request is answered by the same function.
pub(crate) struct TlsServer {
    /// Port it listens on, at 127.0.0.1.
    pub(crate) port: u16,
}

impl TlsServer {
    /// Starts it on a free port.
    pub(crate) fn start(
        authority: &Authority,
        names: &[&str],
        validity: Validity,
        answer: impl Fn(&Captured) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let config = Arc::new(authority.server_config(names, validity));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                // A client that does not like the certificate says nothing more.
                if stream.conn.complete_io(&mut stream.sock).is_err() {
                    continue;
                }
                if let Some(request) = try_read_request(&mut stream) {
                    let _ = stream.write_all(&answer(&request));
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        Self { port }
    }
}
