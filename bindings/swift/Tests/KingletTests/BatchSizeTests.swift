import Foundation
import Testing

@testable import Kinglet

@Suite struct BatchSizeTests {
    @Test(arguments: [
        ("bert", Workload(inputTokens: 12, inputSpread: 3), 12.0), ("generation/gpt2", Workload(inputTokens: 8, outputTokens: 6), 6.0),
    ])
    func suggestions(name: String, workload: Workload, tokens: Double) async throws {
        let model = try await Model.load(path: fixture(name)), folder = try Folder()
        let file = folder.file("calibration.json")
        let found = try await model.suggestBatchSize(
            workload, options: SuggestBatchSizeOptions(calibrationFile: file, calibrationTime: .milliseconds(100)))
        #expect(found.batchSize >= 1 && found.batchTime > .zero && found.bytes > 0 && found.isWithinBound)
        #expect(found.explanation.contains("measured on this machine"))
        #expect(abs(found.tokensPerSecond / found.textsPerSecond - tokens) < 1e-6)
        // The file answers from now on.
        var kept = SuggestBatchSizeOptions(skipCalibration: true, calibrationFile: file)
        #expect(try await model.suggestBatchSize(workload, options: kept) == found)
        kept.goal = .latency
        kept.latency = found.batchTime + .milliseconds(1)
        let quick = try await model.suggestBatchSize(workload, options: kept)
        #expect(quick.isWithinBound && quick.batchTime <= kept.latency!)
        kept.latency = .nanoseconds(1)
        let none = try await model.suggestBatchSize(workload, options: kept)
        #expect(!none.isWithinBound && none.batchSize == 1)
        let small = try await model.suggestBatchSize(
            workload, options: SuggestBatchSizeOptions(goal: .memory, memoryBytes: found.bytes, skipCalibration: true, calibrationFile: file))
        #expect(small.isWithinBound && small.bytes <= found.bytes)
    }

    @Test func errors() async throws {
        let model = try await Model.load(path: fixture("bert"))
        let reads = Workload(inputTokens: 12)
        for (workload, options, status, name) in [
            (Workload(inputTokens: 0), SuggestBatchSizeOptions(), .invalidArgument, "input_tokens"),
            (Workload(inputTokens: .nan), SuggestBatchSizeOptions(), .invalidArgument, "input_tokens"),
            (Workload(inputTokens: 12, inputSpread: -1), SuggestBatchSizeOptions(), .invalidArgument, "input_spread"),
            (Workload(inputTokens: 12, outputTokens: -1), SuggestBatchSizeOptions(), .invalidArgument, "outputTokens"),
            (Workload(inputTokens: 12, beams: -1), SuggestBatchSizeOptions(), .invalidArgument, "beams"),
            (Workload(inputTokens: 12, outputTokens: 4), SuggestBatchSizeOptions(), .unsupported, "generates no text"),
            (reads, SuggestBatchSizeOptions(goal: BatchGoal(rawValue: 77)), .invalidArgument, "options.goal"),
            (reads, SuggestBatchSizeOptions(goal: .latency), .invalidArgument, "options.latency_ms"),
            (reads, SuggestBatchSizeOptions(latency: .seconds(1)), .invalidArgument, "options.latency_ms"),
            (reads, SuggestBatchSizeOptions(goal: .memory), .invalidArgument, "options.memory_bytes"),
            (reads, SuggestBatchSizeOptions(memoryBytes: -1), .invalidArgument, "memoryBytes"),
            (reads, SuggestBatchSizeOptions(calibrationTime: .zero), .invalidArgument, "calibrationTime"),
            (reads, SuggestBatchSizeOptions(calibrationFile: Place.fixtures), .io, Place.fixtures),
        ] as [(Workload, SuggestBatchSizeOptions, Status, String)] {
            await expectError(status, naming: name) { _ = try await model.suggestBatchSize(workload, options: options) }
        }
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect(throws: KingletError.self) { try model.suggestBatchSize(reads, cancellation: cancellation) }
    }
}
