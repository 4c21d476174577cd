//! Nodes to values, as Go's yaml.v3 decodes them into faas-cli's structs: merge keys, aliases, nulls, all problems at once.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::diagnostics::{Found, SourceMap};
use super::yaml::{Document, Kind, Meaning, NodeId};
use super::{MAX_DEPTH, MAX_FILE, MAX_PROBLEMS};
use crate::console::log::{shown_later, whole_or_length};
use crate::diagnostic::Diagnostic;

/// How many bytes all decoded values may take together: aliases may make a small file as large as they like.
const MAX_DECODED: usize = 8 * MAX_FILE;
/// The memory overhead of a node.
const NODE: usize = 8;

#[derive(Debug)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) node: NodeId,
}

/// A value of a mapping, with the nodes of key and value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: String,
    pub(super) key: NodeId,
    pub(super) node: NodeId,
}

/// A key and a value of a mapping, merges applied.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) key: NodeId,
    pub(super) value: NodeId,
}

/// Decodes nodes of one document. What is null is `None`; so is what is wrong, which is noted.
pub(super) struct Decoder<'d> {
    document: &'d Document,
    source_map: SourceMap<'d>,
    /// All that was found so far.
    pub(super) found: Vec<Found>,
    /// Values that a deploy does not use.
    pub(super) unused: Vec<NodeId>,
    /// The keys that were reported as duplicates.
    duplicates: BTreeSet<NodeId>,
    decoded: usize,
    /// True if too much was decoded already; nothing more is.
    pub(super) is_exhausted: bool,
}

impl<'d> Decoder<'d> {
    pub(super) fn new(document: &'d Document, source_map: SourceMap<'d>) -> Self {
        Self {
            document,
            source_map,
            found: Vec::new(),
            unused: Vec::new(),
            duplicates: BTreeSet::new(),
            decoded: 0,
            is_exhausted: false,
        }
    }

    pub(super) fn report(&mut self, node: NodeId, message: impl Into<String>, hint: &str) {
        if self.found.len() < MAX_PROBLEMS {
            let at = self.document.written(node);
            let hint = self.source_map.hint(at.start, hint);
            self.found.push(self.source_map.problem(at, Diagnostic::error(message).with_hint(hint)));
        }
    }

    /// True if more may be decoded; reports once that it may not.
    fn charge(&mut self, node: NodeId, bytes: usize) -> bool {
        self.decoded += bytes + NODE;
        if !self.is_exhausted && self.decoded > MAX_DECODED {
            self.is_exhausted = true;
            self.report(
                node,
                "too many values: together with those above they are too large",
                "use fewer aliases, or several files",
            );
        }
        !self.is_exhausted
    }

    /// Reports a node that is not what it must be, unless it is null.
    fn mismatch<T>(&mut self, node: NodeId, what: impl fmt::Display, wanted: &str, hint: &str) -> Option<T> {
        let target = self.document.resolve(node);
        if self.document.meaning(target) == Meaning::Null {
            return None;
        }
        let found = match self.document.kind(target) {
            Kind::Sequence => "a list".to_owned(),
            Kind::Scalar(text) => format!("the text `{}`", whole_or_length(text)),
            Kind::Mapping | Kind::Alias(_) => "a mapping".to_owned(),
        };
        self.report(node, format!("{what} must be {wanted}, not {found}"), hint);
        None
    }

    /// `what` names it in messages.
    pub(super) fn text(&mut self, node: NodeId, what: fmt::Arguments<'_>) -> Option<String> {
        let document = self.document;
        let target = document.resolve(node);
        let Kind::Scalar(text) = document.kind(target) else {
            let at = document.written(node).start;
            let is_template = self.source_map.substituted.text.get(at..).is_some_and(|text| text.starts_with("{{"));
            let hint = match document.kind(target) {
                _ if is_template => "`{{` is of a template engine: run it in the script, or write `${NAME}`",
                Kind::Mapping => "quote a value that begins with `{` or contains `: `",
                _ => "quote a value that begins with `[` or `- `",
            };
            return self.mismatch(node, what, "a text", hint);
        };
        if !self.charge(node, text.len()) {
            return None;
        }
        let text = match document.meaning(target) {
            Meaning::Null => return None,
            Meaning::Binary => {
                let decoded = STANDARD.decode(text.replace(['\n', '\r'], "")).ok();
                decoded.and_then(|bytes| String::from_utf8(bytes).ok())
            }
            Meaning::Unfit => None,
            _ => Some(text.clone()),
        };
        if text.is_none() {
            self.report(node, format!("{what} does not match its tag"), "remove the tag, or write `!!str`");
        }
        text
    }

    pub(super) fn boolean(&mut self, node: NodeId, what: &str) -> Option<bool> {
        let target = self.document.resolve(node);
        let text = match self.document.kind(target) {
            Kind::Scalar(text) => text.as_str(),
            _ => "",
        };
        match (self.document.meaning(target), text) {
            (Meaning::Boolean(value), _) => Some(value),
            // In yaml.v3 these words are booleans if one is wanted, quoted too, while a quoted `true` is not.
            (Meaning::Text, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") => Some(true),
            (Meaning::Text, "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF") => Some(false),
            (_, "true" | "false") => self.mismatch(node, what, "a boolean", "remove the quotes"),
            _ => self.mismatch(node, what, "a boolean", "write `true` or `false`"),
        }
    }

    /// True if a node may hold fields.
    pub(super) fn is_mapping_or_null(&self, node: NodeId) -> bool {
        let target = self.document.resolve(node);
        *self.document.kind(target) == Kind::Mapping || self.document.meaning(target) == Meaning::Null
    }

    /// Without its nulls.
    pub(super) fn list(&mut self, node: NodeId, what: &str) -> Option<Vec<Text>> {
        let document = self.document;
        let target = document.resolve(node);
        if *document.kind(target) != Kind::Sequence {
            return self.mismatch(node, what, "a list", "write `[item]`, or each item on a line of its own after `- `");
        }
        let text = |node| Some(Text { value: self.text(node, format_args!("an item of {what}"))?, node });
        Some(document.children(target).filter_map(text).collect())
    }

    /// Names with texts, a null being the empty text.
    pub(super) fn map(&mut self, node: NodeId, what: &str) -> Option<BTreeMap<String, Entry>> {
        let mut map = BTreeMap::new();
        for Pair { name, key, value: node } in self.pairs(node, what)? {
            // A value that is not a text fails the run: any placeholder will do.
            let value = self.text(node, format_args!("`{}` of {what}", shown_later(&name))).unwrap_or_default();
            map.insert(name, Entry { value, key, node });
        }
        Some(map)
    }

    /// Keys and values of a mapping, own ones before merged ones.
    pub(super) fn pairs(&mut self, node: NodeId, what: &str) -> Option<Vec<Pair>> {
        let target = self.document.resolve(node);
        match self.document.kind(target) {
            Kind::Mapping => {
                let mut flatten = Flatten {
                    decoder: self,
                    what,
                    pairs: Vec::new(),
                    names: HashMap::new(),
                    visits: 0,
                    path: Vec::new(),
                };
                flatten.mapping(target)?;
                Some(flatten.pairs)
            }
            Kind::Sequence => self.mismatch(node, what, "a mapping", "write `NAME: value` lines, without `- ` and `=`"),
            _ => self.mismatch(node, what, "a mapping", "write `NAME: value` lines, with a space after the colon"),
        }
    }
}

/// Gathers the pairs of a mapping and of those it merges.
struct Flatten<'a, 'd> {
    decoder: &'a mut Decoder<'d>,
    what: &'a str,
    pairs: Vec<Pair>,
    /// The key that has each name, and in which visit of a mapping it was found.
    names: HashMap<String, (usize, NodeId)>,
    visits: usize,
    /// The mappings on the way here.
    path: Vec<NodeId>,
}

impl Flatten<'_, '_> {
    /// A name that a mapping further out or before has wins; the same name twice in one mapping is a mistake.
    fn mapping(&mut self, node: NodeId) -> Option<()> {
        let document = self.decoder.document;
        self.visits += 1;
        let visit = self.visits;
        let mut merge = None;
        for (key, value) in document.pairs(node) {
            if !self.decoder.charge(key, 0) {
                return None;
            }
            if document.meaning(key) == Meaning::Merge {
                if let Some((first, _)) = merge.replace((key, value)) {
                    self.report_duplicate(key, first, "<<");
                }
                continue;
            }
            let Some(name) = self.decoder.text(key, format_args!("a key of {}", self.what)) else { continue };
            match self.names.entry(name) {
                Slot::Vacant(slot) => {
                    self.pairs.push(Pair { name: slot.key().clone(), key, value });
                    slot.insert((visit, key));
                }
                // From another visit: the mapping further out has set it, and wins.
                Slot::Occupied(slot) => {
                    let (of_visit, first) = *slot.get();
                    if of_visit == visit {
                        let name = slot.key().clone();
                        self.report_duplicate(key, first, &name);
                    }
                }
            }
        }
        let Some((_, merge)) = merge else { return Some(()) };
        self.path.push(node);
        match document.kind(merge) {
            Kind::Sequence => document.children(merge).try_for_each(|item| self.merge(item))?,
            _ => self.merge(merge)?,
        }
        self.path.pop();
        Some(())
    }

    fn merge(&mut self, node: NodeId) -> Option<()> {
        let target = self.decoder.document.resolve(node);
        if *self.decoder.document.kind(target) != Kind::Mapping {
            let hint = "write `<<: *name` with the anchor of a mapping, or a list of such";
            self.decoder.report(node, "`<<` can merge only mappings", hint);
            return None;
        }
        // yaml.v3 refuses a mapping that contains itself; the limit keeps deep merges from exhausting the stack.
        if self.path.contains(&target) || self.path.len() > MAX_DEPTH {
            self.decoder.report(node, "recursive or too deeply nested merge key", "use fewer merge keys");
            return None;
        }
        if !self.decoder.charge(node, 0) {
            return None;
        }
        self.mapping(target)
    }

    fn report_duplicate(&mut self, node: NodeId, first: NodeId, name: &str) {
        // A mapping that several others merge is read more than once.
        if self.decoder.duplicates.insert(node) {
            let line = self.decoder.source_map.line(self.decoder.document.written(first).start);
            let message = format!("duplicate key `{}`, first on line {line}", whole_or_length(name));
            self.decoder.report(node, message, "keep one of them");
        }
    }
}
