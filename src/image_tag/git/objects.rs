//! The objects of a clone, loose and packed.

use std::path::PathBuf;

use super::error::Error;
use super::files::{names, read_if_exists};
use super::id::Id;
use super::object::{Commit, Kind, Tag, parse_loose};
use super::pack::Pack;

pub(super) struct Objects {
    directory: PathBuf,
    packs: Vec<Pack>,
}

impl Objects {
    pub(super) fn open(directory: PathBuf) -> Result<Self, Error> {
        if directory.join("info/alternates").exists() {
            return Err(Error::Unsupported { what: "objects in another repository".to_owned() });
        }
        let pack_directory = directory.join("pack");
        let paths = names(&pack_directory)?.into_iter().map(|name| pack_directory.join(name));
        let indexes = paths.filter(|path| path.extension() == Some("idx".as_ref()));
        // git leaves an index behind when it is stopped while it deletes a pack.
        let indexes = indexes.filter(|path| path.with_extension("pack").exists());
        Ok(Self { packs: indexes.map(Pack::open).collect::<Result<_, _>>()?, directory })
    }

    /// How many objects are packed, which is what git takes for the number of all.
    pub(super) fn count(&self) -> usize {
        self.packs.iter().map(Pack::count).sum()
    }

    pub(super) fn commit(&self, id: &Id) -> Result<Commit, Error> {
        let (kind, data) = self.read(id)?;
        let commit = Commit::parse(&data).filter(|_| kind == Kind::Commit);
        commit.ok_or_else(|| Error::damaged(&self.directory, "an object is not the commit that it should be"))
    }

    /// The tag object of that id, if there is one that can be read.
    pub(super) fn tag(&self, id: &Id) -> Result<Option<Tag>, Error> {
        match self.read(id) {
            Ok((Kind::Tag, data)) => Ok(Tag::parse(&data)),
            Ok(_) | Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads an object and verifies that it is the one that its id names. A tree or a blob comes without data.
    fn read(&self, id: &Id) -> Result<(Kind, Vec<u8>), Error> {
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
            Err(Error::damaged(&self.directory, "an object does not have the hash that its id says"))
        }
    }

    fn find(&self, id: &Id) -> Result<(Kind, Vec<u8>), Error> {
        for pack in &self.packs {
            if let Ok(position) = pack.position(id) {
                return pack.read(position);
            }
        }
        let hex = id.to_string();
        let path = self.directory.join(&hex[..2]).join(&hex[2..]);
        match read_if_exists(&path)? {
            Some(file) => parse_loose(&file).ok_or_else(|| Error::damaged(&path, "not an object")),
            None => Err(Error::Missing { id: hex }),
        }
    }

    /// The most hexadecimal digits that another object's id has in common with this one from the start.
    pub(super) fn most_common_digits(&self, id: &Id) -> Result<usize, Error> {
        let prefix = id.short(2);
        let loose = names(&self.directory.join(&prefix))?;
        let loose =
            loose.iter().filter_map(|name| Id::from_hex(&[prefix.as_bytes(), name.as_encoded_bytes()].concat()));
        let packed = self.packs.iter().flat_map(|pack| pack.neighbours(id));
        Ok(loose.chain(packed).filter(|other| other != id).map(|other| id.common_digits(&other)).max().unwrap_or(0))
    }
}
