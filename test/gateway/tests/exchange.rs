//! The token exchange: issued tokens and errors.

use crate::common::{ID_TOKEN, TOKEN_EXCHANGE, access, client, exchange, guide, start_guide};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_gateway::issuer::ENVIRONMENT_UUID;
use local_gateway::{Claims, ExpiresIn, Gateway, Issuer};
use reqwest::StatusCode;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

fn claims(token: &str) -> Claims {
    serde_json::from_slice(&decode(token.split('.').nth(1).unwrap())).unwrap()
}

fn decode(base64url: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

#[tokio::test]
async fn access_token_has_the_original_claims_and_the_gateways_own() {
    let (gateway, issuer) = guide();
    let original = issuer.token().audience(gateway.url());

    let (status, answer) = exchange(&gateway, &original.mint(), &[]).await;

    assert_eq!(status, StatusCode::OK);
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(1800)));
    let token = answer["access_token"].as_str().unwrap();
    let issued = claims(token);
    let original = original.claims();
    assert_eq!((&issued["iss"], &issued["aud"]), (&json!(gateway.url()), &json!(gateway.url())));
    assert_eq!(issued["fed:iss"], original["iss"]);
    assert_eq!(issued["sub"], format!("fed:{}", original["sub"].as_str().unwrap()));
    assert_eq!(issued["policy"], json!(["etl-deployer", "etl-invoker"]));
    assert_eq!(issued["exp"].as_i64().unwrap() - issued["iat"].as_i64().unwrap(), 1800);
    for claim in ["branchName", "repositoryUuid", "workspaceUuid", "pipelineUuid", "stepUuid"] {
        assert_eq!(issued[claim], original[claim], "{claim}");
    }
}

#[tokio::test]
async fn function_token_has_permissions_and_audience() {
    let (gateway, issuer) = guide();
    let id_token = issuer.token().audience(gateway.url()).mint();
    for (fields, function) in [
        (vec![("scope", "function")], json!({"permissions": ["etl:import-csv"]})),
        (
            vec![("scope", "function"), ("audience", "etl:import-csv"), ("audience", "etl:*")],
            json!({"permissions": ["etl:import-csv"], "audience": ["etl:import-csv", "etl:*"]}),
        ),
    ] {
        let issued = claims(&access(&gateway, &id_token, &fields).await);
        assert_eq!(issued["function"], function);
        assert!(!issued.contains_key("policy"));
    }
}

#[tokio::test]
async fn function_token_is_verified_with_the_published_keys() {
    let (gateway, issuer) = guide();
    let id_token = issuer.token().audience(gateway.url()).mint();
    let token = access(&gateway, &id_token, &[("scope", "function")]).await;

    let get = async |url: &str| client(&gateway).get(url).send().await.unwrap().json::<Value>().await.unwrap();
    let configuration = get(&format!("{}/.well-known/openid-configuration", gateway.url())).await;
    let keys = get(configuration["jwks_uri"].as_str().unwrap()).await;

    assert_eq!(configuration["issuer"], gateway.url());
    let parts: Vec<&str> = token.split('.').collect();
    let header: Value = serde_json::from_slice(&decode(parts[0])).unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let point = [vec![4], decode(key["x"].as_str().unwrap()), decode(key["y"].as_str().unwrap())].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &decode(parts[2])).unwrap();
    assert_eq!(header["alg"], "ES256");
}

#[tokio::test]
async fn access_token_is_exchanged_for_a_function_token() {
    let (gateway, issuer) = guide();
    let token = access(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;
    let issued = claims(&access(&gateway, &token, &[("scope", "function")]).await);
    assert_eq!(issued["function"], json!({"permissions": ["etl:import-csv"]}));
    assert_eq!(issued["fed:iss"], issuer.iss());
}

#[tokio::test]
async fn invalid_token_is_rejected_with_the_reason() {
    let (gateway, issuer) = guide();
    let token = || issuer.token().audience(gateway.url());
    let stranger = Issuer::bitbucket("elsewhere");
    let subject = |token: &local_gateway::TokenBuilder| token.claims()["sub"].as_str().unwrap().to_owned();
    let no_policies = |token: local_gateway::TokenBuilder| {
        let description = format!("No policies found for subject: {}", subject(&token));
        (token.mint(), description)
    };
    let invalid = |token: String, reason: &str| (token, format!("Could not validate JWT token, {reason}"));
    for (token, description) in [
        no_policies(token().tag()),
        no_policies(token().branch("dev")),
        no_policies(token().repository("{other}")),
        invalid(issuer.token().mint(), "audience is not valid"),
        invalid(issuer.token().audience("https://other.example.com").mint(), "audience is not valid"),
        invalid(token().without("aud").mint(), "audience is not valid"),
        invalid(token().expires_in(-1).mint(), "token is expired"),
        invalid(token().without("exp").mint(), "token has no exp claim"),
        invalid(token().forged().mint(), "token signature is invalid"),
        invalid(token().unsigned().mint(), "token signature is invalid"),
        invalid(token().kid("another").mint(), "JWKS keys missing"),
        invalid(
            stranger.token().audience(gateway.url()).mint(),
            &format!("issuer is not registered: {}", stranger.iss()),
        ),
        invalid("no token".to_owned(), "token is malformed"),
    ] {
        let (status, answer) = exchange(&gateway, &token, &[]).await;
        assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{answer}");
        let given = answer["error_description"].as_str().unwrap();
        assert!(given.starts_with(&description), "{given} for {description}");
    }
}

#[tokio::test]
async fn audience_may_be_a_string() {
    let (gateway, issuer) = guide();
    let token = issuer.token().claim("aud", gateway.url()).mint();
    assert_eq!(exchange(&gateway, &token, &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn token_of_a_deployment_step_names_its_environment() {
    let (gateway, issuer) = guide();
    let token = issuer.token().audience(gateway.url()).deployment(ENVIRONMENT_UUID);
    let parts = token.claims()["sub"].as_str().unwrap().split(':').count();
    assert_eq!((parts, &token.claims()["deploymentEnvironmentUuid"]), (3, &json!(ENVIRONMENT_UUID)));
    assert_eq!(exchange(&gateway, &token.mint(), &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn invalid_exchange_request_is_rejected() {
    let (gateway, issuer) = guide();
    let token = issuer.token().audience(gateway.url()).mint();
    for (form, error) in [
        (vec![("grant_type", "client_credentials")], "unsupported_grant_type"),
        (vec![("subject_token", token.as_str())], "invalid_request"),
        (vec![("grant_type", TOKEN_EXCHANGE), ("subject_token_type", ID_TOKEN)], "invalid_request"),
        (vec![("grant_type", TOKEN_EXCHANGE), ("subject_token", &token)], "invalid_request"),
    ] {
        let url = format!("{}/oauth/token", gateway.url());
        let answer = client(&gateway).post(url).form(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.json::<Value>().await.unwrap()["error"], error, "{form:?}");
    }
}

#[tokio::test]
async fn expires_in_may_be_zero_or_absent() {
    for (expires_in, expected) in [(ExpiresIn::Zero, json!(0)), (ExpiresIn::Absent, Value::Null)] {
        let (gateway, issuer) = start_guide(Gateway::builder().expires_in(expires_in));
        let (_, answer) = exchange(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;
        assert_eq!(answer["expires_in"], expected);
    }
}

#[tokio::test]
async fn access_token_expires_after_the_issuers_expiry() {
    let (gateway, issuer) = guide();
    let yaml = local_gateway::Guide::new(&issuer, gateway.url()).iam().replace("30m", "0s");
    gateway.apply(&yaml).unwrap();
    let token = access(&gateway, &issuer.token().audience(gateway.url()).mint(), &[]).await;
    assert_eq!(
        crate::common::deploy(&gateway, "POST", &token, &crate::common::import_csv()).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn issuer_serves_discovery_document_and_keys() {
    let (gateway, issuer) = guide();
    let url = format!("{}/2.0/workspaces/acme/pipelines-config/identity/oidc", gateway.url());
    for (path, expected) in [("/.well-known/openid-configuration", issuer.discovery()), ("/keys.json", issuer.jwks())] {
        let answer = client(&gateway).get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    }
}
