//! From the items of `STACK_FILE` to the files that they name: paths, patterns and URLs.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};
use url::Url;

use super::{STACK_FILES, near_files};
use crate::console::log::{quote, whole_or_length};
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::http::client::SafeUrl;
use crate::stack;

/// More stack files are a pattern that matches too much.
const MAX_FILES: usize = 1000;
/// `*` stays within one directory, and hidden directories such as `.git` have to be named.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Where a stack file is read from.
pub(super) enum StackPath {
    File {
        path: PathBuf,
        /// The directory that what it names is relative to.
        base: PathBuf,
    },
    Url(String),
}

/// The files that the items name, the default one if there are none; the matches of a pattern in sorted order.
pub(super) fn named_files(
    items: &[String],
    clone_dir: Option<&Path>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<StackPath> {
    let named = if items.is_empty() {
        vec![default_file(clone_dir)]
    } else {
        items.iter().map(|item| item_files(item.trim(), clone_dir)).collect()
    };
    let files: Vec<_> =
        named.into_iter().flat_map(|files| files.map_err(|error| problems.push(error)).unwrap_or_default()).collect();
    if files.len() > MAX_FILES {
        problems.push(Diagnostic::error(format!("names {} files, more than {MAX_FILES}", files.len())));
        return Vec::new();
    }
    files
}

fn default_file(clone_dir: Option<&Path>) -> Result<Vec<StackPath>, Diagnostic> {
    if let Some(warning) = near_files::both_defaults(clone_dir) {
        tracing::warn!("{warning}");
    }
    let found = STACK_FILES.iter().find_map(|name| input::find(name, clone_dir).ok());
    found.map(|(path, base)| vec![StackPath::File { path, base }]).ok_or_else(|| {
        let near = near_files::suggestion(None, clone_dir);
        let hint = if near.is_empty() { ": write the stack file's path" } else { &near };
        Diagnostic::error(format!(
            "neither `stack.yaml` nor `stack.yml` is in the working directory or the clone directory{hint}"
        ))
    })
}

fn item_files(item: &str, clone_dir: Option<&Path>) -> Result<Vec<StackPath>, Diagnostic> {
    if item.starts_with("http://") {
        let shown = Url::parse(item).map_or_else(|_| String::new(), |url| format!("`{}` ", SafeUrl(&url)));
        return Err(Diagnostic::error(format!("{shown}is not encrypted: write an `https://` URL")));
    }
    if item.starts_with("https://") {
        return Ok(vec![StackPath::Url(item.to_owned())]);
    }
    if item.contains('*') {
        return matches(item, clone_dir);
    }
    let (path, base) = input::find(item, clone_dir)
        .map_err(|error| Diagnostic::error(format!("{error}{}", near_files::suggestion(Some(item), clone_dir))))?;
    Ok(vec![StackPath::File { path, base }])
}

/// The files that a pattern matches: in the working directory, else in the clone directory.
fn matches(pattern: &str, clone_dir: Option<&Path>) -> Result<Vec<StackPath>, Diagnostic> {
    let bases = [Some(Path::new(".")), clone_dir];
    for base in bases.into_iter().flatten() {
        let found = matches_in(base, pattern)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let pattern = whole_or_length(pattern);
    Err(Diagnostic::error(format!("`{pattern}` matches no file in the working directory or the clone directory")))
}

fn matches_in(base: &Path, pattern: &str) -> Result<Vec<StackPath>, Diagnostic> {
    // Only `*` and `**` are special: a name may hold the other characters of a pattern.
    let literal =
        |text: &str| text.replace('[', "\u{1}").replace('?', "[?]").replace(']', "[]]").replace('\u{1}', "[[]");
    let base_pattern = base.display().to_string();
    let whole = match base_pattern.as_str() {
        "." => literal(pattern),
        _ if pattern.starts_with('/') => literal(pattern),
        base => format!("{}/{}", Pattern::escape(base), literal(pattern)),
    };
    let invalid = |error: &dyn std::fmt::Display| {
        Diagnostic::error(format!(
            "`{}` is not a valid pattern: {}",
            whole_or_length(pattern),
            quote(&error.to_string())
        ))
    };
    let mut found = Vec::new();
    for path in glob_with(&whole, OPTIONS).map_err(|error| invalid(&error))? {
        let path = path.map_err(|error| {
            let (path, error) = (quote(&error.path().display().to_string()), error.error().to_string());
            Diagnostic::error(format!("`{path}` cannot be read: {error}"))
        })?;
        if !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found.into_iter().map(|path| StackPath::File { path, base: base.to_owned() }).collect())
}

/// A stack file of the clone.
pub(super) fn local(path: &Path, base: PathBuf, clone_dir: Option<PathBuf>) -> Result<stack::Source, Diagnostic> {
    let text = input::read(path, stack::MAX_FILE)?;
    Ok(stack::Source { name: path.display().to_string(), text, base, is_remote: false, clone_dir })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(base: &Path, pattern: &str) -> Vec<String> {
        let files = matches_in(base, pattern).unwrap();
        let path = |file: &StackPath| match file {
            StackPath::File { path, .. } => path.strip_prefix(base).unwrap().display().to_string(),
            StackPath::Url(url) => url.clone(),
        };
        files.iter().map(path).collect()
    }

    #[test]
    fn star_stays_in_a_directory_and_two_stars_do_not() {
        let dir = tempfile::tempdir().unwrap();
        for path in
            ["b/stack.yml", "a/stack.yml", "a/deep/stack.yml", "a[1]/stack.yml", ".hidden/stack.yml", "stack.yml"]
        {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(found(dir.path(), "*/stack.yml"), ["a/stack.yml", "a[1]/stack.yml", "b/stack.yml"]);
        assert_eq!(found(dir.path(), "a[1]/*.yml"), ["a[1]/stack.yml"]);
        assert_eq!(
            found(dir.path(), "**/stack.yml"),
            ["a/deep/stack.yml", "a/stack.yml", "a[1]/stack.yml", "b/stack.yml", "stack.yml"]
        );
        assert_eq!(found(dir.path(), "?/*.yml"), [""; 0]);
        assert!(matches_in(dir.path(), "a**/stack.yml").is_err());
    }
}
