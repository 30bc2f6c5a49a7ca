import CKinglet

extension Model {
    /// The model's tokenizer.
    public var tokenizer: Tokenizer { Tokenizer(model: self) }
}

/// Turns texts into token ids and back. Any thread or task.
public struct Tokenizer: Sendable {
    let model: Model

    /// Tokenises a batch of texts, or of pairs if `pairs` is as long as `texts`. Blocks.
    ///
    /// - Throws: `KingletError` with `invalidArgument` for an empty batch or batches of different lengths, `unsupported` for a model
    ///   without a tokenizer.
    public func tokenize(
        _ texts: [String], pairs: [String] = [], options: TokenizeOptions = TokenizeOptions()
    ) throws(KingletError) -> Encoding {
        try tokenize(texts, pairs, options, nil)
    }

    /// Tokenises a batch away from Swift's cooperative threads.
    public func tokenize(
        _ texts: [String], pairs: [String] = [], options: TokenizeOptions = TokenizeOptions()
    ) async throws(KingletError) -> Encoding {
        try await offload { (cancellation) throws(KingletError) in try tokenize(texts, pairs, options, cancellation) }
    }

    private func tokenize(
        _ texts: [String], _ pairs: [String], _ options: TokenizeOptions, _ cancellation: Cancellation?
    ) throws(KingletError) -> Encoding {
        try sameCount(texts, pairs, "pairs")
        let arguments = Arguments()
        var c = kinglet_tokenize_options()
        c.struct_size = MemoryLayout<kinglet_tokenize_options>.size
        c.add_special_tokens = tristate(options.addSpecialTokens)
        c.offsets = options.offsets ? 1 : 0
        c.max_length = try options.maxLength == Int.max ? Int(bitPattern: UInt.max) : size(options.maxLength, "maxLength")
        c.cancellation = cancellation?.pointer
        let (first, second) = (arguments.texts(texts), arguments.texts(pairs))
        let handle = try model.handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try make(free: { kinglet_encoding_free($0) }) {
                    kinglet_model_tokenize(model, first, second, texts.count, c, $0, $1)
                }
            }
        }
        return Encoding(handle)
    }

    /// The text of token ids.
    ///
    /// - Parameter skipSpecialTokens: leaves special tokens out of the text.
    public func detokenize(_ ids: [UInt32], skipSpecialTokens: Bool = true) throws(KingletError) -> String {
        var c = kinglet_detokenize_options()
        c.struct_size = MemoryLayout<kinglet_detokenize_options>.size
        c.skip_special_tokens = tristate(skipSpecialTokens)
        let arguments = Arguments()
        let list = arguments.ids(ids)
        return try model.handle.use { (model) throws(KingletError) in
            try lending(c, arguments) { (c) throws(KingletError) in
                try text { kinglet_model_detokenize(model, list.data, list.count, c, $0, $1) }
            }
        }
    }
}

/// Options of tokenising.
public struct TokenizeOptions: Sendable {
    /// Whether the tokenizer's special tokens are added, for instance `[CLS]` or `</s>`.
    public var addSpecialTokens = true
    /// Whether the position of each token in its text is computed.
    public var offsets = false
    /// The most tokens of a text or pair, special tokens included; longer ones are cut. nil: what the model takes. `Int.max`: no limit.
    public var maxLength: Int?

    public init(addSpecialTokens: Bool = true, offsets: Bool = false, maxLength: Int? = nil) {
        self.addSpecialTokens = addSpecialTokens
        self.offsets = offsets
        self.maxLength = maxLength
    }
}

/// A tokenised batch: one sequence per text or pair. Any thread or task.
public final class Encoding: Sendable {
    private let handle: Handle
    /// Sequences, and tokens, in the batch.
    public let count: Int
    public let tokenCount: Int
    /// The most tokens in one sequence.
    public let longest: Int
    /// The id of the tokenizer's padding token; 0 if it names none.
    public let padID: UInt32

    init(_ handle: Handle) {
        self.handle = handle
        let view = Encoding.view(handle)
        (count, tokenCount, longest, padID) = (view.count, view.token_count, view.longest, view.pad_id)
    }

    private static func view(_ handle: Handle) -> kinglet_encoding_view {
        var view = kinglet_encoding_view()
        view.struct_size = MemoryLayout<kinglet_encoding_view>.size
        handle.use { _ = kinglet_encoding_read($0, &view, nil) }
        return view
    }

    private func read<R>(_ body: (kinglet_encoding_view) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(Encoding.view(handle))
    }

    private func tokens<T>(_ i: Int, _ values: (kinglet_encoding_view) -> UnsafePointer<T>?) -> [T] {
        precondition(i >= 0 && i < count, "sequence \(i) of \(count)")
        return read { view in
            guard let all = values(view) else { return [] }
            return array(all + view.starts[i], view.lengths[i])
        }
    }

    /// The token ids of sequence `i`.
    public func ids(_ i: Int) -> [UInt32] { tokens(i) { $0.ids } }
    /// 0, or 1 for tokens of the second text of a pair, as the tokenizer's files say.
    public func typeIDs(_ i: Int) -> [UInt32] { tokens(i) { $0.type_ids } }
    /// Whether each token of sequence `i` is a special token that the tokenizer added.
    public func specialTokensMask(_ i: Int) -> [Bool] { tokens(i) { $0.special_tokens_mask }.map { $0 != 0 } }
    /// The bytes (UTF-8) of each token in its text; empty if offsets were not asked for.
    public func offsets(_ i: Int) -> [Range<Int>] { tokens(i) { $0.offsets }.map { $0.start..<max($0.start, $0.end) } }
    /// Whether sequence `i` was cut.
    public func truncated(_ i: Int) -> Bool { read { flags($0.truncated, count)[i] } }

    /// Lends the ids of all sequences, one after the other. The memory is valid during the call.
    public func withUnsafeIDs<R>(_ body: (UnsafeBufferPointer<UInt32>) throws -> R) rethrows -> R {
        try read { try body(UnsafeBufferPointer(start: $0.ids, count: $0.token_count)) }
    }

    /// The batch padded to `length` (nil: the longest sequence): ids and attention mask, `count * length` values each, row by row.
    public func padded(to length: Int? = nil, padID: UInt32? = nil) throws(KingletError) -> (ids: [UInt32], attentionMask: [UInt32]) {
        let length = length ?? longest
        let all = count * length
        var (ids, mask) = ([UInt32](repeating: 0, count: all), [UInt32](repeating: 0, count: all))
        let (pad, room) = (padID ?? self.padID, try size(length, "length"))
        try handle.use { (encoding) throws(KingletError) in
            try check { failure in
                ids.withUnsafeMutableBufferPointer { ids in
                    mask.withUnsafeMutableBufferPointer { mask in
                        kinglet_encoding_pad(encoding, room, pad, ids.baseAddress, mask.baseAddress, all, failure)
                    }
                }
            }
        }
        return (ids, mask)
    }
}

func tristate(_ value: Bool?) -> kinglet_tristate {
    switch value {
    case nil: return Tristate.auto.rawValue
    case false?: return Tristate.no.rawValue
    case true?: return Tristate.yes.rawValue
    }
}

func sameCount(_ texts: [String], _ others: [String], _ name: String) throws(KingletError) {
    if !others.isEmpty && others.count != texts.count {
        throw .invalid("\(name): there are \(others.count), and \(texts.count) texts")
    }
}
