//! A JSON array without the elements that are of no use, as it arrives. Pure.

/// Whether an element is of use.
pub(super) type Keep<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Where in an array the text has come to. What is no array of objects passes through, to be refused by who reads it.
pub(super) struct Sieve<'a> {
    keep: Keep<'a>,
    /// How many brackets and braces are open.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Where the element under way begins in what was kept.
    start: usize,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(keep: Keep<'a>) -> Self {
        Self { keep, depth: 0, in_string: false, escaped: false, start: 0 }
    }

    /// Adds the next piece to what was kept, and takes away the elements that turn out to be of no use.
    pub(super) fn take(&mut self, piece: &[u8], kept: &mut Vec<u8>) {
        for byte in piece {
            let between = self.depth == 1 && !self.in_string;
            // The comma behind the first element, where that was taken away.
            let idle = *byte == b',' && kept.last() == Some(&b'[');
            if between && (idle || byte.is_ascii_whitespace()) {
                continue;
            }
            kept.push(*byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.in_string,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'[' | b'{' => {
                    self.depth += 1;
                    if self.depth == 2 {
                        self.start = kept.len() - 1;
                    }
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 1 && !(self.keep)(kept.get(self.start..).unwrap_or_default()) {
                        // With the comma before it: the one behind it takes its place.
                        kept.truncate(self.start);
                        kept.pop_if(|last| *last == b',');
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What is kept of a text that comes in pieces of this size: the elements that have a `k`.
    fn kept(text: &str, size: usize) -> String {
        let keep = |element: &[u8]| serde_json::from_slice::<Value>(element).map_or(true, |value| value["k"] == 1);
        let mut sieve = Sieve::new(&keep);
        let mut kept = Vec::new();
        text.as_bytes().chunks(size).for_each(|piece| sieve.take(piece, &mut kept));
        String::from_utf8(kept).unwrap()
    }

    #[test]
    fn elements_of_no_use_are_left_out_wherever_they_stand() {
        let (yes, no) = (r#"{"k":1,"t":"]}\\\"[{,","in":[{"k":2},[]]}"#, r#"{"t":"\"]},{\\","in":{"k":1}}"#);
        for count in 0..5 {
            for chosen in 0..1 << count {
                let all: Vec<_> = (0..count).map(|bit| if chosen >> bit & 1 == 1 { yes } else { no }).collect();
                let wanted: Vec<_> = all.iter().filter(|element| **element == yes).copied().collect();
                for (before, between) in [("", ","), (" \n", " ,\n")] {
                    let text = format!("{before}[{before}{}{before}]", all.join(between));
                    for size in [1, 7, 4096] {
                        let read: Value = serde_json::from_str(&kept(&text, size)).unwrap_or_else(|_| panic!("{text}"));
                        let expected: Value = serde_json::from_str(&format!("[{}]", wanted.join(","))).unwrap();
                        assert_eq!(read, expected, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_array_of_objects_stays_what_it_is() {
        for text in ["", "no", "[1,\"a, b\",null]", "]]}}", "{\"a\":{", "[[1}", "[{\"k\": 1", " <html a>", "[{k}]"] {
            assert_eq!(kept(text, 1), text);
        }
        assert!(serde_json::from_str::<Value>(&kept("{\"a\": {}}", 1)).is_err());
    }
}
