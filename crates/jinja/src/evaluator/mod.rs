//! Runs the statements of a template and holds its variables. Everything whose time or size the template decides is charged to
//! the budget first.

use std::sync::Arc;

use crate::ast::*;
use crate::budget::Budget;
use crate::error::{Result, fail, over_limit};
use crate::value::{Function, Named, Value, position_of_name, undefined};

mod calls;
mod expressions;

/// The longest output in bytes.
const MAX_OUTPUT: usize = 16 << 20;

/// How a body ended.
#[derive(PartialEq, Eq)]
enum Flow {
    Normal,
    Break,
    Continue,
}

/// What `joiner` returns: nothing at its first call, then the separator.
struct Joiner {
    separator: Value,
    used: bool,
}

/// A macro, with the variables of the blocks around it at the time of its definition.
struct Closure {
    pub index: usize,
    seen: Named,
}

struct Loop {
    items: Arc<[Value]>,
    at: usize,
    /// The last argument of `loop.changed`.
    last: Option<Value>,
}

pub(super) struct Evaluator<'t> {
    template: &'t Template,
    budget: Budget<'t>,
    /// The line of the statement or suffix that runs, for errors.
    line: u32,
    output: String,
    /// The first scope holds the variables of the caller and of the template's top level.
    scopes: Vec<Named>,
    /// The first scope of the macro that runs. It does not see the scopes between the top level and this one.
    base: usize,
    namespaces: Vec<Named>,
    closures: Vec<Closure>,
    loops: Vec<Loop>,
    joiners: Vec<Joiner>,
}

impl<'t> Evaluator<'t> {
    pub fn new(template: &'t Template, budget: Budget<'t>) -> Self {
        Self {
            template,
            budget,
            line: 1,
            output: String::new(),
            scopes: vec![Vec::new()],
            base: 1,
            namespaces: Vec::new(),
            closures: Vec::new(),
            loops: Vec::new(),
            joiners: Vec::new(),
        }
    }

    pub fn line(&self) -> u32 {
        self.line
    }

    /// Defines a variable at the top level.
    pub fn define(&mut self, name: &str, value: &serde_json::Value) -> Result<()> {
        let value = Value::from_json(value, &mut self.budget)?;
        store(&mut self.scopes[0], name.into(), value, &mut self.budget)
    }

    pub fn run(&mut self) -> Result<String> {
        let template = self.template;
        self.body(&template.body)?;
        Ok(std::mem::take(&mut self.output))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.budget.allocate(text.len())?;
        if self.output.len() + text.len() > MAX_OUTPUT {
            return over_limit(format!("the output is longer than {} MiB", MAX_OUTPUT >> 20));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn body(&mut self, body: &'t [Statement]) -> Result<Flow> {
        self.budget.enter()?;
        for statement in body {
            self.budget.spend(1)?;
            self.line = statement.line;
            let flow = self.statement(&statement.kind)?;
            if flow != Flow::Normal {
                self.budget.leave();
                return Ok(flow);
            }
        }
        self.budget.leave();
        Ok(Flow::Normal)
    }

    /// Runs a body in a scope of its own.
    fn scoped(&mut self, scope: Named, body: &'t [Statement]) -> Result<Flow> {
        self.scopes.push(scope);
        let flow = self.body(body)?;
        self.scopes.pop();
        Ok(flow)
    }

    /// Runs a body and returns its output as a string.
    fn captured(&mut self, scope: Named, body: &'t [Statement]) -> Result<(Value, Flow)> {
        let outer = std::mem::take(&mut self.output);
        let flow = self.scoped(scope, body)?;
        let inner = std::mem::replace(&mut self.output, outer);
        self.budget.allocate(inner.len())?;
        Ok((Value::str(inner), flow))
    }

    fn statement(&mut self, statement: &'t StatementKind) -> Result<Flow> {
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
                if flow != Flow::Normal {
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
        Ok(Flow::Normal)
    }

    fn run_for(&mut self, statement: &'t For) -> Result<Flow> {
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
            // Each iteration has its own scope, so that it does not see what an earlier one has set.
            self.scopes.push(vec![("loop".into(), Value::Loop(index))]);
            self.assign(&statement.target, item.clone())?;
            let flow = self.body(&statement.body)?;
            self.scopes.pop();
            if flow == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        Ok(Flow::Normal)
    }

    fn assign(&mut self, target: &'t Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => self.store(name.clone(), value),
            Target::Attribute(namespace, attribute) => match self.look_up(namespace)? {
                Value::Namespace(index) => {
                    store(&mut self.namespaces[index], attribute.clone(), value, &mut self.budget)
                }
                Value::Undefined(_) => undefined(Some(namespace)),
                other => fail(format!("only attributes of a namespace can be set, not of {}", other.type_name())),
            },
            Target::Tuple(targets) => {
                let items = value.items(&mut self.budget)?;
                if items.len() != targets.len() {
                    return fail(format!("cannot unpack {} values into {} names", items.len(), targets.len()));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item)?;
                }
                Ok(())
            }
        }
    }

    fn store(&mut self, name: Arc<str>, value: Value) -> Result<()> {
        match self.scopes.last_mut() {
            Some(scope) => store(scope, name, value, &mut self.budget),
            None => Ok(()),
        }
    }

    fn look_up(&mut self, name: &Arc<str>) -> Result<Value> {
        let inner = self.scopes[self.base.min(self.scopes.len())..].iter().rev();
        for scope in inner.chain(&self.scopes[..1]) {
            if let Some(at) = position_of_name(scope, name, &mut self.budget)? {
                return Ok(scope[at].1.clone());
            }
        }
        Ok(match &**name {
            "range" => Value::Function(Function::Range),
            "dict" => Value::Function(Function::Dict),
            "joiner" => Value::Function(Function::Joiner),
            "namespace" => Value::Function(Function::Namespace),
            "raise_exception" => Value::Function(Function::RaiseException),
            "strftime_now" => Value::Function(Function::StrftimeNow),
            _ => Value::Undefined(Some(name.clone())),
        })
    }
}

fn store(scope: &mut Named, name: Arc<str>, value: Value, budget: &mut Budget) -> Result<()> {
    match position_of_name(scope, &name, budget)? {
        Some(at) => scope[at].1 = value,
        None => {
            // A vector doubles its capacity as it grows.
            budget.allocate_items::<(Arc<str>, Value)>(2)?;
            scope.push((name, value));
        }
    }
    Ok(())
}
