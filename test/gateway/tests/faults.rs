//! Faults over HTTP/1.1 and HTTP/2, with and without TLS.

use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::common::{client, client_builder, import_csv};
use local_gateway::{Certificate, Fault, Gateway, Latch, Version};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

/// A gateway and a client for every combination of protocol and TLS.
fn ways() -> Vec<(Gateway, Client, Version)> {
    let h1 = Gateway::builder().http1_only().start().unwrap();
    let h1_client = client(&h1);
    let h2 = Gateway::builder().start().unwrap();
    let h2_client = client_builder(&h2).http2_prior_knowledge().build().unwrap();
    let tls_h1 = Gateway::builder().tls().http1_only().start().unwrap();
    let tls_h1_client = client(&tls_h1);
    let tls_h2 = Gateway::builder().tls().start().unwrap();
    let tls_h2_client = client(&tls_h2);
    vec![
        (h1, h1_client, Version::HTTP_11),
        (h2, h2_client, Version::HTTP_2),
        (tls_h1, tls_h1_client, Version::HTTP_11),
        (tls_h2, tls_h2_client, Version::HTTP_2),
    ]
}

async fn create(gateway: &Gateway, client: &Client) -> reqwest::Result<Response> {
    client.post(format!("{}/system/functions", gateway.url())).json(&import_csv()).send().await
}

fn is_reset(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    let mut kinds = causes.filter_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind));
    kinds.any(|kind| kind == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn reset_request_is_not_processed() {
    for (gateway, client, version) in ways() {
        gateway.fault(Fault::any().times(1).reset());
        let error = create(&gateway, &client).await.unwrap_err();
        assert!(is_reset(&error), "{version:?} {error:?}");
        assert!(gateway.functions().is_empty());
        assert_eq!(create(&gateway, &client).await.unwrap().version(), version);
    }
}

#[tokio::test]
async fn lost_response_means_a_processed_request() {
    for (gateway, client, version) in ways() {
        for fault in [Fault::any().times(1).lose(), Fault::any().times(1).lose().orderly()] {
            gateway.clear_faults();
            gateway.fault(fault);
            create(&gateway, &client).await.unwrap_err();
            assert_eq!(gateway.functions().len(), 1, "{version:?}");
            assert_eq!(gateway.requests()[0].status, None);
            assert_eq!(create(&gateway, &client).await.unwrap().status(), StatusCode::CONFLICT);
        }
    }
}

#[tokio::test]
async fn orderly_reset_keeps_the_http2_connection() {
    for (gateway, client, version) in ways() {
        gateway.fault(Fault::any().nth(2).reset().orderly());
        create(&gateway, &client).await.unwrap();
        let error = create(&gateway, &client).await.unwrap_err();
        assert!(!is_reset(&error), "{error:?}");
        create(&gateway, &client).await.unwrap();
        let connections: Vec<u64> = gateway.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, if version == Version::HTTP_2 { [1, 1, 1] } else { [1, 1, 2] });
    }
}

#[tokio::test]
async fn cut_off_body_ends_with_an_error() {
    for (gateway, client, version) in ways() {
        gateway.put_function(&json!({"service": "echo", "image": "echo"}));
        gateway.fault(Fault::on("POST", "/function/").cut_off(3));
        let url = format!("{}/function/echo", gateway.url());
        let mut answer = client.post(url).body("whole").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "who", "{version:?}");
        answer.chunk().await.unwrap_err();
    }
}

#[tokio::test]
async fn raw_bytes_are_not_http() {
    for (gateway, client, version) in ways() {
        gateway.fault(Fault::any().times(1).raw("\0\x01 this is no HTTP\n".repeat(10)));
        create(&gateway, &client).await.unwrap_err();
        assert!(create(&gateway, &client).await.is_ok(), "{version:?}");
    }
}

#[tokio::test]
async fn endless_headers_are_rejected_by_the_client() {
    let gateway = Gateway::builder().http1_only().start().unwrap();
    gateway.fault(Fault::any().nth(1).raw_endless("HTTP/1.1 200 OK\r\n"));
    create(&gateway, &client(&gateway)).await.unwrap_err();
}

#[tokio::test]
async fn status_headers_and_body_can_be_set() {
    for (gateway, client, _) in ways() {
        gateway.fault(Fault::any().nth(1).status(429).header("Retry-After", "7").body("slow down"));
        gateway.fault(Fault::any().nth(2).redirect(308, "https://elsewhere.example.com/"));
        gateway.fault(Fault::any().nth(3).header("X-Further", "yes"));
        let first = create(&gateway, &client).await.unwrap();
        assert_eq!(
            (first.status(), first.headers()["retry-after"].to_str().unwrap()),
            (StatusCode::TOO_MANY_REQUESTS, "7")
        );
        assert_eq!(first.text().await.unwrap(), "slow down");
        let second = create(&gateway, &client).await.unwrap();
        assert_eq!(second.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(second.headers()["location"], "https://elsewhere.example.com/");
        let third = create(&gateway, &client).await.unwrap();
        assert_eq!((third.status(), third.headers()["x-further"].to_str().unwrap()), (StatusCode::ACCEPTED, "yes"));
    }
}

#[tokio::test]
async fn request_and_response_can_be_delayed() {
    let gateway = Gateway::builder().start().unwrap();
    let pause = Duration::from_millis(50);
    gateway.fault(Fault::any().delay(pause).delay_answer(pause));
    let started = Instant::now();
    create(&gateway, &client(&gateway)).await.unwrap();
    assert!(started.elapsed() >= 2 * pause);
}

#[tokio::test]
async fn echo_returns_headers_and_body() {
    for (gateway, client, _) in ways() {
        gateway.fault(Fault::any().status(400).echo());
        let request = client.post(format!("{}/oauth/token?a=b", gateway.url())).bearer_auth("canary").body("subject");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.headers()["x-echo-authorization"], "Bearer canary");
        let text = answer.text().await.unwrap();
        assert!(text.starts_with("POST /oauth/token?a=b\n") && text.contains("authorization: Bearer canary\n"));
        assert!(text.ends_with("\n\nsubject"));
    }
}

#[tokio::test]
async fn endless_bodies_keep_coming() {
    for (gateway, client, _) in ways() {
        gateway.fault(Fault::any().nth(1).body("more").endless_body());
        gateway.fault(Fault::any().nth(2).body("slow").slow_body(Duration::from_millis(1)));
        gateway.fault(Fault::any().nth(3).gzip_bomb());
        for least in [100_000, 10, 100_000] {
            let mut answer = create(&gateway, &client).await.unwrap();
            let mut read = 0;
            while read < least {
                read += answer.chunk().await.unwrap().unwrap().len();
            }
        }
    }
}

/// Waits until the gateway has received a request, which must not get a response before.
async fn wait_for_request(gateway: &Gateway, unanswered: impl Future<Output = reqwest::Result<Response>>) {
    let received = async {
        while gateway.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        answer = unanswered => panic!("{answer:?}"),
        received = tokio::time::timeout(Duration::from_secs(30), received) => received.expect("timed out waiting for a request"),
    }
}

#[tokio::test]
async fn held_request_is_processed_after_its_release() {
    for (gateway, client, _) in ways() {
        let latch = Latch::closed();
        gateway.fault(Fault::any().held_by(&latch));
        let mut held = pin!(create(&gateway, &client));
        wait_for_request(&gateway, &mut held).await;
        assert!(gateway.functions().is_empty());
        latch.open();
        assert_eq!(held.await.unwrap().status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn hanging_request_does_not_block_others() {
    for (gateway, client, _) in ways() {
        gateway.fault(Fault::on("GET", "/healthz").hang());
        let mut hanging = pin!(client.get(format!("{}/healthz", gateway.url())).send());
        wait_for_request(&gateway, &mut hanging).await;
        assert_eq!(create(&gateway, &client).await.unwrap().status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn certificate_can_be_invalid() {
    for (certificate, reason) in [
        (Certificate::WrongHost, "not valid for name"),
        (Certificate::Expired, "expired"),
        (Certificate::UnknownAuthority, "UnknownIssuer"),
    ] {
        let gateway = Gateway::builder().certificate(certificate).start().unwrap();
        let error = create(&gateway, &client(&gateway)).await.unwrap_err();
        assert!(format!("{error:?}").contains(reason) || full_text(&error).contains(reason), "{error:?}");
    }
}

fn full_text(error: &reqwest::Error) -> String {
    std::iter::successors(error.source(), |error| (*error).source()).map(|cause| cause.to_string() + "\n").collect()
}

#[tokio::test]
async fn certificate_has_additional_host_names() {
    let gateway = Gateway::builder().tls().host_name("gateway").start().unwrap();
    let client = client_builder(&gateway).resolve("gateway", gateway.address()).build().unwrap();
    let url = format!("https://gateway:{}/healthz", gateway.address().port());
    assert_eq!(client.get(url).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn plain_http_on_the_tls_port_gets_a_400() {
    let gateway = Gateway::builder().tls().start().unwrap();
    let url = gateway.url().replace("https", "http");
    let answer = client(&gateway).get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.text().await.unwrap(), "Client sent an HTTP request to an HTTPS server.\n");
}

#[tokio::test]
async fn recording_can_be_disabled() {
    let gateway = Gateway::builder().record(false).start().unwrap();
    create(&gateway, &client(&gateway)).await.unwrap();
    gateway.record(true);
    create(&gateway, &client(&gateway)).await.unwrap();
    let statuses: Vec<_> = gateway.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(409)]);
    gateway.clear_requests();
    assert!(gateway.requests().is_empty());
}

#[tokio::test]
async fn processed_request_can_get_another_response() {
    for fault in [
        Fault::any().times(1).processed().status(502),
        Fault::any().times(1).processed().status(500),
        Fault::any().times(1).processed().status(200).body("{}").cut_off(1),
    ] {
        for (gateway, client, version) in ways() {
            let expected = fault.clone();
            gateway.fault(expected);
            let answer = create(&gateway, &client).await.unwrap();
            assert!(answer.status() != StatusCode::ACCEPTED);
            assert_eq!(gateway.functions().len(), 1, "{version:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn processed_request_can_hang() {
    for (gateway, client, _) in ways() {
        gateway.fault(Fault::any().processed().hang());
        let response = create(&gateway, &client);
        tokio::time::timeout(Duration::from_millis(500), response).await.unwrap_err();
        assert_eq!(gateway.functions().len(), 1);
    }
}

#[tokio::test]
async fn dead_gateway_closes_all_connections() {
    for processed in [false, true] {
        for (gateway, client, version) in ways() {
            let fault = Fault::on("POST", "/system/functions").dies();
            gateway.fault(if processed { fault.processed() } else { fault });
            create(&gateway, &client).await.unwrap_err();
            assert_eq!(gateway.functions().len(), usize::from(processed), "{version:?}");
            assert!(create(&gateway, &client).await.unwrap_err().is_connect());
        }
    }
}
