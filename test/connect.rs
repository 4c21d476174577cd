//! Addresses that do not lead to a working gateway: each error names the cause and what to change.

use local_gateway::{Certificate, Fault};

use crate::support::{Pipe, deploy_once as deploy, first_error, open, permissive, start};

#[test]
fn unknown_host_name_is_reported() {
    let gateway = open();
    let ran = deploy(&gateway).var("OPENFAAS_URL", "https://gw.exmaple.invalid").run().exits(4);
    let log = first_error(&ran);
    // Without a network, the resolver cannot tell whether the name exists.
    let expected = ["the host name cannot be resolved\n", "the host name could not be resolved"];
    assert!(expected.iter().any(|text| log.contains(text)), "{log}");
    assert!(log.contains("`https://gw.exmaple.invalid`"), "{log}");
}

#[test]
fn closed_port_is_reported() {
    let gateway = open();
    let pipe = deploy(&gateway).var("OPENFAAS_URL", "http://127.0.0.1:1");
    insta::assert_snapshot!(first_error(&pipe.run().exits(4)), @r"
    ERROR: POST /oauth/token at `http://[GATEWAY]`: connection refused
      hint: nothing listens on [NUMBER] of `127.0.0.1`: check `OPENFAAS_URL` (`http://[GATEWAY]`), and whether the gateway runs
    ✖ nothing was deployed
    ");
}

#[test]
fn unreachable_proxy_is_reported() {
    let gateway = open();
    let errors = ["http://127.0.0.1:1".to_owned(), format!("http://{}.example:3128", "a".repeat(64))].map(|proxy| {
        let pipe = deploy(&gateway).var("OPENFAAS_URL", "https://gw.example.com").var("HTTPS_PROXY", proxy);
        first_error(&pipe.run().exits(4))
    });
    insta::assert_snapshot!(errors.join("\n"), @"
    ERROR: POST /oauth/token at `https://gw.example.com`: the proxy did not forward the request: connection refused
      hint: check the proxy that `HTTPS_PROXY` names, or add `gw.example.com` to `NO_PROXY`
    ✖ nothing was deployed

    ERROR: POST /oauth/token at `https://gw.example.com`: the proxy did not forward the request: the host name cannot be resolved
      hint: check the proxy that `HTTPS_PROXY` names, or add `gw.example.com` to `NO_PROXY`
    ✖ nothing was deployed
    ");
}

#[test]
fn invalid_certificates_are_explained() {
    let errors = [Certificate::UnknownAuthority, Certificate::WrongHost, Certificate::Expired].map(|certificate| {
        let gateway = start(permissive().certificate(certificate));
        first_error(&deploy(&gateway).var("CA_CERT", gateway.ca_pem()).run().exits(4))
    });
    insta::assert_snapshot!(errors.join("\n"), @"
    ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate's issuer is not trusted: it is not in `CA_CERT`
      hint: set `CA_CERT` to the certificate of the CA that issued the server's, or let the server send the intermediate certificates; this command shows what it sends: `openssl s_client -connect [GATEWAY] -servername 127.0.0.1 -showcerts`
    ✖ nothing was deployed

    ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate is not for this host name, but for `elsewhere.example.com`
      hint: use a host name that the certificate is for, or issue it for this one
    ✖ nothing was deployed

    ERROR: POST /oauth/token at `https://[GATEWAY]`: the certificate expired on [DATE]
      hint: renew the server's certificate
    ✖ nothing was deployed
    ");
}

#[test]
fn tls_and_plain_http_mixed_up_is_reported() {
    let (plain, secure) = (open(), start(permissive().tls()));
    let tls_to_plain = deploy(&plain).var("OPENFAAS_URL", plain.url().replace("http://", "https://"));
    let plain_to_tls = deploy(&secure).var("OPENFAAS_URL", secure.url().replace("https://", "http://"));
    let errors = [tls_to_plain, plain_to_tls].map(|pipe| first_error(&pipe.run().exits(4)));
    insta::assert_snapshot!(errors.join("\n"), @"
    ERROR: POST /oauth/token at `https://[GATEWAY]`: the port does not speak TLS
      hint: `OPENFAAS_URL` (`https://[GATEWAY]`) begins with `https://`, but the server does not speak TLS: check the port; inside a cluster write `http://…`, with `ALLOW_HTTP: 'true'`
    ✖ nothing was deployed

    ERROR: POST /oauth/token at `http://[GATEWAY]`: plain HTTP was sent to a port that requires TLS
      hint: write `OPENFAAS_URL: 'https://[GATEWAY]'`
    ✖ nothing was deployed
    ");
}

#[test]
fn web_page_instead_of_a_gateway_is_reported() {
    let gateway = open();
    let page = "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head></html>";
    let errors = [200, 404, 405].map(|status| {
        gateway.clear_faults();
        gateway.fault(Fault::any().status(status).header("Content-Type", "text/html").body(page));
        first_error(&deploy(&gateway).run().exits(4))
    });
    insta::assert_snapshot!(errors.join("\n"), @"
    ERROR: POST /oauth/token: 200 OK, a web page (`Welcome to nginx!`)
      hint: the response at `http://[GATEWAY]` is a web page, not the gateway's: a proxy or an ingress in front of it requires its own sign-in, or admits only some addresses; let `/oauth/token` and `/system/` pass there
    ✖ nothing was deployed

    ERROR: POST /oauth/token: 404 Not Found, a web page (`Welcome to nginx!`)
      hint: the response at `http://[GATEWAY]` is a web page, not an OpenFaaS gateway's: check `OPENFAAS_URL`, also for a missing base path
    ✖ nothing was deployed

    ERROR: POST /oauth/token: 405 Method Not Allowed, a web page (`Welcome to nginx!`)
      hint: the response at `http://[GATEWAY]` is a web page, not an OpenFaaS gateway's: check `OPENFAAS_URL`, also for a missing base path
    ✖ nothing was deployed
    ");
}

#[test]
fn web_page_from_a_proxy_is_reported() {
    let gateway = open();
    let page = "<html><head><title>502 Bad Gateway</title></head><center>nginx</center></html>";
    gateway.fault(Fault::any().status(502).header("Content-Type", "text/html").body(page));
    insta::assert_snapshot!(first_error(&deploy(&gateway).run().exits(4)), @"
    ERROR: POST /oauth/token: 502 Bad Gateway, a web page from a proxy in front of the gateway
      hint: a proxy in front of the gateway did not get a response from it: check whether the gateway runs, or raise `RETRIES`
    ✖ nothing was deployed
    ");
}

#[test]
fn web_page_in_response_to_an_invocation_is_reported() {
    let gateway = open();
    gateway.fault(Fault::any().status(404).header("Content-Type", "text/html").body("<html>nginx</html>"));
    let ran = Pipe::at(&gateway).var("COMMAND", "invoke").var("FUNCTION", "f").run().exits(1);
    insta::assert_snapshot!(first_error(&ran), @"
    ERROR: an ingress returned 404 Not Found, not `f`: a web page
      hint: check `OPENFAAS_URL` (`http://[GATEWAY]`), including its base path
    ✖ the invocation of `f` failed with status 404
    ");
}

#[test]
fn missing_base_path_is_reported() {
    let gateway = start(permissive().base_path("/openfaas"));
    let ran = deploy(&gateway).var("OPENFAAS_URL", gateway.url().replace("/openfaas", "")).run().exits(3);
    insta::assert_snapshot!(first_error(&ran), @"
    ERROR: no token exchange at `http://[GATEWAY]/oauth/token`: status 404: `404 page not found`
      hint: the base path in `OPENFAAS_URL` is missing or wrong, or the gateway has no IAM: with OpenFaaS CE or Standard, set `OPENFAAS_PASSWORD`; with Enterprise, set `iam.enabled` in its Helm chart
    ✖ nothing was deployed
    ");
}

#[test]
fn path_of_the_gateway_is_not_its_base_path() {
    let gateway = open();
    for path in ["/ui", "/ui/functions", "/system", "/oauth/token"] {
        let ran = deploy(&gateway).var("OPENFAAS_URL", format!("{}{path}", gateway.url())).run().exits(2);
        ran.says(&format!(
            "OPENFAAS_URL:\n- `{path}` is a path of the gateway, not part of its address: write `{}`",
            gateway.url()
        ));
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn redirect_to_https_is_explained() {
    let gateway = open();
    let there = format!("{}/oauth/token", gateway.url().replace("http://", "https://"));
    gateway.fault(Fault::any().redirect(308, &there));
    insta::assert_snapshot!(first_error(&deploy(&gateway).run().exits(1)), @"
    ERROR: POST /oauth/token: 308 Permanent Redirect, a redirect to `https://[GATEWAY]/oauth/token`
      hint: the gateway requires HTTPS: write `OPENFAAS_URL: 'https://[GATEWAY]'`
    ✖ nothing was deployed
    ");
    gateway.clear_faults();
    gateway.fault(Fault::any().redirect(302, "https://login.example.com/?next=%2F"));
    let ran = deploy(&gateway).run().exits(4).says("a redirect to `https://login.example.com/?next=%2F`");
    ran.says("probably to its own sign-in: let `/oauth/token` and `/system/` pass there");
}
