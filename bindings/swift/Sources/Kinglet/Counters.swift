import CKinglet

extension Model {
    /// What one stage of the work has taken so far.
    public func totals(_ stage: Stage) throws(KingletError) -> StageTotals {
        var c = kinglet_stage_totals()
        c.struct_size = MemoryLayout<kinglet_stage_totals>.size
        try handle.use { (model) throws(KingletError) in try check { kinglet_model_stage(model, stage.rawValue, &c, $0) } }
        return StageTotals(calls: c.calls, items: c.items, tokens: c.tokens, nanoseconds: c.nanoseconds)
    }

    /// How long calls took, in nanoseconds.
    public func latency() throws(KingletError) -> Latency {
        var c = kinglet_latency()
        c.struct_size = MemoryLayout<kinglet_latency>.size
        try handle.use { (model) throws(KingletError) in try check { kinglet_model_latency(model, &c, $0) } }
        return Latency(
            count: c.count, min: c.min, max: c.max, p50: c.p50, p90: c.p90, p95: c.p95, p99: c.p99, mean: c.mean,
            standardDeviation: c.standard_deviation)
    }

    /// All counters as text, for instance for Prometheus.
    public func exportCounters(_ format: CountersFormat) throws(KingletError) -> String {
        try handle.use { (model) throws(KingletError) in
            try text { kinglet_model_export_counters(model, format.rawValue, $0, $1) }
        }
    }

    /// Sets all counters to zero.
    public func resetCounters() { handle.use { kinglet_model_reset_counters($0) } }
}

/// What a stage has taken.
public struct StageTotals: Sendable, Hashable {
    /// How often the stage was entered.
    public let calls: UInt64
    /// Texts or sequences that were processed.
    public let items: UInt64
    /// Tokens that were processed.
    public let tokens: UInt64
    /// Time in the stage.
    public let nanoseconds: UInt64
}

/// How long calls took, in nanoseconds.
public struct Latency: Sendable, Hashable {
    /// The number of calls.
    public let count: UInt64
    public let min, max, p50, p90, p95, p99: UInt64
    public let mean, standardDeviation: Double
}
