import Testing

@testable import Kinglet

@Suite struct EncoderTests {
    @Test(arguments: ["bert", "distilbert", "roberta", "xlm-roberta", "mpnet"])
    func vectorsAreThoseOfTransformers(name: String) throws {
        let model = try load(name)
        for want in try cases(name, of: Reference.self) {
            let encoding = try model.tokenizer.tokenize([want.text], pairs: want.pair.map { [$0] } ?? [])
            #expect(encoding.ids(0) == want.ids, "\(want.text)")
            let states = try model.hiddenStates([encoding.ids(0)], typeIDs: [encoding.typeIDs(0)])
            near(states.withUnsafeValues { Array($0) }, (want.hidden ?? []).flatMap { $0 }, "\(name), hidden states of \(want.text)")
            guard want.pair == nil, let embedding = want.embedding else { continue }
            let embeddings = try model.embed([want.text])
            near(embeddings[0], embedding, "\(name), \(want.text)")
            #expect(embeddings.tokenCounts == [want.ids.count])
        }
    }

    @Test func aBatchGivesTheBitsOfEachTextAlone() async throws {
        let model = try load("bert", .int8)
        let texts = ["a small bird", "sings", "a rather longer text about rivers and woods"]
        let batch = try await model.embed(texts)
        #expect(batch.textCount == 3 && batch.count == 3 && batch.ranges == [0..<1, 1..<2, 2..<3])
        for (i, text) in texts.enumerated() {
            let alone = try await model.embed([text])
            #expect(batch[i] == alone[0])
            batch.withUnsafeVector(i) { vector in #expect(Array(vector) == alone[0]) }
        }
        let tokens = try await model.embed(texts, options: EmbedOptions(pooling: .none))
        #expect(tokens.count == tokens.tokenCounts.reduce(0, +) && tokens.textCount == 3)
        let unit = try await model.embed(["a"], options: EmbedOptions(normalize: true))
        #expect(abs(unit[0].reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
    }

    @Test func classesAreThoseOfTransformers() async throws {
        let model = try load("bert-classifier")
        for want in try cases("bert-classifier", of: Reference.self) {
            let options = ClassifyOptions(function: .none)
            let found = try await model.classify([want.text], pairs: want.pair.map { [$0] } ?? [], options: options)
            near(found[0].scores, want.logits?[0] ?? [], want.text)
            #expect(found[0].label == model.properties.labels[found[0].best])
        }
        let tokens = try load("bert-token-classifier")
        for want in try cases("bert-token-classifier", of: Reference.self) where want.pair == nil {
            let found = try await tokens.classifyTokens([want.text], options: ClassifyOptions(function: .none, aggregation: .none))
            near(found.withUnsafeScores { Array($0) }, (want.logits ?? []).flatMap { $0 }, want.text)
            for entity in found.entities { #expect(want.text.range(ofUTF8: entity.bytes) != nil) }
        }
        let cross = try load("roberta-cross-encoder")
        let scores = try await cross.score(query: "birds", documents: ["a bird", "a river"])
        #expect(scores.count == 2 && scores[0] != scores[1])
    }

    @Test func tokensHavePlaces() throws {
        let tokenizer = try load("bert").tokenizer
        let text = "bird, Müller"
        let encoding = try tokenizer.tokenize([text, "a"], options: TokenizeOptions(offsets: true))
        #expect(encoding.count == 2 && encoding.longest == encoding.ids(0).count)
        for (i, bytes) in encoding.offsets(0).enumerated() where !encoding.specialTokensMask(0)[i] {
            #expect(text.range(ofUTF8: bytes) != nil)
        }
        let padded = try encoding.padded()
        #expect(padded.ids.count == 2 * encoding.longest)
        #expect(padded.attentionMask.reduce(0, +) == UInt32(encoding.tokenCount))
        #expect(try tokenizer.detokenize(encoding.ids(1)) == "a")
        #expect(status { _ = try encoding.padded(to: 1) } == .invalidArgument)
    }

    @Test func mistakesAreErrorsThatNameThem() async throws {
        do {
            _ = try Model(path: "/nonexistent/model")
            Issue.record("it was loaded")
        } catch {
            #expect(error.status == .notFound && error.message.contains("/nonexistent/model"))
        }
        let model = try load("bert")
        #expect(status { _ = try model.embed([]) } == .invalidArgument)
        #expect(status { _ = try model.embed(["a"], options: EmbedOptions(maxLength: -1)) } == .invalidArgument)
        #expect(status { _ = try model.classify(["a"]) } == .unsupported)
        #expect(status { _ = try model.classify(["a", "b"], pairs: ["c"]) } == .invalidArgument)
        #expect(status { _ = try model.generate(["a"]) } == .unsupported)
        #expect(status { _ = try model.session() } == .unsupported)
        #expect(status { _ = try Model(path: fixture("bert"), options: ModelOptions(memoryLimit: 1)) } == .outOfMemory)
        await #expect(throws: KingletError.self) { _ = try await Model.load(path: "") }
    }
}
