//! `CA_CERT`: which gateway certificates it makes valid, and the forms that it is read in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_gateway::{Certificate, Gateway};

use crate::support::{GUIDE_STACK, Pipe, deploy_once as deploy, first_error, permissive, start};

fn gateways(certificate: Certificate) -> [Gateway; 2] {
    [permissive().certificate(certificate), permissive().certificate(certificate).http1_only()].map(start)
}

#[test]
fn self_signed_certificate_in_ca_cert_is_accepted() {
    for gateway in gateways(Certificate::SelfSigned) {
        let pem = gateway.ca_pem();
        deploy(&gateway).var("CA_CERT", pem).run().exits(0);
        // Also together with other certificates.
        let other = start(permissive().tls());
        deploy(&gateway).var("CA_CERT", format!("{}{pem}", other.ca_pem())).run().exits(0);
    }
}

#[test]
fn self_signed_certificate_must_match_exactly_and_be_valid() {
    let error_with = |gateway: &Gateway, ca_cert: Option<&str>| {
        let pipe = deploy(gateway);
        let pipe = if let Some(ca_cert) = ca_cert { pipe.var("CA_CERT", ca_cert) } else { pipe };
        first_error(&pipe.run().exits(4))
    };
    for [wrong_host, expired, nameless, own, other] in [0, 1].map(|http1| {
        [
            Certificate::SelfSignedWrongHost,
            Certificate::SelfSignedExpired,
            Certificate::SelfSignedNameless,
            Certificate::SelfSigned,
            Certificate::SelfSigned,
        ]
        .map(|certificate| {
            let builder = permissive().certificate(certificate);
            start(if http1 == 1 { builder.http1_only() } else { builder })
        })
    }) {
        let mut all =
            [&wrong_host, &expired, &nameless].map(|gateway| error_with(gateway, Some(gateway.ca_pem()))).to_vec();
        all.extend([error_with(&own, None), error_with(&own, Some(other.ca_pem()))]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(all.join("\n"), @"
            ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate is not for this host name, but for `elsewhere.example.com`
              hint: use a host name that the certificate is for, or issue it for this one
            ✖ nothing was deployed

            ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate expired on [DATE]
              hint: renew the server's certificate
            ✖ nothing was deployed

            ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate is not for any host name
              hint: a certificate needs a subject alternative name; with `openssl req -x509`: `-addext 'subjectAltName=IP:127.0.0.1'`
            ✖ nothing was deployed

            ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate is self-signed and not trusted
              hint: to trust this very certificate, set `CA_CERT` to it; this command shows it: `openssl s_client -connect [GATEWAY] -servername 127.0.0.1 -showcerts`
            ✖ nothing was deployed

            ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate is self-signed and not trusted
              hint: to trust this very certificate, set `CA_CERT` to it; this command shows it: `openssl s_client -connect [GATEWAY] -servername 127.0.0.1 -showcerts`
            ✖ nothing was deployed
            ");
        }
    }
}

#[test]
fn renewed_authority_of_the_same_name_is_another_one() {
    let [gateway, other] = gateways(Certificate::Valid);
    let ran = deploy(&gateway).var("CA_CERT", other.ca_pem()).run().exits(4);
    ran.says("the certificate's issuer is not trusted: it is not in `CA_CERT`")
        .says("hint: set `CA_CERT` to the certificate of the CA");
}

#[test]
fn ca_cert_accepts_pem_base64_escaped_newlines_and_paths() {
    for gateway in gateways(Certificate::Valid) {
        let pem = gateway.ca_pem();
        for form in [STANDARD.encode(pem), pem.replace('\n', " "), pem.replace('\n', "\\n"), pem.replace('\n', "\r\n")]
        {
            deploy(&gateway).var("CA_CERT", form).run().exits(0);
        }
        for (name, contents) in [("ca.pem", pem.to_owned()), ("ca.b64", STANDARD.encode(pem))] {
            deploy(&gateway).file(name, contents).var("CA_CERT", name).run().exits(0);
        }
    }
}

#[test]
fn invalid_ca_cert_is_explained_in_one_line() {
    let gateway = start(permissive().tls());
    let pem = gateway.ca_pem();
    let cut = &pem[..pem.len() / 2];
    let errors = [cut, "missing.pem", &"x".repeat(400), "note.txt"].map(|value| {
        let ran = deploy(&gateway).file("note.txt", "nothing").var("CA_CERT", value).run().exits(2);
        ran.log.split("CA_CERT:\n").nth(1).expect("missing problem").to_owned()
    });
    assert!(gateway.requests().is_empty());
    insta::assert_snapshot!(errors.join(""), @"
    - certificate 1 is incomplete: `-----END CERTIFICATE-----` is missing
    - `missing.pem` does not exist, neither in the working directory nor in the clone directory
    - contains no certificate: write PEM text (`-----BEGIN CERTIFICATE-----` …), its base64, or the path of a PEM file
    - `note.txt` contains no certificate: write PEM text (`-----BEGIN CERTIFICATE-----` …), its base64, or the path of a PEM file
    ");
}

#[test]
fn tls_no_verify_skips_verification_with_a_warning() {
    let gateway = start(permissive().certificate(Certificate::SelfSignedExpired));
    Pipe::at(&gateway)
        .var("TLS_NO_VERIFY", "true")
        .stack(GUIDE_STACK)
        .run()
        .exits(0)
        .says("WARNING: `TLS_NO_VERIFY` is set");
}
