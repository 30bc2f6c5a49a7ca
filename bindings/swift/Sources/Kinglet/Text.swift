import CKinglet

/// The bytes `start` to `end` (exclusive) of a text in UTF-8.
public struct ByteRange: Hashable, Sendable {
    /// The first byte.
    public let start: Int
    /// The byte after the last one.
    public let end: Int

    public init(start: Int, end: Int) {
        self.start = start
        self.end = end
    }

    init(_ span: kinglet_span) { self.init(start: span.start, end: span.end) }

    /// The same place in a string, for `text[range]` and, by `NSRange(range, in: text)`, for UTF-16. Nil if the string has no such bytes, or
    /// if they are not whole Unicode scalars.
    public func range(in text: String) -> Range<String.Index>? {
        let utf8 = text.utf8
        guard 0 <= start, start <= end, end <= utf8.count else { return nil }
        let lower = utf8.index(utf8.startIndex, offsetBy: start)
        let upper = utf8.index(lower, offsetBy: end - start)
        guard lower.samePosition(in: text.unicodeScalars) != nil, upper.samePosition(in: text.unicodeScalars) != nil else { return nil }
        return lower..<upper
    }
}

extension String {
    /// Copies a string of C.
    init(_ text: kinglet_str) {
        let bytes = UnsafeRawBufferPointer(start: text.data, count: text.data == nil ? 0 : text.size)
        self = String(decoding: bytes, as: UTF8.self)
    }

    /// The string that a C call makes.
    static func make(
        _ body: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>) -> kinglet_status
    ) throws(KingletError) -> String {
        try Handle.make(free: kinglet_text_free, body).use { String(kinglet_text_str($0)) }
    }
}

/// Strings as C arguments: their bytes are copied once, into one block, because Swift gives access to one string at a time.
func withTexts<Result, Failure>(
    _ texts: [String], _ body: (UnsafePointer<kinglet_str>?) throws(Failure) -> Result
) throws(Failure) -> Result {
    let space = UnsafeMutableRawBufferPointer.allocate(byteCount: texts.reduce(0) { $0 + $1.utf8.count }, alignment: 1)
    let strings = UnsafeMutableBufferPointer<kinglet_str>.allocate(capacity: texts.count)
    defer {
        strings.deallocate()
        space.deallocate()
    }
    var at = 0
    for (i, text) in texts.enumerated() {
        let place = UnsafeMutableRawBufferPointer(rebasing: space[at...])
        var text = text
        let count = text.withUTF8 { bytes in
            place.copyMemory(from: UnsafeRawBufferPointer(bytes))
            return bytes.count
        }
        let data = place.baseAddress?.assumingMemoryBound(to: CChar.self)
        strings.initializeElement(at: i, to: kinglet_str(data: count == 0 ? nil : UnsafePointer(data), size: count))
        at += count
    }
    return try body(texts.isEmpty ? nil : UnsafePointer(strings.baseAddress))
}

/// Pairs as C arguments: the array of the first texts and that of the second ones.
func withPairs<Result, Failure>(
    _ texts: [String], _ pairs: [String],
    _ body: (UnsafePointer<kinglet_str>?, UnsafePointer<kinglet_str>?) throws(Failure) -> Result
) throws(Failure) -> Result {
    try withTexts(texts + pairs) { strings throws(Failure) in
        try body(texts.isEmpty ? nil : strings, pairs.isEmpty ? nil : strings.map { $0 + texts.count })
    }
}

/// The name and the text of a prompt as C arguments. An empty text is not a missing one: its pointer is not NULL.
func withPrompt<Result, Failure>(
    _ name: String?, _ prompt: String?, _ body: (kinglet_str, kinglet_str) throws(Failure) -> Result
) throws(Failure) -> Result {
    try withTexts([name ?? "", prompt ?? ""]) { texts throws(Failure) in
        guard let texts, prompt == "" else { return try body(texts![0], texts![1]) }
        let somewhere = UnsafeRawPointer(texts).assumingMemoryBound(to: CChar.self)
        return try body(texts[0], kinglet_str(data: somewhere, size: 0))
    }
}

/// Lists of token ids as C arguments; empty lists have no pointer.
func withLists<Result, Failure>(
    _ lists: [[UInt32]], _ body: (UnsafeBufferPointer<kinglet_ids>) throws(Failure) -> Result
) throws(Failure) -> Result {
    let space = UnsafeMutableBufferPointer<UInt32>.allocate(capacity: lists.reduce(0) { $0 + $1.count })
    let structs = UnsafeMutableBufferPointer<kinglet_ids>.allocate(capacity: lists.count)
    defer {
        structs.deallocate()
        space.deallocate()
    }
    var at = 0
    for (i, list) in lists.enumerated() {
        let place = UnsafeMutableBufferPointer(rebasing: space[at..<at + list.count])
        _ = place.initialize(fromContentsOf: list)
        structs.initializeElement(at: i, to: kinglet_ids(data: list.isEmpty ? nil : UnsafePointer(place.baseAddress), count: list.count))
        at += list.count
    }
    return try body(UnsafeBufferPointer(structs))
}

/// Refuses a number that has no meaning. Nil is C's 0.
func size(_ value: Int?, _ name: String) throws(KingletError) -> Int {
    guard let value else { return 0 }
    if value < 0 { throw .invalid("\(name): \(value) is negative") }
    return value
}

func sameCount(_ first: Int, _ second: Int, _ name: String, of: String) throws(KingletError) {
    if first != second { throw .invalid("\(name): there are \(second) for \(first) \(of)") }
}

extension kinglet_tristate {
    /// C's switch: nil leaves the decision to the model's files.
    init(_ choice: Bool?) {
        switch choice {
        case nil: self = KINGLET_TRISTATE_AUTO.rawValue
        case false?: self = KINGLET_TRISTATE_NO.rawValue
        case true?: self = KINGLET_TRISTATE_YES.rawValue
        }
    }
}
