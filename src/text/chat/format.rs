//! How models write calls of tools and what they think: what their chat templates say of it.

/// How a model writes the calls of tools. The numbers are part of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ToolFormat {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen 2.5 and 3, SmolLM 3.
    Hermes = 1,
    /// `{"name": …, "parameters": {…}}` at the beginning of the answer, with or without `<|python_tag|>`: Llama 3.
    Llama3 = 2,
    /// `[TOOL_CALLS][{"name": …, "arguments": {…}}]`, or `[TOOL_CALLS]name[ARGS]{…}`: Mistral.
    Mistral = 3,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder.
    QwenXml = 4,
}

impl ToolFormat {
    pub const ALL: [Self; 4] = [Self::Hermes, Self::Llama3, Self::Mistral, Self::QwenXml];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::Llama3 => "llama3",
            Self::Mistral => "mistral",
            Self::QwenXml => "qwen_xml",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&format| format as u32 == value)
    }
}

/// The texts that begin and end what a model thinks.
pub(super) const THOUGHTS: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];

/// Texts of a format that tokenizers may have as special tokens. They are kept in a text that is parsed.
const MARKERS: [&str; 10] = [
    "<tool_call>",
    "</tool_call>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "<think>",
    "</think>",
    "[THINK]",
    "[/THINK]",
];

/// Whether a special token belongs to a format.
pub(crate) fn is_marker(token: &str) -> bool {
    MARKERS.contains(&token)
}

/// What the source of a template says of the answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Habits {
    /// How calls are written; None if the template has no format that is known.
    pub tools: Option<ToolFormat>,
    /// Mistral's later form, `[TOOL_CALLS]name[ARGS]{…}`.
    pub mistral_args: bool,
    /// The texts around what the model thinks; None if the template knows none.
    pub thoughts: Option<(&'static str, &'static str)>,
    /// The template writes `tool_calls` of earlier messages.
    pub writes_calls: bool,
    /// The template writes the reasoning of earlier messages, or leaves it out itself.
    pub writes_reasoning: bool,
}

impl Habits {
    pub fn of(source: &str) -> Self {
        let has = |text: &str| source.contains(text);
        let tools = if has("<function=") && has("<parameter=") {
            Some(ToolFormat::QwenXml)
        } else if has("<tool_call>") {
            Some(ToolFormat::Hermes)
        } else if has("[TOOL_CALLS]") {
            Some(ToolFormat::Mistral)
        } else if has("<|python_tag|>") || has("ipython") {
            Some(ToolFormat::Llama3)
        } else {
            None
        };
        let reasoning =
            ["reasoning_content", ".thinking", "['thinking']", "[\"thinking\"]", ".reasoning", "'reasoning'"];
        Self {
            tools,
            mistral_args: has("[ARGS]"),
            thoughts: THOUGHTS.into_iter().find(|(begin, end)| has(begin) || has(end)),
            writes_calls: has("tool_calls"),
            writes_reasoning: reasoning.into_iter().any(has),
        }
    }
}
