//! Chat templates: any source, rendered with two messages within small limits. An error must name the line.
#![no_main]

use std::sync::LazyLock;

use kinglet_jinja::{Limits, Template};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// An input takes at most about 10 ms.
const LIMITS: Limits = Limits { steps: 100_000, bytes: 8 << 20 };

static VARIABLES: LazyLock<[(&str, Value); 4]> = LazyLock::new(|| {
    let function = json!({"name": "weather", "parameters": {"city": {"type": "string"}, "days": 1.5}});
    [
        ("messages", json!([{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine, é\n"}])),
        ("tools", json!([{"type": "function", "function": function}])),
        ("bos_token", json!("<s>")),
        ("add_generation_prompt", json!(true)),
    ]
});

fuzz_target!(|source: &str| {
    let rendered = Template::parse(source).and_then(|template| template.render(&*VARIABLES, LIMITS, None));
    if let Err(error) = rendered {
        assert!(error.line().is_some() || source.len() > 256 << 10, "the line is not named: {error}");
    }
});
