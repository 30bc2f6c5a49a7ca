//! What kinglet_generations holds.

use crate::generate::Generations;

/// The outputs of a call, and the reply as JSON if it is a chat's.
pub struct Answers {
    pub(super) generations: Generations,
    pub(super) message: String,
}

impl From<Generations> for Answers {
    fn from(generations: Generations) -> Self {
        Self { generations, message: String::new() }
    }
}
