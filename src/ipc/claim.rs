//! Claimed files: `data/claimed/<ULID>.<folder>.<m|t>`. After a crash, the name gives the file's author and kind, and
//! the ULID is the key that makes its effect happen once.

use std::ffi::{OsStr, OsString};

use ulid::Ulid;

use super::command::Kind;
use crate::domain::clock::Clock;
use crate::domain::ids::GroupFolder;

/// A claimed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    /// The claim's id.
    pub(super) id: Ulid,
    /// The folder of its author.
    pub(super) folder: GroupFolder,
    /// The kind of file.
    pub(super) kind: Kind,
    /// Its original name, quoted and cut, for people.
    pub(super) name: String,
}

impl Claimed {
    /// A claim on a file with a name in a group's folder.
    pub(super) fn new(id: Ulid, folder: &GroupFolder, kind: Kind, name: &OsStr) -> Self {
        Self { id, folder: folder.clone(), kind, name: quote(name) }
    }

    /// Returns its name in `data/claimed`.
    pub(super) fn file(&self) -> OsString {
        let kind = match self.kind {
            Kind::Message => 'm',
            Kind::Task => 't',
        };
        format!("{}.{}.{kind}", self.id, self.folder).into()
    }

    /// Parses a name that a crash left; None if it is not a claim's.
    pub(super) fn from_file(name: &OsStr) -> Option<Self> {
        let mut parts = name.to_str()?.split('.');
        let id = Ulid::from_string(parts.next()?).ok()?;
        let folder = parts.next()?.parse().ok()?;
        let kind = match parts.next()? {
            "m" => Kind::Message,
            "t" => Kind::Task,
            _ => return None,
        };
        parts.next().is_none().then(|| Self { id, folder, kind, name: quote(name) })
    }
}

/// Returns an agent's file name in a form that is safe for logs.
#[allow(clippy::unnecessary_debug_formatting)] // It escapes what an attacker chose.
pub(super) fn quote(name: &OsStr) -> String {
    let quoted = format!("{name:?}");
    if quoted.chars().count() <= 120 { quoted } else { format!("{}…", quoted.chars().take(119).collect::<String>()) }
}

/// Makes claim ids. Their order is the order of claiming, even within a millisecond.
#[derive(Debug, Default)]
pub(super) struct ClaimIds(std::sync::Mutex<Ulid>);

impl ClaimIds {
    pub(super) fn next(&self, clock: &dyn Clock) -> Ulid {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = clock.ulid();
        *last = if fresh > *last { fresh } else { last.increment().unwrap_or(fresh) };
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn claim_name_round_trips() {
        let folder: GroupFolder = "a-B_9".parse().unwrap();
        for kind in [Kind::Message, Kind::Task] {
            let claimed = Claimed::new(Ulid::new(), &folder, kind, OsStr::new("x.json"));
            let again = Claimed::from_file(&claimed.file()).unwrap();
            assert_eq!((again.id, again.folder, again.kind), (claimed.id, claimed.folder, claimed.kind));
        }
        for bad in
            ["", "x", "01J.main.m", "../x", "01ARZ3NDEKTSV4RRFFQ69G5FAV.global.m", "01ARZ3NDEKTSV4RRFFQ69G5FAV.a.x"]
        {
            assert_eq!(Claimed::from_file(OsStr::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn ids_rise_within_a_millisecond() {
        let ids = ClaimIds::default();
        let made: Vec<Ulid> = (0..10_000).map(|_| ids.next(&SystemClock)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn names_are_harmless_in_logs() {
        let hostile = OsStr::from_bytes(b"\x1b[31m\n\xff.json");
        assert!(quote(hostile).chars().all(|c| !c.is_control()));
        assert!(quote(OsStr::new(&"x".repeat(255))).chars().count() <= 120);
    }
}
