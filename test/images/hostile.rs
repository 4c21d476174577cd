//! Registries that return as much as they can: the run stays within its memory, and its log short.

use bytes::Bytes;
use http::Response;

use super::setup::Setup;
use crate::support::{Ran, limited};

/// The largest manifest that is read.
const LIMIT: usize = 4 * 1024 * 1024;

fn answer(status: u16, body: Bytes) -> Response<Bytes> {
    Response::builder().status(status).body(body).expect("invalid response")
}

/// A body of nearly the limit: this element, repeated, within a JSON array.
fn array(start: &str, element: &str) -> Bytes {
    let count = (LIMIT - start.len() - 16) / (element.len() + 1);
    Bytes::from(format!("{start}[{}]}}", vec![element; count].join(",")))
}

/// Runs the pipe with limited memory for images of this many registries, side by side. No line of the log may be long.
fn run(registries: usize, answers: impl Fn(usize, &str) -> Response<Bytes> + Clone + Send + Sync + 'static) -> Ran {
    let setup = Setup::new();
    let hosts: Vec<String> = (0..registries).map(|number| format!("r{number}.example.com")).collect();
    for (number, host) in hosts.iter().enumerate() {
        let answers = answers.clone();
        setup.cloud.serve(host, move |request| answers(number, &request.path));
    }
    let images: Vec<String> = hosts.iter().map(|host| format!("{host}/etl:1.0")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let ran = limited(&setup.pin(&images).list("IMAGE_PLATFORMS", &["linux/s390x"]).var("PARALLEL", "64"));
    let longest = ran.log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 4096, "a line of {longest} bytes");
    assert!(ran.log.lines().last().is_some_and(|line| line.starts_with("✖ ")), "no last line");
    setup.assert_unchanged();
    ran
}

/// Ends with 3 and this text, or with 4 if the limit of time for registries came first: on a slow machine or in an emulator.
fn in_time(ran: Ran, text: &str) {
    match ran.code {
        4 => drop(ran.says("no complete response within 20 s")),
        _ => drop(ran.exits(3).says(text)),
    }
}

#[test]
fn endless_platforms_are_counted() {
    let entry = r#"{"digest":"sha256:1","platform":{"os":"linux","architecture":"amd64"}}"#;
    let index = array(r#"{"manifests":"#, entry);
    let count = (LIMIT - 13 - 16) / (entry.len() + 1);
    let ran = run(16, move |_, _| answer(200, index.clone())).exits(2);
    ran.says(&format!("`linux/amd64` and {} more\n", count - 20));
}

#[test]
fn endless_name_of_a_platform_is_not_shown() {
    let name = "a".repeat(3_000_000);
    let entry =
        format!(r#"{{"manifests":[{{"digest":"sha256:1","platform":{{"os":"{name}","architecture":"amd64"}}}}]}}"#);
    let index = Bytes::from(entry);
    run(16, move |_, _| answer(200, index.clone())).exits(2).says("its platforms: `<3000006 characters>`\n");
}

#[test]
fn endless_tags_and_errors_are_cut() {
    let tags = array(r#"{"tags":"#, r#""1.1""#);
    let error = array(r#"{"errors":"#, r#"{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}"#);
    let ran =
        run(
            16,
            move |_, path| {
                if path.ends_with("/tags/list") { answer(200, tags.clone()) } else { answer(404, error.clone()) }
            },
        );
    ran.exits(2).says("image `r15.example.com/etl:1.0` does not exist");
}

#[test]
fn large_bodies_of_many_registries_are_read_a_few_at_a_time() {
    let page = Bytes::from("x".repeat(LIMIT));
    let ran = run(64, move |_, _| answer(200, page.clone()));
    in_time(ran, "the registry returned something other than a manifest or an index");
}

#[test]
fn longest_tokens_of_many_registries_fit() {
    // With characters that most encodings escape, all of which are looked for in the log.
    let ran = run(16, move |number, path| {
        if path.ends_with("/token") {
            let token = format!("{number}{}", "+/=\"\\<&>".repeat(8 * 1024 / 8 - 1));
            return answer(200, serde_json::json!({"token": token}).to_string().into());
        }
        let realm = format!(r#"Bearer realm="https://r{number}.example.com/token""#);
        Response::builder().status(401).header("www-authenticate", realm).body(Bytes::new()).expect("valid")
    });
    in_time(ran, "image `r15.example.com/etl:1.0` could not be looked up: `r15.example.com` returned 401");
}

#[test]
fn endless_tokens_are_not_used() {
    let token = Bytes::from(format!(r#"{{"token":"{}"}}"#, "a+/".repeat(LIMIT / 3 - 16)));
    let ran = run(64, move |_, path| {
        if path.ends_with("/token") {
            return answer(200, token.clone());
        }
        let response = Response::builder().status(401);
        response
            .header("www-authenticate", r#"Bearer realm="https://r0.example.com/token""#)
            .body(Bytes::new())
            .expect("valid")
    });
    in_time(ran, "returned a response without a token");
}
