//! The server's certificate: of files, or by a certificate authority of its own that nobody else trusts.

use crate::config::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

const CA_CERTIFICATE: &str = "oco-mock-server-ca.pem";
const CA_KEY: &str = "oco-mock-server-ca.key";
const CA_NAME: &str = "oco-mock-server throw-away CA";
/// Names that the certificate always has.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of it.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be made.
    #[error("cannot make a certificate for {names:?}")]
    Make {
        /// What it is for.
        names: Vec<String>,
        /// Why not.
        source: rcgen::Error,
    },
    /// Key and certificate are of no use together.
    #[error("cannot use the certificate and its key")]
    Use(#[source] rustls::Error),
}

/// What connections are accepted with.
pub(crate) struct Loaded {
    pub(crate) acceptor: TlsAcceptor,
    /// Where the certificate is that clients have to trust.
    pub(crate) ca: Option<PathBuf>,
}

/// Reads or makes the certificate.
pub(crate) fn load(tls: &Tls) -> Result<Loaded, TlsError> {
    let (chain, key, ca) = match tls {
        Tls::Files { certificate, key } => (read_chain(certificate)?, read_key(key)?, None),
        Tls::OwnAuthority { folder, names } => own_authority(folder, names)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Use)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Use)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        ca,
    })
}

type Identity = (
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
    Option<PathBuf>,
);

/// A new certificate, signed by the authority in `folder`, which is made where there is none.
fn own_authority(folder: &Path, names: &[String]) -> Result<Identity, TlsError> {
    let mut all: Vec<String> = NAMES.map(str::to_owned).to_vec();
    all.extend(names.iter().cloned());
    let make = |source| TlsError::Make {
        names: all.clone(),
        source,
    };
    let (ca_file, key_file) = (folder.join(CA_CERTIFICATE), folder.join(CA_KEY));
    let ca_key = match std::fs::read_to_string(&key_file) {
        Ok(text) => KeyPair::from_pem(&text).map_err(file("use", &key_file))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => KeyPair::generate().map_err(make)?,
        Err(error) => return Err(file("read", &key_file)(error)),
    };
    let params = authority().map_err(make)?;
    if !(ca_file.exists() && key_file.exists()) {
        let certificate = params.self_signed(&ca_key).map_err(make)?;
        std::fs::create_dir_all(folder).map_err(file("make the folder", folder))?;
        write_private(&key_file, &ca_key.serialize_pem()).map_err(file("write", &key_file))?;
        std::fs::write(&ca_file, certificate.pem()).map_err(file("write", &ca_file))?;
    }
    let key = KeyPair::generate().map_err(make)?;
    let mut leaf = CertificateParams::new(all.clone()).map_err(make)?;
    leaf.distinguished_name
        .push(DnType::CommonName, "oco-mock-server");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &Issuer::new(params, ca_key)).map_err(make)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|message| file("use", &key_file)(std::io::Error::other(message)))?;
    Ok((vec![certificate.der().clone()], key, Some(ca_file)))
}

/// The authority, but for its key: always the same, so that certificates fit the file made at the first start.
fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(file("read", path))?;
    let chain: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .map_err(file("read", path))?;
    if chain.is_empty() {
        return Err(file("find a PEM certificate in", path)(std::io::Error::from(
            std::io::ErrorKind::InvalidData,
        )));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(file("read the key", path))
}

fn file<E: std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::File {
        operation,
        path,
        source: source.into(),
    }
}

/// Writes a file for its owner only.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::OwnAuthority {
            folder: folder.path().join("data"),
            names: vec!["oco.example".into(), "192.0.2.1".into()],
        };
        let path = load(&tls).unwrap().ca.unwrap();
        let first = std::fs::read(&path).unwrap();
        load(&tls).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let key = std::fs::metadata(path.with_file_name(CA_KEY)).unwrap();
            assert_eq!(key.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn files_that_are_of_no_use_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let tls = Tls::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let error = |tls| load(tls).err().unwrap().to_string();
        assert!(error(&tls).contains("c.pem"));
        std::fs::write(&certificate, "nothing").unwrap();
        assert!(
            error(&tls).contains("find a PEM certificate in"),
            "{}",
            error(&tls)
        );
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        assert!(error(&tls).contains("k.pem"));
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        assert!(load(&tls).is_ok());
    }
}
