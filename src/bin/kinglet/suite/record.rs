//! Where a suite ran: the machine, the programs, the models, and what else the machine did meanwhile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Outcome};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub cpu: String,
    /// The instruction set that the CPU engine picked.
    pub isa: String,
    pub architecture: String,
    pub system: String,
    pub kernel: String,
    pub cores: usize,
    pub logical_cpus: usize,
    pub memory_mib: Option<u64>,
    /// Of the first CPU; null where the system does not say.
    pub governor: Option<String>,
    /// Runnable processes over the minute before the start.
    pub load_at_start: Option<f64>,
    /// The share of the machine's time that a hypervisor gave to others while the suite ran.
    pub steal: Option<f64>,
    /// The share that other processes used.
    pub other_processes: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    pub kinglet: String,
    pub abi: u32,
    /// Of the working directory, if that is in a checkout; with `-dirty` if files of it have changed.
    pub git_revision: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    pub name: String,
    pub path: PathBuf,
    pub family: String,
    pub file_bytes: u64,
    /// Over the files of weights, in the order of their names.
    pub sha256: String,
    /// What each target ran with where its settings say `auto` or 0.
    pub runs: Vec<ModelRun>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRun {
    pub target: super::figure::Target,
    pub precision: String,
    pub threads: usize,
    pub isa: String,
    pub weight_bytes: u64,
}

impl Machine {
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_string());
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
                .map(|v| v.trim().to_string())
        };
        let of_cpu = read("/proc/cpuinfo").and_then(|text| field(&text, "model name"));
        let memory = read("/proc/meminfo").and_then(|text| field(&text, "MemTotal"));
        let memory = memory.and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok()).map(|kb| kb >> 10);
        Self {
            cpu: of_cpu
                .or_else(|| printed("sysctl", &["-n", "machdep.cpu.brand_string"]))
                .unwrap_or_else(|| "unknown".into()),
            isa: kinglet::kernels::select().map_or_else(|why| why, |kernel| kernel.isa().to_string()),
            architecture: std::env::consts::ARCH.into(),
            system: std::env::consts::OS.into(),
            kernel: read("/proc/sys/kernel/osrelease").or_else(|| printed("uname", &["-r"])).unwrap_or_default(),
            cores: num_cpus::get_physical(),
            logical_cpus: num_cpus::get(),
            memory_mib: memory,
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load_at_start: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            steal: None,
            other_processes: None,
        }
    }

    /// What must be equal for times to be comparable.
    pub fn class(&self) -> String {
        format!("{}, {}, {} cores, {} CPUs", self.cpu, self.isa, self.cores, self.logical_cpus)
    }
}

impl Versions {
    pub fn now() -> Self {
        let git_revision = printed("git", &["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]);
        Self { kinglet: env!("CARGO_PKG_VERSION").into(), abi: kinglet::ffi::KINGLET_ABI_VERSION, git_revision }
    }
}

/// What a program prints, on one line, if it exists and succeeds.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The bytes and the hash of a model's files.
pub fn files(path: &Path) -> Outcome<(u64, String)> {
    let failed = |path: &Path, error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|e| failed(path, e))?;
        files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| holds_weights(path)).collect();
        files.sort();
    }
    let (mut bytes, mut hash, mut buffer) = (0, Sha256::new(), vec![0; 1 << 20]);
    for path in &files {
        let mut file = File::open(path).map_err(|e| failed(path, e))?;
        loop {
            let read = file.read(&mut buffer).map_err(|e| failed(path, e))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn holds_weights(path: &Path) -> bool {
    let kinds = ["safetensors", "bin", "gguf", "kinglet", "onnx", "onnx_data", "pt"];
    path.is_file() && path.extension().is_some_and(|kind| kinds.iter().any(|k| kind == *k))
}

/// The machine's and this process's times in seconds, to tell what others used between two moments.
pub struct Clocks {
    all: f64,
    busy: f64,
    steal: f64,
    own: f64,
}

impl Clocks {
    /// None where the system has no `/proc/stat`.
    pub fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        // user nice system idle iowait irq softirq steal guest guest_nice; the last two are in the first ones.
        let ticks = text.lines().next()?.split_whitespace().skip(1).take(8);
        let ticks: Vec<f64> = ticks.map_while(|ticks| ticks.parse().ok()).collect();
        let &[user, nice, system, idle, wait, irq, soft, steal] = &ticks[..] else { return None };
        let (tick, own) = (tick()?, used()?);
        let busy = user + nice + system + irq + soft;
        Some(Self { all: tick * (busy + idle + wait + steal), busy: tick * busy, steal: tick * steal, own })
    }

    /// The shares of the machine's time since then: stolen, and used by other processes.
    pub fn since(&self) -> Option<(f64, f64)> {
        let now = Self::now()?;
        let all = (now.all - self.all).max(0.01);
        let others = (now.busy - self.busy) - (now.own - self.own);
        Some((((now.steal - self.steal) / all).clamp(0.0, 1.0), (others / all).clamp(0.0, 1.0)))
    }
}

/// The unit of `/proc/stat` in seconds.
#[cfg(unix)]
fn tick() -> Option<f64> {
    // SAFETY: sysconf only reads its argument.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (per_second > 0).then(|| 1.0 / per_second as f64)
}

/// The processor time of this process and of its children that have ended.
#[cfg(unix)]
fn used() -> Option<f64> {
    let of = |who| {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the pointer is valid for a write of the struct.
        let status = unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
        // SAFETY: zero says that the struct was written.
        let usage = (status == 0).then(|| unsafe { usage.assume_init() })?;
        let seconds = |time: libc::timeval| time.tv_sec as f64 + 1e-6 * time.tv_usec as f64;
        Some(seconds(usage.ru_utime) + seconds(usage.ru_stime))
    };
    Some(of(libc::RUSAGE_SELF)? + of(libc::RUSAGE_CHILDREN)?)
}

#[cfg(not(unix))]
fn tick() -> Option<f64> {
    None
}

#[cfg(not(unix))]
fn used() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_weights() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.safetensors", "c"), ("a.safetensors", "ab"), ("config.json", "{}")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(files(folder.path()).ok().unwrap(), (3, abc.to_string()));
        assert!(files(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn the_machine_has_a_class() {
        let machine = Machine::now();
        assert!(
            machine.logical_cpus >= machine.cores && !machine.isa.is_empty() && machine.class().contains(&machine.isa)
        );
        if let Some(clocks) = Clocks::now() {
            let (steal, others) = clocks.since().unwrap();
            assert!((0.0..=1.0).contains(&steal) && (0.0..=1.0).contains(&others));
        }
    }
}
