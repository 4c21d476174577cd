//! The grammar of one `${…}` expression.

use std::ops::Range;

use super::super::{MAX_DEPTH, MAX_FILE};
use super::functions::{self, Operator};
use super::{Fault, FaultKind, Lookup};
use crate::console::log::whole_or_length;

/// Reads expressions, and evaluates them on the way.
pub(super) struct Parser<'a> {
    source: &'a str,
    variables: Lookup<'a>,
    /// The next byte to read.
    pub(super) at: usize,
    depth: usize,
    /// The names in the expression at hand that have neither a value nor a default.
    pub(super) missing: Vec<Range<usize>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a str, variables: Lookup<'a>) -> Self {
        Self { source, variables, at: 0, depth: 0, missing: Vec::new() }
    }

    /// Parses an expression whose `${` is read already.
    pub(super) fn expression(&mut self) -> Result<String, Fault> {
        if self.depth >= MAX_DEPTH {
            self.depth = 0;
            return Err(self.fault(self.at - 2, FaultKind::TooDeep));
        }
        self.depth += 1;
        let result = self.whole_expression();
        // A fault abandons the whole expression, from wherever it was found.
        self.depth = if result.is_ok() { self.depth - 1 } else { 0 };
        result
    }

    fn whole_expression(&mut self) -> Result<String, Fault> {
        let start = self.at - 2;
        let missing_before = self.missing.len();
        let is_length = self.take('#');
        let name = self.name(start)?;
        let mut arguments = Vec::new();
        let operator = if is_length { Operator::Length } else { self.rest(start, &name, &mut arguments)? };
        if !self.take('}') {
            return Err(match self.peek() {
                None | Some('\n' | '\r') => self.fault(start, FaultKind::Unclosed),
                Some(found) if operator == Operator::Value => {
                    self.here(FaultKind::Unexpected { name: self.text(&name), found })
                }
                Some(_) => self.here(FaultKind::NotClosed { name: self.text(&name) }),
            });
        }
        let text = &self.source[name.clone()];
        let value = (self.variables.value)(text).unwrap_or_default();
        match operator {
            // Of a default that is not used, nothing is missing.
            Operator::Default if !value.is_empty() => self.missing.truncate(missing_before),
            Operator::Default => {}
            // An operator on nothing is a sign of a forgotten variable, such as `${TAG:0:7}` in a step without `TAG`.
            _ if value.is_empty() => self.missing.push(name),
            _ => {}
        }
        functions::apply(operator, text, &value, &arguments).map_err(|kind| Fault { at: start..self.at, kind })
    }

    fn name(&mut self, start: usize) -> Result<Range<usize>, Fault> {
        let begin = self.at;
        while self.peek().is_some_and(|character| character == '_' || character.is_alphanumeric()) {
            self.advance();
        }
        if self.at == begin {
            return Err(self.fault(start, FaultKind::NoName));
        }
        let name = &self.source[begin..self.at];
        if (self.variables.is_secret)(name) {
            return Err(self.fault(start, FaultKind::Secret { name: name.to_owned() }));
        }
        Ok(begin..self.at)
    }

    /// Reads operator and arguments, up to the closing brace.
    fn rest(&mut self, start: usize, name: &Range<usize>, out: &mut Vec<String>) -> Result<Operator, Fault> {
        let rest = &self.source[self.at..];
        let mut characters = rest.chars();
        let (first, second) = (characters.next(), characters.next());
        let twice = first == second;
        let operator = match (first, second) {
            (Some(':'), Some('-' | '=' | '?' | '+')) | (Some('='), _) => {
                self.at += if first == Some(':') { 2 } else { 1 };
                let mut length = 0;
                while self.peek() != Some('}') {
                    let argument = self.argument(start, name, "}", false)?;
                    length += argument.len();
                    if length > MAX_FILE {
                        return Err(Fault { at: start..self.at, kind: FaultKind::TooLong });
                    }
                    out.push(argument);
                }
                Operator::Default
            }
            (Some(':'), Some(next)) if next.is_ascii() => {
                self.at += 1;
                out.push(self.argument(start, name, ":}", false)?);
                if self.take(':') {
                    // drone's lexer takes any number of them for one.
                    while self.take(':') {}
                    out.push(self.argument(start, name, "}", false)?);
                }
                Operator::Substring
            }
            (Some(end @ ('#' | '%')), _) => {
                self.at += if twice { 2 } else { 1 };
                out.push(self.argument(start, name, "}", false)?);
                Operator::Trim { suffix: end == '%', longest: twice }
            }
            (Some('/'), _) => self.replacement(start, name, out)?,
            (Some(case @ (',' | '^')), _) => {
                self.at += if twice { 2 } else { 1 };
                Operator::Case { upper: case == '^', all: twice }
            }
            _ => Operator::Value,
        };
        Ok(operator)
    }

    fn replacement(&mut self, start: usize, name: &Range<usize>, out: &mut Vec<String>) -> Result<Operator, Fault> {
        self.at += 1;
        let operator = match self.peek() {
            Some('/') => Operator::ReplaceAll,
            Some('#') => Operator::ReplacePrefix,
            Some('%') => Operator::ReplaceSuffix,
            _ => Operator::ReplaceFirst,
        };
        if operator != Operator::ReplaceFirst {
            self.at += 1;
        }
        out.push(self.argument(start, name, "/", true)?);
        if !self.take('/') {
            // The pattern includes any `}`: the place to mark is where it begins.
            return Err(self.fault(start, FaultKind::NoReplacement { name: self.text(name) }));
        }
        // As with `:`: several count as one.
        while self.take('/') {}
        if self.peek() != Some('}') {
            out.push(self.argument(start, name, "}", true)?);
        }
        Ok(operator)
    }

    /// Reads a word or an expression; a word ends before a character that is in `ends`, and may hold escapes.
    fn argument(&mut self, start: usize, name: &Range<usize>, ends: &str, escapes: bool) -> Result<String, Fault> {
        if self.source[self.at..].starts_with("${") {
            self.at += 2;
            return self.expression();
        }
        let begin = self.at;
        let mut text = String::new();
        while let Some(character) = self.peek() {
            let rest = &self.source.as_bytes()[self.at..];
            if rest.starts_with(b"${") {
                break;
            }
            if escapes && matches!(rest, [b'$', b'$', ..] | [b'\\', b'/' | b'\\', ..]) {
                text.push(char::from(rest[1]));
                self.at += 2;
                continue;
            }
            if ends.contains(character) {
                break;
            }
            text.push(character);
            self.advance();
        }
        if self.at > begin {
            Ok(text)
        } else if self.peek().is_none() {
            Err(self.fault(start, FaultKind::Unclosed))
        } else {
            Err(self.here(FaultKind::NoArgument { name: self.text(name) }))
        }
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance();
        }
        found
    }

    fn text(&self, range: &Range<usize>) -> String {
        whole_or_length(&self.source[range.clone()])
    }

    /// A fault of what begins at `start`; what is marked ends with its line.
    fn fault(&self, start: usize, kind: FaultKind) -> Fault {
        let line = &self.source[start..];
        let line = &line[..line.find('\n').unwrap_or(line.len())];
        let length = line.find('}').map_or(2, |end| end + 1);
        Fault { at: start..start + length, kind }
    }

    fn here(&self, kind: FaultKind) -> Fault {
        let length = self.peek().map_or(0, char::len_utf8);
        Fault { at: self.at..self.at + length, kind }
    }
}
