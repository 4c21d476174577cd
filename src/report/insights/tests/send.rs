//! Requests through a proxy on loopback.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::super::*;

/// A proxy that answers as many requests as there are statuses, over any number of connections. Returns their heads.
fn proxy(statuses: &'static [u16]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let mut heads = Vec::new();
        let mut statuses = statuses.iter();
        while statuses.len() > 0 {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            while let Some(head) = head(&mut stream) {
                let status = statuses.next().unwrap();
                let response = format!("HTTP/1.1 {status} x\r\ncontent-length: 4\r\n\r\nbusy");
                stream.get_mut().write_all(response.as_bytes()).unwrap();
                heads.push(head);
                if statuses.len() == 0 {
                    break;
                }
            }
        }
        heads
    });
    (url, thread)
}

fn head(stream: &mut impl std::io::BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

fn three_requests() -> Vec<ReportRequest> {
    let request = |method, body| ReportRequest { method, url: "http://api.bitbucket.org/2.0/report".to_owned(), body };
    vec![
        request(Method::DELETE, None),
        request(Method::PUT, Some(json!({"a": 1}))),
        request(Method::POST, Some(json!([1]))),
    ]
}

fn post_to(proxy: &str) -> Result<(), String> {
    post_in(Duration::from_secs(60), proxy)
}

fn post_in(limit: Duration, proxy: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(post(&three_requests(), proxy, limit))
}

#[test]
fn requests_go_to_the_proxy_with_the_whole_address_and_without_a_token() {
    let (url, thread) = proxy(&[404, 200, 200]);
    post_to(&url).unwrap();
    let heads = thread.join().unwrap();
    let first_lines: Vec<&str> = heads.iter().filter_map(|head| head.lines().next()).collect();
    assert_eq!(
        first_lines,
        [
            "DELETE http://api.bitbucket.org/2.0/report HTTP/1.1",
            "PUT http://api.bitbucket.org/2.0/report HTTP/1.1",
            "POST http://api.bitbucket.org/2.0/report HTTP/1.1",
        ]
    );
    for head in heads {
        assert!(head.contains("host: api.bitbucket.org\r\n"), "{head}");
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[test]
fn refused_report_ends_it_and_names_the_proxy_without_its_password() {
    let (url, thread) = proxy(&[204, 403]);
    let address = url.trim_start_matches("http://").to_owned();
    let error = post_to(&url.replace("http://", "http://me:pass@")).unwrap_err();
    thread.join().unwrap();
    assert_eq!(error, format!("proxy `{address}` returned 403 Forbidden to PUT: `busy`"));
}

#[test]
fn proxy_needs_no_scheme() {
    let (url, thread) = proxy(&[204, 200, 201]);
    post_to(url.trim_start_matches("http://")).unwrap();
    assert_eq!(thread.join().unwrap().len(), 3);
    assert_eq!(shown("me:pass@proxy.example.com:8080"), "proxy.example.com:8080");
}

#[test]
fn proxy_that_refuses_connections_is_named() {
    let error = post_to("http://127.0.0.1:1").unwrap_err();
    assert_eq!(error, "no response through proxy `127.0.0.1:1`: connection refused");
}

#[test]
fn invalid_proxy_url_is_reported() {
    assert!(post_to("http://").unwrap_err().starts_with("`REPORT_PROXY` is not the URL of a proxy: "));
}

#[test]
fn proxy_that_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = post_in(Duration::from_millis(30), &format!("http://{address}")).unwrap_err();
    assert_eq!(error, format!("proxy `{address}` took longer than 30 ms"));
}
