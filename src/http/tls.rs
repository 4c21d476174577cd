//! TLS: Mozilla's roots are built in, and `CA_CERT` is trusted beside them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::ca_cert::CaCert;

/// `accept_any`: for `TLS_NO_VERIFY`.
pub(super) fn config(ca_cert: Option<&CaCert>, accept_any: bool) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = ca_cert.map(|ca_cert| ca_cert.0.clone()).unwrap_or_default();
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(own.iter().cloned());
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = chain.build().expect("the built-in roots are not empty, and there are no revocation lists");
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(CertificateVerifier { chain, own, accept_any }))
        .with_no_client_auth();
    // Set by hand: the library sets it only for configurations of its own.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// True if a server showed a CA's certificate as its own, as a self-signed one of `openssl req -x509` is.
pub(super) fn is_ca_used_as_server(error: &CertificateError) -> bool {
    // The type is webpki's, which is not public here.
    matches!(error, CertificateError::Other(error) if error.0.to_string() == "CaUsedAsEndEntity")
}

/// No certificate of `CA_CERT` issued the server's.
#[derive(Debug, thiserror::Error)]
#[error("not issued by CA_CERT")]
struct NotIssuedByCaCert;

pub(super) fn is_not_issued_by_ca_cert(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(error) if error.0.is::<NotIssuedByCaCert>())
}

/// Verifies a server's certificate by its chain, or because it is itself in `CA_CERT`.
#[derive(Debug)]
struct CertificateVerifier {
    chain: Arc<WebPkiServerVerifier>,
    /// The certificates of `CA_CERT`.
    own: Vec<CertificateDer<'static>>,
    /// True if any certificate is accepted; the server must still prove that it has the key.
    accept_any: bool,
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.accept_any {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match &verified {
            // webpki looks at the dates before it looks at the kind of certificate, and at the name last.
            Err(Error::InvalidCertificate(error)) if is_ca_used_as_server(error) && self.own.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            // A CA that was renewed has its old name and a new key, so that the signature does not match.
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
                if !self.own.is_empty() =>
            {
                Err(CertificateError::Other(OtherError(Arc::new(NotIssuedByCaCert))).into())
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
