import Foundation
import Testing

@testable import Kinglet

@Suite struct ModelTests {
    @Test func version() throws {
        #expect(Library.abiVersion == 0 && Library.version.split(separator: ".").count == 3)
        try Library.check()
    }

    /// A library of another ABI is refused in words; below ABI 1 so is one of another minor version.
    @Test func abiMismatch() throws {
        func mismatch(_ abi: UInt32, _ version: String, header: (abi: UInt32, version: String)) -> String? {
            Library.mismatch(abi: abi, version: version, compiledFor: header)?.message
        }
        #expect(mismatch(0, "0.1.7", header: (0, "0.1.0")) == nil)
        #expect(mismatch(1, "1.9.0", header: (1, "1.2.0")) == nil)
        for (abi, version, header) in [
            (0, "0.2.0", (0, "0.1.0")), (1, "1.0.0", (0, "0.1.0")), (2, "2.0.0", (1, "1.9.0")),
        ] as [(UInt32, String, (UInt32, String))] {
            let message = try #require(mismatch(abi, version, header: header))
            #expect(message.contains(version) && message.contains(header.1) && message.contains("ABI \(abi)") && message.contains("install"))
        }
    }

    @Test func properties() async throws {
        let model = try await Model.load(path: fixture("bert-classifier"), options: ModelOptions(precision: .int8, threads: 2))
        let p = model.properties
        #expect(p.path == fixture("bert-classifier") && p.family == "bert" && p.device == .cpu && p.deviceIndex == 0)
        #expect(p.precision == .int8 && p.threads == 2 && p.dimension == 36 && p.maxLength >= 10 && p.vocabularySize >= 300)
        #expect(p.weightBytes > 0 && p.labels == ["NEGATIVE", "POSITIVE"] && !p.canGenerate && !p.canChat && p.hasEncoder)
        let object = try JSONSerialization.jsonObject(with: Data(model.describe().utf8)) as? [String: Any]
        #expect(object?["family"] as? String == "bert")
    }

    @Test func loadErrors() async throws {
        let broken = try Folder()
        try "{".write(toFile: broken.file("config.json"), atomically: true, encoding: .utf8)
        let bert = fixture("bert")
        for (what, path, options, status) in [
            ("no path", "", ModelOptions(), .invalidArgument),
            ("missing directory", fixture("no-such-model"), ModelOptions(), .notFound),
            ("broken file", broken.path, ModelOptions(), .invalidFile),
            ("unknown device", bert, ModelOptions(device: Device(rawValue: 77)), .invalidArgument),
            ("no GPU", bert, ModelOptions(device: .cuda), .unsupported),
            ("no such device", bert, ModelOptions(deviceIndex: 1), .invalidArgument),
            ("negative index", bert, ModelOptions(deviceIndex: -1), .invalidArgument),
            ("unknown precision", bert, ModelOptions(precision: Precision(rawValue: 77)), .invalidArgument),
            ("negative threads", bert, ModelOptions(threads: -1), .invalidArgument),
            ("too many threads", bert, ModelOptions(threads: .max), .invalidArgument),
            ("negative limit", bert, ModelOptions(memoryLimit: -1), .invalidArgument),
            ("limit", bert, ModelOptions(memoryLimit: 1000), .outOfMemory),
            ("negative length of texts", bert, ModelOptions(maxTextBytes: -1), .invalidArgument),
            ("negative cache", bert, ModelOptions(answerCacheBytes: -1), .invalidArgument),
        ] as [(String, String, ModelOptions, Status)] {
            await expectError(status, what) { _ = try await Model.load(path: path, options: options) }
        }
        // A path may hold NUL, and is then not found.
        await #expect(throws: KingletError.self) { try await Model.load(path: "a\0b") }
    }

    @Test func maxTextBytes() async throws {
        let model = try await Model.load(path: fixture("bert"), options: ModelOptions(maxTextBytes: 4))
        _ = try await model.embed(["bird"])
        await expectError(.invalidArgument, naming: "texts[1]: has 5 bytes") { _ = try await model.embed(["bird", "birds"]) }
    }

    @Test func callErrors() async throws {
        let bert = try await Model.load(path: fixture("bert")), classifier = try await Model.load(path: fixture("bert-classifier"))
        let tokens = try await Model.load(path: fixture("bert-token-classifier"))
        let one = ["bird"]
        for (what, status, body) in [
            ("no texts", .invalidArgument, { _ = try await bert.embed([]) }),
            ("empty texts", .invalidArgument, { _ = try await bert.tokenizer.tokenize([]) }),
            ("no pairs", .invalidArgument, { _ = try await bert.tokenizer.tokenize([], pairs: []) }),
            ("no score", .invalidArgument, { _ = try await classifier.score(queries: [], documents: []) }),
            ("no classes", .invalidArgument, { _ = try await classifier.classify([]) }),
            ("uneven pairs", .invalidArgument, { _ = try await classifier.classify(one, pairs: []) }),
            ("uneven score", .invalidArgument, { _ = try await classifier.score(queries: one, documents: []) }),
            ("uneven tokens", .invalidArgument, { _ = try await bert.tokenizer.tokenize(one, pairs: []) }),
            ("negative length", .invalidArgument, { _ = try await bert.embed(one, options: EmbedOptions(maxLength: -1)) }),
            ("unknown pooling", .invalidArgument, { _ = try await bert.embed(one, options: EmbedOptions(pooling: Pooling(rawValue: 9))) }),
            (
                "unknown function", .invalidArgument,
                { _ = try await classifier.classify(one, options: ClassifyOptions(function: ScoreFunction(rawValue: 9))) }
            ),
            (
                "unknown aggregation", .invalidArgument,
                { _ = try await tokens.classifyTokens(one, options: ClassifyTokensOptions(aggregation: Aggregation(rawValue: 9))) }
            ),
            ("no head", .unsupported, { _ = try await bert.classify(one) }),
            ("no token head", .unsupported, { _ = try await bert.classifyTokens(one) }),
            ("two labels", .unsupported, { _ = try await classifier.score(queries: one, documents: one) }),
            ("no sequences", .invalidArgument, { _ = try await bert.hiddenStates([[UInt32]]()) }),
            ("no ids", .invalidArgument, { _ = try await bert.hiddenStates([[]]) }),
            ("unknown id", .invalidArgument, { _ = try await bert.hiddenStates([[1 << 31]]) }),
            ("uneven types", .invalidArgument, { _ = try await bert.hiddenStates([[2]], typeIDs: [[]]) }),
            ("no ids to text", .invalidArgument, { _ = try await bert.tokenizer.detokenize([]) }),
        ] as [(String, Status, () async throws -> Void)] {
            await expectError(status, what, body)
        }
    }

    /// The variants that block give what those with `await` do.
    @Test func blocking() throws {
        let model = try Model.load(path: fixture("bert"))
        let encoding = try model.tokenizer.tokenize(mixed)
        #expect(try model.hiddenStates(encoding).values == model.hiddenStates(Array(encoding), typeIDs: nil).values)
        #expect(try model.embed(mixed).values.count == 32 * mixed.count)
        #expect(try model.tokenizer.detokenize(encoding[4]).contains("berlin"))
        let pairs = try model.tokenizer.tokenize(mixed, pairs: mixed)
        #expect(pairs.count == mixed.count)
        let classifier = try Model.load(path: fixture("bert-classifier"))
        #expect(try classifier.classify(mixed).best.count == classifier.classify(mixed, pairs: mixed).best.count)
        #expect(try Model.load(path: fixture("bert-token-classifier")).classifyTokens(mixed).count == mixed.count)
        #expect(try Model.load(path: fixture("roberta-cross-encoder")).score(queries: ["a"], documents: ["b"])[0].count == 1)
        #expect(try !DeviceList.find().devices.isEmpty)
    }

    @Test func progress() async throws {
        let shares = Collected<Double>()
        _ = try await Model.load(
            path: fixture("bert"),
            options: ModelOptions(progress: { fraction in
                withUnsafeCurrentTask { #expect($0 == nil, "a thread of the cooperative pool") }
                shares.append(fraction)
                return true
            }))
        #expect(shares.values.count >= 2 && shares.values == shares.values.sorted() && shares.values.allSatisfy { 0...1 ~= $0 })

        let calls = Collected<Double>()
        await expectError(.cancelled) {
            _ = try await Model.load(
                path: fixture("bert"),
                options: ModelOptions(progress: { fraction in
                    calls.append(fraction)
                    return false
                }))
        }
        #expect(calls.values.count == 1)

        // A cancellation that is set during the load.
        let cancellation = Cancellation()
        let load = { () throws(KingletError) in
            try Model.load(
                path: fixture("bert"),
                options: ModelOptions(progress: { _ in
                    cancellation.cancel()
                    return true
                }), cancellation: cancellation)
        }
        await expectError(.cancelled) { _ = try load() }
        #expect(cancellation.isCancelled)
    }

    /// The model keeps the log's handler as long as it lives, and no longer; a load that fails does not keep it.
    @Test func log() async throws {
        final class Lines: Sendable {
            let records = Collected<LogRecord>()
        }
        weak var kept: Lines?
        do {
            let lines = Lines()
            kept = lines
            let log = Log(level: .debug) { lines.records.append($0) }
            let model = try await Model.load(path: fixture("bert"), options: ModelOptions(log: log))
            _ = try await model.embed(["bird"])
            #expect(lines.records.values.contains { $0.level == .info && $0.message.contains("bert") })
            await expectError(.notFound) { _ = try await Model.load(path: fixture("none"), options: ModelOptions(log: log)) }
        }
        for _ in 0..<200 where kept != nil { try await Task.sleep(for: .milliseconds(5)) }
        #expect(kept == nil)

        let errors = Collected<LogRecord>()
        _ = try await Model.load(path: fixture("bert"), options: ModelOptions(log: Log(level: .error) { errors.append($0) }))
        #expect(errors.values.isEmpty)
    }

    @Test func devices() async throws {
        let list = try await DeviceList.find()
        let first = try #require(list.devices.first)
        #expect(first.device == .cpu && first.index == 0 && !first.name.isEmpty && first.memoryTotal > 0)
        // Every kind is listed, or it is said why not.
        for kind in [Device.cuda, .metal] {
            #expect(list.devices.contains { $0.device == kind } != list.missing.contains("\(kind)"))
        }
        #expect(try await DeviceList.find(openLibraries: false).devices.allSatisfy { $0.device != .cuda })
        let model = try await Model.load(path: fixture("bert"))
        #expect(try model.memoryUse().deviceBytes == 0 && model.counters()[.transfer].calls == 0)
    }

    @Test func names() {
        for (got, want) in [
            ("\(Device.candleCPU)", "candle-cpu"), ("\(Device(rawValue: 9))", "Device(9)"), ("\(Precision.int8)", "int8"),
            ("\(Pooling.last)", "last"), ("\(ScoreFunction.softmax)", "softmax"), ("\(Aggregation.simple)", "simple"),
            ("\(CountersFormat.prometheus)", "prometheus"), ("\(LogLevel.debug)", "debug"), ("\(LogLevel.default)", "default"),
            ("\(Status.notFound)", "not_found"), ("\(Status(rawValue: 99))", "Status(99)"), ("\(EarlyStopping.never)", "never"),
            ("\(FinishReason.stopString)", "stop_string"), ("\(Stage.firstToken)", "first_token"),
        ] {
            #expect(got == want)
        }
        let error = KingletError(status: .notFound, message: "x: does not exist")
        #expect("\(error)" == "kinglet: x: does not exist" && (error as any Error).localizedDescription == "x: does not exist")
    }
}

/// An export is run by ONNX Runtime, which is opened when the first one is loaded; so these run in their order.
@Suite(.serialized) struct ONNXTests {
    @Test func noONNXRuntime() async throws {
        let nowhere = "/nowhere/libonnxruntime.so"
        do {
            _ = try await Model.load(path: fixture("onnx/bert"), options: ModelOptions(onnxRuntime: nowhere))
            Issue.record("no error")
        } catch {
            #expect(error.status == .notFound && error.message.contains(nowhere) && error.message.contains("1.17"))
        }
    }

    @Test(.enabled(if: Place.hasONNXRuntime, "no ONNX Runtime; scripts/fetch-model onnxruntime fetches it"))
    func onnx() async throws {
        let model = try await Model.load(path: fixture("onnx/bert"), options: ModelOptions(threads: 2, onnxRuntime: Place.onnxRuntime))
        let want = try await Model.load(path: fixture("bert")).embed(["a small bird"])
        expectNear("embedding", try await model.embed(["a small bird"])[0], want[0])
        #expect(try model.describe().contains(#""backend":"onnx""#))
    }
}
