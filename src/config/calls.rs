//! Reads the variables of calls, for `invoke` and for `VERIFY`.

use std::path::PathBuf;
use std::sync::Arc;

use super::parse::Reader;
use super::{Auth, CallOptions, Invoke, Payload, Verify, VerifyCall};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::function::FunctionName;
use crate::function::api::unaddressable;

impl Reader<'_> {
    pub(super) fn invoke(&mut self) -> Option<Invoke> {
        let variables = self.variables;
        let function = self.function();
        let options = self.call_options("POST");
        let problems = &mut self.problems;
        let query = variables.query().pairs('=', problems);
        let asynchronous = variables.r#async().boolean(problems);
        let idempotent = variables.idempotent().boolean(problems);
        Some(Invoke {
            function: function?,
            options: options?,
            query: query?,
            asynchronous: asynchronous?,
            output_file: variables.output_file().value.map(PathBuf::from),
            idempotent: idempotent?,
        })
    }

    /// `VERIFY`; `None` within if there is nothing to call.
    pub(super) fn verify(&mut self) -> Option<Option<Arc<Verify>>> {
        let namespace = self.variables.openfaas_namespace().owned();
        let items = self.variables.verify().list(&mut self.problems)?;
        if items.is_empty() {
            return Some(None);
        }
        let options = self.call_options("GET");
        let mut calls = Vec::with_capacity(items.len());
        for item in &items {
            match VerifyCall::parse(item, namespace.clone()) {
                Ok(call) => calls.push(call),
                Err(error) => {
                    self.problems.add("VERIFY", format!("`{}`: {error}", whole_or_length(item)));
                }
            }
        }
        (calls.len() == items.len()).then_some(Some(Arc::new(Verify { calls, options: options? })))
    }

    /// `default_method` is used if `METHOD` is not set. A `GET` by default has no body.
    pub(super) fn call_options(&mut self, default_method: &str) -> Option<CallOptions> {
        let variables = self.variables;
        let headers = self.headers();
        let sign = self.sign();
        let problems = &mut self.problems;
        let is_get = variables.method().value.is_none_or(|method| method.eq_ignore_ascii_case("GET"));
        let has_body = default_method != "GET" || !is_get;
        let payload = match (variables.payload().owned(), variables.payload_file().owned()) {
            (Some(_), Some(_)) => {
                problems.add("PAYLOAD", "`PAYLOAD` and `PAYLOAD_FILE` cannot be used together: remove one");
                None
            }
            (text, path) if !has_body && (text.is_some() || path.is_some()) => {
                let name = if text.is_some() { "PAYLOAD" } else { "PAYLOAD_FILE" };
                problems.add(name, "requires a `METHOD` such as `POST`: `VERIFY` calls with `GET`, which has no body");
                None
            }
            (None, Some(path)) => Some(Payload::File(path)),
            (text, None) => Some(Payload::Text(text.unwrap_or_default())),
        };
        let content_type = http::HeaderValue::from_str(variables.content_type().text()?);
        let content_type = content_type
            .map_err(|_| problems.add("CONTENT_TYPE", "has a character that is not allowed in a header"))
            .ok();
        let methods = [
            ("GET", &http::Method::GET),
            ("POST", &http::Method::POST),
            ("PUT", &http::Method::PUT),
            ("PATCH", &http::Method::PATCH),
            ("DELETE", &http::Method::DELETE),
        ];
        let method = if has_body { variables.method().choice(&methods, problems) } else { Some(&http::Method::GET) };
        let auths = [("auto", Auth::Auto), ("always", Auth::Always), ("never", Auth::Never)];
        let auth = variables.auth().choice(&auths, problems);
        Some(CallOptions {
            method: method?.clone(),
            payload: payload?,
            content_type: Some(content_type?).filter(|_| has_body),
            headers: headers?,
            auth: auth?,
            sign: sign?,
        })
    }

    /// The function's name and its namespace, from `FUNCTION` as `name` or `name.namespace`.
    pub(super) fn function(&mut self) -> Option<FunctionName> {
        let namespace = self.namespace();
        let text = self.variables.function().required(&mut self.problems)?;
        let namespace = namespace?;
        let (name, suffix) = match text.split_once('.') {
            Some((name, suffix)) => (name, Some(suffix)),
            None => (text, None),
        };
        let wrong = if name.is_empty() || suffix.is_some_and(|suffix| suffix.is_empty() || suffix.contains('.')) {
            Some("is neither `name` nor `name.namespace`".to_owned())
        } else if let Some(character) = unaddressable(text) {
            Some(format!("`{}` is not allowed in a function name", character.escape_debug()))
        } else if let (Some(suffix), Some(namespace)) = (suffix, &namespace)
            && suffix != namespace
        {
            let (suffix, namespace) = (whole_or_length(suffix), whole_or_length(namespace));
            Some(format!("names the namespace `{suffix}`, but `OPENFAAS_NAMESPACE` is `{namespace}`: remove one"))
        } else {
            None
        };
        if let Some(message) = wrong {
            self.problems.add("FUNCTION", message);
            return None;
        }
        Some(FunctionName { name: name.to_owned(), namespace: suffix.map(str::to_owned).or(namespace) })
    }

    fn headers(&mut self) -> Option<http::HeaderMap> {
        let mut headers = http::HeaderMap::new();
        for (name, value) in self.variables.headers().pairs(':', &mut self.problems)? {
            let parsed = http::HeaderName::from_bytes(name.as_bytes()).ok();
            match (parsed, http::HeaderValue::from_str(value.trim())) {
                (Some(name), Ok(value)) => _ = headers.append(name, value),
                (None, _) => self.problems.add("HEADERS", invalid_header(&name)),
                (_, Err(_)) => {
                    let message =
                        format!("the value of `{}` has a character that is not allowed", whole_or_length(&name));
                    self.problems.add("HEADERS", message);
                }
            }
        }
        Some(headers)
    }

    /// `None` within if nothing is to be signed.
    fn sign(&mut self) -> Option<Option<(http::HeaderName, Secret)>> {
        let (header, key) = (self.variables.sign_header(), self.variables.sign_key());
        if header.value.is_none() && key.value.is_none() {
            return Some(None);
        }
        let (header, key) = (header.required(&mut self.problems), key.required(&mut self.problems));
        let (header, key) = header.zip(key)?;
        match http::HeaderName::from_bytes(header.as_bytes()) {
            Ok(header) => Some(Some((header, Secret::new(key.to_owned())))),
            Err(_) => {
                self.problems.add("SIGN_HEADER", invalid_header(header));
                None
            }
        }
    }
}

fn invalid_header(name: &str) -> String {
    format!("`{}` is not a valid header name", whole_or_length(name))
}
