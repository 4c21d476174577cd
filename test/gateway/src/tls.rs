//! The certificate authority that the gateway makes for itself, and certificates of which something may be wrong.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Which certificate the gateway shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// One for `localhost`, `127.0.0.1`, `::1` and the further names.
    #[default]
    Valid,
    /// One for `elsewhere.example.com`.
    WrongHost,
    /// One that ran out yesterday.
    Expired,
    /// One of an authority that `Gateway::ca_pem` does not give.
    UnknownAuthority,
}

/// A server's TLS, and the PEM text of the authority that a client is to trust.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) ca_pem: String,
}

impl Tls {
    /// Makes keys, authority and certificate.
    pub(crate) fn new(certificate: Certificate, host_names: &[String], http2: bool) -> Result<Self, rcgen::Error> {
        let authority = Authority::new("local-gateway authority")?;
        let stranger = Authority::new("unknown authority")?;
        let unknown = certificate == Certificate::UnknownAuthority;
        let signer = if unknown { &stranger } else { &authority };

        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        names.extend_from_slice(host_names);
        if certificate == Certificate::WrongHost {
            names = vec!["elsewhere.example.com".to_owned()];
        }
        let mut params = CertificateParams::new(names)?;
        let now = OffsetDateTime::now_utc();
        params.distinguished_name.push(DnType::CommonName, "local-gateway");
        params.not_before = now - Duration::days(30);
        params.not_after = now + Duration::days(if certificate == Certificate::Expired { -1 } else { 30 });
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &signer.issuer)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key));
        let mut config = config.map_err(|_: rustls::Error| rcgen::Error::CouldNotParseKeyPair)?;
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(Self { config: Arc::new(config), ca_pem: authority.pem })
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }
}
