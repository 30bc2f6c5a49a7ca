//! `kinglet quantize`.

use std::time::Instant;

use crate::args::Quantize;
use crate::failure::Outcome;
use crate::interrupt;
use crate::output;
use crate::progress::Meter;

pub fn run(args: &Quantize) -> Outcome<()> {
    let start = Instant::now();
    let mut bar = Meter::new("quantizing", Some(1000), false);
    // A signal cancels the call, so that the unfinished file is removed.
    interrupt::remember_endings();
    let result = kinglet::quantize(&args.source, &args.destination, args.precision, &mut |share| {
        bar.set((share * 1000.0) as u64);
        !interrupt::ending()
    });
    drop(bar);
    interrupt::end();
    result?;
    let bytes = std::fs::metadata(&args.destination).map_or(0, |m| m.len());
    let (path, precision) = (args.destination.display(), args.precision.name());
    let (size, seconds) = (output::bytes(bytes), start.elapsed().as_secs_f64());
    output::note(&format!("{path}: {size} in {precision}, {seconds:.1} s"));
    Ok(())
}
