//! How much work and memory compiling a grammar may take. Work is counted in steps of llguidance and not in seconds, so that a grammar is
//! accepted or refused alike on every machine.

use llguidance::api::ParserLimits;

/// The budgets of a grammar's compilation. Each phase has its share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrammarLimits {
    /// Steps of llguidance's lexer, of which a core does some hundred thousand to a million in a second.
    pub work: u64,
    /// Bytes.
    pub memory: u64,
}

impl Default for GrammarLimits {
    fn default() -> Self {
        Self { work: 1_000_000, memory: 256 << 20 }
    }
}

/// As many as a part of the budget pays for.
fn share(budget: u64, cost: f64) -> usize {
    (budget as f64 / cost) as usize
}

impl GrammarLimits {
    /// The limits of llguidance, in its own units. A mask's share of the work is a fifth of a compilation's.
    pub(super) fn parser(self) -> ParserLimits {
        ParserLimits {
            max_items_in_row: share(self.work, 500.0).max(1),
            initial_lexer_fuel: self.work,
            step_lexer_fuel: self.work / 5,
            step_max_items: share(self.work, 20.0).max(1),
            // A state takes one or two KiB, and with its transitions up to five.
            max_lexer_states: share(self.memory, 5368.0),
            max_grammar_size: share(self.memory, 1073.0),
            precompute_large_lexemes: true,
            verbose_errors: false,
        }
    }

    /// The maximum number of combinations in one step of an intersection; 2^18 take about a quarter of a second and 30 MB.
    pub(super) fn combinations(self) -> f64 {
        f64::min(self.work as f64 / 1e6, self.memory as f64 / (256 << 20) as f64) * (1u32 << 18) as f64
    }

    /// The maximum number of subschemas looked at; schemas of 256 KB without nested intersections stay far below the default.
    pub(super) fn visits(self) -> usize {
        share(self.work, 5.0)
    }

    /// The maximum of the sum, over a schema's objects, of the squared number of properties, to which the compile time is proportional:
    /// 2,000 properties in one object take half a second.
    pub(super) fn properties_squared(self) -> usize {
        share(self.work, 0.25)
    }

    /// The maximum number of Unicode classes (`\w`, `\p{…}` and the like) in a source: each takes 7 KB and some 15 µs.
    pub(super) fn unicode_classes(self) -> usize {
        share(self.memory, 26_843.0).min(share(self.work, 100.0))
    }
}
