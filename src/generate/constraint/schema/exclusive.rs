//! `oneOf`, `not` and `if`: alternatives that exclude each other.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::negation::{Branch, any_of};
use super::references::join;
use super::{Aim, Lowering, MAX_ALTERNATIVES, Target, fault, width};

impl<'a> Lowering<'a> {
    /// Whether no value satisfies two of these schemas, where `context` holds too.
    pub fn all_disjoint(&mut self, schemas: &'a [Value], context: Option<&'a Map<String, Value>>) -> bool {
        let facts: Vec<_> = schemas.iter().map(|schema| self.facts(&[schema], context)).collect();
        (0..facts.len()).all(|j| (0..j).all(|i| self.disjoint(&facts[i], &facts[j], 0)))
    }

    pub fn one_of(&mut self, target: &mut Target<'a>, argument: &'a Value, pointer: &str) -> Result<(), String> {
        let schemas = argument.as_array().ok_or_else(|| fault(pointer, "must be an array of schemas"))?;
        let lowered = self.schemas(argument, pointer)?;
        let facts: Vec<_> = schemas.iter().map(|schema| self.facts(&[schema], Some(target.original))).collect();
        let mut alternatives = Vec::new();
        for (i, alternative) in lowered.iter().enumerate() {
            match self.excluding(alternative, i, schemas, &facts, pointer)? {
                Some(alternative) => alternatives.extend(alternative),
                None => {
                    // Any of them, checked when the text is finished.
                    self.leave(pointer);
                    alternatives = lowered;
                    break;
                }
            }
        }
        if target.out.contains_key("anyOf") || target.original.contains_key("anyOf") {
            target.conjoin(any_of(alternatives));
        } else if alternatives.is_empty() {
            target.conjoin(Value::Bool(false));
        } else {
            target.out.insert("anyOf".into(), Value::Array(alternatives));
        }
        Ok(())
    }

    /// One alternative of a `oneOf` without the values of the others; `Some(None)` if none are left, `None` if that cannot be said.
    #[expect(clippy::option_option, reason = "nothing left is another thing than nothing known")]
    fn excluding(
        &mut self,
        alternative: &Value,
        number: usize,
        schemas: &'a [Value],
        facts: &[Facts<'a>],
        pointer: &str,
    ) -> Result<Option<Option<Value>>, String> {
        let mut all = vec![alternative.clone()];
        let mut alternatives = width(alternative);
        for (j, other) in schemas.iter().enumerate() {
            if j == number || self.disjoint(&facts[number], &facts[j], 0) {
                continue;
            }
            let pointer = join(pointer, &j.to_string());
            let negation = self.negation(other, &pointer, &facts[number].names(), 0)?;
            let exact = negation.exact;
            let negation = negation.within(&facts[number]);
            if negation.branches.is_empty() {
                return Ok(if exact { Some(None) } else { None });
            }
            let negation = negation.schema();
            alternatives = alternatives.saturating_mul(width(&negation));
            all.push(negation);
        }
        if alternatives > MAX_ALTERNATIVES {
            return Ok(None);
        }
        Ok(Some(Some(if all.len() == 1 { all.swap_remove(0) } else { json!({ "allOf": all }) })))
    }

    pub fn not(&mut self, target: &mut Target<'a>, argument: &'a Value, pointer: &str) -> Result<(), String> {
        let facts = self.facts(&[], Some(target.original));
        let negation = self.negation(argument, pointer, &facts.names(), 0)?;
        let exact = negation.exact;
        let negation = negation.within(&facts);
        if !exact && (self.aim == Aim::Check || negation.branches.is_empty()) {
            self.leave(pointer);
            return Ok(());
        }
        // All values of these types will do.
        if negation.branches.iter().any(|branch| is_all(branch, &facts)) {
            return Ok(());
        }
        self.add_condition(target, negation.schema(), pointer);
        Ok(())
    }

    pub fn if_then_else(&mut self, target: &mut Target<'a>, argument: &'a Value, pointer: &str) -> Result<(), String> {
        let beside = |name: &str| target.original.get(name);
        let (then, otherwise) = (beside("then"), beside("else"));
        if then.is_none() && otherwise.is_none() {
            return Ok(());
        }
        let mut branch = |schema: Option<&'a Value>, name: &str| match schema {
            Some(schema) => self.schema(schema, &join(&target.pointer, name)),
            None => Ok(Value::Bool(true)),
        };
        let (then, otherwise) = (branch(then, "then")?, branch(otherwise, "else")?);
        let facts = self.facts(&[], Some(target.original));
        let negation = self.negation(argument, pointer, &BTreeSet::new(), 0)?;
        let exact = negation.exact;
        let negation = negation.within(&facts);
        let mut alternatives = Vec::new();
        let both = self.facts(&[argument], Some(target.original));
        if !self.disjoint(&both, &facts, 0) {
            alternatives.push(json!({"allOf": [self.schema(argument, pointer)?, then]}));
        }
        if !exact && (self.aim == Aim::Check || negation.branches.is_empty()) {
            self.leave(pointer);
            return Ok(());
        }
        if !negation.branches.is_empty() {
            alternatives.push(json!({"allOf": [negation.schema(), otherwise]}));
        }
        self.add_condition(target, any_of(alternatives), pointer);
        Ok(())
    }
}

/// Whether a branch says nothing but types, and has all that are possible.
fn is_all(branch: &Branch, facts: &Facts<'_>) -> bool {
    let only_types = branch.schema.as_object().is_none_or(|schema| schema.keys().all(|key| key == "type"));
    only_types && branch.types.has(facts.types)
}
