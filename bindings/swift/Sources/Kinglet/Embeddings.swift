import CKinglet

extension Model {
    /// Computes one vector per text. Blocks.
    ///
    /// - Throws: `KingletError` with `invalidArgument` for an empty batch, `unsupported` for a model that cannot embed, `outOfMemory`
    ///   beyond the memory limit.
    public func embed(_ texts: [String], options: EmbedOptions = EmbedOptions()) throws(KingletError) -> Embeddings {
        try embed(texts, options, nil)
    }

    /// Computes one vector per text, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func embed(_ texts: [String], options: EmbedOptions = EmbedOptions()) async throws(KingletError) -> Embeddings {
        try await offload { (cancellation) throws(KingletError) in try self.embed(texts, options, cancellation) }
    }

    private func embed(_ texts: [String], _ options: EmbedOptions, _ cancellation: Cancellation?) throws(KingletError) -> Embeddings {
        let arguments = Arguments()
        var c = kinglet_embed_options()
        c.struct_size = MemoryLayout<kinglet_embed_options>.size
        c.pooling = options.pooling.rawValue
        c.normalize = tristate(options.normalize)
        c.max_length = try size(options.maxLength, "maxLength")
        c.cancellation = cancellation?.pointer
        let batch = arguments.texts(texts)
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_embeddings_free($0) }) { kinglet_model_embed(model, batch, texts.count, c, $0, $1) }
            }
        }
        return Embeddings(handle)
    }
}

/// Options of embedding.
public struct EmbedOptions: Sendable {
    /// How token vectors become one vector. `auto`: as the model's files say.
    public var pooling: Pooling = .auto
    /// Whether vectors are scaled to length 1. nil: as the model's files say.
    public var normalize: Bool?
    /// The most tokens of a text, special tokens included; longer texts are cut. nil: what the model takes.
    public var maxLength: Int?

    public init(pooling: Pooling = .auto, normalize: Bool? = nil, maxLength: Int? = nil) {
        self.pooling = pooling
        self.normalize = normalize
        self.maxLength = maxLength
    }
}

/// The vectors of a batch. A collection of one vector per text, or with pooling `none` of one vector per token of all texts. Any thread
/// or task.
public final class Embeddings: RandomAccessCollection, Sendable {
    private let handle: Handle
    /// Texts in the batch.
    public let textCount: Int
    /// Values per vector.
    public let dimension: Int
    /// The number of vectors.
    public let count: Int
    /// The tokens of each text, special tokens included.
    public let tokenCounts: [Int]
    /// Whether each text was cut.
    public let truncated: [Bool]
    /// The vectors of each text.
    public let ranges: [Range<Int>]

    init(_ handle: Handle) {
        self.handle = handle
        let view = Embeddings.view(handle)
        (textCount, dimension, count) = (view.count, view.dimension, view.row_count)
        tokenCounts = array(view.token_counts, view.count)
        truncated = flags(view.truncated, view.count)
        let starts = array(view.starts, view.count + 1)
        ranges = zip(starts, starts.dropFirst()).map { $0..<$1 }
        withExtendedLifetime(handle) {}
    }

    private static func view(_ handle: Handle) -> kinglet_embeddings_view {
        var view = kinglet_embeddings_view()
        view.struct_size = MemoryLayout<kinglet_embeddings_view>.size
        handle.use { _ = kinglet_embeddings_read($0, &view, nil) }
        return view
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// A copy of vector `i`.
    public subscript(i: Int) -> [Float] { withUnsafeVector(i) { Array($0) } }

    /// Lends vector `i` without copying it. The memory is valid during the call.
    public func withUnsafeVector<R>(_ i: Int, _ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
        precondition(i >= 0 && i < count, "vector \(i) of \(count)")
        return try withUnsafeValues { try body(UnsafeBufferPointer(rebasing: $0[i * dimension..<(i + 1) * dimension])) }
    }

    /// Lends all vectors, one after the other: `count * dimension` values. The memory is valid during the call.
    public func withUnsafeValues<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(UnsafeBufferPointer(start: Embeddings.view(handle).values, count: count * dimension))
    }
}
