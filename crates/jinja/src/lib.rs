#![doc = include_str!("../README.md")]

use std::sync::atomic::AtomicBool;

use serde_json::Value as Json;

mod arguments;
mod ast;
mod budget;
mod date;
mod error;
mod evaluator;
mod filters;
mod json;
mod lexer;
#[cfg(test)]
mod metering;
mod methods;
mod operators;
mod parser;
mod predicates;
mod strings;
#[cfg(test)]
mod tests;
mod value;

pub use budget::Limits;
#[doc(hidden)]
pub use error::quoted;
pub use error::{Error, ErrorKind, Result};

/// The longest source in bytes. Published templates have up to 20 KiB.
const MAX_SOURCE: usize = 256 << 10;

/// A chat template, parsed and ready to be rendered any number of times, from any number of threads.
#[derive(Debug)]
pub struct Template(ast::Template);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// `Template`: the source has a syntax error. `Limit`: it is longer than 256 KiB or nests too deep.
    pub fn parse(source: &str) -> Result<Self> {
        if source.len() > MAX_SOURCE {
            return error::over_limit(format!(
                "the chat template has {} bytes, and at most {MAX_SOURCE} are accepted",
                source.len()
            ));
        }
        let source = lexer::normalized(source);
        let mut lexer = lexer::Lexer::new(&source);
        let tokens = lexer.run().map_err(|error| error.at_line(lexer.line))?;
        let mut parser = parser::Parser::new(tokens);
        parser.run().map(Self).map_err(|error| error.at_line(parser.line()))
    }

    /// Renders the template with these variables. Another thread cancels the rendering by setting `cancelled`.
    ///
    /// # Errors
    /// `Template`: the template fails, or uses an undefined value. `Limit`: it exceeds `limits` or nests too deep. `Raised`:
    /// it rejects the variables by `raise_exception`. `Cancelled`.
    pub fn render(&self, variables: &[(&str, Json)], limits: Limits, cancelled: Option<&AtomicBool>) -> Result<String> {
        let mut evaluator = evaluator::Evaluator::new(&self.0, budget::Budget::new(limits, cancelled));
        let defined = variables.iter().try_for_each(|(name, value)| evaluator.define(name, value));
        let result = defined.and_then(|()| evaluator.run());
        result.map_err(|error| error.at_line(evaluator.line()))
    }
}
