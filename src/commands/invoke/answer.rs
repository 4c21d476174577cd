//! What a function answers: into a file as it comes, or into the log up to a limit.

use std::io::Write as _;
use std::path::Path;

use crate::console::log::{self, quote};
use crate::console::redact::{self, RedactStream};
use crate::files::atomic::{Access, Whole};
use crate::function::outcome::{Failure, Problem};

/// How much of an answer the log shows, in bytes.
const SHOWN: usize = 64 * 1024;

/// An answer's body as it arrives.
pub(super) struct Answer<'a> {
    /// Its beginning.
    start: Vec<u8>,
    size: u64,
    file: Option<(&'a Path, Option<Whole>, RedactStream)>,
    access: Access,
}

impl<'a> Answer<'a> {
    /// For the file, else for the log.
    pub(super) fn new(file: Option<&'a Path>, access: Access) -> Self {
        let file = file.map(|path| (path, None, RedactStream::default()));
        Self { start: Vec::new(), size: 0, file, access }
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.size += piece.len() as u64;
        let room = SHOWN - self.start.len();
        self.start.extend_from_slice(&piece[..piece.len().min(room)]);
        let access = self.access;
        let Some((path, file, redact)) = &mut self.file else { return Ok(()) };
        let piece = redact.push(piece);
        write(path, file, access, &piece)
    }

    /// How long the body was, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Its beginning as text.
    pub(super) fn start(&self) -> String {
        String::from_utf8_lossy(&self.start).into_owned()
    }

    /// Puts the file in its place, or shows the body.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.file.is_none() {
            self.show();
        }
        self.finish_quietly()
    }

    /// Puts the file in its place, and shows nothing.
    pub(super) fn finish_quietly(self) -> Result<(), Problem> {
        let Some((path, mut file, redact)) = self.file else { return Ok(()) };
        write(path, &mut file, self.access, &redact.finish())?;
        if let Some(file) = file {
            file.finish().map_err(|error| unwritable(path, &error))?;
        }
        tracing::info!("the answer is in `{}` ({} bytes)", quote(&path.display().to_string()), self.size);
        Ok(())
    }

    fn show(&self) {
        let Self { start, size, .. } = self;
        if start.is_empty() {
            return;
        }
        // Hidden before it is decoded, since bytes that are not text may stand beside a secret.
        let visible = log::visible(&redact::redact_bytes(start));
        log::plain(visible.strip_suffix('\n').unwrap_or(&visible));
        let left = size - start.len() as u64;
        if left > 0 {
            tracing::info!("{left} more bytes of the answer are left out; set `OUTPUT_FILE` to get all of it");
        }
    }
}

fn write(path: &Path, file: &mut Option<Whole>, access: Access, piece: &[u8]) -> Result<(), Problem> {
    let result = match file {
        Some(file) => file.write_all(piece),
        None => Whole::create(path, access).and_then(|created| file.insert(created).write_all(piece)),
    };
    result.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        failure: Failure::Failed,
        message: format!("the answer could not be written to `{}`: {error}", quote(&path.display().to_string())),
        hint: Some("check that the directory of `OUTPUT_FILE` is there, writable and not full".to_owned()),
    }
}
