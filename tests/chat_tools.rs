//! Chats with tools: prompts, replies that call tools, and what a chat keeps of them.

mod support;

use std::path::Path;

use kinglet::{
    ChatOptions, Device, FinishReason, GenerateOptions, Message, Model, Precision, Session, Stage, Status, ToolChoice,
    ToolFormat,
};
use serde_json::{Value, json};
use support::{fixtures, load};

const TOOLS: &str = r#"[
    {"type": "function", "function": {"name": "go", "parameters": {"type": "object", "properties": {
        "where": {"type": "string", "enum": ["up", "down"]}, "steps": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["where", "steps"], "additionalProperties": false}}},
    {"type": "function", "function": {"name": "stop"}}]"#;

/// Writes tools, thoughts, calls and results; each format's template has its marks.
fn template(format: ToolFormat) -> String {
    let marks = match format {
        ToolFormat::Hermes => "<tool_call>",
        ToolFormat::Llama3 => "ipython",
        ToolFormat::Mistral => "[TOOL_CALLS]",
        ToolFormat::QwenXml => "<function=x><parameter=y>",
    };
    format!(
        "{{# {marks} #}}{{% for t in tools or [] %}}[{{{{ (t.function or t).name }}}}]{{% endfor %}}\
         {{% for m in messages %}}<{{{{ m.role }}}}>{{{{ m.reasoning_content or '' }}}}{{{{ m.content or '' }}}}\
         {{% for c in m.tool_calls or [] %}}!{{{{ c.id }}}} {{{{ c.function.name }}}} {{{{ c.function.arguments | tojson }}}}{{% endfor %}}\
         ;{{% endfor %}}{{% if add_generation_prompt %}}<assistant>{{% endif %}}"
    )
}

/// A decoder fixture with a chat template.
fn chatty(folder: &Path, template: &str) -> Model {
    for entry in std::fs::read_dir(fixtures().join("generation/bloom")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    // The fixture's own has letters among its end tokens.
    std::fs::write(folder.join("generation_config.json"), r#"{"eos_token_id": 0}"#).unwrap();
    load(folder, Device::Cpu, Precision::F32, 2)
}

fn tools() -> ChatOptions {
    ChatOptions { tools: Some(TOOLS.into()), ..ChatOptions::default() }
}

fn calling(choice: ToolChoice) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: Some(3000),
        do_sample: Some(false),
        num_beams: Some(1),
        tool_choice: choice,
        ..GenerateOptions::default()
    }
}

fn function(name: &str) -> ToolChoice {
    ToolChoice::Function(name.into())
}

fn reply(session: &mut Session, choice: ToolChoice) -> (kinglet::Output, Message) {
    let output = session.send("go", &calling(choice), None).unwrap();
    let message = output.message.clone().unwrap();
    (output, message)
}

/// Whether arguments satisfy the schema of `go`.
fn satisfies(arguments: &str) -> bool {
    let value: Value = serde_json::from_str(arguments).unwrap();
    let steps = value["steps"].as_u64();
    value.as_object().unwrap().len() == 2
        && ["up", "down"].contains(&value["where"].as_str().unwrap())
        && steps.is_some_and(|steps| steps < 10)
}

#[test]
fn a_reply_that_must_call_a_tool_satisfies_its_schema() {
    for format in ToolFormat::ALL {
        for source in [template(format), template(format) + "{# [ARGS] #}"] {
            let folder = tempfile::tempdir().unwrap();
            let model = chatty(folder.path(), &source);
            let mut session = model.session_with(&tools()).unwrap();
            let (output, message) = reply(&mut session, function("go"));
            let calls = message.tool_calls();
            let said = format!("{}: {:?}", format.name(), output.text);
            assert_eq!(output.finish_reason, FinishReason::Eos, "{said}");
            assert_eq!((calls.len(), calls[0].name.as_str()), (1, "go"), "{said}");
            assert!(satisfies(&calls[0].arguments), "{said}");
            assert_eq!((message.content.as_str(), calls[0].id.as_str()), ("", "call00000"), "{said}");
            // The template writes calls, so the chat keeps them apart.
            assert_eq!(session.messages()[1], message);
            session.add_message(
                Message::from_json(r#"{"role": "tool", "tool_call_id": "call00000", "content": "3"}"#).unwrap(),
            );
            let prompt = session.prompt(None).unwrap();
            let arguments: Value = serde_json::from_str(&calls[0].arguments).unwrap();
            let steps = arguments["steps"].to_string();
            assert!(prompt.starts_with("[go][stop]<user>go;<assistant>!call00000 go {"), "{prompt}");
            assert!(prompt.contains(&steps) && prompt.ends_with("<tool>3;<assistant>"), "{prompt}");
            let (output, message) = reply(&mut session, ToolChoice::Required);
            let calls = message.tool_calls();
            assert!(!calls.is_empty() && calls.iter().all(|call| call.name == "stop" || satisfies(&call.arguments)));
            assert!(calls[0].id == "call00001" && output.finish_reason == FinishReason::Eos, "{}", output.text);
        }
    }
}

#[test]
fn samples_that_must_call_a_tool_are_calls() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), &template(ToolFormat::Hermes));
    for seed in 0..20 {
        let mut session = model.session_with(&tools()).unwrap();
        let options = GenerateOptions {
            do_sample: Some(true),
            temperature: Some(3.0),
            seed: Some(seed),
            ..calling(ToolChoice::Required)
        };
        let output = session.send("go", &options, None).unwrap();
        let calls = output.message.unwrap().tool_calls();
        assert!((1..=16).contains(&calls.len()), "{}", output.text);
        assert!(calls.iter().all(|call| call.name == "stop" || satisfies(&call.arguments)), "{}", output.text);
    }
}

#[test]
fn no_choice_takes_the_tools_out_of_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), &template(ToolFormat::Hermes));
    let short = |choice| GenerateOptions { max_new_tokens: Some(3), ignore_eos: true, ..calling(choice) };
    let mut with = model.session_with(&tools()).unwrap();
    let mut without = model.session().unwrap();
    let none = with.send("go", &short(ToolChoice::None), None).unwrap();
    assert_eq!(none, without.send("go", &short(ToolChoice::Auto), None).unwrap());
    assert_eq!(with.prompt_tokens(), without.prompt_tokens());
    assert!(none.message.is_some_and(|message| message.is_plain() && message.content == none.text));
}

#[test]
fn choices_that_cannot_be_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), &template(ToolFormat::Hermes));
    let mut session = model.session_with(&tools()).unwrap();
    let mut plain = model.session().unwrap();
    let grammar = Some(kinglet::Grammar::Regex("a".into()));
    let mut refused = |options: GenerateOptions, says: &str| {
        let error = session.send("go", &options, None).unwrap_err();
        assert!(error.message().contains(says), "{error}");
        assert!(session.messages().is_empty());
    };
    refused(calling(function("fly")), "tool_choice: `fly` is neither a tool");
    refused(GenerateOptions { grammar, ..calling(ToolChoice::Required) }, "tool_choice: contradicts grammar");
    let error = plain.send("go", &calling(ToolChoice::Required), None).unwrap_err();
    assert!(error.message().contains("tool_choice: the chat has no tools"), "{error}");
    let error = model.generate(&["a"], &calling(ToolChoice::Required), None).unwrap_err();
    assert!(error.message().contains("tool_choice: is for chats"), "{error}");
    let continued = ChatOptions { continue_final_message: true, ..ChatOptions::default() };
    assert!(model.session_with(&continued).err().unwrap().message().starts_with("continue_final_message: "));

    let folder = tempfile::tempdir().unwrap();
    let unknown = chatty(folder.path(), "{% for m in messages %}{{ m.content }}{% endfor %}");
    let error = unknown.session_with(&tools()).unwrap().send("go", &calling(ToolChoice::Required), None).unwrap_err();
    assert!(error.status() == Status::Unsupported && error.message().contains("tool_format"), "{error}");
    let named = ChatOptions { tool_format: Some(ToolFormat::Llama3), ..tools() };
    let mut session = unknown.session_with(&named).unwrap();
    let (output, message) = reply(&mut session, function("stop"));
    assert_eq!(output.text.trim(), r#"{"name": "stop", "parameters": {}}"#);
    assert_eq!(message.tool_calls().len(), 1);
    // The template does not write calls, so the chat keeps the text.
    assert!(session.messages()[1].is_plain() && session.messages()[1].content.contains("\"stop\""));
    // A schema that cannot be enforced in a format without quotation marks.
    let pattern = r#"[{"name": "f", "parameters": {"properties": {"a": {"type": "string", "pattern": "x"}}}}]"#;
    let tools = Some(pattern.to_string());
    let options = ChatOptions { tools, tool_format: Some(ToolFormat::QwenXml), ..ChatOptions::default() };
    let error = unknown.session_with(&options).unwrap().send("go", &calling(function("f")), None).unwrap_err();
    assert!(error.message().contains("f.parameters.properties.a.pattern: cannot be enforced"), "{error}");
}

#[test]
fn the_cache_is_kept_as_far_as_the_prompt_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), &template(ToolFormat::Hermes));
    let mut session = model.session_with(&tools()).unwrap();
    session.add("system", "a long text that comes before all questions");
    reply(&mut session, function("go"));
    let before = session.prompt_tokens();
    session.add("tool", "3");
    model.reset_counters();
    let output = session.reply(&calling(function("stop")), None).unwrap();
    let fed = model.counters().stage(Stage::Prefill).tokens as usize;
    let prompt = session.prompt_tokens();
    assert!(fed <= prompt - before + 1, "{fed} of {prompt} tokens were computed, and {before} were known");
    // The same as for the whole prompt.
    let mut again = model.session_with(&tools()).unwrap();
    for message in &session.messages()[..session.messages().len() - 1] {
        again.add_message(message.clone());
    }
    assert_eq!(again.reply(&calling(function("stop")), None).unwrap().tokens, output.tokens);
}

#[test]
fn special_tokens_of_a_format_are_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    chatty(folder.path(), &(template(ToolFormat::Mistral) + "{# [ARGS] #}"));
    // Tokens that the fixture has no use for become those of the format.
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let mut unused: Vec<(String, u64)> =
        vocabulary.iter().map(|(token, id)| (token.clone(), id.as_u64().unwrap())).collect();
    unused.sort_by_key(|(_, id)| std::cmp::Reverse(*id));
    let marks = ["[TOOL_CALLS]", "[ARGS]"];
    let merges = tokenizer["model"]["merges"].clone();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let mut added = Vec::new();
    for (mark, (token, id)) in marks.iter().zip(unused) {
        vocabulary.remove(&token);
        vocabulary.insert(mark.to_string(), json!(id));
        added.push(
            json!({"id": id, "content": mark, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false}),
        );
    }
    let known: Vec<Value> = match merges {
        Value::Array(merges) => merges
            .into_iter()
            .filter(|merge| {
                let parts: Vec<String> = match merge {
                    Value::String(text) => text.split(' ').map(String::from).collect(),
                    other => other.as_array().unwrap().iter().map(|part| part.as_str().unwrap().into()).collect(),
                };
                let has = |text: &str| vocabulary.contains_key(text);
                has(&parts.concat()) && parts.iter().all(|part| has(part))
            })
            .collect(),
        _ => Vec::new(),
    };
    tokenizer["model"]["merges"] = known.into();
    tokenizer["added_tokens"].as_array_mut().unwrap().extend(added);
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let model = load(folder.path(), Device::Cpu, Precision::F32, 1);
    let mut session = model.session_with(&tools()).unwrap();
    let (output, message) = reply(&mut session, function("go"));
    assert!(!output.text.contains("[TOOL_CALLS]"), "{}", output.text);
    assert!(output.tokens.iter().any(|&id| model.decode(&[id], false).unwrap() == "[TOOL_CALLS]"));
    assert!(message.tool_calls().len() == 1 && satisfies(&message.tool_calls()[0].arguments), "{}", message.to_json());
    assert_eq!(session.messages()[1], message);
}

#[test]
fn prompts_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), &template(ToolFormat::Hermes));
    let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
    let prompt = |options: &ChatOptions| model.apply_chat_template(&messages, options, None).unwrap();
    assert_eq!(prompt(&ChatOptions::default()), "<user>a;<assistant>b;");
    assert_eq!(
        prompt(&ChatOptions { add_generation_prompt: true, ..tools() }),
        "[go][stop]<user>a;<assistant>b;<assistant>"
    );
    let continued = ChatOptions { continue_final_message: true, ..ChatOptions::default() };
    assert_eq!(prompt(&continued), "<user>a;<assistant>b");
    let mut session = model.session_with(&tools()).unwrap();
    messages.into_iter().for_each(|message| session.add_message(message));
    assert_eq!(session.prompt(None).unwrap(), "[go][stop]<user>a;<assistant>b;<assistant>");
    let plain = load(&fixtures().join("generation/llama"), Device::Cpu, Precision::F32, 1);
    let error = plain.apply_chat_template(&[], &tools(), None).unwrap_err();
    assert_eq!(error.status(), Status::Unsupported);
    assert_eq!(plain.parse_response("a", "", &tools()).unwrap_err().status(), Status::Unsupported);
}

#[test]
fn responses_are_read_by_the_template_s_format() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), &(template(ToolFormat::Hermes) + "{# <think> #}"));
    let text =
        "Hm.</think>\n\nI go.\n<tool_call>\n{\"name\": \"go\", \"arguments\": {\"where\": \"up\"}}\n</tool_call>";
    let message = model.parse_response(text, "<assistant><think>\n", &tools()).unwrap();
    let expected = json!({"role": "assistant", "content": "I go.", "reasoning_content": "Hm.", "tool_calls": [
        {"type": "function", "id": "call00000", "function": {"name": "go", "arguments": {"where": "up"}}}]});
    assert_eq!(serde_json::from_str::<Value>(&message.to_json()).unwrap(), expected);
    // Without tools there are no calls of tools.
    let message = model.parse_response(text, "", &ChatOptions::default()).unwrap();
    assert!(message.content.starts_with("I go.\n<tool_call>") && message.tool_calls().is_empty());
}

/// From a file of its own, from a list, and after packing.
#[test]
fn a_model_s_own_template_for_tools_is_taken() {
    let prompts = |model: &Model| {
        [ChatOptions::default(), tools()].map(|options| model.apply_chat_template(&[], &options, None).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("additional_chat_templates");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("tool_use.jinja"), "tools").unwrap();
    let model = chatty(folder.path(), "plain");
    assert_eq!(prompts(&model), ["plain", "tools"]);
    let packed = folder.path().join("packed.kinglet");
    kinglet::quantize(folder.path(), &packed, Precision::F16, &mut |_| true).unwrap();
    assert_eq!(prompts(&load(&packed, Device::Cpu, Precision::Auto, 1)), ["plain", "tools"]);
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    std::fs::remove_dir_all(path).unwrap();
    let config =
        json!({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]});
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    assert_eq!(prompts(&load(folder.path(), Device::Cpu, Precision::F32, 1)), ["d", "t"]);
}
