//! Prefixes that prompts share, and chats.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::base::error::{Error, Result};
use crate::generate::session::{Prefix, Session};
use crate::generate::{Generations, Output};

use super::boundary::{boundary, quietly};
use super::error::{kinglet_error, kinglet_status};
use super::generate_options::{self, kinglet_generate_options};
use super::generation::{kinglet_generations, listening};
use super::handle::{self, Alone, Handle, Place};
use super::model::kinglet_model;
use super::strings::kinglet_str;
use super::structs::{Results, Versioned, flag};

/// The beginning of prompts, computed once.
pub struct kinglet_prefix {
    _private: [u8; 0],
}

impl Handle for kinglet_prefix {
    type Target = Prefix;
    type Ownership = Alone;
    const NAME: &'static str = "prefix";
}

/// Computes the beginning of prompts. Prompts that begin with the same tokens, as far as they do, are then generated from without
/// computing it again (kinglet_generate_options.prefix). `add_special_tokens` is 1 or 0, as it will be for the prompts. On success
/// `*prefix` is a prefix that the caller frees with kinglet_prefix_free; it may outlive the model's handle. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_prefix_new(
    model: *const kinglet_model,
    text: kinglet_str,
    add_special_tokens: u32,
    prefix: *mut *mut kinglet_prefix,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a text as its size says.
        let (loaded, text) = unsafe { (handle::borrow(model)?, text.text(|| "text".into())?) };
        let place = Place::new(prefix, "prefix")?;
        let add_special_tokens = flag(add_special_tokens, "add_special_tokens")?;
        place.write(handle::give(loaded.model.prefix(text, add_special_tokens)?));
        Ok(())
    })
}

/// Frees a prefix. NULL does nothing. Calls that were given it and have begun may still run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_prefix_free(prefix: *mut kinglet_prefix) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(prefix) });
}

/// A chat with a model, whose earlier turns stay computed. Calls on one session wait for each other.
pub struct kinglet_session {
    _private: [u8; 0],
}

impl Handle for kinglet_session {
    type Target = Chat;
    type Ownership = Alone;
    const NAME: &'static str = "session";
}

/// A session, and the thread that generates with it: a callback there that used the session would wait for itself.
pub struct Chat {
    session: Mutex<Session>,
    generating: Mutex<Option<ThreadId>>,
}

impl Chat {
    fn set_generating(&self, thread: Option<ThreadId>) {
        *self.generating.lock().unwrap_or_else(PoisonError::into_inner) = thread;
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
    if *chat.generating.lock().unwrap_or_else(PoisonError::into_inner) == Some(thread::current().id()) {
        return Err(Error::invalid_argument("session: is used by its own callback, in the middle of a reply"));
    }
    Ok((chat, chat.session.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Begins a chat. KINGLET_STATUS_UNSUPPORTED if the model has no chat template. On success `*session` is a session that the caller
/// frees with kinglet_session_free; it keeps the model alive. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_new(
    model: *const kinglet_model,
    session: *mut *mut kinglet_session,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        let loaded = unsafe { handle::borrow(model) }?;
        let place = Place::new(session, "session")?;
        place.write(handle::give(Chat { session: Mutex::new(loaded.model.session()?), generating: Mutex::new(None) }));
        Ok(())
    })
}

/// Adds a message without asking for a reply: a system prompt, an example. `role` is `system`, `user`, `assistant`, or what else the
/// model's template knows. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_add(
    session: *const kinglet_session,
    role: kinglet_str,
    content: kinglet_str,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        let ((_, mut session), role, content) =
            // SAFETY: C passes a live handle and texts as their sizes say.
            unsafe { (lock(session)?, role.text(|| "role".into())?, content.text(|| "content".into())?) };
        session.add(role, content);
        Ok(())
    })
}

fn reply_of(session: &Session, output: Output) -> *mut kinglet_generations {
    let input_tokens = vec![session.prompt_tokens()];
    handle::give(Generations { outputs: vec![vec![output]], input_tokens, truncated: vec![0] })
}

/// Adds a user's message and generates the reply, which is added too. `options` may be NULL. On success `*generations` hold the
/// reply as their only text; the caller frees them with kinglet_generations_free. On failure, a cancelled one too, the chat is as it
/// was. A callback in the options that uses the session gets KINGLET_STATUS_INVALID_ARGUMENT. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_send(
    session: *const kinglet_session,
    content: kinglet_str,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        let ((chat, mut session), content, (options, callback)) =
            // SAFETY: C passes a live handle, a text as its size says and options of the size that they state.
            unsafe { (lock(session)?, content.text(|| "content".into())?, generate_options::read(options)?) };
        let place = Place::new(generations, "generations")?;
        let output = chat.generate(|| listening(callback, |listener| session.send(content, &options, listener)))?;
        place.write(reply_of(&session, output));
        Ok(())
    })
}

/// Generates the next message from what has been said, and adds it as the assistant's; otherwise as kinglet_session_send. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_reply(
    session: *const kinglet_session,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and options of the size that they state.
        let ((chat, mut session), (options, callback)) = unsafe { (lock(session)?, generate_options::read(options)?) };
        let place = Place::new(generations, "generations")?;
        let output = chat.generate(|| listening(callback, |listener| session.reply(&options, listener)))?;
        place.write(reply_of(&session, output));
        Ok(())
    })
}

/// Forgets the messages from number `messages` on (0 forgets all). What the rest needs stays computed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_rewind(
    session: *const kinglet_session,
    messages: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        unsafe { lock(session) }?.1.rewind(messages);
        Ok(())
    })
}

/// What a session holds. Set `struct_size` to its size before the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_session_view {
    pub struct_size: usize,
    /// Messages so far.
    pub message_count: usize,
    /// Tokens whose keys and values are held for the next turn.
    pub held_tokens: usize,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_session_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Fills `view` with what the session holds now. Any thread.
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

/// A message of a chat. Set `struct_size` to its size before the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_message_view {
    pub struct_size: usize,
    /// Valid until the session is changed or freed.
    pub role: kinglet_str,
    /// Valid until the session is changed or freed.
    pub content: kinglet_str,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_message_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Fills `view` with message number `index`. No other call may change the session while the view is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_message(
    session: *const kinglet_session,
    index: usize,
    view: *mut kinglet_message_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let ((_, session), view) = unsafe { (lock(session)?, Results::new(view)?) };
        let count = session.messages().len();
        let message = session.messages().get(index);
        let message = message.ok_or_else(|| Error::invalid_argument(format!("index: {index} is not below {count}")))?;
        let (role, content) = (kinglet_str::lend(&message.role), kinglet_str::lend(&message.content));
        view.write(kinglet_message_view { struct_size: 0, role, content });
        Ok(())
    })
}

/// Frees a session. NULL does nothing. No other call may use it meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_session_free(session: *mut kinglet_session) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(session) });
}
