//! Prefixes and chats.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_messages_get",
    "kinglet_prefix_new",
    "kinglet_session_add",
    "kinglet_session_messages",
    "kinglet_session_new",
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
        assert_eq!(session.addr(), OUT);
        ok(|e| kinglet_session_new(talker, &default, &mut session, e));

        let f = "kinglet_session_add";
        let user = message(text("user"), good);
        refused(f, "session: is NULL", |e| kinglet_session_add(null_mut(), &user, e));
        refused(f, "message: is NULL", |e| kinglet_session_add(session, null(), e));
        check_options!("kinglet_session_add", kinglet_message, user, [], |m, e| kinglet_session_add(session, m, e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_session_add(session, &message(bad, good), e));
            refused(f, "message.content: ", |e| kinglet_session_add(session, &message(good, bad), e));
        }
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
        ok(|e| kinglet_session_reply(session, &options, out, e));
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
