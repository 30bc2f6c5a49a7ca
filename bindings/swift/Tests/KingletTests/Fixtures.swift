import Foundation
import Testing

@testable import Kinglet

/// What the environment says, or else the place in this repository.
enum Place {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../..").standardized.path
    static let fixtures = variable("KINGLET_FIXTURES") ?? root + "/tests/fixtures"
    static let minilm = variable("KINGLET_MINILM") ?? root + "/build/models/minilm"
    static let onnxRuntime = variable("KINGLET_ONNXRUNTIME") ?? root + "/build/onnxruntime/libonnxruntime.so"

    static let hasMiniLM = exists("\(minilm)/config.json")
    static let hasONNXRuntime = exists(onnxRuntime)

    static func variable(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}

func fixture(_ name: String) -> String { "\(Place.fixtures)/\(name)" }

func generator(_ name: String) -> String { fixture("generation/\(name)") }

/// Two decoders, and two models with an encoder.
let generators = ["gpt2", "llama", "t5-gated", "bart"]

/// A fixture's reference.json, made by transformers.
struct Reference: Decodable {
    struct Case: Decodable {
        var text: String
        var pair: String?
        var ids: [UInt32]
        var typeIds: [UInt32]?
        /// In characters.
        var offsets: [[Int]]?
        var hidden: [[Float]]
        /// One row, or for token classification one per token.
        var logits: Rows?
        var embedding: [Float]?
        var truncated: Bool?
    }

    var cases: [Case]

    /// The names of all fixtures that have one.
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: Place.fixtures)) ?? [])
        .filter { Place.exists("\(fixture($0))/reference.json") }.sorted()

    init(_ name: String) throws {
        self = try decoded("\(fixture(name))/reference.json")
    }
}

struct Rows: Decodable {
    var values: [Float]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let row = try? container.decode([Float].self) {
            values = row
        } else {
            values = try container.decode([[Float]].self).flatMap { $0 }
        }
    }
}

/// A generation fixture's reference.json, made by transformers.
struct GenerationReference: Decodable {
    struct Tokens: Decodable {
        var tokens: [UInt32]
        var score: Float?
    }

    struct Case: Decodable {
        var text: String?
        var ids: [UInt32]
        var greedy: [UInt32]
        var beam5: [Tokens]?
        var decoderIds: [UInt32]?
        /// Empty for some.
        var logits: [[Float]]?
    }

    struct WithOptions: Decodable {
        var ids: [UInt32]
        var options: TransformersOptions
        var outputs: [Tokens]
    }

    var cases: [Case]
    var options: [WithOptions]?

    init(_ name: String) throws {
        self = try decoded("\(generator(name))/reference.json")
        try #require(cases.count >= 3)
    }
}

/// Options as transformers has them.
struct TransformersOptions: Decodable {
    var generate = GenerateOptions()

    private struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let all = try decoder.container(keyedBy: Key.self)
        for key in all.allKeys {
            switch key.stringValue {
            case "maxNewTokens": generate.maxNewTokens = try all.decode(Int.self, forKey: key)
            case "minNewTokens": generate.minNewTokens = try all.decode(Int.self, forKey: key)
            case "numBeams": generate.numBeams = try all.decode(Int.self, forKey: key)
            case "numReturnSequences": generate.numReturnSequences = try all.decode(Int.self, forKey: key)
            case "lengthPenalty": generate.lengthPenalty = try all.decode(Float.self, forKey: key)
            case "repetitionPenalty": generate.repetitionPenalty = try all.decode(Float.self, forKey: key)
            case "noRepeatNgramSize": generate.noRepeatNgramSize = try all.decode(Int.self, forKey: key)
            case "badWordsIds": generate.badWordsIDs = try all.decode([[UInt32]].self, forKey: key)
            case "suppressTokens": generate.suppressTokens = try all.decode([UInt32].self, forKey: key)
            case "beginSuppressTokens": generate.beginSuppressTokens = try all.decode([UInt32].self, forKey: key)
            case "forcedBosTokenId": generate.forcedBOSTokenID = try all.decode(UInt32.self, forKey: key)
            case "forcedEosTokenId": generate.forcedEOSTokenIDs = [try all.decode(UInt32.self, forKey: key)]
            case "earlyStopping":
                let stops = try? all.decode(Bool.self, forKey: key)
                generate.earlyStopping = stops.map { $0 ? .yes : .no } ?? .never
            default: throw DecodingError.dataCorruptedError(forKey: key, in: all, debugDescription: "unknown option \(key.stringValue)")
            }
        }
    }
}

func decoded<Value: Decodable>(_ path: String) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Value.self, from: Data(contentsOf: URL(filePath: path)))
}

/// Takes the likeliest tokens, whatever the model's files say.
func greedy(_ tokens: Int) -> GenerateOptions {
    GenerateOptions(maxNewTokens: tokens, doSample: false, numBeams: 1)
}

/// Texts of many lengths.
func many(_ count: Int) -> [String] {
    (0..<count).map { String(repeating: "The small bird sings near the river. ", count: $0 % 5) + "bird \($0)" }
}

/// Compares with a reference that was rounded.
func expectNear(
    _ what: String, _ got: [Float], _ want: [Float], sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(got.count == want.count, "\(what)", sourceLocation: sourceLocation)
    let worst = zip(got, want).map { abs($0 - $1) }.enumerated().max { $0.element < $1.element }
    #expect(
        worst.map { $0.element <= 1e-4 } ?? true, "\(what): value \(worst?.offset ?? 0) is \(worst?.element ?? 0) off",
        sourceLocation: sourceLocation)
}

/// Stricter than ==, which takes 0 for -0.
func sameBits(_ a: [Float], _ b: [Float]) -> Bool { a.map(\.bitPattern) == b.map(\.bitPattern) }

func cosine(_ a: [Float], _ b: [Float]) -> Double {
    let (x, y) = (a.map { Double($0) }, b.map { Double($0) })
    func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
    return dot(x, y) / (dot(x, x) * dot(y, y)).squareRoot()
}

/// The call throws this status, with a message of some length that names what is wrong.
func expectError(
    _ status: Status, naming name: String = "", _ what: String = "", sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("\(what) \(name): no error", sourceLocation: sourceLocation)
    } catch let error as KingletError {
        #expect(
            error.status == status && (name.isEmpty || error.message.contains(name)) && error.message.count >= 10, "\(what): \(error.status): \(error)",
            sourceLocation: sourceLocation)
    } catch {
        Issue.record("\(what) \(name): \(error)", sourceLocation: sourceLocation)
    }
}

/// A folder that is removed when this is.
final class Folder {
    let path = FileManager.default.temporaryDirectory.appending(path: "kinglet-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// A copy of a generation fixture with a chat template.
func chatModel(_ name: String, options: ModelOptions = ModelOptions(), generationConfig: String? = nil) async throws -> Model {
    let folder = try Folder()
    let copy = folder.file(name)
    try FileManager.default.copyItem(atPath: generator(name), toPath: copy)
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    try template.write(toFile: "\(copy)/chat_template.jinja", atomically: true, encoding: .utf8)
    try generationConfig?.write(toFile: "\(copy)/generation_config.json", atomically: true, encoding: .utf8)
    return try await Model.load(path: copy, options: options)
}

/// Collects values from several threads.
final class Collected<Value: Sendable>: Sendable {
    private let monitor = Monitor<[Value]>([])

    func append(_ value: Value) { monitor.withLock { $0.append(value) } }
    var values: [Value] { monitor.withLock { $0 } }
}
