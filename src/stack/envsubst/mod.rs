//! Variables in the text of a stack file, substituted as drone/envsubst v1 does for faas-cli, which is not as bash does.
//!
//! It runs over the raw text before YAML is read, comments included. `$NAME` without braces stays as it is.
//!
//! ```text
//! text        = { "$$" | "\/" | "\\" | expression | character }     of the first three, the second character stays
//! expression  = "${" name "}"                                       the value; empty if it is not set
//!             | "${#" name "}"                                      its length in bytes
//!             | "${" name default { word | expression } "}"         the rest if the value is empty, else the value
//!             | "${" name ":" argument [ ":"+ argument ] "}"        from a byte offset, and for so many bytes
//!             | "${" name trim argument "}"                         without what the pattern matches at one end
//!             | "${" name replace argument "/"+ [ argument ] "}"    a text in it replaced; here too "$$", "\/" and "\\"
//!             | "${" name ( "," | ",," | "^" | "^^" ) "}"           the first letter or all, lower or upper case
//! default     = ":-" | ":=" | ":?" | ":+" | "="                     all the same
//! trim        = "#" | "##" | "%" | "%%"                             prefix or suffix, shortest or longest
//! replace     = "/" | "//" | "/#" | "/%"                            first, all, prefix, suffix
//! argument    = word | expression                                   one of them, never both
//! name        = letters, digits and "_"
//! ```
//!
//! A word ends at `}`, `${` or the end of the file; the first argument of a replacement ends at `/` instead of `}`, the first
//! of a substring at `:` too. An argument may not be empty. The text that comes out maps back to the text that went in.

mod functions;
mod parse;
#[cfg(test)]
mod tests;

use std::ops::Range;

use thiserror::Error;

use super::MAX_FILE;
use crate::diagnostic::Explain;
use parse::Parser;

/// The remedy for a function that would get a secret of the pipe.
pub const OWN_SECRET: &str = "give the function an OpenFaaS secret (`secrets:`) of its own instead";

/// After so many faults the rest is not looked at.
const MAX_FAULTS: usize = 20;

/// A problem with an expression, in bytes of the source.
#[derive(Debug)]
pub struct Fault {
    pub at: Range<usize>,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultKind {
    #[error("this `${{` is not followed by the name of a variable")]
    NoName,
    #[error("this `${{` is never closed")]
    Unclosed,
    #[error("unexpected `{found}` after `${{{name}`: only `}}` or an operator may follow the name")]
    Unexpected { name: String, found: char },
    #[error("missing text after the operator of `${{{name}…`")]
    NoArgument { name: String },
    #[error("missing second `/` in `${{{name}…`")]
    NoReplacement { name: String },
    #[error("missing `}}` after `${{{name}…`")]
    NotClosed { name: String },
    #[error("the length of `${{{name}:offset:length}}` is negative")]
    NegativeLength { name: String },
    #[error("`{name}` holds a secret of the pipe and is never substituted")]
    Secret { name: String },
    #[error("the substitution cuts a character in two")]
    CutCharacter,
    #[error("expressions are nested too deeply")]
    TooDeep,
    #[error("the value is too long")]
    TooLong,
}

impl Explain for FaultKind {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoName | Self::Unclosed => {
                "write `${NAME}`, or `$${` for a literal `${`; comments are substituted too".to_owned()
            }
            Self::Unexpected { name, found: '-' } => {
                format!("write `${{{name}:-default}}`: faas-cli does not support bash's form without `:`")
            }
            Self::Unexpected { name, .. } | Self::NotClosed { name } => {
                format!("write `${{{name}}}` or `${{{name}:-default}}`")
            }
            Self::NoArgument { name } => format!("write `${{{name}}}` if no operator is meant"),
            Self::NoReplacement { name } => format!("write `${{{name}/old/new}}`, with `\\/` for a `/` in `old`"),
            Self::NegativeLength { name } => format!("write `${{{name}:offset:length}}` with a length of 0 or more"),
            Self::Secret { .. } => OWN_SECRET.to_owned(),
            Self::CutCharacter => "offsets and lengths count bytes, and `é` has two of them".to_owned(),
            Self::TooDeep | Self::TooLong => {
                let limit = MAX_FILE / 1024;
                format!("use short values, of at most {limit} KiB together: pass large ones as OpenFaaS secrets")
            }
        })
    }
}

/// A text with its variables substituted, and the way back to the source.
#[derive(Debug, Default)]
pub struct Substituted {
    pub text: String,
    /// In order, both in the text and in the source; the last one is the end of both.
    segments: Vec<Segment>,
}

/// A run of text that was copied, or what an expression became.
#[derive(Debug)]
struct Segment {
    text: usize,
    source: usize,
    is_expression: bool,
    /// The names in the expression that had neither a value nor a default.
    missing: Vec<Range<usize>>,
}

impl Segment {
    fn copied(text: usize, source: usize) -> Self {
        Self { text, source, is_expression: false, missing: Vec::new() }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Replacement<'a> {
    /// Where the expression is, in bytes of the source.
    pub source: Range<usize>,
    /// Where its value is, in bytes of the text.
    pub text: Range<usize>,
    pub value: &'a str,
    /// Where in the source the names are that had neither a value nor a default.
    pub missing: &'a [Range<usize>],
}

impl Replacement<'_> {
    /// True if the value has line breaks that are not at its ends.
    pub fn has_several_lines(&self) -> bool {
        self.value.trim_ascii().contains('\n')
    }
}

impl Substituted {
    pub fn unchanged(source: &str) -> Self {
        Self {
            text: source.to_owned(),
            segments: vec![Segment::copied(0, 0), Segment::copied(source.len(), source.len())],
        }
    }

    /// The place in the source that a place in the text comes from: the whole expression if one became it, else the empty
    /// range at the place.
    pub fn source_range(&self, text: usize) -> Range<usize> {
        let first = self.segments.partition_point(|segment| segment.text < text);
        let after = self.segments.partition_point(|segment| segment.text <= text);
        // Of several at the same place, an expression that became nothing.
        let index = (first..after).find(|index| self.segments[*index].is_expression);
        let index = index.unwrap_or(after.saturating_sub(1));
        let Some(segment) = self.segments.get(index) else { return 0..0 };
        let end = self.segments.get(index + 1).map_or(segment.source, |next| next.source);
        if segment.is_expression {
            segment.source..end
        } else {
            let at = (segment.source + (text - segment.text)).min(end.max(segment.source));
            at..at
        }
    }

    /// The replacements in a part of the text, or at its edge.
    pub fn replacements(&self, text: Range<usize>) -> impl Iterator<Item = Replacement<'_>> {
        let first = self.segments.partition_point(|segment| segment.text < text.start).saturating_sub(1);
        let nexts = self.segments.iter().skip(first + 1);
        let near = self.segments.iter().skip(first).zip(nexts).take_while(move |(segment, _)| segment.text <= text.end);
        near.filter(move |(segment, next)| segment.is_expression && next.text >= text.start).map(|(segment, next)| {
            Replacement {
                source: segment.source..next.source,
                text: segment.text..next.text,
                value: &self.text[segment.text..next.text],
                missing: &segment.missing,
            }
        })
    }

    /// The same with `placeholder` as the value of each expression, or only of those in which a name has neither a value nor a
    /// default.
    pub fn with_placeholder(&self, placeholder: &str, only_missing: bool) -> Self {
        let mut out = Self::default();
        let ends = self.segments.iter().skip(1).map(|segment| segment.text).chain([self.text.len()]);
        for (segment, end) in self.segments.iter().zip(ends) {
            let Segment { source, is_expression, ref missing, .. } = *segment;
            out.segments.push(Segment { text: out.text.len(), source, is_expression, missing: missing.clone() });
            let is_replaced = is_expression && !(only_missing && missing.is_empty());
            out.text.push_str(if is_replaced { placeholder } else { &self.text[segment.text..end] });
        }
        out
    }
}

#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// The value of a variable that is set.
    pub value: &'a dyn Fn(&str) -> Option<String>,
    /// True if it holds a secret of the pipe. Only the name counts: a function of the same team may rightly have the same value
    /// under another name.
    pub is_secret: &'a dyn Fn(&str) -> bool,
}

/// Substitutes the variables of `source`. The error is all expressions that are wrong, up to a limit.
pub fn substitute(source: &str, variables: Lookup<'_>) -> Result<Substituted, Vec<Fault>> {
    let mut parser = Parser::new(source, variables);
    let mut run = Run { source, line: (0, is_comment(source)), out: Substituted::default() };
    let mut faults = Vec::new();
    while let Some(start) = run.copy_text(&mut parser) {
        parser.missing.clear();
        let fault = match parser.expression() {
            Ok(value) if run.out.text.len() + value.len() <= MAX_FILE => {
                run.put(start, &value, std::mem::take(&mut parser.missing));
                continue;
            }
            Ok(_) => Fault { at: start..parser.at, kind: FaultKind::TooLong },
            Err(fault) => fault,
        };
        // Parsing continues after the fault as if all before it were text: an expression around it is not reported again.
        parser.at = fault.at.end;
        faults.push(fault);
        if faults.len() >= MAX_FAULTS {
            break;
        }
    }
    run.copy_from(source.len());
    if faults.is_empty() { Ok(run.out) } else { Err(faults) }
}

struct Run<'a> {
    source: &'a str,
    /// A place in the source, and whether its line is a comment.
    line: (usize, bool),
    out: Substituted,
}

impl Run<'_> {
    /// Copies text up to the next expression; returns its start, with the parser after its `${`.
    fn copy_text(&mut self, parser: &mut Parser<'_>) -> Option<usize> {
        if self.out.segments.last().is_none_or(|segment| segment.is_expression) {
            self.copy_from(parser.at);
        }
        loop {
            let start = parser.at;
            let bytes = &self.source.as_bytes()[start..];
            let special = bytes.windows(2).position(|pair| matches!(pair, b"${" | b"$$" | b"\\/" | b"\\\\"));
            let Some(length) = special else {
                self.out.text.push_str(&self.source[start..]);
                parser.at = self.source.len();
                return None;
            };
            let at = start + length;
            self.out.text.push_str(&self.source[start..at]);
            parser.at = at + 2;
            if bytes[length..].starts_with(b"${") {
                return Some(at);
            }
            // Of an escape only the second character stays, and it is not looked at again.
            self.copy_from(at + 1);
            self.out.text.push_str(&self.source[at + 1..at + 2]);
        }
    }

    fn copy_from(&mut self, source: usize) {
        self.out.segments.push(Segment::copied(self.out.text.len(), source));
    }

    fn put(&mut self, start: usize, value: &str, mut missing: Vec<Range<usize>>) {
        if self.in_comment(start) {
            missing.clear();
        }
        self.out.segments.push(Segment { text: self.out.text.len(), source: start, is_expression: true, missing });
        self.out.text.push_str(value);
    }

    /// True if a place is on a line that is a comment as a whole. Places are asked for in order.
    fn in_comment(&mut self, at: usize) -> bool {
        let (known, mut verdict) = self.line;
        if let Some(end) = self.source[known..at].rfind('\n') {
            verdict = is_comment(&self.source[known + end + 1..]);
        }
        self.line = (at, verdict);
        verdict
    }
}

/// True if the first line of a text is a comment.
fn is_comment(text: &str) -> bool {
    text.trim_start_matches([' ', '\t']).starts_with('#')
}
