//! Where paths of the host lead: symlinks are followed one by one, each place is looked at once, and not without end.
//!
//! Whoever asks dockerd for something names the paths, and dockerd waits for the answer: how much work a request makes is
//! bounded here, not by its sender. Not here: what may be mounted (`policy`).

use std::collections::BTreeMap;
use std::collections::VecDeque;

/// Looks at the host for one request: some microseconds each.
const LOOKS: usize = 1024;
/// Symlinks on one way (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// What is in a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A symlink to there.
    Link(String),
    /// Something else.
    Other,
    /// Nothing, or nothing that can be looked at.
    Missing,
}

/// The paths of one request.
pub struct Paths<F> {
    look: F,
    seen: BTreeMap<String, Place>,
}

impl<F> std::fmt::Debug for Paths<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paths")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(&str) -> Place> Paths<F> {
    /// `look` tells what is in a place, without following it.
    pub fn new(look: F) -> Self {
        Self {
            look,
            seen: BTreeMap::new(),
        }
    }

    /// The path without symlinks; what follows a place where nothing is stays as it is.
    ///
    /// # Errors
    /// It would take too many looks.
    pub fn resolve(&mut self, path: &str) -> Result<String, String> {
        let mut ahead: VecDeque<String> = path.split('/').map(str::to_owned).collect();
        let mut real = String::new();
        let mut links = 0;
        let mut is_missing = false;
        while let Some(part) = ahead.pop_front() {
            if part.is_empty() || part == "." {
                continue;
            }
            if part == ".." {
                real.truncate(real.rfind('/').unwrap_or_default());
                continue;
            }
            let place = format!("{real}/{part}");
            let there = if is_missing {
                Place::Missing
            } else {
                self.at(&place)?
            };
            let Place::Link(to) = there else {
                is_missing |= there == Place::Missing;
                real = place;
                continue;
            };
            links += 1;
            if links > LINKS {
                return Err("the path has more symlinks than can be followed".to_owned());
            }
            if to.starts_with('/') {
                real.clear();
            }
            for part in to.split('/').rev() {
                ahead.push_front(part.to_owned());
            }
        }
        if real.is_empty() {
            real.push('/');
        }
        Ok(real)
    }

    fn at(&mut self, place: &str) -> Result<Place, String> {
        if let Some(known) = self.seen.get(place) {
            return Ok(known.clone());
        }
        if self.seen.len() >= LOOKS {
            return Err(format!(
                "its paths lead through more than {LOOKS} places of the host"
            ));
        }
        let found = (self.look)(place);
        self.seen.insert(place.to_owned(), found.clone());
        Ok(found)
    }
}

/// Looks at the host.
pub(super) fn look(place: &str) -> Place {
    match std::fs::read_link(place) {
        Ok(to) => Place::Link(to.to_string_lossy().into_owned()),
        // `EINVAL`: no symlink.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Place::Other,
        Err(_) => Place::Missing,
    }
}
