//! The arguments of functions, filters and methods.

use std::sync::Arc;

use crate::budget::Budget;
use crate::error::{Result, fail, quoted};
use crate::value::{Named, Number, Value};

/// The arguments of a call.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub positional: Vec<Value>,
    pub named: Named,
}

impl Args {
    /// Charges for scanning each string once.
    pub fn scan(&self, budget: &mut Budget) -> Result<()> {
        for value in self.positional.iter().chain(self.named.iter().map(|(_, value)| value)) {
            if let Value::Str(s) = value {
                budget.scan(s.len())?;
            }
        }
        Ok(())
    }

    /// The arguments of a callee that takes none by name.
    pub fn only_positional(self) -> Result<Vec<Value>> {
        match self.named.first() {
            Some((name, _)) => fail(format!("there is no parameter {}", quoted(name))),
            None => Ok(self.positional),
        }
    }

    /// The arguments in the order of `names`, the parameters of `callee`.
    pub fn bind<const N: usize>(self, callee: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return fail(format!("`{callee}` takes at most {N} arguments, not {}", self.positional.len()));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|candidate| *candidate == &*name) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => return fail(format!("`{callee}` has multiple values for `{name}`")),
                None => return fail(format!("`{callee}` has no parameter {}", quoted(&name))),
            }
        }
        Ok(bound)
    }
}

/// An argument that must be a string. A missing argument is the same as None.
pub(crate) fn text_or_none(callee: &str, value: Option<Value>) -> Result<Option<Arc<str>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(s)) => Ok(Some(s)),
        Some(other) => fail(format!("`{callee}` takes a string, not {}", other.type_name())),
    }
}

pub(crate) fn text(callee: &str, value: Option<Value>) -> Result<Arc<str>> {
    match text_or_none(callee, value)? {
        Some(text) => Ok(text),
        None => fail(format!("`{callee}` needs a string")),
    }
}

/// An argument that must be an integer. A missing argument is the same as None.
pub(crate) fn integer(callee: &str, value: Option<Value>) -> Result<Option<i64>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => match value.number() {
            Some(Number::Int(n)) => Ok(Some(n)),
            _ => fail(format!("`{callee}` takes an integer, not {}", value.type_name())),
        },
    }
}

/// An argument that must be an integer. A missing or negative argument is the same as None.
pub(crate) fn size(callee: &str, value: Option<Value>) -> Result<Option<usize>> {
    Ok(integer(callee, value)?.and_then(|n| usize::try_from(n).ok()))
}

/// An argument that is true or false. A missing argument is false.
pub(crate) fn flag(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}

/// The argument for the width of an indentation: a string, or a number of spaces.
pub(crate) fn indentation(callee: &str, width: Option<Value>, budget: &mut Budget) -> Result<Option<Arc<str>>> {
    match width {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(s)) => Ok(Some(s)),
        width => {
            let width = size(callee, width)?.unwrap_or(0);
            budget.allocate(width)?;
            Ok(Some(" ".repeat(width).into()))
        }
    }
}
