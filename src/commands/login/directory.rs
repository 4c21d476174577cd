//! The directory that docker reads its logins from: what is in it already, and how the new ones get there.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use serde_json::{Map, Value, json};

use crate::cloud::RegistryLogin;
use crate::console::log::{self, quote, whole_or_length};
use crate::diagnostic::{Diagnostic, Failure};
use crate::files::atomic::{self, Attributes};
use crate::files::input::{self, without_dots};
use crate::function::image::Host;

const CONFIG: &str = "config.json";
/// The settings of it that `login` writes.
const WRITTEN: [&str; 2] = ["auths", "credHelpers"];
/// Docker's own files are far shorter, and so are lists of names to ignore.
const LIMIT: usize = 1024 * 1024;

/// Larger indexes of git are not looked into.
const INDEX_LIMIT: usize = 16 * 1024 * 1024;

/// How many things that were there already are named.
const MOST_NAMES: usize = 10;

#[derive(Debug)]
pub(super) struct Directory {
    clone_dir: PathBuf,
    /// From the clone directory, without `.` and `..`.
    relative: PathBuf,
    /// The current `config.json`.
    config: Map<String, Value>,
    /// The text that `.gitignore` must have, unless it has it already.
    ignore: Option<Vec<u8>>,
}

impl Directory {
    /// Also checks the directory and the files in it.
    pub(super) fn new(clone_dir: Option<&Path>, wanted: &Path) -> Result<Self, Diagnostic> {
        let clone_dir = clone_dir.unwrap_or(Path::new(".")).to_owned();
        let relative = wanted.strip_prefix(&clone_dir).unwrap_or(wanted);
        let shown = quote(&wanted.display().to_string());
        // What is not itself within double quotes, or could become another character elsewhere in a script.
        let is_interpreted = |character: &char| !character.is_alphanumeric() && !" ./_-+=@,:%".contains(*character);
        if let Some(character) = relative.to_string_lossy().chars().find(is_interpreted) {
            return Err(Diagnostic::error(format!(
                "`{shown}` contains `{}`, which a shell interprets: write a path in the clone directory, such as `.docker`",
                character.escape_debug()
            )));
        }
        let relative = without_dots(relative).filter(|relative| relative.is_relative()).ok_or_else(|| {
            Diagnostic::error(format!(
                "`{shown}` is outside of the clone directory, and lost when the pipe ends: write a relative path"
            ))
        })?;
        if relative.as_os_str().is_empty() {
            return Err(Diagnostic::error("is the clone directory: write a directory in it, such as `.docker`"));
        }
        if relative.ends_with(CONFIG) {
            return Err(Diagnostic::error(format!("`{shown}` names the file: write the directory that it is in")));
        }
        let mut directory = Self { clone_dir, relative, config: Map::new(), ignore: None };
        for part in directory.relative.ancestors().filter(|part| *part != "") {
            let part = directory.clone_dir.join(part);
            // Links are refused too: they may lead out of the clone.
            if fs::symlink_metadata(&part).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(Diagnostic::error(format!("`{}` is not a directory", quote(&part.display().to_string()))));
            }
        }
        directory.config = directory.read_config()?;
        directory.ignore = mended(directory.read(".gitignore")?.unwrap_or_default());
        Ok(directory)
    }

    /// A file of the directory, if it exists. It must be one: a link may lead out of the clone.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Diagnostic> {
        let file = self.path().join(name);
        match fs::symlink_metadata(&file) {
            Err(_) => Ok(None),
            Ok(metadata) if metadata.is_symlink() => {
                Err(Diagnostic::error(format!("`{}` is a link: remove it", quote(&file.display().to_string()))))
            }
            Ok(_) => Ok(Some(input::read(&file, LIMIT)?)),
        }
    }

    fn read_config(&self) -> Result<Map<String, Value>, Diagnostic> {
        // Docker takes an empty file for an empty object.
        let Some(text) = self.read(CONFIG)?.filter(|text| !text.trim_ascii().is_empty()) else { return Ok(Map::new()) };
        serde_json::from_slice(&text).map_err(|error| {
            // The error's own text quotes values.
            let (line, column) = (error.line(), error.column());
            let file = quote(&self.path().join(CONFIG).display().to_string());
            Diagnostic::error(format!(
                "`{file}` is not a JSON object (line {line}, column {column}): correct or remove it"
            ))
        })
    }

    /// Warns about what the new logins will be next to.
    pub(super) fn warn(&self) {
        self.warn_of_contents();
        self.warn_of_git();
        self.warn_of_context();
    }

    /// Other settings that docker follows once the script points it here; whoever filled the clone may have put it there.
    fn warn_of_contents(&self) {
        let is_other = |(key, value): &(&String, &Value)| !WRITTEN.contains(&key.as_str()) && !is_empty(value);
        let settings = self.config.iter().filter(is_other).map(|(key, _)| whole_or_length(key));
        let programs = ["cli-plugins", "contexts"].into_iter().filter(|name| self.path().join(name).exists());
        let names: Vec<_> = settings.chain(programs.map(|name| format!("{name}/"))).collect();
        if !names.is_empty() {
            Diagnostic::warning(format!(
                "`{}` existed before this run, and docker also uses its other settings: {}",
                self.relative.display(),
                log::names(names, MOST_NAMES)
            ))
            .with_hint("remove the directory before the pipe runs, or set `DOCKER_CONFIG` to another one")
            .log();
        }
    }

    /// Git does not ignore what it tracks.
    fn warn_of_git(&self) {
        let file = self.relative.join(CONFIG);
        let index = input::read(&self.clone_dir.join(".git/index"), INDEX_LIMIT).unwrap_or_default();
        // Each path in an index ends with a zero, and has its length before it, in 12 bits (gitformat-index).
        let path = [file.as_os_str().as_encoded_bytes(), b"\0".as_slice()].concat();
        let has_length = |high: u8, low: u8| usize::from(high & 0xf) << 8 | usize::from(low) == path.len() - 1;
        if index.windows(path.len() + 2).any(|part| part[2..] == path && has_length(part[0], part[1])) {
            let file = file.display();
            Diagnostic::warning(format!("git tracks `{file}`, so that a commit would contain the logins"))
                .with_hint(format!("remove it from the repository: `git rm --cached {file}`"))
                .log();
        }
    }

    /// An image that is built from around the directory may get the logins.
    fn warn_of_context(&self) {
        for outer in self.relative.ancestors().skip(1) {
            let (context, inner) = (self.clone_dir.join(outer), self.relative.strip_prefix(outer).unwrap_or(outer));
            let ignored = input::read(&context.join(".dockerignore"), LIMIT).unwrap_or_default();
            if context.join("Dockerfile").is_file()
                && !is_ignored(&inner.join(CONFIG), &String::from_utf8_lossy(&ignored))
            {
                let inner = inner.display();
                return Diagnostic::warning(format!(
                    "there is a `Dockerfile` beside `{inner}`: `COPY . .` would copy the logins into the image"
                ))
                .with_hint(format!("add the line `{inner}` to the `.dockerignore` beside it"))
                .log();
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.clone_dir.join(&self.relative)
    }

    /// The line for the script.
    pub(super) fn export(&self) -> String {
        format!("export DOCKER_CONFIG=\"$BITBUCKET_CLONE_DIR/{}\"", self.relative.display())
    }

    pub(super) fn write(&self, logins: &[(&Host, &RegistryLogin)]) -> Result<(), Diagnostic> {
        let attributes = Attributes::inherited_from(Some(&self.clone_dir));
        let config = format!("{:#}\n", Value::from(merged(self.config.clone(), logins)));
        let ignore = self.ignore.iter().map(|ignore| (".gitignore", &ignore[..], attributes));
        for (name, text, attributes) in ignore.chain([(CONFIG, config.as_bytes(), attributes.private())]) {
            let file = self.path().join(name);
            let parents = atomic::create_parents(&file, attributes.private());
            parents.and_then(|()| atomic::write(&file, text, attributes)).map_err(|error| {
                let file = quote(&file.display().to_string());
                Diagnostic::new(Failure::Failed, format!("`{file}` could not be written: {error}"))
            })?;
        }
        Ok(())
    }
}

/// The `.gitignore` with which git ignores the whole directory; `None` if it does already. The last pattern that matches decides.
fn mended(mut ignore: Vec<u8>) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(&ignore);
    let decisive = text.lines().map(str::trim_end).rfind(|line| *line == "*" || line.starts_with('!'));
    if decisive == Some("*") {
        return None;
    }
    if ignore.last().is_some_and(|last| *last != b'\n') {
        ignore.push(b'\n');
    }
    ignore.extend(b"*\n");
    Some(ignore)
}

/// True if a `.dockerignore` leaves a file out (Dockerfile reference, *.dockerignore file*). The last pattern that matches
/// it, or a directory that it is in, decides.
fn is_ignored(file: &Path, ignored: &str) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let lines = ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.fold(false, |is_ignored, line| {
        let (pattern, ignores) = line.strip_prefix('!').map_or((line, true), |pattern| (pattern, false));
        let pattern = Pattern::new(pattern.trim_start_matches("./").trim_matches('/')).unwrap_or_default();
        let matches = file.ancestors().any(|path| path != "" && pattern.matches_path_with(path, options));
        if matches { ignores } else { is_ignored }
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// A `config.json` with these logins; entries of other hosts stay.
fn merged(mut config: Map<String, Value>, logins: &[(&Host, &RegistryLogin)]) -> Map<String, Value> {
    let has_helpers =
        ["credsStore", "credHelpers"].iter().any(|key| config.get(*key).is_some_and(|value| !is_empty(value)));
    let mut set = |section: &str, key: &str, value: Value| match config.entry(section).or_insert_with(|| json!({})) {
        Value::Object(entries) => _ = entries.insert(key.to_owned(), value),
        other => *other = json!({key: value}),
    };
    for (host, login) in logins {
        let key = host.config_key();
        let mut entry = json!({"auth": login.docker_auth()});
        if let Some(token) = &login.identity_token {
            entry["identitytoken"] = json!(token.reveal());
        }
        set("auths", key, entry);
        if has_helpers {
            set("credHelpers", key, json!(""));
        }
    }
    config
}
