//! Verification of AWS Signature Version 4.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use hmac::{Hmac, KeyInit as _, Mac as _};
use local_gateway::Request;
use sha2::{Digest as _, Sha256};

use crate::secret::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parts of an `Authorization` header.
#[derive(Debug)]
pub(crate) struct Authorization<'a> {
    pub(crate) key_id: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub(crate) fn parse(header: &'a str) -> Option<Self> {
        let (algorithm, parameters) = header.split_once(' ')?;
        let parameter = |name: &str| {
            let mut parameters = parameters.split(',').filter_map(|parameter| parameter.trim().split_once('='));
            parameters.find(|(given, _)| *given == name).map(|(_, value)| value)
        };
        let mut scope = parameter("Credential")?.split('/');
        let authorization = Self {
            key_id: scope.next()?,
            date: scope.next()?,
            region: scope.next()?,
            service: scope.next()?,
            signed_headers: parameter("SignedHeaders")?.split(';').collect(),
            signature: parameter("Signature")?,
        };
        (algorithm == ALGORITHM && scope.eq(["aws4_request"])).then_some(authorization)
    }

    /// Whether the owner of the secret signed this request. The path is always `/` here, so its encoding does not
    /// matter.
    pub(crate) fn signs(&self, request: &Request, secret: &str) -> bool {
        let Some(date) = request.header("x-amz-date") else {
            return false;
        };
        let mut query: Vec<&str> = request.query.as_deref().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, query.join("&"));
        for name in &self.signed_headers {
            let values: Vec<String> =
                request.headers.get_all(*name).iter().map(|value| normal(value.as_bytes())).collect();
            canonical.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        canonical.push_str(&format!("\n{}\n{}", self.signed_headers.join(";"), sha256(&request.body)));

        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [self.date, self.region, self.service, "aws4_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        date.starts_with(self.date) && hex(&hmac_sha256(&key, to_sign.as_bytes())) == self.signature
    }
}

/// The value of a header with runs of spaces collapsed.
fn normal(value: &[u8]) -> String {
    String::from_utf8_lossy(value).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
