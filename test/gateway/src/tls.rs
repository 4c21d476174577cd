//! The certificate authority of the gateway, and certificates that may be invalid.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::crypto::ring::{self, sign};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::builder::StartError;

/// How long a certificate is valid from now, and has been valid.
const LIFE: Duration = Duration::days(30);

/// The certificate of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// A certificate for `localhost`, `127.0.0.1`, `::1` and the additional names.
    #[default]
    Valid,
    /// A certificate for `elsewhere.example.com`.
    WrongHost,
    /// A certificate that expired yesterday.
    Expired,
    /// A certificate of an authority that is not in `Gateway::ca_pem`.
    UnknownAuthority,
    /// A self-signed certificate as created by `openssl req -x509`, marked as a CA. It is in `Gateway::ca_pem`.
    SelfSigned,
    /// The same for `elsewhere.example.com`.
    SelfSignedWrongHost,
    /// The same, expired yesterday.
    SelfSignedExpired,
    /// The same without a subject alternative name.
    SelfSignedNameless,
}

/// The TLS configuration of a server, and the certificate authority for clients in PEM format.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) ca_pem: String,
}

impl Tls {
    /// Creates keys, authority and certificate.
    pub(crate) fn new(certificate: Certificate, host_names: &[String], http2: bool) -> Result<Self, rcgen::Error> {
        let authority = CertificateAuthority::make("local-gateway authority")?;
        let stranger = CertificateAuthority::make("unknown authority")?;
        let unknown = certificate == Certificate::UnknownAuthority;
        let signer = if unknown { &stranger } else { &authority };

        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        names.extend_from_slice(host_names);
        let self_signed = matches!(
            certificate,
            Certificate::SelfSigned
                | Certificate::SelfSignedWrongHost
                | Certificate::SelfSignedExpired
                | Certificate::SelfSignedNameless
        );
        if certificate == Certificate::SelfSignedNameless {
            names.clear();
        }
        if matches!(certificate, Certificate::WrongHost | Certificate::SelfSignedWrongHost) {
            names = vec!["elsewhere.example.com".to_owned()];
        }
        let expired = matches!(certificate, Certificate::Expired | Certificate::SelfSignedExpired);
        let end = if expired { Duration::days(-1) } else { LIFE };
        let key = KeyPair::generate()?;
        let mut params = params(names, end)?;
        let leaf = if self_signed {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&key)?
        } else {
            params.signed_by(&key, &signer.issuer)?
        };

        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private(&key))
            });
        let mut config = config.map_err(not_a_key)?;
        config.alpn_protocols = protocols(http2);
        Ok(Self { config: Arc::new(config), ca_pem: if self_signed { leaf.pem() } else { authority.pem } })
    }
}

/// A certificate authority that is created for one run.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl CertificateAuthority {
    /// Creates the key and the certificate.
    ///
    /// # Errors
    ///
    /// The name is invalid in a certificate.
    pub fn new(name: &str) -> Result<Self, StartError> {
        Self::make(name).map_err(|error| StartError::Certificate(error.to_string()))
    }

    fn make(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The certificate in PEM format.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for a name, with a new key.
    ///
    /// # Errors
    ///
    /// The name is invalid in a certificate.
    pub fn issue(&self, name: &str) -> Result<Issued, StartError> {
        let made = || -> Result<Issued, rcgen::Error> {
            let key = KeyPair::generate()?;
            let certificate = params(vec![name.to_owned()], LIFE)?.signed_by(&key, &self.issuer)?;
            Ok(Issued {
                certificate_pem: certificate.pem(),
                certificate_der: certificate.der().to_vec(),
                key_pem: key.serialize_pem(),
                key_der: key.serialize_der(),
            })
        };
        made().map_err(|error| StartError::Certificate(error.to_string()))
    }

    /// A TLS configuration with a certificate for every name that a client asks for (SNI, RFC 6066 section 3), or
    /// `localhost`.
    pub(crate) fn for_any_name(self: Arc<Self>, http2: bool) -> Result<Arc<ServerConfig>, rcgen::Error> {
        let key = KeyPair::generate()?;
        let signing = sign::any_supported_type(&private(&key)).map_err(not_a_key)?;
        let resolver = AnyName { authority: self, key, signing, made: Mutex::default() };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(not_a_key)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = protocols(http2);
        Ok(Arc::new(config))
    }
}

/// The TLS configuration of a client that trusts this certificate authority and supports HTTP/1.1 and HTTP/2.
///
/// # Panics
///
/// The text is not a PEM certificate.
#[must_use]
pub fn client_config(ca_pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.expect("invalid PEM")).expect("invalid certificate");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols(true);
    config
}

/// A certificate and its P-256 key, each in PEM format and in DER (the key in PKCS #8).
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The certificate.
    pub certificate_der: Vec<u8>,
    /// The key.
    pub key_pem: String,
    /// The key.
    pub key_der: Vec<u8>,
}

/// Issues a certificate for each name on the first request.
struct AnyName {
    authority: Arc<CertificateAuthority>,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl fmt::Debug for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyName").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for AnyName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or("localhost").to_owned();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certified) = made.get(&name) {
            return Some(Arc::clone(certified));
        }
        let params = params(vec![name.clone()], LIFE).ok()?;
        let leaf = params.signed_by(&self.key, &self.authority.issuer).ok()?;
        let certified = Arc::new(CertifiedKey::new(vec![leaf.der().clone()], Arc::clone(&self.signing)));
        made.insert(name, Arc::clone(&certified));
        Some(certified)
    }
}

/// The parameters of a server certificate that expires this long from now.
fn params(names: Vec<String>, end: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let now = OffsetDateTime::now_utc();
    params.distinguished_name.push(DnType::CommonName, "local-gateway");
    params.not_before = now - LIFE;
    params.not_after = now + end;
    Ok(params)
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

fn protocols(http2: bool) -> Vec<Vec<u8>> {
    if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] }
}

fn not_a_key(_: rustls::Error) -> rcgen::Error {
    rcgen::Error::CouldNotParseKeyPair
}
