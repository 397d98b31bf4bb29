//! The server's certificate: whether this computer trusts it, through whom, and for how long.

use super::Item;
use crate::config::Config;
use crate::server_client::roots;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CERTIFICATE: &str = "certificate";

/// A certificate that ends sooner is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// The end of the year 9999, s since 1970: certificates that never end say so.
const NEVER: u64 = 253_402_300_799;

/// Whom this computer trusts.
pub(super) struct Trust {
    system: Vec<CertificateDer<'static>>,
    /// In the file that the configuration names.
    additional: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Reads the certificates as the agent's client does. A file that is unusable has failed with that already.
    pub(super) fn load(config: &Config) -> Self {
        let additional = config
            .ca_file
            .as_ref()
            .and_then(|path| CertificateDer::pem_file_iter(path).ok())
            .into_iter()
            .flatten();
        Self {
            system: roots::load().certs,
            additional: additional.filter_map(Result::ok).collect(),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        }
    }

    /// In words.
    fn shown(&self) -> String {
        let system = format!("{} of the system", self.system.len());
        match self.additional.len() {
            0 => system,
            count => format!("{system} and {count} of [server] ca-file"),
        }
    }

    /// None where there is nobody to trust.
    fn verifier<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Option<Arc<WebPkiServerVerifier>> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.into_iter().cloned());
        WebPkiServerVerifier::builder_with_provider(store.into(), self.provider.clone())
            .build()
            .ok()
    }

    fn whole(&self) -> Option<Arc<WebPkiServerVerifier>> {
        self.verifier(self.system.iter().chain(&self.additional))
    }
}

/// Shakes hands over `stream` and says what came of it. `now` is what this computer takes for the present.
pub(super) async fn check(
    trust: &Trust,
    stream: TcpStream,
    host: &str,
    limit: Duration,
    now: UnixTime,
) -> Item {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return Item::fail(
            CERTIFICATE,
            format!("{host} is no name that a certificate can have"),
            "correct [server] api-url",
        );
    };
    let witness = Arc::new(Witness {
        verifier: trust.whole(),
        now,
        provider: trust.provider.clone(),
        chain: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(trust.provider.clone())
        .with_safe_default_protocol_versions()
        .map(|builder| {
            let builder = builder
                .dangerous()
                .with_custom_certificate_verifier(witness.clone());
            let mut config = builder.with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            config
        });
    let config = match config {
        Ok(config) => Arc::new(config),
        Err(error) => return Item::fail(CERTIFICATE, error.to_string(), "this is a defect of the agent"),
    };
    let handshake = TlsConnector::from(config).connect(name.clone(), stream);
    match tokio::time::timeout(limit, handshake).await {
        Err(_) => Item::fail(
            CERTIFICATE,
            format!("no TLS handshake within {} s", limit.as_secs_f32()),
            "check that the port of [server] api-url is the one for https",
        ),
        Ok(Ok(stream)) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.map_or("TLS".to_owned(), |version| {
                format!("{version:?}").replace("TLSv1_", "TLS 1.")
            });
            trusted(trust, &witness.chain(), &name, &version, now)
        }
        Ok(Err(error)) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
            match cause {
                Some(Error::InvalidCertificate(cause)) => refused(trust, cause, host),
                Some(Error::InvalidMessage(_)) => Item::fail(
                    CERTIFICATE,
                    "what answers there does not speak TLS",
                    "check the port of [server] api-url, or use http:// if that is meant",
                ),
                _ => Item::fail(
                    CERTIFICATE,
                    format!("the TLS handshake failed: {error}"),
                    "check that the server speaks TLS 1.2 or 1.3, and what its log says",
                ),
            }
        }
    }
}

/// A chain that was accepted: through whom, and until when.
fn trusted(
    trust: &Trust,
    chain: &[CertificateDer<'static>],
    name: &ServerName<'_>,
    version: &str,
    now: UnixTime,
) -> Item {
    let through = |verifier: Option<Arc<WebPkiServerVerifier>>| {
        verifier.is_some_and(|verifier| verify(&verifier, chain, name, now).is_ok())
    };
    let roots = if through(trust.verifier(&trust.system)) {
        "the system's roots"
    } else {
        "[server] ca-file"
    };
    let finding = format!("{version}, trusted through {roots}");
    let Some(end) = trust
        .whole()
        .and_then(|verifier| valid_until(&verifier, chain, name))
    else {
        return Item::ok(CERTIFICATE, finding);
    };
    let left = Duration::from_secs(end.as_secs().saturating_sub(now.as_secs()));
    let finding = format!("{finding}, valid until {}", date(end));
    if left < SOON {
        let hint = format!(
            "renew the server's certificate: it ends in {} days",
            left.as_secs() / 86_400
        );
        Item::warn(CERTIFICATE, finding, hint)
    } else {
        Item::ok(CERTIFICATE, finding)
    }
}

/// Why a chain was not accepted, and what to do.
fn refused(trust: &Trust, error: &CertificateError, host: &str) -> Item {
    let clock = "renew the server's certificate; or set this computer's clock, if that is wrong";
    match error {
        CertificateError::UnknownIssuer => Item::fail(
            CERTIFICATE,
            format!(
                "it was issued by nobody whom this computer trusts ({})",
                trust.shown()
            ),
            "name the PEM file of its authority in [server] ca-file, or have the server send its intermediate certificates",
        ),
        CertificateError::BadSignature => Item::fail(
            CERTIFICATE,
            "its authority has the name of one that this computer trusts, but another key",
            "if the authority was set up anew, put its new certificate into [server] ca-file",
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let presented: Vec<_> = presented.iter().take(10).map(|name| printable(name)).collect();
            let names = if presented.is_empty() {
                "no name".to_owned()
            } else {
                presented.join(", ")
            };
            let finding = format!("it is not for {host}, but for {names}");
            Item::fail(
                CERTIFICATE,
                finding,
                "use a name in [server] api-url that the certificate is for",
            )
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            Item::fail(CERTIFICATE, format!("it ended on {}", date(*not_after)), clock)
        }
        CertificateError::NotValidYetContext { not_before, .. } => Item::fail(
            CERTIFICATE,
            format!("it begins on {} only", date(*not_before)),
            clock,
        ),
        other => Item::fail(
            CERTIFICATE,
            format!("it is not accepted: {other}"),
            "a certificate for a server is needed, issued by an authority and not by itself",
        ),
    }
}

/// Text of the other side for a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn date(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs())
        .ok()
        .and_then(|at| jiff::Timestamp::from_second(at).ok());
    at.map_or("a day out of all bounds".to_owned(), |at| {
        at.strftime("%Y-%m-%d").to_string()
    })
}

/// The last moment at which a chain is valid. A verifier is asked for one that no certificate reaches, and names the
/// moment where it fails, link by link: so nobody needs to parse certificates a second time.
fn valid_until(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'static>],
    name: &ServerName<'_>,
) -> Option<UnixTime> {
    let mut at = UnixTime::since_unix_epoch(Duration::from_secs(NEVER));
    for _ in 0..=chain.len() {
        match verify(verifier, chain, name, at) {
            Ok(_) => return Some(at),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                at = not_after;
            }
            Err(_) => return None,
        }
    }
    None
}

fn verify(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'static>],
    name: &ServerName<'_>,
    at: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    verifier.verify_server_cert(leaf, intermediates, name, &[], at)
}

/// Verifies as the agent's client does, and keeps the chain.
#[derive(Debug)]
struct Witness {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    now: UnixTime,
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl Witness {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        self.chain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&chain);
        let verifier = self.verifier.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        verify(verifier, &chain, server_name, self.now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
