//! The body of an invocation: a text, or a file that is streamed.

use std::fmt::Display;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};
use ring::hmac;
use tokio::io::AsyncReadExt as _;

use crate::config::PayloadSource;
use crate::console::log::{quote, whole_or_length};
use crate::console::redact::Secret;
use crate::diagnostic::{Diagnostic, Failure};
use crate::files::input;
use crate::gateway::Error;
use crate::http::cause::BodyError;
use crate::text::hex;

/// How much of a file is read at once, in bytes.
const PIECE: usize = 64 * 1024;

/// A body that can be sent more than once.
pub(crate) enum Payload {
    Text(Bytes),
    File { path: PathBuf, size: u64 },
}

impl Payload {
    /// Checks that a file exists, and reads its length.
    pub(crate) fn open(source: &PayloadSource, clone_dir: Option<&Path>) -> Result<Self, input::Error> {
        match source {
            PayloadSource::Text(text) => {
                if input::find(text.trim(), clone_dir).is_ok_and(|(path, _)| path.is_file()) {
                    let text = whole_or_length(text.trim());
                    tracing::warn!(
                        "`PAYLOAD` is sent as it is, and is the path of a file: write `PAYLOAD_FILE: {text}` for its content"
                    );
                }
                Ok(Self::Text(Bytes::from(text.clone().into_bytes())))
            }
            PayloadSource::File(path) => {
                let path = input::find_to_send(path, clone_dir)?;
                let (_, size) = input::open(&path)?;
                Ok(Self::File { path, size })
            }
        }
    }

    /// The length in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// ` of 12 MB`; empty if the size does not matter.
    pub(super) fn size_in_words(&self) -> String {
        match self.size() {
            0..1_000 => String::new(),
            size @ 1_000..1_000_000 => format!(" of {} KB", size / 1_000),
            size => format!(" of {} MB", size / 1_000_000),
        }
    }

    /// The body for one request.
    pub(crate) async fn body(&self) -> Result<reqwest::Body, Error> {
        match self {
            Self::Text(text) => Ok(text.clone().into()),
            Self::File { path, size } => {
                let (file, now) = input::open(path).map_err(unsent)?;
                if now != *size {
                    return Err(unsent(has_changed(path)));
                }
                // A file turned into a body by itself is read in pieces of 4 KiB, which takes ten times as long.
                let (file, path) = (tokio::fs::File::from_std(file), path.clone());
                let pieces = stream::try_unfold((file, *size), move |(mut file, left)| {
                    let changed = io::Error::other(BodyError(has_changed(&path)));
                    async move {
                        let mut piece = BytesMut::with_capacity(PIECE);
                        let read = file.read_buf(&mut piece).await?;
                        let left = left.checked_sub(read as u64);
                        // More or fewer bytes than announced: without the last piece, the function does not accept the body as complete.
                        match left {
                            Some(0) if read > 0 && file.read(&mut [0]).await? > 0 => Err(changed),
                            Some(left) if read > 0 || left == 0 => {
                                Ok((read > 0).then(|| (piece.freeze(), (file, left))))
                            }
                            _ => Err(changed),
                        }
                    }
                });
                Ok(reqwest::Body::wrap_stream(pieces))
            }
        }
    }

    /// The length, which a streamed body does not know by itself.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        if let Self::File { size, .. } = self {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(*size));
        }
    }

    /// The body's HMAC-SHA256 as `sha256=HEX`.
    pub(crate) fn signature(&self, key: &Secret) -> Result<HeaderValue, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes());
        let mut context = hmac::Context::with_key(&key);
        match self {
            Self::Text(text) => context.update(text),
            Self::File { path, size } => {
                let (mut file, _) = input::open(path).map_err(unsent)?;
                let mut piece = vec![0; PIECE];
                let mut signed = 0;
                loop {
                    let read = file.read(&mut piece).map_err(unsent)?;
                    if read == 0 {
                        break;
                    }
                    context.update(&piece[..read]);
                    signed += read as u64;
                }
                // A signature of other bytes than those announced would be refused with no reason.
                if signed != *size {
                    return Err(unsent(has_changed(path)));
                }
            }
        }
        Ok(HeaderValue::from_str(&format!("sha256={}", hex(context.sign())))
            .expect("hexadecimal digits are visible ASCII"))
    }
}

fn has_changed(path: &Path) -> String {
    format!("`{}` changed after its length was read", quote(&path.display().to_string()))
}

fn unsent(reason: impl Display) -> Error {
    let hint = "`PAYLOAD_FILE` was readable when the run began: find out what changes it during the run";
    Error::not_sent(Diagnostic::new(Failure::Failed, format!("the request was not sent: {reason}")).with_hint(hint))
}
