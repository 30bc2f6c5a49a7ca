//! Runs a parsed template. Everything that a template can make last or grow goes through the budget.

use std::sync::Arc;

use super::ast::*;
use super::budget::{Budget, Outcome, fault};
use super::filters;
use super::methods;
use super::operators;
use super::value::{Function, Value, compare, equal, undefined};
use crate::formats::quoted;

/// The most text that a rendering may put out.
const MAX_OUTPUT: usize = 16 << 20;
/// Variables of one block. Few enough that a search from the end is the quickest.
pub(super) type Scope = Vec<(Arc<str>, Value)>;

/// What a body ended with.
#[derive(PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

/// A macro with the variables that it sees of the blocks around its definition, as they were then.
pub(super) struct Closure {
    pub index: usize,
    pub seen: Scope,
}

struct Loop {
    items: Arc<[Value]>,
    at: usize,
    /// What `loop.changed` was last given.
    last: Option<Value>,
}

pub(super) struct Evaluator<'t> {
    pub(super) template: &'t Template,
    pub(super) budget: Budget,
    /// The line of what runs, which is where a fault is.
    pub(super) line: u32,
    output: String,
    /// The first scope holds the template's top level and what it was given.
    pub(super) scopes: Vec<Scope>,
    /// The first scope of the macro that runs; those between it and the top level are hidden from it.
    pub(super) base: usize,
    pub(super) namespaces: Vec<Scope>,
    pub(super) closures: Vec<Closure>,
    loops: Vec<Loop>,
}

impl<'t> Evaluator<'t> {
    pub fn new(template: &'t Template) -> Self {
        Self {
            template,
            budget: Budget::new(),
            line: 1,
            output: String::new(),
            scopes: vec![Vec::new()],
            base: 1,
            namespaces: Vec::new(),
            closures: Vec::new(),
            loops: Vec::new(),
        }
    }

    pub fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    pub fn line(&self) -> u32 {
        self.line
    }

    /// Makes a variable of the top level.
    pub fn define(&mut self, name: impl Into<Arc<str>>, value: Value) {
        self.scopes[0].push((name.into(), value));
    }

    pub fn run(&mut self) -> Outcome<String> {
        let template = self.template;
        self.body(&template.body)?;
        Ok(std::mem::take(&mut self.output))
    }

    fn write(&mut self, text: &str) -> Outcome<()> {
        self.budget.allocate(text.len())?;
        if self.output.len() + text.len() > MAX_OUTPUT {
            return fault(format!("the template puts out more than {} MiB", MAX_OUTPUT >> 20));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn body(&mut self, body: &'t [Statement]) -> Outcome<Flow> {
        self.budget.enter()?;
        for statement in body {
            self.budget.spend(1)?;
            self.line = statement.line;
            let flow = self.statement(&statement.kind)?;
            if flow != Flow::On {
                self.budget.leave();
                return Ok(flow);
            }
        }
        self.budget.leave();
        Ok(Flow::On)
    }

    /// [`Evaluator::body`] in a scope of its own.
    fn scoped(&mut self, scope: Scope, body: &'t [Statement]) -> Outcome<Flow> {
        self.scopes.push(scope);
        let flow = self.body(body)?;
        self.scopes.pop();
        Ok(flow)
    }

    /// What a body puts out, as a string.
    pub(super) fn captured(&mut self, scope: Scope, body: &'t [Statement]) -> Outcome<(Value, Flow)> {
        let outer = std::mem::take(&mut self.output);
        let flow = self.scoped(scope, body)?;
        let inner = std::mem::replace(&mut self.output, outer);
        self.budget.allocate(inner.len())?;
        Ok((Value::str(inner), flow))
    }

    fn statement(&mut self, statement: &'t StatementKind) -> Outcome<Flow> {
        match statement {
            StatementKind::Text(text) => self.write(text)?,
            StatementKind::Print(value) => {
                let text = self.evaluate(value)?.to_text(&mut self.budget)?;
                self.write(&text)?;
            }
            StatementKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.evaluate(condition)?.is_true() {
                        return self.body(body);
                    }
                }
                return self.body(otherwise);
            }
            StatementKind::For(statement) => return self.run_for(statement),
            StatementKind::Set { target, value } => {
                let value = self.evaluate(value)?;
                self.assign(target, value)?;
            }
            StatementKind::SetBlock { target, filters, body } => {
                let (value, flow) = self.captured(Vec::new(), body)?;
                if flow != Flow::On {
                    return Ok(flow);
                }
                let value = self.suffixed(value, filters)?;
                self.assign(target, value)?;
            }
            StatementKind::FilterBlock { filters, body } => {
                let (value, flow) = self.captured(Vec::new(), body)?;
                let text = self.suffixed(value, filters)?.to_text(&mut self.budget)?;
                self.write(&text)?;
                return Ok(flow);
            }
            StatementKind::With { bindings, body } => {
                let mut values = Vec::with_capacity(bindings.len());
                for (_, value) in bindings {
                    values.push(self.evaluate(value)?);
                }
                self.scopes.push(Vec::new());
                for ((target, _), value) in bindings.iter().zip(values) {
                    self.assign(target, value)?;
                }
                let flow = self.body(body)?;
                self.scopes.pop();
                return Ok(flow);
            }
            StatementKind::Scope(body) => return self.scoped(Vec::new(), body),
            StatementKind::Macro(index) => {
                let value = self.closure(*index)?;
                self.store(self.template.macros[*index].name.clone(), value)?;
            }
            StatementKind::Call { call, caller } => {
                let caller = self.closure(*caller)?;
                let result = self.call_with(call, caller)?.to_text(&mut self.budget)?;
                self.write(&result)?;
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn run_for(&mut self, statement: &'t For) -> Outcome<Flow> {
        let mut items = self.evaluate(&statement.items)?.items(&mut self.budget)?;
        if let Some(condition) = &statement.condition {
            let mut kept = Vec::new();
            for item in items {
                self.scopes.push(Vec::new());
                self.assign(&statement.target, item.clone())?;
                if self.evaluate(condition)?.is_true() {
                    kept.push(item);
                }
                self.scopes.pop();
            }
            items = kept;
        }
        if items.is_empty() {
            return self.scoped(Vec::new(), &statement.otherwise);
        }
        let index = self.loops.len();
        let items: Arc<[Value]> = items.into();
        self.loops.push(Loop { items: items.clone(), at: 0, last: None });
        for (at, item) in items.iter().enumerate() {
            self.budget.spend(1)?;
            self.loops[index].at = at;
            // Each round has a scope of its own: what one sets, the next does not see.
            self.scopes.push(vec![("loop".into(), Value::Loop(index))]);
            self.assign(&statement.target, item.clone())?;
            let flow = self.body(&statement.body)?;
            self.scopes.pop();
            if flow == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        Ok(Flow::On)
    }

    fn assign(&mut self, target: &'t Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => self.store(name.clone(), value),
            Target::Attribute(namespace, attribute) => match self.look_up(namespace)? {
                Value::Namespace(index) => {
                    store(&mut self.namespaces[index], attribute.clone(), value, &mut self.budget)
                }
                Value::Undefined(_) => undefined(Some(namespace)),
                other => {
                    fault(format!("only a namespace's attributes can be set, not those of a {}", other.type_name()))
                }
            },
            Target::Tuple(targets) => {
                let items = value.items(&mut self.budget)?;
                if items.len() != targets.len() {
                    return fault(format!("{} values do not go into {} names", items.len(), targets.len()));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item)?;
                }
                Ok(())
            }
        }
    }

    fn store(&mut self, name: Arc<str>, value: Value) -> Outcome<()> {
        match self.scopes.last_mut() {
            Some(scope) => store(scope, name, value, &mut self.budget),
            None => Ok(()),
        }
    }

    fn look_up(&mut self, name: &Arc<str>) -> Outcome<Value> {
        let inner = self.scopes[self.base.min(self.scopes.len())..].iter().rev();
        let mut searched = 0;
        for scope in inner.chain(&self.scopes[..1]) {
            searched += scope.len();
            if let Some((_, value)) = scope.iter().find(|(candidate, _)| candidate == name) {
                self.budget.spend(searched / 8)?;
                return Ok(value.clone());
            }
        }
        self.budget.spend(searched / 8)?;
        Ok(match &**name {
            "range" => Value::Function(Function::Range),
            "dict" => Value::Function(Function::Dict),
            "namespace" => Value::Function(Function::Namespace),
            "raise_exception" => Value::Function(Function::RaiseException),
            "strftime_now" => Value::Function(Function::StrftimeNow),
            _ => Value::Undefined(Some(name.clone())),
        })
    }

    pub(super) fn evaluate(&mut self, expression: &'t Expression) -> Outcome<Value> {
        // The commonest leaves need no level of their own.
        match expression {
            Expression::Constant(value) => return Ok(value.clone()),
            Expression::Name(name) => {
                self.budget.spend(1)?;
                return self.look_up(name);
            }
            _ => {}
        }
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

    pub(super) fn all(&mut self, expressions: &'t [Expression]) -> Outcome<Vec<Value>> {
        self.budget.allocate(size_of_val(expressions) / size_of::<Expression>() * size_of::<Value>())?;
        expressions.iter().map(|expression| self.evaluate(expression)).collect()
    }

    fn sequence(&mut self, items: &'t [Expression], tuple: bool) -> Outcome<Value> {
        let items = self.all(items)?;
        Value::sequence(items, tuple, &mut self.budget)
    }

    fn dict(&mut self, entries: &'t [(Expression, Expression)]) -> Outcome<Value> {
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            pairs.push((self.evaluate(key)?, self.evaluate(value)?));
        }
        Value::dict(pairs, &mut self.budget)
    }

    /// `and` and `or`: the first operand that is as wanted, or the last.
    fn first_that_is(&mut self, wanted: bool, operands: &'t [Expression]) -> Outcome<Value> {
        let mut value = Value::None;
        for operand in operands {
            value = self.evaluate(operand)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    /// Operators from left to right. Text that grows by several of them is copied once.
    fn chain(&mut self, first: &'t Expression, rest: &'t [(Operator, Expression)]) -> Outcome<Value> {
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

    fn comparison(&mut self, first: &'t Expression, rest: &'t [(Comparison, Expression)]) -> Outcome<Value> {
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

    pub(super) fn suffixed(&mut self, mut value: Value, suffixes: &'t [Suffix]) -> Outcome<Value> {
        let mut at = 0;
        while let Some(suffix) = suffixes.get(at) {
            self.budget.spend(1)?;
            self.line = suffix.line;
            at += 1;
            value = match &suffix.kind {
                SuffixKind::Attribute(name) => match suffixes.get(at).map(|next| &next.kind) {
                    Some(SuffixKind::Call(arguments)) if methods::exists(&value, name) => {
                        at += 1;
                        let given = self.arguments(arguments)?;
                        self.line = suffix.line;
                        methods::call(&value, name, given, &mut self.budget)?
                    }
                    Some(SuffixKind::Call(arguments)) if matches!(value, Value::Loop(_)) => {
                        at += 1;
                        self.call_of_loop(&value, name, arguments)?
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
                    let given = self.arguments(arguments)?;
                    self.line = suffix.line;
                    filters::apply(name, &value, given, &mut self.budget)?
                }
                SuffixKind::Test { name, arguments, negated } => {
                    let given = self.arguments(arguments)?;
                    let holds = filters::test(name, &value, &given.positional, &mut self.budget)?;
                    Value::Bool(holds != *negated)
                }
            };
        }
        Ok(value)
    }

    fn slice(&mut self, value: &Value, parts: &'t [Option<Expression>; 3]) -> Outcome<Value> {
        let mut bounds = [Value::None, Value::None, Value::None];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            if let Some(part) = part {
                *bound = self.evaluate(part)?;
            }
        }
        operators::slice(value, bounds, &mut self.budget)
    }

    /// `value.name`: a method before a key, unlike `value["name"]`.
    fn attribute(&mut self, value: Value, name: &Arc<str>) -> Outcome<Value> {
        match &value {
            value if methods::exists(value, name) => Ok(Value::Method),
            Value::Dict(dict) => {
                self.budget.spend(dict.entries.len() / 8)?;
                Ok(dict.get(name).cloned().unwrap_or_else(|| Value::Undefined(Some(name.clone()))))
            }
            Value::Undefined(undefined_name) => undefined(undefined_name.as_deref()),
            Value::Namespace(index) => {
                let found = self.namespaces[*index].iter().rev().find(|(candidate, _)| candidate == name);
                Ok(found.map_or_else(|| Value::Undefined(Some(name.clone())), |(_, value)| value.clone()))
            }
            Value::Loop(_) => self.attribute_of_loop(&value, name),
            _ => Ok(Value::Undefined(Some(name.clone()))),
        }
    }

    fn item(&mut self, value: Value, index: Value) -> Outcome<Value> {
        if let Value::Undefined(name) = &value {
            return undefined(name.as_deref());
        }
        if let Some(found) = operators::item(&value, &index, &mut self.budget)? {
            return Ok(found);
        }
        match (&value, index) {
            // Where there is no such key, an attribute of that name will do.
            (_, Value::Str(name)) => match value {
                Value::Dict(_) if !methods::exists(&value, &name) => Ok(Value::Undefined(Some(name))),
                value => self.attribute(value, &name),
            },
            (Value::List(_) | Value::Str(_), Value::Undefined(name)) => undefined(name.as_deref()),
            _ => Ok(Value::Undefined(None)),
        }
    }

    fn attribute_of_loop(&mut self, value: &Value, name: &Arc<str>) -> Outcome<Value> {
        // A loop that a namespace has kept is over.
        let Some(state) = (if let Value::Loop(index) = value { self.loops.get(*index) } else { None }) else {
            return Ok(Value::Undefined(Some(name.clone())));
        };
        let (at, length) = (state.at, state.items.len());
        let number = |n: usize| Value::Int(n as i64);
        let neighbour = |at: Option<usize>| at.and_then(|at| state.items.get(at)).cloned();
        let undefined = || Value::Undefined(Some(name.clone()));
        Ok(match &**name {
            "index" => number(at + 1),
            "index0" => number(at),
            "revindex" => number(length - at),
            "revindex0" => number(length - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == length),
            "length" => number(length),
            // Loops inside loops are not deeper in Jinja's sense; only recursive ones are.
            "depth" => number(1),
            "depth0" => number(0),
            "previtem" => neighbour(at.checked_sub(1)).unwrap_or_else(undefined),
            "nextitem" => neighbour(Some(at + 1)).unwrap_or_else(undefined),
            _ => undefined(),
        })
    }

    fn call_of_loop(&mut self, value: &Value, name: &str, arguments: &'t Arguments) -> Outcome<Value> {
        let given = self.arguments(arguments)?.positional;
        let Some(state) = (if let Value::Loop(index) = value { self.loops.get_mut(*index) } else { None }) else {
            return fault("the loop is over");
        };
        match name {
            "cycle" if !given.is_empty() => Ok(given[state.at % given.len()].clone()),
            "changed" => {
                let now = Value::tuple(given, &mut self.budget)?;
                let changed = match &state.last {
                    Some(last) => !equal(last, &now, &mut self.budget)?,
                    None => true,
                };
                state.last = Some(now);
                Ok(Value::Bool(changed))
            }
            _ => fault(format!("a loop has no method {}", quoted(name))),
        }
    }
}

fn store(scope: &mut Scope, name: Arc<str>, value: Value, budget: &mut Budget) -> Outcome<()> {
    budget.spend(scope.len() / 8)?;
    match scope.iter_mut().find(|(candidate, _)| *candidate == name) {
        Some((_, place)) => *place = value,
        None => {
            budget.allocate(2 * size_of::<(Arc<str>, Value)>())?;
            scope.push((name, value));
        }
    }
    Ok(())
}
