import CKinglet

/// A document of a ranking.
public struct RankedDocument: Hashable, Sendable {
    /// The number of the document in the call.
    public let index: Int
    /// How well it answers the query.
    public let score: Float
    /// The tokens of the query with the document, special tokens included.
    public let tokenCount: Int
    /// Whether they were truncated.
    public let isTruncated: Bool
}

extension Model {
    /// Scores documents for a query, as ``score(queries:documents:options:cancellation:)`` does, and sorts them: the best first, the lower
    /// number of equal ones first. `topN` is the most documents in the ranking; nil: all.
    ///
    /// - Throws: ``Status/unsupported`` if the model is no cross-encoder, ``Status/outOfMemory``, ``Status/invalidArgument``,
    ///   ``Status/cancelled``.
    public func rerank(
        query: String, documents: [String], topN: Int? = nil, options: ClassifyOptions = ClassifyOptions(),
        cancellation: Cancellation? = nil
    ) throws(KingletError) -> [RankedDocument] {
        var scoring = try options.c()
        var c = kinglet_rerank_options()
        c.struct_size = MemoryLayout<kinglet_rerank_options>.size
        c.top_n = try size(topN, "topN")
        let ranking = try cancellation.use { cancellation throws(KingletError) in
            scoring.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withPrompt(options.promptName, options.prompt) { name, prompt throws(KingletError) in
                    (scoring.prompt_name, scoring.prompt) = (name, prompt)
                    return try withPairs([query], documents) { first, second throws(KingletError) in
                        try Handle.make(free: kinglet_ranking_free) { ranking, failure in
                            withUnsafePointer(to: scoring) { scoring in
                                c.scoring = scoring
                                return kinglet_model_rerank(model, first![0], second, documents.count, &c, ranking, failure)
                            }
                        }
                    }
                }
            }
        }
        var view = kinglet_ranking_view()
        view.struct_size = MemoryLayout<kinglet_ranking_view>.size
        view = try ranking.read(view, kinglet_ranking_read)
        let indices = Borrowed<Int>(ranking, view.indices, view.count)
        let scores = Borrowed<Float>(ranking, view.scores, view.count)
        let tokenCounts = Borrowed<Int>(ranking, view.token_counts, view.document_count)
        let truncated = Borrowed<UInt8>(ranking, view.truncated, view.document_count)
        return (0..<view.count).map { i in
            RankedDocument(
                index: indices[i], score: scores[i], tokenCount: tokenCounts[indices[i]], isTruncated: truncated[indices[i]] != 0)
        }
    }
}
