//! Prompts are those of transformers, byte for byte.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::*;

fn options(given: &Json) -> ChatOptions {
    let text = |name: &str| given.get(name).map(Json::to_string);
    let known = ["tools", "documents", "variables", "add_generation_prompt", "continue_final_message"];
    for name in given.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    ChatOptions {
        tools: text("tools"),
        documents: text("documents"),
        template_variables: text("variables"),
        tool_format: None,
        // The script's default.
        add_generation_prompt: given.get("add_generation_prompt").is_none_or(|value| value == true),
        continue_final_message: given.get("continue_final_message").is_some_and(|value| value == true),
    }
}

/// KINGLET_CHAT_CASES names another file of `make_chat_tools.py`, for instance over published templates.
#[test]
fn renderings_equal_transformers() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat_tools.json");
    let path = std::env::var_os("KINGLET_CHAT_CASES").map_or(fixtures, PathBuf::from);
    let cases: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut rendered, mut different) = (0, Vec::new());
    for template in cases["templates"].as_array().unwrap() {
        let special = template["special"].as_object().unwrap().iter();
        let special: Vec<_> = special.map(|(name, text)| (name.as_str(), text.as_str().unwrap())).collect();
        let name = template["name"].as_str().unwrap();
        let made = ChatTemplate::new(template["source"].as_str().unwrap(), &special, Path::new(name));
        let expected = template["expected"].as_array().unwrap();
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                different.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (chat, expected) in cases["chats"].as_array().unwrap().iter().zip(expected) {
            let messages = Message::list_from_json(&chat["messages"].to_string()).unwrap();
            let prompt = made.prompt(&messages, &options(&chat["options"]).read().unwrap(), None);
            match (prompt, expected.as_str()) {
                (Ok(prompt), Some(expected)) if prompt == expected => rendered += 1,
                (Err(_), None) => {}
                (prompt, expected) => {
                    different.push(format!("{name}, {}: {prompt:?} and not {expected:?}", chat["name"]))
                }
            }
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), rendered + different.len(), different.join("\n"));
    assert!(rendered > 400, "{rendered}");
}

#[test]
fn another_template_serves_chats_with_tools() {
    let template = ChatTemplate::new("plain", &[], Path::new("a")).unwrap();
    let template = template.with_tool_use("{{ tools[0].name }}<tool_call>", Path::new("b"));
    let prompt = |tools: Option<&str>| {
        let options = ChatOptions { tools: tools.map(String::from), ..ChatOptions::default() };
        let setup = options.read().unwrap();
        (template.prompt(&[], &setup, None).unwrap(), template.habits(&setup).unwrap().tools)
    };
    assert_eq!(prompt(None), ("plain".into(), None));
    assert_eq!(prompt(Some(r#"[{"name": "f"}]"#)), ("f<tool_call>".into(), Some(ToolFormat::Hermes)));
    let broken = ChatTemplate::new("plain", &[], Path::new("a")).unwrap().with_tool_use("{% if %}", Path::new("b"));
    let setup = ChatOptions { tools: Some("[]".into()), ..ChatOptions::default() }.read().unwrap();
    assert!(broken.prompt(&[], &setup, None).unwrap_err().message().starts_with("b: "));
    assert_eq!(broken.prompt(&[], &Setup::default(), None).unwrap(), "plain");
}

#[test]
fn templates_tell_their_format() {
    let cases = [
        ("[TOOL_CALLS]", Some(ToolFormat::Mistral)),
        ("<tool_call> {{ message.tool_calls }}", Some(ToolFormat::Hermes)),
        ("<tool_call><function=x><parameter=y>", Some(ToolFormat::QwenXml)),
        ("Environment: ipython", Some(ToolFormat::Llama3)),
        ("<|python_tag|>", Some(ToolFormat::Llama3)),
        ("{{ messages }}", None),
    ];
    for (source, format) in cases {
        assert_eq!(Habits::of(source).tools, format, "{source}");
    }
    assert_eq!(Habits::of("{{ x.split('</think>') }}").thoughts, Some(("<think>", "</think>")));
    assert!(Habits::of("{{ m.reasoning_content }}").writes_reasoning);
    assert!(!Habits::of("{% if enable_thinking %}").writes_reasoning);
    for format in ToolFormat::ALL {
        assert_eq!(ToolFormat::from_u32(format as u32), Some(format));
    }
}

#[test]
fn options_that_are_not_as_they_should_be_are_refused_by_name() {
    let tools = |json: &str| ChatOptions { tools: Some(json.into()), ..ChatOptions::default() };
    let documents = |json: &str| ChatOptions { documents: Some(json.into()), ..ChatOptions::default() };
    let variables = |json: &str| ChatOptions { template_variables: Some(json.into()), ..ChatOptions::default() };
    let function = |rest: &str| tools(&format!(r#"[{{"type": "function", "function": {{{rest}}}}}]"#));
    let both = ChatOptions { add_generation_prompt: true, continue_final_message: true, ..ChatOptions::default() };
    for (options, says) in [
        (tools("["), "tools: is not valid JSON: "),
        (tools(&"[".repeat(100_000)), "tools: is not valid JSON: "),
        (tools("{}"), "tools: `{}` is not a JSON array"),
        (tools("[5]"), "tools[0]: `5` is not a JSON object"),
        (tools(r#"[{"type": "retrieval"}]"#), "tools[0].type: "),
        (tools(r#"[{"type": "function", "function": {"name": 5}}]"#), "tools[0].function.name: is missing"),
        (tools(r#"[{"description": "x"}]"#), "tools[0].name: is missing"),
        (function(r#""name": "a b""#), "tools[0].function.name: "),
        (function(r#""name": """#), "tools[0].function.name: "),
        (function(r#""name": "required""#), "tools[0].function.name: required means"),
        (function(r#""name": "f", "parameters": []"#), "tools[0].function.parameters: `[]` is not"),
        (function(r#""name": "f", "parameters": {"type": "array"}"#), "tools[0].function.parameters.type: "),
        (tools(r#"[{"name": "f"}, {"name": "f"}]"#), "tools[1]: there is another tool"),
        (documents("5"), "documents: `5` is not a JSON array"),
        (documents(r#"["a"]"#), "documents[0]: "),
        (variables("[]"), "template_variables: `[]` is not a JSON object"),
        (variables(r#"{"messages": []}"#), "template_variables.messages: "),
        (variables(r#"{"add_generation_prompt": false}"#), "template_variables.add_generation_prompt: "),
        (both, "add_generation_prompt: "),
    ] {
        let error = options.read().unwrap_err();
        assert!(error.message().contains(says), "{says}: {error}");
        assert_eq!(error.status(), crate::Status::InvalidArgument);
    }
    let template = ChatTemplate::new("{{ messages[0].content }}", &[], Path::new("t")).unwrap();
    let setup = ChatOptions { continue_final_message: true, ..ChatOptions::default() }.read().unwrap();
    let continued = |json: &str| template.prompt(&Message::list_from_json(json).unwrap(), &setup, None);
    for messages in ["[]", r#"[{"role": "user", "content": []}]"#, r#"[{"role": "user"}]"#] {
        assert!(continued(messages).unwrap_err().message().contains("continue_final_message"), "{messages}");
    }
    let second = r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#;
    assert!(continued(second).unwrap_err().message().starts_with("messages[1].content: is not in"));
}

#[test]
fn messages_are_checked_by_name() {
    for (json, says) in [
        ("", "message: is not valid JSON"),
        ("[]", "message: `[]` is not a JSON object"),
        ("{}", "message.role: is missing"),
        (r#"{"role": null}"#, "message.role: is missing"),
        (r#"{"role": ""}"#, "message.role: "),
        (r#"{"role": 5}"#, "message.role: `5` is not"),
        (r#"{"role": "user", "content": 5}"#, "message.content: `5` is neither"),
        (r#"{"role": "user", "content": ["a"]}"#, "message.content[0]: "),
        (r#"{"role": "assistant", "tool_calls": {}}"#, "message.tool_calls: `{}` is not a JSON array"),
    ] {
        let error = Message::from_json(json).unwrap_err();
        assert!(error.message().starts_with(says), "{json}: {error}");
    }
    assert!(Message::list_from_json(r#"[{"role": "user"}, 5]"#).unwrap_err().message().starts_with("messages[1]: `5`"));
    let plain = Message::from_json(r#"{"role": "user", "content": "a", "name": null}"#).unwrap();
    assert_eq!(plain, Message::new("user", "a"));
    assert!(plain.is_plain() && plain.to_json() == r#"{"role":"user","content":"a"}"#);
    let json = r#"{"content":"a","role":"assistant","reasoning":"r","tool_calls":[{"id":"x","function":{"name":"f","arguments":{"b":[1]}}},{"function":{"name":"g","arguments":"{}"}},{}]}"#;
    let whole = Message::from_json(json).unwrap();
    assert_eq!(whole.to_json(), json);
    assert_eq!(whole.reasoning_content(), Some("r"));
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    assert_eq!(whole.tool_calls(), [call("x", "f", r#"{"b":[1]}"#), call("", "g", "{}")]);
}
