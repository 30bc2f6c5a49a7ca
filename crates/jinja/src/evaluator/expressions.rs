//! Evaluates expressions: operators, and the attributes, items, calls, filters and tests that follow a value.

use std::sync::Arc;

use super::Evaluator;
use crate::ast::*;
use crate::error::{Result, fail, quoted};
use crate::value::{Value, compare, equal, position_of_name, undefined};
use crate::{filters, methods, operators, predicates};

impl<'t> Evaluator<'t> {
    pub(super) fn evaluate(&mut self, expression: &'t Expression) -> Result<Value> {
        self.budget.enter()?;
        let value = match expression {
            Expression::Constant(value) => Ok(value.clone()),
            Expression::Name(name) => self.look_up(name),
            Expression::Not(operand) => self.evaluate(operand).map(|value| Value::Bool(!value.is_true())),
            Expression::Negative(operand) => {
                let value = self.evaluate(operand)?;
                operators::negative(&value)
            }
            Expression::Positive(operand) => {
                let value = self.evaluate(operand)?;
                operators::arithmetic(Operator::Add, &Value::Int(0), &value, &mut self.budget)
            }
            Expression::Arithmetic(first, rest) => self.chain(first, rest),
            Expression::Comparison(first, rest) => self.comparison(first, rest),
            Expression::And(operands) => self.first_that_is(false, operands),
            Expression::Or(operands) => self.first_that_is(true, operands),
            Expression::Conditional(conditional) => {
                if self.evaluate(&conditional.condition)?.is_true() {
                    self.evaluate(&conditional.then)
                } else {
                    conditional.otherwise.as_ref().map_or(Ok(Value::Undefined(None)), |value| self.evaluate(value))
                }
            }
            Expression::Postfix(operand, suffixes) => {
                let value = self.evaluate(operand)?;
                self.suffixed(value, suffixes)
            }
            Expression::List(items) => self.sequence(items, false),
            Expression::Tuple(items) => self.sequence(items, true),
            Expression::Dict(entries) => self.dict(entries),
        }?;
        self.budget.leave();
        Ok(value)
    }

    pub(super) fn all(&mut self, expressions: &'t [Expression]) -> Result<Vec<Value>> {
        self.budget.allocate_items::<Value>(expressions.len())?;
        expressions.iter().map(|expression| self.evaluate(expression)).collect()
    }

    fn sequence(&mut self, items: &'t [Expression], tuple: bool) -> Result<Value> {
        let items = self.all(items)?;
        Value::sequence(items, tuple, &mut self.budget)
    }

    fn dict(&mut self, entries: &'t [(Expression, Expression)]) -> Result<Value> {
        self.budget.allocate_items::<(Value, Value)>(entries.len())?;
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            pairs.push((self.evaluate(key)?, self.evaluate(value)?));
        }
        Value::dict(pairs, &mut self.budget)
    }

    /// `and` and `or`: the first operand whose truth value is `wanted`, otherwise the last operand.
    fn first_that_is(&mut self, wanted: bool, operands: &'t [Expression]) -> Result<Value> {
        let mut value = Value::None;
        for operand in operands {
            value = self.evaluate(operand)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    /// Applies operators from left to right. A string to which several operators append is copied once.
    fn chain(&mut self, first: &'t Expression, rest: &'t [(Operator, Expression)]) -> Result<Value> {
        let mut value = self.evaluate(first)?;
        let mut growing: Option<String> = None;
        for (operator, operand) in rest {
            let operand = self.evaluate(operand)?;
            let text = match (*operator, &operand) {
                (Operator::Concatenate, operand) => Some(operand.to_text(&mut self.budget)?),
                (Operator::Add, Value::Str(s)) if growing.is_some() || matches!(value, Value::Str(_)) => {
                    Some(s.clone())
                }
                _ => None,
            };
            if let Some(text) = text {
                if growing.is_none() {
                    let start = value.to_text(&mut self.budget)?;
                    self.budget.allocate(start.len())?;
                    growing = Some(String::from(&*start));
                }
                if let Some(growing) = &mut growing {
                    self.budget.allocate(text.len())?;
                    growing.push_str(&text);
                }
                continue;
            }
            if let Some(text) = growing.take() {
                self.budget.allocate(text.len())?;
                value = Value::str(text);
            }
            value = operators::arithmetic(*operator, &value, &operand, &mut self.budget)?;
        }
        match growing {
            Some(text) => {
                self.budget.allocate(text.len())?;
                Ok(Value::str(text))
            }
            None => Ok(value),
        }
    }

    fn comparison(&mut self, first: &'t Expression, rest: &'t [(Comparison, Expression)]) -> Result<Value> {
        let mut left = self.evaluate(first)?;
        for (comparison, operand) in rest {
            let right = self.evaluate(operand)?;
            let budget = &mut self.budget;
            let mut ordered = |wanted: fn(std::cmp::Ordering) -> bool| {
                compare(&left, &right, budget).map(|order| order.is_some_and(wanted))
            };
            let holds = match comparison {
                Comparison::Equal => equal(&left, &right, budget)?,
                Comparison::NotEqual => !equal(&left, &right, budget)?,
                Comparison::Less => ordered(|order| order.is_lt())?,
                Comparison::LessOrEqual => ordered(|order| order.is_le())?,
                Comparison::Greater => ordered(|order| order.is_gt())?,
                Comparison::GreaterOrEqual => ordered(|order| order.is_ge())?,
                Comparison::In => operators::contains(&right, &left, budget)?,
                Comparison::NotIn => !operators::contains(&right, &left, budget)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    pub(super) fn suffixed(&mut self, mut value: Value, suffixes: &'t [Suffix]) -> Result<Value> {
        let mut at = 0;
        while let Some(suffix) = suffixes.get(at) {
            self.budget.spend(1)?;
            self.line = suffix.line;
            at += 1;
            value = match &suffix.kind {
                SuffixKind::Attribute(name) => match (suffixes.get(at).map(|next| &next.kind), &value) {
                    (Some(SuffixKind::Call(arguments)), value) if methods::exists(value, name) => {
                        at += 1;
                        let args = self.arguments(arguments)?;
                        self.line = suffix.line;
                        methods::call(value, name, args, &mut self.budget)?
                    }
                    (Some(SuffixKind::Call(arguments)), &Value::Loop(index)) => {
                        at += 1;
                        self.call_of_loop(index, name, arguments)?
                    }
                    _ => self.attribute(value, name)?,
                },
                SuffixKind::Item(index) => {
                    let index = self.evaluate(index)?;
                    self.item(value, index)?
                }
                SuffixKind::Slice(parts) => self.slice(&value, parts)?,
                SuffixKind::Call(arguments) => self.call(value, arguments, None)?,
                SuffixKind::Filter(name, arguments) => {
                    let args = self.arguments(arguments)?;
                    self.line = suffix.line;
                    filters::apply(name, &value, args, &mut self.budget)?
                }
                SuffixKind::Test { name, arguments, negated } => {
                    let args = self.arguments(arguments)?.only_positional()?;
                    let holds = predicates::holds(name, &value, &args, &mut self.budget)?;
                    Value::Bool(holds != *negated)
                }
            };
        }
        Ok(value)
    }

    fn slice(&mut self, value: &Value, parts: &'t [Option<Expression>; 3]) -> Result<Value> {
        let mut bounds = [Value::None, Value::None, Value::None];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            if let Some(part) = part {
                *bound = self.evaluate(part)?;
            }
        }
        operators::slice(value, bounds, &mut self.budget)
    }

    /// `value.name`. A method takes precedence over a key, unlike in `value["name"]`.
    fn attribute(&mut self, value: Value, name: &Arc<str>) -> Result<Value> {
        match &value {
            value if methods::exists(value, name) => Ok(Value::Method),
            Value::Dict(dict) => {
                let found = dict.get(&Value::Str(name.clone()), &mut self.budget)?.cloned();
                Ok(found.unwrap_or_else(|| Value::Undefined(Some(name.clone()))))
            }
            Value::Undefined(undefined_name) => undefined(undefined_name.as_deref()),
            Value::Namespace(index) => {
                let namespace = &self.namespaces[*index];
                let found = position_of_name(namespace, name, &mut self.budget)?;
                Ok(found.map_or_else(|| Value::Undefined(Some(name.clone())), |at| namespace[at].1.clone()))
            }
            Value::Loop(index) => Ok(self.attribute_of_loop(*index, name)),
            _ => Ok(Value::Undefined(Some(name.clone()))),
        }
    }

    fn item(&mut self, value: Value, index: Value) -> Result<Value> {
        if let Value::Undefined(name) = &value {
            return undefined(name.as_deref());
        }
        if let Some(found) = operators::item(&value, &index, &mut self.budget)? {
            return Ok(found);
        }
        match (&value, index) {
            // If there is no such key, an attribute of that name counts.
            (_, Value::Str(name)) => match value {
                Value::Dict(_) if !methods::exists(&value, &name) => Ok(Value::Undefined(Some(name))),
                value => self.attribute(value, &name),
            },
            (Value::List(_) | Value::Str(_), Value::Undefined(name)) => undefined(name.as_deref()),
            _ => Ok(Value::Undefined(None)),
        }
    }

    fn attribute_of_loop(&self, index: usize, name: &Arc<str>) -> Value {
        let undefined = || Value::Undefined(Some(name.clone()));
        // A loop that was stored in a namespace may have ended.
        let Some(state) = self.loops.get(index) else { return undefined() };
        let (at, length) = (state.at, state.items.len());
        let number = |n: usize| Value::Int(n as i64);
        let item = |at: usize| state.items.get(at).cloned().unwrap_or_else(undefined);
        match &**name {
            "index" => number(at + 1),
            "index0" => number(at),
            "revindex" => number(length - at),
            "revindex0" => number(length - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == length),
            "length" => number(length),
            // In Jinja only recursive loops increase the depth.
            "depth" => number(1),
            "depth0" => number(0),
            "previtem" => item(at.wrapping_sub(1)),
            "nextitem" => item(at + 1),
            _ => undefined(),
        }
    }

    fn call_of_loop(&mut self, index: usize, name: &str, arguments: &'t Arguments) -> Result<Value> {
        let args = self.arguments(arguments)?.only_positional()?;
        let Some(state) = self.loops.get_mut(index) else { return fail("the loop has ended") };
        match name {
            "cycle" if !args.is_empty() => Ok(args[state.at % args.len()].clone()),
            "changed" => {
                let now = Value::tuple(args, &mut self.budget)?;
                let changed = match &state.last {
                    Some(last) => !equal(last, &now, &mut self.budget)?,
                    None => true,
                };
                state.last = Some(now);
                Ok(Value::Bool(changed))
            }
            _ => fail(format!("`loop` has no method {}", quoted(name))),
        }
    }
}
