//! The arguments of functions, filters and methods.

use std::sync::Arc;

use crate::budget::Budget;
use crate::error::{Result, fail, quoted};
use crate::value::{Named, Number, Value};

/// The arguments of a call.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub positional: Vec<Value>,
    pub named: Named,
}

impl Given {
    /// Charges for scanning each text once.
    pub fn scan(&self, budget: &mut Budget) -> Result<()> {
        for value in self.positional.iter().chain(self.named.iter().map(|(_, value)| value)) {
            if let Value::Str(s) = value {
                budget.scan(s.len())?;
            }
        }
        Ok(())
    }

    /// The arguments in the order of `names`, which are the parameters of `callee`.
    pub fn bind<const N: usize>(self, callee: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return fail(format!("`{callee}` takes {N} arguments at most, not {}", self.positional.len()));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|candidate| *candidate == &*name) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => return fail(format!("`{callee}` is given `{name}` twice")),
                None => return fail(format!("`{callee}` has no parameter {}", quoted(&name))),
            }
        }
        Ok(bound)
    }
}

/// An argument that must be a string; absent is the same as None.
pub(crate) fn text_or_none(callee: &str, value: Option<Value>) -> Result<Option<Arc<str>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(s)) => Ok(Some(s)),
        Some(other) => fail(format!("`{callee}` takes a string, not a {}", other.type_name())),
    }
}

pub(crate) fn text(callee: &str, value: Option<Value>) -> Result<Arc<str>> {
    match text_or_none(callee, value)? {
        Some(text) => Ok(text),
        None => fail(format!("`{callee}` lacks a string")),
    }
}

/// An argument that must be a whole number; absent is the same as None.
pub(crate) fn whole(callee: &str, value: Option<Value>) -> Result<Option<i64>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => match value.number() {
            Some(Number::Int(n)) => Ok(Some(n)),
            _ => fail(format!("`{callee}` takes a whole number, not a {}", value.type_name())),
        },
    }
}
