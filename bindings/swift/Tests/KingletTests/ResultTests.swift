import Foundation
import Kinglet
import Testing

let mixed = [
    "", " ", "\0", "a\0b", "John went from Berlin to Paris.", "Café 中文 für Ærø 🐦👍🏽 naïve", String(repeating: "river ", count: 600),
]

/// Results have the shapes that they say, and lend what they copy.
@Suite struct ResultTests {
    /// Options of the scheduler, priorities and deadlines reach the library.
    @Test func scheduling() async throws {
        let options = ModelOptions(scheduler: SchedulerOptions(maxTokens: 64, maxWait: .microseconds(10), queueLength: 8))
        let model = try await Model.load(path: fixture("bert"), options: options)
        let plain = try await model.embed(["a small bird"])
        let urgent = try await model.embed(["a small bird"], options: EmbedOptions(priority: .interactive, deadline: .seconds(60)))
        #expect(sameBits(plain.values, urgent.values))
        let many = Array(repeating: "a small bird sings near the river", count: 20_000)
        do {
            _ = try await model.embed(many, options: EmbedOptions(priority: .bulk, deadline: .milliseconds(1)))
            Issue.record("a deadline of a millisecond was kept")
        } catch {
            #expect(error.status == .deadlineExceeded)
        }
        await #expect(throws: KingletError.self) { try await model.embed(["a"], options: EmbedOptions(deadline: .zero)) }
        let endless = ModelOptions(scheduler: SchedulerOptions(maxWait: .seconds(2)))
        await #expect(throws: KingletError.self) { try await Model.load(path: fixture("bert"), options: endless) }
    }

    /// Texts may be empty, hold NUL, or be long.
    @Test func embeddings() async throws {
        let model = try await Model.load(path: fixture("bert"))
        let e = try await model.embed(mixed)
        #expect(e.count == mixed.count && e.dimension == 32 && e.values.count == 32 * mixed.count && e.starts.count == mixed.count + 1)
        #expect(e.truncated.last == true && e.truncated[0] == false && e.tokenCounts[0] == 2 && e.tokenCounts.last == 24)
        for (i, vector) in e.enumerated() {
            #expect(vector.count == 32 && abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
            e.withUnsafeVector(i) { lent in
                #expect(Array(lent) == vector)
                // Lent, not copied: every time the same memory, a part of the whole.
                e.withUnsafeVector(i) { #expect($0.baseAddress == lent.baseAddress) }
                e.withUnsafeValues { #expect($0.baseAddress! + i * 32 == lent.baseAddress) }
            }
        }

        // Results outlive their model.
        let raw = try await { () async throws -> Embeddings in
            try await Model.load(path: fixture("bert")).embed(mixed, options: EmbedOptions(pooling: .none, normalize: false, maxLength: 10))
        }()
        let encoding = try await model.tokenizer.tokenize(mixed, options: Tokenizer.Options(maxLength: 10))
        #expect(raw.starts == encoding.starts && raw.tokenCounts.last == 10)
        let states = try await model.hiddenStates(Array(encoding))
        #expect(sameBits(raw.values, states.values) && states.count == mixed.count && states.dimension == 32)
        #expect(states[1].flatMap { $0 } == raw[1] && states[1].allSatisfy { $0.count == 32 })
        states.withUnsafeValues { #expect(Array($0) == states.values) }
        for (pooling, row) in [(Pooling.cls, { raw.starts[$0] }), (.last, { raw.starts[$0 + 1] - 1 })] as [(Pooling, (Int) -> Int)] {
            let pooled = try await model.embed(mixed, options: EmbedOptions(pooling: pooling, normalize: false, maxLength: 10))
            for i in mixed.indices { #expect(sameBits(pooled[i], Array(raw.values[row(i) * 32..<(row(i) + 1) * 32]))) }
        }
    }

    /// A shortened document is made of pieces of the document, and fits.
    @Test func compression() async throws {
        let document = String(repeating: "A small bird sings für Ærø. The rain runs to the sea! It answers 42 times. ", count: 5)
        var sentences = CompressOptions(ratio: 3), tagged = CompressOptions(ratio: 2), words = CompressOptions(maxTokens: 60)
        (sentences.query, sentences.relevance) = ("rain", 0.5)
        (tagged.keepLabel, tagged.forceDigits) = ("O", true)
        (words.unit, words.window, words.overlap, words.forceTokens) = (.word, 40, 8, ["rain"])
        for (name, options, budget) in [
            ("bert", sentences, nil), ("bert-token-classifier", tagged, nil), ("generation/gpt2", words, 60),
        ] as [(String, CompressOptions, Int?)] {
            let model = try await Model.load(path: fixture(name))
            let short = try await model.compress(document, options: options)
            #expect(try short == model.compress(document, options: options, cancellation: nil))
            #expect(short.tokensAfter <= budget ?? short.tokensBefore / Int(options.ratio ?? 1) && short.windows > 1)
            let pieces = try short.kept.map { try document[#require($0.range(in: document))] }.joined()
            #expect(pieces.filter { $0 != " " } == short.text.filter { $0 != " " })
            #expect(short.method != .auto)
            if options.forceDigits { #expect(short.text.ranges(of: "42").count == 5) }
            if !options.forceTokens.isEmpty { #expect(short.text.ranges(of: "rain").count == 5) }
            var wrong = options
            (wrong.ratio, wrong.maxTokens) = (2, 2)
            await expectError(.invalidArgument, "ratio and maxTokens") { [wrong] in _ = try await model.compress(document, options: wrong) }
            (wrong.ratio, wrong.maxTokens) = (0, nil)
            await expectError(.invalidArgument, "ratio 0") { [wrong] in _ = try await model.compress(document, options: wrong) }
        }
    }

    /// An Arrow array has the vectors of its texts.
    @Test func arrow() async throws {
        let model = try await Model.load(path: fixture("bert"))
        let expected = try await model.embed(["bird", ""])
        let (offsets, data): ([Int32], [UInt8]) = ([0, 1, 5, 5], Array("xbird".utf8))
        var values = [Float](repeating: 7, count: 33 + 32)
        func embed(dimension: Int, count: Int? = nil) throws {
            try values.withUnsafeMutableBufferPointer { values in
                try offsets.withUnsafeBufferPointer { offsets in
                    try data.withUnsafeBytes { data in
                        let texts = ArrowTexts(offsets: offsets, data: data, first: 1, count: count)
                        try model.embed(texts, into: values, dimension: dimension, stride: 33)
                    }
                }
            }
        }
        try embed(dimension: 32)
        #expect(sameBits(Array(values[..<32]), expected[0]) && sameBits(Array(values[33...]), expected[1]) && values[32] == 7)
        #expect(throws: KingletError.self) { try embed(dimension: 31) }
        #expect(throws: KingletError.self) { try embed(dimension: 32, count: 3) }
    }

    @Test func encodings() async throws {
        let tokenizer = try await Model.load(path: fixture("bert")).tokenizer
        let options = Tokenizer.Options(addSpecialTokens: false, maxLength: Tokenizer.Options.noLimit)
        let plain = try await tokenizer.tokenize(mixed, options: options)
        #expect(plain.offsets == nil && !plain.specialTokensMask.contains(1) && plain.longest >= 600)
        #expect(plain.truncated.last == false && plain[0] == [] && plain.count == mixed.count)
        plain.withUnsafeIDs { #expect(Array($0) == plain.ids) }
        plain.withUnsafeTypeIDs { #expect(Array($0) == plain.typeIDs) }
        plain.withUnsafeStarts { #expect(Array($0) == plain.starts) }

        let pairs = try await tokenizer.tokenize(mixed, pairs: Array(repeating: "the fox", count: mixed.count))
        #expect(pairs.sequences.contains(1) && pairs.typeIDs.contains(1) && pairs.count == mixed.count)
        let padded = try pairs.padded()
        for (i, tokens) in pairs.enumerated() {
            let row = i * pairs.longest..<(i + 1) * pairs.longest
            let padding = pairs.longest - tokens.count
            #expect(Array(padded.ids[row]) == tokens + Array(repeating: pairs.padID, count: padding))
            #expect(
                Array(padded.attentionMask[row]) == Array(repeating: 1, count: tokens.count) + Array(repeating: 0, count: padding))
        }
        #expect(try pairs.padded(length: pairs.longest + 2, padID: 77).ids.last == 77)
        for length in [pairs.longest - 1, Int.max / 2, -1] {
            await expectError(.invalidArgument, naming: "length") { _ = try pairs.padded(length: length) }
        }

        let one = try await tokenizer.tokenize(["the small bird"])
        #expect(try await tokenizer.detokenize(one.ids) == "the small bird")
        #expect(try await tokenizer.detokenize(one.ids, skipSpecialTokens: false).contains("[CLS]"))
    }

    @Test func classifications() async throws {
        let model = try await Model.load(path: fixture("bert-classifier"))
        let soft = try await model.classify(mixed), raw = try await model.classify(mixed, options: ClassifyOptions(function: .none))
        #expect(soft.labels == ["NEGATIVE", "POSITIVE"] && soft.count == mixed.count && soft.best == raw.best)
        for (i, row) in soft.enumerated() {
            #expect(row.count == 2 && abs(row[0] + row[1] - 1) < 1e-5)
            #expect(abs(row[1] - 1 / (1 + exp(raw[i][0] - raw[i][1]))) < 1e-5)
            #expect(soft.label(i) == soft.labels[row[1] > row[0] ? 1 : 0])
        }
        let one = try await model.classify(mixed, options: ClassifyOptions(function: .sigmoid, maxLength: 8))
        #expect(one.tokenCounts.last == 8 && one.truncated.last == true && one.truncated[0] == false)
        one.withUnsafeScores { #expect(Array($0) == one.scores && $0.count == 2 * mixed.count) }
    }

    @Test func scores() async throws {
        let model = try await Model.load(path: fixture("roberta-cross-encoder"))
        let documents = Array(mixed.prefix(6)), queries = Array(repeating: "bird", count: 6)
        let scores = try await model.score(queries: queries, documents: documents)
        let raw = try await model.classify(queries, pairs: documents, options: ClassifyOptions(function: .none))
        for i in documents.indices { #expect(scores[i].count == 1 && abs(scores[i][0] - 1 / (1 + exp(-raw[i][0]))) < 1e-5) }
    }

    /// A prompt is text before the text, and truncated vectors are the first values of whole ones.
    @Test func prompts() async throws {
        let model = try await Model.load(path: fixture("bert"))
        let whole = try await model.embed(["small bird"])[0]
        #expect(try await model.embed(["bird"], options: EmbedOptions(prompt: "small "))[0] == whole)
        #expect(try await model.embed(["small bird"], options: EmbedOptions(promptName: "passage", prompt: ""))[0] == whole)
        #expect(try await model.embed(["small bird"], options: EmbedOptions(promptName: "query"))[0] == whole)
        #expect(try await model.embed(["small bird"], options: EmbedOptions(truncateDim: 8))[0] == Array(whole.prefix(8)))
        #expect(model.properties.embeddingDimension == whole.count)
        for options in [EmbedOptions(promptName: "passage"), EmbedOptions(truncateDim: -1)] {
            await expectError(.invalidArgument, "\(options)") { _ = try await model.embed(["bird"], options: options) }
        }

        let scorer = try await Model.load(path: fixture("roberta-cross-encoder"))
        let documents = ["The river runs dry."], options = ClassifyOptions(prompt: "Where ")
        let alone = try await scorer.score(queries: ["Where does it go?"], documents: documents)
        #expect(try await scorer.score(queries: ["does it go?"], documents: documents, options: options).scores == alone.scores)
        await expectError(.invalidArgument, "promptName") {
            _ = try await scorer.score(queries: ["bird"], documents: documents, options: ClassifyOptions(promptName: "passage"))
        }
    }

    /// Entities lie in their texts, in order, under names of the model.
    @Test(arguments: [(Aggregation.simple, ["PER", "LOC"]), (.none, ["B-PER", "I-PER", "B-LOC", "I-LOC"])])
    func entities(_ aggregation: Aggregation, names: [String]) async throws {
        let model = try await Model.load(path: fixture("bert-token-classifier"))
        let result = try await model.classifyTokens(mixed, options: ClassifyTokensOptions(aggregation: aggregation))
        #expect(!result.entities.isEmpty && result.count == mixed.count && result.scores(0).map(\.count) == [5, 5])
        #expect(result.truncated.last == true && result.starts.count == mixed.count + 1)
        result.withUnsafeScores { #expect(Array($0) == result.scores && $0.count == result.starts.last! * 5) }
        var at = (text: 0, byte: 0)
        for entity in result.entities {
            if entity.text != at.text { at = (entity.text, 0) }
            let text = mixed[entity.text]
            let range = try #require(entity.bytes.range(in: text))
            #expect(!text[range].isEmpty && entity.bytes.start >= at.byte && names.contains(entity.name))
            #expect(result.labels[entity.label].hasSuffix(entity.name) && entity.score > 0 && entity.score <= 1)
            at.byte = entity.bytes.end
        }
    }

    /// Bytes are places in strings, and only those between Unicode scalars.
    @Test func byteRanges() {
        let text = "naïve 🐦 e\u{301}"
        #expect(ByteRange(start: 0, end: 2).range(in: text).map { text[$0] } == "na")
        #expect(ByteRange(start: 7, end: 11).range(in: text).map { text[$0] } == "🐦")
        #expect(ByteRange(start: 7, end: 11).range(in: text).map { NSRange($0, in: text) } == NSRange(location: 6, length: 2))
        // A combining accent is a scalar of its own.
        #expect(ByteRange(start: 13, end: 15).range(in: text).map { text.unicodeScalars[$0].count } == 1)
        #expect(ByteRange(start: 15, end: 15).range(in: text) != nil)
        for (start, end) in [(3, 4), (2, 3), (8, 11), (-1, 2), (2, 1), (0, 16), (16, 16)] {
            #expect(ByteRange(start: start, end: end).range(in: text) == nil)
        }
    }

    @Test func counters() async throws {
        let model = try await Model.load(path: fixture("bert"))
        let first = try model.counters()
        #expect(first[.load].calls == 1 && first[.load].time > .zero && first[.call].calls == 0)
        for _ in 0..<10 { _ = try await model.embed(many(6)) }
        let c = try model.counters()
        #expect(c[.call].calls == 10 && c[.call].items == 60 && c[.tokenize].items == 60 && c[.call].tokens >= 120)
        let l = c.latency
        #expect(l.count == 10 && c[.linear].time > .zero && l.min > .zero && l.mean >= l.min && l.mean <= l.max)
        let sorted = [l.min, l.p50, l.p90, l.p95, l.p99, l.max]
        #expect(sorted == sorted.sorted())
        #expect(c[Stage(rawValue: 99)] == StageTotals())

        struct Exported: Decodable {
            struct Stage: Decodable { var calls: Int }
            var stages: [String: Stage]
        }
        let json = try JSONDecoder().decode(Exported.self, from: Data(model.exportCounters(.json).utf8))
        #expect(json.stages["call"]?.calls == 10)
        #expect(try model.exportCounters(.csv).split(separator: "\n").contains { $0.hasPrefix("call,10,") })
        #expect(try model.exportCounters(.prometheus).contains("# TYPE kinglet_"))
        await expectError(.invalidArgument) { _ = try model.exportCounters(CountersFormat(rawValue: 9)) }

        model.resetCounters()
        let reset = try model.counters()
        #expect(reset.stages.count == Stage.allCases.count && reset.stages.values.allSatisfy { $0 == StageTotals() })
        #expect(reset.latency.count == 0 && reset.latency.max == .zero)
    }
}
