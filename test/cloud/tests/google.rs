//! Google Cloud from a client's view: STS, IAM Credentials and Artifact Registry.

use crate::common::{ACCEPT, client, cloud, header, issuer, json};
use local_cloud::google::{PROVIDER, REGISTRY, SERVICE_ACCOUNT};
use local_cloud::{Cloud, Image};
use reqwest::Client;
use serde_json::{Value, json as value};

fn set_up() -> (Cloud, Client) {
    let cloud = cloud();
    cloud.google().set_up(&issuer());
    let client = client(&cloud);
    (cloud, client)
}

async fn exchange(client: &Client, token: &str, changes: &[(&str, &str)]) -> (u16, Value) {
    let audience = format!("//iam.googleapis.com/{PROVIDER}");
    let mut form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", &audience),
        ("scope", "https://www.googleapis.com/auth/cloud-platform"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];
    for change in changes {
        form.retain(|(name, _)| *name != change.0);
        form.push(*change);
    }
    json(client.post("https://sts.googleapis.com/v1/token").form(&form).send().await.unwrap()).await
}

async fn federated(client: &Client) -> String {
    let (status, body) = exchange(client, &issuer().token().mint(), &[]).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

async fn impersonate(client: &Client, token: &str, email: &str, body: &Value) -> (u16, Value) {
    let url =
        format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
    json(client.post(url).bearer_auth(token).json(body).send().await.unwrap()).await
}

#[tokio::test]
async fn token_is_exchanged_as_form_and_as_json() {
    let (cloud, client) = set_up();
    let token = federated(&client).await;
    assert!(cloud.secrets().contains(&token));
    let camel = value!({
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": format!("//iam.googleapis.com/{PROVIDER}"),
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectToken": issuer().token().mint(),
        "subjectTokenType": "urn:ietf:params:oauth:token-type:id_token",
    });
    let (status, body) =
        json(client.post("https://sts.googleapis.com/v1/token").json(&camel).send().await.unwrap()).await;
    assert_eq!((status, &body["token_type"]), (200, &Value::from("Bearer")));
}

#[tokio::test]
async fn invalid_exchanges_are_rejected_like_by_google() {
    let (cloud, client) = set_up();
    let token = || issuer().token();
    let pool = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/bitbucket";
    let by_id = pool.replace("123456789012", "acme-prod") + "/providers/acme";
    let deleted = format!("{pool}/providers/other");
    let full_name =
        "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider";
    for (token, change, error, words) in [
        (String::new(), None, "invalid_request", "subject_token must be nonempty."),
        (token().mint(), Some(("audience", pool)), "invalid_request", full_name),
        (token().mint(), Some(("audience", by_id.as_str())), "invalid_request", full_name),
        (token().mint(), Some(("audience", PROVIDER)), "invalid_request", full_name),
        (token().mint(), Some(("audience", deleted.as_str())), "invalid_target", "The target service indicated by"),
        (
            token().claim("aud", "x").mint(),
            None,
            "invalid_grant",
            "The audience in ID Token [x] does not match the expected audience.",
        ),
        (
            token().claim("iss", "https://x").mint(),
            None,
            "invalid_grant",
            "The issuer in ID Token https://x does not match",
        ),
        (token().forged().mint(), None, "invalid_grant", "Invalid JWT signature."),
        (token().expires_in(-1).mint(), None, "invalid_grant", "is stale to sign-in"),
        (
            token().claim("sub", "s".repeat(128)).mint(),
            None,
            "invalid_request",
            "The size of mapped attribute exceeds the 127 bytes limit.",
        ),
        (
            token().repository("{other}").mint(),
            None,
            "unauthorized_client",
            "The given credential is rejected by the attribute condition.",
        ),
    ] {
        let (status, body) = exchange(&client, &token, &Vec::from_iter(change)).await;
        assert_eq!((status, &body["error"]), (400, &Value::from(error)), "{body}");
        assert!(body["error_description"].as_str().unwrap().contains(words), "{body}");
    }
    cloud.google().gcloud("gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --disabled").unwrap();
    assert_eq!(exchange(&client, &token().mint(), &[]).await.1["error"], "invalid_target");
}

#[tokio::test]
async fn default_audience_is_the_provider_url() {
    let (cloud, client) = set_up();
    let update = "gcloud iam workload-identity-pools providers update-oidc acme --workload-identity-pool=bitbucket --location=global --allowed-audiences=";
    cloud.google().gcloud(update).unwrap();
    assert_eq!(exchange(&client, &issuer().token().mint(), &[]).await.1["error"], "invalid_grant");
    let token = issuer().token().audience(&format!("https://iam.googleapis.com/{PROVIDER}")).mint();
    assert_eq!(exchange(&client, &token, &[]).await.0, 200);
}

#[tokio::test]
async fn federated_token_is_exchanged_for_a_service_account_token() {
    let (_cloud, client) = set_up();
    let token = federated(&client).await;
    let scope = value!(["https://www.googleapis.com/auth/cloud-platform"]);
    let (status, body) =
        impersonate(&client, &token, SERVICE_ACCOUNT, &value!({"scope": scope, "lifetime": "3600s"})).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["accessToken"].as_str().unwrap().starts_with("ya29.c."));
    assert!(body["expireTime"].as_str().unwrap().ends_with('Z'));

    for (token, email, body, code, words) in [
        ("wrong", SERVICE_ACCOUNT, value!({"scope": scope}), 401, "invalid authentication credentials"),
        (
            &token,
            "other@acme-prod.iam.gserviceaccount.com",
            value!({"scope": scope}),
            403,
            "iam.serviceAccounts.getAccessToken",
        ),
        (&token, SERVICE_ACCOUNT, value!({"scope": scope, "lifetime": "3601s"}), 400, "cannot exceed 3600 seconds"),
        (&token, SERVICE_ACCOUNT, value!({}), 400, "scope"),
    ] {
        let (status, given) = impersonate(&client, token, email, &body).await;
        assert_eq!((status, &given["error"]["code"]), (code, &Value::from(code)), "{given}");
        assert!(given["error"]["message"].as_str().unwrap().contains(words), "{given}");
    }
}

#[tokio::test]
async fn artifact_registry_accepts_access_tokens() {
    let (cloud, client) = set_up();
    let digest = cloud.registry(REGISTRY).put_image("acme-prod/etl/import-csv", "1.0", &Image::index(&["linux/amd64"]));
    let url = format!("https://{REGISTRY}/v2/acme-prod/etl/import-csv/manifests/1.0");
    let head = || client.head(&url).header("accept", ACCEPT);

    let answer = head().send().await.unwrap();
    let challenge = format!(
        r#"Bearer realm="https://{REGISTRY}/v2/token",service="{REGISTRY}",scope="repository:acme-prod/etl/import-csv:pull""#
    );
    assert_eq!((answer.status().as_u16(), header(&answer, "www-authenticate")), (401, challenge.as_str()));

    let token = federated(&client).await;
    for request in [
        head().bearer_auth(&token),
        head().basic_auth("oauth2accesstoken", Some(&token)),
        head().basic_auth("_token", Some(&token)),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "docker-content-digest")), (200, digest.as_str()));
    }
    let realm =
        format!("https://{REGISTRY}/v2/token?service={REGISTRY}&scope=repository:acme-prod/etl/import-csv:pull");
    let (status, body) =
        json(client.get(&realm).basic_auth("oauth2accesstoken", Some(&token)).send().await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(head().bearer_auth(body["token"].as_str().unwrap()).send().await.unwrap().status(), 200);

    let (status, body) = json(client.get(&realm).send().await.unwrap()).await;
    assert_eq!(status, 403);
    assert!(body["errors"][0]["message"].as_str().unwrap().starts_with("Unauthenticated request."), "{body}");
    let other = realm.replace("/etl/", "/other/");
    let (status, body) =
        json(client.get(&other).basic_auth("oauth2accesstoken", Some(&token)).send().await.unwrap()).await;
    assert_eq!(status, 403);
    let words = r#"Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/acme-prod/locations/europe/repositories/other" (or it may not exist)"#;
    assert_eq!(body["errors"][0]["message"], words);
    assert_eq!(head().bearer_auth("wrong").send().await.unwrap().status(), 401);
}
