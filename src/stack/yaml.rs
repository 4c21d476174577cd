//! YAML text to a tree of nodes that keep their source text, and what a scalar means to Go's yaml.v3.
//!
//! The tree is flat, so that neither deep nesting nor aliases cost more than the text they take. What yaml.v3 and YAML 1.2
//! read differently is refused.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{BorrowedInput, ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Tag};

use super::MAX_DEPTH;

/// The index of a node in its document.
pub(super) type NodeId = usize;

#[derive(Debug)]
pub(super) struct SyntaxError {
    /// In bytes of the text.
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Document {
    /// In the order of the text; the first is the root.
    nodes: Vec<Node>,
    /// Where something follows in further documents, in bytes of the text; it is not looked at further.
    pub(super) rest: Option<usize>,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// Neither in quotes nor a block scalar.
    is_plain: bool,
    tag: Option<String>,
    /// Where it is written, in bytes of the text; of a collection only the place where it begins.
    written: Range<usize>,
    /// The node after this one and all within it.
    end: NodeId,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With its source text.
    Scalar(String),
    Sequence,
    Mapping,
    Alias(NodeId),
}

/// The value that yaml.v3 gives a scalar. Numbers and dates are texts: no field of a stack file wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `null`, `~` or no text.
    Null,
    Boolean(bool),
    Text,
    /// `<<` as a key.
    Merge,
    Binary,
    /// An explicit tag that the text does not fit.
    Unfit,
}

impl Document {
    /// Reads the first document of a text, as faas-cli does. The error is the first thing that is not YAML.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        check_characters(text)?;
        let mut builder = Builder { text, nodes: Vec::new(), open: Vec::new(), anchors: HashMap::new() };
        let mut options = Options::default();
        options.set_emit_comments(false);
        let mut parser = Parser::new_from_str_with_options(text, options);
        for event in parser.by_ref() {
            let (event, span) = event.map_err(|error| syntax_error(text, &error))?;
            if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
                break;
            }
            builder.event(event, place(text, &span.start)..place(text, &span.end))?;
        }
        let rest = rest(parser).map(|marker| place(text, &marker));
        let mut nodes = builder.nodes;
        // An empty file is a document that is null.
        if nodes.is_empty() {
            nodes.push(Node { kind: Kind::Scalar(String::new()), is_plain: true, tag: None, written: 0..0, end: 1 });
        }
        Ok(Self { nodes, rest })
    }

    pub(super) fn root(&self) -> NodeId {
        0
    }

    fn node(&self, id: NodeId) -> &Node {
        // The root, which is always there, for the place after the last node.
        self.nodes.get(id).unwrap_or(&self.nodes[0])
    }

    pub(super) fn kind(&self, id: NodeId) -> &Kind {
        &self.node(id).kind
    }

    /// The node itself, or what it is an alias of.
    pub(super) fn resolve(&self, id: NodeId) -> NodeId {
        match self.kind(id) {
            Kind::Alias(target) => *target,
            _ => id,
        }
    }

    /// The nodes directly within a collection: items, or keys and values in turn.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(id).end;
        std::iter::successors(Some(id + 1), |child| Some(self.node(*child).end)).take_while(move |child| *child < end)
    }

    pub(super) fn pairs(&self, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        let mut children = self.children(id);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// Where a scalar or an alias is written, in bytes of the text, with its quotes; of a collection only where it begins.
    pub(super) fn written(&self, id: NodeId) -> Range<usize> {
        self.node(id).written.clone()
    }

    /// The place of a node and all within it, in bytes of the text.
    pub(super) fn extent(&self, id: NodeId) -> Range<usize> {
        let start = self.node(id).written.start;
        let end = self.nodes.get(id..self.node(id).end).unwrap_or_default().iter().map(|node| node.written.end).max();
        start..end.unwrap_or(start)
    }

    /// Where the plain scalar ends that begins last up to a place, in bytes of the text.
    pub(super) fn end_of_plain(&self, at: usize) -> Option<usize> {
        let after = self.nodes.partition_point(|node| node.written.start <= at);
        let last = self.nodes.get(after.checked_sub(1)?)?;
        (last.is_plain && matches!(last.kind, Kind::Scalar(_))).then_some(last.written.end)
    }

    /// True if an alias refers to a node or to one within it.
    pub(super) fn has_alias(&self, id: NodeId) -> bool {
        let within = id..self.node(id).end;
        self.nodes.iter().any(|node| matches!(node.kind, Kind::Alias(target) if within.contains(&target)))
    }

    /// The value that yaml.v3 gives a scalar; [`Meaning::Text`] for other nodes.
    pub(super) fn meaning(&self, id: NodeId) -> Meaning {
        let Node { kind: Kind::Scalar(text), is_plain, tag, .. } = self.node(id) else { return Meaning::Text };
        let is_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        match (tag.as_deref().unwrap_or_default(), implicit(text)) {
            ("" | "!", meaning) if *is_plain => meaning,
            ("!!binary", _) => Meaning::Binary,
            ("!!null", Meaning::Null) => Meaning::Null,
            ("!!bool", Meaning::Boolean(value)) => Meaning::Boolean(value),
            ("!!null" | "!!bool", _) => Meaning::Unfit,
            ("!!int" | "!!float" | "!!timestamp", _) if !is_number => Meaning::Unfit,
            _ => Meaning::Text,
        }
    }
}

/// The meaning of a plain scalar without a tag.
fn implicit(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Boolean(true),
        "false" | "False" | "FALSE" => Meaning::Boolean(false),
        "<<" => Meaning::Merge,
        _ => Meaning::Text,
    }
}

/// Finds characters that yaml.v3 does not take, or that end a line for it and not in YAML 1.2.
fn check_characters(text: &str) -> Result<(), SyntaxError> {
    for (at, character) in text.char_indices() {
        let hint = match character {
            '\u{85}' => "write it as `\\N` in double quotes",
            '\u{2028}' => "write it as `\\L` in double quotes",
            '\u{2029}' => "write it as `\\P` in double quotes",
            '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'.. => continue,
            '\0' => "remove it: a NUL byte ends the file for faas-cli, which drops the rest",
            _ => "in double quotes write it as an escape, such as `\\x7f`",
        };
        let message = format!("invalid character `{}`", character.escape_default());
        return Err(SyntaxError { at, message, hint: Some(hint) });
    }
    Ok(())
}

/// In bytes of the text.
fn place(text: &str, marker: &Marker) -> usize {
    marker.byte_offset().map_or(text.len(), |at| at.min(text.len()))
}

/// Where something follows in further documents.
fn rest<'t>(mut parser: Parser<'t, impl BorrowedInput<'t>>) -> Option<Marker> {
    parser.find_map(|event| match event {
        Ok((Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd, _)) => None,
        Ok((Event::Scalar(..), span)) if span.is_empty() => None,
        Ok((_, span)) => Some(span.start),
        Err(error) => Some(*error.marker()),
    })
}

fn syntax_error(text: &str, error: &ScanError) -> SyntaxError {
    let mut at = place(text, error.marker());
    // The parser reports a tab below a value at the start of the value.
    let is_tab =
        matches!(error.kind(), ErrorKind::TabInIndentation | ErrorKind::TabInPlainScalar | ErrorKind::TabNotAllowed);
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    if is_tab && !text[line..at].contains('\t') && !text[at..].starts_with('\t') {
        at = text[at..].find("\n\t").map_or(at, |end| at + end + 1);
    }
    // The last line with something on it says more than the end of the file.
    if text[at..].trim().is_empty() {
        at = text.trim_end().len();
    }
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let (message, hint) = explain(error.kind(), &text[line..at]);
    SyntaxError { at, message: message.to_owned(), hint: Some(hint) }
}

struct Builder<'t> {
    text: &'t str,
    nodes: Vec<Node>,
    /// The collections that are not ended yet.
    open: Vec<NodeId>,
    /// The node of each anchor, by the parser's number for it.
    anchors: HashMap<usize, NodeId>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, written: Range<usize>) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                // The parser writes a missing value as `~`.
                let value = if written.is_empty() { String::new() } else { value.into_owned() };
                if style == ScalarStyle::Plain && !value.is_empty() {
                    self.check_colon(written.end)?;
                }
                let id = self.push(Kind::Scalar(value), written, anchor, tag.as_deref());
                self.nodes[id].is_plain = style == ScalarStyle::Plain;
            }
            Event::SequenceStart(_, anchor, tag) => self.open(Kind::Sequence, written.start, anchor, tag.as_deref())?,
            Event::MappingStart(_, anchor, tag) => self.open(Kind::Mapping, written.start, anchor, tag.as_deref())?,
            Event::SequenceEnd | Event::MappingEnd => {
                let end = self.nodes.len();
                if let Some(node) = self.open.pop().and_then(|id| self.nodes.get_mut(id)) {
                    node.end = end;
                }
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied().unwrap_or_default();
                self.push(Kind::Alias(target), written, 0, None);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind, at: usize, anchor: usize, tag: Option<&Tag>) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(SyntaxError { at, message, hint: None });
        }
        let id = self.push(kind, at..at, anchor, tag);
        self.open.push(id);
        Ok(())
    }

    fn push(&mut self, kind: Kind, written: Range<usize>, anchor: usize, tag: Option<&Tag>) -> NodeId {
        let id = self.nodes.len();
        let tag = tag.map(|tag| {
            let name = format!("{}{}", tag.handle(), tag.suffix());
            name.strip_prefix("tag:yaml.org,2002:").map_or(name.clone(), |short| format!("!!{short}"))
        });
        self.nodes.push(Node { kind, is_plain: false, tag, written, end: id + 1 });
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    /// In `{a:, b}` YAML 1.2 ends `a` before the colon, and yaml.v3 after it.
    fn check_colon(&self, at: usize) -> Result<(), SyntaxError> {
        match self.text.as_bytes().get(at..at + 2) {
            Some([b':', b',' | b'[' | b']' | b'{' | b'}']) => {
                let hint = Some("write a space after the colon, or quote the text");
                Err(SyntaxError { at, message: "missing space after `:`".to_owned(), hint })
            }
            _ => Ok(()),
        }
    }
}

const CLOSE: &str = "close the bracket that was opened before, or write `,` between its items";
const QUOTES: &str = "in single quotes write `''` for `'`, in double quotes `\\\"` for `\"`";

/// The parser's error in the words of someone who writes a stack file; `before` is the line up to the place.
fn explain(kind: &ErrorKind, before: &str) -> (&'static str, &'static str) {
    use ErrorKind::*;
    match kind {
        MappingValueNotAllowed if !before.contains(": ") => (
            "the line above has no `: `, or has both a value and keys below it",
            "write `key: value` there, or remove its value",
        ),
        MappingValueNotAllowed | MappingKeyNotAllowed | InvalidMappingValueWhitespace => {
            ("a second `:` on this line", "quote a value that contains `: ` or ends with `:`")
        }
        UnknownAnchor => {
            ("undefined alias: no anchor of this name is defined above", "quote a value that begins with `*`")
        }
        MissingAnchorOrAliasName => ("invalid anchor or alias", "quote a value that begins with `*` or `&`"),
        ExpectedBlockMappingKey | InvalidIndentation | UnexpectedEofBlockMapping => {
            ("wrong indentation: not aligned with the keys above", "align it, and check for quotes that are not closed")
        }
        SimpleKeyExpected | InvalidSimpleKey | UnexpectedEndOfPlainScalar => {
            ("missing `:` after this key", "write `key: value`, with a space after the colon")
        }
        ExpectedBlockSequenceEntry | UnexpectedEofBlockSequence => {
            ("wrong indentation: not aligned with the `-` above", "align it")
        }
        UnclosedQuotedScalar | DocumentIndicatorInQuotedScalar => ("this quote is never closed", QUOTES),
        InvalidTrailingSingleQuotedScalar | InvalidTrailingDoubleQuotedScalar => {
            ("unexpected text after the closing quote", QUOTES)
        }
        UnknownQuotedScalarEscape
        | InvalidQuotedScalarHexEscape
        | InvalidLowSurrogateHexEscape
        | InvalidLowSurrogate
        | MissingLowSurrogate
        | UnpairedLowSurrogate
        | InvalidUnicodeEscape => ("invalid escape in double quotes", "write `\\\\` for `\\`, or use single quotes"),
        UnclosedFlowCollection { .. } => ("this bracket is never closed", CLOSE),
        ExpectedFlowMappingSeparator
        | UnexpectedEofFlowMapping
        | ExpectedFlowSequenceSeparator
        | UnexpectedEofFlowSequence
        | InvalidColonPlacement => ("missing `,`, `]` or `}` before this", CLOSE),
        MisplacedFlowCollectionEnd | MismatchedFlowCollectionEnd { .. } => {
            ("unexpected closing bracket", "remove it, or quote the value")
        }
        BlockSequenceEntryNotAllowed | BlockEntryInFlowCollection => {
            ("a list cannot begin on this line", "write each `- item` on a line of its own below the key")
        }
        CommentInterceptedScalar => {
            ("the value before this comment continues below it", "check the indentation of the line below")
        }
        CommentNotSeparated => ("missing space before `#`", "write a space before a comment, or quote the value"),
        ExpectedNodeContent => ("missing value before this", "quote the value"),
        RecursionLimitExceeded => ("nested too deeply", "use fewer levels"),
        TabNotAllowed | TabInBlockIndentation | TabInIndentation | TabAtBlockScalarStart | TabInPlainScalar => {
            ("indented with a tab", "indent with spaces")
        }
        UnexpectedCharacter { .. } | PlainScalarStartsWithDashFlowIndicator => {
            ("a value cannot begin with this character", "quote the value")
        }
        InvalidFlowScalarIndent | InvalidQuotedScalarIndent | InvalidBlockScalarIndent => {
            ("wrong indentation", "indent the lines of the value more than its key")
        }
        ZeroBlockScalarIndent | InvalidBlockScalarHeader => {
            ("unexpected text after `|` or `>`", "write the text on the lines below")
        }
        UndeclaredTagHandle | ExpectedTagBang | InvalidTagTerminator | MissingTagUri | UnclosedVerbatimTag => {
            ("invalid tag", "quote a value that begins with `!`")
        }
        _ => ("invalid YAML", "check this line and the one above; quote values with special characters"),
    }
}
