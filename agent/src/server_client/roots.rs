//! The system's root certificates.

use crate::host::{Os, system};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use std::path::Path;

/// Where Linux distributions have all roots in one file. Beside it they keep a folder with the same ones, each in a file
/// of its own, which takes longer to read than all the rest of a check-in.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// The environment's own places, which go first.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// All of them, with what could not be read.
pub(crate) fn load() -> CertificateResult {
    let named = VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
    let bundle = if named || system::OS != Os::Linux {
        None
    } else {
        from_bundle(&BUNDLES.map(Path::new))
    };
    bundle.unwrap_or_else(load_native_certs)
}

/// The roots in the first of these files that there is; none where there is none, or nothing in it.
fn from_bundle(bundles: &[&Path]) -> Option<CertificateResult> {
    let bundle = bundles.iter().find(|path| path.is_file())?;
    Some(load_certs_from_paths(Some(bundle), None)).filter(|found| !found.certs.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "-----BEGIN CERTIFICATE-----\nMAMB\n-----END CERTIFICATE-----\n";

    #[test]
    fn the_first_bundle_counts_and_one_without_certificates_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("two"), ROOT.to_owned() + &ROOT.replace("MAMB", "MAMC")).unwrap();
        std::fs::write(path("one"), ROOT).unwrap();
        std::fs::write(path("empty"), "# none\n").unwrap();
        let count = |names: [&str; 2]| {
            let paths = names.map(path);
            let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
            from_bundle(&paths).map(|found| found.certs.len())
        };
        assert_eq!(count(["missing", "two"]), Some(2));
        assert_eq!(count(["one", "two"]), Some(1));
        assert_eq!(count(["empty", "two"]), None);
        assert_eq!(count(["missing", "missing"]), None);
    }
}
