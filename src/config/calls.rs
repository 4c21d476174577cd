//! Reads the variables of calls, for `invoke` and for `VERIFY`.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::parse::Reader;
use super::verify::full_name;
use super::{Auth, CallOptions, Invoke, PayloadSource, Verify, VerifyCall};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::function::FunctionName;

const METHODS: [(&str, Method); 5] = [
    ("GET", Method::GET),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
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
            query: variables.query().pairs('=', problems),
            asynchronous: variables.r#async().boolean(problems),
            output_file: variables.output_file().value.map(PathBuf::from),
            idempotent: variables.idempotent().boolean(problems),
        }
    }

    /// `VERIFY`; `None` if there is nothing to call.
    pub(super) fn verify(&mut self) -> Option<Arc<Verify>> {
        let namespace = self.variables.openfaas_namespace().owned();
        let items = self.variables.verify().list(&mut self.problems);
        if items.is_empty() {
            return None;
        }
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
        let content_type = variables.content_type().text().map(HeaderValue::from_str);
        if let Some(Err(_)) = content_type {
            problems.add("CONTENT_TYPE", "has a character that is not allowed in a header");
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
        let (name, suffix) = match full_name(text, "is neither `name` nor `name.namespace`") {
            Ok(parts) => parts,
            Err(error) => {
                if !text.is_empty() {
                    self.problems.add("FUNCTION", error);
                }
                (text, None)
            }
        };
        if let (Some(suffix), Some(namespace)) = (suffix, &namespace)
            && suffix != namespace
        {
            let (suffix, namespace) = (whole_or_length(suffix), whole_or_length(namespace));
            let message =
                format!("names the namespace `{suffix}`, but `OPENFAAS_NAMESPACE` is `{namespace}`: remove one");
            self.problems.add("FUNCTION", message);
        }
        FunctionName { name: name.to_owned(), namespace: suffix.map(str::to_owned).or(namespace) }
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.variables.headers().pairs(':', &mut self.problems) {
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            match (parsed, HeaderValue::from_str(value.trim())) {
                (Some(name), Ok(value)) => _ = headers.append(name, value),
                (None, _) => self.problems.add("HEADERS", invalid_header(&name)),
                (_, Err(_)) => {
                    let name = whole_or_length(&name);
                    let message = format!("the value of `{name}` has a character that is not allowed");
                    self.problems.add("HEADERS", message);
                }
            }
        }
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

fn invalid_header(name: &str) -> String {
    format!("`{}` is not a valid header name", whole_or_length(name))
}
