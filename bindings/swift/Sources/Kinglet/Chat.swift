import CKinglet

/// A message of a chat.
public struct Message: Hashable, Sendable {
    /// "system", "user", "assistant", "tool", or another role that the model's chat template knows.
    public var role: String
    /// The text.
    public var content: String
    /// The whole message as a JSON object, if it has more than a role and a text: `tool_calls`, `tool_call_id`, `reasoning_content`, a
    /// `content` of parts, or what else the template reads. A role and a content beside it must be empty, or the same as in it.
    public var json: String

    public init(role: String = "", content: String = "", json: String = "") {
        self.role = role
        self.content = content
        self.json = json
    }
}

/// Which of its tools a model is to call. With ``required`` and ``function(_:)`` the text is constrained to calls whose arguments satisfy the
/// tools' schemas.
public enum ToolChoice: Hashable, Sendable {
    /// The model decides.
    case auto
    /// None: the prompt does not name the tools.
    case none
    /// One or more, of the model's choice.
    case required
    /// This one, once.
    case function(String)

    var name: String {
        switch self {
        case .auto: ""
        case .none: "none"
        case .required: "required"
        case .function(let name): name
        }
    }
}

/// What a chat has beside its messages, by the names of transformers' apply_chat_template.
public struct ChatOptions: Hashable, Sendable {
    /// A JSON array of the functions that the model may call: `{"type": "function", "function": {"name", "description", "parameters"}}`, or
    /// what `function` is there alone. `parameters` is a JSON schema of type object.
    public var tools: String
    /// A JSON array of documents, objects with the members that the template reads.
    public var documents: String
    /// A JSON object of further variables of the template, for instance `{"enable_thinking": false}`.
    public var templateVariables: String
    /// How the model writes the calls of tools. Default: as its chat template says.
    public var toolFormat: ToolFormat
    /// Ends the prompt with what begins an answer. A session does so always.
    public var addGenerationPrompt: Bool
    /// Ends the prompt in the last message, so that the model continues it. Not for a session.
    public var continueFinalMessage: Bool

    public init(
        tools: String = "", documents: String = "", templateVariables: String = "", toolFormat: ToolFormat = .auto,
        addGenerationPrompt: Bool = false, continueFinalMessage: Bool = false
    ) {
        self.tools = tools
        self.documents = documents
        self.templateVariables = templateVariables
        self.toolFormat = toolFormat
        self.addGenerationPrompt = addGenerationPrompt
        self.continueFinalMessage = continueFinalMessage
    }

    /// C's options and more texts, for the length of a call that is given them.
    func use<Result>(
        _ more: [String], cancellation: OpaquePointer? = nil,
        _ body: (UnsafePointer<kinglet_chat_options>, UnsafePointer<kinglet_str>) throws(KingletError) -> Result
    ) throws(KingletError) -> Result {
        try withTexts([tools, documents, templateVariables] + more) { texts throws(KingletError) in
            var c = kinglet_chat_options()
            c.struct_size = MemoryLayout<kinglet_chat_options>.size
            c.tools = texts![0]
            c.documents = texts![1]
            c.template_variables = texts![2]
            c.tool_format = toolFormat.rawValue
            c.add_generation_prompt = addGenerationPrompt ? 1 : 0
            c.continue_final_message = continueFinalMessage ? 1 : 0
            c.cancellation = cancellation
            return try body(&c, texts! + 3)
        }
    }
}

extension Model {
    /// Begins a chat, with tools, documents or variables of the template if `options` have some.
    ///
    /// - Throws: ``Status/unsupported`` if ``Properties/canChat`` is false: the model is no decoder or has no chat template.
    public func session(options: ChatOptions = ChatOptions()) throws(KingletError) -> Session {
        let session = try options.use([]) { chat, _ throws(KingletError) in
            var c = kinglet_session_options()
            c.struct_size = MemoryLayout<kinglet_session_options>.size
            c.chat = chat
            return try handle.use { model throws(KingletError) in
                try Handle.make(free: kinglet_session_free) { session, failure in kinglet_session_new(model, &c, session, failure) }
            }
        }
        return Session(session)
    }

    /// The prompt that the model's chat template makes of a chat. Special tokens are in it: generate with
    /// ``GenerateOptions/addSpecialTokens`` off.
    ///
    /// - Parameter messages: A JSON array of messages, as transformers' apply_chat_template takes them.
    public func applyChatTemplate(
        _ messages: String, options: ChatOptions = ChatOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> String {
        try cancellation.use { cancellation throws(KingletError) in
            try options.use([messages], cancellation: cancellation) { chat, texts throws(KingletError) in
                try handle.use { model throws(KingletError) in
                    try String.make { text, failure in kinglet_model_apply_chat_template(model, texts[0], chat, text, failure) }
                }
            }
        }
    }

    /// Reads the text of an answer: a JSON object with `role`, `content` and, where there is any, `reasoning_content` and `tool_calls`. What
    /// is no whole call of one of the options' tools stays in the content.
    ///
    /// - Parameter prefix: The prompt, or its end, or empty: some templates begin the thought themselves.
    public func parseResponse(
        _ response: String, prefix: String = "", options: ChatOptions = ChatOptions()
    ) throws(KingletError) -> String {
        try options.use([response, prefix]) { chat, texts throws(KingletError) in
            try handle.use { model throws(KingletError) in
                try String.make { text, failure in kinglet_model_parse_response(model, texts[0], texts[1], chat, text, failure) }
            }
        }
    }
}
