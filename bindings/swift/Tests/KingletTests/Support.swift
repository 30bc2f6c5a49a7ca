import Foundation
import Testing

@testable import Kinglet

/// Where the project's fixtures are: KINGLET_FIXTURES, else beside this package.
func fixture(_ name: String) -> String {
    let fixtures = ProcessInfo.processInfo.environment["KINGLET_FIXTURES"]
        ?? URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../../tests/fixtures").standardized.path
    return "\(fixtures)/\(name)"
}

func load(_ name: String, _ precision: Precision = .f32) throws -> Model {
    try Model(path: fixture(name), options: ModelOptions(precision: precision, threads: 2))
}

/// A copy of a generation fixture with a chat template, removed at the end of `body`.
func withChatFixture<R>(_ name: String, _ body: (String) async throws -> R) async throws -> R {
    let place = FileManager.default.temporaryDirectory.appendingPathComponent("kinglet-\(UUID().uuidString)").path
    try FileManager.default.copyItem(atPath: fixture("generation/\(name)"), toPath: place)
    defer { try? FileManager.default.removeItem(atPath: place) }
    let template =
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    try template.write(toFile: "\(place)/chat_template.jinja", atomically: true, encoding: .utf8)
    return try await body(place)
}

/// What transformers computed for a text.
struct Reference: Decodable {
    let text: String
    let pair: String?
    let ids: [UInt32]
    let hidden: [[Float]]?
    let embedding: [Float]?
    let logits: [[Float]]?

    enum Keys: String, CodingKey { case text, pair, ids, hidden, embedding, logits }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Keys.self)
        text = try values.decode(String.self, forKey: .text)
        pair = try values.decodeIfPresent(String.self, forKey: .pair)
        ids = try values.decode([UInt32].self, forKey: .ids)
        hidden = try values.decodeIfPresent([[Float]].self, forKey: .hidden)
        embedding = try values.decodeIfPresent([Float].self, forKey: .embedding)
        // One row, or one per token.
        let row = try? values.decodeIfPresent([Float].self, forKey: .logits)
        logits = try row.flatMap { $0 }.map { [$0] } ?? values.decodeIfPresent([[Float]].self, forKey: .logits)
    }
}

struct Generated: Decodable {
    struct Beam: Decodable { let tokens: [UInt32] }
    let text: String
    let ids: [UInt32]
    let greedy: [UInt32]
    let beam5: [Beam]
}

struct ReferenceFile<T: Decodable>: Decodable { let cases: [T] }

func cases<T: Decodable>(_ name: String, of _: T.Type) throws -> [T] {
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(fixture(name))/reference.json"))
    return try JSONDecoder().decode(ReferenceFile<T>.self, from: data).cases
}

func near(_ found: some Sequence<Float>, _ expected: [Float], _ what: String, location: SourceLocation = #_sourceLocation) {
    let found = Array(found)
    #expect(found.count == expected.count, "\(what): \(found.count) values", sourceLocation: location)
    let error = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
    #expect(error < 1e-4, "\(what): differs by \(error)", sourceLocation: location)
}

func status(_ body: () throws -> Void) -> Status? {
    do { try body() } catch let error as KingletError { return error.status } catch {}
    return nil
}

/// Resident bytes of this process; nil where the system does not tell.
func residentBytes() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
    return text.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 4096 }
}
