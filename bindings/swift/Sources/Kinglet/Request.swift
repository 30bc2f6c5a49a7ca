import CKinglet

/// A call of C's that runs in the background, on one of a bounded number of threads of the model's
/// (``SchedulerOptions/requests``). While it waits and runs it needs no thread of this package.
private final class Completion: Sendable {
    private struct State: Sendable {
        var isDone = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Monitor(State())

    /// Called once, on a thread of the library's.
    func complete() {
        let waiting = state.withLock { state in
            state.isDone = true
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    /// Returns when it is complete. Awaited once.
    func wait() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if !state.isDone { state.waiting = continuation }
                return state.isDone
            }
            if isDone { continuation.resume() }
        }
    }
}

/// The function that tells C's callers of completion, and its data.
typealias Done = (kinglet_request_callback, UnsafeMutableRawPointer)

/// Makes a call as a request, and waits for its result without a thread. Cancelling the task cancels the request.
///
/// - Parameters:
///   - submit: Makes C's call. What it lends is copied by C.
///   - free: Frees the result.
///   - take: C's function that takes the result of that kind.
func requested(
    _ submit: (Done, UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>) throws(KingletError) -> kinglet_status,
    free: @escaping @convention(c) (OpaquePointer?) -> Void,
    take: (OpaquePointer?, UnsafeMutablePointer<OpaquePointer?>?, UnsafeMutablePointer<OpaquePointer?>?) -> kinglet_status
) async throws(KingletError) -> Handle {
    try Library.check()
    if Task.isCancelled { throw KingletError(status: .cancelled, message: "the call was cancelled before it began") }
    let completion = Completion(), retained = Unmanaged.passRetained(completion)
    let request: Handle
    do throws(KingletError) {
        var made: OpaquePointer?, failure: OpaquePointer?
        let status = try submit(({ Unmanaged<Completion>.fromOpaque($0!).takeRetainedValue().complete() }, retained.toOpaque()), &made, &failure)
        try call { place in
            place.pointee = failure
            return status
        }
        guard let made else { throw KingletError(status: .internal, message: "a call succeeded and made nothing") }
        request = Handle(made, free: kinglet_request_free)
    } catch {
        // C calls back only for requests that it has made.
        retained.release()
        throw error
    }
    await withTaskCancellationHandler {
        await completion.wait()
    } onCancel: {
        request.use { kinglet_request_cancel($0) }
    }
    return try request.use { pointer throws(KingletError) in
        try Handle.make(free: free) { result, failure in take(pointer, result, failure) }
    }
}
