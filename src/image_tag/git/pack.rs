//! Packs of objects and their indexes (gitformat-pack(5)), read by seeking: what is held in memory is a fan-out table a
//! pack and the object that is asked for.

use std::{
    cell::OnceCell,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Error,
    id::{self, Id},
    objects::{Kind, MAX_OBJECT},
    open,
    zlib::{FileAt, Inflated},
};

/// Longest chain of deltas that git makes.
const MAX_CHAIN: usize = 4095;

/// Ids that are searched by reading them at once rather than by bisecting on disk.
const BLOCK: u32 = 64;

const FANOUT: usize = 256;

/// A pack and its index.
pub(super) struct Pack {
    index_path: PathBuf,
    index: File,
    /// Bytes before the sorted ids, between one and the next, and before an id within its entry.
    first: u64,
    stride: u64,
    skip: usize,
    /// How many ids begin with a byte up to this one.
    fanout: Box<[u32; FANOUT]>,
    pack: OnceCell<File>,
}

/// How an object is stored: whole, or as the difference to another.
enum Stored {
    Whole(Kind),
    Delta { base: u64 },
}

/// Where an object's data is in the pack.
struct Entry {
    stored: Stored,
    size: u64,
    data: u64,
}

impl Pack {
    /// Opens the index at `path`; the pack itself, which lies beside it, only when an object is read.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let index = open(path).map_err(Error::read(path))?;
        let mut header = [0; 8];
        index.read_exact_at(&mut header, 0).map_err(Error::read(path))?;
        let (table, stride, skip) = match header {
            [0xff, b't', b'O', b'c', 0, 0, 0, 2] => (8, id::SIZE, 0),
            [0xff, b't', b'O', b'c', ..] => return Err(Error::damaged(path, "an index of unknown version")),
            _ => (0, 4 + id::SIZE, 4),
        };
        let mut bytes = [0; 4 * FANOUT];
        index.read_exact_at(&mut bytes, table).map_err(Error::read(path))?;
        let mut fanout = Box::new([0; FANOUT]);
        for (count, bytes) in fanout.iter_mut().zip(bytes.chunks_exact(4)) {
            *count = be32(bytes);
        }
        if !fanout.is_sorted() {
            return Err(Error::damaged(path, "its fan-out table is not in order"));
        }
        Ok(Self {
            index_path: path.to_path_buf(),
            index,
            first: table + 4 * FANOUT as u64,
            stride: stride as u64,
            skip,
            fanout,
            pack: OnceCell::new(),
        })
    }

    /// How many objects it holds.
    pub(super) fn count(&self) -> u32 {
        self.fanout[FANOUT - 1]
    }

    /// The object's place among the sorted ids, or the one where it would be.
    pub(super) fn position(&self, id: &Id) -> Result<Result<u32, u32>, Error> {
        let byte = usize::from(id.0[0]);
        let mut low = if byte == 0 { 0 } else { self.fanout[byte - 1] };
        let mut high = self.fanout[byte];
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            if self.id_at(middle)?.0 <= id.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let mut block = [0; BLOCK as usize * (4 + id::SIZE)];
        let block = &mut block[..(high - low) as usize * self.stride as usize];
        self.read_index(block, self.first + u64::from(low) * self.stride)?;
        let ids: Vec<&[u8]> = block.chunks_exact(self.stride as usize).collect();
        Ok(ids
            .binary_search_by(|entry| entry[self.skip..].cmp(&id.0))
            .map(|at| low + at as u32)
            .map_err(|at| low + at as u32))
    }

    /// The id at a place below [`Self::count`].
    pub(super) fn id_at(&self, position: u32) -> Result<Id, Error> {
        let mut id = [0; id::SIZE];
        self.read_index(&mut id, self.first + u64::from(position) * self.stride + self.skip as u64)?;
        Ok(Id(id))
    }

    /// The object at a place below [`Self::count`]. Of a tree or a blob only its kind, without data.
    pub(super) fn read(&self, position: u32) -> Result<(Kind, Vec<u8>), Error> {
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

    fn offset(&self, position: u32) -> Result<u64, Error> {
        if self.skip > 0 {
            let mut offset = [0; 4];
            self.read_index(&mut offset, self.first + u64::from(position) * self.stride)?;
            return Ok(be32(&offset).into());
        }
        let count = u64::from(self.count());
        let offsets = self.first + count * (self.stride + 4);
        let mut offset = [0; 4];
        self.read_index(&mut offset, offsets + u64::from(position) * 4)?;
        match be32(&offset) {
            small if small < 1 << 31 => Ok(small.into()),
            large => {
                let mut offset = [0; 8];
                let at = u64::from(large & !(1 << 31));
                self.read_index(&mut offset, offsets + count * 4 + at * 8)?;
                Ok(u64::from_be_bytes(offset))
            }
        }
    }

    fn entry(&self, offset: u64) -> Result<Entry, Error> {
        let mut header = [0; 64];
        let n = self.file()?.read_at(&mut header, offset).map_err(Error::read(&self.path()))?;
        self.parse_entry(offset, &header[..n])?.ok_or_else(|| self.damaged("an entry's header is cut off or too long"))
    }

    fn parse_entry(&self, offset: u64, header: &[u8]) -> Result<Option<Entry>, Error> {
        let mut rest = header;
        let Some((kind, size)) = entry_size(&mut rest) else {
            return Ok(None);
        };
        let stored = match kind {
            1 => Stored::Whole(Kind::Commit),
            2 | 3 => Stored::Whole(Kind::Other),
            4 => Stored::Whole(Kind::Tag),
            6 => {
                let distance = base_distance(&mut rest).filter(|&distance| distance > 0);
                let Some(base) = distance.and_then(|distance| offset.checked_sub(distance)) else {
                    return Ok(None);
                };
                Stored::Delta { base }
            }
            7 => {
                let Some(id) = Id::from_bytes(rest) else {
                    return Ok(None);
                };
                rest = &rest[id::SIZE..];
                let Ok(position) = self.position(&id)? else {
                    return Err(self.damaged("the base of a delta is not in it"));
                };
                Stored::Delta { base: self.offset(position)? }
            }
            _ => return Err(self.damaged("an object of unknown type")),
        };
        Ok(Some(Entry { stored, size, data: offset.saturating_add((header.len() - rest.len()) as u64) }))
    }

    fn inflate(&self, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(size).ok().filter(|&size| size <= MAX_OBJECT);
        let size = size.ok_or_else(|| self.damaged("a commit or tag of more than 8 MiB"))?;
        let file = self.file()?;
        Inflated::new(FileAt { file, offset }).read_exactly(size).map_err(Error::read(&self.path()))
    }

    fn file(&self) -> Result<&File, Error> {
        if let Some(file) = self.pack.get() {
            return Ok(file);
        }
        let file = open(&self.path()).map_err(Error::read(&self.path()))?;
        Ok(self.pack.get_or_init(|| file))
    }

    fn path(&self) -> PathBuf {
        self.index_path.with_extension("pack")
    }

    fn read_index(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.index.read_exact_at(buffer, offset).map_err(Error::read(&self.index_path))
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::damaged(&self.path(), what)
    }
}

/// Four bytes as a number, most significant first; zero where there are fewer.
pub(super) fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The header's three bits of type, and the size in four bits and then seven a byte.
fn entry_size(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let first = next(rest)?;
    let mut size = u64::from(first & 0x0f);
    let mut byte = first;
    let mut shift = 4;
    while byte & 0x80 != 0 {
        byte = next(rest)?;
        size |= shifted(byte, shift)?;
        shift += 7;
    }
    Some((first >> 4 & 7, size))
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

/// What `delta` makes of `base`; nothing where the two do not fit each other.
fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta;
    let base_size = delta_size(&mut rest)?;
    let size = usize::try_from(delta_size(&mut rest)?).ok()?;
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

fn delta_size(rest: &mut &[u8]) -> Option<u64> {
    let mut size = 0;
    let mut shift = 0;
    loop {
        let byte = next(rest)?;
        size |= shifted(byte, shift)?;
        if byte & 0x80 == 0 {
            return Some(size);
        }
        shift += 7;
    }
}

/// The lower seven bits of a byte that is part of a larger number; nothing where they would fall off.
fn shifted(byte: u8, shift: u32) -> Option<u64> {
    let bits = u64::from(byte & 0x7f);
    (shift < 64 && bits << shift >> shift == bits).then(|| bits << shift)
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

/// The object count and the pack index names of a multi-pack index.
pub(super) fn multi_pack_index(path: &Path) -> Result<Option<(u32, Vec<u8>)>, Error> {
    /// Enough for the names of 10,000 packs.
    const MAX_NAMES: u64 = 1 << 20;
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::read(path)(error)),
    };
    let read = |buffer: &mut [u8], offset| file.read_exact_at(buffer, offset).map_err(Error::read(path));
    let mut header = [0; 12];
    read(&mut header, 0)?;
    if !header.starts_with(b"MIDX\x01\x01") {
        return Err(Error::damaged(path, "a multi-pack index of unknown version"));
    }
    let mut chunks = vec![0; 12 * (usize::from(header[6]) + 1)];
    read(&mut chunks, 12)?;
    let offset = |entry: &[u8]| u64::from(be32(&entry[4..])) << 32 | u64::from(be32(&entry[8..]));
    let chunk = |name: &[u8], expected: Option<u64>, at_most: u64| {
        let mut entries = chunks.chunks_exact(12).zip(chunks[12..].chunks_exact(12));
        let (entry, after) = entries.find(|(entry, _)| entry.starts_with(name))?;
        let size = offset(after).checked_sub(offset(entry))?;
        (size <= at_most && expected.is_none_or(|expected| size == expected)).then(|| (offset(entry), size))
    };
    let chunk = |name, expected, at_most| {
        chunk(name, expected, at_most).ok_or_else(|| Error::damaged(path, "a part is missing or of the wrong size"))
    };
    let (fanout, size) = chunk(b"OIDF", Some(4 * FANOUT as u64), u64::MAX)?;
    let mut counts = vec![0; size as usize];
    read(&mut counts, fanout)?;
    let counts: Vec<u32> = counts.chunks_exact(4).map(be32).collect();
    if !counts.is_sorted() {
        return Err(Error::damaged(path, "its fan-out table is not in order"));
    }
    let count = counts[FANOUT - 1];
    chunk(b"OIDL", Some(u64::from(count) * id::SIZE as u64), u64::MAX)?;
    chunk(b"OOFF", Some(u64::from(count) * 8), u64::MAX)?;
    let (at, size) = chunk(b"PNAM", None, MAX_NAMES)?;
    let mut names = vec![0; size as usize];
    read(&mut names, at)?;
    Ok(Some((count, names)))
}
