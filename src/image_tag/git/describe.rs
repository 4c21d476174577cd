//! `git describe --tags --always`: finds the nearest tag, as git does.
//!
//! The walk goes from the newest commit to older ones. It notes the first [`CANDIDATES`] tagged commits it finds, and
//! counts for each how many commits were passed that are not among its ancestors. Which tag wins if history has
//! branches depends on the order of the walk and on when it ends; both are git 2.47's.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::error::Error;
use super::id::Id;
use super::objects::Objects;
use super::refs::Refs;

/// How many tags are compared with one another.
const CANDIDATES: usize = 10;

/// The commit is or was in the queue. The higher bits say of which candidates it is an ancestor.
const SEEN: u16 = 1;

/// A tag, and how many commits lie above what it points to; without that if the tag is on the commit itself.
pub(super) type Description = (String, Option<(u64, Id)>);

/// A tag as the name of a commit.
struct Name {
    path: Vec<u8>,
    /// The tag object, of an annotated one.
    object: Option<Id>,
}

struct Candidate {
    commit: Id,
    depth: u64,
    within: u16,
}

/// A commit that waits for its turn: the newest first, then the one that came first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    date: u64,
    order: Reverse<u64>,
    id: Id,
    parents: Vec<Id>,
}

/// Describes `head`, if a tag is on it or below it.
pub(super) fn describe(
    objects: &Objects,
    refs: &Refs,
    shallow: &HashSet<Id>,
    head: Id,
) -> Result<Option<Description>, Error> {
    let names = names(objects, refs)?;
    if let Some(name) = names.get(&head) {
        let (text, misnamed) = name.text(objects)?;
        return Ok(Some((text, misnamed.map(|target| (0, target)))));
    }
    if names.is_empty() {
        return Ok(None);
    }
    let mut walk = Walk { objects, shallow, queue: BinaryHeap::new(), flags: HashMap::new(), order: 0 };
    let Some(best) = walk.nearest(&names, head)? else {
        return Ok(None);
    };
    Ok(Some((names[&best.commit].text(objects)?.0, Some((best.depth, head)))))
}

struct Walk<'a> {
    objects: &'a Objects,
    shallow: &'a HashSet<Id>,
    queue: BinaryHeap<Queued>,
    flags: HashMap<Id, u16>,
    order: u64,
}

impl Walk<'_> {
    fn nearest(&mut self, names: &HashMap<Id, Name>, head: Id) -> Result<Option<Candidate>, Error> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut any_annotated = false;
        let mut seen: u64 = 0;
        self.push(head, 0)?;
        while let Some(commit) = self.queue.pop() {
            let id = commit.id;
            seen += 1;
            if let Some(name) = names.get(&id) {
                if candidates.len() == CANDIDATES {
                    // The count goes on from here for the best one.
                    self.requeue(commit);
                    break;
                }
                let within = SEEN << (candidates.len() + 1);
                candidates.push(Candidate { commit: id, depth: seen - 1, within });
                *self.flags.entry(id).or_default() |= within;
                any_annotated |= name.object.is_some();
            }
            let flags = self.flags.get(&id).copied().unwrap_or_default();
            for candidate in candidates.iter_mut().filter(|candidate| flags & candidate.within == 0) {
                candidate.depth += 1;
            }
            if any_annotated && self.queue.is_empty() {
                // The last path left: done if the best, or all of the equally good ones, are on it.
                let least = candidates.iter().map(|candidate| candidate.depth).min();
                let mut best = candidates.iter().filter(|candidate| Some(candidate.depth) == least);
                if best.all(|candidate| flags & candidate.within != 0) {
                    break;
                }
            }
            self.push_parents(&commit.parents, flags)?;
        }
        // Of equally good ones, the first that was met.
        let Some(mut best) = candidates.into_iter().min_by_key(|candidate| candidate.depth) else {
            return Ok(None);
        };
        self.finish(&mut best)?;
        Ok(Some(best))
    }

    /// Counts what is left in the queue and is not below the best candidate.
    fn finish(&mut self, best: &mut Candidate) -> Result<(), Error> {
        while let Some(commit) = self.queue.pop() {
            let flags = self.flags.get(&commit.id).copied().unwrap_or_default();
            if flags & best.within == 0 {
                best.depth += 1;
            } else {
                let below = |queued: &Queued| self.flags.get(&queued.id).is_some_and(|flags| flags & best.within != 0);
                if self.queue.iter().all(below) {
                    break;
                }
            }
            self.push_parents(&commit.parents, flags)?;
        }
        Ok(())
    }

    fn push_parents(&mut self, parents: &[Id], flags: u16) -> Result<(), Error> {
        parents.iter().try_for_each(|&parent| self.push(parent, flags))
    }

    /// Puts a commit into the queue unless it was there before, and passes the flags of its child on to it.
    fn push(&mut self, id: Id, flags: u16) -> Result<(), Error> {
        let entry = self.flags.entry(id).or_default();
        let known = *entry & SEEN != 0;
        *entry |= flags | SEEN;
        if known {
            return Ok(());
        }
        let commit = self.objects.commit(&id)?;
        let parents = if self.shallow.contains(&id) { Vec::new() } else { commit.parents };
        self.requeue(Queued { date: commit.date, order: Reverse(0), id, parents });
        Ok(())
    }

    fn requeue(&mut self, commit: Queued) {
        self.order += 1;
        self.queue.push(Queued { order: Reverse(self.order), ..commit });
    }
}

/// Of the tags on a commit, the one that names it: annotated before lightweight, then the newest by the tagger's date,
/// then the first by name.
fn names(objects: &Objects, refs: &Refs) -> Result<HashMap<Id, Name>, Error> {
    let mut names: HashMap<Id, Name> = HashMap::new();
    for (path, tag) in refs.tags()? {
        let peeled = match tag.peeled {
            None => peel(objects, tag.id)?,
            known => known,
        };
        let (commit, object) = match peeled {
            Some(commit) => (commit, Some(tag.id)),
            None => (tag.id, None),
        };
        let replaces = match (names.get(&commit).map(|known| known.object), object) {
            (None, _) | (Some(None), Some(_)) => true,
            (Some(Some(known)), Some(object)) => tagger_date(objects, known)? < tagger_date(objects, object)?,
            (Some(_), None) => false,
        };
        if replaces {
            names.insert(commit, Name { path, object });
        }
    }
    Ok(names)
}

/// Follows nested tag objects to the object that they tag. `None` if `id` is not a tag object.
fn peel(objects: &Objects, mut id: Id) -> Result<Option<Id>, Error> {
    loop {
        match objects.tag(&id)? {
            None => return Ok(None),
            Some(tag) if tag.of_tag => id = tag.target,
            Some(tag) => return Ok(Some(tag.target)),
        }
    }
}

fn tagger_date(objects: &Objects, id: Id) -> Result<Option<u64>, Error> {
    Ok(objects.tag(&id)?.map(|tag| tag.date))
}

impl Name {
    /// The tag's name for itself, and what it points to if its reference has another name.
    fn text(&self, objects: &Objects) -> Result<(String, Option<Id>), Error> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let Some(object) = self.object else {
            return Ok((text(&self.path), None));
        };
        match objects.tag(&object)? {
            Some(tag) => Ok((text(&tag.name), (tag.name != self.path).then_some(tag.target))),
            None => Err(Error::Missing { id: object.to_string() }),
        }
    }
}
