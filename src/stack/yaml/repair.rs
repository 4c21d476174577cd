//! Inserts insignificant spaces into text that yaml.v3 accepts and YAML 1.2 does not.
//!
//! yaml.v3 allows lines within quotes and brackets to begin in any column, a tab alone after a colon, and a `#` right after a
//! quote. Where the parser stops at one of these, spaces are put in and the text is read again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::ScanError;

/// How far a line is indented: more than any block is.
const INDENT: usize = 128;
/// How many bytes all readings of a text may take together, so that a text full of repairs ends in time.
const MAX_READ: usize = 8 << 20;

/// Spaces that were put in.
struct Run {
    text: usize,
    length: usize,
    source: usize,
}

/// A text and the spaces put into it.
pub(super) struct Repair<'t> {
    source: &'t str,
    text: Cow<'t, str>,
    /// How many spaces were put in before a byte of the source.
    inserted: BTreeMap<usize, usize>,
    /// The same, by their places in the text.
    runs: Vec<Run>,
    read: usize,
}

impl<'t> Repair<'t> {
    pub(super) fn new(source: &'t str) -> Self {
        let text = Cow::Borrowed(source);
        Self { source, text, inserted: BTreeMap::new(), runs: Vec::new(), read: source.len() }
    }

    /// The text to read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place in the source of a place in the text.
    pub(super) fn original(&self, at: usize) -> usize {
        let index = self.runs.partition_point(|run| run.text <= at);
        let Some(run) = index.checked_sub(1).and_then(|index| self.runs.get(index)) else {
            return at.min(self.source.len());
        };
        // A place among the spaces is where they were put in.
        run.source + (at - run.text).saturating_sub(run.length)
    }

    /// Puts in the spaces that an error asks for; `false` if none would help, or too many were needed already.
    pub(super) fn apply(&mut self, error: &ScanError) -> bool {
        let character = error.marker().index();
        let at = self.text.char_indices().nth(character).map_or(self.text.len(), |(offset, _)| offset);
        let places = match error.info() {
            "':' must be followed by a valid YAML whitespace" => {
                vec![(self.text[..at].trim_end_matches([' ', '\t']).len(), 1)]
            }
            "comments must be separated from other tokens by whitespace" => vec![(at, 1)],
            "invalid indentation" | "invalid indentation in flow construct" => {
                vec![(self.text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1), INDENT)]
            }
            "invalid indentation in quoted scalar" => self.lines_of_quoted(at).map(|line| (line, INDENT)).collect(),
            _ => Vec::new(),
        };
        let added: usize = places.iter().map(|(_, count)| count).sum();
        self.read = self.read.saturating_add(self.text.len() + added);
        if places.is_empty() || self.read > MAX_READ {
            return false;
        }
        let known = self.inserted.len();
        for (at, count) in places {
            self.inserted.insert(self.original(at), count);
        }
        self.rebuild();
        // The same places again: the spaces did not help.
        self.inserted.len() > known
    }

    /// Where the lines begin within the quoted text that begins at `start`, but for its first.
    fn lines_of_quoted(&self, start: usize) -> impl Iterator<Item = usize> + '_ {
        let bytes = self.text.as_bytes();
        let quote = bytes.get(start).copied().unwrap_or_default();
        let mut end = start + 1;
        while let Some(byte) = bytes.get(end) {
            let is_pair = match quote {
                b'"' => *byte == b'\\',
                _ => *byte == quote && bytes.get(end + 1) == Some(&quote),
            };
            if *byte == quote && !is_pair {
                break;
            }
            end += if is_pair { 2 } else { 1 };
        }
        let quoted = start..end.min(bytes.len());
        quoted.filter(|at| matches!(bytes[*at], b'\n' | b'\r')).map(|at| at + 1)
    }

    fn rebuild(&mut self) {
        let total: usize = self.inserted.values().sum();
        let mut text = String::with_capacity(self.source.len() + total);
        self.runs.clear();
        let mut done = 0;
        for (at, count) in &self.inserted {
            text.push_str(&self.source[done..*at]);
            self.runs.push(Run { text: text.len(), length: *count, source: *at });
            text.extend(std::iter::repeat_n(' ', *count));
            done = *at;
        }
        text.push_str(&self.source[done..]);
        self.text = Cow::Owned(text);
    }
}
