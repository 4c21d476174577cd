//! Plain English: phrases that read like a translation, or that nobody would search for, are not allowed in texts.

use std::fs;
use std::path::Path;

use crate::messages::{messages, sources};

/// Phrases that are not allowed, and their replacements.
const WORDS: [(&str, &str); 32] = [
    ("try again", "retry"),
    ("tried again", "retried"),
    ("tries again", "retries"),
    ("further tries", "retries"),
    ("may pass", "transient"),
    ("by chance", "jitter"),
    ("is not there", "does not exist, not found"),
    ("are not there", "do not exist, not found"),
    ("not there yet", "does not exist yet"),
    ("is there already", "already exists"),
    ("for the second time", "duplicate"),
    ("stands", "is"),
    ("stood", "was"),
    ("no url can name", "invalid name"),
    ("to the letter", "not expanded, verbatim"),
    ("became nothing", "is empty"),
    ("gives", "returns, prints"),
    ("given by", "set by"),
    ("tells", "reports, logs"),
    ("told", "reported, logged"),
    ("left alone", "skipped, not changed"),
    ("leaves alone", "skips"),
    ("got ready", "became ready"),
    ("get ready", "become ready"),
    ("gets ready", "becomes ready"),
    ("what ran before", "the previous version"),
    ("how long at most", "timeout, limit"),
    ("is none", "is not one, does not exist"),
    ("there is none", "it does not exist"),
    ("taken for", "assumed to be"),
    ("takes for", "assumes"),
    ("all the same", "anyway"),
];

/// `where` is allowed only for places. These phrases are about places.
const PLACES: [&str; 8] =
    ["know where", "shows where", "see where", "says where", "find where", "where to", "where is", "from where"];

/// The first phrase in a text that is not allowed, and its replacement.
fn found(text: &str) -> Option<(&'static str, &'static str)> {
    let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |text: &str, phrase: &str| {
        text.match_indices(phrase).any(|(at, _)| {
            let is_letter = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
            !text[..at].ends_with(is_letter) && !text[at + phrase.len()..].starts_with(is_letter)
        })
    };
    let without_places = PLACES.iter().fold(text.clone(), |text, phrase| text.replace(phrase, ""));
    let mut words = WORDS.iter().copied().filter(|(phrase, _)| has(&text, phrase));
    words.next().or_else(|| has(&without_places, "where").then_some(("where", "if, when")))
}

/// All such phrases in the messages, the README and the documentation.
fn findings() -> Vec<String> {
    let mut findings = Vec::new();
    let mut check = |path: &str, text: &str| {
        if let Some((phrase, instead)) = found(text) {
            findings.push(format!("{path}: `{phrase}` (write: {instead}) in: {text}"));
        }
    };
    for (path, source) in sources("src") {
        messages(&path, &source).iter().for_each(|text| check(&path, text));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = fs::read_dir(root.join("docs")).expect("cannot read directory");
    let documents =
        documents.map(|entry| format!("docs/{}", entry.expect("cannot read directory").file_name().display()));
    // The messages on this page are checked in the source code.
    let documents = documents.filter(|path| path.ends_with(".md") && path != "docs/messages.md");
    for path in ["README.md", "CONTRIBUTING.md", "pipe.yml"].map(str::to_owned).into_iter().chain(documents) {
        let text = fs::read_to_string(root.join(&path)).expect("cannot read file");
        text.split("\n").for_each(|line| check(&path, line));
    }
    findings
}

#[test]
fn texts_are_in_plain_english() {
    let findings = findings();
    assert!(findings.is_empty(), "{} places:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn only_whole_words_are_found() {
    assert_eq!(found("`f` is\n   not there").map(|(phrase, _)| phrase), Some("is not there"));
    assert_eq!(found("set it where the network is trusted").map(|(phrase, _)| phrase), Some("where"));
    assert_eq!(found("elsewhere, understands, see where it is"), None);
}
