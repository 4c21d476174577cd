//! Reads the variables of calls, for `invoke` and for `VERIFY`.

use std::path::PathBuf;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::variables::{Entry, Variables};
use super::{Auth, BLANK, CallOptions, Invoke, PayloadSource, list};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::function::FunctionName;
use crate::function::api::unaddressable;
use crate::text;

const METHODS: [(&str, Method); 5] = [
    ("GET", Method::GET),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
];

/// Headers of `GATEWAY_HEADERS` that the pipe or its HTTP client sets, and those of one connection only (RFC 9110, section 7.6.1).
const RESERVED: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
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

/// Headers of a call that the HTTP client sets.
const OF_CONNECTION: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, PROXY_AUTHORIZATION];

const VERIFY_FORM: &str = "is not of the form `name`, `name.namespace`, `name/path` or `name/path?query`";

#[derive(Debug)]
pub(crate) struct Verify {
    pub(crate) calls: Vec<VerifyCall>,
    pub(crate) options: CallOptions,
}

/// `NAME[.NAMESPACE][/PATH][?QUERY]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifyCall {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) name: String,
    /// If none was written: the stack file's, else `OPENFAAS_NAMESPACE` or `OPENFAAS_NS`.
    pub(crate) namespace: Option<String>,
    /// Empty, or with a slash in front.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// `OPENFAAS_NAMESPACE`, else `OPENFAAS_NS`.
    pub(crate) default_namespace: Option<String>,
}

pub(super) fn invoke(variables: Variables<'_>) -> Invoke {
    let query = variables.query();
    let pairs = query.pairs('=', |_| None);
    if let Some(first) = pairs.iter().find_map(|(key, _)| key.chars().next().filter(|first| "?&".contains(*first))) {
        query.refuse(format!("begins with `{first}`: write ['key=value'], with an item for each key"));
    } else if pairs.iter().any(|(key, _)| key.contains('?') || key.starts_with('/')) {
        query.refuse("is a path with a query: write ['key=value'], with an item for each key; a call has no path");
    }
    Invoke {
        function: function(variables),
        options: call_options(variables, false),
        query: pairs,
        asynchronous: variables.r#async().boolean(),
        output_file: variables.output_file().value.map(PathBuf::from),
        idempotent: variables.idempotent().boolean(),
    }
}

/// A namespace that a URL can have.
pub(super) fn namespace(entry: Entry<'_>) -> Option<String> {
    entry.parsed_by(|namespace| match unaddressable(namespace) {
        Some(character) => Err(format!("`{}` is not allowed in a namespace", character.escape_debug())),
        None => Ok(namespace.to_owned()),
    })
}

/// `VERIFY`; `None` if there is nothing to call.
pub(super) fn verify(variables: Variables<'_>) -> Option<Arc<Verify>> {
    let default_namespace = variables.openfaas_namespace().owned().or_else(|| variables.openfaas_ns().owned());
    let entry = variables.verify();
    let items = entry.list();
    if items.is_empty() {
        return None;
    }
    let split = |line: &str| {
        let calls: Vec<String> = line.split([',', ' ']).filter(|call| !call.is_empty()).map(str::to_owned).collect();
        if calls.first().is_some_and(|first| is_method(first)) {
            return Vec::new();
        }
        let path_length = line.find('?').unwrap_or(line.len());
        let is_in_path = line[..path_length].trim().contains([',', ' ']);
        // A query may have commas, but hardly a slash after one.
        let is_several = is_in_path || calls.iter().skip(1).any(|call| call.contains('/'));
        if is_several { calls } else { Vec::new() }
    };
    entry.check_lines(&items, split);
    let is_lines = list::is_lines(entry.environment, entry.variable.name);
    let parse = |item: &String| {
        let call = VerifyCall::parse(item, default_namespace.clone());
        // Some have a subject of their own.
        let separator = |error: &str| if error.starts_with("is ") { " " } else { ": " };
        call.map_err(|error| entry.refuse(format!("`{}`{}{error}", whole_or_length(item), separator(&error)))).ok()
    };
    let calls = items.iter().filter(|item| !is_lines || split(item).len() < 2).filter_map(parse).collect();
    Some(Arc::new(Verify { calls, options: call_options(variables, true) }))
}

fn is_method(word: &str) -> bool {
    METHODS.iter().any(|(name, _)| name.eq_ignore_ascii_case(word))
}

/// `VERIFY` calls with `GET` and without a body, unless another `METHOD` is set.
fn call_options(variables: Variables<'_>, is_verify: bool) -> CallOptions {
    let (method, content_type) = (variables.method(), variables.content_type());
    let has_body = !is_verify || method.value.is_some_and(|method| !method.eq_ignore_ascii_case("GET"));
    let (text, path) = (variables.payload(), variables.payload_file());
    let set = [text, path].into_iter().find(|entry| entry.value.is_some());
    if text.value.is_some() && path.value.is_some() {
        text.refuse("`PAYLOAD` and `PAYLOAD_FILE` cannot be used together: remove one");
    } else if let Some(set) = set.filter(|_| !has_body) {
        set.refuse("requires a `METHOD` such as `POST`: `VERIFY` calls with `GET`, which has no body");
    }
    let media_type = content_type.text().unwrap_or_default();
    if is_json(media_type) && text.value.is_some_and(text::is_unquoted_json) {
        text.refuse(
            "is JSON without its quotes, which a shell or Bitbucket removed: write `\\\"` for each of them, or use \
             `PAYLOAD_FILE`",
        );
    }
    if !is_media_type(media_type) {
        let shown = whole_or_length(media_type);
        content_type.refuse(format!("`{shown}` is not a media type: write a type such as `application/json`"));
    }
    let header = HeaderValue::from_str(media_type);
    let header = header.map_err(|_| content_type.refuse("has a character that is not allowed in a header"));
    let (headers, sign) = (headers(variables), sign(variables));
    let names = headers.keys().map(|name| (variables.headers(), name));
    let names = names.chain(sign.iter().map(|(name, _)| (variables.sign_header(), name)));
    for (entry, name) in names.filter(|(_, name)| OF_CONNECTION.contains(name)) {
        entry.refuse(format!("`{name}` is set by the connection itself: use another header, or remove it"));
    }
    if content_type.value.is_some() && headers.contains_key(CONTENT_TYPE) {
        content_type.refuse("is set twice, here and in `HEADERS`: remove one");
    }
    if sign.as_ref().is_some_and(|(name, _)| headers.contains_key(name)) {
        variables.sign_header().refuse("is set twice, here and in `HEADERS`: remove one");
    }
    let methods = METHODS.each_ref().map(|(name, method)| (*name, method));
    let auths = [("auto", Auth::Auto), ("always", Auth::Always), ("never", Auth::Never)];
    let auth = variables.auth().choice(&auths);
    if auth == Auth::Always && headers.contains_key(AUTHORIZATION) {
        let message =
            "`always` puts a function token in place of the `Authorization` in `HEADERS`: remove one of the two";
        variables.auth().refuse(message);
    }
    if sign.as_ref().is_some_and(|(name, _)| [AUTHORIZATION, CONTENT_TYPE].contains(name)) {
        variables
            .sign_header()
            .refuse("is a header that the pipe sets itself: use one of its own, such as `X-Signature`");
    }
    CallOptions {
        method: if has_body { method.choice(&methods).clone() } else { Method::GET },
        payload: match path.owned() {
            Some(path) => PayloadSource::File(path),
            None => PayloadSource::Text(text.owned().unwrap_or_default()),
        },
        content_type: header.ok().filter(|_| has_body),
        headers,
        auth,
        sign,
    }
}

/// The function's name and its namespace, from `FUNCTION` as `name` or `name.namespace`.
pub(super) fn function(variables: Variables<'_>) -> FunctionName {
    let entry = variables.function();
    let namespace = |entry: Entry<'_>| {
        let namespace = namespace(entry);
        if namespace.as_ref().is_some_and(|namespace| namespace.contains('.')) {
            entry.refuse("contains a `.`, which no namespace of a function has");
        }
        namespace
    };
    let namespace_option = namespace(variables.openfaas_namespace());
    let text = entry.required().unwrap_or_default();
    let parts = match text.split_once('/') {
        _ if text.is_empty() => Ok((text, None)),
        Some(("function" | "async-function", call)) => {
            let name = call.split('/').next().unwrap_or_default();
            Err(format!("is a path: write `{}`", whole_or_length(name)))
        }
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            let (name, namespace) = (whole_or_length(name), whole_or_length(namespace));
            Err(format!(
                "contains a `/`: write `{name}.{namespace}`, the name first, if `{namespace}` is the namespace; a call has no path"
            ))
        }
        _ => is_a_url(text).map_or_else(|| full_name(text, "is neither `name` nor `name.namespace`"), Err),
    };
    let (name, suffix) = parts.unwrap_or_else(|error| {
        entry.refuse(error);
        (text, None)
    });
    if let (Some(suffix), Some(namespace)) = (suffix, &namespace_option)
        && suffix != namespace
    {
        let (suffix, namespace) = (whole_or_length(suffix), whole_or_length(namespace));
        entry.refuse(format!("names the namespace `{suffix}`, but `OPENFAAS_NAMESPACE` is `{namespace}`: remove one"));
    }
    let default = || namespace(variables.openfaas_ns());
    FunctionName::new(name, suffix.map(str::to_owned).or(namespace_option).or_else(default))
}

fn headers(variables: Variables<'_>) -> HeaderMap {
    let headers = header_map(variables.headers());
    let of_gateway = header_map(variables.gateway_headers());
    if let Some(name) = headers.keys().find(|name| of_gateway.contains_key(*name)) {
        let message = format!("`{name}` is also in `GATEWAY_HEADERS`, which functions receive too: remove one");
        variables.headers().refuse(message);
    }
    headers
}

/// `GATEWAY_HEADERS`, with values that no output shows.
pub(super) fn gateway_headers(variables: Variables<'_>) -> HeaderMap {
    let mut headers = header_map(variables.gateway_headers());
    for name in headers.keys().filter(|name| RESERVED.contains(&name.as_str())) {
        variables.gateway_headers().refuse(match *name == AUTHORIZATION {
            true => "`Authorization` holds the step's token or the password: the pipe sets it itself".to_owned(),
            false => format!("`{name}` is set by the HTTP client, and cannot be set here"),
        });
    }
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    headers
}

fn header_map(entry: Entry<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in entry.pairs(':', |_| None) {
        // Such as `Bearer $TOKEN` without its value.
        let is_scheme = ["bearer", "basic", "token"].contains(&value.trim().to_ascii_lowercase().as_str());
        if value.trim().is_empty() || is_scheme {
            entry.refuse(format!("`{}` {}", whole_or_length(&name), BLANK));
        }
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
        match (parsed, HeaderValue::from_str(value.trim())) {
            (Some(name), Ok(value)) => _ = headers.append(name, value),
            (None, _) => entry.refuse(invalid_header(&name)),
            (_, Err(_)) => {
                let name = whole_or_length(&name);
                entry.refuse(format!("the value of `{name}` has a character that is not allowed"));
            }
        }
    }
    headers
}

/// `SIGN_HEADER` and `SIGN_KEY`; `None` if nothing is to be signed.
fn sign(variables: Variables<'_>) -> Option<(HeaderName, Secret)> {
    let (header, key) = (variables.sign_header(), variables.sign_key());
    if header.value.is_none() && key.value.is_none() {
        return None;
    }
    let (text, key) = header.required().zip(key.required())?;
    let name = HeaderName::from_bytes(text.as_bytes());
    let name = name.map_err(|_| header.refuse(invalid_header(text)));
    Some((name.ok()?, Secret::new(key.to_owned())))
}

fn invalid_header(name: &str) -> String {
    format!("`{}` is not a valid header name", whole_or_length(name))
}

/// True if a text is `type/subtype`, with or without parameters (RFC 9110, section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let is_name = |text: &str| {
        !text.is_empty()
            && text.chars().all(|character| character.is_ascii_alphanumeric() || "!#&^_.+-*".contains(character))
    };
    let media_type = text.split(';').next().unwrap_or_default().trim();
    media_type.split_once('/').is_some_and(|(name, subtype)| is_name(name) && is_name(subtype))
}

/// True if a content type is JSON, such as `application/json` or `application/problem+json`.
pub(super) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// The name and the namespace in `name` or `name.namespace`; `form` is what is wrong if it is neither.
fn full_name<'a>(text: &'a str, form: &'static str) -> Result<(&'a str, Option<&'a str>), String> {
    let (name, namespace) = match text.split_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (text, None),
    };
    if name.is_empty() || namespace.is_some_and(|namespace| namespace.is_empty() || namespace.contains('.')) {
        return Err(form.to_owned());
    }
    match unaddressable(text) {
        Some(character) => Err(format!("`{}` is not allowed in a function name", character.escape_debug())),
        None => Ok((name, namespace)),
    }
}

/// The problem with a function's URL, or with its path, in place of the function's name.
fn is_a_url(text: &str) -> Option<String> {
    let path = match text.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => text,
    };
    let calls = ["/function/", "/async-function/"].map(|mark| path.split_once(mark));
    let (before, call) = calls.into_iter().flatten().next()?;
    let is_url = path.len() < text.len() || before.is_empty();
    is_url.then(|| format!("is a URL or a path: write `{}`", whole_or_length(call)))
}

/// True if some server on the way may take a path for one that goes up: with backslashes for slashes, encoded once or more often,
/// or with parameters behind the dots.
fn leaves(path: &str) -> bool {
    let mut decoded = path.to_owned();
    loop {
        let up = |segment: &str| segment.split(';').next() == Some("..");
        if decoded.split(['/', '\\']).any(up) {
            return true;
        }
        match percent_decode_str(&decoded).decode_utf8_lossy().into_owned() {
            more if more == decoded => return false,
            more => decoded = more,
        }
    }
}

impl VerifyCall {
    fn parse(text: &str, default_namespace: Option<String>) -> Result<Self, String> {
        let text = text.trim();
        if let Some((_, call)) = text.split_once(' ').filter(|(first, _)| is_method(first)) {
            return Err(format!("begins with a method, which `METHOD` sets: write `{}`", whole_or_length(call.trim())));
        }
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            let message = "the path or query contains a space or a control character: encode it, for example as `%20`";
            return Err(message.to_owned());
        }
        if let Some(error) = is_a_url(text) {
            return Err(error);
        }
        let (rest, query) = match text.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (text, None),
        };
        let (called, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (name, namespace) = full_name(called, VERIFY_FORM)?;
        if leaves(path) {
            return Err("the path contains `..`, which would leave the function".to_owned());
        }
        if path.contains('\\') {
            let message = "the path contains `\\`, which URLs treat as `/`: write `/`, or encode it as `%5C`";
            return Err(message.to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            path: path.to_owned(),
            query,
            default_namespace,
        })
    }

    /// The function that is called: of those that are deployed the one of this name, else any other.
    pub(crate) fn function(&self, deployed: &[FunctionName]) -> FunctionName {
        let namespace = match &self.namespace {
            Some(namespace) => Some(namespace.clone()),
            None => match deployed.iter().find(|function| function.name == self.name) {
                Some(function) => function.namespace.clone(),
                None => self.default_namespace.clone(),
            },
        };
        FunctionName { namespace, name: self.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VerifyCall, String> {
        VerifyCall::parse(text, Some("dev".to_owned()))
    }

    #[test]
    fn call_has_name_namespace_path_and_query() {
        let call = parse(" import.etl/healthz/live?deep=1&x=a?b ").unwrap();
        assert_eq!((call.name.as_str(), call.namespace.as_deref()), ("import", Some("etl")));
        assert_eq!((call.path.as_str(), call.query.as_deref()), ("/healthz/live", Some("deep=1&x=a?b")));
        let call = parse("import?x").unwrap();
        assert_eq!((call.path.as_str(), call.query.as_deref()), ("", Some("x")));
    }

    #[test]
    fn malformed_calls_are_refused() {
        let refused = |text: &str| parse(text).expect_err(text);
        for text in ["", "/healthz", "?x", ".etl", "f.", "f.a.b"] {
            assert_eq!(refused(text), VERIFY_FORM, "{text}");
        }
        assert_eq!(refused("f:1"), "`:` is not allowed in a function name");
        for text in [
            "f/..",
            "f/../system/functions",
            "f/a/%2E%2e/b",
            r"f/a\..\..\..\system\functions",
            "f/..%2fsystem",
            "f/a/..%5C..%5csystem",
            "f/%252e%252e/x",
            "f/.%25252e/x",
            "f/..;a=b/system",
        ] {
            assert_eq!(refused(text), "the path contains `..`, which would leave the function", "{text}");
        }
        assert_eq!(
            refused(r"f/a\b"),
            r"the path contains `\`, which URLs treat as `/`: write `/`, or encode it as `%5C`"
        );
        for text in ["f/...", "f/a..b", "f/a/..b/c", "f/%2e", "f/100%", "f/%5Cx", "f/a;b/c"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        assert!(refused("f/a b").contains("a space"));
        for text in ["https://gw.example.com/base/function/resize/healthz?x", "/function/resize/healthz?x"] {
            assert_eq!(refused(text), "is a URL or a path: write `resize/healthz?x`", "{text}");
        }
    }

    #[test]
    fn function_of_the_stack_file_needs_no_namespace() {
        let deployed = [FunctionName::new("import", Some("etl")), FunctionName::new("bare", None::<String>)];
        let function = |text: &str| parse(text).unwrap().function(&deployed).to_string();
        assert_eq!(function("import"), "import.etl");
        assert_eq!(function("bare"), "bare");
        assert_eq!(function("other"), "other.dev");
        assert_eq!(function("import.prod"), "import.prod");
    }
}
