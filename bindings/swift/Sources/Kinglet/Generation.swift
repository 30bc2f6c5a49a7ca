import CKinglet

extension Model {
    /// Generates one text per prompt or, for a model with an encoder, per source text.
    ///
    /// - Throws: ``Status/unsupported`` if the model does not generate, ``Status/invalidArgument`` for options that contradict each other or a
    ///   prompt without tokens, ``Status/outOfMemory`` if the KV cache would exceed the memory limit, ``Status/cancelled``.
    public func generate(
        _ texts: [String], options: GenerateOptions = GenerateOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> [Generation] {
        try generate(texts, options, cancellation, listener: nil)
    }

    /// Generates texts; ``generate(_:options:cancellation:)`` has the details.
    public func generate(_ texts: [String], options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> [Generation] {
        let result = try await requested(
            { done, request, failure throws(KingletError) in
                try handle.use { model throws(KingletError) in
                    try options.use(listener: nil, cancellation: nil) { options throws(KingletError) in
                        withTexts(texts) { strings in
                            kinglet_model_submit_generate(model, strings, texts.count, options, done.0, done.1, request, failure)
                        }
                    }
                }
            }, free: kinglet_generations_free, take: kinglet_request_take_generations)
        return try generations(result)
    }

    /// Generates from one text; ``generate(_:options:cancellation:)`` has the details.
    public func generate(
        _ text: String, options: GenerateOptions = GenerateOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Generation {
        try generate([text], options: options, cancellation: cancellation)[0]
    }

    /// Generates from one text; ``generate(_:options:cancellation:)`` has the details.
    public func generate(_ text: String, options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> Generation {
        try await generate([text], options: options)[0]
    }

    /// Generates texts from token ids, to which nothing is added. Otherwise as ``generate(_:options:cancellation:)``.
    ///
    /// - Parameter ids: The ids of each input.
    public func generate(
        ids: [[UInt32]], options: GenerateOptions = GenerateOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> [Generation] {
        let all = ids.flatMap { $0 }, lengths = ids.map(\.count)
        return try generated(options, cancellation, listener: nil, by: handle) { model, options, generations, failure in
            kinglet_model_generate_ids(model, all, all.count, lengths, lengths.count, options, generations, failure)
        }
    }

    /// Generates texts from token ids, to which nothing is added.
    public func generate(ids: [[UInt32]], options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> [Generation] {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try generate(ids: ids, options: options, cancellation: cancellation)
        }
    }

    /// Generates as ``generate(_:options:cancellation:)`` does, piece by piece; the pieces of several texts are interleaved.
    ///
    /// ```swift
    /// for try await piece in model.stream("Once upon a time") {
    ///     print(piece.text, terminator: "")
    /// }
    /// ```
    ///
    /// Needs ``GenerateOptions/numBeams`` 1, because beam search may replace earlier text.
    public func stream(_ texts: [String], options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        GenerationStream { cancellation, listener throws(KingletError) in
            _ = try self.generate(texts, options, cancellation, listener: listener)
        }
    }

    /// ``stream(_:options:)`` from one text.
    public func stream(_ text: String, options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        stream([text], options: options)
    }

    private func generate(
        _ texts: [String], _ options: GenerateOptions, _ cancellation: Cancellation?, listener: Listener?
    ) throws(KingletError) -> [Generation] {
        try withTexts(texts) { strings throws(KingletError) in
            try generated(options, cancellation, listener: listener, by: handle) { model, options, generations, failure in
                kinglet_model_generate(model, strings, texts.count, options, generations, failure)
            }
        }
    }
}

/// The result for one text.
public struct Generation: Hashable, Sendable {
    /// The outputs, the best first: ``GenerateOptions/numReturnSequences`` of them, or fewer if fewer beams were finished; at least one.
    public let outputs: [Output]
    /// The tokens of the input, special tokens included.
    public let inputTokenCount: Int
    /// Whether the input was truncated: to what the encoder takes, or to ``GenerateOptions/maxInputLength``.
    public let truncated: Bool

    /// The text of the best output.
    public var text: String { outputs[0].text }
}

/// A generated text.
public struct Output: Hashable, Sendable {
    /// The text of the tokens, without special ones and without the stop string.
    public let text: String
    /// The tokens that were generated, the end token too.
    public let tokens: [UInt32]
    /// The log-probability of each token; nil without ``GenerateOptions/logprobs``.
    public let logprobs: [Float]?
    /// With beams the log-probability divided by length^``GenerateOptions/lengthPenalty``, else the sum of ``logprobs``, or 0 without them.
    public let score: Float
    /// Why it ended.
    public let finishReason: FinishReason
    /// Of a session's reply: the message as JSON, with the reasoning and the calls of tools apart from the content. Otherwise empty.
    public let message: String

    init(_ c: kinglet_generation_output) {
        text = String(c.text)
        tokens = Array(UnsafeBufferPointer(start: c.tokens, count: c.token_count))
        logprobs = c.logprobs.map { Array(UnsafeBufferPointer(start: $0, count: c.token_count)) }
        score = c.score
        finishReason = FinishReason(rawValue: c.finish_reason)
        message = String(c.message)
    }
}

/// A part of a text while it is generated.
public struct Piece: Hashable, Sendable {
    /// The number of the text in the call.
    public let index: Int
    /// The number of the output, if several are sampled per text.
    public let sequence: Int
    /// The text since the last piece: whole characters, possibly none.
    public let text: String
    /// The token of this step.
    public let token: UInt32
    /// ``FinishReason/none``, except in the text's last piece.
    public let finishReason: FinishReason

    init(_ c: kinglet_generation_piece) {
        index = c.index
        sequence = c.sequence
        text = String(c.text)
        token = c.token
        finishReason = FinishReason(rawValue: c.finish_reason)
    }
}

/// Makes a call that generates, on a model or session, and copies its result.
func generated(
    _ options: GenerateOptions, _ cancellation: Cancellation?, listener: Listener?, by handle: Handle,
    _ body: (
        OpaquePointer, UnsafePointer<kinglet_generate_options>, UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>
    ) -> kinglet_status
) throws(KingletError) -> [Generation] {
    let result = try cancellation.use { cancellation throws(KingletError) in
        try options.use(listener: listener, cancellation: cancellation) { options throws(KingletError) in
            try handle.use { pointer throws(KingletError) in
                try Handle.make(free: kinglet_generations_free) { generations, failure in
                    body(pointer, options, generations, failure)
                }
            }
        }
    }
    return try generations(result)
}

/// Copies a result.
private func generations(_ result: Handle) throws(KingletError) -> [Generation] {
    var view = kinglet_generations_view()
    view.struct_size = MemoryLayout<kinglet_generations_view>.size
    view = try result.read(view, kinglet_generations_read)
    var all: [Generation] = []
    all.reserveCapacity(view.count)
    for index in 0..<view.count {
        try result.use { generations throws(KingletError) in
            var c = kinglet_generation_output()
            c.struct_size = MemoryLayout<kinglet_generation_output>.size
            var outputs: [Output] = []
            repeat {
                try call { failure in kinglet_generations_output(generations, index, outputs.count, &c, failure) }
                outputs.append(Output(c))
            } while outputs.count < c.output_count
            all.append(
                Generation(outputs: outputs, inputTokenCount: view.input_token_counts[index], truncated: view.truncated[index] != 0))
        }
    }
    return all
}
