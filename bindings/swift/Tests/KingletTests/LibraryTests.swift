import CKinglet
import Foundation
import Testing

@testable import Kinglet

@Suite struct LibraryTests {
    @Test func theLibraryIsTheOneThatWasCompiledFor() throws {
        try checkLibrary()
        #expect(libraryVersion == KINGLET_VERSION_STRING)
        #expect(kinglet_abi_version() == UInt32(KINGLET_ABI_VERSION))
    }

    /// Where Swift sees fields; `layout.c` of the project has all of them.
    @Test func structsAreLaidOutAsInC() {
        #expect(MemoryLayout<kinglet_str>.size == 16 && MemoryLayout<kinglet_span>.stride == 16)
        #expect(MemoryLayout<kinglet_embed_options>.size == 32)
        #expect(MemoryLayout<kinglet_embed_options>.offset(of: \.cancellation) == 24)
        #expect(MemoryLayout<kinglet_model_options>.size >= 112 && MemoryLayout<kinglet_generate_options>.size >= 304)
        #expect(MemoryLayout<kinglet_generate_options>.offset(of: \.top_k) == 64)
    }

    @Test func enumerationsAreThoseOfC() {
        #expect(Precision.int8.rawValue == KINGLET_PRECISION_INT8.rawValue && Precision.int8.description == "int8")
        #expect(Status.allCases.count == 10 && Status.cancelled.description == "cancelled")
        #expect(Stage.allCases.allSatisfy { $0.description != "unknown" })
    }

    @Test func devicesAndCounters() throws {
        let found = try Devices()
        #expect(found.devices.first?.device == .cpu && !found.devices[0].name.isEmpty)
        let model = try load("bert")
        _ = try model.embed(["a", "b"])
        #expect(try model.totals(.call).items == 2 && model.latency().count == 1)
        #expect(try model.exportCounters(.prometheus).contains("kinglet_"))
        model.resetCounters()
        #expect(try model.totals(.call).calls == 0)
        #expect(try model.describe().contains("\"bert\"") && model.properties.family == "bert")
    }

    @Test func logsAndProgressArrive() async throws {
        let (records, fractions, released) = (Seen<String>(), Seen<Double>(), Seen<Bool>())
        final class Owned: Sendable {
            let released: Seen<Bool>
            init(_ released: Seen<Bool>) { self.released = released }
            deinit { released.add(true) }
        }
        var options = ModelOptions(progress: { fractions.add($0); return true }, logLevel: .debug)
        do {
            let owned = Owned(released)
            options.log = { _, message in
                withExtendedLifetime(owned) {}
                records.add(message)
            }
        }
        do {
            let model = try await Model.load(path: fixture("bert"), options: options)
            options.log = nil
            #expect(!records.all.isEmpty && fractions.all.last == 1 && released.all.isEmpty)
            _ = model
        }
        // The listener goes with the model.
        #expect(released.all == [true])
        options.progress = { _ in false }
        #expect(status { _ = try Model(path: fixture("bert"), options: options) } == .cancelled)
    }

    @Test func manyTasksShareAModel() async throws {
        let model = try load("bert", .int8)
        let expected = try await model.embed(["a small bird"])[0]
        try await withThrowingTaskGroup(of: [Float].self) { group in
            for _ in 0..<64 { group.addTask { try await model.embed(["a small bird"])[0] } }
            for try await vector in group { #expect(vector == expected) }
        }
    }

    /// Alone in its process, without a sanitizer: scripts/test-swift runs it so.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["KINGLET_LEAK_TEST"] != nil))
    func tenThousandCallsLeaveNothing() throws {
        let model = try load("bert", .int8)
        func run(_ count: Int) throws { for _ in 0..<count { _ = try model.embed(["a small bird"])[0] } }
        try run(1000)
        let before = residentBytes()
        try run(10_000)
        guard let before, let after = residentBytes() else {
            print("skipped: this system does not tell a process's memory")
            return
        }
        #expect(after < before + (16 << 20), "\(before) bytes became \(after)")
    }
}
