//! Tests that every operation is charged for its work. Each one is repeated with large arguments until its budget is used up.
//! An operation that is charged ends within a fraction of a second. One that is not would take minutes to days; a watchdog with
//! a wide margin names it. What it allocates is counted, and is a small multiple of what it is charged for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::json;

use crate::arguments::Args;
use crate::ast::Operator;
use crate::budget::{Budget, Limits};
use crate::error::{ErrorKind, Result};
use crate::value::{Value, compare, equal};
use crate::{Template, filters, methods, operators, predicates};

/// The length of the large strings. Without a charge, the budget allows 60,000 scans of one, which take minutes. With a charge
/// they take 10 ms.
const LENGTH: usize = 2 << 20;
const LIMITS: Limits = Limits { steps: 60_000, bytes: 256 << 20 };
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs `cases` on a thread of its own, which sends the name of each case before it runs it.
fn watched(cases: impl FnOnce(&Sender<String>) + Send + 'static) {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || cases(&sender));
    let mut case = String::new();
    loop {
        match receiver.recv_timeout(WATCHDOG) {
            Ok(next) => case = next,
            Err(RecvTimeoutError::Timeout) => panic!("{case} is not charged for its work"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(thread.join().is_ok(), "{case}");
}

thread_local! {
    /// The bytes that this thread has allocated.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does everything. The cell has no destructor and is not made on the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + size.saturating_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Bytes allocated for a byte that is charged: a string is built, and copied to where it is shared; a vector that grows has room for
/// as many items again.
const PER_BYTE: usize = 4;
/// Bytes allocated by an operation beside those: arguments, an error.
const PER_OPERATION: usize = 4 << 10;

/// Repeats an operation until it fails, at the latest when the budget is used up.
fn exhaust(operation: impl Fn(&mut Budget) -> Result<()>) {
    let mut budget = Budget::new(LIMITS, None);
    let (before, mut operations) = (ALLOCATED.get(), 1);
    while budget.spend(1).and_then(|()| operation(&mut budget)).is_ok() {
        operations += 1;
    }
    let (allocated, charged) = (ALLOCATED.get() - before, budget.allocated());
    let most = PER_BYTE * charged + PER_OPERATION * operations;
    assert!(allocated <= most, "{operations} operations allocated {allocated} bytes; they were charged for {charged}");
}

/// Values that are expensive to visit.
struct Large {
    values: Vec<(&'static str, Value)>,
}

impl Large {
    fn new() -> Self {
        let unlimited = &mut Budget::new(Limits { steps: usize::MAX, bytes: usize::MAX }, None);
        let ending = |end: &str| Value::str("a".repeat(LENGTH - end.len()) + end);
        let keys = (0..10).map(|i| (ending(&i.to_string()), Value::Int(i))).collect();
        let many = || std::iter::repeat_n(ending("b"), 1_000_000);
        let path = Value::str("0".repeat(LENGTH));
        let nested = Value::list([Value::Int(1)], unlimited).unwrap();
        let values = vec![
            ("text", ending("a")),
            ("almost", ending("b")),
            ("needle", Value::str("b".repeat(LENGTH))),
            ("blanks", Value::str(" ".repeat(LENGTH))),
            ("braces", Value::str("{x}%s".repeat(LENGTH / 5))),
            ("path", path.clone()),
            ("tuple", Value::tuple(many(), unlimited).unwrap()),
            ("list", Value::list(many(), unlimited).unwrap()),
            ("lists", Value::list(std::iter::repeat_n(nested, 100_000), unlimited).unwrap()),
            ("dict", Value::dict(keys, unlimited).unwrap()),
            ("separators", Value::tuple([path.clone(), path], unlimited).unwrap()),
        ];
        Self { values }
    }

    /// Argument lists with a large value in each, and some without one if the receiver is large.
    fn arguments(&self, receiver_is_large: bool) -> Vec<(String, Vec<Value>)> {
        let small = [("'a'", Value::str("a")), ("5", Value::Int(5)), ("'upper'", Value::str("upper"))];
        let mut lists = Vec::new();
        if receiver_is_large {
            lists.push((String::new(), Vec::new()));
            lists.extend(small.iter().map(|(name, value)| (name.to_string(), vec![value.clone()])));
        }
        for (name, value) in &self.values {
            lists.push((name.to_string(), vec![value.clone()]));
            if matches!(*name, "text" | "needle" | "path") {
                lists.push((format!("{name}, 'a'"), vec![value.clone(), Value::str("a")]));
                lists.push((format!("'a', {name}"), vec![Value::str("a"), value.clone()]));
            }
        }
        lists
    }

    /// All receivers with all argument lists.
    fn cases(&self, mut run: impl FnMut(String, &Value, Vec<Value>)) {
        let small = [("'x'", Value::str("x")), ("1.5", Value::Float(1.5))];
        for (name, value) in small.iter().chain(&self.values) {
            let is_large = self.values.iter().any(|(large, _)| large == name);
            for (arguments, args) in self.arguments(is_large) {
                run(format!("{name} . ({arguments})"), value, args);
            }
        }
    }
}

fn args(positional: &[Value]) -> Args {
    Args { positional: positional.to_vec(), named: Vec::new() }
}

#[test]
fn methods_are_charged() {
    watched(|started| {
        Large::new().cases(|case, value, arguments| {
            for name in [&methods::STRING[..], &methods::LIST, &methods::DICT].concat() {
                if methods::exists(value, name) {
                    started.send(format!("{name}: {case}")).unwrap();
                    exhaust(|budget| methods::call(value, name, args(&arguments), budget).map(drop));
                }
            }
        });
    });
}

#[test]
fn filters_are_charged() {
    watched(|started| {
        let large = Large::new();
        large.cases(|case, value, arguments| {
            for name in filters::NAMES {
                started.send(format!("{name}: {case}")).unwrap();
                exhaust(|budget| filters::apply(name, value, args(&arguments), budget).map(drop));
            }
        });
        let by_attribute = ["join", "map", "max", "min", "sort", "sum", "unique"].map(|filter| (filter, "attribute"));
        let others = [("join", "d"), ("tojson", "indent"), ("tojson", "separators"), ("indent", "width")];
        for (filter, parameter) in by_attribute.into_iter().chain(others) {
            for (receiver, value) in &large.values {
                for (argument, args) in &large.values {
                    started.send(format!("{filter}: {receiver} . ({parameter}={argument})")).unwrap();
                    let named = || vec![(parameter.into(), args.clone())];
                    let arguments = || Args { positional: Vec::new(), named: named() };
                    exhaust(|budget| filters::apply(filter, value, arguments(), budget).map(drop));
                }
            }
        }
    });
}

#[test]
fn predicates_are_charged() {
    watched(|started| {
        Large::new().cases(|case, value, arguments| {
            for name in predicates::NAMES {
                started.send(format!("{name}: {case}")).unwrap();
                exhaust(|budget| predicates::holds(name, value, &arguments, budget).map(drop));
            }
        });
    });
}

#[test]
fn operators_are_charged() {
    use Operator::*;
    watched(|started| {
        Large::new().cases(|case, a, arguments| {
            let [b] = &arguments[..] else { return };
            started.send(case).unwrap();
            for operator in [Add, Subtract, Concatenate, Multiply, Divide, FloorDivide, Modulo, Power] {
                exhaust(|budget| operators::arithmetic(operator, a, b, budget).map(drop));
                exhaust(|budget| operators::arithmetic(operator, b, a, budget).map(drop));
            }
            exhaust(|budget| equal(a, b, budget).map(drop));
            exhaust(|budget| compare(a, b, budget).map(drop));
            exhaust(|budget| operators::contains(a, b, budget).map(drop));
            exhaust(|budget| operators::item(a, b, budget).map(drop));
            exhaust(|budget| operators::item(b, a, budget).map(drop));
            for bounds in [[None, None, Some(-1)], [Some(-2), None, None], [Some(3), Some(1 << 40), Some(1 << 20)]] {
                let bounds = || bounds.map(|bound| bound.map_or(Value::None, Value::Int));
                exhaust(|budget| operators::slice(a, bounds(), budget).map(drop));
            }
            exhaust(|budget| a.to_text(budget).map(drop));
            exhaust(|budget| a.items(budget).map(drop));
        });
    });
}

fn render(source: &str, limits: Limits, cancelled: Option<&AtomicBool>) -> Result<String> {
    Template::parse(source)?.render(&[("x", json!("hello"))], limits, cancelled)
}

/// Templates whose work would take from minutes to years.
#[test]
fn templates_are_charged() {
    let nested = |inner: &str| {
        format!("{{% for i in range(10000) %}}{{% for j in range(10000) %}}{inner}{{% endfor %}}{{% endfor %}}")
    };
    let (long, other) = ("n".repeat(50_000) + "a", "n".repeat(50_000) + "b");
    let sources = vec![
        "{% set s = 'a' * 20000000 %}{{ s.strip('b' * 2000000 ~ 'a') }}".into(),
        "{% set s = 'a' * 20000000 %}{{ s|trim('b' * 2000000 ~ 'a') }}".into(),
        "{% set s = 'a' * 20000000 %}{{ s.lstrip('é' * 1000000 ~ 'a') ~ s.rstrip('é' * 1000000 ~ 'a') }}".into(),
        "{% set s = 'a' * 20000000 %}{% set t = (s[1:] ~ 'b',) * 1000000 %}{{ s.startswith(t) }}".into(),
        "{% set s = 'a' * 20000000 %}{% set t = ('b' ~ s[1:],) * 1000000 %}{{ s.endswith(t) }}".into(),
        "{{ [] * 1000000000000000000 }}{{ () * 1000000000000000000 }}".into(),
        "{{ '' * 1000000000000000000 }}".into(),
        nested("{% set s = 'a' * 1000000 %}{% set d = {s ~ 'a': 1, s ~ 'b': 2} %}{{ d[s ~ 'c'] }}"),
        "{% set n = 'b' * 20000000 %}".to_owned() + &nested("{{ 'x'.find(n) }}"),
        "{% set n = 'b' * 20000000 %}".to_owned() + &nested("{{ 'x'.split(n) }}{{ 'x'|replace(n, '') }}"),
        "{% set n = 'b' * 20000000 %}".to_owned() + &nested("{{ '%.1s' % n }}"),
        "{% set n = '0' * 20000000 %}".to_owned() + &nested("{{ n|float }}"),
        "{% set n = 'b' * 20000000 %}".to_owned() + &nested("{% set x = 1|tojson(separators=(n, n)) %}"),
        "{% set p = '0' * 20000000 %}{{ ([[1]] * 100000)|map(attribute=p)|list }}".into(),
        "{% set s = 'a,' * 20000000 %}{{ s.split(',')|length }}{{ s.splitlines() }}".into(),
        nested(&format!("{{% set v = 1{} %}}", " and 1".repeat(30_000))),
        nested(&format!("{{% set v = 1{} %}}", " + 1".repeat(40_000))),
        nested(&format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(15_000))),
        format!("{{% set {long} = 1 %}}{{% set {other} = 2 %}}{}", nested(&format!("{{% set v = {other} %}}"))),
        "{% set ns = namespace(**dict(range(2000)|map('string')|map('list')|map('join', 'k')|batch(2))) %}".to_owned()
            + &nested("{% set v = ns.k %}"),
        "{{ 1e308|round(300) }}".to_owned() + &nested("{% set v = '%.4000f' % 1e-300 %}"),
    ];
    watched(move |started| {
        for source in sources {
            started.send(source.chars().take(100).collect()).unwrap();
            let result = render(&source, Limits::default(), None);
            assert!(result.is_ok() || result.is_err_and(|error| error.kind() == ErrorKind::Limit), "{source}");
        }
    });
}

#[test]
fn a_rendering_is_cancelled_from_another_thread() {
    let unlimited = Limits { steps: usize::MAX, bytes: usize::MAX };
    let nested = "{% for i in range(100000) %}".repeat(4) + &"{% endfor %}".repeat(4);
    let strip = "{% set s = 'a' * 20000000 %}{{ s.strip('b' * 2000000 ~ 'a') }}".to_owned();
    let unique = "{{ range(100000)|map('string')|unique|list }}".to_owned();
    watched(move |started| {
        for source in [nested, strip, unique] {
            started.send(format!("{source} after it was cancelled")).unwrap();
            let cancelled = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let rendering = scope.spawn(|| render(&source, unlimited, Some(&cancelled)));
                std::thread::sleep(Duration::from_millis(100));
                assert!(!rendering.is_finished());
                cancelled.store(true, Ordering::Relaxed);
                assert_eq!(rendering.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
            });
        }
    });
}
