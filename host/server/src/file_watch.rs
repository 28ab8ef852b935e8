//! Files that are read again when they change, found out by looking at them twice a second.
//!
//! A rename, a write in place, a symlink swapped and a network file system look alike to that.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::{Interval, MissedTickBehavior};

/// How often the files are looked at. A change counts once it has been still for as long: a copy may be under way.
const LOOK: Duration = Duration::from_millis(500);

/// When to look.
pub(crate) fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Some files, as they were last seen.
#[derive(Default)]
pub(crate) struct FileWatch {
    /// As they were when what is in use was read.
    read: Option<Vec<Seen>>,
    /// As they were at the last look.
    last: Vec<Seen>,
}

/// A file's looks: where it is, when it was written, its size and its number, which a rename changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    looks: Option<(SystemTime, u64, u64)>,
}

impl Seen {
    fn at(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let looks = fs::metadata(path)
            .ok()
            .and_then(|data| Some((data.modified().ok()?, data.len(), data.ino())));
        let path = path.to_owned();
        Self { path, looks }
    }
}

impl FileWatch {
    /// Whether they are to be read again. With `again` they are even if nothing changed: what was read last could not be
    /// used, and a file may be missing that nobody watches.
    pub(crate) fn changed(&mut self, paths: &[&Path], again: bool) -> bool {
        let now: Vec<Seen> = paths.iter().map(|path| Seen::at(path)).collect();
        let still = self.last == now;
        self.last.clone_from(&now);
        match &self.read {
            None => {
                self.read = Some(now);
                false
            }
            Some(read) if still && (*read != now || again) => {
                self.read = Some(now);
                true
            }
            Some(_) => false,
        }
    }
}
