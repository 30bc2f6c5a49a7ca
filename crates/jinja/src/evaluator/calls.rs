//! Calls of macros and functions. A macro sees its own variables and those around its definition.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Closure, Evaluator, Joiner};
use crate::arguments::{Args, integer, text};
use crate::ast::{Arguments, Expression, Suffix, SuffixKind};
use crate::date;
use crate::error::{Error, ErrorKind, Result, escaped, fail, over_limit, quoted};
use crate::value::{Dict, Function, Named, Value, position_of_name, undefined};

/// The longest `range`, as in Jinja's sandbox.
const MAX_RANGE: i64 = 100_000;
/// How many characters of the message of `raise_exception` are kept.
const MAX_MESSAGE: usize = 300;

impl<'t> Evaluator<'t> {
    pub(super) fn arguments(&mut self, arguments: &'t Arguments) -> Result<Args> {
        let mut args = Args { positional: self.all(&arguments.positional)?, named: Vec::new() };
        for (name, value) in &arguments.named {
            args.named.push((name.clone(), self.evaluate(value)?));
        }
        if let Some(more) = &arguments.more {
            args.positional.append(&mut self.evaluate(more)?.items(&mut self.budget)?);
        }
        if let Some(more) = &arguments.more_named {
            let Value::Dict(dict) = self.evaluate(more)? else { return fail("`**` takes a dictionary") };
            self.budget.allocate_items::<(Value, Value)>(dict.entries.len())?;
            for (name, value) in &dict.entries {
                args.named.push((text("**", Some(name.clone()))?, value.clone()));
            }
        }
        Ok(args)
    }

    /// Evaluates the call of a `call` block, whose last suffix receives `caller`.
    pub(super) fn call_with(&mut self, call: &'t Expression, caller: Value) -> Result<Value> {
        if let Expression::Postfix(operand, suffixes) = call
            && let Some((Suffix { kind: SuffixKind::Call(arguments), .. }, before)) = suffixes.split_last()
        {
            let callee = self.evaluate(operand)?;
            let callee = self.suffixed(callee, before)?;
            return self.call(callee, arguments, Some(caller));
        }
        fail("`call` needs the call of a macro")
    }

    pub(super) fn call(&mut self, callee: Value, arguments: &'t Arguments, caller: Option<Value>) -> Result<Value> {
        let args = self.arguments(arguments)?;
        match callee {
            Value::Macro(index) => self.call_macro(index, args, caller),
            Value::Function(function) => self.call_function(function, args),
            Value::Joiner(index) => {
                args.bind::<0>("joiner", [])?;
                let Some(joiner) = self.joiners.get_mut(index) else { return fail("there is no such joiner") };
                let used = std::mem::replace(&mut joiner.used, true);
                Ok(if used { joiner.separator.clone() } else { Value::str("") })
            }
            Value::Undefined(name) => undefined(name.as_deref()),
            other => fail(format!("{} cannot be called", other.type_name())),
        }
    }

    pub(super) fn closure(&mut self, index: usize) -> Result<Value> {
        let visible = &self.scopes[self.base.min(self.scopes.len())..];
        self.budget.allocate_items::<(Arc<str>, Value)>(visible.iter().map(Vec::len).sum())?;
        self.budget.allocate_items::<Closure>(2)?;
        let seen = visible.concat();
        self.closures.push(Closure { index, seen });
        Ok(Value::Macro(self.closures.len() - 1))
    }

    fn call_macro(&mut self, closure: usize, args: Args, caller: Option<Value>) -> Result<Value> {
        let template = self.template;
        let Closure { index, seen } = &self.closures[closure];
        let callee = &template.macros[*index];
        self.budget.allocate_items::<(Arc<str>, Value)>(seen.len() + callee.parameters.len() + 3)?;
        let seen = seen.clone();
        let mut scope: Named = Vec::with_capacity(callee.parameters.len() + 3);
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        let mut defaults = Vec::new();
        for (name, default) in &callee.parameters {
            let by_name = position_of_name(&named, name, &mut self.budget)?;
            let value = match (positional.next(), by_name) {
                (Some(_), Some(_)) => {
                    return fail(format!("{} has multiple values for {}", quoted(&callee.name), quoted(name)));
                }
                (Some(value), None) => value,
                (None, Some(at)) => named.remove(at).1,
                (None, None) => {
                    if let Some(default) = default {
                        defaults.push((scope.len(), default));
                    }
                    Value::Undefined(Some(name.clone()))
                }
            };
            scope.push((name.clone(), value));
        }
        let more: Vec<Value> = positional.collect();
        if let Some(at) = position_of_name(&named, "caller", &mut self.budget)? {
            scope.push(named.remove(at));
        } else if let Some(caller) = caller {
            scope.push(("caller".into(), caller));
        }
        if !more.is_empty() && !callee.takes_more {
            return fail(format!("{} takes at most {} arguments", quoted(&callee.name), callee.parameters.len()));
        }
        if let Some((name, _)) = named.first().filter(|_| !callee.takes_named) {
            return fail(format!("{} has no parameter {}", quoted(&callee.name), quoted(name)));
        }
        scope.push(("varargs".into(), Value::tuple(more, &mut self.budget)?));
        let named = named.into_iter().map(|(name, value)| (Value::Str(name), value)).collect();
        scope.push(("kwargs".into(), Value::dict(named, &mut self.budget)?));

        let (outer_base, outer_line) = (self.base, self.line);
        self.base = self.scopes.len();
        self.scopes.push(seen);
        self.scopes.push(scope);
        // Defaults are evaluated at each call and may use the parameters before them.
        for (at, default) in defaults {
            let value = self.evaluate(default)?;
            if let Some(scope) = self.scopes.last_mut() {
                scope[at].1 = value;
            }
        }
        let (value, _) = self.captured(Vec::new(), &callee.body)?;
        self.scopes.truncate(self.base);
        (self.base, self.line) = (outer_base, outer_line);
        Ok(value)
    }

    fn call_function(&mut self, function: Function, args: Args) -> Result<Value> {
        match function {
            Function::Range => self.range(args),
            Function::Dict => Ok(Value::Dict(Arc::new(self.dict_of(args)?))),
            Function::Joiner => {
                let [separator] = args.bind("joiner", ["sep"])?;
                self.budget.allocate_items::<Joiner>(2)?;
                self.joiners.push(Joiner { separator: separator.unwrap_or_else(|| Value::str(", ")), used: false });
                Ok(Value::Joiner(self.joiners.len() - 1))
            }
            Function::Namespace => {
                let dict = self.dict_of(args)?;
                self.budget.allocate_items::<Named>(2)?;
                let entries = dict.entries.into_iter();
                let namespace = entries.map(|(name, value)| Ok((text("namespace", Some(name))?, value)));
                self.namespaces.push(namespace.collect::<Result<_>>()?);
                Ok(Value::Namespace(self.namespaces.len() - 1))
            }
            Function::RaiseException => {
                let [message] = args.bind("raise_exception", ["message"])?;
                let Some(message) = message else { return fail("`raise_exception` needs a message") };
                let text = message.to_text(&mut self.budget)?;
                let message = format!("the template rejects the messages: {}", escaped(&text, MAX_MESSAGE));
                Err(Error::new(ErrorKind::Raised, message))
            }
            Function::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"])?;
                let format = text("strftime_now", format)?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
                Ok(Value::str(date::strftime(&format, now, &mut self.budget)?))
            }
        }
    }

    fn dict_of(&mut self, args: Args) -> Result<Dict> {
        let Args { positional, named } = args;
        let mut pairs = match &positional[..] {
            [] => Vec::new(),
            [Value::Dict(dict)] => {
                self.budget.allocate_items::<(Value, Value)>(dict.entries.len())?;
                dict.entries.clone()
            }
            [list] => {
                let mut pairs = Vec::new();
                for pair in list.items(&mut self.budget)? {
                    self.budget.allocate_items::<(Value, Value)>(2)?;
                    let [key, value] = &pair.items(&mut self.budget)?[..] else {
                        return fail("`dict` takes a list of pairs");
                    };
                    pairs.push((key.clone(), value.clone()));
                }
                pairs
            }
            _ => return fail("`dict` takes at most one dictionary"),
        };
        pairs.extend(named.into_iter().map(|(name, value)| (Value::Str(name), value)));
        Dict::new(pairs, &mut self.budget)
    }

    fn range(&mut self, args: Args) -> Result<Value> {
        let [a, b, step] = args.bind("range", ["start", "stop", "step"])?;
        let [a, b, step] = [integer("range", a)?, integer("range", b)?, integer("range", step)?];
        let (start, stop) = match (a, b) {
            (Some(stop), None) => (0, stop),
            (Some(start), Some(stop)) => (start, stop),
            (None, _) => return fail("`range` needs a stop value"),
        };
        let step = step.unwrap_or(1);
        if step == 0 {
            return fail("the step of `range` is zero");
        }
        let [start, stop, step] = [start, stop, step].map(i128::from);
        let distance = if step > 0 { stop - start } else { start - stop };
        let count = if distance > 0 { (distance - 1) / step.abs() + 1 } else { 0 };
        if count > i128::from(MAX_RANGE) {
            return over_limit(format!("`range` has {count} numbers, at most {MAX_RANGE} are allowed"));
        }
        Value::list((0..count as usize).map(|i| Value::Int((start + i as i128 * step) as i64)), &mut self.budget)
    }
}
