//! Builds the tree of nodes from the parser's events, and explains the parser's errors.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use saphyr_parser::{Event, Input, Parser, ScalarStyle, ScanError, Tag};

use super::super::MAX_DEPTH;
use super::repair::Repair;
use super::{Document, Kind, Node, NodeId, SyntaxError};

/// Finds characters that yaml.v3 does not take.
fn check_characters(text: &str) -> Result<(), SyntaxError> {
    for (at, character) in text.char_indices() {
        let hint = match character {
            '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'.. => continue,
            '\0' => "remove it: a NUL byte ends the file for faas-cli, which drops the rest",
            _ => "in double quotes write it as an escape, such as `\\x7f`",
        };
        let message = format!("invalid character `{}`", character.escape_default());
        return Err(SyntaxError { at, message, hint: Some(hint) });
    }
    Ok(())
}

/// Reads the first document, with lines indented that YAML 1.2 wants indented and yaml.v3 does not.
pub(super) fn document(text: &str) -> Result<Document, SyntaxError> {
    check_characters(text)?;
    let mut repair = Repair::new(text);
    loop {
        match read(&repair) {
            Ok(document) => return Ok(document),
            Err(ReadError::Ours(error)) => return Err(error),
            Err(ReadError::Parser(error)) if repair.apply(&error) => {}
            Err(ReadError::Parser(error)) => {
                let mut at = repair.original(Offsets::new(repair.text()).byte(error.marker().index()));
                let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                // The parser reports a tab below a text at the start of the text.
                if error.info().contains("tab") && !text[line..at].contains('\t') {
                    at = text[at..].find("\n\t").map_or(at, |end| at + end + 1);
                }
                // The last line with something on it says more than the end of the file.
                if text[at..].trim().is_empty() {
                    at = text.trim_end().len();
                }
                let (message, hint) = explain(error.info(), &text[line.min(at)..at]);
                return Err(SyntaxError { at, message, hint });
            }
        }
    }
}

enum ReadError {
    Parser(ScanError),
    Ours(SyntaxError),
}

fn read(repair: &Repair<'_>) -> Result<Document, ReadError> {
    let mut builder = Builder {
        repair,
        offsets: Offsets::new(repair.text()),
        nodes: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        separators: repair.text().match_indices(['\u{85}', '\u{2028}', '\u{2029}']).map(|(at, _)| at).collect(),
    };
    let mut parser = Parser::new_from_str(repair.text());
    for event in parser.by_ref() {
        let (event, span) = event.map_err(ReadError::Parser)?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event, span.start.index(), span.end.index()).map_err(ReadError::Ours)?;
    }
    let rest = rest(parser).map(|character| builder.offsets.byte(character));
    builder.check_separators(rest).map_err(ReadError::Ours)?;
    let mut nodes = builder.nodes;
    if nodes.is_empty() {
        nodes.push(Node { kind: Kind::Scalar(String::new()), is_plain: true, tag: None, written: 0..0, end: 1 });
    }
    Ok(Document { nodes, rest: rest.map(|at| repair.original(at)) })
}

/// Where something follows in further documents, in characters.
fn rest(mut parser: Parser<'_, impl Input>) -> Option<usize> {
    parser.find_map(|event| match event {
        Ok((Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamEnd, _)) => None,
        Ok((Event::Scalar(value, ..), _)) if value.is_empty() => None,
        Ok((_, span)) => Some(span.start.index()),
        Err(error) => Some(error.marker().index()),
    })
}

/// Leads from characters, which the parser counts, to bytes.
struct Offsets {
    /// Where each character begins; empty if each takes one byte.
    starts: Vec<usize>,
    length: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let starts = if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Self { starts, length: text.len() }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = if self.starts.is_empty() { Some(&character) } else { self.starts.get(character) };
        byte.map_or(self.length, |byte| *byte.min(&self.length))
    }
}

struct Builder<'r> {
    repair: &'r Repair<'r>,
    offsets: Offsets,
    nodes: Vec<Node>,
    /// The collections that are not ended yet.
    open: Vec<NodeId>,
    /// The node of each anchor, by the parser's number for it.
    anchors: HashMap<usize, NodeId>,
    /// Where the text has characters that end a line for yaml.v3, and not in YAML 1.2; but for those in quotes, which keep
    /// them in both.
    separators: BTreeSet<usize>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, start: usize, end: usize) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                match style {
                    ScalarStyle::Plain if !value.is_empty() => self.check_colon(end)?,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => self.pass_separators(start, end),
                    _ => {}
                }
                let id = self.push(Kind::Scalar(value.into_owned()), start..end, anchor, tag.as_deref());
                self.nodes[id].is_plain = style == ScalarStyle::Plain;
            }
            Event::SequenceStart(anchor, tag) => self.open(Kind::Sequence, start, anchor, tag.as_deref())?,
            Event::MappingStart(anchor, tag) => self.open(Kind::Mapping, start, anchor, tag.as_deref())?,
            Event::SequenceEnd | Event::MappingEnd => {
                let end = self.nodes.len();
                if let Some(node) = self.open.pop().and_then(|id| self.nodes.get_mut(id)) {
                    node.end = end;
                }
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied().unwrap_or_default();
                self.push(Kind::Alias(target), start..end, 0, None);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind, at: usize, anchor: usize, tag: Option<&Tag>) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(self.offsets.byte(at), format!("nested more than {MAX_DEPTH} levels deep"), None));
        }
        let id = self.push(kind, at..at, anchor, tag);
        self.open.push(id);
        Ok(())
    }

    fn push(&mut self, kind: Kind, written: Range<usize>, anchor: usize, tag: Option<&Tag>) -> NodeId {
        let id = self.nodes.len();
        let [start, end] = [written.start, written.end].map(|at| self.repair.original(self.offsets.byte(at)));
        let tag = tag.map(|tag| {
            let name = format!("{}{}", tag.handle, tag.suffix);
            name.strip_prefix("tag:yaml.org,2002:").map_or(name.clone(), |short| format!("!!{short}"))
        });
        self.nodes.push(Node { kind, is_plain: false, tag, written: start..end, end: id + 1 });
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    /// In `{a:, b}` YAML 1.2 ends `a` before the colon, and yaml.v3 after it.
    fn check_colon(&self, end: usize) -> Result<(), SyntaxError> {
        let at = self.offsets.byte(end);
        match self.repair.text().as_bytes().get(at..at + 2) {
            Some([b':', b',' | b'[' | b']' | b'{' | b'}']) => {
                let hint = "write a space after the colon, or quote the text";
                Err(self.error(at, "missing space after `:`".to_owned(), Some(hint)))
            }
            _ => Ok(()),
        }
    }

    /// In quotes yaml.v3 keeps U+2028 and U+2029 as they are, but drops blanks and line ends beside them.
    fn pass_separators(&mut self, start: usize, end: usize) {
        if self.separators.is_empty() {
            return;
        }
        let text = self.repair.text();
        let is_blank = |found: Option<char>| found.is_some_and(|found| matches!(found, ' ' | '\t' | '\n' | '\r'));
        let quoted = self.offsets.byte(start)..self.offsets.byte(end);
        let inside: Vec<usize> = self.separators.range(quoted).copied().collect();
        for at in inside {
            let mut after = text[at..].chars();
            let is_kept = after.next() != Some('\u{85}') && !is_blank(after.next());
            if is_kept && !is_blank(text[..at].chars().next_back()) {
                self.separators.remove(&at);
            }
        }
    }

    fn check_separators(&self, rest: Option<usize>) -> Result<(), SyntaxError> {
        let Some(at) = self.separators.iter().find(|at| rest.is_none_or(|rest| **at < rest)) else { return Ok(()) };
        let character = self.repair.text()[*at..].chars().next().unwrap_or_default();
        let hint = match character {
            '\u{85}' => "write it as `\\N` in double quotes",
            '\u{2028}' => "write it as `\\L` in double quotes",
            _ => "write it as `\\P` in double quotes",
        };
        let message = format!("invalid character `{}`: faas-cli ends the line at it", character.escape_default());
        Err(self.error(*at, message, Some(hint)))
    }

    fn error(&self, at: usize, message: String, hint: Option<&'static str>) -> SyntaxError {
        SyntaxError { at: self.repair.original(at), message, hint }
    }
}

const CLOSE: &str = "close the bracket that was opened before, or write `,` between its items";
const QUOTES: &str = "in single quotes write `''` for `'`, in double quotes `\\\"` for `\"`";

/// The parser's message in the words of someone who writes a stack file; `before` is the line up to the place.
fn explain(info: &str, before: &str) -> (String, Option<&'static str>) {
    let (message, hint) = match info {
        "mapping values are not allowed in this context" if !before.contains(": ") => (
            "the line above has no `: `, or has both a value and keys below it",
            "write `key: value` there, or remove its value",
        ),
        "mapping values are not allowed in this context" => {
            ("a second `:` on this line", "quote a value that contains `: ` or ends with `:`")
        }
        "while parsing node, found unknown anchor" => {
            ("undefined alias: no anchor of this name is defined above", "quote a value that begins with `*`")
        }
        "while scanning an anchor or alias, did not find expected alphabetic or numeric character" => {
            ("invalid anchor or alias", "quote a value that begins with `*` or `&`")
        }
        "while parsing a block mapping, did not find expected key" => {
            ("wrong indentation: not aligned with the keys above", "align it, and check for quotes that are not closed")
        }
        "simple key expect ':'" | "simple key expected" | "unexpected end of plain scalar" => {
            ("missing `:` after the key before this", "write `key: value`, with a space after the colon")
        }
        "while parsing a block collection, did not find expected '-' indicator" => {
            ("wrong indentation: not aligned with the `-` above", "align it")
        }
        "while scanning a quoted scalar, found unexpected end of stream"
        | "while scanning a quoted scalar, found unexpected document indicator" => {
            ("this quote is never closed", QUOTES)
        }
        "invalid trailing content after double-quoted scalar" => ("unexpected text after the closing quote", QUOTES),
        "while parsing a quoted scalar, found unknown escape character" => {
            ("unknown escape in double quotes", "write `\\\\` for `\\`, or use single quotes")
        }
        "while parsing a flow mapping, did not find expected ',' or '}'" => ("missing `,` or `}` before this", CLOSE),
        "while parsing a flow sequence, expected ',' or ']'" => ("missing `,` or `]` before this", CLOSE),
        "illegal placement of ':' indicator" => ("missing `]` or `}` before this", CLOSE),
        "misplaced bracket" => ("unexpected closing bracket", "remove it, or quote the value"),
        "block sequence entries are not allowed in this context" => {
            ("a list cannot begin on this line", "write each `- item` on a line of its own below the key")
        }
        "comment intercepting the multiline text" => {
            ("the value before this comment continues below it", "check the indentation of the line below")
        }
        "while parsing a node, did not find expected node content" => ("missing value before this", "quote the value"),
        "recursion limit exceeded" => ("nested too deeply", "use fewer levels"),
        "invalid indentation" | "invalid indentation in flow construct" | "invalid indentation in quoted scalar" => {
            ("too many lines that are not indented, from here", "indent the lines within quotes and brackets")
        }
        _ if info.contains("tab") => ("indented with a tab", "indent with spaces"),
        _ if info.starts_with("unexpected character") => {
            ("a value cannot begin with this character", "quote the value")
        }
        _ => return (format!("invalid YAML: {info}"), None),
    };
    (message.to_owned(), Some(hint))
}
