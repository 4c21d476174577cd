//! How many connections a run makes, and when.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use local_gateway::{Fault, Gateway, Latch};

use crate::support::{Pipe, Running, changes, issuer, permissive, start, until};

const PASSWORD: &str = "s3cret-password";

fn stack(functions: usize) -> String {
    let mut stack = String::from("provider:\n  name: openfaas\nfunctions:\n");
    for number in 0..functions {
        stack.push_str(&format!("  f-{number}:\n    lang: dockerfile\n    image: example/f:1\n"));
    }
    stack
}

/// How many connections the requests came over.
fn connections(gateway: &Gateway) -> usize {
    let used: std::collections::BTreeSet<_> = gateway.requests().iter().map(|request| request.connection).collect();
    used.len()
}

/// The highest number of a connection that carried a request: one that was opened in vain leaves a gap.
fn opened(gateway: &Gateway) -> u64 {
    gateway.requests().iter().map(|request| request.connection).max().unwrap_or_default()
}

#[test]
fn http2_needs_one_connection_with_a_token() {
    let gateway = start(permissive().tls());
    Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).stack(&stack(40)).run().exits(0);
    assert_eq!(changes(&gateway).len(), 80);
    assert_eq!((connections(&gateway), opened(&gateway)), (1, 1));
}

#[test]
fn http2_needs_one_connection_where_nothing_is_exchanged_first() {
    let gateway = start(Gateway::builder().tls().basic_auth("admin", PASSWORD));
    Pipe::new()
        .var("OPENFAAS_URL", gateway.url())
        .var("OPENFAAS_PASSWORD", PASSWORD)
        .var("CA_CERT", gateway.ca_pem())
        .stack(&stack(40))
        .run()
        .exits(0);
    assert_eq!(changes(&gateway).len(), 80);
    assert_eq!((connections(&gateway), opened(&gateway)), (1, 1));
}

#[test]
fn http1_has_its_connections_before_the_token_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    thread::spawn(move || {
        // The exchange comes over the first, and is answered only when the others are there.
        let mut connections = Vec::new();
        while connections.len() < 8 {
            connections.push(listener.accept().unwrap().0);
            counter.fetch_add(1, Ordering::SeqCst);
        }
        // An answer before the request would be an error of its own.
        let mut exchange = BufReader::new(connections.remove(0));
        let mut line = String::new();
        while exchange.read_line(&mut line).unwrap() > "\r\n".len() {
            line.clear();
        }
        let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
        exchange.get_mut().write_all(answer).unwrap();
        // Open until the pipe has read it.
        let _ = exchange.read_to_end(&mut Vec::new());
    });
    let token = issuer().token().audience(&url).mint();
    Pipe::new()
        .var("OPENFAAS_URL", url)
        .var("BITBUCKET_STEP_OIDC_TOKEN", token)
        .var("PARALLEL", "8")
        .var("TIMEOUT", "30s")
        .stack(&stack(20))
        .run()
        .exits(3);
    assert_eq!(accepted.load(Ordering::SeqCst), 8);
}

#[test]
fn connections_made_ahead_are_the_ones_that_are_used() {
    for builder in [permissive().tls().http1_only(), permissive().http1_only()] {
        let gateway = start(builder);
        // Answers so late that no connection is free for a second request.
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
        let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).var("PARALLEL", "8").stack(&stack(8));
        let mut running = Running::of(pipe);
        until("eighth request", || changes(&gateway).len() == 8);
        latch.open();
        running.end().exits(0);
        assert_eq!((connections(&gateway), opened(&gateway)), (8, 8));
    }
}

#[test]
fn no_more_connections_are_made_than_there_are_functions() {
    let gateway = start(permissive().tls().http1_only());
    Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).stack(&stack(1)).run().exits(0);
    assert_eq!((connections(&gateway), opened(&gateway)), (1, 1));
}

#[test]
fn connections_made_ahead_carry_no_request_of_their_own() {
    let gateway = start(permissive().http1_only());
    Pipe::at(&gateway).stack(&stack(20)).run().exits(0);
    let others = gateway.requests().iter().filter(|request| request.path != "/system/functions").count();
    assert_eq!(others, 1, "the exchange");
}
