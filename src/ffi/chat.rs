//! Chat templates: prompts, and what answers say.

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result};
use crate::text::chat::{ChatOptions, Message, ToolFormat};

use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle;
use super::model::kinglet_model;
use super::strings::{kinglet_str, kinglet_text, optional};
use super::structs::{self, choice, flag, reserved, versioned};

enumeration! {
    /// How a model writes the calls of tools.
    pub type kinglet_tool_format, kinglet_tool_format_name;
    /// As the model's chat template says.
    KINGLET_TOOL_FORMAT_AUTO = 0, c"auto";
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen 2.5 and 3.
    KINGLET_TOOL_FORMAT_HERMES = 1, c"hermes", ToolFormat::Hermes;
    /// `{"name": ..., "parameters": {...}}` at the beginning of the answer, with or without `<|python_tag|>`: Llama 3.
    KINGLET_TOOL_FORMAT_LLAMA3 = 2, c"llama3", ToolFormat::Llama3;
    /// `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral.
    KINGLET_TOOL_FORMAT_MISTRAL = 3, c"mistral", ToolFormat::Mistral;
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder.
    KINGLET_TOOL_FORMAT_QWEN_XML = 4, c"qwen_xml", ToolFormat::QwenXml;
}

/// What a chat has beside its messages, by the names of transformers' apply_chat_template. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_chat_options {
    /// sizeof(kinglet_chat_options).
    pub struct_size: usize,
    /// A JSON array of the functions that the model may call: `{"type": "function", "function": {"name", "description",
    /// "parameters"}}`, or what `function` is there alone. `parameters` is a JSON schema of type object. Empty: none.
    pub tools: kinglet_str,
    /// A JSON array of documents, objects with the members that the template reads. Empty: none.
    pub documents: kinglet_str,
    /// A JSON object of further variables of the template, for instance `{"enable_thinking": false}`. Empty: none.
    pub template_variables: kinglet_str,
    /// How the model writes the calls of tools.
    pub tool_format: kinglet_tool_format,
    /// 1 ends the prompt with what begins an answer; 0 is the default. A session does so always.
    pub add_generation_prompt: u32,
    /// 1 ends the prompt in the last message, so that the model continues it; 0 is the default. Not for a session.
    pub continue_final_message: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Cancels the call from another thread. NULL: none. Not the replies of a session: kinglet_generate_options has one for each.
    pub cancellation: *const kinglet_cancellation,
}

versioned!(kinglet_chat_options, "options", 80);

/// Reads options.
///
/// # Safety
/// `pointer` is NULL or points at options of the size that they state, whose texts and cancellation are NULL or alive.
pub(super) unsafe fn read(pointer: *const kinglet_chat_options) -> Result<(ChatOptions, Option<Cancellation>)> {
    // SAFETY: the caller's promise, here and for every pointer below.
    let o = unsafe { structs::options(pointer) }?;
    reserved(o.reserved)?;
    let json = |text: kinglet_str, name: &str| -> Result<Option<String>> {
        // SAFETY: as above.
        Ok(unsafe { optional(text, name) }?.filter(|text| !text.is_empty()))
    };
    let options = ChatOptions {
        tools: json(o.tools, "options.tools")?,
        documents: json(o.documents, "options.documents")?,
        template_variables: json(o.template_variables, "options.template_variables")?,
        tool_format: choice(o.tool_format, "options.tool_format", ToolFormat::from_u32)?,
        add_generation_prompt: flag(o.add_generation_prompt, "options.add_generation_prompt")?,
        continue_final_message: flag(o.continue_final_message, "options.continue_final_message")?,
    };
    // SAFETY: as above.
    let cancellation = unsafe { cancellation::optional(o.cancellation) };
    if cancellation.as_ref().is_some_and(Cancellation::is_cancelled) {
        return Err(Error::cancelled());
    }
    Ok((options, cancellation))
}

/// Writes the prompt that the model's chat template makes of a chat. `messages` is a JSON array of messages, each an object with a `role`,
/// a `content` (a text, a list of parts, or none) and what else the template reads, as transformers' apply_chat_template takes them.
/// `options` may be NULL. `*text` receives the prompt; special tokens are in it, so generate with `add_special_tokens` off. Fails with
/// KINGLET_STATUS_UNSUPPORTED if the model has no chat template, KINGLET_STATUS_INVALID_ARGUMENT for messages and options that are not as
/// they should be or that the template rejects, KINGLET_STATUS_INVALID_FILE if the template itself is broken, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_apply_chat_template(
    model: *const kinglet_model,
    messages: kinglet_str,
    options: *const kinglet_chat_options,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(text, error, || {
        let (loaded, messages, (options, cancellation)) =
            // SAFETY: C passes a live handle, a text as its size says and options of the size that they state.
            unsafe { (handle::borrow(model)?, messages.text(|| "messages".into())?, read(options)?) };
        let messages = Message::list_from_json(messages)?;
        Ok(loaded.model.apply_chat_template(&messages, &options, cancellation.as_ref())?.into_boxed_str())
    })
}

/// Reads the text of an answer, `response`. `*text` receives a JSON object with `role`, `content` and, where there is any, `reasoning_content` (what
/// the model thought) and `tool_calls` (the tools of `options` that it calls, as
/// `{"type": "function", "id": ..., "function": {"name": ..., "arguments": {...}}}`). What is no whole call of one of these tools stays in
/// the content. `prefix` is the prompt, or its end, or empty: some templates begin the thought themselves. `options` may be NULL. Fails with
/// KINGLET_STATUS_UNSUPPORTED if the model has no chat template, and KINGLET_STATUS_INVALID_ARGUMENT for options that are not as they should
/// be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_parse_response(
    model: *const kinglet_model,
    response: kinglet_str,
    prefix: kinglet_str,
    options: *const kinglet_chat_options,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(text, error, || {
        // SAFETY: C passes a live handle, texts as their sizes say and options of the size that they state.
        let (loaded, response, prefix, (options, _)) = unsafe {
            let (response, prefix) = (response.text(|| "response".into())?, prefix.text(|| "prefix".into())?);
            (handle::borrow(model)?, response, prefix, read(options)?)
        };
        Ok(loaded.model.parse_response(response, prefix, &options)?.to_json().into_boxed_str())
    })
}
