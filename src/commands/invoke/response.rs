//! A function's response: written to a file as it arrives, or shown in the log up to a limit.

use std::io::{self, Write as _};
use std::path::Path;

use crate::commands::calls::show_refusal;
use crate::console::log::{self, quote};
use crate::console::redact::{self, RedactStream};
use crate::diagnostic::{Diagnostic, Failure};
use crate::files::atomic::{self, AtomicFile, Attributes};
use crate::text::count;

/// How much of a response the log shows, in bytes.
const SHOWN: usize = 64 * 1024;

pub(super) struct ResponseBody<'a> {
    start: Vec<u8>,
    size: u64,
    output: Option<OutputFile<'a>>,
}

/// The file of a successful response.
struct OutputFile<'a> {
    path: &'a Path,
    file: AtomicFile,
    redact: RedactStream,
}

impl<'a> ResponseBody<'a> {
    /// Goes to the file if there is one, else to the log.
    pub(super) fn new(file: Option<&'a Path>, attributes: Attributes) -> Result<Self, Diagnostic> {
        let create = |path: &Path| {
            atomic::create_parents(path, attributes)?;
            AtomicFile::create(path, attributes)
        };
        let output = match file {
            Some(path) => {
                let file = create(path).map_err(|error| unwritable(path, &error))?;
                Some(OutputFile { path, file, redact: RedactStream::default() })
            }
            None => None,
        };
        Ok(Self { start: Vec::new(), size: 0, output })
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Diagnostic> {
        self.size += piece.len() as u64;
        let room = SHOWN - self.start.len();
        self.start.extend_from_slice(&piece[..piece.len().min(room)]);
        let Some(output) = &mut self.output else { return Ok(()) };
        let piece = output.redact.push(piece);
        output.file.write_all(&piece).map_err(|error| unwritable(output.path, &error))
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn start(&self) -> String {
        String::from_utf8_lossy(&self.start).into_owned()
    }

    /// Shows a response other than 2xx, as the function's.
    pub(super) fn show_refusal(&self, name: &str) {
        show_refusal(name, &self.start, self.size, SHOWN);
    }

    /// Completes the file, or shows the response.
    pub(super) fn finish(self) -> Result<(), Diagnostic> {
        match self.output {
            Some(output) => output.finish(self.size),
            None => {
                show(&self.start, self.size);
                Ok(())
            }
        }
    }
}

impl OutputFile<'_> {
    fn finish(self, size: u64) -> Result<(), Diagnostic> {
        let Self { path, mut file, redact } = self;
        let (rest, tokens) = redact.finish();
        file.write_all(&rest).and_then(|()| file.commit()).map_err(|error| unwritable(path, &error))?;
        let path = quote(&path.to_string_lossy());
        tracing::info!("the response is in `{path}` ({size} bytes)");
        if tokens > 0 {
            let places = count(tokens, "place");
            tracing::warn!(
                "the response contained an access token of this step: it is masked as `***` in {places} of `{path}`\n\
                 hint: the function returns a token that it was sent; all other bytes are unchanged"
            );
        }
        Ok(())
    }
}

fn show(start: &[u8], size: u64) {
    if start.is_empty() {
        return;
    }
    // Masked before it is decoded, since bytes that are not text may be next to a secret.
    let visible = log::visible(&redact::redact_bytes(start));
    log::plain(visible.strip_suffix('\n').unwrap_or(&visible));
    let left = size - start.len() as u64;
    if left > 0 {
        tracing::info!("the response has {left} more bytes, which are not shown; set `OUTPUT_FILE` to get all of it");
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let path = quote(&path.to_string_lossy());
    Diagnostic::new(Failure::Failed, format!("the response could not be written to `{path}`: {error}"))
        .with_hint("check that the directory of `OUTPUT_FILE` is writable and not full")
}
