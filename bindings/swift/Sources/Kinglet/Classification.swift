import CKinglet

extension Model {
    /// Classifies texts, or pairs if `pairs` is as long as `texts`. Blocks.
    public func classify(
        _ texts: [String], pairs: [String] = [], options: ClassifyOptions = ClassifyOptions()
    ) throws(KingletError) -> Classifications {
        try classify(texts, pairs, options, nil)
    }

    /// Classifies texts or pairs, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func classify(
        _ texts: [String], pairs: [String] = [], options: ClassifyOptions = ClassifyOptions()
    ) async throws(KingletError) -> Classifications {
        try await offload { (cancellation) throws(KingletError) in try self.classify(texts, pairs, options, cancellation) }
    }

    private func classify(
        _ texts: [String], _ pairs: [String], _ options: ClassifyOptions, _ cancellation: Cancellation?
    ) throws(KingletError) -> Classifications {
        try sameCount(texts, pairs, "pairs")
        let arguments = Arguments()
        let c = try options.c(cancellation)
        let (first, second) = (arguments.texts(texts), arguments.texts(pairs))
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_classifications_free($0) }) {
                    kinglet_model_classify(model, first, second, texts.count, c, $0, $1)
                }
            }
        }
        return Classifications(handle, labels: properties.labels)
    }

    /// Scores documents for one query with a cross-encoder: one score per document, higher is more relevant. Blocks.
    public func score(
        query: String, documents: [String], options: ClassifyOptions = ClassifyOptions()
    ) throws(KingletError) -> [Float] {
        try score(query, documents, options, nil)
    }

    /// Scores documents for one query, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func score(
        query: String, documents: [String], options: ClassifyOptions = ClassifyOptions()
    ) async throws(KingletError) -> [Float] {
        try await offload { (cancellation) throws(KingletError) in try self.score(query, documents, options, cancellation) }
    }

    private func score(
        _ query: String, _ documents: [String], _ options: ClassifyOptions, _ cancellation: Cancellation?
    ) throws(KingletError) -> [Float] {
        let arguments = Arguments()
        let c = try options.c(cancellation)
        let queries = arguments.texts([String](repeating: query, count: documents.count))
        let second = arguments.texts(documents)
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_classifications_free($0) }) {
                    kinglet_model_score(model, queries, second, documents.count, c, $0, $1)
                }
            }
        }
        return Classifications(handle, labels: []).map { $0.scores.first ?? 0 }
    }

    /// Finds entities: classifies the tokens of each text. Blocks.
    public func classifyTokens(
        _ texts: [String], options: ClassifyOptions = ClassifyOptions()
    ) throws(KingletError) -> TokenClassifications {
        try classifyTokens(texts, options, nil)
    }

    /// Finds entities, away from Swift's cooperative threads. Cancelling the task cancels the call.
    public func classifyTokens(
        _ texts: [String], options: ClassifyOptions = ClassifyOptions()
    ) async throws(KingletError) -> TokenClassifications {
        try await offload { (cancellation) throws(KingletError) in try self.classifyTokens(texts, options, cancellation) }
    }

    private func classifyTokens(
        _ texts: [String], _ options: ClassifyOptions, _ cancellation: Cancellation?
    ) throws(KingletError) -> TokenClassifications {
        let arguments = Arguments()
        let c = try options.c(cancellation)
        let batch = arguments.texts(texts)
        let handle = try handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_token_classifications_free($0) }) {
                    kinglet_model_classify_tokens(model, batch, texts.count, c, $0, $1)
                }
            }
        }
        return try TokenClassifications(handle)
    }
}

/// Options of classifying, scoring and classifying tokens.
public struct ClassifyOptions: Sendable {
    /// How outputs become scores. `auto`: as the model's files say.
    public var function: ScoreFunction = .auto
    /// How tokens become entities; only for `classifyTokens`.
    public var aggregation: Aggregation = .auto
    /// The most tokens of a text or pair, special tokens included; longer ones are cut. nil: what the model takes.
    public var maxLength: Int?

    public init(function: ScoreFunction = .auto, aggregation: Aggregation = .auto, maxLength: Int? = nil) {
        self.function = function
        self.aggregation = aggregation
        self.maxLength = maxLength
    }

    func c(_ cancellation: Cancellation?) throws(KingletError) -> kinglet_classify_options {
        var c = kinglet_classify_options()
        c.struct_size = MemoryLayout<kinglet_classify_options>.size
        c.function = function.rawValue
        c.aggregation = aggregation.rawValue
        c.max_length = try size(maxLength, "maxLength")
        c.cancellation = cancellation?.pointer
        return c
    }
}

/// The scores of one text or pair.
public struct Classification: Sendable, Hashable {
    /// The label with the highest score; empty for a model whose files name no labels.
    public let label: String
    /// Its number.
    public let best: Int
    /// One score per label.
    public let scores: [Float]
    /// The tokens of the text or pair, special tokens included.
    public let tokenCount: Int
    /// Whether it was cut.
    public let truncated: Bool
}

/// The scores of a batch: one `Classification` per text or pair. Any thread or task.
public struct Classifications: RandomAccessCollection, Sendable {
    private let all: [Classification]

    init(_ handle: Handle, labels: [String]) {
        var view = kinglet_classifications_view()
        view.struct_size = MemoryLayout<kinglet_classifications_view>.size
        all = handle.use { classifications in
            _ = kinglet_classifications_read(classifications, &view, nil)
            let (truncated, counts) = (flags(view.truncated, view.count), array(view.token_counts, view.count))
            return (0..<view.count).map { i in
                let best = Int(view.best[i])
                return Classification(
                    label: best < labels.count ? labels[best] : "", best: best,
                    scores: array(view.scores + i * view.label_count, view.label_count), tokenCount: counts[i],
                    truncated: truncated[i])
            }
        }
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { all.count }
    public subscript(i: Int) -> Classification { all[i] }
}

/// A part of a text that the model labelled.
public struct Entity: Sendable, Hashable {
    /// The number of its text in the batch.
    public let text: Int
    /// Its bytes (UTF-8) in that text; `String.range(ofUTF8:)` gives its characters.
    public let bytes: Range<Int>
    /// The label, or with aggregation `simple` the label without `B-` or `I-`.
    public let name: String
    /// The number of the label of its first token.
    public let label: Int
    /// The score of the label, or with aggregation `simple` the mean over its tokens.
    public let score: Float
}

/// The entities of a batch of texts. Any thread or task.
public final class TokenClassifications: Sendable {
    private let handle: Handle
    /// The entities of all texts, in their order.
    public let entities: [Entity]
    /// Texts in the batch, scores per token.
    public let count: Int
    public let labelCount: Int
    /// The tokens of each text among those of all texts.
    public let tokens: [Range<Int>]
    /// Whether each text was cut.
    public let truncated: [Bool]

    init(_ handle: Handle) throws(KingletError) {
        self.handle = handle
        let view = TokenClassifications.view(handle)
        (count, labelCount) = (view.count, view.label_count)
        let starts = array(view.starts, view.count + 1)
        tokens = zip(starts, starts.dropFirst()).map { $0..<$1 }
        truncated = flags(view.truncated, view.count)
        var entities: [Entity] = []
        for i in 0..<view.entity_count {
            var entity = kinglet_entity()
            entity.struct_size = MemoryLayout<kinglet_entity>.size
            try handle.use { (classifications) throws(KingletError) in
                try check { kinglet_token_classifications_entity(classifications, i, &entity, $0) }
            }
            entities.append(
                Entity(
                    text: entity.text, bytes: entity.start..<entity.end, name: string(entity.name), label: Int(entity.label),
                    score: entity.score))
        }
        self.entities = entities
    }

    private static func view(_ handle: Handle) -> kinglet_token_classifications_view {
        var view = kinglet_token_classifications_view()
        view.struct_size = MemoryLayout<kinglet_token_classifications_view>.size
        handle.use { _ = kinglet_token_classifications_read($0, &view, nil) }
        return view
    }

    /// The entities of text `i`.
    public func entities(ofText i: Int) -> [Entity] { entities.filter { $0.text == i } }

    /// Lends the scores of all tokens, one token after the other. The memory is valid during the call.
    public func withUnsafeScores<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(self) {} }
        let view = TokenClassifications.view(handle)
        return try body(UnsafeBufferPointer(start: view.scores, count: view.token_count * view.label_count))
    }
}

extension String {
    /// The characters at these bytes (UTF-8), or nil if the bytes are outside the text or cut a character.
    public func range(ofUTF8 bytes: Range<Int>) -> Range<String.Index>? {
        guard bytes.lowerBound >= 0, bytes.upperBound <= utf8.count else { return nil }
        let (start, end) = (utf8.index(utf8.startIndex, offsetBy: bytes.lowerBound), utf8.index(utf8.startIndex, offsetBy: bytes.upperBound))
        guard let first = start.samePosition(in: unicodeScalars), let last = end.samePosition(in: unicodeScalars) else { return nil }
        return first..<last
    }
}
