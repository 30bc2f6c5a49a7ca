import CKinglet

extension Model {
    /// The model's tokenizer. Its calls throw ``Status/unsupported`` if the model has none.
    public var tokenizer: Tokenizer { Tokenizer(model: self) }
}

/// Turns texts into token ids and back.
public struct Tokenizer: Sendable {
    let model: Model

    /// Options of ``Tokenizer/tokenize(_:options:cancellation:)``. What is nil has its default.
    public struct Options: Hashable, Sendable {
        /// As ``maxLength``: no limit.
        public static let noLimit = Int.max

        /// Adds the tokenizer's special tokens, for instance `[CLS]` or `</s>`. Default: yes.
        public var addSpecialTokens: Bool?
        /// Computes the position of each token in its text.
        public var offsets = false
        /// The maximum number of tokens of a text or pair, special tokens included; longer ones are truncated by the rules of the
        /// tokenizer's files. Default: the model's maximum. ``noLimit``: no limit.
        public var maxLength: Int?

        public init(addSpecialTokens: Bool? = nil, offsets: Bool = false, maxLength: Int? = nil) {
            self.addSpecialTokens = addSpecialTokens
            self.offsets = offsets
            self.maxLength = maxLength
        }
    }

    /// Tokenises texts, on the model's threads.
    public func tokenize(
        _ texts: [String], options: Options = Options(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Encoding {
        try tokenize(texts, [], options, cancellation)
    }

    /// Tokenises texts; ``tokenize(_:options:cancellation:)`` has the details.
    public func tokenize(_ texts: [String], options: Options = Options()) async throws(KingletError) -> Encoding {
        try await offCooperativePool { cancellation throws(KingletError) in try tokenize(texts, [], options, cancellation) }
    }

    /// Tokenises pairs: `texts[i]` with `pairs[i]`.
    public func tokenize(
        _ texts: [String], pairs: [String], options: Options = Options(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Encoding {
        try sameCount(texts.count, pairs.count, "pairs", of: "texts")
        return try tokenize(texts, pairs, options, cancellation)
    }

    /// Tokenises pairs: `texts[i]` with `pairs[i]`.
    public func tokenize(_ texts: [String], pairs: [String], options: Options = Options()) async throws(KingletError) -> Encoding {
        try await offCooperativePool { cancellation throws(KingletError) in
            try tokenize(texts, pairs: pairs, options: options, cancellation: cancellation)
        }
    }

    /// Turns token ids back into text.
    ///
    /// - Parameter skipSpecialTokens: Leaves special tokens out of the text. Default: yes.
    /// - Throws: ``Status/invalidArgument`` for an id that the tokenizer does not know.
    public func detokenize(_ ids: [UInt32], skipSpecialTokens: Bool? = nil) throws(KingletError) -> String {
        var options = kinglet_detokenize_options()
        options.struct_size = MemoryLayout<kinglet_detokenize_options>.size
        options.skip_special_tokens = kinglet_tristate(skipSpecialTokens)
        return try model.handle.use { model throws(KingletError) in
            try String.make { text, failure in kinglet_model_detokenize(model, ids, ids.count, &options, text, failure) }
        }
    }

    /// Turns token ids back into text; ``detokenize(_:skipSpecialTokens:)`` has the details. The task is asked before the work begins.
    public func detokenize(_ ids: [UInt32], skipSpecialTokens: Bool? = nil) async throws(KingletError) -> String {
        try await offCooperativePool { cancellation throws(KingletError) in
            try Optional(cancellation).use { _ throws(KingletError) in try detokenize(ids, skipSpecialTokens: skipSpecialTokens) }
        }
    }

    private func tokenize(
        _ texts: [String], _ pairs: [String], _ options: Options, _ cancellation: Cancellation?
    ) throws(KingletError) -> Encoding {
        var c = kinglet_tokenize_options()
        c.struct_size = MemoryLayout<kinglet_tokenize_options>.size
        c.add_special_tokens = kinglet_tristate(options.addSpecialTokens)
        c.offsets = options.offsets ? 1 : 0
        // SIZE_MAX, which Swift's Int cannot be.
        c.max_length = options.maxLength == Options.noLimit ? Int(bitPattern: UInt.max) : try size(options.maxLength, "maxLength")
        let handle = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try model.handle.use { model throws(KingletError) in
                try withPairs(texts, pairs) { first, second throws(KingletError) in
                    try Handle.make(free: kinglet_encoding_free) { encoding, failure in
                        kinglet_model_tokenize(model, first, second, texts.count, &c, encoding, failure)
                    }
                }
            }
        }
        return try Encoding(handle)
    }
}

/// A tokenised batch: the tokens of all texts or pairs, the sequences, one after the other.
///
/// It is a collection of the ids of each sequence. Arrays are copies; `withUnsafe` functions give access to the library's memory.
public struct Encoding: Sendable, RandomAccessCollection {
    /// The value of ``sequences`` for tokens that came from no text.
    public static let noSequence = UInt8(KINGLET_NO_SEQUENCE)

    private let handle: Handle
    private let borrowedStarts: Borrowed<Int>
    private let borrowedIDs: Borrowed<UInt32>
    private let borrowedTypeIDs: Borrowed<UInt32>
    private let borrowedMask: Borrowed<UInt8>
    private let borrowedSequences: Borrowed<UInt8>
    private let borrowedOffsets: Borrowed<kinglet_span>
    private let borrowedTruncated: Borrowed<UInt8>

    /// The number of sequences.
    public let count: Int
    /// The maximum number of tokens in one sequence.
    public let longest: Int
    /// The tokenizer's padding token; 0 if it names none.
    public let padID: UInt32

    init(_ handle: Handle) throws(KingletError) {
        var view = kinglet_encoding_view()
        view.struct_size = MemoryLayout<kinglet_encoding_view>.size
        view = try handle.read(view, kinglet_encoding_read)
        self.handle = handle
        count = view.count
        longest = view.longest
        padID = view.pad_id
        borrowedStarts = Borrowed(handle, view.starts, view.count + 1)
        borrowedIDs = Borrowed(handle, view.ids, view.token_count)
        borrowedTypeIDs = Borrowed(handle, view.type_ids, view.token_count)
        borrowedMask = Borrowed(handle, view.special_tokens_mask, view.token_count)
        borrowedSequences = Borrowed(handle, view.sequences, view.token_count)
        borrowedOffsets = Borrowed(handle, view.offsets, view.token_count)
        borrowedTruncated = Borrowed(handle, view.truncated, view.count)
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// The ids of one sequence.
    public subscript(sequence: Int) -> [UInt32] { borrowedIDs.array(borrowedStarts.rows(sequence)) }

    /// `count + 1` values: the tokens of sequence i are those from `starts[i]` to `starts[i + 1]` (exclusive), in each of the arrays with one
    /// value per token.
    public var starts: [Int] { borrowedStarts.array }
    /// The token ids, one per token.
    public var ids: [UInt32] { borrowedIDs.array }
    /// 0, or 1 for the second text of a pair, as the tokenizer's files say; one value per token.
    public var typeIDs: [UInt32] { borrowedTypeIDs.array }
    /// 1 for special tokens that the tokenizer added, else 0; one value per token.
    public var specialTokensMask: [UInt8] { borrowedMask.array }
    /// The text of a pair that the token came from, 0 or 1, or ``noSequence``; one value per token.
    public var sequences: [UInt8] { borrowedSequences.array }
    /// The bytes of each token in its text, one range per token; nil without ``Tokenizer/Options/offsets``.
    public var offsets: [ByteRange]? {
        borrowedOffsets.isThere ? borrowedOffsets.withUnsafe { $0.map { ByteRange($0) } } : nil
    }
    /// Which sequences were truncated.
    public var truncated: [Bool] { borrowedTruncated.flags }

    /// Gives access to the ids of all tokens, without copying.
    public func withUnsafeIDs<Result, Failure>(
        _ body: (UnsafeBufferPointer<UInt32>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedIDs.withUnsafe(body)
    }

    /// Gives access to the token types of all tokens, without copying.
    public func withUnsafeTypeIDs<Result, Failure>(
        _ body: (UnsafeBufferPointer<UInt32>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedTypeIDs.withUnsafe(body)
    }

    /// Gives access to the first token of each sequence, without copying.
    public func withUnsafeStarts<Result, Failure>(
        _ body: (UnsafeBufferPointer<Int>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try borrowedStarts.withUnsafe(body)
    }

    /// A padded matrix of `count` rows of `length` ids, row by row, and its attention mask: 1 for tokens and 0 for padding. For programs that
    /// feed other engines; Kinglet needs no padding.
    ///
    /// - Parameters:
    ///   - length: The tokens of a row. Default: ``longest``. A shorter one throws ``Status/invalidArgument``.
    ///   - padID: The padding token. Default: ``padID``.
    public func padded(length: Int? = nil, padID: UInt32? = nil) throws(KingletError) -> (ids: [UInt32], attentionMask: [UInt32]) {
        let length = try length == nil ? longest : size(length, "length")
        let (values, overflow) = length.multipliedReportingOverflow(by: count)
        if overflow || values > Int.max / 8 { throw .invalid("length: \(count) rows of \(length) tokens do not fit into memory") }
        if length < longest { throw .invalid("length: \(length) is shorter than the longest sequence, \(longest) tokens") }
        var ids = [UInt32](repeating: 0, count: values)
        var mask = ids
        try handle.use { encoding throws(KingletError) in
            try call { failure in kinglet_encoding_pad(encoding, length, padID ?? self.padID, &ids, &mask, values, failure) }
        }
        return (ids, mask)
    }
}
