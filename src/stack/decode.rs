//! Nodes to values, as Go's yaml.v3 decodes them into faas-cli's structs: merge keys, aliases, nulls, all problems at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::yaml::{Document, Kind, Meaning, NodeId};
use super::{MAX_DEPTH, MAX_FILE};
use crate::console::log::{WholeOrLength, whole_or_length};

/// How many bytes all decoded values may take together: aliases may make a small file as large as they like.
const MAX_DECODED: usize = 8 * MAX_FILE;
/// What a node takes beside its text.
const NODE: usize = 8;

/// What is wrong with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The node to mark.
    pub node: NodeId,
    pub message: String,
    pub hint: &'static str,
    /// The node that it repeats.
    pub first: Option<NodeId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub value: String,
    pub node: NodeId,
}

/// A value of a mapping, with the nodes of key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: String,
    pub key: NodeId,
    pub node: NodeId,
}

/// A key and a value of a mapping, merges applied.
#[derive(Clone, Debug)]
pub struct Pair {
    pub name: String,
    pub key: NodeId,
    pub value: NodeId,
    is_merged: bool,
}

/// Decodes nodes of one document. What is null is `None`; so is what is wrong, which is noted.
pub struct Decoder<'d> {
    document: &'d Document,
    /// All that was found so far.
    pub findings: Vec<Finding>,
    duplicates: HashSet<NodeId>,
    decoded: usize,
    /// Whether too much was decoded already; nothing more is.
    pub is_exhausted: bool,
}

impl<'d> Decoder<'d> {
    pub fn new(document: &'d Document) -> Self {
        Self { document, findings: Vec::new(), duplicates: HashSet::new(), decoded: 0, is_exhausted: false }
    }

    fn report(&mut self, node: NodeId, message: impl Into<String>, hint: &'static str) {
        self.findings.push(Finding { node, message: message.into(), hint, first: None });
    }

    /// Whether more may be decoded; reports once that it may not.
    fn charge(&mut self, node: NodeId, bytes: usize) -> bool {
        self.decoded += bytes + NODE;
        if !self.is_exhausted && self.decoded > MAX_DECODED {
            self.is_exhausted = true;
            self.report(node, "the values up to here are too large together", "use fewer aliases, or several files");
        }
        !self.is_exhausted
    }

    /// Reports a node that is not what it must be, unless it is null.
    fn mismatch<T>(&mut self, node: NodeId, what: impl fmt::Display, wanted: &str, hint: &'static str) -> Option<T> {
        let target = self.document.resolve(node);
        if self.document.meaning(target) == Meaning::Null {
            return None;
        }
        let found = match self.document.kind(target) {
            Kind::Sequence => "a list".to_owned(),
            Kind::Mapping => "a mapping".to_owned(),
            Kind::Alias(_) => "an alias".to_owned(),
            Kind::Scalar(text) => format!("the text `{}`", whole_or_length(text)),
        };
        self.report(node, format!("{what} must be {wanted}, not {found}"), hint);
        None
    }

    /// `what` names it in messages.
    pub fn text(&mut self, node: NodeId, what: fmt::Arguments<'_>) -> Option<String> {
        let target = self.document.resolve(node);
        let Kind::Scalar(text) = self.document.kind(target) else {
            let hint = match self.document.kind(target) {
                Kind::Mapping => "quote a value that begins with `{` or contains `: `",
                _ => "quote a value that begins with `[` or `- `",
            };
            return self.mismatch(node, what, "a text", hint);
        };
        if !self.charge(node, text.len()) {
            return None;
        }
        match self.document.meaning(target) {
            Meaning::Null => None,
            Meaning::Binary => {
                let decoded = STANDARD.decode(text.replace(['\n', '\r'], "")).ok();
                let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                if decoded.is_none() {
                    self.report(node, format!("{what} is not the base64 of a text"), "remove the tag `!!binary`");
                }
                decoded
            }
            Meaning::Unfit => {
                self.report(node, format!("{what} does not match its tag"), "remove the tag, or write `!!str`");
                None
            }
            _ => Some(text.to_owned()),
        }
    }

    pub fn boolean(&mut self, node: NodeId, what: &str) -> Option<bool> {
        let target = self.document.resolve(node);
        let text = match self.document.kind(target) {
            Kind::Scalar(text) => text,
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

    /// Without its nulls.
    pub fn list(&mut self, node: NodeId, what: &str) -> Option<Vec<Text>> {
        let target = self.document.resolve(node);
        if self.document.kind(target) != Kind::Sequence {
            return self.mismatch(node, what, "a list", "write `[item]`, or each item on a line of its own after `- `");
        }
        let document = self.document;
        let text = |node| Some(Text { value: self.text(node, format_args!("an item of {what}"))?, node });
        Some(document.children(target).filter_map(text).collect())
    }

    /// Names with texts, a null being the empty text.
    pub fn map(&mut self, node: NodeId, what: &str) -> Option<BTreeMap<String, Entry>> {
        let mut map = BTreeMap::new();
        for Pair { name, key, value: node, .. } in self.pairs(node, what)? {
            let before = self.findings.len();
            let value = self.text(node, format_args!("`{}` of {what}", WholeOrLength(&name)));
            if value.is_some() || self.findings.len() == before {
                map.insert(name, Entry { value: value.unwrap_or_default(), key, node });
            }
        }
        Some(map)
    }

    /// Keys and values of a mapping, own ones before merged ones.
    pub fn pairs(&mut self, node: NodeId, what: &str) -> Option<Vec<Pair>> {
        let target = self.document.resolve(node);
        match self.document.kind(target) {
            Kind::Mapping => {
                let mut flatten = Flatten { decoder: self, what, pairs: Vec::new(), merging: vec![node] };
                flatten.mapping(target, None)?;
                let pairs = flatten.pairs;
                Some(self.once_each(pairs))
            }
            Kind::Sequence => self.mismatch(node, what, "a mapping", "write `NAME: value` lines, without `- ` and `=`"),
            _ => self.mismatch(node, what, "a mapping", "write `NAME: value` lines, with a space after the colon"),
        }
    }

    /// The pairs with each name once. Own names may be the same through an alias or a tag, which is wrong; a merged one
    /// that did not lose against an own one takes its place, unless it is null.
    fn once_each(&mut self, pairs: Vec<Pair>) -> Vec<Pair> {
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
        let mut out: Vec<Pair> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match seen.get(&pair.name).and_then(|index| out.get_mut(*index)) {
                None => {
                    seen.insert(pair.name.clone(), out.len());
                    out.push(pair);
                }
                Some(first) if pair.is_merged => {
                    if self.document.meaning(self.document.resolve(pair.value)) != Meaning::Null {
                        *first = pair;
                    }
                }
                Some(first) => {
                    let first = first.key;
                    self.report_duplicate(pair.key, first, &pair.name);
                }
            }
        }
        out
    }

    fn report_duplicate(&mut self, node: NodeId, first: NodeId, name: &str) {
        // A mapping may be read more than once.
        if self.duplicates.insert(node) {
            let message = format!("duplicate key `{}`", whole_or_length(name));
            self.findings.push(Finding { node, message, hint: "keep one of them", first: Some(first) });
        }
    }
}

/// Gathers the pairs of a mapping and of those it merges.
struct Flatten<'a, 'd> {
    decoder: &'a mut Decoder<'d>,
    what: &'a str,
    pairs: Vec<Pair>,
    /// The aliases and mappings on the way here.
    merging: Vec<NodeId>,
}

impl Flatten<'_, '_> {
    /// `taken` holds the keys that win over merged ones; the outermost mapping has none yet.
    fn mapping(&mut self, node: NodeId, mut taken: Option<&mut HashSet<String>>) -> Option<()> {
        let document = self.decoder.document;
        self.check_unique(node)?;
        let is_merged = taken.is_some();
        let mut merge = None;
        for (key, value) in document.pairs(node) {
            if document.meaning(key) == Meaning::Merge {
                merge = Some(value);
                continue;
            }
            let Some(name) = self.decoder.text(key, format_args!("a key of {}", self.what)) else {
                continue;
            };
            if taken.as_mut().is_none_or(|taken| taken.insert(name.clone())) {
                self.pairs.push(Pair { name, key, value, is_merged });
            }
        }
        let Some(merge) = merge else {
            return Some(());
        };
        // yaml.v3 compares own keys by type: one that looks like a number does not win over a merged text.
        let own = |pair: &&Pair| {
            let meaning = document.meaning(document.resolve(pair.key));
            matches!(meaning, Meaning::Text | Meaning::Binary | Meaning::Merge)
        };
        let mut own = match taken {
            Some(_) => HashSet::new(),
            None => self.pairs.iter().filter(own).map(|pair| pair.name.clone()).collect(),
        };
        let taken = taken.unwrap_or(&mut own);
        match document.kind(merge) {
            Kind::Sequence => document.children(merge).try_for_each(|item| self.merge(item, taken)),
            _ => self.merge(merge, taken),
        }
    }

    fn merge(&mut self, node: NodeId, taken: &mut HashSet<String>) -> Option<()> {
        let target = self.decoder.document.resolve(node);
        if self.decoder.document.kind(target) != Kind::Mapping {
            let hint = "write `<<: *name` with the anchor of a mapping, or a list of such";
            self.decoder.report(node, "`<<` can merge only mappings", hint);
            return None;
        }
        if self.merging.contains(&node) || self.merging.len() > MAX_DEPTH {
            self.decoder.report(node, "this merges itself, or too many levels of merges", "use fewer merge keys");
            return None;
        }
        if !self.decoder.charge(node, 0) {
            return None;
        }
        self.merging.push(node);
        let result = self.mapping(target, Some(taken));
        self.merging.pop();
        result
    }

    /// Two keys with the same text, whatever their types, as yaml.v3 compares them.
    fn check_unique(&mut self, node: NodeId) -> Option<()> {
        let document = self.decoder.document;
        let mut seen: HashMap<Kind<'_>, NodeId> = HashMap::new();
        for (key, _) in document.pairs(node) {
            if !self.decoder.charge(key, 0) {
                return None;
            }
            let kind = document.kind(key);
            if let Some(first) = seen.insert(kind, key) {
                let name = match kind {
                    Kind::Scalar(text) => text,
                    _ => "…",
                };
                self.decoder.report_duplicate(key, first, name);
            }
        }
        Some(())
    }
}
