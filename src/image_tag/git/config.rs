//! The few settings of a clone that image tags depend on (git-config(1), "Syntax").

use std::path::Path;

use super::error::Error;
use super::files::read_if_exists;
use super::id;

/// Shortest abbreviation that git knows.
const MINIMUM_ABBREV: usize = 4;

/// The clone's own settings. Those of the machine and the user are outside of it and are not read.
#[derive(Default)]
pub(super) struct Config {
    /// Digits in an abbreviated id, uniqueness apart; absent if it follows from the number of objects.
    pub(super) abbrev: Option<usize>,
}

impl Config {
    pub(super) fn read(git_dir: &Path) -> Result<Self, Error> {
        let text = read_if_exists(&git_dir.join("config"))?.unwrap_or_default();
        let mut config = Self::default();
        let mut section = String::new();
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').trim().to_ascii_lowercase();
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"');
            let unsupported = |what: &str| Err(Error::Unsupported { what: format!("{what} `{value}`") });
            match (section.as_str(), key.trim().to_ascii_lowercase().as_str()) {
                ("core", "abbrev") if matches!(value, "no" | "off" | "false") => config.abbrev = Some(2 * id::SIZE),
                ("core", "abbrev") => config.abbrev = value.parse().ok().filter(|&digits| digits >= MINIMUM_ABBREV),
                ("extensions", "objectformat") if value != "sha1" => return unsupported("object format"),
                ("extensions", "refstorage") if value != "files" => return unsupported("reference format"),
                _ => {}
            }
        }
        Ok(config)
    }
}
