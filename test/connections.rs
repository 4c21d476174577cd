//! How many connections a run opens, and what happens if they are lost.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use local_gateway::{Fault, Gateway, Latch};

use crate::support::{Pipe, Running, changes, permissive, stack, start, until};

fn functions(number: usize) -> String {
    stack(&(0..number).map(|number| format!("f-{number}")).collect::<Vec<_>>())
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
    Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).stack(&functions(40)).run().exits(0);
    assert_eq!(changes(&gateway).len(), 80);
    assert_eq!((connections(&gateway), opened(&gateway)), (1, 1));
}

#[test]
fn http1_opens_no_more_connections_than_it_has_requests_under_way() {
    for builder in [permissive().tls().http1_only(), permissive().http1_only()] {
        let gateway = start(builder);
        // No connection becomes free for a second request.
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
        let pipe = Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).var("PARALLEL", "8").stack(&functions(8));
        let mut running = Running::of(pipe);
        until("eighth request", || changes(&gateway).len() == 8);
        // The exchange's connection is one of them.
        assert_eq!((connections(&gateway), opened(&gateway)), (8, 8));
        latch.open();
        running.end().exits(0);
    }
}

#[test]
fn lost_connections_are_made_again_without_waiting_for_one_that_hangs() {
    for builder in [permissive().tls(), permissive().tls().http1_only()] {
        let gateway = start(builder);
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").times(8).held_by(&latch));
        let relay = Relay::to(gateway.address());
        let url = gateway.url().replace(&gateway.address().to_string(), &relay.address.to_string());
        let pipe = Pipe::at(&gateway).var("OPENFAAS_URL", url).var("CA_CERT", gateway.ca_pem());
        let mut running = Running::of(pipe.var("PARALLEL", "8").stack(&functions(8)));
        until("eighth request", || changes(&gateway).len() == 8);
        relay.lose_all_and_let_the_next_hang();
        latch.open();
        let ran = running.end().exits(0);
        ran.says("the connection was closed").is_silent_about("no connection within");
    }
}

/// Passes connections on to an address until told otherwise.
struct Relay {
    address: SocketAddr,
    passed_on: Arc<Mutex<Vec<TcpStream>>>,
    hang: Arc<AtomicBool>,
}

impl Relay {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (passed_on, hang): (Arc<Mutex<Vec<TcpStream>>>, Arc<AtomicBool>) = Default::default();
        let relay = Self { address, passed_on: Arc::clone(&passed_on), hang: Arc::clone(&hang) };
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for client in listener.incoming() {
                let client = client.expect("a connection");
                if hang.swap(false, Ordering::SeqCst) {
                    hanging.push(client);
                    continue;
                }
                let server = TcpStream::connect(target).expect("a connection");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().expect("a clone"), to.try_clone().expect("a clone"));
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                passed_on.lock().expect("no panic").extend([client, server]);
            }
        });
        relay
    }

    fn lose_all_and_let_the_next_hang(&self) {
        self.hang.store(true, Ordering::SeqCst);
        for stream in self.passed_on.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
