//! Answers in every format, whole and broken.

use serde_json::json;

use super::super::options::ChatOptions;
use super::*;

const TOOLS: &str = r#"[
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}, "where": {"type": "object"}}}}},
    {"name": "get"}, {"name": "noop"}]"#;

const THINK: Option<(&str, &str)> = Some(("<think>", "</think>"));

/// Content, reasoning and calls.
fn read(format: ToolFormat, text: &str) -> (String, Option<String>, Vec<Json>) {
    read_after(format, text, false)
}

fn read_after(format: ToolFormat, text: &str, is_thinking: bool) -> (String, Option<String>, Vec<Json>) {
    let setup = ChatOptions { tools: Some(TOOLS.into()), ..ChatOptions::default() }.read().unwrap();
    let rules = Rules { format: Some(format), functions: setup.functions(), thoughts: THINK, is_thinking };
    let response = Response::read(text, rules);
    let calls = response.calls.iter().map(|call| json!([call.name, call.arguments]));
    (response.content.clone(), response.reasoning.clone(), calls.collect())
}

#[track_caller]
fn check(format: ToolFormat, text: &str, content: &str, calls: Json) {
    let found = read(format, text);
    assert_eq!((found.0.as_str(), found.2), (content, calls.as_array().unwrap().clone()), "{text}");
}

#[test]
fn hermes() {
    let check = |text: &str, content: &str, calls: Json| check(ToolFormat::Hermes, text, content, calls);
    let one = r#"<tool_call>
{"name": "get_weather", "arguments": {"city": "Oslo"}}
</tool_call>"#;
    let oslo = json!(["get_weather", {"city": "Oslo"}]);
    check(one, "", json!([oslo]));
    check(&format!("I look.\n{one}\n{one}\n"), "I look.", json!([oslo, oslo]));
    check(&format!("{one} and {one} more"), "and  more", json!([oslo, oslo]));
    // Unclosed at the end, or before the next one.
    check(one.trim_end_matches("</tool_call>"), "", json!([oslo]));
    check(&format!("{}{one}", one.trim_end_matches("</tool_call>")), "", json!([oslo, oslo]));
    // Braces, quotes and tags in texts.
    let text = r#"<tool_call>{"name":"get_weather","arguments":{"city":"}\"{</tool_call><tool_call>","where":{"a":{"b":[{}]}}}}</tool_call>"#;
    check(text, "", json!([["get_weather", {"city": "}\"{</tool_call><tool_call>", "where": {"a": {"b": [{}]}}}]]));
    // Arguments as a text; the other name of them.
    check(r#"<tool_call>{"name":"get","arguments":"{\"a\": 1}"}</tool_call>"#, "", json!([["get", {"a": 1}]]));
    check(r#"<tool_call>{"name":"get","parameters":{}}</tool_call>"#, "", json!([["get", {}]]));
    for kept in [
        "Plain  text\n",
        "<tool_call>",
        "</tool_call>",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Os",
        "<tool_call>{\"name\": \"nosuch\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"get\", \"arguments\": []}</tool_call>",
        "<tool_call>{\"name\": \"get\", \"arguments\": \"x\"}</tool_call>",
        "<tool_call>{\"name\": \"get\"}</tool_call>",
        "<tool_call>{\"name\": 5, \"arguments\": {}}</tool_call>",
        "<tool_call>{'name': 'get', 'arguments': {}}</tool_call>",
        "<tool_call>{\"name\": \"get\", \"arguments\": {}} x</tool_call>",
        "<tool_call>[1]</tool_call>",
        "<tool_call>{\"name\": \"get\", \"arguments\": {}}}</tool_call>",
        "{\"name\": \"get\", \"arguments\": {}}",
    ] {
        check(kept, kept, json!([]));
    }
    // A broken call stays, a whole one after it is read.
    let broken = "<tool_call>{\"name\": \"get</tool_call>";
    check(&format!("{broken}{one}"), broken, json!([oslo]));
}

#[test]
fn llama3() {
    let check = |text: &str, content: &str, calls: Json| check(ToolFormat::Llama3, text, content, calls);
    let one = r#"{"name": "get_weather", "parameters": {"city": "Os\"}{lo"}}"#;
    let oslo = json!(["get_weather", {"city": "Os\"}{lo"}]);
    check(one, "", json!([oslo]));
    check(&format!("\n<|python_tag|>{one}"), "", json!([oslo]));
    check(&format!("I look. <|python_tag|>{one}"), "I look.", json!([oslo]));
    check(&format!("{one}; {one}\n{one}"), "", json!([oslo, oslo, oslo]));
    check(&format!("{one} done"), "done", json!([oslo]));
    check(r#"{"name": "get", "arguments": {"a": 1}}"#, "", json!([["get", {"a": 1}]]));
    let half = r#"{"name": "get", "parameters": {"a""#;
    check(&format!("{one};{half}"), half, json!([oslo]));
    for kept in [
        half,
        r#"{"name": "John", "parameters": {}}"#,
        r#"{"name": "get"}"#,
        "<|python_tag|>brave_search.call(query=\"x\")",
        "The call is {\"name\": \"get\", \"parameters\": {}}",
        "[{\"name\": \"get\", \"parameters\": {}}]",
    ] {
        check(kept, kept, json!([]));
    }
}

#[test]
fn mistral() {
    let check = |text: &str, content: &str, calls: Json| check(ToolFormat::Mistral, text, content, calls);
    let list =
        r#"[{"name": "get_weather", "arguments": {"city": "[TOOL_CALLS]\"]"}}, {"name": "noop", "arguments": {}}]"#;
    let both = json!([["get_weather", {"city": "[TOOL_CALLS]\"]"}], ["noop", {}]]);
    check(&format!("[TOOL_CALLS]{list}"), "", both.clone());
    check(&format!("I look. [TOOL_CALLS] {list}"), "I look.", both);
    let named = r#"[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}"#;
    let oslo = json!(["get_weather", {"city": "Oslo"}]);
    check(named, "", json!([oslo]));
    check(&format!("Yes{named}{named}."), "Yes.", json!([oslo, oslo]));
    check(r#"[TOOL_CALLS]get[CALL_ID]abcdefghi[ARGS]{"a": {}}"#, "", json!([["get", {"a": {}}]]));
    check(r#"[TOOL_CALLS]get{"a": 1}"#, "", json!([["get", {"a": 1}]]));
    // Without special tokens.
    check(r#"[{"name": "get", "arguments": {}}]"#, "", json!([["get", {}]]));
    check(r#"get_weather{"city": "Oslo"}"#, "", json!([oslo]));
    for kept in [
        "[TOOL_CALLS]",
        "[TOOL_CALLS][]",
        "[TOOL_CALLS][{\"name\": \"get\", \"arguments\": {}}, {\"name\": \"nosuch\", \"arguments\": {}}]",
        "[TOOL_CALLS][{\"name\": \"get\", \"arguments\": {}}",
        "[TOOL_CALLS]nosuch[ARGS]{}",
        "[TOOL_CALLS]get[ARGS]{\"a\": ",
        "[TOOL_CALLS]get[ARGS][]",
        "[TOOL_CALLS]get[CALL_ID]",
        "get well",
        "[1, 2]",
    ] {
        check(kept, kept, json!([]));
    }
    let setup = ChatOptions { tools: Some(TOOLS.into()), ..ChatOptions::default() }.read().unwrap();
    let format = Some(ToolFormat::Mistral);
    let rules = Rules { format, functions: setup.functions(), thoughts: None, is_thinking: false };
    let ids =
        |text: &str| Response::read(text, rules).message(3).tool_calls().into_iter().map(|call| call.id).collect();
    let ids: Vec<Vec<String>> = vec![
        ids("[TOOL_CALLS]get[CALL_ID]abcdefghi[ARGS]{}"),
        ids(r#"[TOOL_CALLS][{"name": "get", "arguments": {}, "id": "123456789"}, {"name": "get", "arguments": {}}]"#),
    ];
    assert_eq!(ids, [vec!["abcdefghi"], vec!["123456789", "call00004"]]);
}

#[test]
fn qwen_xml() {
    let check = |text: &str, content: &str, calls: Json| check(ToolFormat::QwenXml, text, content, calls);
    let one = "<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n2\n</parameter>\n\
               <parameter=where>\n{\"a\": [1]}\n</parameter>\n</function>\n</tool_call>";
    let call = json!(["get_weather", {"city": "12", "days": 2, "where": {"a": [1]}}]);
    check(one, "", json!([call]));
    check(&format!("I look.\n\n{one}\n{one}"), "I look.", json!([call, call]));
    // Without the outer tags; lines and tags in a value; a value that is not of its type.
    check("<function=noop></function>", "", json!([["noop", {}]]));
    check(
        "<function=get_weather><parameter=city>a\n<b>\n\n</parameter><parameter=days>two</parameter></function>!",
        "!",
        json!([["get_weather", {"city": "a\n<b>\n", "days": "two"}]]),
    );
    for kept in [
        "<tool_call>",
        "<tool_call>\n<function=get_weather",
        "<tool_call>\n<function=nosuch>\n</function>\n</tool_call>",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n",
        "<tool_call>\n<function=get_weather>\nOslo\n</function>\n</tool_call>",
        "<function=get_weather><parameter=city",
    ] {
        check(kept, kept, json!([]));
    }
    check(&format!("<function=nosuch>{one}"), "<function=nosuch>", json!([call]));
}

#[test]
fn thoughts() {
    let check = |text: &str, is_thinking, content: &str, reasoning: Option<&str>| {
        let (found, thought, _) = read_after(ToolFormat::Hermes, text, is_thinking);
        assert_eq!((found.as_str(), thought.as_deref()), (content, reasoning), "{text}");
    };
    check("<think>\nHm.\n</think>\n\nYes.\n", false, "Yes.\n", Some("Hm."));
    check("\n<think>Hm.</think>", false, "", Some("Hm."));
    check("<think>\n\n</think>\n\nYes.", false, "Yes.", None);
    check("[THINK]Hm.[/THINK]Yes.", false, "Yes.", Some("Hm."));
    // Cut by the limit of tokens.
    check("<think>Hm", false, "", Some("Hm"));
    // The prompt has begun the thought.
    check("Hm.</think>Yes.", true, "Yes.", Some("Hm."));
    check("Hm", true, "", Some("Hm"));
    check("Hm.</think>Yes.", false, "Yes.", Some("Hm."));
    check("Yes.", false, "Yes.", None);
    check("A <think> tag</think>.", false, "A <think> tag</think>.", None);
    // Calls within the reasoning are not parsed.
    let call = "<tool_call>{\"name\": \"get\", \"arguments\": {}}</tool_call>";
    let found = read(ToolFormat::Hermes, &format!("<think>{call}</think>\n{call}"));
    assert_eq!(found, (String::new(), Some(call.into()), vec![json!(["get", {}])]));
}

#[test]
fn a_chat_keeps_what_its_template_writes_again() {
    let setup = ChatOptions { tools: Some(TOOLS.into()), ..ChatOptions::default() }.read().unwrap();
    let format = Some(ToolFormat::Hermes);
    let rules = Rules { format, functions: setup.functions(), thoughts: THINK, is_thinking: false };
    let text = "<think>Hm.</think>\n\nYes.\n<tool_call>{\"name\": \"get\", \"arguments\": {}}</tool_call>";
    let response = Response::read(text, rules);
    let kept = |calls, reasoning| response.kept(text, Writes { calls, reasoning }, 0);
    assert_eq!(kept(true, true), response.message(0));
    assert_eq!(kept(false, true), Message::new("assistant", text));
    let both = kept(true, false);
    assert_eq!((both.content.as_str(), both.reasoning_content()), ("<think>Hm.</think>Yes.", None));
    assert_eq!(both.tool_calls(), response.message(0).tool_calls());
    let thought = "<think>Hm.</think>\n\nYes.";
    let kept = Response::read(thought, rules).kept(thought, Writes { calls: true, reasoning: false }, 0);
    assert_eq!(kept, Message::new("assistant", thought));
}

/// Each takes a moment. If the time grew with the square of the length, the test would take hours.
#[test]
fn a_megabyte_of_anything_is_read_and_kept() {
    let pieces = [
        "<tool_call>",
        "<tool_call>{",
        "<tool_call>{\"",
        "<tool_call>{\"name\": \"get\", \"arguments\": {\"",
        "<tool_call>{\"name\": \"get\", \"arguments\": [[[[",
        "<tool_call>{\":\",\":\",\"",
        "<tool_call>{\"a\\\"",
        "<tool_call>   ",
        "[TOOL_CALLS]",
        "[TOOL_CALLS][{\"",
        "[TOOL_CALLS]get[CALL_ID]",
        "[TOOL_CALLS]get[ARGS]{\"",
        "<|python_tag|>{",
        "{\"name\": \"get\", \"parameters\": {",
        "<function=",
        "<function=get>",
        "<function=get><parameter=a>",
        "<function=get><parameter=",
        "<function=get><parameter=a></parameter>",
        "<think>",
        "</think>",
        "{",
        "[",
        "\\\"",
    ];
    for format in ToolFormat::ALL {
        for piece in pieces {
            let text = piece.repeat((1 << 20) / piece.len());
            let (content, reasoning, calls) = read(format, &text);
            if !piece.contains("think") {
                assert_eq!((content.len(), reasoning, calls.len()), (text.len(), None, 0), "{piece}");
            }
        }
        let far = "<function=get><parameter=a>".repeat(30_000) + "</parameter>";
        assert_eq!(read(format, &far).0, far);
    }
    let call = "<tool_call>{\"name\": \"get\", \"arguments\": {}}</tool_call>";
    assert_eq!(read(ToolFormat::Hermes, &call.repeat(20_000)).2.len(), 20_000);
}

/// Without a call nothing is taken away; with some, what is left has no more than the whole.
#[test]
fn nothing_is_lost_of_random_answers() {
    let pieces = [
        "<tool_call>",
        "</tool_call>",
        "{\"name\": \"get\", \"arguments\": {}}",
        "{\"name\": \"get\", \"parameters\": {\"a\": \"é\"}}",
        "[TOOL_CALLS]",
        "[{\"name\": \"get\", \"arguments\": {}}]",
        "get",
        "[ARGS]",
        "[CALL_ID]",
        "<|python_tag|>",
        "<function=get>",
        "<parameter=a>",
        "</parameter>",
        "</function>",
        "\n",
        " ",
        ";",
        "é",
        "{",
        "}",
        "\"",
        "\\",
    ];
    let (mut state, mut calls) = (1u64, 0);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let text: String = (0..random(12)).map(|_| pieces[random(pieces.len())]).collect();
        for format in ToolFormat::ALL {
            let (content, reasoning, found) = read(format, &text);
            assert_eq!(reasoning, None);
            match found.is_empty() {
                true => assert_eq!(content, text),
                false => assert!(content.len() + found.len() * "get{}".len() <= text.len(), "{text}"),
            }
            calls += found.len();
        }
    }
    assert!(calls > 1000, "{calls}");
}
