//! Reads a JSON array of functions while it arrives, and keeps only the elements that are wanted. Pure.

use serde_json::Deserializer;

use super::error::ShapeError;
use crate::function::api::Status;

/// The longest function that is read, in bytes of JSON: twice what Kubernetes allows for annotations.
pub(super) const ELEMENT_LIMIT: usize = 512 * 1024;
/// How much the kept elements may take: their JSON text and their structs, in bytes. Several thousand functions.
const KEPT_LIMIT: usize = 8 * 1024 * 1024;

/// Whether an element is kept.
pub(super) type Wanted<'a> = &'a dyn Fn(&Status) -> bool;

/// An array that is being read. A namespace may hold many thousand functions, of which a run is interested in a few: only
/// one element is held in memory beside those that are kept. Commas count as white space.
pub(super) struct ArrayFilter<'a> {
    wanted: Wanted<'a>,
    has_begun: bool,
    has_ended: bool,
    /// Text that is not read yet: at most one element and one piece.
    pending: Vec<u8>,
    /// How many bytes came before `pending`.
    consumed: usize,
    /// The length of `pending` at which the element is parsed again. It doubles, so that a long element is not parsed for each piece.
    retry_at: usize,
    kept: Vec<Status>,
    kept_size: usize,
}

impl<'a> ArrayFilter<'a> {
    pub(super) fn new(wanted: Wanted<'a>) -> Self {
        Self {
            wanted,
            has_begun: false,
            has_ended: false,
            pending: Vec::new(),
            consumed: 0,
            retry_at: 0,
            kept: Vec::new(),
            kept_size: 0,
        }
    }

    /// Reads the next piece of the text.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ShapeError> {
        self.pending.extend_from_slice(piece);
        if self.pending.len() < self.retry_at { Ok(()) } else { self.read() }
    }

    /// The wanted elements, once the text is complete.
    pub(super) fn finish(mut self) -> Result<Vec<Status>, ShapeError> {
        // Go's JSON for a list that was never filled.
        if !self.has_begun && self.pending.trim_ascii() == b"null" {
            return Ok(Vec::new());
        }
        self.read()?;
        if self.has_ended { Ok(self.kept) } else { Err(ShapeError::Incomplete) }
    }

    /// Reads all whole elements that are pending.
    fn read(&mut self) -> Result<(), ShapeError> {
        let pending = std::mem::take(&mut self.pending);
        let mut position = 0;
        while let Some(byte) = pending.get(position) {
            position += match byte {
                byte if byte.is_ascii_whitespace() => 1,
                b'[' if !self.has_begun => {
                    self.has_begun = true;
                    1
                }
                // It may become `null`, which is complete only at the end.
                b'n' if !self.has_begun && b"null".starts_with(pending[position..].trim_ascii_end()) => break,
                b',' if self.has_begun && !self.has_ended => 1,
                b']' if self.has_begun && !self.has_ended => {
                    self.has_ended = true;
                    1
                }
                b'{' if self.has_begun && !self.has_ended => {
                    let mut elements = Deserializer::from_slice(&pending[position..]).into_iter::<Status>();
                    match elements.next() {
                        Some(Ok(element)) => {
                            let length = elements.byte_offset();
                            self.keep(element, length)?;
                            length
                        }
                        Some(Err(error)) if !error.is_eof() => return Err(self.not_array(position)),
                        _ if pending.len() - position > ELEMENT_LIMIT => return Err(ShapeError::TooMuch),
                        _ => break,
                    }
                }
                _ => return Err(self.not_array(position)),
            };
        }
        self.consumed += position;
        self.pending = pending;
        self.pending.drain(..position);
        self.retry_at = (2 * self.pending.len()).min(ELEMENT_LIMIT + 1);
        Ok(())
    }

    fn not_array(&self, position: usize) -> ShapeError {
        ShapeError::NotArray(self.consumed + position + 1)
    }

    fn keep(&mut self, element: Status, length: usize) -> Result<(), ShapeError> {
        if length > ELEMENT_LIMIT {
            return Err(ShapeError::TooMuch);
        }
        if (self.wanted)(&element) {
            self.kept_size += length + size_of::<Status>();
            if self.kept_size > KEPT_LIMIT {
                return Err(ShapeError::TooMuch);
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
    fn kept(text: &str, size: usize) -> Result<Vec<String>, ShapeError> {
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
        use ShapeError::{Incomplete, NotArray};
        for (text, error) in [
            ("", Incomplete),
            ("nul", Incomplete),
            ("nullx", NotArray(1)),
            ("<html>", NotArray(1)),
            ("{}", NotArray(1)),
            ("[1]", NotArray(2)),
            ("[null]", NotArray(2)),
            ("[[", NotArray(2)),
            ("[{}", Incomplete),
            ("[{},", Incomplete),
            ("[{}]]", NotArray(5)),
            (r#"[{"name":"a"},{"name":7}]"#, NotArray(15)),
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
        assert_eq!(kept(&element, 4096), Err(ShapeError::TooMuch));
        let many = |image: &str| format!("[{}]", vec![format!(r#"{{"image":"{image}"}}"#); 50_000].join(","));
        assert_eq!(kept(&many("yes"), 4096), Err(ShapeError::TooMuch));
        assert_eq!(kept(&many("no"), 4096), Ok(Vec::new()));
    }
}
