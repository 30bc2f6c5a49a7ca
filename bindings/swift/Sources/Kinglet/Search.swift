import CKinglet

/// Embeddings of one type in memory, one after the other.
public struct EmbeddingRows: Hashable, Sendable {
    /// Elements of embeddings.
    public enum Values: Hashable, Sendable {
        case float32([Float])
        /// The bits of half-precision numbers.
        case float16([UInt16])
        /// Steps of each dimension's range, as ``quantizeEmbeddings(_:to:ranges:)`` makes them.
        case int8([Int8])
        case uint8([UInt8])
        /// A bit for each value that is above 0, the first in the highest bit of a byte, of which 128 is subtracted.
        case binary([Int8])
        case ubinary([UInt8])
    }

    public var values: Values
    /// The number of values per embedding; of binary types, too, where eight of them share a byte.
    public var dimension: Int

    public init(_ values: Values, dimension: Int) {
        self.values = values
        self.dimension = dimension
    }

    /// One embedding per text, as ``Model/embed(_:options:cancellation:)`` makes them.
    public init(_ embeddings: Embeddings) {
        self.init(.float32(embeddings.values), dimension: embeddings.dimension)
    }

    /// The type of the values.
    public var type: EmbeddingType {
        switch values {
        case .float32: .float32
        case .float16: .float16
        case .int8: .int8
        case .uint8: .uint8
        case .binary: .binary
        case .ubinary: .ubinary
        }
    }

    /// The number of embeddings.
    public var count: Int {
        let width = elementsPerEmbedding(type, dimension)
        return width < 1 ? 0 : elementCount / width
    }

    private var elementCount: Int {
        switch values {
        case .float32(let values): values.count
        case .float16(let values): values.count
        case .int8(let values), .binary(let values): values.count
        case .uint8(let values), .ubinary(let values): values.count
        }
    }

    /// Refuses a number of elements that makes no whole embeddings.
    func check(_ name: String) throws(KingletError) {
        if dimension < 1 { throw .invalid("\(name).dimension: is \(dimension)") }
        let width = elementsPerEmbedding(type, dimension)
        if elementCount % width != 0 {
            throw .invalid("\(name): \(elementCount) elements are not those of embeddings of \(width)")
        }
    }

    /// C's struct, which borrows the values.
    func withC<Result>(_ body: (kinglet_embedding_rows) -> Result) -> Result {
        var c = kinglet_embedding_rows()
        c.struct_size = MemoryLayout<kinglet_embedding_rows>.size
        c.kind = type.rawValue
        c.count = count
        c.dimension = dimension
        func lend(_ bytes: UnsafeRawBufferPointer) -> Result {
            c.data = bytes.baseAddress
            return body(c)
        }
        return switch values {
        case .float32(let values): values.withUnsafeBytes(lend)
        case .float16(let values): values.withUnsafeBytes(lend)
        case .int8(let values), .binary(let values): values.withUnsafeBytes(lend)
        case .uint8(let values), .ubinary(let values): values.withUnsafeBytes(lend)
        }
    }
}

private func elementsPerEmbedding(_ type: EmbeddingType, _ dimension: Int) -> Int {
    type == .binary || type == .ubinary ? (dimension + 7) / 8 : dimension
}

/// Ranges as C's argument; nil is NULL.
private func withRanges<Result>(_ ranges: [Float]?, _ body: (UnsafePointer<Float>?) -> Result) -> Result {
    guard let ranges else { return body(nil) }
    return ranges.withUnsafeBufferPointer { body($0.baseAddress) }
}

private func checkRanges(_ ranges: [Float]?, _ dimension: Int) throws(KingletError) {
    if let ranges, ranges.count != 2 * dimension {
        throw .invalid("ranges: are \(ranges.count) values for \(dimension) dimensions")
    }
}

/// The range of each dimension of embeddings of float32: the least value of each, then the greatest of each. A corpus and its queries share
/// them.
///
/// - Throws: ``Status/invalidArgument`` if there is no embedding, or a value that is not finite.
public func embeddingRanges(_ embeddings: EmbeddingRows) throws(KingletError) -> [Float] {
    try Library.check()
    try embeddings.check("embeddings")
    var ranges = [Float](repeating: 0, count: 2 * embeddings.dimension)
    try call { failure in
        embeddings.withC { rows in
            var rows = rows
            return kinglet_embeddings_ranges(&rows, &ranges, 2 * rows.dimension, failure)
        }
    }
    return ranges
}

/// Embeddings of float32 in another type, as sentence-transformers' quantize_embeddings makes them.
///
/// `ranges` are for int8 and uint8, as ``embeddingRanges(_:)`` gives them; nil: those of these embeddings. Codes that are compared must have
/// the same ranges.
///
/// - Throws: ``Status/invalidArgument`` for a NaN, and for ranges that are none.
public func quantizeEmbeddings(
    _ embeddings: EmbeddingRows, to type: EmbeddingType, ranges: [Float]? = nil
) throws(KingletError) -> EmbeddingRows {
    try Library.check()
    try embeddings.check("embeddings")
    try checkRanges(ranges, embeddings.dimension)
    let dimension = embeddings.dimension
    func made<Element>(_ zero: Element) throws(KingletError) -> [Element] {
        let count = embeddings.count * elementsPerEmbedding(type, dimension)
        var elements = [Element](repeating: zero, count: count)
        try call { failure in
            embeddings.withC { rows in
                withRanges(ranges) { ranges in
                    elements.withUnsafeMutableBytes { bytes in
                        var rows = rows
                        var options = kinglet_quantize_embeddings_options()
                        options.struct_size = MemoryLayout<kinglet_quantize_embeddings_options>.size
                        options.ranges = ranges
                        var codes = kinglet_embedding_codes()
                        codes.struct_size = MemoryLayout<kinglet_embedding_codes>.size
                        codes.kind = type.rawValue
                        codes.data = bytes.baseAddress
                        codes.capacity = count
                        return kinglet_embeddings_quantize(&rows, &options, &codes, failure)
                    }
                }
            }
        }
        return elements
    }
    switch type {
    case .float32: return EmbeddingRows(.float32(try made(0)), dimension: dimension)
    case .float16: return EmbeddingRows(.float16(try made(0)), dimension: dimension)
    case .int8: return EmbeddingRows(.int8(try made(0)), dimension: dimension)
    case .uint8: return EmbeddingRows(.uint8(try made(0)), dimension: dimension)
    case .binary: return EmbeddingRows(.binary(try made(0)), dimension: dimension)
    case .ubinary: return EmbeddingRows(.ubinary(try made(0)), dimension: dimension)
    default: throw .invalid("type: \(type) is not known")
    }
}

/// Options of ``searchEmbeddings(_:in:options:cancellation:)``. What is nil has its default.
public struct SearchOptions: Hashable, Sendable {
    /// Hits per query; all, if the corpus has fewer embeddings. Default: 10.
    public var topK: Int?
    /// What makes embeddings similar. Default: cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
    public var similarity: Similarity
    /// Threads of the call, the caller's included. Default: as many as the process may run at once.
    public var threads: Int?
    /// For queries of float32 over a corpus of int8 or uint8: the ranges that the corpus was made with.
    public var ranges: [Float]?
    /// For queries of float32 over codes: ``topK`` times so many candidates are found by their codes, and rescored with the query's own
    /// values. Default: 2.
    public var rescoreMultiplier: Int?

    public init(
        topK: Int? = nil, similarity: Similarity = .auto, threads: Int? = nil, ranges: [Float]? = nil, rescoreMultiplier: Int? = nil
    ) {
        self.topK = topK
        self.similarity = similarity
        self.threads = threads
        self.ranges = ranges
        self.rescoreMultiplier = rescoreMultiplier
    }
}

/// An embedding of the corpus that was found.
public struct SearchHit: Hashable, Sendable {
    /// Its number in the corpus.
    public let index: Int
    /// Its similarity; with ``Similarity/hamming`` minus the number of bits that differ.
    public let score: Float
}

/// Finds for each query the embeddings of the corpus that are most similar to it, exactly, by comparing it with all of them.
///
/// Both have the same type, or queries are float32 and the corpus of any type. The result has an array for each query: the most similar
/// first, the lower number of equal ones first. It does not depend on the number of threads.
///
/// - Throws: ``Status/invalidArgument`` for types that do not go together and for a score that is NaN, ``Status/outOfMemory``,
///   ``Status/cancelled``.
public func searchEmbeddings(
    _ queries: EmbeddingRows, in corpus: EmbeddingRows, options: SearchOptions = SearchOptions(), cancellation: Cancellation? = nil
) throws(KingletError) -> [[SearchHit]] {
    try queries.check("queries")
    try corpus.check("corpus")
    try checkRanges(options.ranges, corpus.dimension)
    var c = kinglet_search_options()
    c.struct_size = MemoryLayout<kinglet_search_options>.size
    c.top_k = try size(options.topK, "topK")
    c.similarity = options.similarity.rawValue
    guard let threads = UInt32(exactly: try size(options.threads, "threads")) else { throw .invalid("threads: are too many") }
    c.threads = threads
    c.rescore_multiplier = try size(options.rescoreMultiplier, "rescoreMultiplier")
    let perQuery = min(c.top_k == 0 ? 10 : c.top_k, corpus.count)
    let (total, overflow) = queries.count.multipliedReportingOverflow(by: perQuery)
    if overflow { throw .invalid("topK: \(perQuery) hits of \(queries.count) queries cannot be") }
    var indices = [Int64](repeating: 0, count: total)
    var scores = [Float](repeating: 0, count: total)
    try cancellation.use { cancellation throws(KingletError) in
        c.cancellation = cancellation
        try call { failure in
            queries.withC { queries in
                corpus.withC { corpus in
                    withRanges(options.ranges) { ranges in
                        indices.withUnsafeMutableBufferPointer { indices in
                            scores.withUnsafeMutableBufferPointer { scores in
                                c.ranges = ranges
                                var (queries, corpus, buffer) = (queries, corpus, kinglet_search_buffer())
                                buffer.struct_size = MemoryLayout<kinglet_search_buffer>.size
                                buffer.indices = indices.baseAddress
                                buffer.scores = scores.baseAddress
                                buffer.capacity = scores.count
                                return kinglet_embeddings_search(&queries, &corpus, &c, &buffer, failure)
                            }
                        }
                    }
                }
            }
        }
    }
    return (0..<queries.count).map { query in
        (query * perQuery..<(query + 1) * perQuery).map { SearchHit(index: Int(indices[$0]), score: scores[$0]) }
    }
}
