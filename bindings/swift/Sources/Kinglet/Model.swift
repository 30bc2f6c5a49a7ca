import CKinglet

/// A loaded model. Any thread or task; calls on one model share its threads.
///
/// It is freed with its last reference. Results are independent of it; sessions and prefixes keep it alive.
public final class Model: Sendable {
    let handle: Handle

    /// Loads a model: a Hugging Face directory, a GGUF file, a `.kinglet` file or an ONNX export. Blocks until it is ready.
    ///
    /// - Throws: `KingletError` with `notFound`, `io` or `invalidFile` (the message names the file), `unsupported` for what this build,
    ///   machine or version cannot run, `outOfMemory` beyond `memoryLimit`, or `cancelled` by `progress`.
    public init(path: String, options: ModelOptions = ModelOptions()) throws(KingletError) {
        handle = try Model.load(path, options, nil)
    }

    private init(handle: Handle) { self.handle = handle }

    /// Loads a model away from Swift's cooperative threads. Cancelling the task cancels the load.
    public static func load(path: String, options: ModelOptions = ModelOptions()) async throws(KingletError) -> Model {
        try await offload { (cancellation) throws(KingletError) in
            Model(handle: try load(path, options, cancellation))
        }
    }

    private static func load(_ path: String, _ options: ModelOptions, _ cancellation: Cancellation?) throws(KingletError) -> Handle {
        try checkLibrary()
        let arguments = Arguments()
        var c = try options.c(arguments)
        c.cancellation = cancellation?.pointer
        let progress = options.progress.map(ProgressListener.init)
        if let progress {
            c.progress = ProgressListener.callback
            c.progress_user_data = Unmanaged.passUnretained(progress).toOpaque()
        }
        if let log = options.log {
            // Released by `log_release`, which the library calls exactly once.
            c.log_user_data = Unmanaged.passRetained(LogListener(log)).toOpaque()
            c.log = LogListener.callback
            c.log_release = LogListener.release
        }
        let name = arguments.text(path)
        defer { withExtendedLifetime(progress) {} }
        return try lending(c, arguments) { (c) throws(KingletError) in
            try make(free: { kinglet_model_free($0) }) { kinglet_model_load(name, c, $0, $1) }
        }
    }

    /// What the model is and how it runs.
    public var properties: Properties {
        var view = kinglet_model_view()
        view.struct_size = MemoryLayout<kinglet_model_view>.size
        return handle.use { model in
            // A live handle and a struct of its size: it cannot fail.
            _ = kinglet_model_read(model, &view, nil)
            return Properties(view)
        }
    }

    /// The model as JSON for people and logs: sizes, kernels, limits, special tokens.
    public func describe() throws(KingletError) -> String {
        try handle.use { (model) throws(KingletError) in try text { kinglet_model_describe(model, $0, $1) } }
    }

    /// Packs a model once: writes `source` to `destination` as one `.kinglet` file, which loads without conversion. Blocks.
    ///
    /// - Parameter progress: receives the fraction that is done; false cancels.
    public static func quantize(
        _ source: String, to destination: String, precision: Precision, progress: (@Sendable (Double) -> Bool)? = nil
    ) throws(KingletError) {
        try quantize(source, destination, precision, progress, nil)
    }

    /// Packs a model once, away from Swift's cooperative threads. Cancelling the task cancels the call and leaves no file.
    public static func quantize(
        _ source: String, to destination: String, precision: Precision, progress: (@Sendable (Double) -> Bool)? = nil
    ) async throws(KingletError) {
        try await offload { (cancellation) throws(KingletError) in
            try quantize(source, destination, precision, progress, cancellation)
        }
    }

    private static func quantize(
        _ source: String, _ destination: String, _ precision: Precision, _ progress: (@Sendable (Double) -> Bool)?,
        _ cancellation: Cancellation?
    ) throws(KingletError) {
        try checkLibrary()
        let arguments = Arguments()
        var c = kinglet_quantize_options()
        c.struct_size = MemoryLayout<kinglet_quantize_options>.size
        c.cancellation = cancellation?.pointer
        let listener = progress.map(ProgressListener.init)
        if let listener {
            c.progress = ProgressListener.callback
            c.progress_user_data = Unmanaged.passUnretained(listener).toOpaque()
        }
        let (from, to) = (arguments.text(source), arguments.text(destination))
        defer { withExtendedLifetime(listener) {} }
        try lending(c, arguments) { (c) throws(KingletError) in
            try check { kinglet_model_quantize(from, to, precision.rawValue, c, $0) }
        }
    }
}

/// Options of loading a model.
public struct ModelOptions: Sendable {
    /// Where the model runs.
    public var device: Device = .cpu
    /// Which of the devices of that kind; `Devices` lists them.
    public var deviceIndex = 0
    /// The number format of weights and matrix products.
    public var precision: Precision = .auto
    /// Threads that one call may use, the calling thread included. 0: as many as the process may use.
    public var threads = 0
    /// Bytes that the model may use for weights, tokenizer, the working memory of one pass and the KV cache. 0: no limit.
    public var memoryLimit: UInt64 = 0
    /// Bytes of an LRU cache of finished generations: the same input with the same options is answered from it. 0: none.
    public var answerCacheBytes: UInt64 = 0
    /// The path of ONNX Runtime's library, for ONNX models. Empty: `ORT_DYLIB_PATH`, else the system's.
    public var onnxRuntime = ""
    /// Receives the fraction of the load that is done, on the thread that loads; false cancels. It must not call Kinglet.
    public var progress: (@Sendable (Double) -> Bool)?
    /// The least severe level that `log` receives.
    public var logLevel: LogLevel = .default
    /// Receives log records, on the threads of calls, until the model is freed. It must not call Kinglet.
    public var log: (@Sendable (LogLevel, String) -> Void)?

    public init(
        device: Device = .cpu, deviceIndex: Int = 0, precision: Precision = .auto, threads: Int = 0, memoryLimit: UInt64 = 0,
        answerCacheBytes: UInt64 = 0, onnxRuntime: String = "", progress: (@Sendable (Double) -> Bool)? = nil,
        logLevel: LogLevel = .default, log: (@Sendable (LogLevel, String) -> Void)? = nil
    ) {
        self.device = device
        self.deviceIndex = deviceIndex
        self.precision = precision
        self.threads = threads
        self.memoryLimit = memoryLimit
        self.answerCacheBytes = answerCacheBytes
        self.onnxRuntime = onnxRuntime
        self.progress = progress
        self.logLevel = logLevel
        self.log = log
    }

    func c(_ arguments: Arguments) throws(KingletError) -> kinglet_model_options {
        var c = kinglet_model_options()
        c.struct_size = MemoryLayout<kinglet_model_options>.size
        c.device = device.rawValue
        guard let index = UInt32(exactly: deviceIndex) else { throw .invalid("deviceIndex: \(deviceIndex) is out of range") }
        c.device_index = index
        c.precision = precision.rawValue
        c.log_level = logLevel.rawValue
        c.threads = try size(threads, "threads")
        c.memory_limit = memoryLimit
        c.answer_cache_bytes = answerCacheBytes
        if !onnxRuntime.isEmpty { c.onnxruntime = arguments.text(onnxRuntime) }
        return c
    }
}

/// What a model is and how it runs.
public struct Properties: Sendable, Hashable {
    /// The path that the model was loaded from.
    public let path: String
    /// The `model_type` of config.json.
    public let family: String
    /// The device that it runs on, and which of its kind.
    public let device: Device
    public let deviceIndex: Int
    /// The precision in use; never `auto`.
    public let precision: Precision
    /// Whether it generates text.
    public let canGenerate: Bool
    /// Whether it can hold a chat: it is a decoder and has a chat template.
    public let canChat: Bool
    /// Whether it has an encoder.
    public let hasEncoder: Bool
    /// Threads that one call may use.
    public let threads: Int
    /// Values per hidden state and per embedding.
    public let dimension: Int
    /// The most tokens that a text may have, special tokens included; longer texts are cut.
    public let maxLength: Int
    /// Token ids are below this number.
    public let vocabularySize: Int
    /// The labels of the classification head; empty without one.
    public let labels: [String]
    /// Bytes of the weights, of the KV caches, and on a GPU now.
    public let weightBytes: UInt64
    public let cacheBytes: UInt64
    public let deviceBytes: UInt64

    init(_ view: kinglet_model_view) {
        path = string(view.path)
        family = string(view.family)
        device = Device(rawValue: view.device) ?? .cpu
        deviceIndex = Int(view.device_index)
        precision = Precision(rawValue: view.precision) ?? .auto
        canGenerate = view.can_generate != 0
        canChat = view.can_chat != 0
        hasEncoder = view.has_encoder != 0
        threads = view.threads
        dimension = view.dimension
        maxLength = view.max_length
        vocabularySize = view.vocabulary_size
        labels = array(view.labels, view.label_count).map { string($0) }
        weightBytes = view.weight_bytes
        cacheBytes = view.cache_bytes
        deviceBytes = view.device_bytes
    }
}

final class ProgressListener: Sendable {
    let listener: @Sendable (Double) -> Bool

    init(_ listener: @escaping @Sendable (Double) -> Bool) { self.listener = listener }

    static let callback: kinglet_progress_callback = { userData, progress in
        guard let userData, let progress else { return 1 }
        return Unmanaged<ProgressListener>.fromOpaque(userData).takeUnretainedValue().listener(progress.pointee.fraction) ? 1 : 0
    }
}

final class LogListener: Sendable {
    let listener: @Sendable (LogLevel, String) -> Void

    init(_ listener: @escaping @Sendable (LogLevel, String) -> Void) { self.listener = listener }

    static let callback: kinglet_log_callback = { userData, record in
        guard let userData, let record else { return }
        let level = LogLevel(rawValue: record.pointee.level) ?? .info
        Unmanaged<LogListener>.fromOpaque(userData).takeUnretainedValue().listener(level, string(record.pointee.message))
    }

    static let release: kinglet_release_callback = { userData in
        if let userData { Unmanaged<LogListener>.fromOpaque(userData).release() }
    }
}
