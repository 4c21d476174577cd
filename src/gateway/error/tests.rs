//! The messages of failed requests.

use std::time::Duration;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn every_cause_says_what_to_change() {
    let causes = [
        Cause::NoSuchName,
        Cause::NameLookup("no answer".into()),
        Cause::Refused,
        Cause::NoRoute,
        Cause::TimedOut(TIMEOUT),
        Cause::NotHttp("invalid HTTP version parsed".into()),
        Cause::NotConnected(Duration::from_secs(10)),
        Cause::Proxy { words: "tunnel error".into(), may_pass: false },
    ];
    let told = causes.map(|cause| {
        let gateway = Url::parse("http://gw.example.com:8080/base/").unwrap();
        let transport = Transport { request: "PUT /system/functions".into(), gateway, cause, unsent: true };
        let Problem { message, hint, .. } = transport.problem();
        format!("{message}\nhint: {}", hint.unwrap())
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    PUT /system/functions at `http://gw.example.com:8080/base`: the host name has no address
    hint: check the host name `gw.example.com` in `OPENFAAS_URL` (`http://gw.example.com:8080/base`)
    PUT /system/functions at `http://gw.example.com:8080/base`: the host name could not be looked up: no answer
    hint: the name service did not answer; run the step again
    PUT /system/functions at `http://gw.example.com:8080/base`: connection refused
    hint: nothing listens on port 8080 of `gw.example.com`: check `OPENFAAS_URL` (`http://gw.example.com:8080/base`), and whether the gateway runs
    PUT /system/functions at `http://gw.example.com:8080/base`: no route to the host
    hint: a Bitbucket runner in the cloud cannot reach a private address: use the gateway's public one instead of `http://gw.example.com:8080/base`, or a self-hosted runner
    PUT /system/functions at `http://gw.example.com:8080/base`: no complete answer within 1 min
    hint: see whether a firewall lets Bitbucket's addresses through to `gw.example.com`, or raise `TIMEOUT`
    PUT /system/functions at `http://gw.example.com:8080/base`: the answer is not HTTP: invalid HTTP version parsed
    hint: if TLS is spoken there, write `OPENFAAS_URL: 'https://gw.example.com:8080/base'`
    PUT /system/functions at `http://gw.example.com:8080/base`: no connection within 10 s
    hint: see whether a firewall lets Bitbucket's addresses through to `gw.example.com`
    PUT /system/functions at `http://gw.example.com:8080/base`: the request did not get through the proxy: tunnel error
    hint: check `HTTPS_PROXY`, or name the gateway's host in `NO_PROXY`
    ");
}

#[test]
fn servers_that_want_tls_are_known_by_their_words() {
    for words in [
        "Client sent an HTTP request to an HTTPS server.\n",
        "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ] {
        assert!(wants_tls(StatusCode::BAD_REQUEST, words.as_bytes()), "{words}");
        assert!(!wants_tls(StatusCode::OK, words.as_bytes()), "{words}");
    }
    assert!(!wants_tls(StatusCode::BAD_REQUEST, b"no such secret"));
}
