//! Chat sessions.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ThreadId};

use crate::base::error::{Error, Result};
use crate::base::fork::{Birth, Lock};
use crate::generate::session::Session;
use crate::generate::{Generations, Output};
use crate::text::chat::Message;

use super::answers::Answers;
use super::boundary::boundary;
use super::chat::{self, kinglet_chat_options};
use super::error::{kinglet_error, kinglet_status};
use super::generate_options::{self, kinglet_generate_options};
use super::generation::{kinglet_generations, listening};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::{kinglet_str, kinglet_text};
use super::structs::{Results, options, versioned};

/// A message of a chat.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_message {
    /// sizeof(kinglet_message), set by the caller.
    pub struct_size: usize,
    /// `system`, `user`, `assistant`, `tool`, or another role that the model's chat template knows.
    pub role: kinglet_str,
    /// The text of the message.
    pub content: kinglet_str,
    /// The whole message as a JSON object, if it has more than a role and a text: `tool_calls`, `tool_call_id`, `name`,
    /// `reasoning_content`, a `content` of parts, or what else the template reads. Empty: none. A role and a content beside it must be
    /// empty, or the same as in it.
    pub json: kinglet_str,
}

versioned!(kinglet_message, "message", 40);

/// Options of kinglet_session_new. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_session_options {
    /// sizeof(kinglet_session_options).
    pub struct_size: usize,
    /// Tools, documents and variables of the template. They are read during the call. NULL: none.
    pub chat: *const kinglet_chat_options,
}

versioned!(kinglet_session_options, "options", 8);

handle! {
    /// A chat with a model that keeps the keys and values of earlier turns, so that a turn costs only its own tokens. It holds a
    /// reference to its model. Calls on one session from several threads run one after the other.
    pub struct kinglet_session: Owned<Chat>, "session";
    /// Frees a session.
    pub fn kinglet_session_free;
}

/// A session, and the thread that generates with it: a callback there that used the session would wait for itself.
pub(super) struct Chat {
    session: Mutex<Session>,
    generating: Lock<Option<ThreadId>>,
    birth: Birth,
}

impl Chat {
    fn set_generating(&self, thread: Option<ThreadId>) {
        *self.generating.lock() = thread;
    }

    /// Runs what may call back.
    fn generate<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        struct Clear<'a>(&'a Chat);
        impl Drop for Clear<'_> {
            fn drop(&mut self) {
                self.0.set_generating(None);
            }
        }
        self.set_generating(Some(thread::current().id()));
        let _clear = Clear(self);
        work()
    }
}

/// # Safety
/// As `handle::borrow`.
unsafe fn lock<'a>(session: *const kinglet_session) -> Result<(&'a Chat, MutexGuard<'a, Session>)> {
    // SAFETY: the caller's promise.
    let chat = unsafe { handle::borrow(session) }?;
    if *chat.generating.lock() == Some(thread::current().id()) {
        return Err(Error::invalid_argument("session: is used by its own callback, in the middle of a reply"));
    }
    let session = match chat.session.try_lock() {
        Ok(session) => session,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) if chat.birth.was_in_a_parent() => {
            return Err(Error::invalid_argument("session: another thread was using it when this process was forked"));
        }
        Err(TryLockError::WouldBlock) => chat.session.lock().unwrap_or_else(PoisonError::into_inner),
    };
    Ok((chat, session))
}

/// Starts a chat. `options` may be NULL. `*session` receives the session. Fails with KINGLET_STATUS_UNSUPPORTED if the model is not a
/// decoder or has no chat template, and with KINGLET_STATUS_INVALID_ARGUMENT for options that are not as they should be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_new(
    model: *const kinglet_model,
    options: *const kinglet_session_options,
    session: *mut *mut kinglet_session,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(session, error, || {
        // SAFETY: C passes a live handle and options of the size that they state.
        let (loaded, (chat, _)) = unsafe { (handle::borrow(model)?, chat::read(self::options(options)?.chat)?) };
        let session = Mutex::new(loaded.model.session_with(&chat)?);
        Ok(Chat { session, generating: Lock::new(None), birth: Birth::now() })
    })
}

/// Adds a message without asking for a reply, for instance a system prompt, an example or the result of a tool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_add(
    session: *mut kinglet_session,
    message: *const kinglet_message,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a message of the size that it states, with texts as their sizes say.
        let ((_, mut session), role, content, json) = unsafe {
            let session = lock(session)?;
            if message.is_null() {
                return Err(handle::null("message"));
            }
            let m = self::options(message)?;
            let (role, content) =
                (m.role.text(|| "message.role".into())?, m.content.text(|| "message.content".into())?);
            (session, role, content, m.json.text(|| "message.json".into())?)
        };
        let message = match json {
            "" => Message::new(role, content),
            json => Message::from_json(json)?,
        };
        for (name, set, read) in [("role", role, &message.role), ("content", content, &message.content)] {
            if !set.is_empty() && set != read {
                let what = format!("message.{name}: differs from that in message.json; leave it out");
                return Err(Error::invalid_argument(what));
            }
        }
        session.add_message(message);
        Ok(())
    })
}

fn reply_of(session: &Session, output: Output) -> Answers {
    let input_tokens = vec![session.prompt_tokens()];
    let message = output.message.as_ref().map(Message::to_json).unwrap_or_default();
    Answers { generations: Generations { outputs: vec![vec![output]], input_tokens, truncated: vec![0] }, message }
}

/// Adds a user's message, generates the reply and adds it. `options` may be NULL. `*generations` receives the reply as its only output.
/// If the call fails or is cancelled, the chat is unchanged. Fails like kinglet_model_generate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_send(
    session: *mut kinglet_session,
    content: kinglet_str,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(generations, error, || {
        let ((chat, mut session), content, (options, callback)) =
            // SAFETY: C passes a live handle, a text as its size says and options of the size that they state.
            unsafe { (lock(session)?, content.text(|| "content".into())?, generate_options::read(options)?) };
        let output = chat.generate(|| listening(callback, |listener| session.send(content, &options, listener)))?;
        Ok(reply_of(&session, output))
    })
}

/// Generates the next message from the messages so far and adds it as the assistant's. Otherwise like kinglet_session_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_reply(
    session: *mut kinglet_session,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(generations, error, || {
        // SAFETY: C passes a live handle and options of the size that they state.
        let ((chat, mut session), (options, callback)) = unsafe { (lock(session)?, generate_options::read(options)?) };
        let output = chat.generate(|| listening(callback, |listener| session.reply(&options, listener)))?;
        Ok(reply_of(&session, output))
    })
}

/// Removes all messages from number `count` on, so that the first `count` are left; what those need stays computed. Does nothing if
/// there are no more than that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_rewind(
    session: *mut kinglet_session,
    count: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        unsafe { lock(session) }?.1.rewind(count);
        Ok(())
    })
}

/// What is known of a session.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_session_view {
    /// sizeof(kinglet_session_view), set by the caller.
    pub struct_size: usize,
    /// Messages in the chat.
    pub message_count: usize,
    /// Tokens whose keys and values are kept for the next turn.
    pub held_tokens: usize,
}

versioned!(kinglet_session_view, "view", 24);

/// Fills `view` with the present state of the session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_read(
    session: *const kinglet_session,
    view: *mut kinglet_session_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let ((_, session), view) = unsafe { (lock(session)?, Results::new(view)?) };
        let (message_count, held_tokens) = (session.messages().len(), session.held_tokens());
        view.write(kinglet_session_view { struct_size: 0, message_count, held_tokens });
        Ok(())
    })
}

/// Writes the prompt that the next reply continues: the messages so far as the chat template writes them. `*text` receives it. Fails like
/// kinglet_model_apply_chat_template.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_prompt(
    session: *const kinglet_session,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a live handle.
    handle::create(text, error, || Ok(unsafe { lock(session) }?.1.prompt(None)?.into_boxed_str()))
}

/// A message, and its JSON if it has more than a role and a text.
pub(super) struct Copied {
    message: Message,
    json: String,
}

impl From<&Message> for Copied {
    fn from(message: &Message) -> Self {
        let json = if message.is_plain() { String::new() } else { message.to_json() };
        Self { message: message.clone(), json }
    }
}

handle! {
    /// The messages of a chat at one moment; a copy.
    pub struct kinglet_messages: Owned<Vec<Copied>>, "messages";
    /// Frees messages and everything borrowed from them.
    pub fn kinglet_messages_free;
}

/// Copies the messages of the chat. `*messages` receives the copy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_messages(
    session: *const kinglet_session,
    messages: *mut *mut kinglet_messages,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a live handle.
    handle::create(messages, error, || Ok(unsafe { lock(session) }?.1.messages().iter().map(Copied::from).collect()))
}

/// The number of messages; 0 if `messages` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_messages_count(messages: *const kinglet_messages) -> usize {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(messages) }.map_or(0, |messages| messages.len())
}

/// Fills `message` with message number `index`, valid until the messages are freed. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there
/// is no such message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_messages_get(
    messages: *const kinglet_messages,
    index: usize,
    message: *mut kinglet_message,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (messages, place) = unsafe { (handle::borrow(messages)?, Results::new(message)?) };
        let Copied { message, json } = handle::item(messages, index, "index")?;
        let [role, content, json] = [&message.role, &message.content, json].map(|text| kinglet_str::lend(text));
        place.write(kinglet_message { struct_size: 0, role, content, json });
        Ok(())
    })
}
