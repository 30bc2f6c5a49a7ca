import Kinglet
import Testing

/// Numbers from -1 to 1, always the same.
private func random(_ seed: UInt64, _ count: Int) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(state >> 40) / Float(1 << 23) - 1
    }
}

/// The places of the greatest, the lower first of equals.
private func best<Score: Comparable>(_ scores: [Score], _ count: Int) -> [Int] {
    Array(scores.indices.sorted { scores[$0] > scores[$1] || scores[$0] == scores[$1] && $0 < $1 }.prefix(count))
}

@Suite struct SearchTests {
    let dimension = 24
    let corpus = EmbeddingRows(.float32(random(1, 24 * 500)), dimension: 24)
    let queries = EmbeddingRows(.float32(random(2, 24 * 3)), dimension: 24)

    @Test func hits() throws {
        guard case .float32(let rows) = corpus.values, case .float32(let wanted) = queries.values else { return }
        let found = try searchEmbeddings(queries, in: corpus, options: SearchOptions(topK: 5, similarity: .dot, threads: 2))
        #expect(found.count == 3 && corpus.count == 500)
        for (q, hits) in found.enumerated() {
            let scores = (0..<500).map { row in
                (0..<dimension).reduce(0.0) { $0 + Double(wanted[q * dimension + $1]) * Double(rows[row * dimension + $1]) }
            }
            #expect(hits.map(\.index) == best(scores, 5))
            for hit in hits { #expect(abs(Double(hit.score) - scores[hit.index]) < 1e-4) }
        }
        // Each finds itself first, and there are no more hits than embeddings.
        let own = try searchEmbeddings(queries, in: queries)
        #expect(own.map { $0[0].index } == [0, 1, 2] && own[0].count == 3)
    }

    @Test func codes() throws {
        let ranges = try embeddingRanges(corpus)
        for type in [EmbeddingType.float32, .float16, .int8, .uint8, .binary, .ubinary] {
            let codes = try quantizeEmbeddings(corpus, to: type, ranges: ranges)
            let own = try quantizeEmbeddings(queries, to: type, ranges: ranges)
            #expect(codes.type == type && codes.count == 500)
            let found = try searchEmbeddings(own, in: codes, options: SearchOptions(topK: 4))
            #expect(found.count == 3 && found[0].count == 4)
            if case .int8(let rows) = codes.values, case .int8(let wanted) = own.values {
                for (q, hits) in found.enumerated() {
                    let scores = (0..<500).map { row in
                        (0..<dimension).reduce(0) { $0 + Int(wanted[q * dimension + $1]) * Int(rows[row * dimension + $1]) }
                    }
                    #expect(hits.map(\.index) == best(scores, 4) && hits.map { Int($0.score) } == best(scores, 4).map { scores[$0] })
                }
            }
        }
        let codes = try quantizeEmbeddings(corpus, to: .uint8, ranges: ranges)
        let options = SearchOptions(topK: 2, ranges: ranges, rescoreMultiplier: 3)
        #expect(try searchEmbeddings(queries, in: codes, options: options)[2].count == 2)
        let bits = try quantizeEmbeddings(EmbeddingRows(.float32([1, -1, 0, 2]), dimension: 4), to: .ubinary)
        #expect(bits.values == .ubinary([0b1001_0000]))
    }

    @Test func refusals() {
        let odd = EmbeddingRows(.float32([1, 2, 3]), dimension: 2)
        #expect(throws: KingletError.self) { try searchEmbeddings(odd, in: corpus) }
        #expect(throws: KingletError.self) { try searchEmbeddings(queries, in: corpus, options: SearchOptions(similarity: .hamming)) }
        #expect(throws: KingletError.self) { try searchEmbeddings(queries, in: corpus, options: SearchOptions(topK: -1)) }
        #expect(throws: KingletError.self) { try searchEmbeddings(queries, in: corpus, options: SearchOptions(ranges: [1])) }
        #expect(throws: KingletError.self) { try quantizeEmbeddings(EmbeddingRows(.float32([.nan]), dimension: 1), to: .binary) }
        #expect(throws: KingletError.self) { try embeddingRanges(EmbeddingRows(.float32([]), dimension: 4)) }
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect(throws: KingletError.self) { try searchEmbeddings(queries, in: corpus, cancellation: cancellation) }
    }

    @Test func reranking() async throws {
        let model = try await Model.load(path: fixture("roberta-cross-encoder"))
        let documents = ["a stone falls", "a small bird", "", "a small bird", String(repeating: "river ", count: 600)]
        let scores = try await model.score(queries: Array(repeating: "what flies?", count: 5), documents: documents)
        for topN in [nil, 2, 9] {
            let ranking = try model.rerank(query: "what flies?", documents: documents, topN: topN)
            #expect(ranking.map(\.index) == best(scores.scores, topN ?? 5))
            for document in ranking {
                #expect(document.score == scores.scores[document.index] && document.isTruncated == (document.index == 4))
                #expect(document.tokenCount == scores.tokenCounts[document.index])
            }
        }
        let other = try await Model.load(path: fixture("bert-classifier"))
        #expect(throws: KingletError.self) { try other.rerank(query: "a", documents: documents) }
        #expect(throws: KingletError.self) { try model.rerank(query: "a", documents: documents, topN: -1) }
    }
}
