import CKinglet

/// Options of ``Model/sparseEmbed(_:options:cancellation:)``. What is nil is as the model's files say.
public struct SparseOptions: Hashable, Sendable {
    /// Keeps only so many weights of each text, the largest ones.
    public var maxActiveDims: Int?
    /// The maximum number of tokens of a text, special tokens and the prompt included; longer texts are truncated.
    public var maxLength: Int?
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text.
    public var promptName: String?
    /// A prompt that is put before each text, whatever ``promptName`` says; empty for no prompt.
    public var prompt: String?
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?

    public init(maxActiveDims: Int? = nil, maxLength: Int? = nil, promptName: String? = nil, prompt: String? = nil) {
        self.maxActiveDims = maxActiveDims
        self.maxLength = maxLength
        self.promptName = promptName
        self.prompt = prompt
    }
}

/// The weights of one text: token ids, ascending, and their weights, all greater than 0.
public struct SparseVector: Hashable, Sendable {
    public let indices: [UInt32]
    public let weights: [Float]

    /// How well two texts match: the sum of the products over their common tokens.
    public func dot(_ other: SparseVector) -> Float {
        var (a, b, sum) = (0, 0, Float(0))
        while a < indices.count && b < other.indices.count {
            let (left, right) = (indices[a], other.indices[b])
            if left == right { sum += weights[a] * other.weights[b] }
            a += left <= right ? 1 : 0
            b += right <= left ? 1 : 0
        }
        return sum
    }
}

/// The sparse embeddings of a batch of texts.
public struct SparseEmbeddings: Hashable, Sendable {
    /// The weights of each text.
    public let vectors: [SparseVector]
    /// The size of the vocabulary; all indices are below it.
    public let dimension: Int
    /// The tokens of each text, special tokens included.
    public let tokenCounts: [Int]
    /// Which texts were truncated.
    public let truncated: [Bool]

    fileprivate init(_ handle: Handle) throws(KingletError) {
        var view = kinglet_sparse_embeddings_view()
        view.struct_size = MemoryLayout<kinglet_sparse_embeddings_view>.size
        view = try handle.read(view, kinglet_sparse_embeddings_read)
        let starts = Borrowed<Int>(handle, view.starts, view.count + 1)
        let indices = Borrowed<UInt32>(handle, view.indices, starts[view.count])
        let weights = Borrowed<Float>(handle, view.weights, starts[view.count])
        vectors = (0..<view.count).map { text in
            SparseVector(indices: indices.array(starts.rows(text)), weights: weights.array(starts.rows(text)))
        }
        dimension = view.dimension
        tokenCounts = Borrowed<Int>(handle, view.token_counts, view.count).array
        truncated = Borrowed<UInt8>(handle, view.truncated, view.count).flags
    }
}

/// Options of ``Model/fillMask(_:options:cancellation:)``. What is nil has its default.
public struct FillMaskOptions: Hashable, Sendable {
    /// The tokens of each mask, the likeliest ones. Default: 5.
    public var topK: Int?
    /// Only these tokens are looked at; empty for the whole vocabulary. If a target is not one token, its first token is used, and a warning is
    /// logged.
    public var targets: [String]
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated. Default: the model's maximum.
    public var maxLength: Int?
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?

    public init(topK: Int? = nil, targets: [String] = [], maxLength: Int? = nil) {
        self.topK = topK
        self.targets = targets
        self.maxLength = maxLength
    }
}

/// A token for a mask.
public struct MaskFill: Hashable, Sendable {
    public let token: UInt32
    /// The token as text.
    public let text: String
    /// Its probability among all tokens of the vocabulary.
    public let score: Float
    /// The text with the token in the place of the mask; if it has several masks, with its special tokens.
    public let sequence: String
}

/// Options of ``Model/classifyZeroShot(_:labels:options:cancellation:)``. What is nil has its default.
public struct ZeroShotOptions: Hashable, Sendable {
    /// The hypothesis about a label, which takes the place of `{}`. Default: `This example is {}.`
    public var hypothesisTemplate: String?
    /// Whether a text may have several labels: each score is then between 0 and 1 on its own. Otherwise a text's scores sum to 1, unless there
    /// is only one label.
    public var multiLabel: Bool
    /// The maximum number of tokens of a text with a hypothesis, special tokens included. The text is truncated, never the hypothesis.
    /// Default: the model's maximum.
    public var maxLength: Int?
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?

    public init(hypothesisTemplate: String? = nil, multiLabel: Bool = false, maxLength: Int? = nil) {
        self.hypothesisTemplate = hypothesisTemplate
        self.multiLabel = multiLabel
        self.maxLength = maxLength
    }
}

/// A label of a text.
public struct RankedLabel: Hashable, Sendable {
    public let label: String
    /// The number of the label in the call.
    public let index: Int
    /// How far the text entails the hypothesis about it.
    public let score: Float
}

extension Model {
    /// Embeds texts as weights of tokens of the vocabulary, with a masked language model (SPLADE).
    ///
    /// - Throws: ``Status/unsupported`` if the model has no masked language head or its files are of another kind of model,
    ///   ``Status/outOfMemory``, ``Status/invalidArgument``, ``Status/cancelled``.
    public func sparseEmbed(
        _ texts: [String], options: SparseOptions = SparseOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> SparseEmbeddings {
        var c = kinglet_sparse_options()
        c.struct_size = MemoryLayout<kinglet_sparse_options>.size
        c.max_active_dims = try size(options.maxActiveDims, "maxActiveDims")
        c.max_length = try size(options.maxLength, "maxLength")
        c.priority = options.priority.rawValue
        c.deadline_ms = try units(options.deadline, "deadline", perSecond: 1000)
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withPrompt(options.promptName, options.prompt) { name, prompt throws(KingletError) in
                    (c.prompt_name, c.prompt) = (name, prompt)
                    return try withTexts(texts) { strings throws(KingletError) in
                        try Handle.make(free: kinglet_sparse_embeddings_free) { embeddings, failure in
                            kinglet_model_sparse_embed(model, strings, texts.count, &c, embeddings, failure)
                        }
                    }
                }
            }
        }
        return try SparseEmbeddings(result)
    }

    /// Embeds texts; ``sparseEmbed(_:options:cancellation:)`` has the details.
    public func sparseEmbed(
        _ texts: [String], options: SparseOptions = SparseOptions()
    ) async throws(KingletError) -> SparseEmbeddings {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try sparseEmbed(texts, options: options, cancellation: cancellation)
        }
    }

    /// Finds the likeliest tokens for each mask token (`[MASK]`, `<mask>`) of texts, with a masked language model: for each text its masks, and
    /// for each mask its tokens, the likeliest first.
    ///
    /// - Throws: ``Status/invalidArgument`` for a text without a mask token, ``Status/unsupported`` if the model has no masked language
    ///   head, ``Status/outOfMemory``, ``Status/cancelled``.
    public func fillMask(
        _ texts: [String], options: FillMaskOptions = FillMaskOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> [[[MaskFill]]] {
        var c = kinglet_fill_mask_options()
        c.struct_size = MemoryLayout<kinglet_fill_mask_options>.size
        c.top_k = try size(options.topK, "topK")
        c.target_count = options.targets.count
        c.max_length = try size(options.maxLength, "maxLength")
        c.priority = options.priority.rawValue
        c.deadline_ms = try units(options.deadline, "deadline", perSecond: 1000)
        let fills = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withPairs(texts, options.targets) { texts_, targets throws(KingletError) in
                    c.targets = targets
                    return try Handle.make(free: kinglet_mask_fills_free) { fills, failure in
                        kinglet_model_fill_mask(model, texts_, texts.count, &c, fills, failure)
                    }
                }
            }
        }
        var view = kinglet_mask_fills_view()
        view.struct_size = MemoryLayout<kinglet_mask_fills_view>.size
        view = try fills.read(view, kinglet_mask_fills_read)
        let starts = Borrowed<Int>(fills, view.starts, view.count + 1)
        var found: [[[MaskFill]]] = []
        var c_fill = kinglet_mask_fill()
        c_fill.struct_size = MemoryLayout<kinglet_mask_fill>.size
        for text in 0..<view.count {
            var masks: [[MaskFill]] = []
            for mask in starts.rows(text) {
                var ranked: [MaskFill] = []
                for rank in 0..<view.top_k {
                    try fills.use { fills throws(KingletError) in
                        try call { failure in kinglet_mask_fills_fill(fills, mask, rank, &c_fill, failure) }
                        ranked.append(
                            MaskFill(
                                token: c_fill.token, text: String(c_fill.token_text), score: c_fill.score,
                                sequence: String(c_fill.sequence)))
                    }
                }
                masks.append(ranked)
            }
            found.append(masks)
        }
        return found
    }

    /// Fills masks; ``fillMask(_:options:cancellation:)`` has the details.
    public func fillMask(
        _ texts: [String], options: FillMaskOptions = FillMaskOptions()
    ) async throws(KingletError) -> [[[MaskFill]]] {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try fillMask(texts, options: options, cancellation: cancellation)
        }
    }

    /// Classifies texts by labels of the call, with a model of natural language inference: the labels of each text, the likeliest first.
    ///
    /// - Throws: ``Status/unsupported`` if no label of the model begins with "entail", ``Status/outOfMemory``,
    ///   ``Status/invalidArgument``, ``Status/cancelled``.
    public func classifyZeroShot(
        _ texts: [String], labels: [String], options: ZeroShotOptions = ZeroShotOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> [[RankedLabel]] {
        var c = kinglet_zero_shot_options()
        c.struct_size = MemoryLayout<kinglet_zero_shot_options>.size
        c.multi_label = options.multiLabel ? 1 : 0
        c.max_length = try size(options.maxLength, "maxLength")
        c.priority = options.priority.rawValue
        c.deadline_ms = try units(options.deadline, "deadline", perSecond: 1000)
        let results = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withTexts([options.hypothesisTemplate ?? ""]) { template throws(KingletError) in
                    c.hypothesis_template = template![0]
                    return try withTexts(texts) { texts_ throws(KingletError) in
                        try withTexts(labels) { labels_ throws(KingletError) in
                            try Handle.make(free: kinglet_zero_shot_results_free) { results, failure in
                                kinglet_model_classify_zero_shot(
                                    model, texts_, texts.count, labels_, labels.count, &c, results, failure)
                            }
                        }
                    }
                }
            }
        }
        var view = kinglet_zero_shot_results_view()
        view.struct_size = MemoryLayout<kinglet_zero_shot_results_view>.size
        view = try results.read(view, kinglet_zero_shot_results_read)
        let order = Borrowed<UInt32>(results, view.labels, view.count * view.label_count)
        let scores = Borrowed<Float>(results, view.scores, view.count * view.label_count)
        return (0..<view.count).map { text in
            (text * view.label_count..<(text + 1) * view.label_count).map { place in
                RankedLabel(label: labels[Int(order[place])], index: Int(order[place]), score: scores[place])
            }
        }
    }

    /// Classifies texts; ``classifyZeroShot(_:labels:options:cancellation:)`` has the details.
    public func classifyZeroShot(
        _ texts: [String], labels: [String], options: ZeroShotOptions = ZeroShotOptions()
    ) async throws(KingletError) -> [[RankedLabel]] {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try classifyZeroShot(texts, labels: labels, options: options, cancellation: cancellation)
        }
    }
}
