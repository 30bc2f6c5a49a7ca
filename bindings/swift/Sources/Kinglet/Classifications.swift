import CKinglet

/// Options of ``Model/classify(_:options:cancellation:)`` and ``Model/score(queries:documents:options:cancellation:)``. What is nil has its
/// default.
public struct ClassifyOptions: Hashable, Sendable {
    /// How the head's outputs become scores. Default: the model's own setting.
    public var function: ScoreFunction = .auto
    /// The maximum number of tokens of a text or pair, special tokens and the prompt included; longer ones are truncated. Default: the
    /// model's maximum.
    public var maxLength: Int?
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text, or before the first of each
    /// pair. Default: its default_prompt_name, if it has one.
    public var promptName: String?
    /// A prompt that is put there, whatever ``promptName`` says; empty for no prompt.
    public var prompt: String?
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?

    public init(
        function: ScoreFunction = .auto, maxLength: Int? = nil, promptName: String? = nil, prompt: String? = nil,
        priority: Priority = .normal, deadline: Duration? = nil
    ) {
        self.function = function
        self.maxLength = maxLength
        self.promptName = promptName
        self.prompt = prompt
        self.priority = priority
        self.deadline = deadline
    }

    func c(aggregation: Aggregation = .auto) throws(KingletError) -> kinglet_classify_options {
        var c = kinglet_classify_options()
        c.struct_size = MemoryLayout<kinglet_classify_options>.size
        c.function = function.rawValue
        c.aggregation = aggregation.rawValue
        c.max_length = try size(maxLength, "maxLength")
        c.priority = priority.rawValue
        c.deadline_ms = try units(deadline, "deadline", perSecond: 1000)
        return c
    }
}

extension Model {
    /// Classifies texts.
    ///
    /// - Throws: ``Status/unsupported`` if the model has no head for it, ``Status/outOfMemory``, ``Status/invalidArgument``,
    ///   ``Status/cancelled``.
    public func classify(
        _ texts: [String], options: ClassifyOptions = ClassifyOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Classifications {
        try classify(texts, [], options, cancellation, kinglet_model_classify)
    }

    /// Classifies texts; ``classify(_:options:cancellation:)`` has the details.
    public func classify(_ texts: [String], options: ClassifyOptions = ClassifyOptions()) async throws(KingletError) -> Classifications {
        try await classify(texts, [], options, kinglet_model_submit_classify)
    }

    /// Classifies pairs: `texts[i]` with `pairs[i]`. Otherwise as ``classify(_:options:cancellation:)``.
    public func classify(
        _ texts: [String], pairs: [String], options: ClassifyOptions = ClassifyOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Classifications {
        try sameCount(texts.count, pairs.count, "pairs", of: "texts")
        return try classify(texts, pairs, options, cancellation, kinglet_model_classify)
    }

    /// Classifies pairs: `texts[i]` with `pairs[i]`. Otherwise as ``classify(_:options:cancellation:)``.
    public func classify(
        _ texts: [String], pairs: [String], options: ClassifyOptions = ClassifyOptions()
    ) async throws(KingletError) -> Classifications {
        try sameCount(texts.count, pairs.count, "pairs", of: "texts")
        return try await classify(texts, pairs, options, kinglet_model_submit_classify)
    }

    /// Scores pairs of a query and a document, `queries[i]` with `documents[i]`, with a cross-encoder: a model with one output. The result has
    /// one score per pair.
    ///
    /// - Throws: ``Status/unsupported`` if the model is no cross-encoder, ``Status/outOfMemory``, ``Status/invalidArgument``,
    ///   ``Status/cancelled``.
    public func score(
        queries: [String], documents: [String], options: ClassifyOptions = ClassifyOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Classifications {
        try sameCount(queries.count, documents.count, "documents", of: "queries")
        return try classify(queries, documents, options, cancellation, kinglet_model_score)
    }

    /// Scores pairs; ``score(queries:documents:options:cancellation:)`` has the details.
    public func score(
        queries: [String], documents: [String], options: ClassifyOptions = ClassifyOptions()
    ) async throws(KingletError) -> Classifications {
        try sameCount(queries.count, documents.count, "documents", of: "queries")
        return try await classify(queries, documents, options, kinglet_model_submit_score)
    }

    /// Classifies texts, or pairs if there are pairs.
    private func classify(
        _ texts: [String], _ pairs: [String], _ options: ClassifyOptions, _ cancellation: Cancellation?,
        _ function: (
            OpaquePointer?, UnsafePointer<kinglet_str>?, UnsafePointer<kinglet_str>?, Int, UnsafePointer<kinglet_classify_options>?,
            UnsafeMutablePointer<OpaquePointer?>?, UnsafeMutablePointer<OpaquePointer?>?
        ) -> kinglet_status
    ) throws(KingletError) -> Classifications {
        var c = try options.c()
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withPrompt(options.promptName, options.prompt) { name, prompt throws(KingletError) in
                    (c.prompt_name, c.prompt) = (name, prompt)
                    return try withPairs(texts, pairs) { first, second throws(KingletError) in
                        try Handle.make(free: kinglet_classifications_free) { classifications, failure in
                            function(model, first, second, texts.count, &c, classifications, failure)
                        }
                    }
                }
            }
        }
        return try Classifications(result, labels: properties.labels)
    }

    /// Classifies texts, or pairs if there are pairs, as a request.
    private func classify(
        _ texts: [String], _ pairs: [String], _ options: ClassifyOptions,
        _ function: (
            OpaquePointer?, UnsafePointer<kinglet_str>?, UnsafePointer<kinglet_str>?, Int, UnsafePointer<kinglet_classify_options>?,
            kinglet_request_callback?, UnsafeMutableRawPointer?, UnsafeMutablePointer<OpaquePointer?>?, UnsafeMutablePointer<OpaquePointer?>?
        ) -> kinglet_status
    ) async throws(KingletError) -> Classifications {
        var c = try options.c()
        let result = try await requested(
            { done, request, failure throws(KingletError) in
                handle.use { model in
                    withPrompt(options.promptName, options.prompt) { name, prompt in
                        (c.prompt_name, c.prompt) = (name, prompt)
                        return withPairs(texts, pairs) { first, second in
                            function(model, first, second, texts.count, &c, done.0, done.1, request, failure)
                        }
                    }
                }
            }, free: kinglet_classifications_free, take: kinglet_request_take_classifications)
        return try Classifications(result, labels: properties.labels)
    }
}

/// The scores of a batch of texts or pairs.
///
/// It is a collection with the scores of each text or pair, one per label. Arrays are copies; `withUnsafe` functions give access to the library's
/// memory.
public struct Classifications: Sendable, RandomAccessCollection {
    private let borrowedScores: Borrowed<Float>
    private let borrowedBest: Borrowed<UInt32>
    private let borrowedTokenCounts: Borrowed<Int>
    private let borrowedTruncated: Borrowed<UInt8>
    private let width: Int

    /// The number of texts or pairs.
    public let count: Int
    /// The names of the scores of one text or pair.
    public let labels: [String]

    init(_ handle: Handle, labels: [String]) throws(KingletError) {
        var view = kinglet_classifications_view()
        view.struct_size = MemoryLayout<kinglet_classifications_view>.size
        view = try handle.read(view, kinglet_classifications_read)
        count = view.count
        width = view.label_count
        self.labels = labels
        borrowedScores = Borrowed(handle, view.scores, view.count * view.label_count)
        borrowedBest = Borrowed(handle, view.best, view.count)
        borrowedTokenCounts = Borrowed(handle, view.token_counts, view.count)
        borrowedTruncated = Borrowed(handle, view.truncated, view.count)
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// The scores of one text or pair, one per label.
    public subscript(text: Int) -> [Float] { borrowedScores.array(text * width..<(text + 1) * width) }

    /// The scores of all texts or pairs one after the other.
    public var scores: [Float] { borrowedScores.array }
    /// The number of the label with the highest score, one per text or pair.
    public var best: [Int] { borrowedBest.withUnsafe { $0.map { Int($0) } } }
    /// The tokens of each text or pair, special tokens included.
    public var tokenCounts: [Int] { borrowedTokenCounts.array }
    /// Which texts or pairs were truncated.
    public var truncated: [Bool] { borrowedTruncated.flags }

    /// The name of the best label of one text or pair.
    public func label(_ text: Int) -> String { labels[Int(borrowedBest[text])] }

    /// Gives access to the scores of all texts or pairs one after the other, without copying.
    public func withUnsafeScores<Result, Failure>(
        _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedScores.withUnsafe(body)
    }
}
