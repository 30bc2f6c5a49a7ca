import CKinglet

/// A prompt prefix whose KV cache was computed once: a system prompt, an instruction, a document that many questions are about. Any thread
/// or task; many calls may use it at the same time.
public final class Prefix: Sendable {
    let handle: Handle

    fileprivate init(_ handle: Handle) { self.handle = handle }
}

extension Model {
    /// Computes a prompt prefix. A prompt that begins with the same tokens reuses it: `GenerateOptions.prefix`. Blocks.
    ///
    /// - Parameter addSpecialTokens: as it will be for the prompts. nil: yes.
    /// - Throws: `KingletError` with `unsupported` for a model with an encoder or one that does not generate.
    public func prefix(_ text: String, addSpecialTokens: Bool? = nil) throws(KingletError) -> Prefix {
        try prefix(text, addSpecialTokens, nil)
    }

    /// Computes a prompt prefix, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func prefix(_ text: String, addSpecialTokens: Bool? = nil) async throws(KingletError) -> Prefix {
        try await offload { (cancellation) throws(KingletError) in try self.prefix(text, addSpecialTokens, cancellation) }
    }

    private func prefix(_ text: String, _ addSpecialTokens: Bool?, _ cancellation: Cancellation?) throws(KingletError) -> Prefix {
        let arguments = Arguments()
        var c = kinglet_prefix_options()
        c.struct_size = MemoryLayout<kinglet_prefix_options>.size
        c.add_special_tokens = tristate(addSpecialTokens)
        c.cancellation = cancellation?.pointer
        let beginning = arguments.text(text)
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_prefix_free($0) }) { kinglet_prefix_new(model, beginning, c, $0, $1) }
            }
        }
        return Prefix(handle)
    }

    /// Begins a chat.
    ///
    /// - Throws: `KingletError` with `unsupported` for a model without a chat template, with an encoder, or that does not generate.
    public func session() throws(KingletError) -> Session {
        try handle.use { (model) throws(KingletError) in
            Session(try make(free: { kinglet_session_free($0) }) { kinglet_session_new(model, nil, $0, $1) })
        }
    }
}

/// A message of a chat.
public struct Message: Sendable, Hashable {
    /// `system`, `user`, `assistant`, or another role that the model's chat template knows.
    public var role: String
    /// The text.
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}

/// A chat. The KV cache of earlier turns is kept, so that a turn costs only its own tokens.
///
/// Any thread or task: the library lets calls on one session wait for each other. Do not call a session in the loop over its own stream:
/// that call fails.
public final class Session: Sendable {
    private let handle: Handle

    fileprivate init(_ handle: Handle) { self.handle = handle }

    /// Adds a message without asking for a reply: a system prompt, an example.
    public func add(_ message: Message) throws(KingletError) {
        let arguments = Arguments()
        var c = kinglet_message()
        c.struct_size = MemoryLayout<kinglet_message>.size
        c.role = arguments.text(message.role)
        c.content = arguments.text(message.content)
        try handle.use { (session) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in try check { kinglet_session_add(session, c, $0) } }
        }
    }

    /// Adds a user's message and generates the reply, which is added as the assistant's. If it fails or is cancelled, the chat is as it
    /// was. Blocks.
    public func send(_ content: String, options: GenerateOptions = GenerateOptions()) throws(KingletError) -> Generation {
        try turn(content, options, nil, nil)
    }

    /// Adds a user's message and generates the reply, away from Swift's cooperative threads.
    public func send(_ content: String, options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> Generation {
        try await offload { (cancellation) throws(KingletError) in try self.turn(content, options, cancellation, nil) }
    }

    /// Generates the next message from the messages so far, and adds it as the assistant's. Blocks.
    public func reply(options: GenerateOptions = GenerateOptions()) throws(KingletError) -> Generation {
        try turn(nil, options, nil, nil)
    }

    /// Generates the next message, away from Swift's cooperative threads.
    public func reply(options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> Generation {
        try await offload { (cancellation) throws(KingletError) in try self.turn(nil, options, cancellation, nil) }
    }

    /// `send`, piece by piece. A loop that is left early leaves the chat as it was.
    public func stream(_ content: String, options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        GenerationStream { (cancellation, listener) throws(KingletError) in
            _ = try self.turn(content, options, cancellation, listener)
        }
    }

    private func turn(
        _ content: String?, _ options: GenerateOptions, _ cancellation: Cancellation?, _ listener: PieceListener?
    ) throws(KingletError) -> Generation {
        let arguments = Arguments()
        let message = content.map { arguments.text($0) }
        let all = try handle.use { (session) throws(KingletError) in
            try generations(options, arguments, cancellation, listener) { options, made, failure in
                if let message { return kinglet_session_send(session, message, options, made, failure) }
                return kinglet_session_reply(session, options, made, failure)
            }
        }
        return all[0]
    }

    /// Keeps the first `messages` messages and forgets the others. The KV cache of the kept ones stays.
    public func rewind(to messages: Int) throws(KingletError) {
        let count = try size(messages, "messages")
        try handle.use { (session) throws(KingletError) in try check { kinglet_session_rewind(session, count, $0) } }
    }

    /// The messages so far.
    public var messages: [Message] {
        get throws(KingletError) {
            let list = try handle.use { (session) throws(KingletError) in
                try make(free: { kinglet_messages_free($0) }) { kinglet_session_messages(session, $0, $1) }
            }
            return try list.use { (list) throws(KingletError) in
                var messages: [Message] = []
                for i in 0..<kinglet_messages_count(list) {
                    var c = kinglet_message()
                    c.struct_size = MemoryLayout<kinglet_message>.size
                    try check { kinglet_messages_get(list, i, &c, $0) }
                    messages.append(Message(role: string(c.role), content: string(c.content)))
                }
                return messages
            }
        }
    }

    /// Tokens whose keys and values are kept for the next turn.
    public var heldTokens: Int {
        get throws(KingletError) {
            var view = kinglet_session_view()
            view.struct_size = MemoryLayout<kinglet_session_view>.size
            try handle.use { (session) throws(KingletError) in try check { kinglet_session_read(session, &view, $0) } }
            return view.held_tokens
        }
    }
}
