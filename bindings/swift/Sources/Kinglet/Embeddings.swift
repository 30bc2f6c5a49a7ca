import CKinglet

/// Options of ``Model/embed(_:options:cancellation:)``. What is nil has its default.
public struct EmbedOptions: Hashable, Sendable {
    /// How the vectors of a text's tokens become one. The model's other modules are applied all the same. Default: the model's own setting.
    public var pooling: Pooling = .auto
    /// Scales vectors to length 1, after ``truncateDim``. Default: the model's own setting.
    public var normalize: Bool?
    /// The maximum number of tokens of a text, special tokens and the prompt included; longer texts are truncated. Default: the model's
    /// maximum.
    public var maxLength: Int?
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text. Default: its
    /// default_prompt_name, if it has one.
    public var promptName: String?
    /// A prompt that is put before each text, whatever ``promptName`` says; empty for no prompt.
    public var prompt: String?
    /// Keeps only the first values of each vector. Default: as the model's files say, else all.
    public var truncateDim: Int?
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?

    public init(
        pooling: Pooling = .auto, normalize: Bool? = nil, maxLength: Int? = nil, promptName: String? = nil, prompt: String? = nil,
        truncateDim: Int? = nil, priority: Priority = .normal, deadline: Duration? = nil
    ) {
        self.pooling = pooling
        self.normalize = normalize
        self.maxLength = maxLength
        self.promptName = promptName
        self.prompt = prompt
        self.truncateDim = truncateDim
        self.priority = priority
        self.deadline = deadline
    }
}

extension Model {
    /// Embeds texts.
    ///
    /// - Throws: ``Status/unsupported`` if the model has no tokenizer or modules that are not supported, ``Status/outOfMemory``,
    ///   ``Status/invalidArgument``, ``Status/cancelled``.
    public func embed(
        _ texts: [String], options: EmbedOptions = EmbedOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Embeddings {
        var c = try kinglet_embed_options(options)
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withPrompt(options.promptName, options.prompt) { name, prompt throws(KingletError) in
                    (c.prompt_name, c.prompt) = (name, prompt)
                    return try withTexts(texts) { strings throws(KingletError) in
                        try Handle.make(free: kinglet_embeddings_free) { embeddings, failure in
                            kinglet_model_embed(model, strings, texts.count, &c, embeddings, failure)
                        }
                    }
                }
            }
        }
        return try Embeddings(result)
    }

    /// Embeds texts; ``embed(_:options:cancellation:)`` has the details.
    public func embed(_ texts: [String], options: EmbedOptions = EmbedOptions()) async throws(KingletError) -> Embeddings {
        var c = try kinglet_embed_options(options)
        let result = try await requested(
            { done, request, failure throws(KingletError) in
                handle.use { model in
                    withPrompt(options.promptName, options.prompt) { name, prompt in
                        (c.prompt_name, c.prompt) = (name, prompt)
                        return withTexts(texts) { strings in
                            kinglet_model_submit_embed(model, strings, texts.count, &c, done.0, done.1, request, failure)
                        }
                    }
                }
            }, free: kinglet_embeddings_free, take: kinglet_request_take_embeddings)
        return try Embeddings(result)
    }
}

extension kinglet_embed_options {
    /// Without cancellation and prompts, whose memory is lent during the call.
    init(_ options: EmbedOptions) throws(KingletError) {
        self.init()
        struct_size = MemoryLayout<kinglet_embed_options>.size
        pooling = options.pooling.rawValue
        normalize = kinglet_tristate(options.normalize)
        max_length = try size(options.maxLength, "maxLength")
        self.truncate_dim = try size(options.truncateDim, "truncateDim")
        priority = options.priority.rawValue
        self.deadline_ms = try units(options.deadline, "deadline", perSecond: 1000)
    }
}

/// The width of the offsets of an Arrow array: `Int32` for Utf8, `Int64` for LargeUtf8.
public protocol ArrowOffset: FixedWidthInteger, Sendable {}
extension Int32: ArrowOffset {}
extension Int64: ArrowOffset {}

/// Texts in the layout of an Arrow array of strings, whose buffers are borrowed.
public struct ArrowTexts<Offset: ArrowOffset> {
    /// The buffer of offsets: ``first`` + ``count`` + 1 of them.
    public var offsets: UnsafeBufferPointer<Offset>
    /// The buffer of characters.
    public var data: UnsafeRawBufferPointer
    /// The number of the first text in the buffers: 0 unless the array is a slice.
    public var first: Int
    /// The number of texts.
    public var count: Int
    /// The validity bitmap; a null among the texts is refused. Nil if there are none.
    public var validity: UnsafePointer<UInt8>?

    /// `count` nil means all texts from `first` on.
    public init(
        offsets: UnsafeBufferPointer<Offset>, data: UnsafeRawBufferPointer, first: Int = 0, count: Int? = nil,
        validity: UnsafePointer<UInt8>? = nil
    ) {
        self.offsets = offsets
        self.data = data
        self.first = first
        self.count = count ?? max(0, offsets.count - 1 - first)
        self.validity = validity
    }
}

extension Model {
    /// Embeds the texts of an Arrow array into the caller's memory: vectors of `dimension` values, one after the other, or `stride` values
    /// apart. `dimension` is the model's ``Properties/embeddingDimension``, or `truncateDim` of the options if that is less.
    ///
    /// - Throws: ``Status/invalidArgument`` for a null, bad offsets, another dimension, or too little memory; otherwise as
    ///   ``embed(_:options:cancellation:)``.
    public func embed<Offset: ArrowOffset>(
        _ texts: ArrowTexts<Offset>, into values: UnsafeMutableBufferPointer<Float>, dimension: Int, stride: Int? = nil,
        options: EmbedOptions = EmbedOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) {
        var c = try kinglet_embed_options(options)
        var arrow = kinglet_arrow_texts()
        arrow.struct_size = MemoryLayout<kinglet_arrow_texts>.size
        arrow.count = try size(texts.count, "count")
        arrow.first = try size(texts.first, "first")
        if arrow.first >= texts.offsets.count || texts.offsets.count - arrow.first <= arrow.count {
            throw .invalid("offsets: \(texts.offsets.count) are too few for \(texts.count) texts from \(texts.first) on")
        }
        arrow.offsets = UnsafeRawPointer(texts.offsets.baseAddress)
        arrow.offset_bits = UInt32(Offset.bitWidth)
        arrow.data = texts.data.baseAddress?.assumingMemoryBound(to: CChar.self)
        arrow.data_size = texts.data.count
        arrow.validity = texts.validity
        var buffer = kinglet_embedding_buffer()
        buffer.struct_size = MemoryLayout<kinglet_embedding_buffer>.size
        buffer.dimension = try size(dimension, "dimension")
        buffer.values = values.baseAddress
        buffer.capacity = values.count
        buffer.stride = try size(stride, "stride")
        try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            try handle.use { model throws(KingletError) in
                try withPrompt(options.promptName, options.prompt) { name, prompt throws(KingletError) in
                    (c.prompt_name, c.prompt) = (name, prompt)
                    try call { failure in kinglet_model_embed_arrow(model, &arrow, &c, &buffer, failure) }
                }
            }
        }
    }
}

/// The vectors of a batch of texts.
///
/// It is a collection with one vector per text. Arrays are copies; `withUnsafe` functions give access to the library's memory.
public struct Embeddings: Sendable, RandomAccessCollection {
    private let borrowedValues: Borrowed<Float>
    private let borrowedStarts: Borrowed<Int>
    private let borrowedTokenCounts: Borrowed<Int>
    private let borrowedTruncated: Borrowed<UInt8>

    /// The number of texts.
    public let count: Int
    /// The number of values per vector.
    public let dimension: Int

    init(_ handle: Handle) throws(KingletError) {
        var view = kinglet_embeddings_view()
        view.struct_size = MemoryLayout<kinglet_embeddings_view>.size
        view = try handle.read(view, kinglet_embeddings_read)
        count = view.count
        dimension = view.dimension
        borrowedValues = Borrowed(handle, view.values, view.row_count * view.dimension)
        borrowedStarts = Borrowed(handle, view.starts, view.count + 1)
        borrowedTokenCounts = Borrowed(handle, view.token_counts, view.count)
        borrowedTruncated = Borrowed(handle, view.truncated, view.count)
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// The vector of one text, or with ``Pooling/none`` the vectors of its tokens one after the other.
    public subscript(text: Int) -> [Float] { borrowedValues.array(values(of: text)) }

    /// All vectors one after the other.
    public var values: [Float] { borrowedValues.array }
    /// `count + 1` values: the vectors of text i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    public var starts: [Int] { borrowedStarts.array }
    /// The tokens of each text, special tokens included.
    public var tokenCounts: [Int] { borrowedTokenCounts.array }
    /// Which texts were truncated.
    public var truncated: [Bool] { borrowedTruncated.flags }

    /// Gives access to all vectors one after the other, without copying.
    public func withUnsafeValues<Result, Failure>(
        _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedValues.withUnsafe(body)
    }

    /// Gives access to the vector of one text, or with ``Pooling/none`` the vectors of its tokens one after the other, without copying.
    public func withUnsafeVector<Result, Failure>(
        _ text: Int, _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedValues.withUnsafe(values(of: text), body)
    }

    private func values(of text: Int) -> Range<Int> {
        let rows = borrowedStarts.rows(text)
        return rows.lowerBound * dimension..<rows.upperBound * dimension
    }
}
