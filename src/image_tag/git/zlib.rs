//! Reads zlib streams (RFC 1950), in which git keeps its objects.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};

/// What is read from a file at a time: most commits fit.
const CHUNK: usize = 1024;

/// A part of a file, from an offset on, without moving the file's own position.
pub(super) struct FileAt<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

impl Read for FileAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(n as u64);
        Ok(n)
    }
}

/// The uncompressed bytes of the one stream that `input` begins with. A stream that is cut off or whose checksum is
/// wrong is an error, the latter at its end.
pub(super) struct Inflated<R> {
    input: R,
    state: Box<InflateState>,
    buffer: [u8; CHUNK],
    unread: std::ops::Range<usize>,
    ended: bool,
}

impl<R: Read> Inflated<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, state: InflateState::new_boxed(DataFormat::Zlib), buffer: [0; CHUNK], unread: 0..0, ended: false }
    }

    /// Reads the stream to its end, which must come after exactly `size` bytes.
    pub(super) fn read_exactly(mut self, size: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::with_capacity(size + 1);
        self.by_ref().take(size as u64 + 1).read_to_end(&mut data)?;
        if data.len() == size { Ok(data) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if output.is_empty() || self.ended {
            return Ok(0);
        }
        loop {
            if self.unread.is_empty() {
                self.unread = 0..self.input.read(&mut self.buffer)?;
            }
            let at_end_of_input = self.unread.is_empty();
            let result = inflate(&mut self.state, &self.buffer[self.unread.clone()], output, MZFlush::None);
            self.unread.start += result.bytes_consumed;
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    self.ended = true;
                    return Ok(result.bytes_written);
                }
                Ok(_) | Err(MZError::Buf) if result.bytes_written > 0 => return Ok(result.bytes_written),
                Ok(_) | Err(MZError::Buf) if at_end_of_input => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(MZError::Buf) if result.bytes_consumed > 0 => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}
