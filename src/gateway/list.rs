//! Reads the JSON array of a namespace's functions, and keeps only those that are wanted.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::ShapeError;
use crate::function::api::Status;

/// The longest function that is read, in bytes of JSON: twice what Kubernetes allows for annotations.
pub(super) const ELEMENT_LIMIT: usize = 512 * 1024;
/// How much the kept elements may take: their JSON text and their structs, in bytes. Several thousand functions.
const KEPT_LIMIT: usize = 8 * 1024 * 1024;

/// The wanted functions of a list.
pub(super) fn read(json: &[u8], wanted: &dyn Fn(&Status) -> bool) -> Result<Vec<Status>, ShapeError> {
    let mut kept = Kept { wanted, functions: Vec::new(), size: 0, is_too_much: false };
    let mut json = serde_json::Deserializer::from_slice(json);
    match json.deserialize_any(&mut kept).and_then(|()| json.end()) {
        Ok(()) => Ok(kept.functions),
        Err(_) if kept.is_too_much => Err(ShapeError::TooMuch),
        Err(error) => Err(ShapeError::not_json(&error)),
    }
}

/// A namespace may have many thousand functions, of which a run needs a few: one at a time is held beside those.
struct Kept<'a> {
    wanted: &'a dyn Fn(&Status) -> bool,
    functions: Vec<Status>,
    size: usize,
    is_too_much: bool,
}

impl<'de> Visitor<'de> for &mut Kept<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of functions")
    }

    /// Go's JSON for a list that was never filled.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(text) = elements.next_element::<&RawValue>()?.map(RawValue::get) {
            // An array would be taken for the fields of a function.
            if !text.starts_with('{') {
                return Err(A::Error::custom("not an object"));
            }
            self.is_too_much = text.len() > ELEMENT_LIMIT;
            if !self.is_too_much {
                let function = serde_json::from_str(text).map_err(|_| A::Error::custom("not a function"))?;
                if (self.wanted)(&function) {
                    self.size += text.len() + size_of::<Status>();
                    self.functions.push(function);
                }
                self.is_too_much = self.size > KEPT_LIMIT;
            }
            if self.is_too_much {
                return Err(A::Error::custom("too much"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the elements with an image `yes`.
    fn kept(text: &str) -> Result<Vec<String>, ShapeError> {
        let functions = read(text.as_bytes(), &|status| status.image == "yes")?;
        Ok(functions.into_iter().map(|status| status.name).collect())
    }

    #[test]
    fn only_wanted_elements_are_kept() {
        let (yes, no) =
            (r#"{"name":"a]}\\\"[{,","image":"yes","labels":{"b":"}"}}"#, r#"{"name":"\"]},{\\","image":"no"}"#);
        assert_eq!(kept(&format!(" [\n{yes} ,{no},{yes}]\n")).unwrap(), [r#"a]}\"[{,"#; 2]);
        assert_eq!(kept(" null\n"), Ok(Vec::new()));
        assert_eq!(kept("[]"), Ok(Vec::new()));
    }

    #[test]
    fn text_that_is_not_an_array_of_functions_is_refused() {
        for text in [
            "",
            "nul",
            "nullx",
            "<html>",
            "{}",
            "1",
            "[1]",
            "[null]",
            "[[]]",
            "[[",
            "[{}",
            "[{},",
            "[{}]]",
            r#"[{"name":7}]"#,
        ] {
            assert!(matches!(kept(text), Err(ShapeError::NotJson { .. })), "{text}");
        }
        let error = kept("[\n{\"name\":\"a\"},\n{\"name\":7}]").unwrap_err();
        assert_eq!(error, ShapeError::NotJson { line: 3, column: 11 });
    }

    #[test]
    fn memory_is_bounded_whatever_the_array_holds() {
        let element = format!(r#"[{{"name":"{}"}}]"#, "a".repeat(ELEMENT_LIMIT));
        assert_eq!(kept(&element), Err(ShapeError::TooMuch));
        let many = |image: &str| format!("[{}]", vec![format!(r#"{{"image":"{image}"}}"#); 50_000].join(","));
        assert_eq!(kept(&many("yes")), Err(ShapeError::TooMuch));
        assert_eq!(kept(&many("no")), Ok(Vec::new()));
        assert!(matches!(kept(&"[".repeat(1 << 20)), Err(ShapeError::NotJson { .. })));
    }
}
