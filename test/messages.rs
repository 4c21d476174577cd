//! `docs/messages.md`: every error, warning and hint on one page, so that a search for a message finds it.
//!
//! `cargo run --example messages` regenerates the page. A test fails if the page is out of date. The texts are the
//! string literals in `src`, the examples are the snapshots of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/messages.md";

/// The parts of the page, by the folder of the source file.
const PARTS: [(&str, &str); 12] = [
    ("src/config", "Variables"),
    ("src/stack", "Stack file"),
    ("src/image_tag", "Image tags (`TAG_FORMAT`)"),
    ("src/oidc", "The step's token"),
    ("src/http", "Connections"),
    ("src/gateway", "Gateway"),
    ("src/registry", "Registries and clouds"),
    ("src/commands", "Commands"),
    ("src/function", "Functions"),
    ("src/report", "Reports and output variables"),
    ("src/files", "Files"),
    ("src/", "Everything else"),
];

#[cfg(not(test))]
fn main() -> std::io::Result<()> {
    fs::write(root().join(PAGE), page())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder with their paths from the root, sorted.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut pending = vec![root().join(folder)];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).expect("cannot read directory") {
            let path = entry.expect("cannot read directory").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                let text = fs::read_to_string(&path).expect("cannot read file");
                files.push((relative(&path), text));
            }
        }
    }
    files.sort();
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn page() -> String {
    let mut page = String::from(
        "# Messages\n\n\
         Every error, warning and hint of the pipe, to be searched. `…` stands for a value of your run. The examples come from the \
         tests, the lists from the source code. Written by `cargo run --example messages`.\n\n\
         ## Examples\n\n",
    );
    for example in examples() {
        page.push_str(&format!("```text\n{}\n```\n\n", example.trim_end()));
    }
    let files = sources("src");
    let mut seen = BTreeSet::new();
    for (at, (folder, title)) in PARTS.iter().enumerate() {
        let is_in_part = |path: &str| PARTS.iter().position(|(folder, _)| path.starts_with(folder)) == Some(at);
        let texts: Vec<String> = files
            .iter()
            .filter(|(path, _)| is_in_part(path))
            .flat_map(|(path, source)| messages(path, source))
            .filter(|text| seen.insert(text.clone()))
            .collect();
        if texts.is_empty() {
            continue;
        }
        page.push_str(&format!("## {title}\n\n<!-- {folder} -->\n\n"));
        for text in texts {
            page.push_str(&format!("- {}\n", text.replace('\n', "\n  ")));
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The messages of a source file: string literals of several words, without those in tests and in `expect`.
pub(crate) fn messages(path: &str, source: &str) -> Vec<String> {
    if path.contains("/tests") || path.ends_with("sample.rs") {
        return Vec::new();
    }
    let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let literals = literals(source).into_iter();
    let texts =
        literals.filter(|literal| !["expect(", "reason = "].iter().any(|before| literal.before.ends_with(before)));
    texts.map(|literal| readable(&literal.text)).filter(|text| is_message(text)).collect()
}

fn is_message(text: &str) -> bool {
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(|letter| letter.is_ascii_lowercase());
    text.split_whitespace().filter(is_word).count() >= 3
}

/// A format string with `…` in place of the arguments.
fn readable(format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
        } else if brace == "{" {
            text.push('…');
            rest = after.split_once('}').map_or("", |(_, after)| after);
        } else {
            rest = after;
        }
    }
    text.push_str(rest);
    text.trim().to_owned()
}

struct Literal<'a> {
    /// The code before the literal.
    before: &'a str,
    text: String,
}

/// The string literals of Rust code, without byte strings and text in comments.
fn literals(source: &str) -> Vec<Literal<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (text, length) = literal(quoted);
            if !source[..at].ends_with('b') {
                found.push(Literal { before: source[..at].trim_end(), text });
            }
            length + 1
        } else if let Some(length) =
            raw(rest).filter(|_| !source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        {
            let hashes = rest[1..].find('"').unwrap_or_default();
            let text = &rest[hashes + 2..length - hashes - 1];
            found.push(Literal { before: source[..at].trim_end(), text: text.to_owned() });
            length
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            // A character literal. A lifetime has no closing quote.
            rest[2..].find('\'').map_or(1, |end| end + 3).max(if rest.starts_with("'\\''") { 4 } else { 0 })
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += length;
    }
    found
}

/// The length of a raw string literal, including its delimiters.
fn raw(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.find('"')?;
    let marks = &rest[1..=hashes];
    marks.bytes().all(|byte| byte == b'#').then_some(())?;
    let end = format!("\"{marks}");
    let start = hashes + 2;
    Some(start + rest[start..].find(&end)? + end.len())
}

/// The text of a literal, and its length including the closing quote.
fn literal(rest: &str) -> (String, usize) {
    let mut text = String::new();
    let mut characters = rest.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, at + 1),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('\n') => while characters.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                Some('u') => while characters.next_if(|(_, next)| *next != '}').is_some() {},
                Some(other) => text.push(other),
                None => {}
            },
            character => text.push(character),
        }
    }
    (text, rest.len())
}

/// The snapshots that show a message in the log together with its hint.
fn examples() -> BTreeSet<String> {
    let files = sources("src").into_iter().chain(sources("test"));
    let files = files.filter(|(path, _)| path != "test/messages.rs");
    let mut examples = BTreeSet::new();
    for (_, source) in files {
        let snapshots = literals(&source).into_iter().filter(|literal| literal.before.ends_with('@'));
        for text in snapshots.map(|literal| unindented(&literal.text)) {
            // Reports in JSON and XML quote messages of the log.
            let is_log = !text.starts_with(['{', '<']);
            if is_log
                && text
                    .lines()
                    .any(|line| line.trim_start().starts_with("hint: ") || line.ends_with("Validation errors:"))
            {
                examples.insert(text);
            }
        }
    }
    examples
}

/// A snapshot without its indentation in the source.
fn unindented(text: &str) -> String {
    let text = text.trim_matches('\n').trim_end();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let indentation = lines.map(|line| line.len() - line.trim_start_matches(' ').len()).min().unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(|line| line.get(indentation..).unwrap_or_default()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_messages_is_up_to_date() {
        let written = fs::read_to_string(root().join(PAGE)).expect("cannot read file");
        assert!(written == page(), "{PAGE} is out of date: run `cargo run --example messages`");
    }

    #[test]
    fn literals_are_read_as_rust_reads_them() {
        let source = r##"
            // "a comment"
            let a = '"'; let b: &'static str = "one \"two\" \
                three"; let c = '\''; let d = b"bytes"; let e = r#"raw "four""#; let f = '\\'; e!("{a} {{b}} {}\n");
        "##;
        let texts: Vec<String> = literals(source).into_iter().map(|literal| literal.text).collect();
        assert_eq!(texts, ["one \"two\" three", "raw \"four\"", "{a} {{b}} {}\n"]);
        assert_eq!(readable(&texts[2]), "… {b} …");
    }
}
