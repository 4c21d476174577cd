//! TLS: Mozilla's roots are built in, and the certificates of `CA_CERT`, in all forms that fit into a variable of one line, are
//! trusted beside them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::console::log::quote;

/// With or without padding, as people paste it.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The shortest certificates are longer as base64, and paths are shorter.
const SHORTEST: usize = 256;

/// X.509 certificates to trust beside the built-in roots.
#[derive(Clone, Debug)]
pub(crate) struct CaCert(Vec<CertificateDer<'static>>);

/// The problem with `CA_CERT`, as the sentence that follows its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCaCert {
    #[error(
        "contains no certificate: write PEM text (`-----BEGIN CERTIFICATE-----` …), its base64, or the path of a PEM file"
    )]
    NoCertificate,
    #[error(
        "contains a private key and no certificate: write the certificate, and replace the key if others could read it"
    )]
    PrivateKey,
    #[error("contains `{0}` and no certificate: write the certificate (`-----BEGIN CERTIFICATE-----` …)")]
    OtherPem(String),
    #[error("certificate {0} is incomplete: `-----END CERTIFICATE-----` is missing")]
    Incomplete(usize),
    #[error("certificate {0} is damaged: the text between its BEGIN and END lines is not base64")]
    NotBase64(usize),
    #[error("certificate {0} is damaged: it is not an X.509 certificate")]
    NotX509(usize),
}

impl CaCert {
    /// True if a variable's value is certificates rather than the path of a file with them.
    pub(crate) fn is_inline(value: &str) -> bool {
        value.contains("-----BEGIN") || value.len() >= SHORTEST
    }

    /// Reads PEM text, also with spaces or `\n` for its line breaks; the base64 of that; or DER and its base64.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, InvalidCaCert> {
        let decoded = unwrap_base64(text);
        let text = decoded.as_deref().unwrap_or(text);
        let certificates = if is_der(text) {
            vec![CertificateDer::from(text.to_vec())]
        } else {
            of_pem(&String::from_utf8_lossy(text))?
        };
        let is_x509 = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
        match certificates.iter().position(|certificate| !is_x509(certificate)) {
            Some(index) => Err(InvalidCaCert::NotX509(index + 1)),
            None => Ok(Self(certificates)),
        }
    }
}

/// The start of a DER sequence whose length takes two bytes.
fn is_der(text: &[u8]) -> bool {
    text.starts_with(&[0x30, 0x82])
}

fn unwrap_base64(text: &[u8]) -> Option<Vec<u8>> {
    let decoded = BASE64.decode(without_line_breaks(std::str::from_utf8(text).ok()?)).ok()?;
    let is_pem = String::from_utf8_lossy(&decoded).contains("-----BEGIN");
    (is_pem || is_der(&decoded)).then_some(decoded)
}

/// Without line breaks, be they the characters or the letters `\n`.
fn without_line_breaks(text: &str) -> String {
    text.replace("\\r", "").replace("\\n", "").split_ascii_whitespace().collect()
}

fn of_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, InvalidCaCert> {
    let mut certificates = Vec::new();
    let mut other = None;
    for block in text.split("-----BEGIN ").skip(1) {
        let number = certificates.len() + 1;
        let (label, rest) = block.split_once("-----").ok_or(InvalidCaCert::Incomplete(number))?;
        if label != "CERTIFICATE" && label != "X509 CERTIFICATE" {
            other.get_or_insert(label);
            continue;
        }
        let (body, _) = rest.split_once("-----END ").ok_or(InvalidCaCert::Incomplete(number))?;
        let der = BASE64.decode(without_line_breaks(body)).map_err(|_| InvalidCaCert::NotBase64(number))?;
        certificates.push(CertificateDer::from(der));
    }
    match other {
        _ if !certificates.is_empty() => Ok(certificates),
        None => Err(InvalidCaCert::NoCertificate),
        Some(label) if label.ends_with("PRIVATE KEY") => Err(InvalidCaCert::PrivateKey),
        Some(label) => Err(InvalidCaCert::OtherPem(quote(label))),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// An authority made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 36500`.
    const PEM: &str = include_str!("testdata/authority.pem");

    #[test]
    fn certificate_is_read_in_every_form_that_people_keep_it_in() {
        let base64 = BASE64.encode(PEM);
        let body: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
        let wrapped: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let expected = CaCert::parse(PEM.as_bytes()).unwrap().0;
        for form in [
            PEM.replace('\n', "\r\n"),
            PEM.replace('\n', " "),
            PEM.replace('\n', "\\n"),
            PEM.replace('\n', "\\r\\n"),
            PEM.replace('\n', ""),
            format!("subject=CN = authority\n{PEM}"),
            base64.trim_end_matches('=').to_owned(),
            wrapped.join("\n"),
            wrapped.join(" "),
            body,
            base64,
        ] {
            assert_eq!(CaCert::parse(form.as_bytes()).map(|read| read.0), Ok(expected.clone()), "{form}");
            assert!(CaCert::is_inline(&form), "{form}");
        }
        assert_eq!(CaCert::parse(&expected[0]).map(|read| read.0), Ok(expected.clone()));
        assert_eq!(CaCert::parse(format!("{PEM}{PEM}").as_bytes()).unwrap().0.len(), 2);
        for path in ["ca.pem", "/etc/ssl/certs/ca.pem", &"directory/".repeat(20)] {
            assert!(!CaCert::is_inline(path), "{path}");
        }
    }

    #[test]
    fn what_is_wrong_is_reported_in_one_line() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        let (cut, _) = PEM.split_at(PEM.len() / 2);
        let damaged = PEM.replacen('M', "%", 1);
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----";
        let errors = ["", "no certificate", key, cut, &format!("{PEM}{cut}"), &damaged, other, request]
            .map(|text| CaCert::parse(text.as_bytes()).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"), @"
        contains no certificate: write PEM text (`-----BEGIN CERTIFICATE-----` …), its base64, or the path of a PEM file
        contains no certificate: write PEM text (`-----BEGIN CERTIFICATE-----` …), its base64, or the path of a PEM file
        contains a private key and no certificate: write the certificate, and replace the key if others could read it
        certificate 1 is incomplete: `-----END CERTIFICATE-----` is missing
        certificate 2 is incomplete: `-----END CERTIFICATE-----` is missing
        certificate 1 is damaged: the text between its BEGIN and END lines is not base64
        certificate 1 is damaged: it is not an X.509 certificate
        contains `CERTIFICATE REQUEST` and no certificate: write the certificate (`-----BEGIN CERTIFICATE-----` …)
        ");
        // A key beside the certificate does no harm.
        assert!(CaCert::parse(format!("{key}{PEM}").as_bytes()).is_ok());
    }
}
