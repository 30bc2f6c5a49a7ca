import CKinglet

/// Options of ``Model/load(path:options:cancellation:)``. What is nil has its default.
public struct ModelOptions: Sendable {
    /// Where the model runs.
    public var device: Device = .cpu
    /// Which of the devices of that kind, counted from 0; ``DeviceList/find(openLibraries:)`` lists them.
    public var deviceIndex = 0
    /// The number format of the weights. Default: that of the files.
    public var precision: Precision = .auto
    /// Threads that one call may use, the calling thread included. Default: all CPUs available to the process.
    public var threads: Int?
    /// The most bytes for weights, tokenizer (estimated), activations of one pass and KV caches. A larger model is refused with
    /// ``Status/outOfMemory`` before anything is allocated; later calls that would exceed it fail with the same error. Default: no limit.
    public var memoryLimit: Int?
    /// Whether the files of weights are mapped. Default: they are. False: they are read into memory and checked once, so that nothing that
    /// happens to them later reaches the process.
    public var mapFiles: Bool?
    /// The longest text, in bytes, that a call on the model tokenizes; a longer one is refused. Default: 256 MB.
    public var maxTextBytes: Int?
    /// Bytes of an LRU cache of finished generations: the same input with the same options is answered from it. Default: no cache.
    public var answerCacheBytes: Int?
    /// The path of ONNX Runtime's shared library, 1.17 or newer, which ONNX models need. A process opens one: a second path is ignored with a
    /// warning. Default: the path in `ORT_DYLIB_PATH`, else the system's library.
    public var onnxRuntime: String?
    /// How concurrent calls share the model. Nil: the library's defaults.
    public var scheduler: SchedulerOptions?
    /// Called during the load with the fraction of the work that is done, from 0 to 1, on the thread that loads: the calling one, or with
    /// `await` one of this package's. If it returns false, the load ends with ``Status/cancelled``. It must not call this package.
    public var progress: (@Sendable (_ fraction: Double) -> Bool)?
    /// Receives the model's log records.
    public var log: Log?

    public init(
        device: Device = .cpu, deviceIndex: Int = 0, precision: Precision = .auto, threads: Int? = nil, memoryLimit: Int? = nil,
        mapFiles: Bool? = nil, maxTextBytes: Int? = nil, answerCacheBytes: Int? = nil, onnxRuntime: String? = nil, scheduler: SchedulerOptions? = nil,
        progress: (@Sendable (_ fraction: Double) -> Bool)? = nil, log: Log? = nil
    ) {
        self.device = device
        self.deviceIndex = deviceIndex
        self.precision = precision
        self.threads = threads
        self.memoryLimit = memoryLimit
        self.mapFiles = mapFiles
        self.maxTextBytes = maxTextBytes
        self.answerCacheBytes = answerCacheBytes
        self.onnxRuntime = onnxRuntime
        self.scheduler = scheduler
        self.progress = progress
        self.log = log
    }
}

/// How concurrent calls share a model. What is nil has its default.
public struct SchedulerOptions: Hashable, Sendable {
    /// The most tokens of a pass, except for a longer text. Default: what suits the device.
    public var maxTokens: Int?
    /// The most sequences of a generation step. Default: 256.
    public var maxSequences: Int?
    /// How long a text that finds an idle model waits for others, at most a second. Default: it does not wait.
    public var maxWait: Duration?
    /// The most calls that may wait for their first pass; one more fails at once with ``Status/busy``. Default: no limit.
    public var queueLength: Int?
    /// The most bytes of input of these calls. Default: no limit.
    public var queueBytes: Int?
    /// The most calls with `await` that run at once, each on a thread of the model's; others wait. Default: 64.
    public var requests: Int?

    public init(
        maxTokens: Int? = nil, maxSequences: Int? = nil, maxWait: Duration? = nil, queueLength: Int? = nil, queueBytes: Int? = nil,
        requests: Int? = nil
    ) {
        self.maxTokens = maxTokens
        self.maxSequences = maxSequences
        self.maxWait = maxWait
        self.queueLength = queueLength
        self.queueBytes = queueBytes
        self.requests = requests
    }

    func c() throws(KingletError) -> kinglet_scheduler_options {
        var c = kinglet_scheduler_options()
        c.struct_size = MemoryLayout<kinglet_scheduler_options>.size
        c.max_tokens = try size32(maxTokens, "scheduler.maxTokens")
        c.max_sequences = try size32(maxSequences, "scheduler.maxSequences")
        c.max_wait_us = try units(maxWait, "scheduler.maxWait", perSecond: 1_000_000)
        c.queue_length = try size32(queueLength, "scheduler.queueLength")
        c.queue_bytes = UInt64(try size(queueBytes, "scheduler.queueBytes"))
        c.requests = try size32(requests, "scheduler.requests")
        return c
    }
}

/// A count of 32 bits; nil is 0, C's default.
func size32(_ value: Int?, _ name: String) throws(KingletError) -> UInt32 {
    guard let count = UInt32(exactly: try size(value, name)) else { throw .invalid("\(name): \(value ?? 0) is too large") }
    return count
}

/// A duration in parts of a second, rounded up, so that a short one is not C's 0 for none. Nil is 0.
func units(_ value: Duration?, _ name: String, perSecond: Int64) throws(KingletError) -> UInt32 {
    guard let value else { return 0 }
    let (seconds, attoseconds) = value.components
    let part = (attoseconds + 1_000_000_000_000_000_000 / perSecond - 1) / (1_000_000_000_000_000_000 / perSecond)
    guard value > .zero, seconds < 4_000_000, let units = UInt32(exactly: seconds * perSecond + part) else {
        throw .invalid("\(name): \(value) is not above 0 or is too long")
    }
    return units
}

/// Where log records go.
public struct Log: Sendable {
    /// The least severe level that is passed on.
    public var level: LogLevel
    /// Called during calls on the model, on any thread that is inside one, and possibly on several at once. It must not call this package. A
    /// handler that refers to the model keeps it from being freed.
    public var handler: @Sendable (_ record: LogRecord) -> Void

    public init(level: LogLevel = .info, handler: @escaping @Sendable (_ record: LogRecord) -> Void) {
        self.level = level
        self.handler = handler
    }
}

/// A line for the log.
public struct LogRecord: Hashable, Sendable {
    /// How severe it is.
    public let level: LogLevel
    /// The message, without a line break at the end.
    public let message: String
}

/// A closure as user data of C.
final class Box<Closure: Sendable>: Sendable {
    let closure: Closure

    init(_ closure: Closure) { self.closure = closure }

    /// The pointer for C, which the box outlives if somebody holds it.
    var pointer: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    static func at(_ pointer: UnsafeMutableRawPointer?) -> Box {
        Unmanaged<Box>.fromOpaque(pointer!).takeUnretainedValue()
    }
}

typealias ProgressBox = Box<@Sendable (Double) -> Bool>
typealias LogBox = Box<@Sendable (LogRecord) -> Void>

let onProgress: kinglet_progress_callback = { user, progress in
    ProgressBox.at(user).closure(progress!.pointee.fraction) ? 1 : 0
}

extension ModelOptions {
    /// C's options, for the length of a call that is given them.
    func use<Result>(
        cancellation: OpaquePointer?, _ body: (UnsafePointer<kinglet_model_options>) throws(KingletError) -> Result
    ) throws(KingletError) -> Result {
        var options = kinglet_model_options()
        options.struct_size = MemoryLayout<kinglet_model_options>.size
        guard let index = UInt32(exactly: deviceIndex) else {
            throw .invalid("deviceIndex: \(deviceIndex) is not an index of a device; they are counted from 0")
        }
        options.device = device.rawValue
        options.device_index = index
        options.precision = precision.rawValue
        options.threads = try size(threads, "threads")
        options.memory_limit = UInt64(try size(memoryLimit, "memoryLimit"))
        options.map_files = kinglet_tristate(mapFiles)
        options.max_text_bytes = UInt64(try size(maxTextBytes, "maxTextBytes"))
        options.answer_cache_bytes = UInt64(try size(answerCacheBytes, "answerCacheBytes"))
        options.cancellation = cancellation
        let progressBox = progress.map { ProgressBox($0) }
        defer { withExtendedLifetime(progressBox) {} }
        if let progressBox {
            options.progress = onProgress
            options.progress_user_data = progressBox.pointer
        }
        if let log {
            options.log_level = log.level.rawValue
            options.log = { user, record in
                let record = record!.pointee
                LogBox.at(user).closure(LogRecord(level: LogLevel(rawValue: record.level), message: String(record.message)))
            }
            // The model keeps the box until it is freed, or until the load has failed.
            options.log_user_data = Unmanaged.passRetained(LogBox(log.handler)).toOpaque()
            options.log_release = { user in Unmanaged<LogBox>.fromOpaque(user!).release() }
        }
        let sharing = UnsafeMutablePointer<kinglet_scheduler_options>.allocate(capacity: 1)
        defer { sharing.deallocate() }
        if let scheduler {
            sharing.initialize(to: try scheduler.c())
            options.scheduler = UnsafePointer(sharing)
        }
        return try withTexts([onnxRuntime ?? ""]) { path throws(KingletError) in
            options.onnxruntime = path!.pointee
            return try body(&options)
        }
    }
}
