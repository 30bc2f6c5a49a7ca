import Foundation
import Testing

@testable import Kinglet

@Suite struct GenerationTests {
    @Test(arguments: ["gpt2", "llama", "t5"])
    func textsAreThoseOfTransformers(name: String) async throws {
        let model = try load("generation/\(name)")
        for want in try cases("generation/\(name)", of: Generated.self).prefix(4) {
            var options = GenerateOptions(maxNewTokens: 24)
            let greedy = try await model.generate(ids: [want.ids], options: options)
            #expect(greedy[0].outputs[0].tokens == want.greedy)
            options.numBeams = 5
            options.numReturnSequences = 2
            let beams = try await model.generate(ids: [want.ids], options: options)
            #expect(beams[0].outputs.map(\.tokens) == want.beam5.prefix(2).map(\.tokens))
        }
    }

    @Test func aStreamAddsUpToTheText() async throws {
        let model = try load("generation/gpt2", .int8)
        let texts = ["a small bird", "rivers"]
        let options = GenerateOptions(maxNewTokens: 20, temperature: 0.8, seed: 7)
        let whole = try await model.generate(texts, options: options)
        var streamed = ["", ""]
        var ends = 0
        for try await piece in model.stream(texts, options: options) {
            streamed[piece.index] += piece.text
            if piece.finishReason != .none { ends += 1 }
        }
        #expect(streamed == whole.map(\.text) && ends == 2)
    }

    @Test func leavingAStreamAndCancellingATaskEndTheCall() async throws {
        let model = try load("generation/gpt2", .int8)
        var endless = GenerateOptions(maxNewTokens: 100)
        endless.ignoreEOS = true
        var pieces = 0
        for try await _ in model.stream("a", options: endless) {
            pieces += 1
            if pieces == 3 { break }
        }
        #expect(pieces == 3)
        // More than can be done before the cancellation.
        let work = Task { [endless] in try await model.generate([String](repeating: "a bird", count: 4000), options: endless) }
        try await Task.sleep(for: .milliseconds(50))
        work.cancel()
        do {
            _ = try await work.value
            Issue.record("it was not cancelled")
        } catch let error as KingletError {
            #expect(error.status == .cancelled)
        }
        // A task that was cancelled before.
        let late = Task {
            try await Task.sleep(for: .seconds(60))
            return try await model.generate(["a"])
        }
        late.cancel()
        await #expect(throws: (any Error).self) { _ = try await late.value }
        #expect(try await model.generate(["a"], options: GenerateOptions(maxNewTokens: 2)).count == 1)
    }

    @Test func grammarsPrefixesAndLists() async throws {
        let model = try load("generation/llama")
        var options = GenerateOptions(maxNewTokens: 12)
        options.grammar = .regex("[ab]{1,4}")
        options.logprobs = true
        let output = try await model.generate(["a"], options: options)[0].outputs[0]
        // The fixture's end token is an ordinary one, which a decoder does not leave out.
        let tokens = output.finishReason == .eos ? output.tokens.dropLast() : output.tokens[...]
        let text = try model.tokenizer.detokenize(Array(tokens))
        #expect(!text.isEmpty && text.allSatisfy { "ab".contains($0) } && output.logprobs.count == output.tokens.count)
        options.grammar = .jsonSchema("{")
        #expect(status { _ = try model.generate(["a"], options: options) } == .invalidArgument)

        var plain = GenerateOptions(maxNewTokens: 8)
        let expected = try await model.generate(["a small bird sings"], options: plain)
        plain.prefix = try await model.prefix("a small bird")
        await #expect(try model.generate(["a small bird sings"], options: plain) == expected)
        var banned = GenerateOptions(maxNewTokens: 8)
        banned.suppressTokens = Array(Set(expected[0].outputs[0].tokens))
        let other = try await model.generate(["a small bird sings"], options: banned)
        #expect(Set(other[0].outputs[0].tokens).isDisjoint(with: banned.suppressTokens))
        banned.numBeams = -1
        #expect(status { _ = try model.generate(["a"], options: banned) } == .invalidArgument)

        let rows = try await model.logits([1, 2, 3])
        #expect(rows.count == 3 && rows.width == model.properties.vocabularySize)
        await #expect(try model.logits([1, 2, 3], stepwise: true).map { $0 } == rows.map { $0 })
    }

    @Test func aChatKeepsItsMessages() async throws {
        try await withChatFixture("llama") { path in
            let model = try await Model.load(path: path)
            let session = try model.session()
            try session.add(Message(role: "system", content: "sing"))
            let reply = try await session.send("a bird", options: GenerateOptions(maxNewTokens: 6))
            #expect(try session.messages.map(\.role) == ["system", "user", "assistant"])
            #expect(try session.messages[2].content == reply.text && session.heldTokens > 0)
            var options = GenerateOptions(maxNewTokens: 6)
            options.addSpecialTokens = false
            let prompt = "<system>sing<user>a bird<assistant>"
            await #expect(try model.generate([prompt], options: options)[0].text == reply.text)
            var streamed = ""
            for try await piece in session.stream("rivers", options: GenerateOptions(maxNewTokens: 6)) { streamed += piece.text }
            #expect(try session.messages.last?.content == streamed)
            try session.rewind(to: 1)
            #expect(try session.messages == [Message(role: "system", content: "sing")])
        }
    }

    @Test func aPackedModelGeneratesTheSame() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("kinglet-\(UUID().uuidString).kinglet").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        let fractions = Seen<Double>()
        try await Model.quantize(fixture("generation/t5"), to: file, precision: .int8) { fractions.add($0); return true }
        #expect(fractions.all.last == 1)
        let options = GenerateOptions(maxNewTokens: 8)
        let expected = try await load("generation/t5", .int8).generate(["a small bird"], options: options)
        await #expect(try Model(path: file).generate(["a small bird"], options: options) == expected)
        let stopped = status { try Model.quantize(fixture("generation/t5"), to: file, precision: .f32) { _ in false } }
        #expect(stopped == .cancelled)
    }
}

/// What a callback was given, on whatever thread.
final class Seen<T: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var values: [T] = []

    func add(_ value: T) { lock.withLock { values.append(value) } }
    var all: [T] { lock.withLock { values } }
}
