//! Variables in the text of a stack file, substituted as drone/envsubst v1 does for faas-cli, which is not as bash does.
//!
//! It runs over the raw text before YAML is read, comments included. `$NAME` without braces is left alone.
//!
//! ```text
//! text        = { "$$" | "\/" | "\\" | expression | character }     of the first three, the second character stays
//! expression  = "${" name "}"                                       the value; nothing where it is not set
//!             | "${#" name "}"                                      its length in bytes
//!             | "${" name default { word | expression } "}"         the rest where the value is empty, else the value
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

use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use crate::console::log::brief;
use functions::{Effort, Stop};
use parse::{Expression, Operator, Parser, Piece};

/// The step's own tokens, which no function gets under any name.
pub const TOKENS: [&str; 2] = ["BITBUCKET_STEP_OIDC_TOKEN", "PIPELINES_JWT_TOKEN"];
/// All names that hold secrets of the pipe. The password and the key are looked for by name alone: their values may be
/// short, and a function of the same team may rightly have one under another name.
pub const SECRET_NAMES: [&str; 6] =
    [TOKENS[0], TOKENS[1], "OPENFAAS_PASSWORD", "SIGN_KEY", "DOCKER_AUTH_CONFIG", "REGISTRY_PASSWORD"];
/// What to do in place of giving a function one of these.
pub const OWN_SECRET: &str = "give the function an OpenFaaS secret (`secrets:`) of its own instead";

/// The longest text that may come out, in bytes. A stack file is at most 1 MiB; what is twice that is no stack file.
const MAX_OUTPUT: usize = 2 << 20;
/// After so many faults the rest is not looked at.
const MAX_FAULTS: usize = 20;

/// What is wrong with an expression, in bytes of the source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct Fault {
    /// The place, for the marker.
    pub at: Range<usize>,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// The ways in which an expression can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each says it in its message")]
pub enum FaultKind {
    #[error("this `${{` is not followed by the name of a variable")]
    NoName,
    #[error("this `${{` is never closed")]
    Unclosed,
    #[error("`${{{name}` is followed by `{found}`, where only `}}` or an operator may stand")]
    Unexpected { name: String, found: char },
    #[error("`${{{name}…` lacks the text after its operator")]
    NoArgument { name: String },
    #[error("`${{{name}…` lacks the second `/` of `${{{name}/old/new}}`")]
    NoReplacement { name: String },
    #[error("`${{{name}…` goes on where it should end with `}}`")]
    NotClosed { name: String },
    #[error("the offset and length of `${{{name}:…}}` leave less than nothing")]
    NegativeLength { name: String },
    #[error("`{name}` is a secret of the pipe and is never put into a stack file")]
    Secret { name: String },
    #[error("substitutions are nested too deep")]
    TooDeep,
    #[error("the text that comes out of the substitution is too long")]
    TooLong,
    #[error("this pattern takes too long to match")]
    TooSlow,
}

impl FaultKind {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            Self::NoName | Self::Unclosed => {
                "write `${NAME}`, or `$${` where a literal `${` is meant; comments are substituted too".to_owned()
            }
            Self::Unexpected { name, found: '-' } => {
                format!("write `${{{name}:-default}}`: the form without `:` is bash, faas-cli does not know it")
            }
            Self::Unexpected { name, .. } | Self::NotClosed { name } => {
                format!("write `${{{name}}}` or `${{{name}:-default}}`")
            }
            Self::NoArgument { name } => format!("write `${{{name}}}` where no operator is meant"),
            Self::NoReplacement { name } => format!("write `${{{name}/old/new}}`; a `/` in `old` is written `\\/`"),
            Self::NegativeLength { name } => {
                format!("write `${{{name}:offset:length}}` with a length of 0 or more")
            }
            Self::Secret { .. } => OWN_SECRET.to_owned(),
            Self::TooDeep | Self::TooLong | Self::TooSlow => {
                "a stack file needs only short values; pass large ones as OpenFaaS secrets or files".to_owned()
            }
        }
    }
}

/// A text with its variables substituted, and the way back to the source.
#[derive(Debug, Default)]
pub struct Substituted {
    /// The text; not UTF-8 where an expression cuts a character in two.
    pub text: Vec<u8>,
    /// Where each name stands first, and whether it was missing there: empty or unset, with no default.
    pub names: BTreeMap<String, Use>,
    /// In order, both in the text and in the source; the last one is the end of both.
    segments: Vec<Segment>,
    /// The missing name of an expression, by the index of its segment; in order.
    missing: Vec<(usize, Range<usize>)>,
}

/// How a name is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Where it stands first, in bytes of the source.
    pub first: usize,
    /// Where it first had no value and no default, outside of comments.
    pub missing: Option<usize>,
}

/// A run of text that was copied, or what an expression became.
#[derive(Debug)]
struct Segment {
    text: u32,
    source: u32,
    is_expression: bool,
}

impl Segment {
    /// Both lengths are bounded far below 4 GiB.
    fn new(text: usize, source: usize, is_expression: bool) -> Self {
        let [text, source] = [text, source].map(|offset| u32::try_from(offset).unwrap_or(u32::MAX));
        Self { text, source, is_expression }
    }

    fn text(&self) -> usize {
        self.text as usize
    }

    fn source(&self) -> usize {
        self.source as usize
    }
}

/// What an expression became.
#[derive(Debug, PartialEq, Eq)]
pub struct Replacement<'a> {
    /// Where it stands, in bytes of the source.
    pub source: Range<usize>,
    /// What stands there now.
    pub value: &'a [u8],
    /// Where in the source the name stands that had no value and no default.
    pub missing: Option<Range<usize>>,
}

impl Replacement<'_> {
    /// Whether the value has line breaks that are not at its ends.
    pub fn has_several_lines(&self) -> bool {
        self.value.trim_ascii().contains(&b'\n')
    }
}

impl Substituted {
    /// A text in which nothing is substituted.
    pub fn unchanged(source: &str) -> Self {
        Self {
            text: source.as_bytes().to_vec(),
            segments: vec![Segment::new(0, 0, false), Segment::new(source.len(), source.len(), false)],
            ..Self::default()
        }
    }

    /// The place in the source that a place in the text comes from: the whole expression where it is what one became,
    /// else the empty range at the place.
    pub fn source_range(&self, text: usize) -> Range<usize> {
        let mut index = self.segments.partition_point(|segment| segment.text() <= text);
        // Of what stands at the same place, an expression that became nothing.
        while let Some([before, last]) = index.checked_sub(2).and_then(|start| self.segments.get(start..index))
            && before.is_expression
            && before.text() == last.text()
            && last.text() == text
        {
            index -= 1;
        }
        let Some(segment) = index.checked_sub(1).and_then(|index| self.segments.get(index)) else {
            return 0..0;
        };
        let end = self.segments.get(index).map_or(segment.source(), Segment::source);
        if segment.is_expression {
            segment.source()..end
        } else {
            let at = (segment.source() + (text - segment.text())).min(end.max(segment.source()));
            at..at
        }
    }

    /// Whether an expression made some of a part of the text, or stands at its edge with an empty value.
    pub fn is_made_by_substitution(&self, text: &Range<usize>) -> bool {
        let first = self.segments.partition_point(|segment| segment.text() < text.start).saturating_sub(1);
        let ends = self.segments.iter().skip(first + 1);
        let near = self.segments.iter().skip(first).zip(ends).take_while(|(segment, _)| segment.text() <= text.end);
        near.filter(|(segment, _)| segment.is_expression).any(|(_, next)| next.text() >= text.start)
    }

    /// What the expressions became that begin within a part of the source.
    pub fn replacements(&self, source: Range<usize>) -> impl Iterator<Item = Replacement<'_>> {
        let first = self.segments.partition_point(|segment| segment.source() < source.start);
        (first..self.segments.len().saturating_sub(1))
            .take_while(move |index| self.segments[*index].source() < source.end)
            .filter(|index| self.segments[*index].is_expression)
            .map(|index| {
                let (segment, next) = (&self.segments[index], &self.segments[index + 1]);
                let missing = self.missing.binary_search_by_key(&index, |(index, _)| *index).ok();
                Replacement {
                    source: segment.source()..next.source(),
                    value: &self.text[segment.text()..next.text()],
                    missing: missing.map(|found| self.missing[found].1.clone()),
                }
            })
    }
}

/// Substitutes the variables of `source`; `variable` gives the value of a name that is set.
///
/// # Errors
///
/// All expressions that are wrong, up to a limit.
pub fn substitute(source: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Substituted, Vec<Fault>> {
    let mut run = Run {
        source,
        variable,
        values: BTreeMap::new(),
        effort: Effort::default(),
        missing: Vec::new(),
        line: (0, is_comment(source)),
        out: Substituted::default(),
    };
    let mut faults = Vec::new();
    let mut parser = Parser::new(source);
    while let Some(start) = run.copy_text(&mut parser) {
        let length = run.out.text.len();
        let result = parser.expression().and_then(|expression| run.put(start, &expression));
        if let Err(fault) = result {
            // What follows the fault is looked at as if all before it were text: what it stands within is not met again.
            run.out.text.truncate(length);
            parser.at = fault.at.end;
            faults.push(fault);
            if faults.len() >= MAX_FAULTS {
                break;
            }
        }
    }
    run.segment(source.len(), false);
    if faults.is_empty() { Ok(run.out) } else { Err(faults) }
}

struct Run<'a> {
    source: &'a str,
    variable: &'a dyn Fn(&str) -> Option<String>,
    values: BTreeMap<&'a str, String>,
    effort: Effort,
    /// The names that were missing in the expression at hand.
    missing: Vec<Range<usize>>,
    /// A place in the source, and whether its line is a comment.
    line: (usize, bool),
    out: Substituted,
}

impl Run<'_> {
    /// Copies text up to the next expression; gives its start, with the parser behind its `${`.
    fn copy_text(&mut self, parser: &mut Parser<'_>) -> Option<usize> {
        if self.out.segments.last().is_none_or(|segment| segment.is_expression) {
            self.segment(parser.at, false);
        }
        loop {
            let start = parser.at;
            let bytes = &self.source.as_bytes()[start..];
            let special = bytes.windows(2).position(|pair| matches!(pair, b"${" | b"$$" | b"\\/" | b"\\\\"));
            let Some(length) = special else {
                self.out.text.extend_from_slice(bytes);
                parser.at = self.source.len();
                return None;
            };
            self.out.text.extend_from_slice(&bytes[..length]);
            if bytes[length..].starts_with(b"${") {
                parser.at = start + length + 2;
                return Some(start + length);
            }
            // Of an escape only the second character stays, and it is not looked at again.
            self.segment(start + length + 1, false);
            self.out.text.push(bytes[length + 1]);
            parser.at = start + length + 2;
        }
    }

    fn segment(&mut self, source: usize, is_expression: bool) {
        let text = self.out.text.len();
        self.out.segments.push(Segment::new(text, source, is_expression));
    }

    /// Appends what a whole expression becomes.
    fn put(&mut self, start: usize, expression: &Expression) -> Result<(), Fault> {
        self.missing.clear();
        self.segment(start, true);
        let index = self.out.segments.len() - 1;
        let value = self.evaluate(expression)?;
        if self.out.text.len() + value.len() > MAX_OUTPUT {
            return Err(expression.fault(FaultKind::TooLong));
        }
        self.out.text.extend_from_slice(&value);
        if let Some(name) = self.missing.first() {
            self.out.missing.push((index, name.clone()));
        }
        if self.missing.is_empty() || self.in_comment(start) {
            return Ok(());
        }
        for name in &self.missing {
            if let Some(used) = self.out.names.get_mut(&self.source[name.clone()]) {
                used.missing.get_or_insert(name.start);
            }
        }
        Ok(())
    }

    /// Whether a place is on a line that is a comment as a whole. Places are asked for in order.
    fn in_comment(&mut self, at: usize) -> bool {
        let (known, mut verdict) = self.line;
        if let Some(end) = self.source[known..at].rfind('\n') {
            verdict = is_comment(&self.source[known + end + 1..]);
        }
        self.line = (at, verdict);
        verdict
    }

    fn value(&mut self, name: Range<usize>) -> &str {
        let key = &self.source[name.clone()];
        let names = &mut self.out.names;
        if !names.contains_key(key) {
            names.insert(key.to_owned(), Use { first: name.start, missing: None });
        }
        let variable = self.variable;
        self.values.entry(key).or_insert_with(|| variable(key).unwrap_or_default())
    }

    fn evaluate(&mut self, expression: &Expression) -> Result<Vec<u8>, Fault> {
        let missing_before = self.missing.len();
        let mut arguments = Vec::with_capacity(expression.arguments.len());
        let mut total = 0;
        for piece in &expression.arguments {
            let argument = match piece {
                Piece::Text(text) => text.clone().into_bytes(),
                Piece::Expression(inner) => self.evaluate(inner)?,
            };
            total += argument.len();
            if total > MAX_OUTPUT {
                return Err(expression.fault(FaultKind::TooLong));
            }
            arguments.push(argument);
        }
        let is_default = expression.operator == Operator::Default;
        let value = self.value(expression.name.clone()).to_owned();
        if value.is_empty() && !is_default {
            self.missing.push(expression.name.clone());
        } else if !value.is_empty() && is_default {
            self.missing.truncate(missing_before);
        }
        functions::apply(expression.operator, &value, &arguments, MAX_OUTPUT, &mut self.effort).map_err(|stop| {
            let name = brief(&self.source[expression.name.clone()]);
            expression.fault(match stop {
                Stop::NegativeLength => FaultKind::NegativeLength { name },
                Stop::TooLong => FaultKind::TooLong,
                Stop::TooSlow => FaultKind::TooSlow,
            })
        })
    }
}

/// Whether the first line of a text is a comment.
fn is_comment(text: &str) -> bool {
    text.trim_start_matches([' ', '\t']).starts_with('#')
}
