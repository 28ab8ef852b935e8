//! HTTPS: a certificate and its key from PEM files, checked before a model is loaded.
//!
//! Clients choose HTTP/2 or HTTP/1.1 in the handshake (ALPN). On SIGHUP the files are read again: connections from then on
//! are shown the renewed certificate. One that cannot be used is logged, and the one of before stays.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use tokio::signal::unix::Signal;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

mod validity;

/// A certificate or key that cannot be used.
#[derive(Debug, Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    fn pem(path: &Path, what: &str, error: &pem::Error) -> Self {
        let reason = match error {
            pem::Error::Io(error) => error.to_string(),
            pem::Error::NoItemsFound => format!("holds no {what} in PEM"),
            error => format!("is no PEM file: {error}"),
        };
        Self::new(path, reason)
    }
}

/// The certificate that the server shows, and where it comes from.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    shown: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads a chain and its key.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else, a key of another certificate, a certificate that has expired.
    pub fn read(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            shown: RwLock::new(Arc::new(read(cert, key)?)),
        }))
    }

    /// What takes connections with it, as it is when they come.
    ///
    /// # Errors
    /// When the library has no version of TLS.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&self.cert, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Certificate::read`]; what was shown before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let renewed = Arc::new(read(&self.cert, &self.key)?);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// Reads the certificate again on each hangup, for ever.
pub async fn watch(certificate: Arc<Certificate>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match certificate.reload() {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => {
                tracing::error!(
                    "the certificate was not read again, the one of before stays: {error}"
                );
            }
        }
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::pem(cert, "certificate", &error))?;
    let Some(own) = chain.first() else {
        let error = pem::Error::NoItemsFound;
        return Err(TlsError::pem(cert, "certificate", &error));
    };
    let own = own.clone();
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TlsError::pem(key, "private key without a password", &error))?;
    let certified =
        CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| {
            match error {
                rustls::Error::InconsistentKeys(_) => {
                    let reason = format!("is not the key of the certificate in {}", cert.display());
                    TlsError::new(key, reason)
                }
                error => TlsError::new(cert, error.to_string()),
            }
        })?;
    check_expiry(cert, &own)?;
    Ok(certified)
}

/// rustls checks the certificates of others, not the one it shows.
fn check_expiry(path: &Path, own: &[u8]) -> Result<(), TlsError> {
    let end = validity::not_after(own).ok_or_else(|| {
        TlsError::new(
            path,
            "holds a certificate that does not say how long it is valid",
        )
    })?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    match i128::from(end.seconds) < i128::from(now) {
        true => Err(TlsError::new(
            path,
            format!(
                "the certificate expired on {}: clients would refuse it",
                end.date
            ),
        )),
        false => Ok(()),
    }
}
