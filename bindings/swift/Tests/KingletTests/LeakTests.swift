import Foundation
import Testing

@testable import Kinglet

/// The process does not grow. `scripts/test-swift` runs these by themselves, one after the other, because other tests take memory too.
@Suite(.serialized, .enabled(if: Place.variable("KINGLET_TEST_LEAKS") != nil, "KINGLET_TEST_LEAKS is not set; scripts/test-swift sets it"))
struct LeakTests {
    /// The physical memory that the process has.
    private func resident() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return Int(text.split(separator: " ")[1])! * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    private func expectFlat(_ calls: (Int) async throws -> Void) async throws {
        try await calls(3000)
        let first = try resident()
        try await calls(10000)
        let last = try resident()
        print("\(first >> 10) KiB after 3000 calls, \(last >> 10) KiB after 13000")
        #expect(last <= first + 8 << 20)
    }

    /// Four tasks share a model for ten thousand calls.
    @Test func embeddings() async throws {
        let model = try await Model.load(path: fixture("bert"), options: ModelOptions(threads: 1)), texts = many(8)
        try await expectFlat { count in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { for _ in 0..<count / 4 { _ = try await model.embed(texts)[0] } } }
                try await group.waitForAll()
            }
        }
    }

    /// Generations of every kind; errors, cancelled calls and streams that are left among them.
    @Test func generations() async throws {
        let model = try await chatModel("llama", options: ModelOptions(log: Log { _ in }))
        try await expectFlat { count in
            var options = greedy(2)
            options.stopStrings = ["never there"]
            options.badWordsIDs = [[1, 2]]
            options.prefix = try await model.prefix("The river")
            let session = try model.session(), one = ["The river"]
            for i in 0..<count {
                switch i % 8 {
                case 0: _ = try await model.generate(["The river", "a"], options: options)
                case 1: for try await _ in model.stream(one, options: options) {}
                case 2: for try await _ in model.stream(["The river", "a"], options: options) { break }
                case 3:
                    _ = try await session.send("bird", options: options)
                    try await session.rewind(0)
                case 4:
                    let task = Task { [options] in try await model.generate(one, options: options) }
                    task.cancel()
                    _ = await task.result
                case 5: await expectError(.invalidArgument) { _ = try await model.generate([]) }
                case 6: _ = try model.session().messages
                default: _ = try await model.tokenizer.tokenize(many(4), options: Tokenizer.Options(offsets: true)).offsets
                }
            }
        }
    }

    /// Models, with their logs.
    @Test func models() async throws {
        func load(_ count: Int) async throws {
            for _ in 0..<count {
                _ = try await Model.load(path: fixture("bert"), options: ModelOptions(threads: 1, progress: { _ in true }, log: Log { _ in }))
                await expectError(.notFound) { _ = try await Model.load(path: fixture("none"), options: ModelOptions(log: Log { _ in })) }
            }
        }
        try await load(200)
        let first = try resident()
        try await load(400)
        #expect(try resident() <= first + 8 << 20)
    }
}
