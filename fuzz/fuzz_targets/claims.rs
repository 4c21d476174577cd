//! The bytes of a token: decoding returns claims that can be explained, or an error that can be reported.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use openfaas_pipe::oidc::{BuildContext, Refusal, claims_table, decode_unverified, explain_refusal, findings};

fuzz_target!(|input: (bool, &[u8], &str, u64)| {
    let (encoded, payload, description, now) = input;
    let token = if encoded {
        // The payload in a well-formed token, so that more than the format is tested.
        format!("eyJhbGciOiJSUzI1NiJ9.{}.AAAA", URL_SAFE_NO_PAD.encode(payload)).into_bytes()
    } else {
        payload.to_vec()
    };
    match decode_unverified(&token) {
        Ok(claims) => {
            let url = "https://gw.example.com";
            for [claim, value, _] in claims_table(&claims, url, now) {
                assert!(!claim.contains(['\n', '\x1b']) && !value.contains(['\n', '\x1b']));
            }
            let build = BuildContext::default();
            for (_, finding) in findings(&claims, url, now, &build) {
                assert!(!finding.message.contains(['\n', '\x1b']), "{}", finding.message);
            }
            let refusal = Refusal { status: 400, error: Some("invalid_grant"), description: Some(description) };
            let problem = explain_refusal(refusal, &claims, url, now, &build);
            assert!(!problem.message.contains(['\n', '\x1b']), "{}", problem.message);
        }
        Err(error) => assert!(!error.to_string().contains(['\n', '\x1b'])),
    }
});
