import CKinglet

/// Where a model's time went since it was loaded or its counters were reset.
public struct Counters: Hashable, Sendable {
    /// The durations of whole calls that succeeded.
    public let latency: Latency
    /// The stages of the work; stages that nothing entered have zeros.
    public let stages: [Stage: StageTotals]

    /// The totals of one stage; zeros for a stage that this version does not know.
    public subscript(stage: Stage) -> StageTotals { stages[stage] ?? StageTotals() }
}

/// The totals of one stage of the work. Calls that run at the same time add their times.
public struct StageTotals: Hashable, Sendable {
    /// How often the stage was entered.
    public var calls = 0
    /// Texts or sequences that were processed; for ``Stage/load`` files, for ``Stage/transfer`` bytes.
    public var items = 0
    /// Tokens that were processed.
    public var tokens = 0
    /// Time in the stage.
    public var time = Duration.zero

    public init(calls: Int = 0, items: Int = 0, tokens: Int = 0, time: Duration = .zero) {
        self.calls = calls
        self.items = items
        self.tokens = tokens
        self.time = time
    }
}

/// The distribution of the durations of whole calls, each within 0.1 %. All zero before the first call.
public struct Latency: Hashable, Sendable {
    /// Calls that succeeded.
    public let count: Int
    /// The shortest call.
    public let min: Duration
    /// The longest call.
    public let max: Duration
    /// The median.
    public let p50: Duration
    /// The 90th percentile.
    public let p90: Duration
    /// The 95th percentile.
    public let p95: Duration
    /// The 99th percentile.
    public let p99: Duration
    /// The mean.
    public let mean: Duration
    /// The standard deviation.
    public let standardDeviation: Duration

    init(_ c: kinglet_latency) {
        count = Int(c.count)
        min = .nanoseconds(Int64(c.min))
        max = .nanoseconds(Int64(c.max))
        p50 = .nanoseconds(Int64(c.p50))
        p90 = .nanoseconds(Int64(c.p90))
        p95 = .nanoseconds(Int64(c.p95))
        p99 = .nanoseconds(Int64(c.p99))
        mean = .nanoseconds(Int64(c.mean))
        standardDeviation = .nanoseconds(Int64(c.standard_deviation))
    }
}

extension Model {
    /// Reads the counters. Calls that run at the same time may be in some figures and not in others.
    public func counters() throws(KingletError) -> Counters {
        var latency = kinglet_latency()
        latency.struct_size = MemoryLayout<kinglet_latency>.size
        latency = try handle.read(latency, kinglet_model_latency)
        var stages: [Stage: StageTotals] = [:]
        var totals = kinglet_stage_totals()
        totals.struct_size = MemoryLayout<kinglet_stage_totals>.size
        for stage in Stage.allCases {
            totals = try handle.read(totals) { kinglet_model_stage($0, stage.rawValue, $1, $2) }
            stages[stage] = StageTotals(
                calls: Int(totals.calls), items: Int(totals.items), tokens: Int(totals.tokens), time: .nanoseconds(Int64(totals.nanoseconds)))
        }
        return Counters(latency: Latency(latency), stages: stages)
    }

    /// Sets all counters to zero.
    public func resetCounters() { handle.use { kinglet_model_reset_counters($0) } }

    /// Writes all counters as text.
    public func exportCounters(_ format: CountersFormat) throws(KingletError) -> String {
        try handle.use { model throws(KingletError) in
            try String.make { text, failure in kinglet_model_export_counters(model, format.rawValue, text, failure) }
        }
    }
}
