//! An interpreter for Jinja templates, the language of chat templates, as Transformers sets it up.
//!
//! Templates come with models and are untrusted. The existing engines limit the number of instructions and not the bytes: a
//! string that doubles forty times takes the host program down. This one charges all work and memory to a budget before it
//! is done ([`Limits`]), limits nesting, and can be cancelled.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result, Status};

mod arguments;
mod ast;
mod budget;
mod date;
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
use budget::{Budget, Cause, Fault};

/// The longest source in bytes. Published templates have up to 20 KiB.
const MAX_SOURCE: usize = 256 << 10;

/// A chat template, parsed and ready to be rendered any number of times, from any number of threads.
#[derive(Debug)]
pub struct Template {
    parsed: ast::Template,
    origin: PathBuf,
}

impl Template {
    /// Parses `source`. `origin` is the file that errors name.
    ///
    /// # Errors
    /// `InvalidFile`: the source is too long or has an error in its syntax.
    pub fn parse(source: &str, origin: &Path) -> Result<Self> {
        if source.len() > MAX_SOURCE {
            let what = format!("the chat template has {} bytes, and at most {MAX_SOURCE} are accepted", source.len());
            return Err(Error::invalid_file(origin, what));
        }
        let source = lexer::normalized(source);
        let mut lexer = lexer::Lexer::new(&source);
        let tokens = lexer.run().map_err(|fault| error(origin, lexer.line, &fault))?;
        let mut parser = parser::Parser::new(tokens);
        let parsed = parser.run().map_err(|fault| error(origin, parser.line(), &fault))?;
        Ok(Self { parsed, origin: origin.to_owned() })
    }

    /// Renders the template with these variables.
    ///
    /// # Errors
    /// `InvalidArgument`: the template refuses the variables by `raise_exception`. `InvalidFile`: the template fails, uses
    /// undefined values, or exceeds the limits. `Cancelled`.
    pub fn render(
        &self,
        variables: &[(&str, Json)],
        limits: Limits,
        cancellation: Option<&Cancellation>,
    ) -> Result<String> {
        let mut evaluator = evaluator::Evaluator::new(&self.parsed, Budget::new(limits, cancellation));
        let defined = variables.iter().try_for_each(|(name, value)| evaluator.define(name, value));
        let result = defined.and_then(|()| evaluator.run());
        result.map_err(|fault| error(&self.origin, evaluator.line(), &fault))
    }
}

fn error(origin: &Path, line: u32, fault: &Fault) -> Error {
    let place = origin.display();
    match fault.cause {
        Cause::Template => Error::invalid_file(origin, format!("chat template, line {line}: {}", fault.message)),
        Cause::Messages => Error::new(
            Status::InvalidArgument,
            format!("{place}: the chat template, line {line}, refuses the messages: {}", fault.message),
        ),
        Cause::Cancelled => Error::cancelled(),
    }
}
