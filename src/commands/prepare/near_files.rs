//! Suggests the file that was probably meant if there is no stack file of the name that was written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::STACK_FILES;
use crate::console::log::quote;
use crate::files::input;

/// The most characters that may differ from the name that was meant.
const NEAR: usize = 2;
/// Limits on the files that are looked at, on the bytes read of each, and on the files that are named.
const MAX_ENTRIES: usize = 1000;
const MAX_READ: usize = 64 * 1024;
const MAX_NAMED: usize = 3;

/// The suggestion for a path that does not exist, or for the default names if neither of them does; empty if nothing is near.
pub(super) fn suggestion(missing: Option<&str>, clone_dir: Option<&Path>) -> String {
    let path = Path::new(missing.unwrap_or_default());
    let parent = path.parent().unwrap_or(Path::new(""));
    let names: BTreeSet<String> = [Some(Path::new(".")), clone_dir]
        .into_iter()
        .flatten()
        .flat_map(|base| yaml_files(&base.join(parent)))
        .filter(|(name, is_stack)| *is_stack || missing.is_some() && is_near(name, path))
        .map(|(name, _)| name)
        .collect();
    let near = names.iter().filter(|name| missing.is_some() && is_near(name, path));
    let near: Vec<&String> = near.collect();
    let names = if near.is_empty() { names.iter().collect() } else { near };
    let shown = |name: &&String| format!("`{}`", quote(&parent.join(name).display().to_string()));
    let shown: Vec<String> = names.iter().take(MAX_NAMED).map(shown).collect();
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; {only} exists: write `STACK_FILE: {}`", only.trim_matches('`')),
        Some((last, others)) => format!("; {} and {last} exist", others.join(", ")),
    }
}

fn is_near(name: &str, path: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let written = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    stem(Path::new(name)) == stem(path) || strsim::osa_distance(name, &written) <= NEAR
}

/// The YAML files of a directory, and whether each looks like a stack file.
fn yaml_files(directory: &Path) -> Vec<(String, bool)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = names.filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"));
    names.map(|name| (directory.join(&name), name)).map(|(path, name)| (name, is_stack(&path))).collect()
}

fn is_stack(path: &Path) -> bool {
    let Ok(text) = input::read(path, MAX_READ) else { return false };
    let text = String::from_utf8_lossy(&text);
    let has = |field: &str| text.lines().any(|line| line.starts_with(field));
    has("functions:") && has("provider:")
}

/// A warning if one of the default names hides the other.
pub(super) fn both_defaults(clone_dir: Option<&Path>) -> Option<String> {
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
