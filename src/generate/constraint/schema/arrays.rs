//! `uniqueItems`, `contains` and `unevaluatedItems`.

use serde_json::{Map, Value, json};

use super::keywords::Types;
use super::{Lowering, Target};

/// The maximum number of arrays that a small set of items is spelled out to.
const MAX_ARRAYS: usize = 128;

impl<'a> Lowering<'a> {
    pub fn unique_items(&mut self, target: &mut Target<'a>, argument: &Value, pointer: &str) -> Result<(), String> {
        let bound = |key: &str| target.original.get(key).and_then(Value::as_u64);
        if argument != &Value::Bool(true)
            || !target.types.meets(Types::ARRAY)
            || bound("maxItems").is_some_and(|n| n < 2)
        {
            return Ok(());
        }
        let plain = !target.original.contains_key("prefixItems") && !target.original.contains_key("contains");
        let values = target.original.get("items").filter(|_| plain).and_then(|items| self.few_values(items));
        let (least, most) = (bound("minItems").unwrap_or(0) as usize, bound("maxItems").unwrap_or(u64::MAX) as usize);
        let arrays = values.and_then(|values| arrangements(&values, least, most));
        match arrays {
            Some(arrays) => {
                let mut condition = json!({ "enum": arrays });
                let others = target.types.without(Types::ARRAY).names();
                if !others.is_empty() {
                    condition = json!({"anyOf": [condition, {"type": others}]});
                }
                // Counted as one: llguidance has one rule for all these arrays.
                target.conjoin(condition);
                // They replace what else is said of the items.
                ["items", "minItems", "maxItems"].into_iter().for_each(|key| _ = target.out.shift_remove(key));
                if others.is_empty() {
                    target.out.shift_remove("type");
                }
            }
            None => self.leave(pointer),
        }
        Ok(())
    }

    /// All values of a schema, if they are few.
    fn few_values(&mut self, schema: &'a Value) -> Option<Vec<Value>> {
        let facts = self.facts(&[schema], None);
        let lists = facts.parts.iter().filter_map(|part| part.get("enum")?.as_array());
        let mut values: Vec<Value> = match lists.min_by_key(|list| list.len()) {
            Some(list) => list.clone(),
            None => match facts.types {
                Types::BOOLEAN => vec![json!(false), json!(true)],
                Types::NULL => vec![Value::Null],
                _ => return None,
            },
        };
        values.retain(|value| self.check.admits(schema, value));
        values.dedup();
        Some(values)
    }

    pub fn contains(&mut self, target: &mut Target<'a>, argument: &Value, pointer: &str) -> Result<(), String> {
        let bound = |key: &str| target.original.get(key).and_then(Value::as_f64);
        let trivial = bound("minContains") == Some(0.0) && bound("maxContains").is_none();
        if target.types.meets(Types::ARRAY) && !trivial {
            if argument == &Value::Bool(true) && bound("maxContains").is_none() && bound("minContains").is_none() {
                target.conjoin(json!({"anyOf": [{"type": "array", "minItems": 1}, {"type": Types::ALL.without(Types::ARRAY).names()}]}));
            } else {
                self.leave(pointer);
            }
        }
        Ok(())
    }

    /// `unevaluatedProperties` and `unevaluatedItems` beside nothing that applies in place are `additionalProperties` and `items`.
    pub fn unevaluated(
        &mut self,
        target: &mut Target<'a>,
        keyword: &str,
        argument: &'a Value,
        pointer: &str,
    ) -> Result<(), String> {
        let (others, same) = match keyword {
            "unevaluatedProperties" => ("additionalProperties", "additionalProperties"),
            _ if target.original.get("items").is_some_and(Value::is_array) => ("additionalItems", "additionalItems"),
            _ => ("items", "items"),
        };
        if argument == &Value::Bool(true) || target.original.contains_key(others) {
            return Ok(());
        }
        let in_place = |object: &Map<String, Value>| {
            let applicators = [
                "$ref",
                "$dynamicRef",
                "$recursiveRef",
                "allOf",
                "anyOf",
                "oneOf",
                "if",
                "dependentSchemas",
                "contains",
            ];
            applicators.iter().any(|key| object.contains_key(*key))
        };
        if in_place(target.original) {
            self.leave(pointer);
        } else {
            let lowered = self.schema(argument, pointer)?;
            target.out.insert(same.into(), lowered);
        }
        Ok(())
    }
}

/// All arrays without repetition of these values, of some lengths, if they are few.
fn arrangements(values: &[Value], least: usize, most: usize) -> Option<Vec<Value>> {
    let (mut all, mut row) = (Vec::new(), vec![Vec::new()]);
    for length in 0..=values.len().min(most) {
        if length >= least {
            all.extend(
                row.iter().map(|array: &Vec<usize>| array.iter().map(|&i| values[i].clone()).collect::<Value>()),
            );
        }
        let longer = |array: &Vec<usize>| {
            let array = array.clone();
            (0..values.len()).filter(|i| !array.contains(i)).map(|i| [&array[..], &[i]].concat()).collect::<Vec<_>>()
        };
        if all.len() > MAX_ARRAYS || row.len() > MAX_ARRAYS {
            return None;
        }
        row = row.iter().flat_map(longer).collect();
    }
    (!all.is_empty() && all.len() <= MAX_ARRAYS).then_some(all)
}
