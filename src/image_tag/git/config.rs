//! The few settings of a repository that its facts depend on (git-config(1), "Syntax").

use std::{iter::Peekable, path::Path, str::Chars};

use super::{Error, read_small};

/// Shortest abbreviation that git knows.
const MINIMUM_ABBREV: usize = 4;

/// Settings of the repository itself. Those of the machine and the user lie outside of the clone and are not read, nor
/// are included files.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// Digits in an abbreviated id, uniqueness apart; absent where it follows from the number of objects.
    pub(super) abbrev: Option<usize>,
    /// Multi-pack indexes are left aside.
    pub(super) no_multi_pack_index: bool,
    /// How references are kept, where not as files.
    pub(super) ref_storage: Option<String>,
    /// How objects are named, where not by SHA-1.
    pub(super) object_format: Option<String>,
}

impl Config {
    /// Reads `config`, and `config.worktree` where the former asks for that.
    pub(super) fn read(git_dir: &Path, common_dir: &Path) -> Result<Self, Error> {
        let mut config = Self::default();
        let path = common_dir.join("config");
        let text = read_small(&path)?.unwrap_or_default();
        let mut per_worktree = false;
        for (key, value) in entries(&String::from_utf8_lossy(&text)) {
            per_worktree = if key == "extensions.worktreeconfig" { is_true(&value) } else { per_worktree };
            config.set(&path, &key, value)?;
        }
        if per_worktree {
            let path = git_dir.join("config.worktree");
            let text = read_small(&path)?.unwrap_or_default();
            for (key, value) in entries(&String::from_utf8_lossy(&text)) {
                config.set(&path, &key, value)?;
            }
        }
        Ok(config)
    }

    fn set(&mut self, path: &Path, key: &str, value: Option<String>) -> Result<(), Error> {
        match key {
            "core.abbrev" => {
                let value = value.unwrap_or_default();
                self.abbrev = parse_abbrev(&value).ok_or_else(|| Error::Abbrev { path: path.to_path_buf(), value })?;
            }
            "core.multipackindex" => self.no_multi_pack_index = !is_true(&value),
            "extensions.refstorage" => self.ref_storage = value.filter(|value| value != "files"),
            "extensions.objectformat" => self.object_format = value.filter(|value| value != "sha1"),
            _ => {}
        }
        Ok(())
    }
}

/// `Some(None)` is `auto`, `None` is not a value that git takes.
fn parse_abbrev(value: &str) -> Option<Option<usize>> {
    match value.to_ascii_lowercase().as_str() {
        "auto" => Some(None),
        "" | "no" | "off" | "false" => Some(Some(2 * super::id::SIZE)),
        number => {
            let number = number.parse::<usize>().ok().filter(|&number| number >= MINIMUM_ABBREV);
            number.map(|number| Some(number.min(2 * super::id::SIZE)))
        }
    }
}

fn is_true(value: &Option<String>) -> bool {
    value.as_ref().is_none_or(|value| {
        let value = value.to_ascii_lowercase();
        matches!(value.as_str(), "true" | "yes" | "on") || value.parse().is_ok_and(|number: i64| number != 0)
    })
}

/// All settings in the order of the file as `section.key` or `section.subsection.key`; section and key in lower case.
/// A key without `=` has no value. What is not understood is passed over.
fn entries(text: &str) -> Vec<(String, Option<String>)> {
    let mut entries = Vec::new();
    let mut section = String::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(&next) = rest.peek() {
        match next {
            '[' => section = section_name(&mut rest),
            '#' | ';' => rest.by_ref().take_while(|&c| c != '\n').for_each(drop),
            c if c.is_ascii_alphabetic() => {
                let mut key = String::new();
                while let Some(c) = rest.next_if(|&c| c.is_ascii_alphanumeric() || c == '-') {
                    key.push(c.to_ascii_lowercase());
                }
                while rest.next_if(|&c| c == ' ' || c == '\t').is_some() {}
                let value = rest.next_if_eq(&'=').map(|_| value(&mut rest));
                entries.push((format!("{section}.{key}"), value));
            }
            _ => drop(rest.next()),
        }
    }
    entries
}

fn section_name(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    let mut quoted = false;
    rest.next();
    while let Some(c) = rest.next_if(|&c| c != '\n') {
        match c {
            ']' if !quoted => break,
            '"' if !quoted => {
                quoted = true;
                name.push('.');
            }
            '"' => quoted = false,
            '\\' if quoted => name.extend(rest.next()),
            c if quoted => name.push(c),
            ' ' | '\t' => {}
            c => name.push(c.to_ascii_lowercase()),
        }
    }
    name
}

fn value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    let mut quoted = false;
    let mut end = 0;
    while let Some(c) = rest.next() {
        match c {
            '\n' => break,
            '#' | ';' if !quoted => {
                rest.take_while(|&c| c != '\n').for_each(drop);
                break;
            }
            '"' => quoted = !quoted,
            '\\' => value.extend(rest.next().filter(|&c| c != '\n')),
            c if c.is_whitespace() && !quoted => {
                if !value.is_empty() {
                    value.push(c);
                }
                continue;
            }
            c => value.push(c),
        }
        end = value.len();
    }
    value.truncate(end);
    value
}
