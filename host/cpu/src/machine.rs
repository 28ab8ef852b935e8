//! What the machine lets this process use: cores, and memory.
//!
//! Read from /proc and /sys below a root, so that tests can make machines up. What cannot be read limits nothing. Only
//! Linux tells these things so; elsewhere the standard library's count of processors stands alone.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Threads that compute fastest: one a physical core that this process may run on, for two threads of one core share its
/// vector units, and no more than its cgroup's share of processor time.
pub(crate) fn threads() -> usize {
    // The standard library knows affinity and cgroup, but not which processors are one core.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    physical_cores(Path::new("/")).map_or(processors, |cores| cores.min(processors))
}

/// Cores that this process may run on; None where the system does not tell.
fn physical_cores(root: &Path) -> Option<usize> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let siblings = processors(allowed)?.into_iter().map(|processor| {
        let folder = format!("sys/devices/system/cpu/cpu{processor}/topology");
        // Processors of one core all name the same list.
        fs::read_to_string(root.join(folder).join("thread_siblings_list")).ok()
    });
    let cores = siblings.collect::<Option<BTreeSet<String>>>()?;
    (!cores.is_empty()).then_some(cores.len())
}

/// The numbers of a list like `0-3,8,10-11`.
fn processors(list: &str) -> Option<Vec<usize>> {
    /// More than any kernel is built for.
    const LIMIT: usize = 1 << 16;
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= LIMIT {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// That this process could ever have: the machine's, or what its cgroup is limited to.
    pub(crate) limit: u64,
    /// That it can have now without others losing theirs.
    pub(crate) available: u64,
}

impl Memory {
    /// This machine's; None where the system does not tell.
    pub(crate) fn read() -> Option<Self> {
        Self::read_below(Path::new("/"))
    }

    fn read_below(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        let mut memory = Self {
            limit: field("MemTotal:")?,
            available: field("MemAvailable:")?,
        };
        for (folder, [limit, used]) in cgroups(root) {
            let number = |name| -> Option<u64> {
                let text = fs::read_to_string(folder.join(name)).ok()?;
                text.trim().parse().ok()
            };
            // A cgroup without a limit says `max`, or in version 1 more than there is.
            let Some(limit) = number(limit) else { continue };
            memory.limit = memory.limit.min(limit);
            let left = limit.saturating_sub(number(used).unwrap_or(0));
            memory.available = memory.available.min(left);
        }
        Some(memory)
    }
}

/// The folders of this process' cgroup and of those around it, with the names of the files that hold limit and use.
fn cgroups(root: &Path) -> Vec<(PathBuf, [&'static str; 2])> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut folders = Vec::new();
    for line in text.lines() {
        // `hierarchy:controllers:path`; version 2 is hierarchy 0 without controllers.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (mount, files) = match controllers {
            "" => ("sys/fs/cgroup", ["memory.max", "memory.current"]),
            _ if controllers.split(',').any(|name| name == "memory") => (
                "sys/fs/cgroup/memory",
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            ),
            _ => continue,
        };
        let mount = root.join(mount);
        let own = mount.join(path.trim_start_matches('/'));
        // In a container the path may be the host's; the mount's top is then the container's own cgroup.
        let around = own
            .ancestors()
            .take_while(|folder| folder.starts_with(&mount));
        folders.extend(around.map(|folder| (folder.to_owned(), files)));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine made of files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn two_threads_of_a_core_count_once() {
        let siblings =
            |cpu: usize| format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        // Four cores of two threads: processor n and n + 4 are one.
        let paths: Vec<_> = (0..8).map(siblings).collect();
        let texts: Vec<_> = (0..8)
            .map(|cpu| format!("{},{}\n", cpu % 4, cpu % 4 + 4))
            .collect();
        for (allowed, expected) in [
            ("0-7", 4),
            ("0-3", 4),
            ("0,4", 1),
            ("0-1,4-5,7", 3),
            ("7", 1),
        ] {
            let status =
                format!("Name:\tweir\nCpus_allowed_list:\t{allowed}\nMems_allowed_list:\t0\n");
            let mut files = vec![("proc/self/status", status.as_str())];
            files.extend(
                paths
                    .iter()
                    .zip(&texts)
                    .map(|(path, text)| (path.as_str(), text.as_str())),
            );
            let root = machine(&files);
            assert_eq!(physical_cores(root.path()), Some(expected), "{allowed}");
        }
    }

    #[test]
    fn a_machine_that_does_not_tell_has_no_count() {
        for allowed in ["0-1", "", "x", "0-99999999", "3-1"] {
            let status = format!("Cpus_allowed_list:\t{allowed}\n");
            let root = machine(&[("proc/self/status", &status)]);
            assert_eq!(physical_cores(root.path()), None, "{allowed}");
        }
        assert_eq!(physical_cores(machine(&[]).path()), None);
        assert!(threads() >= 1);
    }

    #[test]
    fn the_smallest_limit_around_a_process_counts() {
        let meminfo = (
            "proc/meminfo",
            "MemTotal:  8192 kB\nMemFree: 1 kB\nMemAvailable:  4096 kB\n",
        );
        let kib = |limit: u64, available: u64| {
            Some(Memory {
                limit: limit << 10,
                available: available << 10,
            })
        };
        let read = |files: &[(&str, &str)]| {
            let files: Vec<_> = files.iter().copied().chain([meminfo]).collect();
            Memory::read_below(machine(&files).path())
        };
        assert_eq!(read(&[]), kib(8192, 4096));
        let two = ("proc/self/cgroup", "0::/slice/weir\n");
        let unlimited = ("sys/fs/cgroup/slice/weir/memory.max", "max\n");
        assert_eq!(read(&[two, unlimited]), kib(8192, 4096));
        let slice = ("sys/fs/cgroup/slice/memory.max", "2097152\n");
        let used = ("sys/fs/cgroup/slice/memory.current", "1048576\n");
        assert_eq!(read(&[two, unlimited, slice, used]), kib(2048, 1024));
        // Version 1, seen from within a container.
        let one = (
            "proc/self/cgroup",
            "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n",
        );
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
        let used = ("sys/fs/cgroup/memory/memory.usage_in_bytes", "2097152\n");
        assert_eq!(read(&[one, limit, used]), kib(1024, 0));
        assert_eq!(Memory::read_below(machine(&[]).path()), None);
    }
}
