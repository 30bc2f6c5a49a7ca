import CKinglet

extension Model {
    /// Computes the last hidden states of sequences of token ids, to which nothing is added and of which nothing is truncated.
    ///
    /// - Parameters:
    ///   - ids: The ids of each sequence.
    ///   - typeIDs: The token types of each sequence. Default: 0 for all.
    /// - Throws: ``Status/invalidArgument`` for an unknown id or type, or a sequence that is empty or longer than the model takes,
    ///   ``Status/outOfMemory``, ``Status/cancelled``.
    public func hiddenStates(
        _ ids: [[UInt32]], typeIDs: [[UInt32]]? = nil, cancellation: Cancellation? = nil
    ) throws(KingletError) -> HiddenStates {
        let lengths = ids.map(\.count)
        if let typeIDs, typeIDs.map(\.count) != lengths {
            throw .invalid("typeIDs: there must be one for each id of each sequence")
        }
        return try hiddenStates(ids.flatMap { $0 }, typeIDs?.flatMap { $0 }, lengths, cancellation)
    }

    /// Computes the last hidden states of sequences of token ids; ``hiddenStates(_:typeIDs:cancellation:)`` has the details.
    public func hiddenStates(_ ids: [[UInt32]], typeIDs: [[UInt32]]? = nil) async throws(KingletError) -> HiddenStates {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try hiddenStates(ids, typeIDs: typeIDs, cancellation: cancellation)
        }
    }

    /// Computes the last hidden states of a tokenised batch.
    public func hiddenStates(_ encoding: Encoding, cancellation: Cancellation? = nil) throws(KingletError) -> HiddenStates {
        let starts = encoding.starts
        return try hiddenStates(
            encoding.ids, encoding.typeIDs, zip(starts.dropFirst(), starts).map { $0 - $1 }, cancellation)
    }

    /// Computes the last hidden states of a tokenised batch.
    public func hiddenStates(_ encoding: Encoding) async throws(KingletError) -> HiddenStates {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try hiddenStates(encoding, cancellation: cancellation)
        }
    }

    private func hiddenStates(
        _ ids: [UInt32], _ typeIDs: [UInt32]?, _ lengths: [Int], _ cancellation: Cancellation?
    ) throws(KingletError) -> HiddenStates {
        var c = kinglet_hidden_states_options()
        c.struct_size = MemoryLayout<kinglet_hidden_states_options>.size
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try Handle.make(free: kinglet_hidden_states_free) { states, failure in
                    kinglet_model_hidden_states(model, ids, typeIDs, ids.count, lengths, lengths.count, &c, states, failure)
                }
            }
        }
        return try HiddenStates(result)
    }
}

/// The last hidden states of a batch of token sequences.
///
/// It is a collection with the states of each sequence, one row of `dimension` values per token. Arrays are copies; `withUnsafe` functions
/// give access to the library's memory.
public struct HiddenStates: Sendable, RandomAccessCollection {
    private let borrowedValues: Borrowed<Float>
    private let borrowedStarts: Borrowed<Int>

    /// The number of sequences.
    public let count: Int
    /// The number of values per hidden state.
    public let dimension: Int

    init(_ handle: Handle) throws(KingletError) {
        var view = kinglet_hidden_states_view()
        view.struct_size = MemoryLayout<kinglet_hidden_states_view>.size
        view = try handle.read(view, kinglet_hidden_states_read)
        count = view.count
        dimension = view.dimension
        borrowedValues = Borrowed(handle, view.values, view.token_count * view.dimension)
        borrowedStarts = Borrowed(handle, view.starts, view.count + 1)
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// The hidden states of one sequence, one row per token.
    public subscript(sequence: Int) -> [[Float]] {
        borrowedStarts.rows(sequence).map { borrowedValues.array($0 * dimension..<($0 + 1) * dimension) }
    }

    /// The hidden states of all sequences one after the other.
    public var values: [Float] { borrowedValues.array }
    /// `count + 1` values: the tokens of sequence i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    public var starts: [Int] { borrowedStarts.array }

    /// Gives access to the hidden states of all sequences one after the other, without copying.
    public func withUnsafeValues<Result, Failure>(
        _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedValues.withUnsafe(body)
    }
}
