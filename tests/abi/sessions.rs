//! Prefixes and chats.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_messages_get",
    "kinglet_model_apply_chat_template",
    "kinglet_model_parse_response",
    "kinglet_prefix_new",
    "kinglet_session_add",
    "kinglet_session_messages",
    "kinglet_session_new",
    "kinglet_session_prompt",
    "kinglet_session_read",
    "kinglet_session_reply",
    "kinglet_session_rewind",
    "kinglet_session_send",
];

#[test]
fn prefixes() {
    let (writer, translator, cancelled) = (load("generation/gpt2"), load("generation/t5-gated"), cancelled());
    let mut prefix = untouched();
    let (good, out) = (text("good"), &raw mut prefix);
    let f = "kinglet_prefix_new";
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| kinglet_prefix_new(null(), good, null(), out, e));
        refused(f, "prefix: is NULL", |e| kinglet_prefix_new(writer, good, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_prefix_new(writer, bad, null(), out, e));
        }
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "needs a decoder", &mut |e| {
            kinglet_prefix_new(translator, good, null(), out, e)
        });
        let default = sized!(kinglet_prefix_options);
        let with = |o, e| kinglet_prefix_new(writer, good, o, out, e);
        check_options!("kinglet_prefix_new", kinglet_prefix_options, default, [add_special_tokens], with);
        let options = kinglet_prefix_options { reserved: 1, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "reserved: is 1", &mut |e| with(&options, e));
        let options = kinglet_prefix_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| with(&options, e));
        assert_eq!(prefix.addr(), OUT);
        ok(|e| with(&default, e));
        kinglet_prefix_free(prefix);
        kinglet_cancellation_free(cancelled);
        [writer, translator].into_iter().for_each(|model| kinglet_model_free(model));
    }
}

#[test]
fn templates() {
    let (writer, talker, cancelled) = (load("generation/gpt2"), load_chat(), cancelled());
    let mut made = untouched();
    let (messages, out) = (text(r#"[{"role": "user", "content": "a"}]"#), &raw mut made);
    let default = sized!(kinglet_chat_options);
    let apply = kinglet_model_apply_chat_template;
    let parse = kinglet_model_parse_response;
    let none = text("");
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let f = "kinglet_model_apply_chat_template";
        refused(f, "model: is NULL", |e| apply(null(), messages, null(), out, e));
        refused(f, "text: is NULL", |e| apply(talker, messages, null(), null_mut(), e));
        refused(f, "messages: is not valid JSON", |e| apply(talker, none, null(), out, e));
        refused(f, "messages[0].role: is missing", |e| apply(talker, text("[{}]"), null(), out, e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| apply(talker, bad, null(), out, e));
            let tools = kinglet_chat_options { tools: bad, ..default };
            refused(f, "options.tools: ", |e| apply(talker, messages, &tools, out, e));
            let documents = kinglet_chat_options { documents: bad, ..default };
            refused(f, "options.documents: ", |e| apply(talker, messages, &documents, out, e));
            let variables = kinglet_chat_options { template_variables: bad, ..default };
            refused(f, "options.template_variables: ", |e| apply(talker, messages, &variables, out, e));
        }
        let flags = [tool_format_of, generation_prompt_of, continued_of];
        for (flag, says) in flags.iter().zip(["tool_format", "add_generation_prompt", "continue_final_message"]) {
            let options = flag(default);
            refused(f, &format!("options.{says}: 77"), |e| apply(talker, messages, &options, out, e));
        }
        check_options!("kinglet_model_apply_chat_template", kinglet_chat_options, default, [], |o, e| apply(
            talker, messages, o, out, e
        ));
        let options = kinglet_chat_options { reserved: 1, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "reserved: is 1", &mut |e| {
            apply(talker, messages, &options, out, e)
        });
        let options = kinglet_chat_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| apply(talker, messages, &options, out, e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "chat template", &mut |e| apply(writer, messages, null(), out, e));
        let tools = kinglet_chat_options { tools: text("{}"), ..default };
        refused(f, "tools: `{}` is not a JSON array", |e| apply(talker, messages, &tools, out, e));

        let f = "kinglet_model_parse_response";
        refused(f, "model: is NULL", |e| parse(null(), none, none, null(), out, e));
        refused(f, "text: is NULL", |e| parse(talker, none, none, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| parse(talker, bad, none, null(), out, e));
            refused(f, "prefix: ", |e| parse(talker, none, bad, null(), out, e));
        }
        check_options!("kinglet_model_parse_response", kinglet_chat_options, default, [], |o, e| parse(
            talker, none, none, o, out, e
        ));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "chat template", &mut |e| {
            parse(writer, none, none, null(), out, e)
        });
        assert_eq!(made.addr(), OUT);
        ok(|e| apply(talker, messages, &default, out, e));
        assert_eq!(read(kinglet_text_str(made)), "<user>a");
        kinglet_text_free(made);
        let options = kinglet_chat_options {
            tools: text(r#"[{"name": "f"}]"#),
            tool_format: KINGLET_TOOL_FORMAT_LLAMA3,
            ..default
        };
        let response = text(r#"{"name": "f", "parameters": {}}"#);
        ok(|e| parse(talker, response, none, &options, out, e));
        let message: serde_json::Value = serde_json::from_str(&read(kinglet_text_str(made))).unwrap();
        assert_eq!(message["tool_calls"][0]["function"]["name"], "f");
        kinglet_text_free(made);
        kinglet_cancellation_free(cancelled);
        [writer, talker].into_iter().for_each(|model| kinglet_model_free(model));
    }
}

fn tool_format_of(options: kinglet_chat_options) -> kinglet_chat_options {
    kinglet_chat_options { tool_format: 77, ..options }
}

fn generation_prompt_of(options: kinglet_chat_options) -> kinglet_chat_options {
    kinglet_chat_options { add_generation_prompt: 77, ..options }
}

fn continued_of(options: kinglet_chat_options) -> kinglet_chat_options {
    kinglet_chat_options { continue_final_message: 77, ..options }
}

fn message(role: kinglet_str, content: kinglet_str) -> kinglet_message {
    kinglet_message { role, content, ..sized!(kinglet_message) }
}

#[test]
fn chats() {
    let (writer, talker, cancelled) = (load("generation/gpt2"), load_chat(), cancelled());
    let (mut session, mut reply) = (untouched(), untouched());
    let (good, out) = (text("good"), &raw mut reply);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let f = "kinglet_session_new";
        refused(f, "model: is NULL", |e| kinglet_session_new(null(), null(), &mut session, e));
        refused(f, "session: is NULL", |e| kinglet_session_new(talker, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "chat template", &mut |e| {
            kinglet_session_new(writer, null(), &mut session, e)
        });
        let default = sized!(kinglet_session_options);
        check_options!("kinglet_session_new", kinglet_session_options, default, [], |o, e| kinglet_session_new(
            talker,
            o,
            &mut untouched(),
            e
        ));
        let chat = kinglet_chat_options { documents: text("5"), ..sized!(kinglet_chat_options) };
        let options = kinglet_session_options { chat: &chat, ..default };
        refused(f, "documents: `5`", |e| kinglet_session_new(talker, &options, &mut session, e));
        assert_eq!(session.addr(), OUT);
        ok(|e| kinglet_session_new(talker, &default, &mut session, e));

        let f = "kinglet_session_add";
        let (user, none) = (message(text("user"), good), text(""));
        refused(f, "session: is NULL", |e| kinglet_session_add(null_mut(), &user, e));
        refused(f, "message: is NULL", |e| kinglet_session_add(session, null(), e));
        check_options!("kinglet_session_add", kinglet_message, user, [], |m, e| kinglet_session_add(session, m, e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_session_add(session, &message(bad, good), e));
            refused(f, "message.content: ", |e| kinglet_session_add(session, &message(good, bad), e));
            let json = kinglet_message { json: bad, ..message(none, none) };
            refused(f, "message.json: ", |e| kinglet_session_add(session, &json, e));
        }
        let whole = text(r#"{"role": "tool", "content": "3", "tool_call_id": "x"}"#);
        let json = kinglet_message { json: whole, ..message(good, none) };
        refused(f, "message.role: differs", |e| kinglet_session_add(session, &json, e));
        let json = kinglet_message { json: whole, ..message(none, good) };
        refused(f, "message.content: differs", |e| kinglet_session_add(session, &json, e));
        let json = kinglet_message { json: text("5"), ..message(none, none) };
        refused(f, "message: `5` is not", |e| kinglet_session_add(session, &json, e));
        let f = "kinglet_session_prompt";
        let mut prompt = untouched();
        refused(f, "session: is NULL", |e| kinglet_session_prompt(null(), &mut prompt, e));
        refused(f, "text: is NULL", |e| kinglet_session_prompt(session, null_mut(), e));
        let json = kinglet_message { json: whole, ..message(text("tool"), text("3")) };
        ok(|e| kinglet_session_add(session, &json, e));
        ok(|e| kinglet_session_prompt(session, &mut prompt, e));
        assert_eq!(read(kinglet_text_str(prompt)), "<tool>3");
        kinglet_text_free(prompt);
        ok(|e| kinglet_session_rewind(session, 0, e));
        ok(|e| kinglet_session_add(session, &user, e));

        let f = "kinglet_session_reply";
        refused(f, "session: is NULL", |e| kinglet_session_reply(null_mut(), null(), out, e));
        refused(f, "generations: is NULL", |e| kinglet_session_reply(session, null(), null_mut(), e));
        check_options!("kinglet_session_reply", kinglet_generate_options, generate_options(), [do_sample], |o, e| {
            kinglet_session_reply(session, o, out, e)
        });
        let mut options = kinglet_generate_options { cancellation: cancelled, ..generate_options() };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_session_reply(session, &options, out, e)
        });
        let f = "kinglet_session_send";
        refused(f, "session: is NULL", |e| kinglet_session_send(null_mut(), good, null(), out, e));
        refused(f, "generations: is NULL", |e| kinglet_session_send(session, good, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_session_send(session, bad, null(), out, e));
        }
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_session_send(session, good, &options, out, e)
        });
        assert_eq!(reply.addr(), OUT);
        let view = check_filled!("kinglet_session_read", kinglet_session_view, session, "session", |h, v, e| {
            kinglet_session_read(h, v, e)
        });
        assert_eq!((view.message_count, view.held_tokens), (1, 0));
        (options.cancellation, options.max_new_tokens) = (null(), 2);
        let tool_choice = kinglet_generate_options { tool_choice: text("required"), ..options };
        refused("kinglet_session_reply", "tool_choice: the chat has no tools", |e| {
            kinglet_session_reply(session, &tool_choice, out, e)
        });
        ok(|e| kinglet_session_reply(session, &options, out, e));
        let mut output = sized!(kinglet_generation_output);
        ok(|e| kinglet_generations_output(reply, 0, 0, &mut output, e));
        let message: serde_json::Value = serde_json::from_str(&read(output.message)).unwrap();
        assert_eq!(message["content"], read(output.text));
        kinglet_generations_free(reply);
        messages(session);
        kinglet_session_free(session);
        kinglet_cancellation_free(cancelled);
        [writer, talker].into_iter().for_each(|model| kinglet_model_free(model));
    }
}

/// Of a chat with a user's message and the reply.
fn messages(session: *mut kinglet_session) {
    let mut messages = untouched();
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let f = "kinglet_session_messages";
        refused(f, "session: is NULL", |e| kinglet_session_messages(null(), &mut messages, e));
        refused(f, "messages: is NULL", |e| kinglet_session_messages(session, null_mut(), e));
        assert_eq!(messages.addr(), OUT);
        ok(|e| kinglet_session_messages(session, &mut messages, e));
        refused("kinglet_session_rewind", "session: is NULL", |e| kinglet_session_rewind(null_mut(), 0, e));
        ok(|e| kinglet_session_rewind(session, 0, e));
        // The copy outlives what happens to the chat.
        assert_eq!(kinglet_messages_count(messages), 2);
        let last = check_filled!("kinglet_messages_get", kinglet_message, messages, "messages", |h, m, e| {
            kinglet_messages_get(h, 1, m, e)
        });
        assert_eq!(read(last.role), "assistant");
        let mut message = sized!(kinglet_message);
        refused("kinglet_messages_get", "index: 2", |e| kinglet_messages_get(messages, 2, &mut message, e));
        kinglet_messages_free(messages);
    }
}
