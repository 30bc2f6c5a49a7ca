import CKinglet
import Foundation
import Testing

@testable import Kinglet

@Suite struct StreamTests {
    /// The pieces of a stream add up to what generate gives, for texts beside each other and sequences of one text too.
    @Test(arguments: generators)
    func pieces(_ name: String) async throws {
        let model = try await Model.load(path: generator(name))
        let texts = ["The river", "a", "She wrote a short letter to him."]
        var two = GenerateOptions(maxNewTokens: 12, doSample: true, seed: 3, numBeams: 1)
        two.numReturnSequences = 2
        for var options in [greedy(24), two, GenerateOptions(maxNewTokens: 24, doSample: false, numBeams: 1, stopStrings: ["e", "a"])] {
            // An end token as models have it. Most of these fixtures' end tokens are words, so that texts end at all.
            options.eosTokenIDs = [["gpt2": 0, "llama": 1, "t5-gated": 1, "bart": 2][name]!]
            let want = try await model.generate(texts, options: options)
            var got = want.map { Array(repeating: (text: "", tokens: [UInt32](), finish: FinishReason.none), count: $0.outputs.count) }
            for try await piece in model.stream(texts, options: options) {
                #expect(got[piece.index][piece.sequence].finish == .none)
                got[piece.index][piece.sequence].text += piece.text
                got[piece.index][piece.sequence].tokens.append(piece.token)
                got[piece.index][piece.sequence].finish = piece.finishReason
            }
            for (got, want) in zip(got, want) {
                for (got, want) in zip(got, want.outputs) {
                    #expect(got.text == want.text && got.tokens == want.tokens && got.finish == want.finishReason)
                }
            }
        }
    }

    /// Far more than is done before any of these loops is left.
    private let texts = many(500)
    private var endless: GenerateOptions {
        var options = greedy(60)
        options.ignoreEOS = true
        return options
    }

    /// A loop that is left cancels the call: the model does no more than the step that runs, and one that had begun.
    @Test func left() async throws {
        let model = try await Model.load(path: generator("llama"))
        for pieces in [1, 20] {
            var count = 0
            for try await _ in model.stream(texts, options: endless) {
                count += 1
                if count == pieces { break }
            }
            try await settled(model)
        }
        // An iterator that is dropped.
        do {
            var iterator = model.stream(texts, options: endless).makeAsyncIterator()
            #expect(try await iterator.next() != nil)
        }
        try await settled(model)
        // A throwing body.
        await #expect(throws: CancellationError.self) {
            for try await _ in model.stream(texts, options: endless) { throw CancellationError() }
        }
        try await settled(model)
    }

    /// Steps are counted; within a moment there are no more of them, and fewer than the whole call has.
    private func settled(_ model: Model) async throws {
        var last = -1
        for _ in 0..<500 {
            let steps = try model.counters()[.decode].calls + model.counters()[.prefill].calls
            if steps == last { break }
            last = steps
            try await Task.sleep(for: .milliseconds(20))
        }
        // The whole call has thousands: 500 texts of 60 tokens.
        #expect(last < 500)
        // The memory of the call's KV cache is kept for later calls, but no call holds it: a short one finds room.
        _ = try await model.generate(["a"], options: greedy(1))
        model.resetCounters()
    }

    /// Cancelling the task ends the loop with an error, in the middle of the wait for a piece or before it.
    @Test func cancelled() async throws {
        let model = try await Model.load(path: generator("llama"))
        let task = Task { [texts, endless] in
            var count = 0
            for try await _ in model.stream(texts, options: endless) {
                count += 1
                if count == 3 { withUnsafeCurrentTask { $0?.cancel() } }
            }
            Issue.record("the loop ended by itself after \(count) pieces")
        }
        await expectError(.cancelled) { try await task.value }
        try await settled(model)

        let late = Task { [texts, endless] in
            withUnsafeCurrentTask { $0?.cancel() }
            for try await _ in model.stream(texts, options: endless) { Issue.record("a piece") }
        }
        await expectError(.cancelled) { try await late.value }
        #expect(try model.counters()[.prefill].calls == 0)
    }

    /// Once the library knows of the cancellation, it begins no further step.
    @Test func withinOneStep() async throws {
        let model = try await Model.load(path: generator("llama"))
        let cancellation = Cancellation(), seen = Collected<Int>()
        let stream = { (listener: @escaping Listener) throws(KingletError) in
            let options = GenerateOptions(maxNewTokens: 200, doSample: false, numBeams: 1)
            _ = try Kinglet.generated(options, cancellation, listener: listener, by: model.handle) { model, options, made, failure in
                let ids: [UInt32] = [5, 6, 7]
                return kinglet_model_generate_ids(model, ids, ids.count, [3], 1, options, made, failure)
            }
        }
        await expectError(.cancelled) {
            try stream { _ in
                seen.append(1)
                if seen.values.count == 3 { cancellation.cancel() }
                return true
            }
        }
        // The third token was chosen when the call was cancelled; no fourth one is.
        #expect(seen.values.count == 3)
    }

    /// Errors come out of the loop, once; a loop's body may use the model.
    @Test func errors() async throws {
        let model = try await Model.load(path: generator("gpt2"))
        for (name, texts, set) in [
            ("texts", [], { _ in }), ("num_beams", ["a"], { $0.numBeams = 2 }), ("numReturnSequences", ["a"], { $0.numReturnSequences = -1 }),
        ] as [(String, [String], (inout GenerateOptions) -> Void)] {
            var options = GenerateOptions()
            set(&options)
            var iterator = model.stream(texts, options: options).makeAsyncIterator()
            await expectError(.invalidArgument, naming: name) { _ = try await iterator.next() }
            #expect(try await iterator.next() == nil)
        }
        let stream = model.stream(["a"], options: greedy(3))
        var texts: [String] = []
        for _ in 0..<2 {
            var text = ""
            for try await piece in stream {
                text += piece.text
                _ = try await model.generate(["b"], options: greedy(2))
                for try await _ in model.stream(["c"], options: greedy(2)) {}
            }
            texts.append(text)
        }
        // Each loop is a separate call.
        let want = try await model.generate(["a"], options: greedy(3))[0].text
        #expect(texts == [want, want])
    }

    /// Fifty tasks stream from one model, whose last reference is theirs. They wait for their readers, so that none may need a thread of
    /// the cooperative pool, which has few.
    @Test func together() async throws {
        var model: Model? = try await Model.load(path: generator("llama"))
        let want = try await model!.generate(["The river"], options: greedy(12))[0].text
        let streams = (0..<50).map { _ in model!.stream(["The river"], options: greedy(12)) }
        model = nil
        try await withThrowingTaskGroup(of: String.self) { group in
            for stream in streams {
                group.addTask {
                    var text = ""
                    for try await piece in stream {
                        text += piece.text
                        await Task.yield()
                    }
                    return text
                }
            }
            for try await text in group { #expect(text == want) }
        }
        // All at once: fifty iterators that have begun and not ended.
        var iterators = streams.map { $0.makeAsyncIterator() }
        for i in iterators.indices { #expect(try await iterators[i].next() != nil) }
    }
}
