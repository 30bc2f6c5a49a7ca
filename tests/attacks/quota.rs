//! The default number of threads follows what the system lets the process use: its CPU affinity and its cgroup's quota.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support;

/// A CPU cgroup that lets a process use one and a half CPUs, removed when it is dropped.
struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// None, with the reason, where this process may not make one.
    fn new() -> Option<Self> {
        let name = format!("kinglet-test-{}", std::process::id());
        let made = |root: &str, file: &str, text: &str| {
            let folder = Path::new(root).join(&name);
            fs::create_dir(&folder)?;
            let quota = Self { folder };
            fs::write(quota.folder.join(file), text)?;
            Ok(quota)
        };
        let first = made("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "150000");
        match first.or_else(|_: std::io::Error| made("/sys/fs/cgroup", "cpu.max", "150000 100000")) {
            Ok(quota) => Some(quota),
            Err(error) => {
                eprintln!("skipped: no cgroup with a CPU quota can be made: {error}");
                None
            }
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The threads of a model that a shell loads after `before`.
fn threads(before: &str) -> usize {
    let kinglet = env!("CARGO_BIN_EXE_kinglet");
    let model = support::fixtures().join("bert");
    let script = format!("{before} exec '{kinglet}' inspect --model '{}'", model.display());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("threads"));
    line.unwrap_or_else(|| panic!("{output:?}")).trim().parse().unwrap()
}

#[test]
fn a_quota_of_one_and_a_half_cpus_is_two_threads() {
    let all = threads("");
    let Some(quota) = Quota::new() else { return };
    let joined = threads(&format!("echo $$ > '{}' &&", quota.folder.join("cgroup.procs").display()));
    assert_eq!(joined, all.min(2));
}

#[test]
fn affinity_is_honoured() {
    if Command::new("taskset").arg("--version").output().is_err() {
        eprintln!("skipped: there is no taskset");
        return;
    }
    assert_eq!(threads("taskset -p -c 0 $$ > /dev/null &&"), 1);
}
