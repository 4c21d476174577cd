//! Functions in the gateway's REST API: created, updated, deleted, looked up, listed, and their logs.

use std::fmt;

use bytes::Bytes;
use http::Method;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::error::ShapeError;
use super::provider::Provider;
use super::send::{ApiCall, Repeat};
use super::{Error, Gateway, RESPONSE_LIMIT, in_namespace};
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::http::retry::{self, Attempt};
use crate::oidc::IamAction;

const FUNCTIONS: [&str; 2] = ["system", "functions"];
/// How often an update is sent again that the provider refused for a reason that passes.
const MOST_CONFLICTS: u32 = 2;
/// The longest list of functions that is read, in bytes: many ten thousands of them.
const LIST_LIMIT: usize = 64 * 1024 * 1024;
/// The longest function that is read, in bytes of JSON: twice what Kubernetes allows for annotations.
const ELEMENT_LIMIT: usize = 512 * 1024;
/// How much the kept elements may take: their JSON text and their structs, in bytes. Several thousand functions.
const KEPT_LIMIT: usize = 8 * 1024 * 1024;

/// The result of a request to update a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Accepted,
    NotFound,
}

/// The result of a request to delete a function.
#[derive(Clone, Debug)]
pub(crate) enum Deletion {
    Accepted,
    NotFound,
    /// It may have been carried out: no response came, or one that a proxy may have made.
    Unknown(Error),
}

/// The result of a request to create a function.
#[derive(Clone, Debug)]
pub(crate) enum Creation {
    Accepted,
    Exists {
        /// An earlier try got no response, and may be what created it.
        response_lost: bool,
        /// The response, if this is an error.
        error: Error,
    },
}

impl Gateway {
    /// `PUT /system/functions` with a deployment as JSON. faasd goes on with an update whose client has left: after a timeout or a
    /// connection that was closed it is not sent again here.
    pub(crate) async fn update(&self, target: &FunctionName, body: Bytes) -> Result<Update, Error> {
        let provider = self.provider().await;
        let repeat = if provider.may_remove() { Repeat::NotIfUnderWay } else { Repeat::Always };
        let call = ApiCall { repeat, ..self.change(Method::PUT, &FUNCTIONS, IamAction::FunctionUpdate, target, body) };
        let attempt = async |number| {
            let (result, passes) = self.update_once(&call, provider).await;
            let said = result.as_ref().err().filter(|_| passes && number <= MOST_CONFLICTS).map(ToString::to_string);
            Attempt { result, retry: said.map(|said| (retry::backoff(number), said)) }
        };
        self.retries.run(attempt).await
    }

    /// The result of one update, and whether it is a conflict that passes.
    async fn update_once(&self, call: &ApiCall<'_>, provider: Provider) -> (Result<Update, Error>, bool) {
        let response = match self.send(call).await {
            Ok(response) => response,
            Err(error) => return (Err(error), false),
        };
        match response.status.as_u16() {
            // Community Edition answers 202 to an update; what Kubernetes refuses it only logs, and answers with an empty 200.
            200 if provider == Provider::CommunityEdition => (Err(Error::Ignored { request: call.name() }), true),
            200..=202 => (Ok(Update::Accepted), false),
            404 if response.is_not_found() => (Ok(Update::NotFound), false),
            // Kubernetes: a controller changed the function at the same time.
            409 | 500 if says(&response.body, "the object has been modified") => {
                (Err(self.refused(call, &response)), true)
            }
            // The old process took longer to stop than faasd waits. It has stopped by the next try.
            500 if provider == Provider::Faasd && says(&response.body, "cannot delete running task") => {
                (Err(self.refused(call, &response)), true)
            }
            _ => (Err(self.refused(call, &response)), false),
        }
    }

    /// `POST /system/functions` with a deployment as JSON.
    pub(crate) async fn create(&self, target: &FunctionName, body: Bytes) -> Result<Creation, Error> {
        let call = self.change(Method::POST, &FUNCTIONS, IamAction::FunctionCreate, target, body);
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200..=202 => Ok(Creation::Accepted),
            // Community Edition passes the text of Kubernetes on with a 500, faasd that of containerd with a 400.
            status if status == 409 || matches!(status, 400 | 500) && says(&response.body, "already exists") => {
                Ok(Creation::Exists { response_lost: response.response_lost, error: self.refused(&call, &response) })
            }
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// `DELETE /system/functions`.
    pub(crate) async fn delete(&self, target: &FunctionName) -> Result<Deletion, Error> {
        let mut body = serde_json::json!({ "functionName": target.name });
        if let Some(namespace) = &target.namespace {
            body["namespace"] = namespace.as_str().into();
        }
        let mut call =
            self.change(Method::DELETE, &FUNCTIONS, IamAction::FunctionDelete, target, body.to_string().into());
        // Community Edition reads it there only.
        call.url = in_namespace(call.url, target.namespace.as_deref());
        let mut response_lost = false;
        let response = match self.send_noting(&call, &mut response_lost).await {
            Ok(response) => response,
            Err(error) if response_lost => return Ok(Deletion::Unknown(error)),
            Err(error) => return Err(error),
        };
        match response.status.as_u16() {
            200..=202 => Ok(Deletion::Accepted),
            // The try whose response was lost may be what deleted it.
            404 if response.is_not_found() && response_lost => Ok(Deletion::Accepted),
            404 if response.is_not_found() => Ok(Deletion::NotFound),
            // Some proxies have statuses of their own above 599.
            status if response_lost || status >= 500 => Ok(Deletion::Unknown(self.refused(&call, &response))),
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// `GET /system/function/NAME`: its status; `None` if it does not exist.
    pub(crate) async fn get(&self, target: &FunctionName, repeat: Repeat) -> Result<Option<Status>, Error> {
        let url = in_namespace(self.path(&["system", "function", &target.name]), target.namespace.as_deref());
        let query = self.query(url, IamAction::FunctionGet, target, ELEMENT_LIMIT);
        let call = ApiCall { repeat, ..query };
        let found: Option<Status> = self.find(&call).await?;
        // All fields of a status are optional, so that any JSON object parses as one.
        match found {
            Some(status) if status.spec.service != target.name || status.spec.image.is_empty() => {
                Err(call.shape(ShapeError::OtherStatus))
            }
            found => Ok(found),
        }
    }

    /// `GET /system/functions`: the functions of a namespace that are wanted.
    pub(crate) async fn list(
        &self,
        namespace: Option<&str>,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Vec<Status>, Error> {
        Ok(self.list_with(namespace, wanted, Repeat::Always).await?.0)
    }

    /// [`Gateway::list`], sent again after these failures; also returns how long the whole list was, in bytes.
    pub(crate) async fn list_with(
        &self,
        namespace: Option<&str>,
        wanted: impl Fn(&Status) -> bool,
        repeat: Repeat,
    ) -> Result<(Vec<Status>, u64), Error> {
        let url = in_namespace(self.path(&FUNCTIONS), namespace);
        // A listing is permitted on a whole namespace.
        let target = FunctionName::all_of(namespace.map(str::to_owned));
        let call = ApiCall { repeat, ..self.query(url, IamAction::FunctionList, &target, LIST_LIMIT) };
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200 => {
                let functions = read_list(&response.body, &wanted).map_err(|error| call.shape(error))?;
                Ok((functions, response.body.len() as u64))
            }
            _ => Err(self.refused(&call, &response)),
        }
    }

    /// `GET /system/logs`: the last `count` lines of a function, oldest first.
    pub(crate) async fn logs(&self, target: &FunctionName, count: usize) -> Result<Vec<String>, Error> {
        let mut url = self.path(&["system", "logs"]);
        url.query_pairs_mut()
            .append_pair("name", &target.name)
            .append_pair("tail", &count.to_string())
            .append_pair("follow", "false");
        let url = in_namespace(url, target.namespace.as_deref());
        let call = ApiCall { whole: false, ..self.query(url, IamAction::FunctionLogs, target, RESPONSE_LIMIT) };
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200 => match last_lines(&response.body, count) {
                // Not a log without lines: one long line, which was cut off, or something else.
                lines if lines.is_empty() && !response.body.trim_ascii().is_empty() => {
                    Err(call.shape(ShapeError::NotJson { line: 1, column: 1 }))
                }
                lines => Ok(lines),
            },
            _ => Err(self.refused(&call, &response)),
        }
    }
}

pub(super) fn says(body: &[u8], words: &str) -> bool {
    String::from_utf8_lossy(body).contains(words)
}

/// One line of `GET /system/logs` (faas-provider, `logs.Message`).
#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    text: String,
}

/// The texts of the last messages. What is not a message, such as one that was cut off, is skipped.
fn last_lines(body: &[u8], count: usize) -> Vec<String> {
    let messages = body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<LogLine>(line).ok());
    let mut lines: Vec<String> = messages.map(|message| message.text.trim_end().to_owned()).collect();
    // A provider returns so many lines of each replica.
    lines.drain(..lines.len().saturating_sub(count));
    lines
}

fn read_list(json: &[u8], wanted: &dyn Fn(&Status) -> bool) -> Result<Vec<Status>, ShapeError> {
    let mut kept = Kept { wanted, functions: Vec::new(), size: 0, is_too_much: false };
    let mut json = serde_json::Deserializer::from_slice(json);
    match json.deserialize_any(&mut kept).and_then(|()| json.end()) {
        Ok(()) => Ok(kept.functions),
        Err(_) if kept.is_too_much => Err(ShapeError::TooMuch),
        Err(error) => Err(ShapeError::not_json(&error)),
    }
}

/// A namespace may have many thousand functions, of which a run needs a few: one at a time is held beside those.
struct Kept<'a> {
    wanted: &'a dyn Fn(&Status) -> bool,
    functions: Vec<Status>,
    size: usize,
    is_too_much: bool,
}

impl<'de> Visitor<'de> for &mut Kept<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of functions")
    }

    /// Go's JSON for a list that was never filled.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(text) = elements.next_element::<&RawValue>()?.map(RawValue::get) {
            // Text first: its length bounds what it becomes.
            self.is_too_much = text.len() > ELEMENT_LIMIT;
            if !self.is_too_much {
                let function = serde_json::from_str(text).map_err(|_| A::Error::custom("not a function"))?;
                if (self.wanted)(&function) {
                    self.size += text.len() + size_of::<Status>();
                    self.functions.push(function);
                }
                self.is_too_much = self.size > KEPT_LIMIT;
            }
            if self.is_too_much {
                return Err(A::Error::custom("too much"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_messages_are_returned_and_anything_else_is_skipped() {
        let body = b"{\"name\":\"a\",\"text\":\"one\\n\"}\n\n{\"text\":\"two\"}\nnot JSON\n{\"text\":\"three\"}\n{\"text\":\"cu";
        assert_eq!(last_lines(body, 2), ["two", "three"]);
        assert_eq!(last_lines(body, 10), ["one", "two", "three"]);
        assert!(last_lines(b"", 10).is_empty());
    }

    /// The names of the elements with an image `yes`.
    fn kept(text: &str) -> Result<Vec<String>, ShapeError> {
        let functions = read_list(text.as_bytes(), &|status| status.spec.image == "yes")?;
        Ok(functions.into_iter().map(|status| status.spec.service).collect())
    }

    #[test]
    fn only_wanted_elements_are_kept() {
        let (yes, no) =
            (r#"{"name":"a]}\\\"[{,","image":"yes","labels":{"b":"}"}}"#, r#"{"name":"\"]},{\\","image":"no"}"#);
        assert_eq!(kept(&format!(" [\n{yes} ,{no},{yes}]\n")).unwrap(), [r#"a]}\"[{,"#; 2]);
        assert_eq!(kept(" null\n"), Ok(Vec::new()));
        assert_eq!(kept("[]"), Ok(Vec::new()));
    }

    #[test]
    fn text_that_is_not_an_array_of_functions_is_refused() {
        for text in [
            "",
            "nul",
            "nullx",
            "<html>",
            "{}",
            "1",
            "[1]",
            "[null]",
            "[[]]",
            "[[",
            "[{}",
            "[{},",
            "[{}]]",
            r#"[{"name":7}]"#,
        ] {
            assert!(matches!(kept(text), Err(ShapeError::NotJson { .. })), "{text}");
        }
        let error = kept("[\n{\"name\":\"a\"},\n{\"name\":7}]").unwrap_err();
        assert_eq!(error, ShapeError::NotJson { line: 3, column: 11 });
    }

    #[test]
    fn memory_is_bounded_whatever_the_array_holds() {
        let element = format!(r#"[{{"name":"{}"}}]"#, "a".repeat(ELEMENT_LIMIT));
        assert_eq!(kept(&element), Err(ShapeError::TooMuch));
        let many = |image: &str| format!("[{}]", vec![format!(r#"{{"image":"{image}"}}"#); 50_000].join(","));
        assert_eq!(kept(&many("yes")), Err(ShapeError::TooMuch));
        assert_eq!(kept(&many("no")), Ok(Vec::new()));
        assert!(matches!(kept(&"[".repeat(1 << 20)), Err(ShapeError::NotJson { .. })));
    }
}
