//! The last log lines of a function, for one that does not become ready.

use serde::Deserialize;

use super::error::ShapeError;
use super::{ApiCall, Error, Gateway, RESPONSE_LIMIT, in_namespace};
use crate::function::FunctionName;
use crate::oidc::IamAction;

/// One line of `GET /system/logs` (faas-provider, `logs.Message`).
#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    text: String,
}

impl Gateway {
    /// `GET /system/logs`: the last `count` lines of a function, oldest first.
    pub(crate) async fn logs(&self, target: &FunctionName, count: usize) -> Result<Vec<String>, Error> {
        let mut url = self.path(&["system", "logs"]);
        url.query_pairs_mut()
            .append_pair("name", &target.name)
            .append_pair("tail", &count.to_string())
            .append_pair("follow", "false");
        let url = in_namespace(url, target.namespace.as_deref());
        let call =
            ApiCall { whole: false, ..self.question(url, Some(IamAction::FunctionLogs), Some(target), RESPONSE_LIMIT) };
        let response = self.send(&call).await?;
        match response.status.as_u16() {
            200 => match last_lines(&response.body, count) {
                // Not a log without lines: one long line, which was cut off, or something else.
                lines if lines.is_empty() && response.body.len() >= call.limit => {
                    Err(call.shape(ShapeError::TooLong(call.limit)))
                }
                lines if lines.is_empty() && !response.body.trim_ascii().is_empty() => {
                    Err(call.shape(ShapeError::NotJson { line: 1, column: 1 }))
                }
                lines => Ok(lines),
            },
            _ => Err(self.refused(&call, &response)),
        }
    }
}

/// The texts of the last messages. What is not a message, such as one that was cut off, is skipped.
fn last_lines(body: &[u8], count: usize) -> Vec<String> {
    let messages = body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<LogLine>(line).ok());
    let mut lines: Vec<String> = messages.map(|message| message.text.trim_end().to_owned()).collect();
    // A provider returns so many lines of each replica.
    lines.drain(..lines.len().saturating_sub(count));
    lines
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
}
