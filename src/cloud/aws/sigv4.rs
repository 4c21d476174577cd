//! Signs a request to AWS (Signature Version 4, *Create a signed AWS API request*).

use ring::{digest, hmac};

use crate::text::hex;

pub(super) struct Signer<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) date: &'a str,
}

impl Signer<'_> {
    /// The `Authorization` header of a request to `/` without a query. `headers` are all that are signed: `host`,
    /// `x-amz-date` and with temporary credentials `x-amz-security-token` must be among them; names are in lower case, values without white space to fold.
    pub(super) fn authorization(&self, method: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut headers = headers.to_vec();
        headers.sort_unstable_by_key(|(name, _)| *name);
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        // Method, path, query, headers, their names, and the hash of the body, a line each.
        let canonical = format!("{method}\n/\n\n{lines}\n{names}\n{}", sha256(body));

        let day = self.date.get(..8).unwrap_or(self.date);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.date, sha256(canonical.as_bytes()));
        let signature = hex(hmac(self.key(day).as_ref(), &to_sign));
        let id = self.access_key_id;
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn key(&self, day: &str) -> hmac::Tag {
        // Each step narrows the key: it signs for one day, one region and one service.
        let secret = format!("AWS4{}", self.secret_access_key);
        [self.region, self.service, "aws4_request"]
            .iter()
            .fold(hmac(secret.as_bytes(), day), |key, part| hmac(key.as_ref(), part))
    }
}

fn hmac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// The signer of AWS's test suite (aws-c-auth).
    const SUITE: Signer<'_> = Signer {
        access_key_id: ID,
        secret_access_key: SECRET,
        region: "us-east-1",
        service: "service",
        date: "20150830T123600Z",
    };

    /// The signer of vectors made with botocore.
    const ECR: Signer<'_> = Signer {
        access_key_id: ID,
        secret_access_key: SECRET,
        region: "eu-west-1",
        service: "ecr",
        date: "20260102T030405Z",
    };

    fn signature(signer: &Signer<'_>, method: &str, headers: &[(&str, &str)], body: &str) -> String {
        let header = signer.authorization(method, headers, body.as_bytes());
        header.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    fn suite_headers(token: &str) -> [(&str, &str); 3] {
        [("host", "example.amazonaws.com"), ("x-amz-date", SUITE.date), ("x-amz-security-token", token)]
    }

    fn ecr_headers(target: &str) -> [(&str, &str); 5] {
        [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", "api.ecr.eu-west-1.amazonaws.com"),
            ("x-amz-date", ECR.date),
            ("x-amz-security-token", "AQoDYXdzEXAMPLETOKEN"),
            ("x-amz-target", target),
        ]
    }

    #[test]
    fn signing_keys_are_those_of_the_vectors() {
        let key = |signer: &Signer<'_>| hex(signer.key(&signer.date[..8]));
        assert_eq!(key(&SUITE), "938127b5336810ddb6a5d6af445fcac9e371f9ed418ed386b022aed82901be75");
        assert_eq!(key(&ECR), "3996f06430c138c848378f92e5b100bf4b37166113e817234f486d5756f6cf8a");
    }

    #[test]
    fn official_vector_get_vanilla_with_session_token() {
        let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        assert_eq!(
            SUITE.authorization("GET", &suite_headers(token), b""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token, \
             Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
        );
    }

    #[test]
    fn official_vector_post_sts_header_before() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeo\
                     IYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDv\
                     p75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9\
                     FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let expected = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        assert_eq!(signature(&SUITE, "POST", &suite_headers(token), ""), expected);
    }

    #[test]
    fn official_vector_post_x_www_form_urlencoded() {
        let body = "Param1=value1";
        let hash = sha256(body.as_bytes());
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", "example.amazonaws.com"),
            ("x-amz-date", SUITE.date),
            ("x-amz-content-sha256", &hash),
            ("content-length", "13"),
        ];
        let expected = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b";
        assert_eq!(signature(&SUITE, "POST", &headers, body), expected);
    }

    #[test]
    fn requests_to_ecr_are_signed_as_botocore_signs_them() {
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        let expected = "7c8ae57ec9ee3a7e89147064d290287e7dd6ebb5e87468f51080cd02402404ad";
        assert_eq!(signature(&ECR, "POST", &ecr_headers(target), "{}"), expected);

        let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
        let body = r#"{"repositoryName":"team/fn","imageIds":[{"imageTag":"1.0"}]}"#;
        let expected = "d983cfda559812bd9de30e0b5e7672aa967775fc117b3960ab2bcfda5696654d";
        assert_eq!(signature(&ECR, "POST", &ecr_headers(target), body), expected);
    }
}
