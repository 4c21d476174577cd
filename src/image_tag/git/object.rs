//! Commits and tags, as far as image tags depend on them.

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::id::Id;

/// The largest commit or tag that is read, in bytes. A larger one would be a megabyte of message many times over.
pub(super) const MAX_OBJECT: usize = 8 << 20;

/// The type of an object. Trees and blobs are never needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tag,
    Other,
}

/// Uncompresses the zlib stream that the bytes start with. It must have exactly this size.
pub(super) fn inflate(compressed: &[u8], size: usize) -> Option<Vec<u8>> {
    decompress_to_vec_zlib_with_limit(compressed, size).ok().filter(|data| data.len() == size)
}

/// Reads a loose object: its type, its size and a zero byte, then the data.
pub(super) fn parse_loose(compressed: &[u8]) -> Option<(Kind, Vec<u8>)> {
    // What was uncompressed up to the limit is enough to see that it is a large blob.
    let object = decompress_to_vec_zlib_with_limit(compressed, MAX_OBJECT + 32).unwrap_or_else(|error| error.output);
    let end = object.iter().position(|&byte| byte == 0)?;
    let (kind, size) = std::str::from_utf8(&object[..end]).ok()?.split_once(' ')?;
    let kind = match kind {
        "commit" => Kind::Commit,
        "tag" => Kind::Tag,
        "tree" | "blob" => return Some((Kind::Other, Vec::new())),
        _ => return None,
    };
    let data = object[end + 1..].to_vec();
    (size.parse() == Ok(data.len()) && data.len() <= MAX_OBJECT).then_some((kind, data))
}

/// The part of a commit that its place in history depends on.
pub(super) struct Commit {
    pub(super) parents: Vec<Id>,
    /// The committer's date, in seconds since 1970; zero if it cannot be read.
    pub(super) date: u64,
}

/// An annotated tag.
pub(super) struct Tag {
    pub(super) target: Id,
    /// What it points to is a tag as well.
    pub(super) of_tag: bool,
    pub(super) name: Vec<u8>,
    /// The tagger's date, in seconds since 1970; zero if it cannot be read.
    pub(super) date: u64,
}

impl Commit {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut rest = data;
        line(&mut rest, b"tree ").and_then(Id::from_hex)?;
        let mut parents = Vec::new();
        while let Some(hex) = line(&mut rest, b"parent ") {
            parents.push(Id::from_hex(hex)?);
        }
        line(&mut rest, b"author");
        Some(Self { parents, date: line(&mut rest, b"committer").and_then(date).unwrap_or(0) })
    }
}

impl Tag {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut rest = data;
        let target = line(&mut rest, b"object ").and_then(Id::from_hex)?;
        let of_tag = line(&mut rest, b"type ")? == b"tag";
        let name = line(&mut rest, b"tag ")?.to_vec();
        Some(Self { target, of_tag, name, date: line(&mut rest, b"tagger ").and_then(date).unwrap_or(0) })
    }
}

/// The rest of the next line, if it begins with `key`.
fn line<'a>(rest: &mut &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let value = rest.strip_prefix(key)?;
    let end = value.iter().position(|&byte| byte == b'\n')?;
    *rest = &value[end + 1..];
    Some(&value[..end])
}

/// The number after the address. A name may hold a `>` too.
fn date(line: &[u8]) -> Option<u64> {
    let address = line.iter().rposition(|&byte| byte == b'>')?;
    std::str::from_utf8(&line[address + 1..]).ok()?.split_ascii_whitespace().next()?.parse().ok()
}
