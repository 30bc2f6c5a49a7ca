//! Slow-downs on purpose, which test that comparisons find them. Only builds with the feature `bench-delay` have them.

use std::time::Instant;

#[cfg(feature = "bench-delay")]
use crate::failure::Failure;
use crate::failure::Outcome;

#[cfg(feature = "bench-delay")]
const VARIABLE: &str = "KINGLET_BENCH_DELAY";

/// The share of its own time by which each measured call becomes longer.
pub struct Delay(f64);

impl Delay {
    #[cfg(not(feature = "bench-delay"))]
    pub fn read() -> Outcome<Self> {
        Ok(Self(0.0))
    }

    #[cfg(feature = "bench-delay")]
    pub fn read() -> Outcome<Self> {
        match std::env::var_os(VARIABLE) {
            Some(text) => Self::parse(&text.to_string_lossy()),
            None => Ok(Self(0.0)),
        }
    }

    /// A percentage, as `20%`.
    #[cfg(feature = "bench-delay")]
    fn parse(text: &str) -> Outcome<Self> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match percent.filter(|percent| (0.0..=1000.0).contains(percent)) {
            Some(percent) => Ok(Self(percent / 100.0)),
            None => Err(Failure::new(format!("{VARIABLE}: {text:?} is no percentage from 0% to 1000%"))),
        }
    }

    /// Works on for the share of the time since `start`.
    pub fn follow(&self, start: Instant) {
        if self.0 > 0.0 {
            let end = start.elapsed().mul_f64(1.0 + self.0);
            while start.elapsed() < end {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(all(test, feature = "bench-delay"))]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!(Delay::parse("20%").ok().unwrap().0, 0.2);
        for wrong in ["20", "%", "-1%", "x%", "NaN%"] {
            assert!(Delay::parse(wrong).err().unwrap().message().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_call_becomes_longer() {
        let start = Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let before = start.elapsed();
        Delay(1.0).follow(start);
        assert!(start.elapsed() >= 2 * before);
    }
}
