import CKinglet

extension Model {
    /// Computes the logits that follow each token of a sequence, before any logits processor.
    ///
    /// - Parameters:
    ///   - ids: The sequence; for a model with an encoder, the source text.
    ///   - decoderIDs: For a model with an encoder the sequence, which starts with the decoder's start token; nil for others.
    ///   - stepwise: Runs one token per step, as generation does, instead of all at once; on the CPU the numbers are the same.
    /// - Throws: ``Status/unsupported`` if the model does not generate text, ``Status/invalidArgument`` for an unknown id or a sequence longer
    ///   than the model takes, ``Status/outOfMemory``, ``Status/cancelled``.
    public func logits(
        _ ids: [UInt32], decoderIDs: [UInt32]? = nil, stepwise: Bool = false, cancellation: Cancellation? = nil
    ) throws(KingletError) -> Logits {
        var c = kinglet_logits_options()
        c.struct_size = MemoryLayout<kinglet_logits_options>.size
        c.stepwise = stepwise ? 1 : 0
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try Handle.make(free: kinglet_logits_free) { logits, failure in
                    kinglet_model_logits(model, ids, ids.count, decoderIDs, decoderIDs?.count ?? 0, &c, logits, failure)
                }
            }
        }
        return try Logits(result)
    }

    /// Computes the logits of a sequence; ``logits(_:decoderIDs:stepwise:cancellation:)`` has the details.
    public func logits(
        _ ids: [UInt32], decoderIDs: [UInt32]? = nil, stepwise: Bool = false
    ) async throws(KingletError) -> Logits {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try logits(ids, decoderIDs: decoderIDs, stepwise: stepwise, cancellation: cancellation)
        }
    }
}

/// The logits of a sequence's tokens, before any logits processor.
///
/// It is a collection with one row of `vocabularySize` values per token: the logits of the token that follows it. Arrays are copies;
/// `withUnsafe` functions give access to the library's memory.
public struct Logits: Sendable, RandomAccessCollection {
    private let borrowedValues: Borrowed<Float>

    /// The number of tokens.
    public let count: Int
    /// The number of values per row.
    public let vocabularySize: Int

    init(_ handle: Handle) throws(KingletError) {
        var view = kinglet_logits_view()
        view.struct_size = MemoryLayout<kinglet_logits_view>.size
        view = try handle.read(view, kinglet_logits_read)
        count = view.token_count
        vocabularySize = view.vocabulary_size
        borrowedValues = Borrowed(handle, view.values, view.token_count * view.vocabulary_size)
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// The logits of the token that follows token `position`.
    public subscript(position: Int) -> [Float] { borrowedValues.array(values(of: position)) }

    /// All rows one after the other.
    public var values: [Float] { borrowedValues.array }

    /// Gives access to all rows one after the other, without copying.
    public func withUnsafeValues<Result, Failure>(
        _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedValues.withUnsafe(body)
    }

    /// Gives access to the logits of the token that follows token `position`, without copying.
    public func withUnsafeRow<Result, Failure>(
        _ position: Int, _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedValues.withUnsafe(values(of: position), body)
    }

    private func values(of position: Int) -> Range<Int> { position * vocabularySize..<(position + 1) * vocabularySize }
}
