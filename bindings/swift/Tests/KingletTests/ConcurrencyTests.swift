import Foundation
import Testing

@testable import Kinglet

/// `scripts/test-swift` runs these under the Thread and the Address Sanitizer too.
@Suite struct ConcurrencyTests {
    /// A text's embedding is the same bits alone, in a batch, and whatever other tasks do meanwhile.
    @Test(arguments: [Precision.f32, .f16, .int8, .bf16, .int4])
    func equalBits(_ precision: Precision) async throws {
        let texts = many(64)
        let batch = try await Model.load(path: fixture("bert"), options: ModelOptions(precision: precision, threads: 1)).embed(texts)
        let model = try await Model.load(path: fixture("bert"), options: ModelOptions(precision: precision, threads: 3))
        try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
            for (i, text) in texts.enumerated() { group.addTask { (i, try await model.embed([text])[0]) } }
            for try await (i, vector) in group { #expect(sameBits(vector, batch[i]), "text \(i)") }
        }
    }

    /// A hundred tasks generate on one model at once, and each gets what it gets alone. More calls than the cooperative pool has threads are
    /// in the library at the same time.
    @Test(arguments: ["llama", "t5-gated"])
    func generate(_ name: String) async throws {
        let model = try await Model.load(path: generator(name)), texts = many(10)
        let want = try await model.generate(texts, options: greedy(16))
        try await withThrowingTaskGroup(of: (Range<Int>, [Generation]).self) { group in
            for i in 0..<100 {
                let range = i % 10..<min(i % 10 + 1 + i % 3, 10)
                group.addTask { (range, try await model.generate(Array(texts[range]), options: greedy(16))) }
            }
            for try await (range, got) in group { #expect(got.map(\.outputs) == want[range].map(\.outputs)) }
        }
    }

    /// Models come and go while tasks make every kind of call on them; each is freed after its last call.
    @Test func everything() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for i in 0..<4 { group.addTask { for _ in 0..<3 { try await self.everyCall(i) } } }
            try await group.waitForAll()
        }
    }

    private func everyCall(_ number: Int) async throws {
        let log = Log(level: .debug) { _ in }
        let bert = try await Model.load(path: fixture("bert"), options: ModelOptions(progress: { _ in true }, log: log))
        let tokens = try await Model.load(path: fixture("bert-token-classifier"))
        let writer = try await chatModel("gpt2", options: ModelOptions(answerCacheBytes: 1 << 16, log: log))
        async let embeddings = bert.embed(many(10))
        async let encoding = bert.tokenizer.tokenize(many(10), pairs: many(10), options: Tokenizer.Options(offsets: true))
        async let entities = tokens.classifyTokens(many(10))
        let (vectors, all, named) = try await (embeddings, encoding, entities)
        #expect(vectors.count == 10 && named.count == 10)
        #expect(try await bert.hiddenStates(all).count == 10)
        _ = try await bert.tokenizer.detokenize(all[0])
        var options = greedy(6)
        options.prefix = try await writer.prefix("The small bird")
        options.stopStrings = many(3)
        options.badWordsIDs = [[1, 2], [3]]
        options.beginSuppressTokens = [8, 10]
        options.suppressTokens = [9]
        options.grammar = .regex("[a-z ]+" + String(repeating: "b?", count: number))
        options.logprobs = true
        #expect(try await writer.generate(many(10), options: options).count == 10)
        for try await _ in writer.stream(many(3), options: options) {}
        for try await _ in writer.stream(many(3), options: options) { break }
        let session = try writer.session()
        _ = try await session.send("bird", options: greedy(3))
        for try await _ in session.sendStream("bird", options: greedy(3)) {}
        #expect(try await session.messages().count == 4)
        #expect(try await writer.logits(Array(all.ids.prefix(5))).count == 5)
        #expect(try bert.exportCounters(.prometheus).contains("kinglet_"))
    }

    /// Every call is cancelled with its task, before its work begins.
    @Test func cancelledBefore() async throws {
        let bert = try await Model.load(path: fixture("bert-classifier")), writer = try await chatModel("gpt2")
        let session = try writer.session(), folder = try Folder(), one = ["bird"]
        let file = folder.file("a")
        func expectCancelled(_ what: String, _ body: @escaping @Sendable () async throws -> Void) async {
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await body()
            }
            await expectError(.cancelled, what) { try await task.value }
        }
        await expectCancelled("load") { _ = try await Model.load(path: fixture("bert")) }
        await expectCancelled("embed") { _ = try await bert.embed(one) }
        await expectCancelled("tokenize") { _ = try await bert.tokenizer.tokenize(one) }
        await expectCancelled("tokenize pairs") { _ = try await bert.tokenizer.tokenize(one, pairs: one) }
        await expectCancelled("detokenize") { _ = try await bert.tokenizer.detokenize([5]) }
        await expectCancelled("classify") { _ = try await bert.classify(one) }
        await expectCancelled("classify pairs") { _ = try await bert.classify(one, pairs: one) }
        await expectCancelled("score") { _ = try await bert.score(queries: one, documents: one) }
        await expectCancelled("tokens") { _ = try await bert.classifyTokens(one) }
        await expectCancelled("compress") { _ = try await bert.compress("bird", options: CompressOptions(ratio: 2)) }
        await expectCancelled("hidden states") { _ = try await bert.hiddenStates([[5]]) }
        await expectCancelled("generate") { _ = try await writer.generate(one) }
        await expectCancelled("generate from ids") { _ = try await writer.generate(ids: [[5]]) }
        await expectCancelled("stream") { for try await _ in writer.stream(one) {} }
        await expectCancelled("logits") { _ = try await writer.logits([5], stepwise: true) }
        await expectCancelled("prefix") { _ = try await writer.prefix("bird") }
        await expectCancelled("send") { _ = try await session.send("bird") }
        await expectCancelled("reply") { _ = try await session.reply() }
        await expectCancelled("send stream") { for try await _ in session.sendStream("bird") {} }
        await expectCancelled("quantize") { try await Model.quantize(fixture("bert"), to: file, precision: .int8) }
        #expect(try await session.messages().isEmpty)
    }

    /// A running call ends before its work does when its task is cancelled, or the cancellation that it was given; the model goes on.
    @Test func cancelledDuring() async throws {
        let model = try await Model.load(path: fixture("bert"), options: ModelOptions(precision: .f32, threads: 1)), cancellation = Cancellation()
        let blocking = { @Sendable (texts: [String]) throws(KingletError) in try model.embed(texts, cancellation: cancellation) }
        for isBlocking in [false, true] {
            var texts = many(10_000), wasCancelled = false
            // A machine may be so busy that a call has ended before it is cancelled: then one with more work.
            while !wasCancelled && texts.count < 1_000_000 {
                model.resetCounters()
                let task = Task.detached { [texts] in
                    isBlocking ? try blocking(texts).count : try await model.embed(texts).count
                }
                while try model.counters()[.linear].calls == 0 { try await Task.sleep(for: .milliseconds(1)) }
                if isBlocking { cancellation.cancel() } else { task.cancel() }
                switch await task.result {
                case .success(let count): #expect(count == texts.count)
                case .failure(let error):
                    #expect((error as? KingletError)?.status == .cancelled)
                    wasCancelled = true
                }
                texts += texts
            }
            #expect(wasCancelled)
        }
        #expect(try await model.embed(many(10)).count == 10)
    }

    /// Cancellations at every moment of a call, its last one included.
    @Test func cancelledAtAnyTime() async throws {
        let model = try await Model.load(path: fixture("bert")), texts = many(4)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 1...8 {
                group.addTask {
                    for i in 0..<100 {
                        let call = Task { try await model.embed(texts) }
                        try await Task.sleep(for: .microseconds(i * worker))
                        call.cancel()
                        switch await call.result {
                        case .success(let embeddings): #expect(embeddings.count == 4)
                        case .failure(let error): #expect((error as? KingletError)?.status == .cancelled)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Calls with `await` are requests: many of them at once on few threads, with the same numbers, and errors that come with the result.
    @Test func requests() async throws {
        let options = ModelOptions(scheduler: SchedulerOptions(requests: 2))
        let model = try await Model.load(path: fixture("bert"), options: options), texts = many(4)
        let blocking = { @Sendable (texts: [String]) throws(KingletError) in try model.embed(texts, cancellation: nil) }
        let alone = try blocking(texts).values
        try await withThrowingTaskGroup(of: [Float].self) { group in
            for _ in 0..<100 { group.addTask { try await model.embed(texts).values } }
            for try await values in group { #expect(values == alone) }
        }
        await expectError(.invalidArgument, "prompt") { _ = try await model.embed(texts, options: EmbedOptions(promptName: "passage")) }
        // The queue of requests is bounded, too.
        let bounded = ModelOptions(scheduler: SchedulerOptions(queueLength: 1, requests: 1))
        let small = try await Model.load(path: fixture("bert"), options: bounded)
        let statuses: [Status?] = await withTaskGroup(of: Status?.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    do throws(KingletError) { _ = try await small.embed(many(2000)) } catch { return error.status }
                    return nil
                }
            }
            return await group.reduce(into: [Status?]()) { $0.append($1) }
        }
        #expect(statuses.allSatisfy { $0 == nil || $0 == .busy } && statuses.contains(.busy) && statuses.contains(nil))
    }

    /// Jobs that wait for each other all run, however many there are.
    @Test func workers() async throws {
        let gate = Monitor(0), count = 200
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<count {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        try! Workers.run {
                            gate.withLock { $0 += 1 }
                            gate.wake()
                            gate.wait { $0 == count ? () : nil }
                            continuation.resume()
                        }
                    }
                }
            }
        }
        #expect(gate.withLock { $0 } == count)
    }
}
