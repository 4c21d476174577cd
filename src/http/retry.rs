//! Which failures are transient, and how long to wait before the next try.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::console::log;
use crate::shutdown::Stop;

/// The wait before the first further try; it doubles with each.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer by itself.
const LONGEST: Duration = Duration::from_secs(15);
/// A server that asks for more than this gets this: a step's minutes cost money.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Whether an answer says that the same request may succeed later.
///
/// A 500 with a text of its own comes from the gateway or the function and will come again; one that is empty or a web
/// page was made by a proxy between.
pub(crate) fn may_pass(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    match status.as_u16() {
        408 | 425 | 429 | 502 | 503 | 504 => true,
        500 => body.trim_ascii().is_empty() || is_web_page(headers, body),
        _ => false,
    }
}

/// Whether an answer is a page for people, which no gateway's interface gives.
pub(crate) fn is_web_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let html = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("text/html"));
    let start: Vec<u8> = body.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    html || start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// A web page's title; empty where it has none.
pub(crate) fn title(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title>").map(|at| at + "<title>".len());
    let title = start.and_then(|start| Some(&text[start..start + lower[start..].find("</title>")?]));
    title.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The wait that a server asks for (RFC 9110, section 10.2.3), as seconds or as a date.
pub(crate) fn asked_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_ASKED))
}

/// The wait before try `number` (from 1), half of it by chance so that many pipes do not come back at once.
pub(crate) fn backoff(number: u32) -> Duration {
    let full = FIRST.saturating_mul(2u32.saturating_pow(number.saturating_sub(1))).min(LONGEST);
    let chance = RandomState::new().hash_one(number) % 1000;
    let half = full / 2;
    half + half.mul_f64(chance as f64 / 1000.0)
}

/// Waits before further try `number`; says whether there is to be one.
pub(crate) async fn pause(stop: &Stop, said: &str, wait: Duration, number: u32, retries: u32) -> bool {
    if number > retries || stop.requested().is_some() {
        return false;
    }
    tracing::warn!("{said}; trying again in {} ({number} of {retries})", log::duration(wait));
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        _ = stop.wait() => false,
    }
}

/// [`may_pass`] for an answer whose body is not read yet.
pub(crate) fn response_may_pass(response: &reqwest::Response) -> bool {
    let body: &[u8] = if response.content_length() == Some(0) { b"" } else { b"unread" };
    may_pass(response.status(), response.headers(), body)
}

/// How long to wait after an answer.
pub(crate) fn wait_of(headers: &HeaderMap, number: u32) -> Duration {
    asked_wait(headers, SystemTime::now()).unwrap_or_else(|| backoff(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn passing_statuses_are_told_from_final_ones() {
        let pass = |status: u16, body: &str| {
            may_pass(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
        };
        for status in [408, 425, 429, 502, 503, 504] {
            assert!(pass(status, "text"), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 501] {
            assert!(!pass(status, ""), "{status}");
        }
        assert!(pass(500, " \n"));
        assert!(pass(500, "<html><h1>Internal Server Error</h1>"));
        assert!(!pass(500, "no such secret"));
    }

    #[test]
    fn page_is_told_by_its_title() {
        assert_eq!(title(b"<html><TITLE>401\n Required</Title><body>"), "401 Required");
        assert_eq!(title("<html>\u{130}<title>\u{130}</title>".as_bytes()), "\u{130}");
        assert_eq!(title(b"<html><title>cut"), "");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_date_and_capped() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").unwrap();
        let wait = |value: &str| asked_wait(&headers("retry-after", value), now);
        assert_eq!(wait("3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("Fri, 20 Nov 2026 10:00:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Fri, 20 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("86400"), Some(LONGEST_ASKED));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
    }

    #[test]
    fn waits_double_with_chance_and_stay_bounded() {
        for (number, full) in [(1, 500), (2, 1000), (3, 2000), (10, 15_000), (u32::MAX, 15_000)] {
            let wait = backoff(number).as_millis();
            assert!((full / 2..=full).contains(&wait), "{number}: {wait}");
        }
    }
}
