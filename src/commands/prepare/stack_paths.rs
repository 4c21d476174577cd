//! From the items of `STACK_FILE` to the files that they name: paths, patterns, what was probably meant, and the text at a URL.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use glob::{MatchOptions, Pattern, PatternError};
use url::Url;

use super::STACK_FILES;
use crate::config::Config;
use crate::console::log::{self, quote, whole_or_length};
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::http::cause::Cause;
use crate::http::client::{self, SafeUrl};
use crate::http::retry::{self, Attempt, Retries, is_transient_response, wait_after};
use crate::http::tls::CaCert;
use crate::shutdown::Shutdown;
use crate::stack;

/// More stack files are a pattern that matches too much.
const MAX_FILES: usize = 1000;
/// The most characters that may differ from the name that was meant.
const NEAR: usize = 2;
/// Limits on the files that are looked at, on the bytes read of each, and on the files that are named.
const MAX_ENTRIES: usize = 1000;
const MAX_READ: usize = 64 * 1024;
const MAX_NAMED: usize = 3;
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
        problems.push(Diagnostic::error(format!("names more than {MAX_FILES} files")));
        return Vec::new();
    }
    files
}

fn default_file(clone_dir: Option<&Path>) -> Result<Vec<StackPath>, Diagnostic> {
    if let Some(warning) = both_defaults(clone_dir) {
        tracing::warn!("{warning}");
    }
    let found = STACK_FILES.iter().find_map(|name| input::find(name, clone_dir).ok());
    found.map(|(path, base)| vec![StackPath::File { path, base }]).ok_or_else(|| {
        let near = suggestion(None, clone_dir);
        let hint = if near.is_empty() { ": write the stack file's path" } else { &near };
        Diagnostic::error(format!(
            "neither `stack.yaml` nor `stack.yml` is in the working directory or the clone directory{hint}"
        ))
    })
}

fn item_files(item: &str, clone_dir: Option<&Path>) -> Result<Vec<StackPath>, Diagnostic> {
    let has_scheme = |scheme: &str| item.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if has_scheme("http://") {
        let shown = Url::parse(item).map_or_else(|_| String::new(), |url| format!("`{}` ", SafeUrl(&url)));
        return Err(Diagnostic::error(format!("{shown}is not encrypted: write an `https://` URL")));
    }
    if has_scheme("https://") {
        return Ok(vec![StackPath::Url(item.to_owned())]);
    }
    if item.contains('*') {
        return matches(item, clone_dir);
    }
    let (path, base) = input::find(item, clone_dir)
        .map_err(|error| Diagnostic::error(format!("{error}{}", suggestion(Some(item), clone_dir))))?;
    Ok(vec![StackPath::File { path, base }])
}

/// The files that a pattern matches: in the working directory, else in the clone directory.
fn matches(pattern: &str, clone_dir: Option<&Path>) -> Result<Vec<StackPath>, Diagnostic> {
    let bases = [Some(Path::new(".")), clone_dir];
    // Not in both: they may be the same directory, or one may be in the other.
    for base in bases.into_iter().flatten().filter(|base| base.is_dir()) {
        let found = matches_in(base, pattern)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let hint = if pattern.ends_with("**") { "; `**` matches directories: write `**/*.yml`" } else { "" };
    let pattern = whole_or_length(pattern);
    Err(Diagnostic::error(format!("`{pattern}` matches no file in the working directory or the clone directory{hint}")))
}

fn matches_in(base: &Path, pattern: &str) -> Result<Vec<StackPath>, Diagnostic> {
    // Only `*` and `**` are special: a name may hold the other characters of a pattern.
    let literal = |character| match character {
        '[' | ']' | '?' => format!("[{character}]"),
        other => other.to_string(),
    };
    let part = |part| Ok((part, Pattern::new(&str::chars(part).map(literal).collect::<String>())?));
    let mut parts = pattern.split('/').map(part).collect::<Result<Vec<_>, PatternError>>().map_err(|error| {
        Diagnostic::error(format!("`{}` is not a valid pattern: {}", whole_or_length(pattern), error.msg))
    })?;
    parts.dedup_by(|(part, _), (before, _)| *part == "**" && *before == "**");
    let mut found = BTreeSet::new();
    walk(if pattern.starts_with('/') { Path::new("/") } else { base }, &parts, &mut found)?;
    let path = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
    Ok(found.into_iter().map(|found| StackPath::File { path: path(found), base: base.to_owned() }).collect())
}

/// Finds the files below a directory that the parts of a pattern match, up to one more than are permitted. `**` does not enter
/// linked directories: packages that link to each other have no end.
fn walk(directory: &Path, parts: &[(&str, Pattern)], found: &mut BTreeSet<PathBuf>) -> Result<(), Diagnostic> {
    let Some(((part, pattern), rest)) = parts.split_first() else { return Ok(()) };
    let is_recursive = *part == "**";
    if is_recursive {
        walk(directory, rest, found)?;
    }
    let failed = |error| Diagnostic::error(format!("cannot read `{}`: {error}", quote(&directory.to_string_lossy())));
    let mut names = vec![PathBuf::from(part)];
    if part.contains('*') {
        let listed = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
        names = listed.iter().map(|entry| entry.file_name().into()).collect();
        names.retain(|name: &PathBuf| name.to_str().is_some_and(|name| pattern.matches_with(name, OPTIONS)));
    }
    for path in names.into_iter().map(|name| directory.join(name)) {
        if found.len() > MAX_FILES {
            break;
        }
        if is_recursive {
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                walk(&path, parts, found)?;
            }
        } else if path.is_dir() {
            walk(&path, rest, found)?;
        } else if rest.is_empty() && path.symlink_metadata().is_ok() {
            found.insert(path);
        }
    }
    Ok(())
}

/// The suggestion for a path that does not exist, or for the default names if neither of them does; empty if nothing is near.
fn suggestion(missing: Option<&str>, clone_dir: Option<&Path>) -> String {
    let path = Path::new(missing.unwrap_or_default());
    let parent = path.parent().unwrap_or(Path::new(""));
    let bases = [Some(Path::new(".")), clone_dir].into_iter().flatten().map(|base| base.join(parent));
    let is_meant = |(directory, name): &(PathBuf, String)| {
        missing.is_some() && is_near(name, path) || is_stack(&directory.join(name))
    };
    let names: BTreeSet<String> = bases.flat_map(yaml_files).filter(is_meant).map(|(_, name)| name).collect();
    let shown = names.iter().take(MAX_NAMED).map(|name| quote(&parent.join(name).display().to_string()));
    match &shown.collect::<Vec<_>>()[..] {
        [] => String::new(),
        [only] => format!("; `{only}` exists: write `STACK_FILE: {only}`"),
        [others @ .., last] => format!("; {} and `{last}` exist", log::names(others, MAX_NAMED)),
    }
}

fn is_near(name: &str, path: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let written = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    stem(Path::new(name)) == stem(path) || strsim::osa_distance(name, &written) <= NEAR
}

/// The YAML files of a directory.
fn yaml_files(directory: PathBuf) -> Vec<(PathBuf, String)> {
    let Ok(entries) = fs::read_dir(&directory) else { return Vec::new() };
    let names = entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = names.filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"));
    names.map(|name| (directory.clone(), name)).collect()
}

/// True if a file looks like a stack file.
fn is_stack(path: &Path) -> bool {
    let Ok(text) = input::read(path, MAX_READ) else { return false };
    let text = String::from_utf8_lossy(&text);
    let has = |field: &str| text.lines().any(|line| line.starts_with(field));
    has("functions:") && has("provider:")
}

/// A warning if one of the default names hides the other.
fn both_defaults(clone_dir: Option<&Path>) -> Option<String> {
    let [first, second] = STACK_FILES;
    let (path, base) = input::find(first, clone_dir).ok()?;
    let other = base.join(second);
    // A file system may take no notice of what makes names different.
    (other.is_file() && other.canonicalize().ok()? != path.canonicalize().ok()?).then(|| {
        format!(
            "both `{first}` and `{second}` exist, and `{first}` is used: write `STACK_FILE: {second}` if that was meant"
        )
    })
}

/// The text at an `https://` URL; no token goes with the request.
pub(super) async fn fetch(
    url: &Url,
    ca_cert: Option<&CaCert>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Vec<u8>, Diagnostic> {
    let http = client::build(client::verifying(ca_cert, config.timeout));
    let attempt = async |number| match once(&http, url, config.timeout, number).await {
        Ok(text) => Attempt { result: Ok(text), retry: None },
        Err((reason, wait)) => {
            let error = format!("`{}` could not be fetched: {reason}", SafeUrl(url));
            Attempt { retry: wait.map(|wait| (wait, error.clone())), result: Err(Diagnostic::error(error)) }
        }
    };
    Retries::new(config.retries, shutdown).run(attempt).await
}

/// One request. A failure comes with the wait before retry `number` if it is transient.
async fn once(
    http: &reqwest::Client,
    url: &Url,
    timeout: Duration,
    number: u32,
) -> Result<Vec<u8>, (String, Option<Duration>)> {
    let failed = |error: reqwest::Error| {
        let cause = Cause::of(&error, timeout);
        (cause.to_string(), cause.is_transient().then(|| retry::backoff(number)))
    };
    let mut response = http.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        // Not followed: the pipeline names the hosts that the pipe talks to.
        let location = url.join(&client::location(response.headers()));
        let location = location.map_or_else(|_| "another address".to_owned(), |url| format!("`{}`", SafeUrl(&url)));
        return Err((format!("it redirects to {location}: write that URL, or the path of a file in the clone"), None));
    }
    if !status.is_success() {
        let wait = is_transient_response(&response).then(|| wait_after(response.headers(), number));
        return Err((format!("the server returned {status}"), wait));
    }
    match client::read(&mut response, stack::MAX_FILE).await.map_err(failed)? {
        (text, false) => Ok(text),
        _ => Err((format!("it is larger than {} KiB", stack::MAX_FILE / 1024), None)),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(found(dir.path(), "./*[1]//**/**/*.yml"), ["a[1]/stack.yml"]);
        assert_eq!(found(dir.path(), "a/../b/st*.yml"), ["a/../b/stack.yml"]);
        assert_eq!(found(dir.path(), "**"), [""; 0]);
        assert_eq!(found(dir.path(), "*/stack.yml/"), [""; 0]);
        assert!(matches_in(dir.path(), "a**/stack.yml").is_err());
        let Err(error) = matches("no-such-name-*.yml", Some(&dir.path().join("none"))) else { panic!("matches") };
        assert!(error.message.starts_with("`no-such-name-*.yml` matches no file"), "{}", error.message);
    }

    #[test]
    fn two_stars_do_not_enter_links_and_end_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        for (package, other) in [("a", "b"), ("b", "a")] {
            let modules = dir.path().join(package).join("node_modules");
            fs::create_dir_all(&modules).unwrap();
            fs::write(modules.with_file_name("stack.yml"), "").unwrap();
            std::os::unix::fs::symlink(dir.path().join(other), modules.join(other)).unwrap();
        }
        assert_eq!(found(dir.path(), "**/stack.yml"), ["a/stack.yml", "b/stack.yml"]);
        assert_eq!(found(dir.path(), "a/*/*/stack.yml"), ["a/node_modules/b/stack.yml"]);
        (0..MAX_FILES + 9).for_each(|number| fs::write(dir.path().join(format!("{number}.yml")), "").unwrap());
        assert_eq!(matches_in(dir.path(), "**/*.yml").unwrap().len(), MAX_FILES + 1);
    }
}
