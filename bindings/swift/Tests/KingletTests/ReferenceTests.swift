import Foundation
import Kinglet
import Testing

/// Fixtures and real models give what transformers gives.
@Suite struct ReferenceTests {
    @Test func thereAreFixtures() {
        #expect(Reference.names.count >= 5, "set KINGLET_FIXTURES to Kinglet's tests/fixtures")
    }

    @Test(arguments: Reference.names)
    func everyFixture(_ name: String) async throws {
        let model = try await Model.load(path: fixture(name), options: ModelOptions(precision: .f32))
        for want in try Reference(name).cases { try await compare(model, name, want) }
    }

    private func compare(_ model: Model, _ name: String, _ want: Reference.Case) async throws {
        let options = Tokenizer.Options(offsets: true)
        let encoding: Encoding
        if let pair = want.pair {
            encoding = try await model.tokenizer.tokenize([want.text], pairs: [pair], options: options)
        } else {
            encoding = try await model.tokenizer.tokenize([want.text], options: options)
        }
        #expect(encoding.ids == want.ids && encoding[0] == want.ids)
        if let typeIDs = want.typeIds { #expect(encoding.typeIDs == typeIDs) }
        #expect(encoding.truncated == [want.truncated ?? false])
        try compareOffsets(encoding, [want.text, want.pair ?? ""], want, parts: name.hasPrefix("roberta"))

        expectNear("hidden states", try await model.hiddenStates(encoding).values, want.hidden.flatMap { $0 })
        if let embedding = want.embedding {
            let embeddings = try await model.embed([want.text])
            expectNear("embedding", embeddings[0], embedding)
            #expect(embeddings.tokenCounts == [want.ids.count] && embeddings.truncated == [want.truncated ?? false])
        }
        guard let logits = want.logits?.values else { return }
        if name.hasSuffix("token-classifier") {
            let tokens = try await model.classifyTokens([want.text], options: ClassifyTokensOptions(function: .none))
            expectNear("logits", tokens.scores(0).flatMap { $0 }, logits)
        } else if let pair = want.pair {
            let classes = try await model.classify([want.text], pairs: [pair], options: ClassifyOptions(function: .none))
            expectNear("logits", classes[0], logits)
        } else {
            let classes = try await model.classify([want.text], options: ClassifyOptions(function: .none))
            expectNear("logits", classes[0], logits)
        }
    }

    /// Offsets are valid byte ranges of the text that the token came from, and those of the reference, which counts characters. Tokens that
    /// are parts of a character (byte-level BPE) have no place among characters.
    private func compareOffsets(_ encoding: Encoding, _ texts: [String], _ want: Reference.Case, parts: Bool) throws {
        let offsets = try #require(encoding.offsets)
        for (i, bytes) in offsets.enumerated() {
            let sequence = encoding.sequences[i]
            #expect((sequence == Encoding.noSequence) == (encoding.specialTokensMask[i] == 1))
            if sequence == Encoding.noSequence { continue }
            let text = texts[Int(sequence)]
            let range = try #require(bytes.range(in: text), "token \(i): \(bytes) is no piece of \(text)")
            guard !parts, let reference = want.offsets else { continue }
            let scalars = text.unicodeScalars
            let characters = [range.lowerBound, range.upperBound].map { scalars.distance(from: scalars.startIndex, to: $0) }
            #expect(characters == reference[i], "token \(i)")
        }
    }

    /// MiniLM's tokens are those of transformers, and its embeddings as near as each precision can be.
    @Test(
        .enabled(if: Place.hasMiniLM, "no MiniLM; scripts/fetch-model minilm fetches it"),
        arguments: [(Precision.f32, 0.99999, 0.99999), (.f16, 0.9999, 0.9999), (.bf16, 0.9995, 0.9999), (.int8, 0.98, 0.995)])
    func miniLM(_ precision: Precision, least: Double, mean: Double) async throws {
        let (texts, ids, want) = try miniLMReference()
        let model = try await Model.load(path: Place.minilm, options: ModelOptions(precision: precision))
        #expect(try await Array(model.tokenizer.tokenize(texts)) == ids)
        let cosines = try await zip(model.embed(texts), want).map(cosine)
        #expect(cosines.min()! >= least && cosines.reduce(0, +) / Double(cosines.count) >= mean)
    }

    /// The texts, the ids and the embeddings that transformers made of them.
    private func miniLMReference() throws -> ([String], [[UInt32]], [[Float]]) {
        struct Line: Decodable { var text: String }
        struct Tensor: Decodable { var data_offsets: [Int]? }
        let texts = try String(contentsOfFile: fixture("minilm/texts.jsonl"), encoding: .utf8).split(separator: "\n")
            .map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)).text }
        let file = try Data(contentsOf: URL(filePath: fixture("minilm/reference.safetensors")))
        func number(_ at: Int, _ bytes: Int) -> Int { (0..<bytes).reduce(0) { $0 | Int(file[at + $1]) << (8 * $1) } }
        let end = 8 + number(0, 8)
        let header = try JSONDecoder().decode([String: Tensor].self, from: file[8..<end])
        func tensor(_ name: String) -> [UInt32] {
            let offsets = header[name]?.data_offsets ?? [0, 0]
            return stride(from: end + offsets[0], to: end + offsets[1], by: 4).map { UInt32(number($0, 4)) }
        }
        let lengths = tensor("lengths"), ids = tensor("ids")
        let values = tensor("embeddings").map { Float(bitPattern: $0) }
        try #require(!texts.isEmpty && lengths.count == texts.count && !values.isEmpty)
        let width = values.count / texts.count
        var at = 0
        return (
            texts,
            lengths.map { length in
                defer { at += Int(length) }
                return Array(ids[at..<at + Int(length)])
            },
            texts.indices.map { Array(values[$0 * width..<($0 + 1) * width]) }
        )
    }
}
