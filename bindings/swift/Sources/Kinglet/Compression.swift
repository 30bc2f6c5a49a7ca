import CKinglet

/// Options of ``Model/compress(_:options:cancellation:)``. One of ``ratio`` and ``maxTokens`` is required. What is nil has its default.
public struct CompressOptions: Hashable, Sendable {
    /// Tokens of the document for each token that is kept: a number above 1.
    public var ratio: Double?
    /// The maximum number of tokens that are kept, by the model's own tokenizer and without special tokens.
    public var maxTokens: Int?
    /// How words or sentences are scored. Default: by the model.
    public var method: CompressMethod = .auto
    /// What is kept or dropped as a whole. Default: words for a token classifier, else sentences.
    public var unit: CompressUnit = .auto
    /// What sentences are to be relevant to. Default: the mean of the document. Only for ``CompressMethod/sentenceEmbeddings``.
    public var query: String?
    /// How much relevance counts, from above 0 to 1; novelty has the rest. Default: 0.7. Only for ``CompressMethod/sentenceEmbeddings``.
    public var relevance: Float?
    /// The label of tokens to keep. Default: the one that is named so, else the second of two. Only for
    /// ``CompressMethod/tokenClassifier``.
    public var keepLabel: String?
    /// Tokens that the model reads at once, special tokens included. Default: as many as it takes, at most 2048.
    public var window: Int?
    /// Tokens that two windows share. Default: an eighth of a window. Not for ``CompressMethod/sentenceEmbeddings``.
    public var overlap: Int?
    /// Keeps what has a digit.
    public var forceDigits = false
    /// Keeps words that begin with a capital letter and are not the first of a sentence.
    public var forceCapitalized = false
    /// Words, or sequences of words, that are kept wherever they are.
    public var forceTokens: [String] = []
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?

    public init(ratio: Double) { self.ratio = ratio }

    public init(maxTokens: Int) { self.maxTokens = maxTokens }

    fileprivate func c() throws(KingletError) -> kinglet_compress_options {
        if ratio == 0 { throw .invalid("ratio: 0.0 is not a number above 1") }
        if relevance == 0 { throw .invalid("relevance: 0.0 is not above 0 and at most 1") }
        var c = kinglet_compress_options()
        c.struct_size = MemoryLayout<kinglet_compress_options>.size
        c.ratio = ratio ?? 0
        c.max_tokens = try size(maxTokens, "maxTokens")
        c.method = method.rawValue
        c.unit = unit.rawValue
        c.window = try size(window, "window")
        c.overlap = try size(overlap, "overlap")
        c.relevance = relevance ?? 0
        c.force_digits = forceDigits ? 1 : 0
        c.force_capitalized = forceCapitalized ? 1 : 0
        c.force_token_count = forceTokens.count
        c.priority = priority.rawValue
        c.deadline_ms = try units(deadline, "deadline", perSecond: 1000)
        return c
    }
}

extension Model {
    /// Shortens a document of any length: the words or sentences that matter least are dropped, the others keep their order. One that fits is
    /// returned as it is.
    ///
    /// - Throws: ``Status/unsupported`` if the model does not serve the method, ``Status/invalidArgument`` for options that it does not
    ///   have and for a budget that holds nothing, ``Status/outOfMemory``, ``Status/cancelled``.
    public func compress(
        _ text: String, options: CompressOptions, cancellation: Cancellation? = nil
    ) throws(KingletError) -> Compression {
        var c = try options.c()
        let result = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                let given = [text, options.query ?? "", options.keepLabel ?? ""]
                return try withTexts(given + options.forceTokens) { texts throws(KingletError) in
                    guard let texts else { throw .invalid("text: is missing") }
                    (c.query, c.keep_label) = (texts[1], texts[2])
                    c.force_tokens = options.forceTokens.isEmpty ? nil : texts + given.count
                    return try Handle.make(free: kinglet_compression_free) { compression, failure in
                        kinglet_model_compress(model, texts[0], &c, compression, failure)
                    }
                }
            }
        }
        return try Compression(result)
    }

    /// Shortens a document; ``compress(_:options:cancellation:)`` has the details.
    public func compress(_ text: String, options: CompressOptions) async throws(KingletError) -> Compression {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try compress(text, options: options, cancellation: cancellation)
        }
    }
}

/// A shortened document.
public struct Compression: Hashable, Sendable {
    /// What was kept.
    public let text: String
    /// The bytes of the document that ``text`` is made of, in order; ``ByteRange/range(in:)`` finds them in a string.
    public let kept: [ByteRange]
    /// The tokens of the document, without special tokens.
    public let tokensBefore: Int
    /// The tokens of ``text``, without special tokens.
    public let tokensAfter: Int
    /// What the model read: windows, or sentences where each is embedded alone. 0 for a document that fits as it is.
    public let windows: Int
    /// How words or sentences were scored.
    public let method: CompressMethod

    init(_ handle: Handle) throws(KingletError) {
        var view = kinglet_compression_view()
        view.struct_size = MemoryLayout<kinglet_compression_view>.size
        view = try handle.read(view, kinglet_compression_read)
        defer { withExtendedLifetime(handle) {} }
        text = String(view.text)
        kept = UnsafeBufferPointer(start: view.kept, count: view.kept_count).map { ByteRange($0) }
        tokensBefore = view.tokens_before
        tokensAfter = view.tokens_after
        windows = view.windows
        method = CompressMethod(rawValue: view.method)
    }
}
