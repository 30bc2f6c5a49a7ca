import CKinglet

/// What the batches of a program are made of.
public struct Workload: Hashable, Sendable {
    /// The mean number of tokens per input, special tokens included; at least 1.
    public var inputTokens: Double
    /// The standard deviation of the tokens per input.
    public var inputSpread: Double
    /// Tokens to generate per input. 0: the inputs are embedded or classified.
    public var outputTokens: Int
    /// Beams per input.
    public var beams: Int

    public init(inputTokens: Double, inputSpread: Double = 0, outputTokens: Int = 0, beams: Int = 1) {
        self.inputTokens = inputTokens
        self.inputSpread = inputSpread
        self.outputTokens = outputTokens
        self.beams = beams
    }
}

/// Options of ``Model/suggestBatchSize(_:options:cancellation:)``.
public struct SuggestBatchSizeOptions: Hashable, Sendable {
    /// What the size is chosen for.
    public var goal: BatchGoal
    /// With ``BatchGoal/latency`` the longest time that a batch may take.
    public var latency: Duration?
    /// With ``BatchGoal/memory`` the most bytes that the model may take, its weights included.
    public var memoryBytes: Int?
    /// Measures nothing: costs are assumed from the size of the weights, or read from the file.
    public var skipCalibration: Bool
    /// The path of a file that keeps the times that were measured. It is read if it is of the same model, device, precision, kernels and
    /// threads; else it is written. Default: none.
    public var calibrationFile: String?
    /// The longest time that a calibration takes, apart from the run that is in progress then. Default: four seconds.
    public var calibrationTime: Duration?

    public init(
        goal: BatchGoal = .throughput, latency: Duration? = nil, memoryBytes: Int? = nil, skipCalibration: Bool = false,
        calibrationFile: String? = nil, calibrationTime: Duration? = nil
    ) {
        self.goal = goal
        self.latency = latency
        self.memoryBytes = memoryBytes
        self.skipCalibration = skipCalibration
        self.calibrationFile = calibrationFile
        self.calibrationTime = calibrationTime
    }
}

/// A batch size, and what to expect of it.
public struct BatchSuggestion: Hashable, Sendable {
    /// The number of texts per call.
    public let batchSize: Int
    /// The expected time of one batch.
    public let batchTime: Duration
    /// The expected throughput.
    public let textsPerSecond: Double
    /// Of input tokens, or of generated ones if the workload generates.
    public let tokensPerSecond: Double
    /// Bytes of weights, KV caches, activations and results.
    public let bytes: Int
    /// Whether the goal's bound is kept. If no size keeps it, `batchSize` is 1.
    public let isWithinBound: Bool
    /// How the size was found, in words.
    public let explanation: String
}

extension Model {
    /// Suggests how many texts to give to one call, for this model, machine and workload.
    ///
    /// The first question runs the model, for some seconds at most. Let nothing else run meanwhile, or keep the times in
    /// ``SuggestBatchSizeOptions/calibrationFile``.
    ///
    /// - Throws: ``Status/invalidArgument`` for a workload or bound that makes no sense, ``Status/unsupported`` if the workload generates and
    ///   the model does not, ``Status/io`` or ``Status/invalidFile`` (the message names the file), ``Status/outOfMemory``, ``Status/cancelled``.
    public func suggestBatchSize(
        _ workload: Workload, options: SuggestBatchSizeOptions = SuggestBatchSizeOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> BatchSuggestion {
        var w = kinglet_workload()
        w.struct_size = MemoryLayout<kinglet_workload>.size
        w.input_tokens = workload.inputTokens
        w.input_spread = workload.inputSpread
        w.output_tokens = try size(workload.outputTokens, "outputTokens")
        w.beams = try size(workload.beams, "beams")
        var c = kinglet_suggest_batch_size_options()
        c.struct_size = MemoryLayout<kinglet_suggest_batch_size_options>.size
        c.goal = options.goal.rawValue
        if let latency = options.latency { c.latency_ms = latency / .milliseconds(1) }
        c.memory_bytes = UInt64(try size(options.memoryBytes, "memoryBytes"))
        c.skip_calibration = options.skipCalibration ? 1 : 0
        c.calibration_ms = try units(options.calibrationTime, "calibrationTime", perSecond: 1000)
        let made = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try withTexts([options.calibrationFile ?? ""]) { file throws(KingletError) in
                c.calibration_file = file!.pointee
                return try handle.use { model throws(KingletError) in
                    try Handle.make(free: kinglet_batch_suggestion_free) { suggestion, failure in
                        kinglet_model_suggest_batch_size(model, &w, &c, suggestion, failure)
                    }
                }
            }
        }
        var view = kinglet_batch_suggestion_view()
        view.struct_size = MemoryLayout<kinglet_batch_suggestion_view>.size
        view = try made.read(view, kinglet_batch_suggestion_read)
        // The explanation is the handle's.
        return made.use { _ in
            BatchSuggestion(
                batchSize: view.batch_size, batchTime: .seconds(min(view.batch_ms / 1000, 1e9)), textsPerSecond: view.texts_per_second,
                tokensPerSecond: view.tokens_per_second, bytes: Int(clamping: view.bytes), isWithinBound: view.within_bound != 0,
                explanation: String(view.explanation))
        }
    }

    /// Suggests how many texts to give to one call; ``suggestBatchSize(_:options:cancellation:)`` has the details.
    public func suggestBatchSize(
        _ workload: Workload, options: SuggestBatchSizeOptions = SuggestBatchSizeOptions()
    ) async throws(KingletError) -> BatchSuggestion {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try suggestBatchSize(workload, options: options, cancellation: cancellation)
        }
    }
}
