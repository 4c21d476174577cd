//! AWS from a client's view: STS, the ECR API and an ECR registry.

use crate::common::{ACCEPT, client, cloud, element, header, issuer, json, text};
use local_cloud::aws::{EcrError, ROLE, StsError};
use local_cloud::{Cloud, Image};
use reqwest::{Client, Response};
use ring::{digest, hmac};
use serde_json::Value;

const STS: &str = "https://sts.eu-west-1.amazonaws.com/";
const REGISTRY: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn set_up() -> (Cloud, Client) {
    let cloud = cloud();
    cloud.aws().set_up(&issuer());
    let client = client(&cloud);
    (cloud, client)
}

async fn assume(client: &Client, url: &str, role: &str, token: &str, changes: &[(&str, &str)]) -> Response {
    let mut form = vec![
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "acme-etl-7"),
        ("WebIdentityToken", token),
    ];
    for change in changes {
        form.retain(|(name, _)| *name != change.0);
        form.push(*change);
    }
    client.post(url).form(&form).send().await.unwrap()
}

/// Status, code and message of an error in XML.
async fn refusal(response: Response) -> (u16, String, String) {
    let (status, xml) = text(response).await;
    (status, element(&xml, "Code").to_owned(), element(&xml, "Message").replace("&apos;", "'"))
}

#[derive(Clone)]
struct Credentials {
    id: String,
    secret: String,
    token: String,
}

async fn credentials(client: &Client) -> Credentials {
    let (status, xml) = text(assume(client, STS, ROLE, &issuer().token().mint(), &[]).await).await;
    assert_eq!(status, 200, "{xml}");
    let field = |name| element(&xml, name).to_owned();
    Credentials { id: field("AccessKeyId"), secret: field("SecretAccessKey"), token: field("SessionToken") }
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// A date in the format of SigV4, with this offset from now in seconds.
fn date(offset: i64) -> String {
    let now = time::OffsetDateTime::now_utc() + time::Duration::seconds(offset);
    let (year, month, day) = now.to_calendar_date();
    format!("{year}{:02}{day:02}T{:02}{:02}{:02}Z", u8::from(month), now.hour(), now.minute(), now.second())
}

/// A request to the ECR API, signed for a region.
async fn authorization_token(client: &Client, host: &str, keys: &Credentials, region: &str, date: &str) -> Response {
    let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("host", host),
        ("x-amz-date", date),
        ("x-amz-security-token", &keys.token),
        ("x-amz-target", target),
    ];
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names = headers.map(|(name, _)| name).join(";");
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", sha256("{}"));
    let scope = format!("{}/{region}/ecr/aws4_request", &date[..8]);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(&canonical));
    let key = format!("AWS4{}", keys.secret);
    let key = [&date[..8], region, "ecr", "aws4_request"].iter().fold(key.into_bytes(), |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &to_sign));
    let credential = format!("{}/{scope}", keys.id);
    let request = client
        .post(format!("https://{host}/"))
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"),
        )
        .body("{}");
    let request = headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

const API: &str = "api.ecr.eu-west-1.amazonaws.com";

async fn registry_token(client: &Client, keys: &Credentials) -> String {
    let (status, body) = json(authorization_token(client, API, keys, "eu-west-1", &date(0)).await).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["authorizationData"][0]["proxyEndpoint"], format!("https://{REGISTRY}"));
    body["authorizationData"][0]["authorizationToken"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn role_is_assumed_with_xml_and_json() {
    let (cloud, client) = set_up();
    let token = issuer().token().mint();
    let (status, xml) = text(assume(&client, STS, ROLE, &token, &[]).await).await;
    assert_eq!(status, 200);
    assert_eq!(element(&xml, "Audience"), local_cloud::audience());
    assert_eq!(element(&xml, "Arn"), "arn:aws:sts::123456789012:assumed-role/deploy/acme-etl-7");
    assert!(element(&xml, "Expiration").ends_with('Z'));

    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "acme-etl-7"),
        ("WebIdentityToken", &token),
        ("DurationSeconds", "900"),
    ];
    let (status, body) =
        json(client.post(STS).header("accept", "application/json").form(&form).send().await.unwrap()).await;
    assert_eq!(status, 200);
    let keys = &body["AssumeRoleWithWebIdentityResponse"]["AssumeRoleWithWebIdentityResult"]["Credentials"];
    assert!(keys["Expiration"].is_u64(), "{keys}");
    let secret = keys["SecretAccessKey"].as_str().unwrap().to_owned();
    assert!(cloud.secrets().contains(&secret) && secret.contains('/'));
    assert_eq!(cloud.request_lines(), ["POST sts.eu-west-1.amazonaws.com/"; 2]);
    assert_eq!(cloud.tunnels(), ["sts.eu-west-1.amazonaws.com:443"]);
}

#[tokio::test]
async fn invalid_tokens_are_rejected_like_by_aws() {
    let (_cloud, client) = set_up();
    let token = || issuer().token();
    let provider = "https://api.bitbucket.org/2.0/workspaces/other/pipelines-config/identity/oidc";
    let other_account = "arn:aws:iam::210987654321:role/deploy";
    let no_provider = format!("No OpenIDConnect provider found in your account for {provider}");
    let here = format!("No OpenIDConnect provider found in your account for {}", issuer().iss());
    let denied = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
    let keys = "Couldn't retrieve verification key from your identity provider,  please reference \
                AssumeRoleWithWebIdentity documentation for requirements";
    let expired = "Token expired: current date/time must be before the expiration date/time";
    for (role, token, code, message) in [
        ("arn:aws:iam::123456789012:role/other", token().mint(), "AccessDenied", denied),
        (ROLE, token().repository("{other}").mint(), "AccessDenied", denied),
        // With two audiences, `StringEquals` does not match.
        (ROLE, token().audience("https://gw.example.com").mint(), "AccessDenied", denied),
        (other_account, token().mint(), "InvalidIdentityToken", &here),
        (ROLE, token().claim("iss", provider).mint(), "InvalidIdentityToken", &no_provider),
        (ROLE, token().claim("aud", "x").mint(), "InvalidIdentityToken", "Incorrect token audience"),
        (ROLE, token().without("aud").mint(), "InvalidIdentityToken", "Missing a required claim: aud"),
        (ROLE, token().kid("x").mint(), "InvalidIdentityToken", keys),
        (ROLE, token().expires_in(-301).mint(), "ExpiredTokenException", expired),
    ] {
        let (status, given, words) = refusal(assume(&client, STS, role, &token, &[]).await).await;
        assert_eq!((given.as_str(), words.as_str()), (code, message));
        assert_eq!(status, if code == "AccessDenied" { 403 } else { 400 });
    }
    // Within the leeway.
    let late = assume(&client, STS, ROLE, &token().expires_in(-200).mint(), &[]).await;
    assert_eq!(late.status(), 200);
}

#[tokio::test]
async fn parameters_are_validated() {
    let (_cloud, client) = set_up();
    let token = issuer().token().mint();
    let long = "x".repeat(65);
    for change in [
        ("RoleSessionName", "{7d9a}/1"),
        ("RoleSessionName", "a b"),
        ("RoleSessionName", "x"),
        ("RoleSessionName", &long),
        ("DurationSeconds", "899"),
        ("DurationSeconds", "7200"),
        ("RoleArn", "arn:aws:iam::1:role/x"),
        ("RoleArn", "arn:aws-cn:iam::123456789012:role/deploy"),
        ("WebIdentityToken", ""),
        ("ProviderId", "x"),
    ] {
        let (status, code, message) = refusal(assume(&client, STS, ROLE, &token, &[change]).await).await;
        assert_eq!((status, code.as_str()), (400, "ValidationError"), "{change:?} {message}");
    }
    let (_, code, _) = refusal(assume(&client, STS, ROLE, &token, &[("Version", "2010")]).await).await;
    assert_eq!(code, "InvalidAction");
}

#[tokio::test]
async fn sts_is_at_the_endpoints_of_every_partition() {
    let (cloud, client) = set_up();
    let token = issuer().token().mint();
    for (host, role) in [
        ("sts.amazonaws.com", ROLE),
        ("sts-fips.us-east-1.amazonaws.com", ROLE),
        ("sts.eu-west-1.api.aws", ROLE),
        ("sts.cn-north-1.amazonaws.com.cn", "arn:aws-cn:iam::123456789012:role/deploy"),
        ("sts.us-gov-west-1.amazonaws.com", "arn:aws-us-gov:iam::123456789012:role/deploy"),
    ] {
        let answer = assume(&client, &format!("https://{host}/"), role, &token, &[]).await;
        let (status, xml) = text(answer).await;
        let expected = if role == ROLE { 200 } else { 400 };
        assert_eq!(status, expected, "{host}");
        assert_eq!(xml.contains("No OpenIDConnect provider"), role != ROLE, "{xml}");
    }
    let answer = client.post("https://sts.cn-north-1.amazonaws.com/").send().await.unwrap();
    assert_eq!(answer.status(), 421);
    assert_eq!(cloud.requests().len(), 6);
}

#[tokio::test]
async fn sts_errors_are_returned_in_the_accepted_format() {
    let (cloud, client) = set_up();
    let errors = [
        (StsError::IdpRejectedClaim, 403, "IDPRejectedClaim"),
        (StsError::IdpCommunicationError, 400, "IDPCommunicationError"),
        (StsError::MalformedPolicyDocument, 400, "MalformedPolicyDocument"),
        (StsError::PackedPolicyTooLarge, 400, "PackedPolicyTooLarge"),
        (StsError::RegionDisabled, 403, "RegionDisabledException"),
        (StsError::Throttling, 400, "Throttling"),
        (StsError::InternalFailure, 500, "InternalFailure"),
    ];
    for (error, status, code) in errors {
        cloud.aws().fail_sts(&[error.clone(), error]);
        let (given, given_code, _) = refusal(assume(&client, STS, ROLE, "abcd", &[]).await).await;
        assert_eq!((given, given_code.as_str()), (status, code));
        let request = client.post(STS).header("accept", "application/json").form(&[("Action", "x")]);
        let (given, body) = json(request.send().await.unwrap()).await;
        assert_eq!((given, &body["Error"]["Code"]), (status, &Value::from(code)));
    }
    credentials(&client).await;
}

#[tokio::test]
async fn registry_token_requires_a_valid_signature() {
    let (cloud, client) = set_up();
    let keys = credentials(&client).await;
    registry_token(&client, &keys).await;

    let wrong_secret = Credentials { secret: format!("{}x", keys.secret), ..keys.clone() };
    let wrong_token = Credentials { token: format!("{}x", keys.token), ..keys.clone() };
    let wrong_id = Credentials { id: "ASIAXXXXXXXXXXXXXXXX".to_owned(), ..keys.clone() };
    for (keys, region, at, kind) in [
        (&wrong_secret, "eu-west-1", date(0), "InvalidSignatureException"),
        (&wrong_token, "eu-west-1", date(0), "UnrecognizedClientException"),
        (&wrong_id, "eu-west-1", date(0), "UnrecognizedClientException"),
        (&keys, "us-east-1", date(0), "InvalidSignatureException"),
        (&keys, "eu-west-1", date(-400), "InvalidSignatureException"),
    ] {
        let (status, body) = json(authorization_token(&client, API, keys, region, &at).await).await;
        let given = body["__type"].as_str().unwrap();
        assert_eq!((status, given.rsplit('#').next().unwrap()), (400, kind), "{body}");
    }
    let request = client.post(format!("https://{API}/")).header("content-type", "application/x-amz-json-1.1");
    let request = request.header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken");
    let (_, body) = json(request.body("{}").send().await.unwrap()).await;
    assert_eq!(body["__type"], "com.amazon.coral.service#MissingAuthenticationTokenException");

    for error in [EcrError::Server, EcrError::Throttling, EcrError::InvalidParameter] {
        cloud.aws().fail_ecr(&[error]);
        let answer = authorization_token(&client, API, &keys, "eu-west-1", &date(0)).await;
        assert_ne!(answer.status(), 200);
    }
    cloud.aws().put_permissions(ROLE, r#"{"Statement": []}"#).unwrap();
    let (status, body) = json(authorization_token(&client, API, &keys, "eu-west-1", &date(0)).await).await;
    assert_eq!((status, &body["__type"]), (400, &Value::from("AccessDeniedException")));
}

#[tokio::test]
async fn ecr_registry_requires_token_and_permission() {
    let (cloud, client) = set_up();
    let digest = cloud.registry(REGISTRY).put_image("etl", "1.0", &Image::oci("linux/amd64"));
    let url = format!("https://{REGISTRY}/v2/etl/manifests/1.0");
    let head =
        |authorization: String| client.head(&url).header("accept", ACCEPT).header("authorization", authorization);

    let answer = client.head(&url).header("accept", ACCEPT).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let challenge = format!(r#"Basic realm="https://{REGISTRY}/",service="ecr.amazonaws.com""#);
    assert_eq!(header(&answer, "www-authenticate"), challenge);
    assert_eq!(head("Basic eDp5".to_owned()).send().await.unwrap().status(), 401);

    let token = registry_token(&client, &credentials(&client).await).await;
    let answer = head(format!("Basic {token}")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "docker-content-digest")), (200, digest.as_str()));

    let missing = client.get(format!("https://{REGISTRY}/v2/other/manifests/1.0")).header("accept", ACCEPT);
    let (status, body) = json(missing.header("authorization", format!("Basic {token}")).send().await.unwrap()).await;
    assert_eq!((status, &body["errors"][0]["code"]), (404, &Value::from("NAME_UNKNOWN")));

    let only_token = r#"{"Statement": {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}}"#;
    cloud.aws().put_permissions(ROLE, only_token).unwrap();
    let (status, body) =
        json(client.get(&url).header("authorization", format!("Basic {token}")).send().await.unwrap()).await;
    assert_eq!(status, 403);
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:eu-west-1:123456789012:repository/etl"), "{message}");

    // The token is not valid in another region.
    let other = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    cloud.registry(other).put_image("etl", "1.0", &Image::oci("linux/amd64"));
    let answer =
        client.head(format!("https://{other}/v2/etl/manifests/1.0")).header("authorization", format!("Basic {token}"));
    assert_eq!(answer.send().await.unwrap().status(), 401);
}
