//! Who answered a request: the server that was asked, or something else in its place.

use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::console::log::quote;
use crate::console::redact;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Responder {
    /// The server that was asked, as far as the response shows.
    Server,
    /// A page for people: a proxy, an ingress or a web server.
    WebPage,
    /// Cloudflare, which got no response from the server.
    Cloudflare,
    KubernetesApi,
    /// An ingress controller that has no route for the host.
    UnroutedIngress,
}

/// Statuses that Cloudflare uses for its own errors, and what they mean.
const CLOUDFLARE: [(u16, &str); 9] = [
    (520, "invalid response from the gateway"),
    (521, "the gateway refused the connection"),
    (522, "no connection to the gateway"),
    (523, "no route to the gateway"),
    (524, "no response from the gateway in time"),
    (525, "TLS handshake with the gateway failed"),
    (526, "invalid certificate of the gateway"),
    (527, "no connection to the gateway"),
    (530, "the gateway's tunnel or host name does not exist"),
];

/// How the default backends of ingress controllers begin their 404: ingress-nginx and Google's load balancer.
const DEFAULT_BACKENDS: [&[u8]; 2] = [b"default backend - 404", b"response 404 (backend NotFound)"];

impl Responder {
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = body.trim_ascii();
        // Before web pages: Cloudflare's errors are such pages, and say less than its status.
        if cloudflare(status).is_some() {
            Self::Cloudflare
        } else if status.is_success() && !text.is_empty() && (is_web_page(headers, body) || is_markup(text))
            || !status.is_success() && (is_web_page(headers, body) || text.starts_with(b"<?xml"))
        {
            Self::WebPage
        } else if status == StatusCode::NOT_FOUND && DEFAULT_BACKENDS.iter().any(|start| text.starts_with(start)) {
            Self::UnroutedIngress
        } else if !status.is_success() && is_kubernetes(text) {
            Self::KubernetesApi
        } else {
            Self::Server
        }
    }
}

/// True if a text begins with a tag, a comment or a declaration. An error may begin so too, such as Go's `<nil>`.
fn is_markup(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text).trim_ascii_start();
    matches!(text, [b'<', second, ..] if second.is_ascii_alphabetic() || b"!?".contains(second))
}

/// True if a response that should be a success is JSON that names an error, as gateways of other APIs return it with 200.
pub(crate) fn names_error(body: &[u8]) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return false };
    ["error", "errors"].iter().any(|key| fields.get(*key).is_some_and(|value| !value.is_null()))
}

/// The challenges of each `WWW-Authenticate` header from its first `Bearer` on, in lower case: a header may list several.
pub(crate) fn bearer_challenges(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let parts = value.split(',').map(str::trim_start).skip_while(|part| !part.starts_with("bearer"));
        let challenges: Vec<_> = parts.collect();
        (!challenges.is_empty()).then(|| challenges.join(", "))
    })
}

/// A failure of the Kubernetes API is a `Status`; without a resource in the path it lists its paths.
fn is_kubernetes(body: &[u8]) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return false };
    let is_status = fields.get("kind").is_some_and(|kind| kind == "Status") && fields.contains_key("apiVersion");
    is_status || fields.get("paths").is_some_and(Value::is_array)
}

fn cloudflare(status: StatusCode) -> Option<&'static str> {
    CLOUDFLARE.iter().find(|(code, _)| *code == status.as_u16()).map(|(_, meaning)| *meaning)
}

/// True if a response is a page for people, which no gateway's API returns.
pub(crate) fn is_web_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let html = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("text/html"));
    let start: Vec<u8> = body.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    html || start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// A web page's title; empty if it has none. Its secrets are masked before their white space is lost.
pub(crate) fn title(body: &[u8]) -> String {
    let body = redact::redact_bytes(body);
    let text = String::from_utf8_lossy(&body);
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title>").map(|at| at + "<title>".len());
    let title = start.and_then(|start| Some(&text[start..start + lower[start..].find("</title>")?]));
    title.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A web page in the place of an API's response, in words.
pub(crate) fn web_page(body: &[u8]) -> String {
    match title(body).as_str() {
        "" => "a web page".to_owned(),
        title => format!("a web page (`{}`)", quote(title)),
    }
}

/// A status with its name, as in `502 Bad Gateway`; one without a standard name is shown by its number.
pub(crate) fn status_name(status: StatusCode) -> String {
    match (cloudflare(status), status.canonical_reason()) {
        (Some(meaning), _) => format!("{} (Cloudflare: {meaning})", status.as_u16()),
        (None, Some(_)) => status.to_string(),
        (None, None) => status.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responder(status: u16, content_type: &str, body: &str) -> Responder {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, content_type.parse().unwrap())]);
        Responder::of(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn what_answers_instead_of_a_gateway_is_recognised() {
        use Responder::*;
        for (status, body, expected) in [
            (404, "default backend - 404\n", UnroutedIngress),
            (404, "response 404 (backend NotFound), service rules for the path non-existent \n", UnroutedIngress),
            (404, "404 page not found\n", Server),
            (404, "deployments.apps \"default backend - 404\" not found", Server),
            (403, r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}"#, KubernetesApi),
            (404, r#"{"paths": ["/api", "/apis"]}"#, KubernetesApi),
            (400, r#"{"error": "invalid_request"}"#, Server),
            (200, r#"{"kind":"Status","apiVersion":"v1"}"#, Server),
            (522, "error code: 522", Cloudflare),
            (530, "<html>Argo Tunnel error</html>", Cloudflare),
            (529, "overloaded", Server),
            (200, "<!DOCTYPE html><title>Sign in</title>", WebPage),
            (401, "<html>", WebPage),
            (200, "<?xml version=\"1.0\"?><ListBucketResult>", WebPage),
            (200, "\u{feff}\n<!-- sso --><script>location = '/login'</script>", WebPage),
            (202, "<head><meta http-equiv=\"refresh\" content=\"0;url=/login\">", WebPage),
            (500, "<nil>", Server),
            (200, "<", Server),
            (200, "", Server),
            (200, "updated", Server),
        ] {
            assert_eq!(responder(status, "text/plain", body), expected, "{status} {body}");
        }
        assert_eq!(responder(202, "text/html", ""), Server);
        assert_eq!(responder(200, "text/html", "Signed out"), WebPage);
        assert_eq!(responder(502, "text/html", ""), WebPage);
    }

    #[test]
    fn json_that_names_an_error_is_no_success() {
        for body in [r#"{"error": "login required"}"#, r#" {"data": null, "errors": [{"message": "no"}]}"#] {
            assert!(names_error(body.as_bytes()), "{body}");
        }
        for body in ["", "error", r#"{"error": null}"#, r#"["error"]"#, r#"{"name": "error"}"#] {
            assert!(!names_error(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn statuses_have_names() {
        let name = |status: u16| status_name(StatusCode::from_u16(status).unwrap());
        assert_eq!(name(502), "502 Bad Gateway");
        assert_eq!(name(522), "522 (Cloudflare: no connection to the gateway)");
        assert_eq!(name(529), "529");
    }

    #[test]
    fn title_of_a_web_page_is_read() {
        assert_eq!(title(b"<html><TITLE>401\n Required</Title><body>"), "401 Required");
        assert_eq!(title("<html>\u{130}<title>\u{130}</title>".as_bytes()), "\u{130}");
        assert_eq!(title(b"<html><title>cut"), "");
        let _secrets = ["title  s3cret", "s3cret-&-title"].map(|secret| redact::Secret::new(secret.to_owned()));
        assert_eq!(title(b"<title>no title  s3cret,\n s3cret-&amp;-\ntitle</title>"), "no ***, ***");
    }
}
