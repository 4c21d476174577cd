//! Reads a JSON array of functions while it arrives, and keeps only the elements that are wanted. Pure.

use serde_json::Deserializer;

use crate::function::api::Status;

/// The longest function that is read, in bytes of JSON: twice what Kubernetes allows for annotations.
pub(super) const ELEMENT_LIMIT: usize = 512 * 1024;
/// How much the kept elements may take: their JSON text and their structs, in bytes. Several thousand functions.
const KEPT_LIMIT: usize = 8 * 1024 * 1024;

/// Whether an element is kept.
pub(super) type Wanted<'a> = &'a dyn Fn(&Status) -> bool;

/// Why an array cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArrayError {
    #[error("it is not the expected JSON array (byte {0})")]
    NotJson(usize),
    #[error("it ends early")]
    Incomplete,
    #[error("it is longer than the pipe can hold")]
    TooLong,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    ElementOrEnd,
    Element,
    CommaOrEnd,
    End,
}

/// An array that is being read. A namespace may hold many thousand functions, of which a run is interested in a few: only
/// one element is held in memory beside those that are kept.
pub(super) struct ArrayFilter<'a> {
    wanted: Wanted<'a>,
    state: State,
    /// Text that is not read yet: at most one element and one piece.
    pending: Vec<u8>,
    /// How many bytes came before `pending`.
    consumed: usize,
    /// The pending length at which the element is tried again, so that a long one is not parsed for each piece of it.
    retry_at: usize,
    kept: Vec<Status>,
    kept_size: usize,
}

impl<'a> ArrayFilter<'a> {
    pub(super) fn new(wanted: Wanted<'a>) -> Self {
        Self {
            wanted,
            state: State::Start,
            pending: Vec::new(),
            consumed: 0,
            retry_at: 0,
            kept: Vec::new(),
            kept_size: 0,
        }
    }

    /// Reads the next piece of the text.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ArrayError> {
        self.pending.extend_from_slice(piece);
        if self.pending.len() < self.retry_at {
            return Ok(());
        }
        self.read()
    }

    /// The wanted elements, once the text is complete.
    pub(super) fn finish(mut self) -> Result<Vec<Status>, ArrayError> {
        // Go's JSON for a list that was never filled.
        if self.state == State::Start && self.pending.trim_ascii() == b"null" {
            return Ok(Vec::new());
        }
        self.read()?;
        if self.state == State::End { Ok(self.kept) } else { Err(ArrayError::Incomplete) }
    }

    /// Reads all whole elements that are pending.
    fn read(&mut self) -> Result<(), ArrayError> {
        let pending = std::mem::take(&mut self.pending);
        let mut position = 0;
        let result = loop {
            position += pending[position..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let Some(byte) = pending.get(position) else { break Ok(()) };
            self.state = match (self.state, byte) {
                (State::Start, b'[') => State::ElementOrEnd,
                // It may become `null`, which is complete only at the end.
                (State::Start, b'n') if b"null".starts_with(pending[position..].trim_ascii_end()) => break Ok(()),
                (State::CommaOrEnd, b',') => State::Element,
                (State::ElementOrEnd | State::CommaOrEnd, b']') => State::End,
                (State::ElementOrEnd | State::Element, b'{') => {
                    let mut elements = Deserializer::from_slice(&pending[position..]).into_iter::<Status>();
                    match elements.next() {
                        Some(Ok(element)) => {
                            let length = elements.byte_offset();
                            if length > ELEMENT_LIMIT {
                                break Err(ArrayError::TooLong);
                            }
                            if let Err(error) = self.keep(element, length) {
                                break Err(error);
                            }
                            position += length;
                            self.state = State::CommaOrEnd;
                            continue;
                        }
                        Some(Err(error)) if !error.is_eof() => break Err(self.not_json(position)),
                        _ if pending.len() - position > ELEMENT_LIMIT => break Err(ArrayError::TooLong),
                        _ => break Ok(()),
                    }
                }
                _ => break Err(self.not_json(position)),
            };
            position += 1;
        };
        self.consumed += position;
        self.pending = pending;
        self.pending.drain(..position);
        self.retry_at = (2 * self.pending.len()).min(ELEMENT_LIMIT + 1);
        result
    }

    fn not_json(&self, position: usize) -> ArrayError {
        ArrayError::NotJson(self.consumed + position + 1)
    }

    fn keep(&mut self, element: Status, length: usize) -> Result<(), ArrayError> {
        if (self.wanted)(&element) {
            self.kept_size += length + size_of::<Status>();
            if self.kept_size > KEPT_LIMIT {
                return Err(ArrayError::TooLong);
            }
            self.kept.push(element);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the elements with an image `yes`, of a text that arrives in pieces of this size.
    fn kept(text: &str, size: usize) -> Result<Vec<String>, ArrayError> {
        let mut filter = ArrayFilter::new(&|status| status.image == "yes");
        for piece in text.as_bytes().chunks(size) {
            filter.push(piece)?;
        }
        Ok(filter.finish()?.into_iter().map(|status| status.name).collect())
    }

    #[test]
    fn only_wanted_elements_are_kept_wherever_the_text_is_cut() {
        let (yes, no) =
            (r#"{"name":"a]}\\\"[{,","image":"yes","labels":{"b":"}"}}"#, r#"{"name":"\"]},{\\","image":"no"}"#);
        for count in 0..5 {
            for chosen in 0..1 << count {
                let all: Vec<_> = (0..count).map(|bit| if chosen >> bit & 1 == 1 { yes } else { no }).collect();
                let expected = vec![r#"a]}\"[{,"#; all.iter().filter(|element| **element == yes).count()];
                for (before, between) in [("", ","), (" \n", " ,\n")] {
                    let text = format!("{before}[{before}{}{before}]{before}", all.join(between));
                    for size in [1, 7, 4096] {
                        assert_eq!(kept(&text, size).unwrap(), expected, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn null_is_an_empty_list() {
        for size in [1, 10] {
            assert_eq!(kept(" null\n", size), Ok(Vec::new()));
        }
    }

    #[test]
    fn text_that_is_not_an_array_of_functions_is_refused_at_its_place() {
        use ArrayError::{Incomplete, NotJson};
        for (text, error) in [
            ("", Incomplete),
            ("nul", Incomplete),
            ("nullx", NotJson(1)),
            ("<html>", NotJson(1)),
            ("{}", NotJson(1)),
            ("[1]", NotJson(2)),
            ("[null]", NotJson(2)),
            ("[[", NotJson(2)),
            ("[{}", Incomplete),
            ("[{},", Incomplete),
            ("[{}, ]", NotJson(6)),
            ("[,{}]", NotJson(2)),
            ("[{} {}]", NotJson(5)),
            ("[{}]]", NotJson(5)),
            (r#"[{"name":"a"},{"name":7}]"#, NotJson(15)),
            (r#"[{"name""#, Incomplete),
        ] {
            for size in [1, 4096] {
                assert_eq!(kept(text, size), Err(error.clone()), "{text}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_array_holds() {
        let element = format!(r#"[{{"name":"{}"}}]"#, "a".repeat(ELEMENT_LIMIT));
        assert_eq!(kept(&element, 4096), Err(ArrayError::TooLong));
        let many = |image: &str| format!("[{}]", vec![format!(r#"{{"image":"{image}"}}"#); 50_000].join(","));
        assert_eq!(kept(&many("yes"), 4096), Err(ArrayError::TooLong));
        assert_eq!(kept(&many("no"), 4096), Ok(Vec::new()));
    }
}
