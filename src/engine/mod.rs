//! A loaded network with tokenizer, threads, counters and memory budget. Tasks and generation are functions over it.

pub(crate) mod passes;
mod scheduler;
mod workers;

use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::call::{Call, CallLimits, Cancellation, Entry};
use crate::base::counters::{Counters, Stage};
use crate::base::error::{Error, Result, Status};
use crate::base::fork::Birth;
use crate::base::log::Log;
use crate::base::memory::{Budget, catch};
use crate::base::threads::Pool;
use crate::network::Network;
use crate::spec::{HeadKind, Modules, Spec};
use crate::text::encoding::Encoding;
use crate::text::tokenizer::{EncodeOptions, Tokenizer};

pub use scheduler::SchedulerOptions;
pub(crate) use scheduler::{Scheduler, StepTurns};
pub(crate) use workers::Workers;

pub(crate) struct Engine {
    /// The path that the model was loaded from.
    pub path: PathBuf,
    pub spec: Spec,
    /// The modules after the transformer, for embedding.
    pub modules: Modules,
    /// Dropped unless a fork has taken away what it needs for that.
    pub network: ManuallyDrop<Box<dyn Network>>,
    pub tokenizer: Tokenizer,
    /// The maximum number of tokens of a text, special tokens included.
    pub max_length: usize,
    pub pool: Arc<Pool>,
    pub scheduler: Scheduler,
    /// For calls in the background.
    pub workers: Workers,
    pub counters: Counters,
    /// Bytes of KV caches and of the activations of long texts.
    pub budget: Arc<Budget>,
    /// Dropped with the model, its sessions and its prefixes.
    pub log: Log,
    pub birth: Birth,
}

/// A call's entry in the queue, which it leaves at the latest when it ends.
struct InQueue<'a> {
    engine: &'a Engine,
    entry: Entry,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.engine.scheduler.begin(&self.entry);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.is_lost() {
            // SAFETY: dropped here only, and not used after it.
            unsafe { ManuallyDrop::drop(&mut self.network) };
        }
    }
}

impl Engine {
    pub fn encode(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &EncodeOptions,
        call: Call<'_>,
    ) -> Result<Encoding> {
        let max_length = options.max_length.unwrap_or(self.max_length);
        let options = EncodeOptions { max_length: Some(max_length), ..options.clone() };
        self.tokenizer.encode(texts, pairs, &options, &self.pool, call)
    }

    /// Runs a whole call with a context for it, and counts it if it succeeds. `shape` returns its items and tokens.
    pub fn call<T>(
        &self,
        limits: CallLimits<'_>,
        work: impl FnOnce(Call<'_>) -> Result<T>,
        shape: impl FnOnce(&T) -> (usize, usize),
    ) -> Result<T> {
        if self.is_lost() {
            let (path, backend) = (self.path.display(), self.network.describe());
            return Err(Error::unsupported(format!(
                "{path}: loaded with {backend}, which does not work in a process forked since; load the model in the child"
            )));
        }
        let start = Instant::now();
        let entry = self.scheduler.admit(limits.bytes).inspect_err(|_| {
            self.counters.add(Stage::Busy, 1, 0, Duration::ZERO);
        })?;
        let entry = InQueue { engine: self, entry };
        let CallLimits { cancellation, priority, deadline, .. } = limits;
        let cancelled = cancellation.map(Cancellation::flag);
        let call = Call { counters: &self.counters, cancelled, deadline, priority, entry: Some(&entry.entry) };
        let result = catch(|| work(call)).inspect_err(|error| {
            if error.status() == Status::DeadlineExceeded {
                self.counters.add(Stage::DeadlineMissed, 1, 0, start.elapsed());
            }
        })?;
        let (items, tokens) = shape(&result);
        self.counters.call(items, tokens, start.elapsed());
        Ok(result)
    }

    /// Whether the network's threads or device were left behind by a fork.
    fn is_lost(&self) -> bool {
        self.birth.was_in_a_parent() && !self.network.survives_fork()
    }

    /// Refuses a model that is no masked language model, or without the weights of its head.
    pub fn require_masked(&self, task: &str) -> Result<()> {
        if self.spec.masked.is_some() {
            return Ok(());
        }
        let path = self.path.display();
        Err(Error::unsupported(format!(
            "{path}: the model has no masked language head for {task}: \"architectures\" in config.json must name one (ForMaskedLM), \
             and the weights must have it; those of ONNX graphs are not supported"
        )))
    }

    /// Refuses a task whose head the model does not have.
    pub fn require_head(&self, kind: HeadKind, task: &str) -> Result<()> {
        match &self.spec.head {
            Some(head) if head.kind == kind => Ok(()),
            _ => {
                let path = self.path.display();
                Err(Error::unsupported(format!(
                    "{path}: the model has no head for {task} (config.json's \"architectures\" says what it has)"
                )))
            }
        }
    }
}
