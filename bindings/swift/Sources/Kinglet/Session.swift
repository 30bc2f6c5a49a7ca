import CKinglet

/// A chat with a model. The KV cache of earlier turns is kept, so that a turn costs only its own tokens. It keeps its model.
///
/// Calls on one session wait for each other. While a reply is streamed, they throw ``Status/invalidArgument`` instead, because a call in the
/// loop's body would wait for itself.
public final class Session: Sendable {
    private let handle: Handle
    private let turn = Turn()

    init(_ handle: Handle) { self.handle = handle }

    /// Adds a message without asking for a reply, for instance a system prompt, an example or a tool's result.
    public func add(_ message: Message) throws(KingletError) {
        try turn.use { () throws(KingletError) in
            try withTexts([message.role, message.content, message.json]) { texts throws(KingletError) in
                var c = kinglet_message()
                c.struct_size = MemoryLayout<kinglet_message>.size
                c.role = texts![0]
                c.content = texts![1]
                c.json = texts![2]
                try handle.use { session throws(KingletError) in
                    try call { failure in kinglet_session_add(session, &c, failure) }
                }
            }
        }
    }

    /// Adds a message without asking for a reply. With `await` the thread does not wait for the turn.
    public func add(_ message: Message) async throws(KingletError) {
        try await offCooperativePool { [self] _ throws(KingletError) in try add(message) }
    }

    /// Adds a user's message, generates the reply and adds it as the assistant's. If that fails or is cancelled, the chat is as it was. Throws
    /// what ``Model/generate(_:options:cancellation:)`` does.
    public func send(
        _ content: String, options: GenerateOptions = GenerateOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Generation {
        try generate(content, options, cancellation, listener: nil)
    }

    /// Adds a user's message and the reply; ``send(_:options:cancellation:)`` has the details.
    public func send(_ content: String, options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> Generation {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try send(content, options: options, cancellation: cancellation)
        }
    }

    /// Generates the next message from the messages so far, and adds it as the assistant's. Otherwise as ``send(_:options:cancellation:)``.
    public func reply(
        options: GenerateOptions = GenerateOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Generation {
        try generate(nil, options, cancellation, listener: nil)
    }

    /// Generates the next message from the messages so far, and adds it as the assistant's.
    public func reply(options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> Generation {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try reply(options: options, cancellation: cancellation)
        }
    }

    /// ``send(_:options:cancellation:)`` piece by piece, as ``Model/stream(_:options:)`` is. The messages are added when the loop has had the
    /// reply's last piece; a loop that is left before it leaves the chat as it was.
    public func sendStream(_ content: String, options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        stream(content, options)
    }

    /// ``reply(options:cancellation:)`` piece by piece, as ``sendStream(_:options:)`` is.
    public func replyStream(options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        stream(nil, options)
    }

    /// Keeps the first `count` messages and forgets the others. The KV cache of the kept ones stays.
    public func rewind(_ count: Int) throws(KingletError) {
        let count = try size(count, "count")
        try turn.use { () throws(KingletError) in
            try handle.use { session throws(KingletError) in
                try call { failure in kinglet_session_rewind(session, count, failure) }
            }
        }
    }

    /// Keeps the first `count` messages and forgets the others. With `await` the thread does not wait for the turn.
    public func rewind(_ count: Int) async throws(KingletError) {
        try await offCooperativePool { [self] _ throws(KingletError) in try rewind(count) }
    }

    /// The messages so far.
    public func messages() throws(KingletError) -> [Message] {
        try turn.use { () throws(KingletError) in
            let all = try handle.use { session throws(KingletError) in
                try Handle.make(free: kinglet_messages_free) { messages, failure in kinglet_session_messages(session, messages, failure) }
            }
            return try all.use { all throws(KingletError) in
                var messages: [Message] = []
                var c = kinglet_message()
                c.struct_size = MemoryLayout<kinglet_message>.size
                for index in 0..<kinglet_messages_count(all) {
                    try call { failure in kinglet_messages_get(all, index, &c, failure) }
                    messages.append(Message(role: String(c.role), content: String(c.content), json: String(c.json)))
                }
                return messages
            }
        }
    }

    /// The messages so far. With `await` the thread does not wait for the turn.
    public func messages() async throws(KingletError) -> [Message] {
        try await offCooperativePool { [self] _ throws(KingletError) in try messages() }
    }

    /// The prompt that the next reply continues: the messages so far as the chat template writes them.
    public func prompt() throws(KingletError) -> String {
        try turn.use { () throws(KingletError) in
            try handle.use { session throws(KingletError) in
                try String.make { text, failure in kinglet_session_prompt(session, text, failure) }
            }
        }
    }

    /// The prompt that the next reply continues. With `await` the thread does not wait for the turn.
    public func prompt() async throws(KingletError) -> String {
        try await offCooperativePool { [self] _ throws(KingletError) in try prompt() }
    }

    /// The tokens in the KV cache for the next turn.
    public func heldTokens() throws(KingletError) -> Int {
        try turn.use { () throws(KingletError) in
            var view = kinglet_session_view()
            view.struct_size = MemoryLayout<kinglet_session_view>.size
            return try handle.read(view, kinglet_session_read).held_tokens
        }
    }

    /// The tokens in the KV cache for the next turn. With `await` the thread does not wait for the turn.
    public func heldTokens() async throws(KingletError) -> Int {
        try await offCooperativePool { [self] _ throws(KingletError) in try heldTokens() }
    }

    private func stream(_ content: String?, _ options: GenerateOptions) -> GenerationStream {
        GenerationStream(onLeave: { [turn] in turn.endStream($0) }) { [self] cancellation, listener throws(KingletError) in
            _ = try generate(content, options, cancellation, listener: listener)
        }
    }

    /// Generates a reply, after a user's message if there is one.
    private func generate(
        _ content: String?, _ options: GenerateOptions, _ cancellation: Cancellation?, listener: Listener?
    ) throws(KingletError) -> Generation {
        try turn.use(streaming: listener != nil, cancellation) { () throws(KingletError) in
            try withTexts([content ?? ""]) { texts throws(KingletError) in
                try generated(options, cancellation, listener: listener, by: handle) { session, options, generations, failure in
                    content == nil
                        ? kinglet_session_reply(session, options, generations, failure)
                        : kinglet_session_send(session, texts!.pointee, options, generations, failure)
                }
            }[0]
        }
    }
}

/// Lets one call at a time work on a session. C has a lock of its own; this one lets a call that waits be cancelled, and knows of streams.
final class Turn: Sendable {
    private struct State: Sendable {
        var isTaken = false
        /// A loop has the turn, and its body may run: the cancellation of its call.
        var stream: Cancellation?
    }

    private let monitor = Monitor(State())

    func use<Result>(
        streaming: Bool = false, _ cancellation: Cancellation? = nil, _ body: () throws(KingletError) -> Result
    ) throws(KingletError) -> Result {
        let observer = cancellation?.observe { [monitor] in
            // With the lock, so that the change falls before or after the question whether it was made.
            monitor.withLock { _ in }
            monitor.wake()
        }
        defer { if let observer { cancellation?.forget(observer) } }
        try monitor.wait { state throws(KingletError) -> Void? in
            if cancellation?.isCancelled == true { throw KingletError(status: .cancelled, message: "the call was cancelled before it began") }
            if state.stream != nil { throw .invalid("the session is in the middle of a streamed reply; end its loop first") }
            if state.isTaken { return nil }
            state.isTaken = true
            state.stream = streaming ? cancellation : nil
            return ()
        }
        defer {
            monitor.withLock { $0 = State() }
            monitor.wake()
        }
        return try body()
    }

    /// The loop was left: calls wait for the end of its call, which is cancelled. Another loop may have the turn by now.
    func endStream(_ cancellation: Cancellation) {
        monitor.withLock { state in
            if state.stream === cancellation { state.stream = nil }
        }
    }
}
