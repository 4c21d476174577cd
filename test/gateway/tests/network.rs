//! The relay, the forward proxy and the raw servers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::client;
use local_gateway::raw::{self, Behaviour};
use local_gateway::{Gateway, client_config, proxy, relay};
use reqwest::{Client, Proxy, StatusCode};

#[test]
fn relay_adds_the_round_trip_time_and_the_handshake() {
    let rtt = Duration::from_millis(60);
    let gateway = Gateway::builder().start().unwrap();
    let relay = relay::start(gateway.address(), rtt).unwrap();

    let started = Instant::now();
    let mut tcp = TcpStream::connect(relay.address()).unwrap();
    let mut ask = || {
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 1024];
        assert!(tcp.read(&mut answer).unwrap() > 0);
        started.elapsed()
    };
    let first = ask();
    let second = ask() - first;

    assert!(first >= 2 * rtt, "{first:?}");
    assert!(second >= rtt, "{second:?}");
}

#[tokio::test]
async fn relay_forwards_everything() {
    let gateway = Gateway::builder().start().unwrap();
    gateway.put_function(&serde_json::json!({"service": "echo", "image": "echo"}));
    let relay = relay::start(gateway.address(), Duration::from_millis(2)).unwrap();
    let body: Vec<u8> = (0..5_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let url = format!("http://{}/function/echo", relay.address());
    let answer = client(&gateway).post(url).body(body.clone()).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), body);
}

#[tokio::test]
async fn proxy_records_requests_and_responds_for_other_hosts() {
    let gateway = Gateway::builder().start().unwrap();
    let proxy = proxy::start().unwrap();
    let client = Client::builder().proxy(Proxy::http(proxy.url()).unwrap());
    let client = client.tls_backend_preconfigured(client_config(gateway.ca_pem())).build().unwrap();

    proxy.answer(201, "{\"created\":true}");
    let report = client.put("http://api.bitbucket.org/2.0/reports/1?x=y").body("report").send().await.unwrap();
    let health = client.get(format!("{}/healthz", gateway.url())).send().await.unwrap();

    assert_eq!((report.status(), report.text().await.unwrap().as_str()), (StatusCode::CREATED, "{\"created\":true}"));
    assert_eq!((health.status(), health.text().await.unwrap().as_str()), (StatusCode::OK, "OK"));
    let requests = proxy.requests();
    assert_eq!(requests[0].path, "http://api.bitbucket.org/2.0/reports/1?x=y");
    assert_eq!((requests[0].method.as_str(), requests[0].text().as_str()), ("PUT", "report"));
    assert_eq!(requests[1].path, format!("{}/healthz", gateway.url()));
}

#[tokio::test]
async fn proxy_tunnels_to_a_tls_gateway() {
    let gateway = Gateway::builder().tls().start().unwrap();
    let proxy = proxy::start().unwrap();
    let client = Client::builder().proxy(Proxy::https(proxy.url()).unwrap());
    let client = client.tls_backend_preconfigured(client_config(gateway.ca_pem())).build().unwrap();

    let health = client.get(format!("{}/healthz", gateway.url())).bearer_auth("canary").send().await.unwrap();

    assert_eq!(health.status(), StatusCode::OK);
    let requests = proxy.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("CONNECT", &*gateway.address().to_string()));
    assert_eq!(requests[0].header("authorization"), None);
}

fn ask(behaviour: Behaviour, at_most: u64) -> std::io::Result<Vec<u8>> {
    let server = raw::serve(behaviour)?;
    let mut tcp = TcpStream::connect(server.address())?;
    tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = Vec::new();
    tcp.take(at_most).read_to_end(&mut answer)?;
    Ok(answer)
}

#[test]
fn raw_servers_send_their_bytes() {
    const MUCH: u64 = 1_000_000;
    for (behaviour, start, whole) in [
        (Behaviour::html(), "HTTP/1.1 200 Whatever\r\nConnection: close\r\nContent-Type: text/html\r\n", true),
        (Behaviour::strange_json(), "HTTP/1.1 200", true),
        (Behaviour::invalid_utf8(), "HTTP/1.1 400", true),
        (Behaviour::one_byte_per_interval(Duration::from_millis(1)), "HTTP/1.1 200", true),
        (Behaviour::Bytes(b"SSH-2.0-x\r\n".to_vec()), "SSH-2.0-x", true),
        (Behaviour::endless_body(), "HTTP/1.1 200", false),
        (Behaviour::endless_headers(), "HTTP/1.1 200", false),
        (Behaviour::gzip_bomb(), "HTTP/1.1 200", false),
    ] {
        let answer = ask(behaviour.clone(), MUCH).unwrap();
        assert!(answer.starts_with(start.as_bytes()), "{behaviour:?}");
        assert_eq!(answer.len() as u64 == MUCH, !whole, "{behaviour:?}");
    }
}

#[test]
fn raw_servers_break_connections() {
    let server = raw::serve(Behaviour::NeverAnswer).unwrap();
    let tcp = TcpStream::connect(server.address()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!((&tcp).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
