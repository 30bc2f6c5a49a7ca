import CKinglet

/// Options of ``Model/classifyTokens(_:options:cancellation:)``. What is nil has its default.
public struct ClassifyTokensOptions: Hashable, Sendable {
    /// How the head's outputs become scores. Default: the model's own setting.
    public var function: ScoreFunction = .auto
    /// How labelled tokens become entities. Default: ``Aggregation/simple``.
    public var aggregation: Aggregation = .auto
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated. Default: the model's maximum.
    public var maxLength: Int?

    public init(function: ScoreFunction = .auto, aggregation: Aggregation = .auto, maxLength: Int? = nil) {
        self.function = function
        self.aggregation = aggregation
        self.maxLength = maxLength
    }
}

extension Model {
    /// Labels the tokens of texts: named entities and the like.
    ///
    /// - Throws: ``Status/unsupported`` if the model has no head for it, ``Status/outOfMemory``, ``Status/invalidArgument``,
    ///   ``Status/cancelled``.
    public func classifyTokens(
        _ texts: [String], options: ClassifyTokensOptions = ClassifyTokensOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> TokenClassifications {
        var c = try ClassifyOptions(function: options.function, maxLength: options.maxLength).c(aggregation: options.aggregation)
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withTexts(texts) { strings throws(KingletError) in
                    try Handle.make(free: kinglet_token_classifications_free) { classifications, failure in
                        kinglet_model_classify_tokens(model, strings, texts.count, &c, classifications, failure)
                    }
                }
            }
        }
        return try TokenClassifications(result, labels: properties.labels)
    }

    /// Labels the tokens of texts; ``classifyTokens(_:options:cancellation:)`` has the details.
    public func classifyTokens(
        _ texts: [String], options: ClassifyTokensOptions = ClassifyTokensOptions()
    ) async throws(KingletError) -> TokenClassifications {
        var c = try ClassifyOptions(function: options.function, maxLength: options.maxLength).c(aggregation: options.aggregation)
        let result = try await requested(
            { done, request, failure throws(KingletError) in
                handle.use { model in
                    withTexts(texts) { strings in
                        kinglet_model_submit_classify_tokens(model, strings, texts.count, &c, done.0, done.1, request, failure)
                    }
                }
            }, free: kinglet_token_classifications_free, take: kinglet_request_take_token_classifications)
        return try TokenClassifications(result, labels: properties.labels)
    }
}

/// A labelled piece of a text.
public struct Entity: Hashable, Sendable {
    /// The number of the text in the batch.
    public let text: Int
    /// Its bytes in that text; ``ByteRange/range(in:)`` finds them in a string.
    public let bytes: ByteRange
    /// The label, or with ``Aggregation/simple`` its kind without `B-` and `I-`.
    public let name: String
    /// The number of its first token's label.
    public let label: Int
    /// The score of the label, or with ``Aggregation/simple`` the mean over its tokens.
    public let score: Float
}

/// The labelled tokens of a batch of texts. Arrays are copies; `withUnsafe` functions give access to the library's memory.
public struct TokenClassifications: Sendable {
    private let borrowedScores: Borrowed<Float>
    private let borrowedStarts: Borrowed<Int>
    private let borrowedTruncated: Borrowed<UInt8>
    private let width: Int

    /// The number of texts.
    public let count: Int
    /// The names of the scores of one token.
    public let labels: [String]
    /// The entities, in the order of the texts; tokens labelled `O` make none.
    public let entities: [Entity]

    init(_ handle: Handle, labels: [String]) throws(KingletError) {
        var view = kinglet_token_classifications_view()
        view.struct_size = MemoryLayout<kinglet_token_classifications_view>.size
        view = try handle.read(view, kinglet_token_classifications_read)
        count = view.count
        width = view.label_count
        self.labels = labels
        borrowedScores = Borrowed(handle, view.scores, view.token_count * view.label_count)
        borrowedStarts = Borrowed(handle, view.starts, view.count + 1)
        borrowedTruncated = Borrowed(handle, view.truncated, view.count)
        var entities: [Entity] = []
        entities.reserveCapacity(view.entity_count)
        var c = kinglet_entity()
        c.struct_size = MemoryLayout<kinglet_entity>.size
        for index in 0..<view.entity_count {
            try handle.use { classifications throws(KingletError) in
                try call { failure in kinglet_token_classifications_entity(classifications, index, &c, failure) }
                entities.append(
                    Entity(
                        text: c.text, bytes: ByteRange(start: c.start, end: c.end), name: String(c.name), label: Int(c.label), score: c.score))
            }
        }
        self.entities = entities
    }

    /// The scores of the tokens of one text, one row per token, special tokens included, of one score per label.
    public func scores(_ text: Int) -> [[Float]] {
        borrowedStarts.rows(text).map { borrowedScores.array($0 * width..<($0 + 1) * width) }
    }

    /// The scores of the tokens of all texts, one after the other: one row per token of one score per label.
    public var scores: [Float] { borrowedScores.array }
    /// `count + 1` values: the tokens of text i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    public var starts: [Int] { borrowedStarts.array }
    /// Which texts were truncated.
    public var truncated: [Bool] { borrowedTruncated.flags }

    /// Gives access to the scores of the tokens of all texts, one after the other, without copying.
    public func withUnsafeScores<Result, Failure>(
        _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedScores.withUnsafe(body)
    }
}
