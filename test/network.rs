//! Failures between the pipe and the gateway: proxies, TLS mismatches, changing files, missing responses.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::thread;

use local_gateway::{Fault, Gateway, proxy};
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::{Pipe, Running, deploy_once as deploy, first_error, forward, open, permissive, put, start};

/// How a TLS server handles plain HTTP.
#[derive(Clone, Copy)]
enum Answer {
    Close,
    Reset,
    /// The record with the alert `unexpected_message` or `protocol_version`.
    Alert,
    /// A response in HTTP, as sent by Go's server.
    Text,
}

/// A server that forwards TLS connections to a gateway and handles plain HTTP in this way.
fn tls_only(gateway: SocketAddr, answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("cannot bind port");
    let address = listener.local_addr().expect("cannot get address");
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("cannot connect");
            let mut first = [0];
            if client.peek(&mut first).is_ok_and(|read| read == 1) && first[0] == 22 {
                let server = TcpStream::connect(gateway).expect("cannot connect");
                forward(&client, &server);
                continue;
            }
            // Closing a socket with unread data would reset the connection.
            let _ = client.read(&mut [0; 64 * 1024]);
            let _ = match answer {
                Answer::Close => Ok(()),
                Answer::Reset => {
                    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                    setsockopt(&client.as_fd(), sockopt::Linger, &linger).expect("cannot set socket option");
                    Ok(())
                }
                Answer::Alert => client.write_all(&[21, 3, 1, 0, 2, 2, 10]),
                Answer::Text => client
                    .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"),
            };
        }
    });
    address
}

#[test]
fn plain_http_sent_to_a_tls_port_is_detected() {
    for builder in [permissive().tls(), permissive().tls().http1_only()] {
        let gateway = start(builder);
        for answer in [Answer::Close, Answer::Reset, Answer::Alert, Answer::Text] {
            let url = format!("http://{}", tls_only(gateway.address(), answer));
            let ran = deploy(&gateway).var("OPENFAAS_URL", &url).var("RETRIES", "2").run().exits(4);
            insta::allow_duplicates! {
                insta::assert_snapshot!(first_error(&ran), @"
                ERROR: POST /oauth/token at `http://[GATEWAY]`: plain HTTP was sent to a port that requires TLS
                  hint: write `OPENFAAS_URL: 'https://[GATEWAY]'`
                ✖ nothing was deployed
                ");
            }
            // Retrying does not help.
            ran.does_not_say("retrying");
        }
    }
}

#[test]
fn closed_plain_connection_is_not_mistaken_for_tls() {
    let gateway = open();
    gateway.fault(Fault::any().reset());
    let ran = deploy(&gateway).run().exits(4);
    ran.says("the connection was closed")
        .says("hint: the gateway or an ingress in front of it closed the connection: check their logs")
        .does_not_say("TLS");
}

#[test]
fn proxy_error_for_connect_is_retried_and_attributed_to_the_proxy() {
    let proxy = proxy::start().expect("cannot start proxy");
    let gateway = open();
    let pipe = deploy(&gateway).var("OPENFAAS_URL", "https://gw.example.com").var("HTTPS_PROXY", proxy.url());
    let ran = pipe.var("RETRIES", "1").run().exits(4);
    assert_eq!(proxy.requests().len(), 2);
    insta::assert_snapshot!(ran.scrubbed(), @"
    INFO: openfaas-pipe [VERSION]: deploy
    INFO: deploying 1 function of `stack.yml` to `https://gw.example.com`
    WARNING: POST /oauth/token at `https://gw.example.com`: the proxy did not forward the request: it returned an error for CONNECT; retrying in [TIME] (1 of 1)
    ERROR: POST /oauth/token at `https://gw.example.com`: the proxy did not forward the request: it returned an error for CONNECT
      hint: check the proxy that `HTTPS_PROXY` names, or add `gw.example.com` to `NO_PROXY`
    ✖ nothing was deployed
    ");
}

#[test]
fn gateway_is_reached_after_the_proxy_recovers() {
    for builder in [permissive().tls(), permissive().tls().http1_only()] {
        let gateway = start(builder.host_name("gw.example.com"));
        let proxy = proxy::start().expect("cannot start proxy");
        let pipe = deploy(&gateway).var("OPENFAAS_URL", "https://gw.example.com").var("CA_CERT", gateway.ca_pem());
        let mut running = Running::of(pipe.var("HTTPS_PROXY", proxy.url()).var("RETRIES", "4"));
        running.read_to("retrying in");
        proxy.resolve("gw.example.com", gateway.address());
        running.end().exits(0);
    }
}

#[test]
fn unreachable_http_proxy_is_reported() {
    let gateway = open();
    let pipe = || deploy(&gateway).var("OPENFAAS_URL", "http://gw.example.com:8080").var("ALLOW_HTTP", "true");
    insta::assert_snapshot!(first_error(&pipe().var("HTTP_PROXY", "http://127.0.0.1:1").run().exits(4)), @"
    ERROR: POST /oauth/token at `http://gw.example.com:8080`: the proxy did not forward the request: connection refused
      hint: check the proxy that `HTTP_PROXY` names, or add `gw.example.com` to `NO_PROXY`
    ✖ nothing was deployed
    ");
    // A proxy that is not used is not named in the error.
    let ran = pipe().var("OPENFAAS_URL", "http://127.0.0.1:1").var("HTTP_PROXY", "http://127.0.0.1:1").run().exits(4);
    ran.says("connection refused").does_not_say("HTTP_PROXY");
}

/// An invocation that signs a file, and is retried because the first response is a 503.
fn signed(gateway: &Gateway) -> Pipe {
    put(gateway, "openfaas-fn", "echo");
    gateway.fault(Fault::on("POST", "/function/echo").times(1).status(503).header("Retry-After", "1"));
    Pipe::at(gateway)
        .var("COMMAND", "invoke")
        .var("FUNCTION", "echo")
        .var("IDEMPOTENT", "true")
        .file("payload", "x".repeat(100_000))
        .var("PAYLOAD_FILE", "payload")
        .var("SIGN_HEADER", "X-Sign")
        .var("SIGN_KEY", "a-key-of-some-length")
        .var("CA_CERT", gateway.ca_pem())
}

#[test]
fn payload_file_changed_after_signing_is_an_error() {
    for builder in [permissive().http1_only(), permissive().tls(), permissive().tls().http1_only()] {
        let gateway = start(builder);
        let pipe = signed(&gateway);
        let path = pipe.dir().join("payload");
        let mut running = Running::of(pipe);
        running.read_to("retrying in");
        OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(b"more"))
            .expect("cannot write file");
        insta::allow_duplicates! {
            insta::assert_snapshot!(first_error(&running.end().exits(1)), @"
            ERROR: the request was not sent: `payload` changed after its length was read
              hint: `PAYLOAD_FILE` was readable when the run began: find out what changes it during the run
            ✖ no response from `echo`
            ");
        }
        assert_eq!(gateway.requests().iter().filter(|request| request.path == "/function/echo").count(), 1);
    }
}

#[test]
fn query_of_a_stack_file_url_is_a_secret() {
    for http1_only in [false, true] {
        let builder = |builder: local_gateway::Builder| start(if http1_only { builder.http1_only() } else { builder });
        let files = builder(permissive().tls());
        let stack =
            format!("provider: {{name: openfaas, gateway: '{}'}}\nfunctions: {{f: {{image: 'a/f:1'}}}}\n", files.url());
        files.fault(Fault::on("GET", "/team/stack.yml").status(200).body(stack));
        let url = format!("{}/team/stack.yml?token=s3cret-of-a-link", files.url());
        let pipe = Pipe::at(&files).var("STACK_FILE", &url).var("DEBUG", "true").var("OWNER_LABEL", "true");
        let pipe = pipe.var("CA_CERT", files.ca_pem()).var("BITBUCKET_REPO_FULL_NAME", "a/b");
        let results = pipe.dir().join("storage");
        std::fs::create_dir(&results).expect("cannot create directory");
        let pipe = pipe
            .var("BITBUCKET_PIPE_STORAGE_DIR", results.display().to_string())
            .var("REPORT_PROXY", "http://127.0.0.1:1");
        pipe.run().exits(0).says("/team/stack.yml?…`").does_not_say("s3cret");
        let result = std::fs::read_to_string(results.join("openfaas-pipe.json")).expect("cannot read file");
        assert!(result.contains("/team/stack.yml?…") && !result.contains("s3cret"), "{result}");
        assert!(files.requests().iter().all(|request| !request.headers.contains_key("referer")));
        // The error does not contain the query either.
        files.clear_faults();
        files.fault(Fault::on("GET", "/team/stack.yml").status(404));
        pipe.run().exits(2).says("/team/stack.yml?…` could not be fetched").does_not_say("s3cret");
    }
}
