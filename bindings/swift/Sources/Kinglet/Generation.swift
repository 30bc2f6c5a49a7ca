import CKinglet

extension Model {
    /// Generates from each text. Blocks.
    ///
    /// - Throws: `KingletError` with `invalidArgument` for options that contradict each other (the message names them), `unsupported` for
    ///   a model that does not generate, `outOfMemory` if the KV cache would exceed the memory limit.
    public func generate(_ texts: [String], options: GenerateOptions = GenerateOptions()) throws(KingletError) -> [Generation] {
        try generate(texts, options, nil, nil)
    }

    /// Generates from each text, away from Swift's cooperative threads. Cancelling the task cancels the call within one step.
    public func generate(_ texts: [String], options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> [Generation] {
        try await offload { (cancellation) throws(KingletError) in try self.generate(texts, options, cancellation, nil) }
    }

    /// Generates from token ids. Blocks.
    public func generate(ids: [[UInt32]], options: GenerateOptions = GenerateOptions()) throws(KingletError) -> [Generation] {
        try generate(ids, options, nil)
    }

    /// Generates from token ids, away from Swift's cooperative threads. Cancelling the task cancels the call within one step.
    public func generate(ids: [[UInt32]], options: GenerateOptions = GenerateOptions()) async throws(KingletError) -> [Generation] {
        try await offload { (cancellation) throws(KingletError) in try self.generate(ids, options, cancellation) }
    }

    /// Generates from one text, piece by piece. Ending the loop or cancelling the task cancels the call within one step.
    public func stream(_ text: String, options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        stream([text], options: options)
    }

    /// Generates from each text, piece by piece; `Piece.index` says which text a piece belongs to.
    public func stream(_ texts: [String], options: GenerateOptions = GenerateOptions()) -> GenerationStream {
        GenerationStream { (cancellation, listener) throws(KingletError) in
            _ = try self.generate(texts, options, cancellation, listener)
        }
    }

    private func generate(
        _ texts: [String], _ options: GenerateOptions, _ cancellation: Cancellation?, _ listener: PieceListener?
    ) throws(KingletError) -> [Generation] {
        let arguments = Arguments()
        let batch = arguments.texts(texts)
        return try handle.use { (model) throws(KingletError) in
            try generations(options, arguments, cancellation, listener) { kinglet_model_generate(model, batch, texts.count, $0, $1, $2) }
        }
    }

    private func generate(
        _ lists: [[UInt32]], _ options: GenerateOptions, _ cancellation: Cancellation?
    ) throws(KingletError) -> [Generation] {
        let arguments = Arguments()
        let (ids, lengths) = (lists.flatMap { $0 }, lists.map(\.count))
        return try handle.use { (model) throws(KingletError) in
            try generations(options, arguments, cancellation, nil) { options, made, failure in
                kinglet_model_generate_ids(model, ids, ids.count, lengths, lengths.count, options, made, failure)
            }
        }
    }
}

/// Makes a call that generates, with C's form of the options, and copies what it returns.
func generations(
    _ options: GenerateOptions, _ arguments: Arguments, _ cancellation: Cancellation?, _ listener: PieceListener?,
    _ call: (UnsafePointer<kinglet_generate_options>, UnsafeMutablePointer<OpaquePointer?>, ErrorPlace) -> kinglet_status
) throws(KingletError) -> [Generation] {
    var c = try options.c(arguments, cancellation)
    if let listener {
        c.on_piece = PieceListener.callback
        c.on_piece_user_data = Unmanaged.passUnretained(listener).toOpaque()
    }
    defer { withExtendedLifetime((listener, options)) {} }
    func run(_ prefix: OpaquePointer?) throws(KingletError) -> Handle {
        c.prefix = prefix
        return try lending(c, arguments) { (c) throws(KingletError) in
            try make(free: { kinglet_generations_free($0) }) { call(c, $0, $1) }
        }
    }
    let made: Handle
    if let prefix = options.prefix {
        made = try prefix.handle.use { (pointer) throws(KingletError) in try run(pointer) }
    } else {
        made = try run(nil)
    }
    return try made.use { (pointer) throws(KingletError) in try Generation.all(pointer) }
}

/// One output.
public struct Output: Sendable, Hashable {
    /// The text.
    public let text: String
    /// The generated tokens, the end token included.
    public let tokens: [UInt32]
    /// The log-probability of each token; empty if they were not asked for.
    public let logprobs: [Float]
    /// With beam search the sum of log-probabilities / length^lengthPenalty; otherwise the sum of `logprobs`, or 0 without them.
    public let score: Float
    /// Why the text ended.
    public let finishReason: FinishReason
}

/// What was generated from one input.
public struct Generation: Sendable, Hashable {
    /// The best output, or the first sample.
    public var text: String { outputs.first?.text ?? "" }
    /// One output, or `numReturnSequences`.
    public let outputs: [Output]
    /// The tokens of the input, special tokens included.
    public let inputTokenCount: Int
    /// Whether the input was cut to what the encoder takes.
    public let truncated: Bool

    static func all(_ generations: OpaquePointer) throws(KingletError) -> [Generation] {
        var view = kinglet_generations_view()
        view.struct_size = MemoryLayout<kinglet_generations_view>.size
        try check { kinglet_generations_read(generations, &view, $0) }
        let (counts, truncated) = (array(view.input_token_counts, view.count), flags(view.truncated, view.count))
        var all: [Generation] = []
        for i in 0..<view.count {
            var outputs: [Output] = []
            var count = 1
            while outputs.count < count {
                var output = kinglet_generation_output()
                output.struct_size = MemoryLayout<kinglet_generation_output>.size
                let sequence = outputs.count
                try check { kinglet_generations_output(generations, i, sequence, &output, $0) }
                count = output.output_count
                outputs.append(
                    Output(
                        text: string(output.text), tokens: array(output.tokens, output.token_count),
                        logprobs: array(output.logprobs, output.token_count), score: output.score,
                        finishReason: FinishReason(rawValue: output.finish_reason) ?? .none))
            }
            all.append(Generation(outputs: outputs, inputTokenCount: counts[i], truncated: truncated[i]))
        }
        return all
    }
}

/// A piece of a text that is being generated.
public struct Piece: Sendable, Hashable {
    /// The number of the input in the batch.
    public let index: Int
    /// Which of the outputs for that input.
    public let sequence: Int
    /// The text since the last piece: whole characters, possibly none.
    public let text: String
    /// The token of this step.
    public let token: UInt32
    /// `none`, except in the text's last piece.
    public let finishReason: FinishReason
}

/// Pieces of generated text, as they come. Generation begins with the first loop over it, and ends with the loop.
public struct GenerationStream: AsyncSequence, Sendable {
    public typealias Element = Piece
    typealias Work = @Sendable (Cancellation, PieceListener) throws(KingletError) -> Void

    let work: Work

    public func makeAsyncIterator() -> AsyncThrowingStream<Piece, any Error>.Iterator {
        let work = work
        let cancellation = Cancellation()
        let stream = AsyncThrowingStream<Piece, any Error> { continuation in
            continuation.onTermination = { _ in cancellation.cancel() }
            let listener = PieceListener { piece in
                if case .terminated = continuation.yield(piece) { return false }
                return true
            }
            Task {
                do throws(KingletError) {
                    try await offload { (_) throws(KingletError) in try work(cancellation, listener) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
        return stream.makeAsyncIterator()
    }
}

final class PieceListener: Sendable {
    let listener: @Sendable (Piece) -> Bool

    init(_ listener: @escaping @Sendable (Piece) -> Bool) { self.listener = listener }

    static let callback: kinglet_piece_callback = { userData, piece in
        guard let userData, let piece = piece?.pointee else { return 1 }
        let listener = Unmanaged<PieceListener>.fromOpaque(userData).takeUnretainedValue()
        let taken = listener.listener(
            Piece(
                index: piece.index, sequence: piece.sequence, text: string(piece.text), token: piece.token,
                finishReason: FinishReason(rawValue: piece.finish_reason) ?? .none))
        return taken ? 1 : 0
    }
}
