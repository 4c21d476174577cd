//! A clone's objects, loose and packed, its own and those that it borrows.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Error,
    id::Id,
    open,
    pack::{self, Pack},
    read_small,
    zlib::{FileAt, Inflated},
};

/// Largest commit or tag that is read, in bytes. Larger ones would be a megabyte of message many times over.
pub(super) const MAX_OBJECT: usize = 8 << 20;

/// How deep a clone that borrows objects may borrow from another that does, as in git.
const MAX_ALTERNATES: usize = 5;

/// What an object is; trees and blobs are of no interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tag,
    Other,
}

/// All objects of a clone.
pub(super) struct Objects {
    /// `objects` directories, the clone's own first.
    directories: Vec<PathBuf>,
    packs: Vec<Pack>,
    /// What git takes for the number of objects: those in packs.
    pub(super) approximate_count: u64,
}

impl Objects {
    /// Opens the `objects` directory and those that it names in `info/alternates`.
    pub(super) fn open(directory: PathBuf, use_multi_pack_index: bool) -> Result<Self, Error> {
        let mut objects = Self { directories: with_alternates(directory)?, packs: Vec::new(), approximate_count: 0 };
        for directory in &objects.directories {
            let directory = directory.join("pack");
            let mut counted = HashSet::new();
            if use_multi_pack_index {
                for path in multi_pack_indexes(&directory)? {
                    if let Some((count, names)) = pack::multi_pack_index(&path)? {
                        objects.approximate_count += u64::from(count);
                        counted.extend(names.split(|&byte| byte == 0).map(<[u8]>::to_vec));
                    }
                }
            }
            for name in names(&directory)? {
                let path = directory.join(&name);
                if path.extension() == Some("idx".as_ref()) && path.with_extension("pack").exists() {
                    let pack = Pack::open(&path)?;
                    if !counted.contains(name.as_bytes()) {
                        objects.approximate_count += u64::from(pack.count());
                    }
                    objects.packs.push(pack);
                }
            }
        }
        Ok(objects)
    }

    /// Reads an object and verifies that it is the one that its id names. A tree or a blob comes without data.
    pub(super) fn read(&self, id: &Id) -> Result<(Kind, Vec<u8>), Error> {
        let (kind, data) = self.find(id)?;
        let name = match kind {
            Kind::Commit => "commit",
            Kind::Tag => "tag",
            Kind::Other => return Ok((kind, data)),
        };
        let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(format!("{name} {}\0", data.len()).as_bytes());
        hash.update(&data);
        if hash.finish().as_ref() == id.0 {
            Ok((kind, data))
        } else {
            Err(Error::damaged(&self.directories[0], "an object is not what its id says"))
        }
    }

    fn find(&self, id: &Id) -> Result<(Kind, Vec<u8>), Error> {
        for pack in &self.packs {
            if let Ok(position) = pack.position(id)? {
                return pack.read(position);
            }
        }
        let hex = id.to_string();
        for directory in &self.directories {
            let path = directory.join(&hex[..2]).join(&hex[2..]);
            match open(&path) {
                Ok(file) => return read_loose(&file).map_err(Error::read(&path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::read(&path)(error)),
            }
        }
        Err(Error::Missing { id: hex })
    }

    /// The most hexadecimal digits that another object's id has in common with this one from the start.
    pub(super) fn most_common_digits(&self, id: &Id) -> Result<usize, Error> {
        let mut most = 0;
        let mut compare = |other: Id| {
            if other != *id {
                most = most.max(id.common_digits(&other));
            }
        };
        for pack in &self.packs {
            let (before, after) = match pack.position(id)? {
                Ok(at) => (at, at + 1),
                Err(at) => (at, at),
            };
            if let Some(before) = before.checked_sub(1) {
                compare(pack.id_at(before)?);
            }
            if after < pack.count() {
                compare(pack.id_at(after)?);
            }
        }
        let prefix = id.short(2);
        for directory in &self.directories {
            for name in names(&directory.join(&prefix))? {
                let hex = [prefix.as_bytes(), name.as_bytes()].concat();
                Id::from_hex(&hex).into_iter().for_each(&mut compare);
            }
        }
        Ok(most)
    }
}

/// A loose object: type, size and a zero byte, then the data.
fn read_loose(file: &File) -> io::Result<(Kind, Vec<u8>)> {
    /// Longer than any header.
    const MAX_HEADER: usize = 32;
    let mut stream = Inflated::new(FileAt { file, offset: 0 });
    let mut header = Vec::new();
    let mut byte = [0];
    while header.len() < MAX_HEADER && stream.read(&mut byte)? == 1 && byte[0] != 0 {
        header.push(byte[0]);
    }
    let header = String::from_utf8_lossy(&header);
    let (kind, size) = match header.split_once(' ') {
        Some(("commit", size)) => (Kind::Commit, size),
        Some(("tag", size)) => (Kind::Tag, size),
        Some(("tree" | "blob", _)) => return Ok((Kind::Other, Vec::new())),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let size = size.parse().ok().filter(|&size| size <= MAX_OBJECT);
    let size = size.ok_or(io::ErrorKind::InvalidData)?;
    Ok((kind, stream.read_exactly(size)?))
}

/// The directory and those that it borrows objects from, and so on, each once (gitrepository-layout(5)).
fn with_alternates(directory: PathBuf) -> Result<Vec<PathBuf>, Error> {
    let mut directories = vec![directory];
    let mut new = 0..1;
    for _ in 0..=MAX_ALTERNATES {
        for at in new.clone() {
            let list = read_small(&directories[at].join("info/alternates"))?.unwrap_or_default();
            let lines = list.split(|&byte| byte == b'\n');
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
                // One that is not there is passed over, as git does: its objects may not be needed.
                if let Ok(path) = fs::canonicalize(directories[at].join(OsStr::from_bytes(line)))
                    && path.is_dir()
                    && !directories.contains(&path)
                {
                    directories.push(path);
                }
            }
        }
        new = new.end..directories.len();
    }
    Ok(directories)
}

/// The one multi-pack index, or those of a chain.
fn multi_pack_indexes(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = vec![directory.join("multi-pack-index")];
    let chain = directory.join("multi-pack-index.d");
    let list = read_small(&chain.join("multi-pack-index-chain"))?.unwrap_or_default();
    for line in list.split(|&byte| byte == b'\n') {
        if let Some(id) = Id::from_hex(line) {
            paths.push(chain.join(format!("multi-pack-index-{id}.midx")));
        }
    }
    Ok(paths)
}

/// The names in a directory; none where there is no such directory.
pub(super) fn names(directory: &Path) -> Result<Vec<OsString>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(Error::read(directory))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::read(directory)(error)),
    }
}
