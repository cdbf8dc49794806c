//! TLS to a remote engine: its own CA is trusted and no other.
//!
//! Docker's client and bollard add the system's roots to the engine's CA, so that any public CA could vouch for an
//! engine. Not here: when TLS is spoken (`endpoint`).

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Error;

/// Reads `ca.pem`, and `cert.pem` with `key.pem` where both are there.
///
/// # Errors
/// [`Error::Unusable`], naming the file.
pub(super) fn client_config(directory: &Path) -> Result<Arc<ClientConfig>, Error> {
    let ca = directory.join("ca.pem");
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&ca)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(&ca, &error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&ca, &"there is no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(directory, &error))?
        .with_root_certificates(roots);
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let config = if cert.exists() || key.exists() {
        let chain = certificates(&cert)?;
        let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, &error))?;
        builder
            .with_client_auth_cert(chain, secret)
            .map_err(|error| unusable(&cert, &error))?
    } else {
        builder.with_no_client_auth()
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unusable {
        message: format!("{}: {why}", path.display()),
        hint: Some("DOCKER_CERT_PATH names the directory of ca.pem, cert.pem and key.pem"),
    }
}
