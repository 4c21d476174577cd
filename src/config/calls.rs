//! Reads the variables of calls, for `invoke` and for `VERIFY`.

use std::path::PathBuf;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::parse::Reader;
use super::variables::Entry;
use super::verify::{full_name, is_a_url};
use super::{Auth, CallOptions, Invoke, PayloadSource, Problems, Verify, VerifyCall};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::function::FunctionName;
use crate::stack::slips;

const METHODS: [(&str, Method); 5] = [
    ("GET", Method::GET),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
];

/// Headers of `GATEWAY_HEADERS` that the pipe or its HTTP client sets, and those of one connection only (RFC 9110, section 7.6.1).
const RESERVED: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Short names that are written for media types.
const MEDIA_TYPES: [(&str, &str); 8] = [
    ("json", "application/json"),
    ("csv", "text/csv"),
    ("text", "text/plain"),
    ("plain", "text/plain"),
    ("html", "text/html"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("form", "application/x-www-form-urlencoded"),
];

impl Reader<'_> {
    pub(super) fn invoke(&mut self) -> Invoke {
        let variables = self.variables;
        let function = self.function();
        let options = self.call_options("POST");
        let problems = &mut self.problems;
        Invoke {
            function,
            options,
            query: query(variables.query(), problems),
            asynchronous: variables.r#async().boolean(problems),
            output_file: variables.output_file().value.map(PathBuf::from),
            idempotent: variables.idempotent().boolean(problems),
        }
    }

    /// `VERIFY`; `None` if there is nothing to call.
    pub(super) fn verify(&mut self) -> Option<Arc<Verify>> {
        let namespace = self.variables.openfaas_namespace().owned().or_else(|| self.variables.openfaas_ns().owned());
        let verify = self.variables.verify();
        let items = verify.list(&mut self.problems);
        if items.is_empty() {
            return None;
        }
        verify.check_lines(&items, &mut self.problems, |line| {
            let calls: Vec<&str> = line.split([',', ' ']).filter(|call| !call.is_empty()).collect();
            let path_length = line.find('?').unwrap_or(line.len());
            let is_in_path = line[..path_length].trim().contains([',', ' ']);
            // A query may have commas, but hardly a slash after one.
            let is_several = is_in_path || calls.iter().skip(1).any(|call| call.contains('/'));
            if is_several { calls } else { vec![line] }
        });
        let options = self.call_options("GET");
        let mut calls = Vec::with_capacity(items.len());
        for item in &items {
            match VerifyCall::parse(item, namespace.clone()) {
                Ok(call) => calls.push(call),
                Err(error) => self.problems.add("VERIFY", format!("`{}`: {error}", whole_or_length(item))),
            }
        }
        Some(Arc::new(Verify { calls, options }))
    }

    /// `default_method` is used if `METHOD` is not set. A `GET` by default has no body.
    fn call_options(&mut self, default_method: &str) -> CallOptions {
        let variables = self.variables;
        let headers = self.headers();
        let sign = self.sign();
        let problems = &mut self.problems;
        let is_get = variables.method().value.is_none_or(|method| method.eq_ignore_ascii_case("GET"));
        let has_body = default_method != "GET" || !is_get;
        let (text, path) = (variables.payload(), variables.payload_file());
        let set = [text, path].into_iter().find(|entry| entry.value.is_some());
        if text.value.is_some() && path.value.is_some() {
            problems.add("PAYLOAD", "`PAYLOAD` and `PAYLOAD_FILE` cannot be used together: remove one");
        } else if let Some(set) = set.filter(|_| !has_body) {
            let message = "requires a `METHOD` such as `POST`: `VERIFY` calls with `GET`, which has no body";
            problems.add(set.variable.name, message);
        }
        let content_type = variables.content_type().text();
        if content_type.is_some_and(is_json) && text.value.is_some_and(slips::is_unquoted_json) {
            let message = "is JSON without its quotes, which a shell or Bitbucket removed: write `\\\"` for each of them, or \
                           use `PAYLOAD_FILE`";
            problems.add("PAYLOAD", message);
        }
        let content_type = content_type.map(HeaderValue::from_str);
        if let Some(Err(_)) = content_type {
            problems.add("CONTENT_TYPE", "has a character that is not allowed in a header");
        }
        if let Some(name) = variables.content_type().text().filter(|text| !text.contains('/')) {
            let meant = MEDIA_TYPES.iter().find(|(short, _)| name.eq_ignore_ascii_case(short)).map(|(_, whole)| *whole);
            let meant = meant.map_or("a type such as `application/json`".to_owned(), |whole| format!("`{whole}`"));
            problems.add("CONTENT_TYPE", format!("`{}` is not a media type: write {meant}", whole_or_length(name)));
        }
        let methods = METHODS.each_ref().map(|(name, method)| (*name, method));
        let method = if has_body { variables.method().choice(&methods, problems) } else { &Method::GET };
        let auths = [("auto", Auth::Auto), ("always", Auth::Always), ("never", Auth::Never)];
        CallOptions {
            method: method.clone(),
            payload: match path.owned() {
                Some(path) => PayloadSource::File(path),
                None => PayloadSource::Text(text.owned().unwrap_or_default()),
            },
            content_type: content_type.and_then(Result::ok).filter(|_| has_body),
            headers,
            auth: variables.auth().choice(&auths, problems),
            sign,
        }
    }

    /// The function's name and its namespace, from `FUNCTION` as `name` or `name.namespace`.
    pub(super) fn function(&mut self) -> FunctionName {
        let namespace = self.namespace();
        let text = self.variables.function().required(&mut self.problems).unwrap_or_default();
        let parts = match text.split_once('/') {
            _ if text.is_empty() => Ok((text, None)),
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                let (name, namespace) = (whole_or_length(name), whole_or_length(namespace));
                Err(Diagnostic::error(format!("contains a `/`: write `{name}.{namespace}`, the name first")))
            }
            _ => is_a_url(text).map_or_else(|| full_name(text, "is neither `name` nor `name.namespace`"), Err),
        };
        let (name, suffix) = parts.unwrap_or_else(|error| {
            self.problems.add("FUNCTION", error);
            (text, None)
        });
        if let (Some(suffix), Some(namespace)) = (suffix, &namespace)
            && suffix != namespace
        {
            let (suffix, namespace) = (whole_or_length(suffix), whole_or_length(namespace));
            let message =
                format!("names the namespace `{suffix}`, but `OPENFAAS_NAMESPACE` is `{namespace}`: remove one");
            self.problems.add("FUNCTION", message);
        }
        let namespace = suffix.map(str::to_owned).or(namespace).or_else(|| self.default_namespace());
        FunctionName { name: name.to_owned(), namespace }
    }

    fn headers(&mut self) -> HeaderMap {
        let headers = header_map(self.variables.headers(), &mut self.problems);
        // Its own problems are reported when the gateway's settings are read.
        let of_gateway = header_map(self.variables.gateway_headers(), &mut Problems::default());
        if let Some(name) = headers.keys().find(|name| of_gateway.contains_key(*name)) {
            let message = format!("`{name}` is also in `GATEWAY_HEADERS`, which functions receive too: remove one");
            self.problems.add("HEADERS", message);
        }
        headers
    }

    /// `GATEWAY_HEADERS`, with values that no output shows.
    pub(super) fn gateway_headers(&mut self) -> HeaderMap {
        let mut headers = header_map(self.variables.gateway_headers(), &mut self.problems);
        for name in headers.keys().filter(|name| RESERVED.contains(&name.as_str())) {
            let message = match *name == AUTHORIZATION {
                true => "`Authorization` holds the step's token or the password: the pipe sets it itself".to_owned(),
                false => format!("`{name}` is set by the HTTP client, and cannot be set here"),
            };
            self.problems.add("GATEWAY_HEADERS", message);
        }
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        headers
    }

    /// `SIGN_HEADER` and `SIGN_KEY`; `None` if nothing is to be signed.
    fn sign(&mut self) -> Option<(HeaderName, Secret)> {
        let (header, key) = (self.variables.sign_header(), self.variables.sign_key());
        if header.value.is_none() && key.value.is_none() {
            return None;
        }
        let (header, key) = (header.required(&mut self.problems), key.required(&mut self.problems));
        let (header, key) = header.zip(key)?;
        let name = HeaderName::from_bytes(header.as_bytes());
        let name = name.map_err(|_| self.problems.add("SIGN_HEADER", invalid_header(header)));
        Some((name.ok()?, Secret::new(key.to_owned())))
    }
}

/// The pairs of `QUERY`.
fn query(entry: Entry<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let pairs = entry.pairs('=', problems);
    if pairs.iter().any(|(key, _)| key.starts_with('?')) {
        problems.add("QUERY", "begins with `?`: write ['key=value'], with an item for each key");
    }
    pairs
}

fn header_map(entry: Entry<'_>, problems: &mut Problems) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in entry.pairs(':', problems) {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
        match (parsed, HeaderValue::from_str(value.trim())) {
            (Some(name), Ok(value)) => _ = headers.append(name, value),
            (None, _) => problems.add(entry.variable.name, invalid_header(&name)),
            (_, Err(_)) => {
                let name = whole_or_length(&name);
                let message = format!("the value of `{name}` has a character that is not allowed");
                problems.add(entry.variable.name, message);
            }
        }
    }
    headers
}

/// True if a content type is JSON, such as `application/json` or `application/problem+json`.
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

fn invalid_header(name: &str) -> String {
    format!("`{}` is not a valid header name", whole_or_length(name))
}
