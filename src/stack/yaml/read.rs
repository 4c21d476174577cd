//! From text to nodes: the parser's events, what it refuses in other words, and what is refused beside it.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Input, Parser, ScalarStyle, ScanError, Tag};

use super::repair::Repair;
use super::{Document, MAX_DEPTH, MAX_TAGS, Node, NodeId, RawKind, SyntaxError};

/// The parser keeps a token for each of these until it knows whether a bracket is a key: some 100 bytes.
const MAX_FLOW: usize = 1 << 16;
const MAX_COLONS: usize = 1 << 18;

/// Refuses what would take the parser more memory than it is worth.
fn check_size(text: &str) -> Result<(), SyntaxError> {
    let (mut flow, mut colons) = (0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'[' | b'{' | b'?' | b'&' | b'*' | b'!' => flow += 1,
            b':' => colons += 1,
            _ => continue,
        }
        if flow > MAX_FLOW || colons > MAX_COLONS {
            let message = format!("more than {MAX_FLOW} brackets and commas, or {MAX_COLONS} colons");
            return Err(SyntaxError { at, message, hint: Some("split the file into several") });
        }
    }
    Ok(())
}

/// Finds characters that yaml.v3 does not take, or takes for a line's end where YAML 1.2 does not.
fn check_characters(text: &str) -> Result<(), SyntaxError> {
    for (at, character) in text.char_indices() {
        let hint = match character {
            '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fffd}' | '\u{10000}'.. => {
                continue;
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => {
                "older YAML takes it for the end of a line: write it in double quotes"
            }
            _ => "it may only stand in double quotes",
        };
        let message = format!("the character `{}` may not stand here", character.escape_default());
        let hint = match character {
            '\0' => Some("remove it: a NUL byte ends the file for faas-cli, which drops the rest"),
            _ => Some(hint),
        };
        return Err(SyntaxError { at, message, hint });
    }
    Ok(())
}

/// Reads the first document, with lines indented that YAML 1.2 wants indented and yaml.v3 does not.
pub(super) fn document(text: &str) -> Result<Document, SyntaxError> {
    check_characters(text)?;
    check_size(text)?;
    let mut repair = Repair::new(text);
    loop {
        match read(&repair) {
            Ok(document) => return Ok(document),
            Err(Refusal::Ours(error)) => return Err(error),
            Err(Refusal::Parser(error)) => {
                if !repair.apply(&error) {
                    let mut at = repair.original(Offsets::new(repair.text()).byte(error.marker().index()));
                    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    // A tab below a text is told at the start of the text.
                    if error.info().contains("tab") && !text[line..at].contains('\t') {
                        at = text[at..].find("\n\t").map_or(at, |end| at + end + 1);
                    }
                    // The end of the text is told where the last of it stands.
                    if text[at..].trim().is_empty() {
                        at = text.trim_end().len();
                    }
                    let (message, hint) = explain(error.info(), &text[line.min(at)..at]);
                    return Err(SyntaxError { at, message, hint });
                }
            }
        }
    }
}

enum Refusal {
    Parser(ScanError),
    Ours(SyntaxError),
}

fn read(repair: &Repair<'_>) -> Result<Document, Refusal> {
    let mut builder = Builder::new(repair);
    let mut parser = Parser::new_from_str(repair.text());
    for event in parser.by_ref() {
        let (event, span) = event.map_err(Refusal::Parser)?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event, span.start.index(), span.end.index()).map_err(Refusal::Ours)?;
    }
    let rest = rest(parser).map(|character| repair.original(builder.offsets.byte(character)));
    let mut document = Document { rest, ..builder.document };
    if document.nodes.is_empty() {
        document.nodes.push(Node { kind: RawKind::Plain, tag: 0, at: 0, until: 0, first: 0, last: 0, end: 1 });
    }
    Ok(document)
}

/// Where the next document begins that is not empty, in characters.
fn rest(parser: Parser<'_, impl Input>) -> Option<usize> {
    let mut start = 0;
    for event in parser {
        match event {
            Ok((Event::DocumentStart(_), span)) => start = span.start.index(),
            Ok((Event::Scalar(value, ..), _)) if value.is_empty() => {}
            Ok((Event::DocumentEnd | Event::StreamEnd, _)) => {}
            Ok(_) => return Some(start),
            Err(error) => return Some(error.marker().index()),
        }
    }
    None
}

/// Leads from characters, which the parser counts, to bytes; fast where one asks for places near each other.
struct Offsets<'t> {
    text: &'t str,
    is_ascii: bool,
    /// The last place asked for.
    character: usize,
    byte: usize,
}

impl<'t> Offsets<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, is_ascii: text.is_ascii(), character: 0, byte: 0 }
    }

    fn byte(&mut self, character: usize) -> usize {
        if self.is_ascii {
            return character.min(self.text.len());
        }
        let (before, after) = self.text.split_at(self.byte);
        self.byte = if character >= self.character {
            let ahead = after.char_indices().nth(character - self.character);
            ahead.map_or(self.text.len(), |(offset, _)| self.byte + offset)
        } else {
            let back = before.char_indices().rev().nth(self.character - character - 1);
            back.map_or(0, |(offset, _)| offset)
        };
        self.character = character;
        self.byte
    }
}

struct Builder<'r> {
    repair: &'r Repair<'r>,
    offsets: Offsets<'r>,
    document: Document,
    /// The collections that are not ended yet.
    open: Vec<NodeId>,
    /// The node of each anchor, by the parser's number for it.
    anchors: HashMap<usize, NodeId>,
    tag_ids: HashMap<String, u16>,
}

impl<'r> Builder<'r> {
    fn new(repair: &'r Repair<'r>) -> Self {
        Self {
            repair,
            offsets: Offsets::new(repair.text()),
            document: Document { nodes: Vec::new(), values: String::new(), tags: Vec::new(), rest: None },
            open: Vec::new(),
            anchors: HashMap::new(),
            tag_ids: HashMap::new(),
        }
    }

    fn event(&mut self, event: Event<'_>, start: usize, end: usize) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                if is_plain && !value.is_empty() {
                    self.check_colon(end)?;
                }
                let first = self.document.values.len();
                self.document.values.push_str(&value);
                let kind = if is_plain { RawKind::Plain } else { RawKind::Quoted };
                let id = self.push(kind, start..end, anchor, tag.as_deref())?;
                let last = self.document.values.len();
                if let Some(node) = self.document.nodes.get_mut(id as usize) {
                    [node.first, node.last] = [first, last].map(|offset| u32::try_from(offset).unwrap_or(u32::MAX));
                }
            }
            Event::SequenceStart(anchor, tag) => self.open(RawKind::Sequence, start, anchor, tag.as_deref())?,
            Event::MappingStart(anchor, tag) => self.open(RawKind::Mapping, start, anchor, tag.as_deref())?,
            Event::SequenceEnd | Event::MappingEnd => {
                let end = self.next_id();
                if let Some(id) = self.open.pop()
                    && let Some(node) = self.document.nodes.get_mut(id as usize)
                {
                    node.end = end;
                }
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied().unwrap_or_default();
                let id = self.push(RawKind::Alias, start..end, 0, None)?;
                if let Some(node) = self.document.nodes.get_mut(id as usize) {
                    node.first = target;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn next_id(&self) -> NodeId {
        // A node takes at least a byte of a text that is far below 4 GiB.
        NodeId::try_from(self.document.nodes.len()).unwrap_or(NodeId::MAX)
    }

    fn open(&mut self, kind: RawKind, at: usize, anchor: usize, tag: Option<&Tag>) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        let id = self.push(kind, at..at, anchor, tag)?;
        self.open.push(id);
        Ok(())
    }

    fn push(
        &mut self,
        kind: RawKind,
        written: Range<usize>,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<NodeId, SyntaxError> {
        let id = self.next_id();
        let tag = match tag {
            Some(tag) => self.tag(tag, written.start)?,
            None => 0,
        };
        let [at, until] = [written.start, written.end].map(|character| {
            let at = self.repair.original(self.offsets.byte(character));
            u32::try_from(at).unwrap_or(u32::MAX)
        });
        self.document.nodes.push(Node { kind, tag, at, until, first: 0, last: 0, end: id + 1 });
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        Ok(id)
    }

    fn tag(&mut self, tag: &Tag, at: usize) -> Result<u16, SyntaxError> {
        let name = format!("{}{}", tag.handle, tag.suffix);
        let name = name.strip_prefix("tag:yaml.org,2002:").map_or(name.clone(), |short| format!("!!{short}"));
        if let Some(id) = self.tag_ids.get(&name) {
            return Ok(*id);
        }
        if self.document.tags.len() >= MAX_TAGS {
            return Err(self.error(at, format!("more than {MAX_TAGS} different tags")));
        }
        self.document.tags.push(name.clone());
        let id = u16::try_from(self.document.tags.len()).unwrap_or(u16::MAX);
        self.tag_ids.insert(name, id);
        Ok(id)
    }

    /// In `{a:, b}` YAML 1.2 ends `a` before the colon, and yaml.v3 after it.
    fn check_colon(&mut self, end: usize) -> Result<(), SyntaxError> {
        let offset = self.offsets.byte(end);
        match self.repair.text().as_bytes().get(offset..offset + 2) {
            Some([b':', b',' | b'[' | b']' | b'{' | b'}']) => {
                let mut error = self.error(end, "a `:` without a space after it".to_owned());
                error.hint = Some("write a space after the colon, or quote the text");
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn error(&mut self, at: usize, message: String) -> SyntaxError {
        let at = self.repair.original(self.offsets.byte(at));
        SyntaxError { at, message, hint: None }
    }
}

const CLOSE: &str = "close the bracket that was opened before, or write `,` between its items";

/// The parser's message in the words of someone who writes a stack file; `before` is the line up to the place.
fn explain(info: &str, before: &str) -> (String, Option<&'static str>) {
    let (message, hint) = match info {
        "mapping values are not allowed in this context" if !before.contains(": ") => (
            "the line above has no `: `, or has a value and names below it",
            Some("write `name: value` there, or remove its value"),
        ),
        "mapping values are not allowed in this context" => {
            ("a second `:` on this line", Some("quote the value that holds `: ` or ends with `:`"))
        }
        "while parsing node, found unknown anchor" => {
            ("no anchor of this name stands before this alias", Some("quote a value that begins with `*`"))
        }
        "while scanning an anchor or alias, did not find expected alphabetic or numeric character" => {
            ("this is neither an anchor nor an alias", Some("quote a value that begins with `*` or `&`"))
        }
        "while parsing a block mapping, did not find expected key" => {
            ("this is not in line with the names above", Some("check the indentation, and quotes that are not closed"))
        }
        "simple key expect ':'" | "simple key expected" | "unexpected end of plain scalar" => {
            ("a name without `: ` stands before this", Some("write `name: value`, with a space after the colon"))
        }
        "while parsing a block collection, did not find expected '-' indicator" => {
            ("this is not in line with the `-` above", Some("check the indentation"))
        }
        "while scanning a quoted scalar, found unexpected end of stream"
        | "while scanning a quoted scalar, found unexpected document indicator" => (
            "this quote is never closed",
            Some("within single quotes write `''` for `'`, within double quotes `\\\"` for `\"`"),
        ),
        "invalid trailing content after double-quoted scalar" => (
            "text follows after the closing quote",
            Some("within single quotes write `''` for `'`, within double quotes `\\\"` for `\"`"),
        ),
        "while parsing a quoted scalar, found unknown escape character" => {
            ("an unknown escape in these double quotes", Some("write `\\\\` for `\\`, or use single quotes"))
        }
        "while parsing a flow mapping, did not find expected ',' or '}'" => {
            ("a `,` or `}` is missing before this", Some(CLOSE))
        }
        "while parsing a flow sequence, expected ',' or ']'" => ("a `,` or `]` is missing before this", Some(CLOSE)),
        "illegal placement of ':' indicator" => ("a `]` or `}` is missing before this", Some(CLOSE)),
        "misplaced bracket" => ("this closes nothing", Some("remove it, or quote the value")),
        "block sequence entries are not allowed in this context" => {
            ("a list cannot begin on this line", Some("write each `- item` on a line of its own below the name"))
        }
        "comment intercepting the multiline text" => {
            ("the value before this comment goes on below it", Some("check the indentation of the line below"))
        }
        "while parsing a node, did not find expected node content" => ("a value is missing before this", None),
        "recursion limit exceeded" => ("nested too deep", None),
        "invalid indentation" | "invalid indentation in flow construct" | "invalid indentation in quoted scalar" => {
            ("too many lines that are not indented, from here", Some("indent the lines within quotes and brackets"))
        }
        _ if info.contains("tab") => ("indented with a tab", Some("indent with spaces")),
        _ if info.starts_with("unexpected character") => {
            ("a value cannot begin with this character", Some("quote the value"))
        }
        _ => return (format!("not YAML: {info}"), None),
    };
    (message.to_owned(), hint)
}
