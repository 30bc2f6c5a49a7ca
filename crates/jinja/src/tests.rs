use std::path::Path;

use serde_json::json;

use crate::*;

fn fixtures() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/chat_templates.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The variables of a chat.
fn chat<'s>(messages: &Json, tools: Option<&Json>, prompt: bool, special: &'s [(&str, &str)]) -> Vec<(&'s str, Json)> {
    let special = special.iter().map(|(name, text)| (*name, Json::from(*text)));
    let tools = tools.cloned().unwrap_or_default();
    let chat = [("messages", messages.clone()), ("tools", tools), ("add_generation_prompt", prompt.into())];
    special.chain(chat).chain([("documents", Json::Null)]).collect()
}

/// Renders with one message and no tools.
fn render(source: &str) -> Result<String> {
    let variables = chat(&json!([{"role": "user", "content": "hello"}]), None, true, &[]);
    Template::parse(source)?.render(&variables, Limits::default(), None)
}

/// What is wrong with a result. `expected` is a string, or an object with the kind of error.
fn difference(result: Result<String>, expected: &Json) -> Option<String> {
    match (result, expected) {
        (Ok(text), Json::String(expected)) if text == *expected => None,
        (Err(e), Json::Object(kind)) => {
            let same_kind = match e.kind() {
                ErrorKind::Raised => kind["error"] == "raised",
                ErrorKind::Template | ErrorKind::Limit => kind["error"] == "failed",
                ErrorKind::Cancelled => false,
            };
            (!same_kind || e.line().is_none()).then(|| format!("{e:?}"))
        }
        (result, _) => Some(format!("{result:?}")),
    }
}

#[test]
fn whole_templates_render_as_in_transformers() {
    let fixtures = fixtures();
    let mut wrong = Vec::new();
    for template in fixtures["templates"].as_array().unwrap() {
        let special = template["special"].as_object().unwrap();
        let special: Vec<(&str, &str)> = special.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        let parsed = Template::parse(template["source"].as_str().unwrap()).unwrap();
        for case in template["cases"].as_array().unwrap() {
            let tools = case["tools"].as_bool().unwrap().then_some(&fixtures["tools"]);
            let variables = chat(&case["messages"], tools, case["prompt"].as_bool().unwrap(), &special);
            let result = parsed.render(&variables, Limits::default(), None);
            if let Some(found) = difference(result, &case["expected"]) {
                wrong.push(format!("{} {case}\n  but {found}", template["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_point_of_the_language_is_as_in_transformers() {
    let fixtures = fixtures();
    let variables = chat(&fixtures["snippet_messages"], Some(&fixtures["tools"]), true, &[("bos_token", "<s>")]);
    let mut wrong = Vec::new();
    for snippet in fixtures["snippets"].as_array().unwrap() {
        let source = snippet["source"].as_str().unwrap();
        let result = Template::parse(source).and_then(|template| template.render(&variables, Limits::default(), None));
        if let Some(found) = difference(result, &snippet["expected"]) {
            wrong.push(format!("{source}\n  wants {}\n  but   {found}", snippet["expected"]));
        }
    }
    assert!(wrong.is_empty(), "{} snippets:\n{}", wrong.len(), wrong.join("\n"));
}

/// The error of a template that must fail. Without its budget it would never end.
fn refused(source: &str) -> Error {
    render(source).expect_err(source)
}

#[test]
fn endless_work_is_stopped() {
    for source in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) if false %}{% endfor %}{% endfor %}",
        "{% set x = 'ab' * 100000 %}{% for a in range(100000) %}{% if x ~ 'c' in x %}{% endif %}{% endfor %}",
        "{% set x = 'ab' * 1000000 %}{% for a in range(100000) %}{{ x|length }}{{ x == 'a' ~ x }}{% endfor %}",
        "{% set x = range(100000)|list %}{% for a in x %}{% if -1 in x %}{% endif %}{% endfor %}",
        "{% set x = range(100000)|list %}{% for a in x %}{{ x|sort|first }}{% endfor %}",
        "{% set x = range(100000)|list %}{% for a in x %}{{ x[::-1]|last }}{% endfor %}",
        "{% set x = range(50000)|map('string')|unique %}",
        "{% for a in range(100000) %}{{ 'x'.find('y', 1000000) }}{{ ('z' * 10000)[9999] }}{% endfor %}",
        "{% for a in range(100000) %}{{ ('z' * 10000)|int }}{{ ('z' * 10000).split('z')|length }}{% endfor %}",
        "{% set x = 'ab' * 30000 %}{{ x.strip(x) }}{% for a in range(10000) %}{{ x.strip(x)|length }}{% endfor %}",
        "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n }}{% endmacro %}{{ f(25) }}",
        "{% set ns = namespace(d={}) %}{% for a in range(100000) %}{% set ns.d = dict(ns.d, **{a|string: a}) %}{% endfor %}",
        "{% for a in range(100000) %}{% macro f() %}{% endmacro %}{% set ns = namespace(a=range(90000)) %}{% endfor %}",
    ] {
        let error = refused(source);
        let message = error.to_string();
        assert!(error.kind() == ErrorKind::Limit, "{source}: {message}");
        assert!(message.contains("steps") || message.contains("MiB"), "{source}: {message}");
    }
}

#[test]
fn growth_is_stopped() {
    let grow = |by: &str| {
        format!(
            "{{% set ns = namespace(s='ab') %}}{{% for i in range(60) %}}{{% set ns.s = {by} %}}{{% endfor %}}{{{{ ns.s }}}}"
        )
    };
    for by in [
        "ns.s ~ ns.s",
        "ns.s + ns.s",
        "ns.s * 2",
        "[ns.s] + [ns.s]",
        "[ns.s, ns.s]",
        "{'a': ns.s, 'b': ns.s}",
        "ns.s.replace('a', 'aa')",
        "ns.s|replace('a', 'aa')",
        "ns.s.join([ns.s, ns.s])",
        "[ns.s, ns.s]|join",
        "'%s%s' % (ns.s, ns.s)",
        "[ns.s, ns.s]|string",
        "'{0}{0}'.format(ns.s)",
        "ns.s|indent(10000000, true)",
        "ns.s.center(2 ** (i + 10))",
        "ns.s|tojson ~ ns.s|tojson",
        "(ns.s, ns.s)|tojson",
        "ns.s|list + ns.s|list",
        "ns.s|map('upper')|list * 2",
        "[ns.s] * 1000",
        "ns.s * 100000000",
        "ns.s|tojson(indent=100000000)",
        "ns.s.zfill(2 ** (i + 10))",
        "ns.s|e ~ ns.s|upper",
        "[1]|batch(2 ** i, ns.s)|list",
    ] {
        let message = refused(&grow(by)).to_string();
        assert!(message.contains("MiB") || message.contains("levels") || message.contains("steps"), "{by}: {message}");
    }
    for source in [
        "{{ 'a' * 10000000000 }}",
        "{{ [1] * 10000000000 }}",
        "{{ '%1000000000s' % 'a' }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ range(1000000000000) }}",
        "{{ range(-9223372036854775807, 9223372036854775807) }}",
        "{{ 'a'.center(9223372036854775807) }}",
        "{{ 2 ** 100000 }}",
        "{% for i in range(100000) %}{% for j in range(10) %}0123456789012345678901234567890123456789{% endfor %}{% endfor %}",
        "{% set x %}{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}{% endset %}",
    ] {
        refused(source);
    }
    // Two lists whose comparison takes 2^100 steps, because each level holds the one below twice.
    let twins = "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}\
                 {% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}";
    assert!(refused(twins).to_string().contains("steps"));
}

#[test]
fn depth_is_stopped() {
    for source in [
        "(".repeat(100_000) + "1",
        "{{ ".to_owned() + &"(".repeat(100_000) + "1 }}",
        "{{ ".to_owned() + &"[".repeat(100_000) + "1 }}",
        "{{ ".to_owned() + &"{1:".repeat(80_000),
        "{{ ".to_owned() + &"not ".repeat(60_000) + "1 }}",
        "{{ ".to_owned() + &"-".repeat(200_000) + "1 }}",
        "{{ ".to_owned() + &"- ".repeat(100_000) + "1 }}",
        "{{ ".to_owned() + &"1 if 1 else ".repeat(20_000) + "1 }}",
        "{{ ".to_owned() + &"1 if 1 ".repeat(30_000) + " }}",
        "{{ ".to_owned() + &"a[".repeat(100_000),
        "{{ ".to_owned() + &"a(".repeat(100_000),
        "{{ ".to_owned() + &"a|b(".repeat(60_000),
        "{{ ".to_owned() + &"a is b ".repeat(30_000) + "}}",
        "{{ ".to_owned() + &"1+(2*".repeat(50_000),
        "{% if 1 %}".repeat(20_000),
        "{% for a in b %}".repeat(16_000),
        "{% macro f() %}".repeat(16_000),
        "{% set x %}".repeat(20_000),
        "{% for ".to_owned() + &"(".repeat(100_000),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}".into(),
        "{% macro f(a) %}{{ a(a) }}{% endmacro %}{{ f(f) }}".into(),
        "{% macro f(a=f()) %}{% endmacro %}{{ f() }}".into(),
        "{% macro f() %}{{ [[[[[[[[[[[[[[[[[[[[[[[[f()]]]]]]]]]]]]]]]]]]]]]]]] }}{% endmacro %}{{ f() }}".into(),
        "{{ 'a'|map(".to_owned() + &"'map',".repeat(20_000) + "'upper')|list }}",
        "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}".into(),
    ] {
        // The host may call from a thread with a small stack. A test build takes several times the stack of a release build.
        let render = move || {
            let result = if source.starts_with('(') { render(&source) } else { Err(refused(&source)) };
            (source, result)
        };
        let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(render).unwrap();
        let (source, result) = thread.join().unwrap();
        assert_eq!(result.is_ok(), source.starts_with('('), "{:?}", result.map(|text| text.len()));
    }
}

#[test]
fn long_chains_do_not_nest() {
    assert_eq!(render(&("{{ 1".to_owned() + &" + 1".repeat(20_000) + " }}")).unwrap(), "20001");
    assert_eq!(render(&("{{ 'a'".to_owned() + &" ~ 'a'".repeat(20_000) + " }}")).unwrap().len(), 20_001);
    assert_eq!(render(&("{{ 'a'".to_owned() + &"|upper".repeat(20_000) + " }}")).unwrap(), "A");
    assert_eq!(render(&("{{ 1".to_owned() + &" and 1".repeat(20_000) + " }}")).unwrap(), "1");
    assert_eq!(
        render(&("{% if 0 %}".to_owned() + &"{% elif 0 %}".repeat(15_000) + "{% else %}x{% endif %}")).unwrap(),
        "x"
    );
    assert_eq!(render(&"{{ 1 }}".repeat(20_000)).unwrap().len(), 20_000);
}

#[test]
fn a_long_chat_is_within_the_limits() {
    let message = |i| {
        let content = format!(" message {i} ").repeat(100);
        json!({"role": if i % 2 == 0 { "user" } else { "assistant" }, "content": content})
    };
    let messages: Json = (0..2000).map(message).collect();
    let fixtures = fixtures();
    for template in fixtures["templates"].as_array().unwrap() {
        let special = template["special"].as_object().unwrap();
        let special: Vec<(&str, &str)> = special.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        let template = Template::parse(template["source"].as_str().unwrap()).unwrap();
        let variables = chat(&messages, Some(&fixtures["tools"]), true, &special);
        assert!(template.render(&variables, Limits::default(), None).is_ok());
    }
}

#[test]
fn errors_name_the_line() {
    let line = |source: &str| {
        let error = refused(source);
        let line = error.line().unwrap();
        assert!(error.to_string().contains(&format!("chat template, line {line}")), "{error}");
        line
    };
    assert_eq!(line("a\nb\n{{ x.y }}"), 3);
    assert_eq!(line("{#\n\n#}{% if x %}\n{{ 1 / 0 }}{% elif\n (1).y.z %}{% endif %}"), 3 + 2);
    assert_eq!(line("\n{{ 'abc\n' }}\r\n{{ raise_exception('no') }}"), 4);
    assert_eq!(line("\n\n{% nosuch %}"), 3);
    assert_eq!(line("\n{{ 1 +\n\n }}"), 4);
    assert_eq!(line("\n\n{{ 'never closed"), 3);
    assert_eq!(line("{% macro f() %}\n{{ 1 / 0 }}\n{% endmacro %}\n{{ f() }}"), 2);
    assert_eq!(line("{% set a = [\n1,\nx.y.z\n] %}"), 3);

    let error = refused("{{ raise_exception('only\\nuser ' ~ messages[0].role) }}");
    assert_eq!(error.kind(), ErrorKind::Raised);
    assert!(error.to_string().contains("rejects the messages: only\\nuser user"), "{error}");
    assert!(refused("{{ '%\x1b' % 1 }}").to_string().ends_with("`%\\u{1b}` does not support an integer"));
    assert!(refused("{{ raise_exception('x' * 100000) }}").to_string().len() < 1000);
    assert!(refused(&format!("{{{{ {}.y }}}}", "x".repeat(100_000))).to_string().len() < 1000);
    let error = Template::parse(&" ".repeat(MAX_SOURCE + 1)).unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.to_string().contains("at most 262144"), "{error}");
}

/// NaN is not ordered, and the budget may run out at any comparison.
#[test]
fn sorting_never_panics() {
    for source in [
        "{% set nan = 'nan'|float %}{% for n in range(2, 90, 7) %}{% set ns = namespace(l=[]) %}{% for i in range(n) %}\
         {% set ns.l = ns.l + [nan if i % 5 == 0 else i * 7919 % 1009] %}{% endfor %}{{ ns.l|sort|length }} {% endfor %}",
        "{% for n in range(2, 90, 7) %}{% set ns = namespace(l=[]) %}{% for i in range(n) %}\
         {% set ns.l = ns.l + [i * 7919 % 1009] %}{% endfor %}{{ ns.l|sort(reverse=true)|length }} {% endfor %}",
    ] {
        let template = Template::parse(source).unwrap();
        for steps in (0..30_000).step_by(101) {
            match template.render(&[], Limits { steps, ..Limits::default() }, None) {
                Ok(text) => assert_eq!(text, "2 9 16 23 30 37 44 51 58 65 72 79 86 "),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Limit),
            }
        }
        assert!(render(source).is_ok());
    }
}

/// Arguments that a callee does not have are errors.
#[test]
fn unknown_arguments_are_refused() {
    for source in [
        "{{ messages|first(1) }}",
        "{{ messages|length(boolean=true) }}",
        "{{ [1]|list(x=1) }}",
        "{{ [1]|select('odd', x=1)|list }}",
        "{{ 1 is odd(x=1) }}",
        "{{ '%s'|format(x=1) }}",
        "{% for i in [1] %}{{ loop.cycle(1, x=1) }}{% endfor %}",
        "{{ 'a'.upper(1) }}",
        "{{ {}.items(1) }}",
        "{{ [1].copy(1) }}",
        "{{ [1].count() }}",
        "{{ 'a'|upper(1) }}",
        "{{ dict({}, {}) }}",
        "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
        "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
        "{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}",
    ] {
        assert_eq!(refused(source).kind(), ErrorKind::Template, "{source}");
    }
}

#[test]
fn arithmetic_at_the_limits_of_integers() {
    let (most, least) = ("9223372036854775807", "(-9223372036854775807 - 1)");
    let range = format!("{{{{ range({least}, {most}, {most})|list }}}}");
    assert_eq!(render(&range).unwrap(), "[-9223372036854775808, -1, 9223372036854775806]");
    assert_eq!(render(&format!("{{{{ {least} % -1 }}}}")).unwrap(), "0");
    for source in [
        format!("{{{{ {most} + 1 }}}}"),
        format!("{{{{ -{least} }}}}"),
        format!("{{{{ {least}|abs }}}}"),
        format!("{{{{ {least} // -1 }}}}"),
        format!("{{{{ {most} ** 2 }}}}"),
    ] {
        assert_eq!(refused(&source).kind(), ErrorKind::Template, "{source}");
    }
}

#[test]
fn the_date_of_today_is_given() {
    let year: i64 = render("{{ strftime_now('%Y') }}").unwrap().parse().unwrap();
    assert!(year >= 2025);
    assert!(render("{{ strftime_now('%d %b %Y') }}").unwrap().len() == 11);
}

#[test]
fn a_template_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Template>();
}

/// Templates with parts deleted, repeated and exchanged give a result or an error, never a panic.
#[test]
fn damaged_templates_never_panic() {
    let fixtures = fixtures();
    let whole = fixtures["templates"].as_array().unwrap().iter();
    let sources: Vec<&str> =
        whole.chain(fixtures["snippets"].as_array().unwrap()).map(|t| t["source"].as_str().unwrap()).collect();
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for round in 0..20_000 {
        let mut chars: Vec<char> = sources[round % sources.len()].chars().collect();
        for _ in 0..=random(3) {
            let (from, length) = (random(chars.len()), random(12));
            let piece: Vec<char> = chars[from.min(chars.len())..(from + length).min(chars.len())].to_vec();
            match random(3) {
                0 => drop(chars.drain(from.min(chars.len())..(from + length).min(chars.len()))),
                1 => {
                    let to = random(chars.len());
                    drop(chars.splice(to..to, piece));
                }
                _ => {
                    let other: Vec<char> = sources[random(sources.len())].chars().collect();
                    let at = random(other.len());
                    let to = random(chars.len());
                    drop(chars.splice(to..to, other[at..(at + length).min(other.len())].iter().copied()));
                }
            }
        }
        let _ = render(&chars.into_iter().collect::<String>());
    }
}
