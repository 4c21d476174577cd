//! Causes that no test can provoke on a machine without a network.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn name_that_is_none_is_told_from_a_name_service_that_does_not_answer() {
    let lookup = |words: &str| {
        let error = io::Error::other(format!("failed to lookup address information: {words}"));
        Cause::of_io(&error, TIMEOUT).unwrap()
    };
    // The words of glibc's `gai_strerror`.
    assert_eq!(lookup("Name or service not known"), Cause::NoSuchName);
    assert_eq!(lookup("No address associated with hostname"), Cause::NoSuchName);
    let temporary = lookup("Temporary failure in name resolution");
    assert_eq!(temporary, Cause::NameLookup("Temporary failure in name resolution".to_owned()));
    assert!(temporary.may_pass() && !Cause::NoSuchName.may_pass());
}

#[test]
fn address_that_cannot_be_reached_is_told_as_one() {
    for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable, io::ErrorKind::NetworkDown] {
        assert_eq!(Cause::of_io(&kind.into(), TIMEOUT), Some(Cause::NoRoute), "{kind}");
    }
}

#[test]
fn time_to_connect_is_told_from_time_to_answer() {
    // Takes connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = super::super::tls::config(None, false).unwrap();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    let client = builder.connect_timeout(Duration::from_millis(50)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cause = Cause::of(&runtime.block_on(client.get(url).send()).unwrap_err(), TIMEOUT);
    assert_eq!(cause, Cause::NotConnected(CONNECT_TIMEOUT));
    assert!(cause.may_pass());
}

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

#[test]
fn names_of_a_certificate_are_bare() {
    assert_eq!(bare_name("DnsName(\"gw.example.com\")"), "gw.example.com");
    assert_eq!(bare_name("IpAddress(10.0.0.1)"), "10.0.0.1");
    assert_eq!(bare_name("gw.example.com"), "gw.example.com");
}
