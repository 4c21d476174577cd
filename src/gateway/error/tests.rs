//! The messages of failed requests.

use std::time::Duration;

use super::*;
use crate::http::cause::{BodyError, Cause};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn every_cause_says_what_to_change() {
    let causes = [
        Cause::UnknownName,
        Cause::NameLookup("no response".into()),
        Cause::ConnectionRefused,
        Cause::NoRoute,
        Cause::TimedOut(TIMEOUT),
        Cause::Lost,
        Cause::NotHttp("invalid HTTP version parsed".into()),
        Cause::ConnectTimedOut(Duration::from_secs(10)),
        Cause::Proxy { variable: "HTTPS_PROXY", reason: "connection refused".into(), is_transient: true },
        Cause::Tls("received fatal alert: ProtocolVersion".into()),
        Cause::SpeaksTls,
        Cause::ClientCertificate,
        Cause::Body(BodyError("`payload` changed while it was sent".into())),
    ];
    let told = causes.map(|cause| {
        let gateway = Url::parse("http://gw.example.com:8080/base/").unwrap();
        let transport = Transport { request: "PUT /system/functions".into(), gateway, source: cause, unsent: true };
        format!("{transport}\nhint: {}", transport.hint().unwrap())
    });
    insta::assert_snapshot!(told.join("\n"), @"
    PUT /system/functions at `http://gw.example.com:8080/base`: the host name cannot be resolved
    hint: check the host name `gw.example.com` in `OPENFAAS_URL` (`http://gw.example.com:8080/base`)
    PUT /system/functions at `http://gw.example.com:8080/base`: the host name could not be resolved: no response
    hint: the name service did not respond: run the step again
    PUT /system/functions at `http://gw.example.com:8080/base`: connection refused
    hint: nothing listens on port 8080 of `gw.example.com`: check `OPENFAAS_URL` (`http://gw.example.com:8080/base`), and whether the gateway runs
    PUT /system/functions at `http://gw.example.com:8080/base`: no route to the host
    hint: a Bitbucket runner in the cloud cannot reach a private address: use the gateway's public one instead of `http://gw.example.com:8080/base`, or a self-hosted runner
    PUT /system/functions at `http://gw.example.com:8080/base`: timeout: no complete response within 1 min
    hint: the connection was made, so no firewall is in the way: raise `TIMEOUT`
    PUT /system/functions at `http://gw.example.com:8080/base`: the connection was lost: the server no longer responds on it
    hint: check whether the gateway still runs, and the network in between
    PUT /system/functions at `http://gw.example.com:8080/base`: the response is not HTTP: invalid HTTP version parsed
    hint: check whether the gateway responds at `http://gw.example.com:8080/base`
    PUT /system/functions at `http://gw.example.com:8080/base`: timeout: no connection within 10 s
    hint: check whether a firewall admits Bitbucket's addresses to port 8080 of `gw.example.com`
    PUT /system/functions at `http://gw.example.com:8080/base`: the proxy did not forward the request: connection refused
    hint: check the proxy that `HTTPS_PROXY` names, or add `gw.example.com` to `NO_PROXY`
    PUT /system/functions at `http://gw.example.com:8080/base`: TLS handshake failed: received fatal alert: ProtocolVersion
    hint: the pipe supports TLS 1.2 and 1.3; this command shows what the server supports: `openssl s_client -connect gw.example.com:8080`
    PUT /system/functions at `http://gw.example.com:8080/base`: plain HTTP was sent to a port that requires TLS
    hint: write `OPENFAAS_URL: 'https://gw.example.com:8080/base'`
    PUT /system/functions at `http://gw.example.com:8080/base`: the server requires a client certificate
    hint: the pipe has no client certificate: let `/oauth/token`, `/system/` and `/function/` of `gw.example.com` pass without one; the step's token authenticates these requests
    PUT /system/functions at `http://gw.example.com:8080/base`: `payload` changed while it was sent
    hint: find out what changes the file during the run
    ");
}

#[test]
fn servers_are_recognised_by_what_they_say_about_the_connection() {
    for (words, cause) in [
        ("Client sent an HTTP request to an HTTPS server.\n", Cause::SpeaksTls),
        ("<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>", Cause::SpeaksTls),
        ("<!DOCTYPE HTML><p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />", Cause::SpeaksTls),
        ("<html><head><title>400 No required SSL certificate was sent</title></head>", Cause::ClientCertificate),
    ] {
        let fault = |status, headers, words: &str| connection_fault(status, headers, words.as_bytes());
        let (none, quoted) = (&HeaderMap::new(), format!("unable to pull image: {words}"));
        assert_eq!(fault(StatusCode::BAD_REQUEST, none, words), Some(cause), "{words}");
        assert_eq!(fault(StatusCode::OK, none, words), None, "{words}");
        assert_eq!(fault(StatusCode::BAD_REQUEST, none, &quoted), None, "{words}");
        let of_function = HeaderMap::from_iter([(CALL_ID, "1".parse().unwrap())]);
        assert_eq!(fault(StatusCode::BAD_REQUEST, &of_function, words), None, "{words}");
    }
}

#[test]
fn name_inside_a_cluster_is_recognised() {
    for (url, is_cluster) in [
        ("http://gateway.openfaas:8080", true),
        ("http://gateway:8080", true),
        ("http://gateway.openfaas.svc.cluster.local:8080", true),
        ("https://gw.example.com", false),
        ("https://10.0.0.1", false),
    ] {
        let gateway = Url::parse(url).unwrap();
        let transport = Transport { request: String::new(), gateway, source: Cause::UnknownName, unsent: true };
        let hint = transport.hint().unwrap();
        assert_eq!(
            hint.contains("is a name inside a cluster, which only a runner there can reach"),
            is_cluster,
            "{hint}"
        );
    }
}

fn destination(gateway: &str, path: &str, status: u16, location: &str) -> Destination {
    let gateway = Url::parse(gateway).unwrap();
    let url = Url::parse(&format!("{}{path}", SafeUrl(&gateway))).unwrap();
    let (request, status) = (format!("POST {path}"), StatusCode::from_u16(status).unwrap());
    Redirect { request, url, gateway, status, location: location.to_owned(), has_call_id: false }.destination()
}

#[test]
fn same_request_with_https_needs_only_another_scheme() {
    let token = |location: &str| destination("http://gw.example.com/base", "/oauth/token", 302, location);
    for location in ["https://gw.example.com/base/oauth/token", "//gw.example.com/base/oauth/token"] {
        let expected = match location.starts_with("https") {
            true => Destination::Https("https://gw.example.com/base".to_owned()),
            false => Destination::Elsewhere,
        };
        assert_eq!(token(location), expected, "{location}");
    }
    assert_eq!(token("https://gw.example.com/login"), Destination::Elsewhere);
    assert_eq!(token("https://gw.example.com/base/oauth/token?rd=1"), Destination::Elsewhere);
    let port = destination("http://gw:8080", "/oauth/token", 308, "https://gw:8443/oauth/token");
    assert_eq!(port, Destination::Https("https://gw:8443".to_owned()));
}

#[test]
fn permanent_redirect_of_the_same_request_is_a_move() {
    let token = |status, location: &str| destination("https://gw.example.com", "/oauth/token", status, location);
    for status in [301, 307, 308] {
        let moved = token(status, "https://new.example.com/openfaas/oauth/token");
        assert_eq!(moved, Destination::Moved("https://new.example.com/openfaas".to_owned()), "{status}");
    }
    for (status, location) in [
        (302, "https://new.example.com/oauth/token"),
        (303, "https://new.example.com/oauth/token"),
        (308, "https://new.example.com/oauth/token?rd=%2F"),
        (308, "https://user@new.example.com/oauth/token"),
        (302, "https://acme.cloudflareaccess.com/cdn-cgi/access/login/gw.example.com?redirect_url=%2Foauth%2Ftoken"),
        (302, "https://login.microsoftonline.com/TENANT/oauth2/v2.0/authorize?client_id=x"),
        (301, "https://login.example.com/oauth2/start?rd=x"),
        (302, "/login?next=/oauth/token"),
        (308, "/oauth/token/"),
        (308, "/oauth/token"),
        (302, ""),
        (302, "https://["),
    ] {
        assert_eq!(token(status, location), Destination::Elsewhere, "{status} {location}");
    }
}
