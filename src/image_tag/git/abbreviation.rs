//! How many digits git keeps of an id: as many as the number of objects asks for, and as make it unique among their names.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{DEFAULT_ABBREV, Error, Id, parse_id};
use crate::files::input;
use crate::text::hex;

/// The header of an index, and its fan-out table: for each first byte, how many ids have it or a lower one.
const HEADER: &[u8] = b"\xfftOc\0\0\0\x02";
const FAN_OUT: u64 = 8;
const IDS: u64 = FAN_OUT + 4 * 256;
/// An id, a checksum and an offset.
const BYTES_PER_OBJECT: u64 = 20 + 4 + 4;

/// The first digits of an id; `setting` is their number if the clone's configuration says it.
pub(super) fn abbreviate(git_dir: &Path, id: &Id, setting: Option<usize>) -> Result<String, Error> {
    let objects = git_dir.join("objects");
    let indexes: Vec<Index> = indexes(&objects.join("pack"))?.into_iter().map(Index::open).collect::<Result<_, _>>()?;
    let digits = setting.unwrap_or_else(|| {
        // Only packed objects count for git. Collisions are to be expected from the square root of the number on: half its
        // bits, four of them a digit.
        let count: u64 = indexes.iter().map(|index| u64::from(index.count)).sum();
        let bits = u64::BITS - count.max(1).leading_zeros();
        DEFAULT_ABBREV.max(bits.div_ceil(2) as usize)
    });
    let mut common = loose_ids(&objects, id)?.iter().map(|other| common_digits(id, other)).max().unwrap_or(0);
    for index in &indexes {
        common = common.max(index.common_digits(id)?);
    }
    let mut text = hex(id);
    text.truncate(digits.max(common + 1));
    Ok(text)
}

/// How many hexadecimal digits two ids have in common from the start; 0 if they are the same.
fn common_digits(id: &Id, other: &Id) -> usize {
    let at = id.iter().zip(other).position(|(a, b)| a != b);
    at.map_or(0, |at| 2 * at + usize::from(id[at] >> 4 == other[at] >> 4))
}

/// The ids of the loose objects that begin with the same byte.
fn loose_ids(objects: &Path, id: &Id) -> Result<Vec<Id>, Error> {
    let prefix = hex(&id[..1]);
    let names = names(&objects.join(&prefix))?;
    Ok(names.iter().filter_map(|name| parse_id(&[prefix.as_bytes(), name.as_encoded_bytes()].concat())).collect())
}

/// The paths of the packs' indexes.
fn indexes(packs: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = names(packs)?.into_iter().map(|name| packs.join(name));
    let indexes = paths.filter(|path| path.extension() == Some("idx".as_ref()));
    // git leaves an index behind when it is stopped while it deletes a pack.
    Ok(indexes.filter(|path| path.with_extension("pack").exists()).collect())
}

/// The names in a directory; none if it does not exist.
fn names(directory: &Path) -> Result<Vec<OsString>, Error> {
    let unreadable = |source| Error::from(input::Error::Unreadable { path: directory.to_owned(), source });
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(unreadable),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(error)),
    }
}

/// The index of a pack, with the sorted ids of its objects (gitformat-pack(5), version 2). Of a large one, little is read.
struct Index {
    path: PathBuf,
    file: File,
    count: u32,
}

impl Index {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let (file, length) = input::open(&path)?;
        let mut index = Self { path, file, count: 0 };
        if index.bytes::<8>(0)? != *HEADER {
            return Err(Error::damaged(&index.path, "not an index of version 2"));
        }
        index.count = index.fan_out(0xff)?;
        if length < IDS + BYTES_PER_OBJECT * u64::from(index.count) {
            return Err(Error::damaged(&index.path, "it is cut off"));
        }
        Ok(index)
    }

    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(|source| input::Error::Unreadable { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    /// How many ids begin with this byte or a lower one.
    fn fan_out(&self, byte: u8) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.bytes(FAN_OUT + 4 * u64::from(byte))?))
    }

    fn id(&self, at: u32) -> Result<Id, Error> {
        self.bytes(IDS + 20 * u64::from(at))
    }

    /// The most digits that another id has in common with this one. Only the ids beside it can have the most.
    fn common_digits(&self, id: &Id) -> Result<usize, Error> {
        let begin = if id[0] == 0 { 0 } else { self.fan_out(id[0] - 1)? };
        let end = self.fan_out(id[0])?;
        if begin > end || end > self.count {
            return Err(Error::damaged(&self.path, "its table is not in order"));
        }
        let (mut low, mut high) = (begin, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(middle)? < *id { low = middle + 1 } else { high = middle }
        }
        let mut most = 0;
        for at in low.saturating_sub(1).max(begin)..low.saturating_add(2).min(end) {
            most = most.max(common_digits(id, &self.id(at)?));
        }
        Ok(most)
    }
}
