import CKinglet

/// Stops calls from another thread. It starts unset and, once set, stays set; it may be given to many calls.
///
/// Only the variants of calls that block take one: those with `await` are cancelled with their task.
public final class Cancellation: Sendable {
    private struct State: Sendable {
        var isCancelled = false
        var observers: [Int: @Sendable () -> Void] = [:]
        var next = 0
    }

    private let handle: Handle
    private let state = Monitor(State())

    public init() {
        handle = Handle(kinglet_cancellation_new(), free: kinglet_cancellation_free)
    }

    /// Calls that were given this, now and later, end soon with ``Status/cancelled``. May be called at any time, also from a callback.
    public func cancel() {
        handle.use { kinglet_cancellation_cancel($0) }
        let observers = state.withLock { state in
            state.isCancelled = true
            return state.observers.values.map { $0 }
        }
        for observer in observers { observer() }
    }

    /// Whether it was set.
    public var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Calls the observer when this is set, possibly twice, until it is forgotten.
    func observe(_ observer: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            state.next += 1
            state.observers[state.next] = observer
            return state.next
        }
    }

    func forget(_ number: Int) { state.withLock { $0.observers[number] = nil } }
}

extension Cancellation? {
    /// C's cancellation for the length of a call, which does not begin if it is set already.
    func use<Result>(_ body: (OpaquePointer?) throws(KingletError) -> Result) throws(KingletError) -> Result {
        try Library.check()
        guard let self else { return try body(nil) }
        return try self.use(body)
    }
}

extension Cancellation {
    fileprivate func use<Result>(_ body: (OpaquePointer?) throws(KingletError) -> Result) throws(KingletError) -> Result {
        if isCancelled { throw KingletError(status: .cancelled, message: "the call was cancelled before it began") }
        return try handle.use { pointer throws(KingletError) in try body(pointer) }
    }
}
