//! How long a replica works: measured times of passes and steps of so many inputs.

use std::time::{Duration, Instant};

use kinglet::{Model, Stage};
use serde::{Deserialize, Serialize};

use crate::args::{Task, WorkloadArgs};
use crate::failure::{Failure, Outcome};
use crate::load_test::{Calling, Load, Workload, alone, callers};
use crate::machine;

use super::replica;

/// The form of the file of times.
const VERSION: u32 = 1;
/// Closed loops of so many callers are measured, for so many seconds each. The last one shows what a replica can do at most.
const CALLERS: [usize; 6] = [2, 4, 8, 16, 32, 64];
const SECONDS: f64 = 1.5;
/// Pauses in seconds after which single inputs are measured, and the seconds of each measurement.
const PAUSES: [f64; 5] = [0.001, 0.002, 0.005, 0.02, 0.1];
const PAUSED: f64 = 1.0;
/// Batches of generations: the most inputs; each size runs for so long, and so many times at least.
const MOST: usize = 64;
const TIME: Duration = Duration::from_millis(800);
const RUNS: usize = 3;
/// The open loop that shows what an arrival costs: its share of the capacity, its calls, and the least and most seconds.
const OPEN: f64 = 0.6;
const OPEN_CALLS: f64 = 200.0;
const OPEN_SECONDS: (f64, f64) = (4.0, 15.0);
/// Threads of an open loop.
pub const OPEN_CALLERS: usize = 256;
/// The cost of a call or an arrival is searched in so many halvings.
const HALVINGS: usize = 24;

/// The measured times of a model on a machine, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    version: u32,
    pub task: String,
    pub input_tokens: (usize, usize),
    /// 0 of an embedding.
    pub output_tokens: usize,
    pub precision: String,
    pub threads: usize,
    pub isa: String,
    /// Calls per second of a closed loop of 64 callers.
    pub capacity: f64,
    /// The most tokens of a pass that reads; 0 if they were not counted.
    pub pass_tokens: f64,
    /// Passes of so many inputs: embedding texts, or reading prompts with the step that follows. The first is that of one input.
    pub passes: Vec<(f64, f64)>,
    /// One further step of so many texts.
    pub steps: Vec<(f64, f64)>,
    /// The part of the time of one input that does not depend on its number of tokens.
    pub fixed: f64,
    /// What a pass takes longer that begins after so many seconds without work: caches are cold then, and threads sleep.
    pub idle: Vec<(f64, f64)>,
    /// What each of the first calls adds that arrive during a pass: their threads take a core from it.
    pub arrival: f64,
    /// What each call after the first adds to a pass of prompts beside its inputs. May be negative.
    pub call: f64,
}

impl Times {
    /// Runs the model.
    pub fn measure(model: &Model, args: &WorkloadArgs) -> Outcome<Self> {
        let generates = args.task == Task::Generate;
        let workload = Workload::new(model, args)?;
        let (tally, wanted) = alone(&workload)?;
        let mut times = Self {
            version: VERSION,
            task: if generates { "generate" } else { "embed" }.into(),
            input_tokens: args.input_tokens,
            output_tokens: if generates { args.output_tokens } else { 0 },
            precision: model.precision().name().into(),
            threads: model.threads(),
            isa: machine::isa(model)?,
            capacity: 0.0,
            pass_tokens: 0.0,
            passes: vec![(1.0, tally.seconds / tally.calls as f64)],
            steps: Vec::new(),
            fixed: fixed(&workload, args)?,
            idle: idle(&workload)?,
            arrival: 0.0,
            call: 0.0,
        };
        let mut rate_of_16 = 0.0;
        for callers in CALLERS {
            let before = model.counters().stage(Stage::SharedPass);
            let load = Load { duration: Some(SECONDS), ..closed(callers, args.seed) };
            let tally = callers::run(&load, &workload, &wanted)?;
            if let Some(error) = tally.error {
                return Err(Failure::new(error));
            }
            let after = model.counters().stage(Stage::SharedPass);
            let passes = (after.calls - before.calls).max(1) as f64;
            let inputs = (after.items - before.items) as f64 / passes;
            if !generates && inputs > times.passes[times.passes.len() - 1].0 * 1.05 {
                times.passes.push((inputs, tally.seconds / passes));
                times.pass_tokens = times.pass_tokens.max((after.tokens - before.tokens) as f64 / passes);
            }
            times.capacity = times.capacity.max(tally.calls as f64 / tally.seconds);
            if callers == 16 {
                rate_of_16 = tally.calls as f64 / tally.seconds;
            }
        }
        // A pass ends with the text before the one that would not fit: it has half of a text less than it may have.
        if times.pass_tokens > 0.0 {
            times.pass_tokens += times.mean_tokens() / 2.0;
        }
        if generates {
            // The first token comes with the prompt, so reading is a generation of one token.
            let reading = Workload::new(model, &WorkloadArgs { output_tokens: 1, ..args.clone() })?;
            times.passes = series(&reading)?;
            if args.output_tokens > 1 {
                let further = (args.output_tokens - 1) as f64;
                let whole = series(&workload)?;
                let step =
                    |(&(n, whole), &(_, read)): (&(f64, f64), &(f64, f64))| (n, (whole - read).max(0.0) / further);
                times.steps = whole.iter().zip(&times.passes).map(step).collect();
            }
            times.fit_call(16, rate_of_16);
        }
        let rate = OPEN * times.capacity;
        let duration = Some((OPEN_CALLS / rate).clamp(OPEN_SECONDS.0, OPEN_SECONDS.1));
        let load = Load { rate: Some(rate), duration, ..closed(OPEN_CALLERS, args.seed) };
        let tally = callers::run(&load, &workload, &wanted)?;
        if let Some(error) = tally.error {
            return Err(Failure::new(error));
        }
        times.fit_arrival(rate, tally.latency.value_at_quantile(0.5) as f64 / 1e9);
        times.check().map_err(Failure::new)?;
        Ok(times)
    }

    /// Chooses [`Self::arrival`] so that a simulated open loop has a measured median, which single disturbances do not move.
    fn fit_arrival(&mut self, rate: f64, median: f64) {
        self.arrival = searched(0.0, self.passes[0].1, |arrival| {
            replica::open(&Self { arrival, ..self.clone() }, rate, 10_000, 1).quantile(0.5) < median
        });
    }

    /// Chooses [`Self::call`] so that a simulated closed loop has a measured rate.
    fn fit_call(&mut self, callers: usize, rate: f64) {
        let [one, most] = [1, MOST].map(|inputs| at(&self.passes, inputs));
        // Not less than half of what an input costs in a batch.
        let low = -0.5 * (most - one).max(0.0) / (MOST - 1) as f64;
        self.call = searched(low, 2.0 * one, |call| {
            replica::closed(&Self { call, ..self.clone() }, callers, 4_000, 1).rate > rate
        });
    }

    pub fn read(path: &std::path::Path) -> Outcome<Self> {
        let named = |what: String| Failure::new(format!("{}: {what}", path.display()));
        let bytes = std::fs::read(path).map_err(|e| named(e.to_string()))?;
        let times: Self = serde_json::from_slice(&bytes).map_err(|e| named(format!("not a file of times: {e}")))?;
        times.check().map_err(named)?;
        Ok(times)
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version: {}, but this program reads version {VERSION}", self.version));
        }
        let sorted = |list: &[(f64, f64)]| list.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let positive = |list: &[(f64, f64)]| list.iter().all(|&(n, time)| n > 0.0 && time.is_finite() && time >= 0.0);
        for (name, list) in [("passes", &self.passes), ("steps", &self.steps), ("idle", &self.idle)] {
            if !sorted(list) || !positive(list) {
                return Err(format!("{name}: numbers of inputs must grow, and seconds must be at least 0"));
            }
        }
        if !self.passes.first().is_some_and(|pass| pass.0 == 1.0 && pass.1 > 0.0) {
            return Err("passes: the first must be that of one input".into());
        }
        if self.output_tokens > 1 && self.steps.is_empty() {
            return Err("steps: missing, but output_tokens is above 1".into());
        }
        let (low, high) = self.input_tokens;
        if low == 0 || low > high {
            return Err(format!("input_tokens: from {low} to {high}"));
        }
        if !(self.capacity > 0.0 && self.capacity.is_finite()) || self.pass_tokens < 0.0 {
            return Err("capacity must be above 0, and pass_tokens at least 0".into());
        }
        if !(0.0..=1.0).contains(&self.fixed) || !self.call.is_finite() || self.arrival.is_nan() || self.arrival < 0.0 {
            return Err("fixed must be from 0 to 1, call a number, and arrival at least 0".into());
        }
        Ok(())
    }

    pub fn write(&self, path: &std::path::Path) -> Outcome<()> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::new)?;
        std::fs::write(path, text + "\n").map_err(|e| Failure::new(format!("{}: {e}", path.display())))
    }

    pub fn mean_tokens(&self) -> f64 {
        (self.input_tokens.0 + self.input_tokens.1) as f64 / 2.0
    }

    /// Seconds of a pass of so many inputs with so many tokens together, by as many calls.
    pub fn pass(&self, inputs: usize, tokens: f64) -> f64 {
        if inputs == 0 {
            return 0.0;
        }
        let share = tokens / (inputs as f64 * self.mean_tokens());
        let time = at(&self.passes, inputs) * (self.fixed + (1.0 - self.fixed) * share);
        time + self.call * (inputs - 1) as f64
    }

    /// What a pass takes longer after so many seconds without work.
    pub fn cold(&self, idle: f64) -> f64 {
        let after = self.idle.partition_point(|point| point.0 < idle);
        let (a, low) = if after == 0 { (0.0, 0.0) } else { self.idle[after - 1] };
        match self.idle.get(after) {
            Some(&(b, high)) => low + (high - low) * (idle - a) / (b - a),
            None => low,
        }
    }

    /// Seconds of a step that continues so many texts.
    pub fn step(&self, inputs: usize) -> f64 {
        if inputs == 0 { 0.0 } else { at(&self.steps, inputs) }
    }
}

/// The value between two at which something stops holding.
fn searched(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// A closed loop of so many callers.
pub fn closed(callers: usize, seed: u64) -> Load {
    Load { callers, rate: None, requests: None, duration: None, calling: Calling::default(), seed }
}

/// The value at a size, on the line between its neighbours, and beyond the last one on the line through the last two.
fn at(points: &[(f64, f64)], size: usize) -> f64 {
    let size = size as f64;
    let Some(&(first, time)) = points.first() else { return 0.0 };
    if points.len() == 1 || size <= first {
        return time * size / first;
    }
    let after = points.partition_point(|point| point.0 < size).clamp(1, points.len() - 1);
    let ((a, low), (b, high)) = (points[after - 1], points[after]);
    // Times that noise made shrink do not go on shrinking.
    low + (high - low).max(if size > b { 0.0 } else { f64::NEG_INFINITY }) * (size - a) / (b - a)
}

/// The mean seconds of batches of 1, 2, 4, … inputs.
fn series(workload: &Workload) -> Outcome<Vec<(f64, f64)>> {
    let sizes = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n <= MOST);
    sizes
        .map(|n| {
            let (mut runs, mut seconds, mut first) = (0, 0.0, 0);
            let start = Instant::now();
            workload.batch(0..n, Calling::default())?;
            // Whole rounds over the inputs, so that each size has the same texts.
            let round = workload.inputs().div_ceil(n);
            while runs < RUNS || runs % round != 0 || start.elapsed() < TIME {
                let begun = Instant::now();
                workload.batch(first..first + n, Calling::default())?;
                seconds += begun.elapsed().as_secs_f64();
                (runs, first) = (runs + 1, (first + n) % workload.inputs());
            }
            Ok((n as f64, seconds / runs as f64))
        })
        .collect()
}

/// The part of an input's time that does not depend on its tokens: by a straight line through the times of single inputs.
fn fixed(workload: &Workload, args: &WorkloadArgs) -> Outcome<f64> {
    if args.input_tokens.0 == args.input_tokens.1 || args.task == Task::Generate {
        return Ok(0.0);
    }
    let mut points = Vec::new();
    for i in 0..workload.inputs() {
        let mut fastest = f64::INFINITY;
        let mut tokens = 0;
        for _ in 0..RUNS {
            let begun = Instant::now();
            tokens = workload.call(i, Calling::default())?.tokens;
            fastest = fastest.min(begun.elapsed().as_secs_f64());
        }
        points.push((tokens as f64, fastest));
    }
    Ok(intercept(&points))
}

/// What single inputs take longer after pauses than without one.
fn idle(workload: &Workload) -> Outcome<Vec<(f64, f64)>> {
    let timed = |input| {
        let begun = Instant::now();
        workload.call(input, Calling::default())?;
        Ok::<_, Failure>(begun.elapsed().as_secs_f64())
    };
    let mut without = vec![0.0; workload.inputs()];
    for _ in 0..RUNS {
        for (input, mean) in without.iter_mut().enumerate() {
            *mean += timed(input)? / RUNS as f64;
        }
    }
    let longer = |&pause: &f64| {
        let (mut runs, mut seconds) = (0, 0.0);
        let start = Instant::now();
        while runs < RUNS || start.elapsed().as_secs_f64() < PAUSED {
            std::thread::sleep(Duration::from_secs_f64(pause));
            let input = runs % without.len();
            seconds += timed(input)? - without[input];
            runs += 1;
        }
        Ok((pause, (seconds / runs as f64).max(0.0)))
    };
    PAUSES.iter().map(longer).collect()
}

/// The value of a line of least squares at 0, as a share of the mean, from 0 to 1.
fn intercept(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let (covariance, variance) = (mean(&|p| (p.0 - x) * (p.1 - y)), mean(&|p| (p.0 - x).powi(2)));
    if variance == 0.0 || y == 0.0 { 0.0 } else { ((y - covariance / variance * x) / y).clamp(0.0, 1.0) }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A replica that takes a millisecond for a text and half of one for each further one.
    pub fn simple(output_tokens: usize) -> Times {
        Times {
            version: VERSION,
            task: if output_tokens > 0 { "generate" } else { "embed" }.into(),
            input_tokens: (10, 10),
            output_tokens,
            precision: "int8".into(),
            threads: 2,
            isa: "avx2".into(),
            capacity: 2000.0,
            pass_tokens: 0.0,
            passes: vec![(1.0, 1e-3), (3.0, 2e-3)],
            steps: if output_tokens > 1 { vec![(1.0, 1e-3), (5.0, 3e-3)] } else { Vec::new() },
            fixed: 0.0,
            idle: Vec::new(),
            arrival: 0.0,
            call: 0.0,
        }
    }

    #[test]
    fn times_lie_on_lines_between_measured_sizes_and_beyond() {
        let times = simple(0);
        for (inputs, expected) in [(0, 0.0), (1, 1e-3), (2, 1.5e-3), (3, 2e-3), (7, 4e-3)] {
            let time = times.pass(inputs, 10.0 * inputs as f64);
            assert!((time - expected).abs() < 1e-12, "{inputs}: {time}");
        }
        // Twice the tokens take twice the time, where nothing is fixed.
        assert!((times.pass(1, 20.0) - 2e-3).abs() < 1e-12);
        let half = Times { fixed: 0.5, ..times };
        assert!((half.pass(1, 20.0) - 1.5e-3).abs() < 1e-12);
    }

    #[test]
    fn the_cost_of_a_call_is_found_from_a_rate() {
        let mut times = Times { call: 2e-4, ..simple(8) };
        let rate = replica::closed(&times, 16, 4_000, 1).rate;
        times.call = 0.0;
        times.fit_call(16, rate);
        assert!((times.call - 2e-4).abs() < 1e-6, "{}", times.call);
    }

    #[test]
    fn the_cost_of_an_arrival_is_found_from_a_median() {
        let mut times = Times { arrival: 1e-4, ..simple(0) };
        let median = replica::open(&times, 1200.0, 10_000, 1).quantile(0.5);
        times.arrival = 0.0;
        assert!(replica::open(&times, 1200.0, 10_000, 1).quantile(0.5) < 0.95 * median);
        times.fit_arrival(1200.0, median);
        assert!((times.arrival - 1e-4).abs() < 1e-5, "{}", times.arrival);
    }

    #[test]
    fn a_pass_after_a_pause_takes_longer() {
        let times = Times { idle: vec![(1e-3, 0.0), (2e-3, 1e-3), (4e-3, 2e-3)], ..simple(0) };
        for (idle, cold) in [(0.0, 0.0), (5e-4, 0.0), (1.5e-3, 5e-4), (3e-3, 1.5e-3), (9.0, 2e-3)] {
            assert!((times.cold(idle) - cold).abs() < 1e-12, "{idle}: {}", times.cold(idle));
        }
        // One call a second: 1 ms, and 2 ms because all is cold.
        let rare = replica::open(&times, 1.0, 1_000, 1);
        assert!((rare.quantile(0.5) - 3e-3).abs() < 1e-4, "{}", rare.quantile(0.5));
        let frequent = replica::closed(&times, 1, 1_000, 1);
        assert!((frequent.mean() - 1e-3).abs() < 1e-6, "{}", frequent.mean());
    }

    #[test]
    fn a_line_through_points_has_its_intercept() {
        let points = [(1.0, 3.0), (2.0, 4.0), (3.0, 5.0)];
        assert!((intercept(&points) - 0.5).abs() < 1e-12);
        assert_eq!(intercept(&[(2.0, 4.0), (2.0, 6.0)]), 0.0);
    }

    #[test]
    fn damaged_files_of_times_are_refused_by_the_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times.json");
        let times = simple(4);
        times.write(&path).ok().unwrap();
        assert_eq!(format!("{:?}", Times::read(&path).ok().unwrap()), format!("{times:?}"));
        for (change, part) in [
            (r#""version": 1"#, r#""version": 9"#),
            (r#""output_tokens": 4"#, r#""output_token": 4"#),
            (r#""fixed": 0.0"#, r#""fixed": 2.0"#),
            (r#""arrival": 0.0"#, r#""arrival": -1.0"#),
        ] {
            let text = serde_json::to_string_pretty(&times).unwrap();
            assert!(text.contains(change), "{text}");
            std::fs::write(&path, text.replace(change, part)).unwrap();
            let message = Times::read(&path).err().unwrap().message();
            let field = part.split('"').nth(1).unwrap();
            assert!(message.contains("times.json") && message.contains(field), "{message}");
        }
        for (broken, field) in [
            (Times { passes: Vec::new(), ..simple(0) }, "passes"),
            (Times { passes: vec![(1.0, -1.0)], ..simple(0) }, "passes"),
            (Times { steps: Vec::new(), ..simple(4) }, "steps"),
            (Times { input_tokens: (0, 4), ..simple(0) }, "input_tokens"),
        ] {
            assert!(broken.check().unwrap_err().contains(field));
        }
    }
}
