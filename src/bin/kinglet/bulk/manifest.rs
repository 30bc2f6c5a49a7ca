//! How far a run has come, beside its output: `OUTPUT.partial` has the results, `OUTPUT.manifest.json` says how many bytes of it count and
//! where the next row of the input begins. The manifest is replaced as a whole after the bytes are on the disk, so that at any moment
//! it describes results that are there; what was written after it is cut off when the run goes on. Rows of a row group of Parquet that is
//! not whole are in `OUTPUT.partial.rows`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::columns::Kind;
use super::rows::{Input, Place};
use crate::failure::{Failure, Outcome};
use crate::files;

/// The format of the file.
const VERSION: u32 = 2;
/// The longest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// What must be equal when the run goes on.
    pub settings: Value,
    inputs: Vec<InputFile>,
    /// Where the next row begins.
    pub place: Place,
    /// Rows that were read, those that were rejected included.
    pub rows: u64,
    pub rejected: u64,
    pub truncated: u64,
    /// The columns of an output in CSV, once its header is written.
    pub columns: Option<Vec<String>>,
    /// The columns of an output in Parquet or Arrow that are made of JSON or CSV, once the first rows have told them.
    pub kinds: Option<Vec<(String, Kind)>>,
    /// Of Parquet: the bytes of each row group that is written, and those of the rows that wait for the next.
    pub groups: Vec<u64>,
    pub waiting_bytes: u64,
    /// The bytes of the results, and of the file of rejected rows.
    output_bytes: u64,
    rejected_bytes: u64,
    /// Whether only the names are left to be changed.
    finished: bool,
}

/// An input as it was when the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputFile {
    path: Option<PathBuf>,
    bytes: Option<u64>,
    /// Nanoseconds since 1970.
    modified: Option<u64>,
}

impl Manifest {
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes
    }
}

impl InputFile {
    fn of(input: &Input) -> Outcome<Self> {
        let Some(path) = &input.path else { return Ok(Self { path: None, bytes: None, modified: None }) };
        let found = fs::metadata(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        if !found.is_file() {
            return Err(Failure::usage(format!("{}: is not a regular file", path.display())));
        }
        let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            path: Some(path.clone()),
            bytes: Some(found.len()),
            modified: modified.map(|time| time.as_nanos() as u64),
        })
    }
}

/// The files of a run.
pub struct Output {
    place: PathBuf,
    rejected_place: PathBuf,
    results: File,
    /// Made when the first row is rejected.
    rejected: Option<File>,
    /// Made when the first row waits.
    waiting: Option<File>,
    pub manifest: Manifest,
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(ending);
    name.into()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

/// Opens a file to be written, but no link.
fn writable(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(new);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
    options.open(path)
}

impl Output {
    /// Begins a run, or goes on with an unfinished one that has the same settings and inputs.
    ///
    /// # Errors
    /// An output that is there, unless `overwrite`; an unfinished run of other settings or inputs, unless `restart`; another
    /// process that works on it.
    pub fn open(
        place: &Path,
        rejected_place: &Path,
        settings: Value,
        inputs: &[Input],
        (overwrite, restart): (bool, bool),
    ) -> Outcome<Self> {
        let (partial, saved) = (beside(place, ".partial"), beside(place, ".manifest.json"));
        let inputs = inputs.iter().map(InputFile::of).collect::<Outcome<Vec<_>>>()?;
        let known = match saved.exists() {
            false => None,
            true => {
                let text = files::text(&saved, MAX_MANIFEST)?;
                let manifest: Manifest = serde_json::from_str(&text)
                    .map_err(|e| Failure::new(format!("{}: not a manifest of this version: {e}", saved.display())))?;
                Some(manifest)
            }
        };
        for path in [place, rejected_place] {
            if known.is_none() && path.exists() && !overwrite {
                return Err(Failure::usage(format!("{}: is there already; --overwrite replaces it", path.display())));
            }
        }
        let fresh = Manifest {
            version: VERSION,
            settings,
            inputs,
            place: Place::default(),
            rows: 0,
            rejected: 0,
            truncated: 0,
            columns: None,
            kinds: None,
            groups: Vec::new(),
            waiting_bytes: 0,
            output_bytes: 0,
            rejected_bytes: 0,
            finished: false,
        };
        let lock = |file: &File| {
            file.try_lock().map_err(|_| Failure::new(format!("{}: another process works on it", partial.display())))
        };
        let (results, manifest) = match known {
            Some(known) if !restart => {
                same(&known, &fresh, &saved)?;
                let gone = known.finished && !partial.exists();
                let results = writable(if gone { place } else { &partial }, false).map_err(failed(&partial))?;
                lock(&results)?;
                (results, known)
            }
            _ => {
                let there = partial.exists();
                if there && !restart && fs::metadata(&partial).map_err(failed(&partial))?.len() > 0 {
                    let what =
                        format!("{}: is in the way, without a manifest; --restart replaces it", partial.display());
                    return Err(Failure::new(what));
                }
                let results = writable(&partial, !there).map_err(failed(&partial))?;
                lock(&results)?;
                (results, fresh)
            }
        };
        let mut output = Self {
            place: place.into(),
            rejected_place: rejected_place.into(),
            results,
            rejected: None,
            waiting: None,
            manifest,
        };
        output.cut(&partial)?;
        Ok(output)
    }

    /// Removes what the manifest does not speak of.
    fn cut(&mut self, partial: &Path) -> Outcome<()> {
        let to = |file: &mut File, length: u64, path: &Path| {
            let there = file.metadata().map_err(failed(path))?.len();
            if there < length {
                let what = format!("{}: has {there} bytes, and its manifest counts {length}", path.display());
                return Err(Failure::new(format!("{what}; --restart begins again")));
            }
            file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length))).map_err(failed(path))?;
            Ok(())
        };
        to(&mut self.results, self.manifest.output_bytes, partial)?;
        let others = [
            (beside(&self.rejected_place, ".partial"), self.manifest.rejected_bytes, &mut self.rejected),
            (beside(&self.place, ".partial.rows"), self.manifest.waiting_bytes, &mut self.waiting),
        ];
        for (path, bytes, open) in others {
            if bytes > 0 || path.exists() {
                let mut file = writable(&path, false).map_err(failed(&path))?;
                to(&mut file, bytes, &path)?;
                *open = Some(file);
            }
        }
        self.save()
    }

    /// Whether the run was at its end.
    pub fn is_finished(&self) -> bool {
        self.manifest.finished
    }

    /// Appends results, and rows that were rejected.
    pub fn append(&mut self, results: &[u8], rejected: &[u8]) -> Outcome<()> {
        self.results.write_all(results).map_err(failed(&self.place))?;
        self.manifest.output_bytes += results.len() as u64;
        if !rejected.is_empty() {
            let path = beside(&self.rejected_place, ".partial");
            let file = match &mut self.rejected {
                Some(file) => file,
                none => none.insert(writable(&path, true).map_err(failed(&path))?),
            };
            file.write_all(rejected).map_err(failed(&path))?;
            self.manifest.rejected_bytes += rejected.len() as u64;
        }
        Ok(())
    }

    /// Appends rows that wait for the others of their row group.
    pub fn append_waiting(&mut self, rows: &[u8]) -> Outcome<()> {
        let path = beside(&self.place, ".partial.rows");
        let file = match &mut self.waiting {
            Some(file) => file,
            none => none.insert(writable(&path, true).map_err(failed(&path))?),
        };
        file.write_all(rows).map_err(failed(&path))?;
        self.manifest.waiting_bytes += rows.len() as u64;
        Ok(())
    }

    /// Appends a row group, for which no row waits any longer.
    pub fn append_group(&mut self, group: &[u8]) -> Outcome<()> {
        self.append(group, &[])?;
        self.manifest.groups.push(group.len() as u64);
        self.manifest.waiting_bytes = 0;
        // Before the rows are gone.
        self.save()?;
        if let Some(file) = &mut self.waiting {
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed(&self.place))?;
        }
        Ok(())
    }

    /// The rows that wait, from the first one on.
    pub fn waiting(&self) -> Outcome<File> {
        let path = beside(&self.place, ".partial.rows");
        File::open(&path).map_err(failed(&path))
    }

    /// The results, from the first one on.
    pub fn reader(&self) -> Outcome<File> {
        let path = beside(&self.place, ".partial");
        File::open(&path).map_err(failed(&path))
    }

    /// Makes what was appended permanent: it counts from now on.
    pub fn save(&mut self) -> Outcome<()> {
        self.results.sync_data().map_err(failed(&self.place))?;
        for file in self.rejected.iter().chain(&self.waiting) {
            file.sync_data().map_err(failed(&self.place))?;
        }
        let path = beside(&self.place, ".manifest.json");
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, &self.manifest)?;
            file.write_all(b"\n")?;
            file.as_file().sync_data()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(failed(&path))
    }

    /// Gives the files their names. Every step can be repeated.
    pub fn finish(mut self) -> Outcome<Manifest> {
        self.manifest.finished = true;
        self.save()?;
        let rejected = beside(&self.rejected_place, ".partial");
        if self.manifest.rejected == 0 {
            // Those of a run whose output is replaced.
            for old in [&rejected, &self.rejected_place].into_iter().filter(|path| path.exists()) {
                fs::remove_file(old).map_err(failed(old))?;
            }
        }
        let waiting = beside(&self.place, ".partial.rows");
        if waiting.exists() {
            fs::remove_file(&waiting).map_err(failed(&waiting))?;
        }
        for (partial, place) in [(rejected, &self.rejected_place), (beside(&self.place, ".partial"), &self.place)] {
            if partial.exists() {
                fs::rename(&partial, place).map_err(failed(place))?;
            }
        }
        let saved = beside(&self.place, ".manifest.json");
        fs::remove_file(&saved).map_err(failed(&saved))?;
        Ok(self.manifest)
    }
}

/// Whether an unfinished run is the one that is asked for.
fn same(known: &Manifest, asked: &Manifest, saved: &Path) -> Outcome<()> {
    let differs = |what: &str, was: &dyn std::fmt::Display, is: &dyn std::fmt::Display| {
        let what = format!("{}: an unfinished run has another {what}: {was}, now {is}", saved.display());
        Err(Failure::usage(format!("{what}; --restart begins again")))
    };
    if known.version != VERSION {
        return differs("version of the manifest", &known.version, &VERSION);
    }
    if known.settings != asked.settings {
        let names = asked.settings.as_object().into_iter().flat_map(|settings| settings.keys());
        for name in names {
            if known.settings[name] != asked.settings[name] {
                return differs(name, &known.settings[name], &asked.settings[name]);
            }
        }
    }
    if known.inputs.len() != asked.inputs.len() {
        return differs("number of inputs", &known.inputs.len(), &asked.inputs.len());
    }
    for (was, is) in known.inputs.iter().zip(&asked.inputs) {
        if was != is {
            let name = |file: &InputFile| {
                let path =
                    file.path.as_ref().map_or_else(|| "standard input".into(), |path| path.display().to_string());
                format!("{path} of {} bytes", file.bytes.unwrap_or_default())
            };
            return differs("input, or it has changed", &name(was), &name(is));
        }
    }
    Ok(())
}
