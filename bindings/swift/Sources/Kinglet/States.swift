import CKinglet

extension Model {
    /// The logits of a sequence: one row per token, with the logits that follow it. With an encoder `ids` is the source, and the rows are
    /// those of `decoderIDs`. Blocks.
    ///
    /// - Parameter stepwise: runs the tokens one at a time, as generation does. On the CPU the logits are the same.
    public func logits(_ ids: [UInt32], decoderIDs: [UInt32] = [], stepwise: Bool = false) throws(KingletError) -> Rows {
        try logits(ids, decoderIDs, stepwise, nil)
    }

    /// The logits of a sequence, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func logits(_ ids: [UInt32], decoderIDs: [UInt32] = [], stepwise: Bool = false) async throws(KingletError) -> Rows {
        try await offload { (cancellation) throws(KingletError) in try self.logits(ids, decoderIDs, stepwise, cancellation) }
    }

    private func logits(
        _ ids: [UInt32], _ decoderIDs: [UInt32], _ stepwise: Bool, _ cancellation: Cancellation?
    ) throws(KingletError) -> Rows {
        let arguments = Arguments()
        var c = kinglet_logits_options()
        c.struct_size = MemoryLayout<kinglet_logits_options>.size
        c.stepwise = stepwise ? 1 : 0
        c.cancellation = cancellation?.pointer
        let (source, target) = (arguments.ids(ids), arguments.ids(decoderIDs))
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_logits_free($0) }) {
                    kinglet_model_logits(model, source.data, source.count, target.data, target.count, c, $0, $1)
                }
            }
        }
        var view = kinglet_logits_view()
        view.struct_size = MemoryLayout<kinglet_logits_view>.size
        handle.use { _ = kinglet_logits_read($0, &view, nil) }
        return Rows(handle, view.values, count: view.token_count, width: view.vocabulary_size, starts: [0, view.token_count])
    }

    /// The hidden states of a batch of sequences of token ids: one row per token. Blocks.
    ///
    /// - Parameter typeIDs: one value per token, or empty for zeros.
    public func hiddenStates(_ sequences: [[UInt32]], typeIDs: [[UInt32]] = []) throws(KingletError) -> Rows {
        try hiddenStates(sequences, typeIDs, nil)
    }

    /// The hidden states of a batch, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func hiddenStates(_ sequences: [[UInt32]], typeIDs: [[UInt32]] = []) async throws(KingletError) -> Rows {
        try await offload { (cancellation) throws(KingletError) in try self.hiddenStates(sequences, typeIDs, cancellation) }
    }

    private func hiddenStates(
        _ sequences: [[UInt32]], _ typeIDs: [[UInt32]], _ cancellation: Cancellation?
    ) throws(KingletError) -> Rows {
        let (ids, types, lengths) = (sequences.flatMap { $0 }, typeIDs.flatMap { $0 }, sequences.map(\.count))
        guard types.isEmpty || typeIDs.map(\.count) == lengths else { throw .invalid("typeIDs: their lengths differ from the sequences'") }
        let arguments = Arguments()
        var c = kinglet_hidden_states_options()
        c.struct_size = MemoryLayout<kinglet_hidden_states_options>.size
        c.cancellation = cancellation?.pointer
        let (idList, typeList) = (arguments.ids(ids), arguments.ids(types))
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_hidden_states_free($0) }) {
                    kinglet_model_hidden_states(model, idList.data, typeList.data, ids.count, lengths, lengths.count, c, $0, $1)
                }
            }
        }
        var view = kinglet_hidden_states_view()
        view.struct_size = MemoryLayout<kinglet_hidden_states_view>.size
        handle.use { _ = kinglet_hidden_states_read($0, &view, nil) }
        let starts = array(view.starts, view.count + 1)
        return Rows(handle, view.values, count: view.token_count, width: view.dimension, starts: starts)
    }
}

/// Rows of numbers: logits or hidden states, one row per token. Any thread or task.
///
/// `@unchecked Sendable`: the memory behind `values` is constant and lives as long as the handle.
public final class Rows: RandomAccessCollection, @unchecked Sendable {
    private let handle: Handle
    private let values: UnsafePointer<Float>?
    /// Rows, and values per row.
    public let count: Int
    public let width: Int
    /// The rows of each sequence.
    public let sequences: [Range<Int>]

    init(_ handle: Handle, _ values: UnsafePointer<Float>?, count: Int, width: Int, starts: [Int]) {
        (self.handle, self.values, self.count, self.width) = (handle, values, count, width)
        sequences = zip(starts, starts.dropFirst()).map { $0..<$1 }
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// A copy of row `i`.
    public subscript(i: Int) -> [Float] {
        precondition(i >= 0 && i < count, "row \(i) of \(count)")
        return withUnsafeValues { Array($0[i * width..<(i + 1) * width]) }
    }

    /// Lends all rows, one after the other: `count * width` values. The memory is valid during the call.
    public func withUnsafeValues<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(UnsafeBufferPointer(start: values, count: count * width))
    }
}
