//! The log: the form of its lines, and the one way from the program to standard output.
//!
//! Lines are written with `tracing`'s macros, or with the functions here if they have no level. In all of them,
//! secrets are hidden and control characters made visible on the way out, and a line that follows within one message is
//! indented, so that no text from outside can look like a line of the log.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::console::redact;
use crate::text::list;

/// The target of the last line, which says how it ended.
const END: &str = "end";
/// The target of lines that are output rather than log: tables, JSON, a function's response.
const PLAIN: &str = "plain";

/// How much of a foreign text is quoted, in bytes.
const QUOTE_LIMIT: usize = 2048;
/// The longest value that [`whole_or_length`] shows, in characters.
const LONGEST_WHOLE: usize = 80;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub colour: bool,
    pub debug: bool,
}

/// Sends all log lines of the process to standard output from now on.
pub(crate) fn init(style: Style) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(if style.debug { Level::DEBUG } else { Level::INFO })
        .with_writer(io::stdout)
        // If it is closed or full, nothing can be reported: the work goes on, and the exit code shows how it ended.
        .log_internal_errors(false)
        .event_format(LineFormat { colour: style.colour })
        .finish();
    // A second call, as unit tests may make it, leaves the first in place.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The last line of a run that reached its goal.
pub(crate) fn success(message: impl fmt::Display) {
    tracing::info!(target: END, "{message}");
}

pub(crate) fn failure(message: impl fmt::Display) {
    tracing::error!(target: END, "{message}");
}

/// Output as it is, without a level: a table, JSON, a function's response.
pub(crate) fn plain(text: impl fmt::Display) {
    tracing::info!(target: PLAIN, "{text}");
}

/// A policy or a command for others to paste, or a comment in its place if a part of it would be masked: `***` is a wildcard.
pub(crate) fn pastable(text: String) -> String {
    if redact::redact(&text) == text {
        return text;
    }
    "# left out: it contains the value of a secret, and would be wrong if masked; use a longer secret that does not occur in \
     names or addresses"
        .to_owned()
}

/// [`pastable`] YAML, between two comments that say where it begins and ends.
pub(crate) fn to_paste(yaml: &str) -> String {
    format!("# ----- copy from here -----\n{}\n# ----- to here -----", pastable(yaml.to_owned()).trim_end())
}

/// A text from outside, for use within a message: on one line, cut at 2 KiB, control characters made visible.
pub(crate) fn quote(text: &str) -> String {
    // Hidden before it is cut, so that no part of a secret is left at the cut.
    let text = redact::redact(text.trim());
    let end = text.floor_char_boundary(QUOTE_LIMIT);
    let mut quoted = String::with_capacity(end);
    clean(&text[..end], &mut quoted, |_| false);
    if end < text.len() {
        let _ = write!(quoted, "… ({} more bytes)", text.len() - end);
    }
    quoted
}

/// A value from the variables or the stack file, for use within backticks: the whole of it, or only its length.
///
/// It is never cut. Bitbucket masks the value of a secured variable only if it is printed whole, on one line.
pub(crate) fn whole_or_length(text: &str) -> String {
    let text = redact::redact(text.trim());
    let length = text.chars().count();
    if length > LONGEST_WHOLE || text.contains(['\n', '\r']) { format!("<{length} characters>") } else { quote(&text) }
}

/// Names in backticks, at most `most` of them, as [`list`] has them.
pub(crate) fn names(names: impl IntoIterator<Item = impl AsRef<str>>, most: usize) -> String {
    list(names.into_iter().map(|name| format!("`{}`", quote(name.as_ref()))), most)
}

/// [`whole_or_length`] that is only built when it is shown: most messages never are.
pub(crate) fn shown_later(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| f.write_str(&whole_or_length(text)))
}

/// A text on one line, with secrets masked and control characters made visible.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    clean(&redact::redact(text), &mut line, |_| false);
    line
}

/// A duration as people write it: `340 ms`, `1.2 s`, `5 min 3 s`.
pub(crate) fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match duration.as_millis() {
        0..1000 => format!("{} ms", duration.as_millis()),
        1000..60_000 if duration.subsec_millis() < 50 => format!("{seconds} s"),
        1000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Bytes as text on as many lines as they have, fit for [`plain`]: what is not UTF-8 is shown as `\\xNN`.
pub(crate) fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// JSON that is fit for [`plain`]: what would be made visible there is escaped as JSON has it, and stays JSON.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && (character.is_control() || is_invisible(character)) {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// Appends `text` with every character made visible that could move a terminal's cursor or change its state.
fn clean(text: &str, out: &mut String, keep: impl Fn(char) -> bool) {
    for character in text.chars() {
        if !keep(character) && (character.is_control() || is_invisible(character)) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// Line separators and the characters that change the direction of a text.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

struct LineFormat {
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let target = event.metadata().target();
        if ![END, PLAIN].contains(&target) && !target.starts_with(env!("CARGO_CRATE_NAME")) {
            // Not for users: the messages of libraries.
            return Ok(());
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        out.write_str(&line(target, *event.metadata().level(), &message.0, self.colour))
    }
}

/// One message as it is written, with its line ends.
fn line(target: &str, level: Level, message: &str, colour: bool) -> String {
    let (label, code) = match (target, level) {
        (PLAIN, _) => ("", 0),
        (END, Level::INFO) => ("✔ ", 32),
        (END, _) => ("✖ ", 31),
        (_, Level::ERROR) => ("ERROR: ", 31),
        (_, Level::WARN) => ("WARNING: ", 33),
        (_, Level::INFO) => ("INFO: ", 34),
        _ => ("DEBUG: ", 37),
    };
    // Masked as a whole: a secret may have line ends.
    let message = redact::redact(message);
    let indent = if code == 0 || target == END { "" } else { "  " };
    let mut out = String::with_capacity(message.len() + 24);
    for (number, text) in message.split('\n').enumerate() {
        match (number, label.trim_end()) {
            // Only the level: what follows reads well on any ground, and YAML is pasted as it is.
            (0, word) if colour && code != 0 => _ = write!(out, "\x1b[{code}m{word}\x1b[0m "),
            (0, _) => out.push_str(label),
            _ => out.push_str(indent),
        }
        clean(text, &mut out, |character| character == '\t');
        out.push('\n');
    }
    out
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            #[expect(clippy::use_debug, reason = "a macro's message is `Arguments`, whose `Debug` is its text")]
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_label_and_colour() {
        let show = |target, level| line(target, level, "text", true);
        assert_eq!(show("x", Level::INFO), "\x1b[34mINFO:\x1b[0m text\n");
        assert_eq!(show("x", Level::WARN), "\x1b[33mWARNING:\x1b[0m text\n");
        assert_eq!(show("x", Level::ERROR), "\x1b[31mERROR:\x1b[0m text\n");
        assert_eq!(show("x", Level::DEBUG), "\x1b[37mDEBUG:\x1b[0m text\n");
        assert_eq!(show(END, Level::INFO), "\x1b[32m✔\x1b[0m text\n");
        assert_eq!(show(END, Level::ERROR), "\x1b[31m✖\x1b[0m text\n");
        assert_eq!(show(PLAIN, Level::INFO), "text\n");
    }

    #[test]
    fn foreign_text_cannot_forge_a_line_or_steer_the_terminal() {
        let forged = format!("gateway says `{}`", quote("no\nINFO: \x1b[32mfine\r\u{202e}"));
        assert_eq!(
            line("x", Level::ERROR, &forged, false),
            "ERROR: gateway says `no\\nINFO: \\u{1b}[32mfine\\r\\u{202e}`\n"
        );
        assert_eq!(line("x", Level::ERROR, "a\nINFO: b", false), "ERROR: a\n  INFO: b\n");
        assert_eq!(line(PLAIN, Level::INFO, "a\x1b[2J\nb", false), "a\\u{1b}[2J\nb\n");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let quoted = quote(&"é".repeat(2000));
        assert_eq!(quoted, format!("{}… (1952 more bytes)", "é".repeat(1024)));
    }

    #[test]
    fn text_to_paste_is_left_out_rather_than_masked() {
        let _secret = redact::Secret::new("pastable-stage".to_owned());
        assert_eq!(pastable("resource: [\"other:*\"]".to_owned()), "resource: [\"other:*\"]");
        for text in ["resource: [\"pastable-stage:*\"]", "{\"Resource\": \"arn:pastable-stage\"}"] {
            let shown = to_paste(text);
            assert!(shown.contains("\n# left out: ") && !shown.contains('*'), "{shown}");
        }
    }

    #[test]
    fn value_is_shown_whole_or_by_its_length() {
        assert_eq!(whole_or_length(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(whole_or_length(&"é".repeat(81)), "<81 characters>");
        assert_eq!(whole_or_length("two\nlines"), "<9 characters>");
        assert_eq!(whole_or_length("tab\tbed\n"), "tab\\tbed");
    }
}
