import Testing

@testable import Kinglet

/// What transformers' pipelines say.
private struct TaskReference: Decodable {
    struct Fill: Decodable {
        var token: UInt32
        var score: Float
        var sequence: String
    }
    struct Masks: Decodable {
        var text: String
        var masks: [[Fill]]
        var targets: [String]?
    }
    struct ZeroShot: Decodable {
        var text: String
        var labels: [String]
        var multiLabel: Bool?
        var hypothesisTemplate: String?
        var order: [String]
        var scores: [Float]
    }
    var fillMask: [Masks]?
    var zeroShot: [ZeroShot]?
}

@Suite struct MaskedTests {
    @Test func masks() async throws {
        let model = try await Model.load(path: fixture("tasks/bert"))
        let reference: TaskReference = try decoded("\(fixture("tasks/bert"))/reference.json")
        for expected in try #require(reference.fillMask) {
            let options = FillMaskOptions(topK: expected.masks[0].count, targets: expected.targets ?? [])
            let found = try await model.fillMask([expected.text], options: options)[0]
            #expect(found.map { $0.map(\.token) } == expected.masks.map { $0.map(\.token) })
            #expect(found.map { $0.map(\.sequence) } == expected.masks.map { $0.map(\.sequence) })
            for (fill, other) in zip(found.joined(), expected.masks.joined()) { #expect(abs(fill.score - other.score) < 1e-4) }
        }
        await #expect(throws: KingletError.self) { try await model.fillMask(["no mask"]) }
        await #expect(throws: KingletError.self) { try await model.fillMask(["[MASK]"], options: FillMaskOptions(topK: -1)) }
    }

    @Test func sparseEmbeddings() async throws {
        let model = try await Model.load(path: fixture("tasks/splade"))
        let found = try await model.sparseEmbed(["a small bird", "the river"], options: SparseOptions(maxActiveDims: 9))
        #expect(found.vectors.map(\.indices.count) == [9, 9] && found.dimension == 300 && found.truncated == [false, false])
        let (a, b) = (found.vectors[0], found.vectors[1])
        let other = Dictionary(uniqueKeysWithValues: zip(b.indices, b.weights))
        let dot = zip(a.indices, a.weights).reduce(Float(0)) { $0 + (other[$1.0] ?? 0) * $1.1 }
        #expect(abs(a.dot(b) - dot) < 1e-4 && a.dot(a) > 0)
        let query = try await model.sparseEmbed(["a small bird"], options: SparseOptions(promptName: "query"))
        #expect(query.tokenCounts[0] > found.tokenCounts[0])
        let plain = try await Model.load(path: fixture("bert"))
        await #expect(throws: KingletError.self) { try await plain.sparseEmbed(["a"]) }
    }

    @Test func zeroShot() async throws {
        let model = try await Model.load(path: fixture("tasks/nli"))
        let reference: TaskReference = try decoded("\(fixture("tasks/nli"))/reference.json")
        for expected in try #require(reference.zeroShot) {
            let options = ZeroShotOptions(
                hypothesisTemplate: expected.hypothesisTemplate, multiLabel: expected.multiLabel ?? false)
            let found = try await model.classifyZeroShot([expected.text], labels: expected.labels, options: options)[0]
            #expect(found.map(\.label) == expected.order)
            for (label, score) in zip(found, expected.scores) { #expect(abs(label.score - score) < 1e-4) }
        }
        await #expect(throws: KingletError.self) { try await model.classifyZeroShot(["a"], labels: []) }
    }
}
