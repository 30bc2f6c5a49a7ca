//! `kinglet devices`.

use kinglet::DevicesOptions;
use serde_json::json;

use crate::args::Devices;
use crate::failure::Outcome;
use crate::output::{OneLine, Output, bytes};

pub fn run(args: &Devices) -> Outcome<()> {
    let found = kinglet::devices(&DevicesOptions { open_libraries: !args.no_open_libraries });
    let mut out = Output::new();
    if args.json {
        let devices: Vec<_> = (found.devices.iter())
            .map(|info| {
                json!({
                    "device": info.device.name(), "index": info.index, "name": info.name,
                    "memory_total": info.memory_total, "memory_free": info.memory_free,
                })
            })
            .collect();
        out.json(&json!({ "devices": devices, "missing": found.missing }))?;
        return out.flush();
    }
    out.line(format_args!("{:<12}{:>5}{:>11}{:>11}  name", "device", "index", "memory", "free"))?;
    for info in &found.devices {
        let size = |size: u64| if size == 0 { "-".to_string() } else { bytes(size) };
        let (device, total, free) = (info.device.name(), size(info.memory_total), size(info.memory_free));
        out.line(format_args!("{device:<12}{:>5}{total:>11}{free:>11}  {}", info.index, OneLine(&info.name)))?;
    }
    for missing in &found.missing {
        out.line(format_args!("\nnot available: {}", OneLine(missing)))?;
    }
    out.flush()
}
