//! How many connections a run opens, and what happens if they are lost.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use local_gateway::{Fault, Gateway, Latch};

use crate::support::{Pipe, Running, changes, forward, names, permissive, stack, start, wait_for};

/// The number of connections that carried requests.
fn connections(gateway: &Gateway) -> usize {
    let used: std::collections::BTreeSet<_> = gateway.requests().iter().map(|request| request.connection).collect();
    used.len()
}

/// The highest connection number among the requests. A connection that carried no request leaves a gap.
fn opened(gateway: &Gateway) -> u64 {
    gateway.requests().iter().map(|request| request.connection).max().unwrap_or_default()
}

#[test]
fn http2_uses_one_connection() {
    let gateway = start(permissive().tls());
    Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).stack(&stack(&names(40), "1")).run().exits(0);
    assert_eq!(changes(&gateway).len(), 80);
    assert_eq!((connections(&gateway), opened(&gateway)), (1, 1));
}

#[test]
fn http1_opens_one_connection_per_request_in_flight() {
    for builder in [permissive().tls().http1_only(), permissive().http1_only()] {
        let gateway = start(builder);
        // No connection becomes free for a second request.
        // No connection becomes free for a second request.
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").held_by(&latch));
        let pipe =
            Pipe::at(&gateway).var("CA_CERT", gateway.ca_pem()).var("PARALLEL", "8").stack(&stack(&names(8), "1"));
        let mut running = Running::of(pipe);
        wait_for("eight PUT requests", || changes(&gateway).len() == 8);
        // The connection of the token exchange is one of them.
        assert_eq!((connections(&gateway), opened(&gateway)), (8, 8));
        latch.open();
        running.end().exits(0);
    }
}

#[test]
fn lost_connections_are_replaced_although_one_reconnect_hangs() {
    for builder in [permissive().tls(), permissive().tls().http1_only()] {
        let gateway = start(builder);
        let latch = Latch::closed();
        gateway.fault(Fault::on("PUT", "/system/functions").times(8).held_by(&latch));
        let relay = Relay::to(gateway.address());
        let url = gateway.url().replace(&gateway.address().to_string(), &relay.address.to_string());
        let pipe = Pipe::at(&gateway).var("OPENFAAS_URL", url).var("CA_CERT", gateway.ca_pem());
        let mut running = Running::of(pipe.var("PARALLEL", "8").stack(&stack(&names(8), "1")));
        wait_for("eight PUT requests", || changes(&gateway).len() == 8);
        relay.drop_all_and_hang_next();
        latch.open();
        let ran = running.end().exits(0);
        ran.says("the connection was closed").does_not_say("no connection within");
    }
}

/// A TCP relay that can drop its connections.
struct Relay {
    address: SocketAddr,
    passed_on: Arc<Mutex<Vec<TcpStream>>>,
    hang: Arc<AtomicBool>,
}

impl Relay {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("cannot bind port");
        let address = listener.local_addr().expect("cannot get address");
        let (passed_on, hang): (Arc<Mutex<Vec<TcpStream>>>, Arc<AtomicBool>) = Default::default();
        let relay = Self { address, passed_on: Arc::clone(&passed_on), hang: Arc::clone(&hang) };
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for client in listener.incoming() {
                let client = client.expect("cannot connect");
                if hang.swap(false, Ordering::SeqCst) {
                    hanging.push(client);
                    continue;
                }
                let server = TcpStream::connect(target).expect("cannot connect");
                forward(&client, &server);
                passed_on.lock().expect("lock is poisoned").extend([client, server]);
            }
        });
        relay
    }

    fn drop_all_and_hang_next(&self) {
        self.hang.store(true, Ordering::SeqCst);
        for stream in self.passed_on.lock().expect("lock is poisoned").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
