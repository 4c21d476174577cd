//! Packs of objects and their indexes (gitformat-pack(5)).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::error::Error;
use super::files::read_if_exists;
use super::id::{self, Id};
use super::object::{Kind, MAX_OBJECT, inflate};

/// Longest chain of deltas that git makes.
const MAX_CHAIN: usize = 4095;

/// Where the ids begin in an index of version 2: after its header and the fan-out table.
const IDS: usize = 8 + FANOUT;
const FANOUT: usize = 4 * 256;

/// A pack and its index.
pub(super) struct Pack {
    path: PathBuf,
    file: File,
    index: Vec<u8>,
    count: usize,
}

/// How an object is stored: whole, or as the difference to another one.
enum Stored {
    Whole(Kind),
    Delta { base: u64 },
}

/// Where an object's data is in the pack, and how large it is uncompressed.
struct Entry {
    stored: Stored,
    size: u64,
    data: u64,
}

impl Pack {
    /// Opens an index and the pack beside it.
    pub(super) fn open(index_path: PathBuf) -> Result<Self, Error> {
        let index = read_if_exists(&index_path)?.unwrap_or_default();
        let damaged = |what| Error::damaged(&index_path, what);
        if !index.starts_with(b"\xfftOc\0\0\0\x02") {
            return Err(damaged("an index of unknown version"));
        }
        let count = be32(&index, IDS - 4).ok_or_else(|| damaged("it is cut off"))? as usize;
        // An id, a checksum and an offset each.
        if index.len() < count.saturating_mul(id::SIZE + 8).saturating_add(IDS) {
            return Err(damaged("it is cut off"));
        }
        let path = index_path.with_extension("pack");
        let file = File::open(&path).map_err(Error::read(&path))?;
        Ok(Self { path, file, index, count })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn ids(&self) -> &[[u8; id::SIZE]] {
        self.index[IDS..IDS + self.count * id::SIZE].as_chunks().0
    }

    /// The object's place among the sorted ids, or the one where it would be.
    pub(super) fn position(&self, id: &Id) -> Result<usize, usize> {
        self.ids().binary_search(&id.0)
    }

    /// The ids before and after this one.
    pub(super) fn neighbours(&self, id: &Id) -> impl Iterator<Item = Id> {
        let (before, after) = match self.position(id) {
            Ok(at) => (at.checked_sub(1), at + 1),
            Err(at) => (at.checked_sub(1), at),
        };
        before.into_iter().chain([after]).filter_map(|at| self.ids().get(at).copied().map(Id))
    }

    /// The object at a position. A tree or a blob comes without data.
    pub(super) fn read(&self, position: usize) -> Result<(Kind, Vec<u8>), Error> {
        let mut deltas = Vec::new();
        let mut entry = self.entry(self.offset(position)?)?;
        let kind = loop {
            match entry.stored {
                Stored::Whole(kind) => break kind,
                Stored::Delta { base } => {
                    if deltas.len() == MAX_CHAIN {
                        return Err(self.damaged("a chain of deltas is too long"));
                    }
                    deltas.push((entry.data, entry.size));
                    entry = self.entry(base)?;
                }
            }
        };
        if kind == Kind::Other {
            return Ok((kind, Vec::new()));
        }
        let mut data = self.inflate(entry.data, entry.size)?;
        for (offset, size) in deltas.into_iter().rev() {
            let delta = self.inflate(offset, size)?;
            data = apply(&data, &delta).ok_or_else(|| self.damaged("a delta does not fit its base"))?;
        }
        Ok((kind, data))
    }

    fn offset(&self, position: usize) -> Result<u64, Error> {
        let offsets = IDS + self.count * (id::SIZE + 4);
        let offset = be32(&self.index, offsets + position * 4).and_then(|offset| match offset.checked_sub(1 << 31) {
            None => Some(u64::from(offset)),
            // The place of a larger one, behind all others.
            Some(large) => {
                let at = offsets + self.count * 4 + large as usize * 8;
                Some(u64::from(be32(&self.index, at)?) << 32 | u64::from(be32(&self.index, at + 4)?))
            }
        });
        offset.ok_or_else(|| self.damaged("its index is cut off"))
    }

    fn entry(&self, offset: u64) -> Result<Entry, Error> {
        let header = self.read_at(offset, 64)?;
        let mut rest = header.as_slice();
        let cut_off = || self.damaged("an entry's header is cut off or too long");
        let (kind, size) = entry_size(&mut rest).ok_or_else(cut_off)?;
        let stored = match kind {
            1 => Stored::Whole(Kind::Commit),
            2 | 3 => Stored::Whole(Kind::Other),
            4 => Stored::Whole(Kind::Tag),
            6 => {
                let distance = base_distance(&mut rest).filter(|&distance| distance > 0);
                let base = distance.and_then(|distance| offset.checked_sub(distance));
                Stored::Delta { base: base.ok_or_else(cut_off)? }
            }
            7 => {
                let (id, after) = rest.split_first_chunk().ok_or_else(cut_off)?;
                rest = after;
                let position = self.position(&Id(*id)).map_err(|_| self.damaged("the base of a delta is not in it"))?;
                Stored::Delta { base: self.offset(position)? }
            }
            _ => return Err(self.damaged("an object of unknown type")),
        };
        Ok(Entry { stored, size, data: offset.saturating_add((header.len() - rest.len()) as u64) })
    }

    fn inflate(&self, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(size).ok().filter(|&size| size <= MAX_OBJECT);
        let size = size.ok_or_else(|| self.damaged("a commit or tag of more than 8 MiB"))?;
        // What cannot be compressed grows by less than that (zlib's `deflateBound`).
        let compressed = self.read_at(offset, size + size / 4 + 64)?;
        inflate(&compressed, size).ok_or_else(|| self.damaged("an object cannot be uncompressed"))
    }

    /// So many bytes from an offset on, or those that there are.
    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(length);
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(length as u64).read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(Error::read(&self.path))
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::damaged(&self.path, what)
    }
}

/// Four bytes as a number, most significant first.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The header's three bits of type, and the size in four bits and then seven a byte.
fn entry_size(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let first = next(rest)?;
    let higher = if first & 0x80 == 0 { 0 } else { number(rest)? };
    Some((first >> 4 & 7, higher.checked_mul(16)? | u64::from(first & 0x0f)))
}

/// How far before its delta the base begins.
fn base_distance(rest: &mut &[u8]) -> Option<u64> {
    let mut byte = next(rest)?;
    let mut distance = u64::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = next(rest)?;
        distance = distance.checked_add(1)?.checked_mul(128)? | u64::from(byte & 0x7f);
    }
    Some(distance)
}

/// Applies `delta` to `base`. `None` if the delta is for another base.
fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta;
    let base_size = number(&mut rest)?;
    let size = usize::try_from(number(&mut rest)?).ok()?;
    if base_size != base.len() as u64 || size > MAX_OBJECT {
        return None;
    }
    let mut result = Vec::with_capacity(size);
    while let Some(instruction) = next(&mut rest) {
        let piece = if instruction & 0x80 != 0 {
            let mut numbers = [0; 7];
            for (bit, byte) in numbers.iter_mut().enumerate() {
                if instruction & 1 << bit != 0 {
                    *byte = next(&mut rest)?;
                }
            }
            let [a, b, c, d, e, f, g] = numbers;
            let offset = u32::from_le_bytes([a, b, c, d]) as usize;
            let size = match u32::from_le_bytes([e, f, g, 0]) {
                0 => 0x10000,
                size => size as usize,
            };
            base.get(offset..offset.checked_add(size)?)?
        } else {
            let (piece, after) = rest.split_at_checked(instruction.into())?;
            rest = after;
            piece
        };
        if piece.is_empty() || result.len() + piece.len() > size {
            return None;
        }
        result.extend_from_slice(piece);
    }
    (result.len() == size).then_some(result)
}

/// A number in seven bits a byte, the lowest first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for position in 0..9 {
        let byte = next(rest)?;
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}
