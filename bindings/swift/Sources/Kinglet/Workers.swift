#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Threads for calls that block. Swift's cooperative pool has one thread per core and must not be blocked; Dispatch limits its threads, so
/// that streams which wait for their readers could keep the calls out that those readers wait for. Here each call has a thread of its own,
/// which is kept for later ones.
enum Workers {
    typealias Job = @Sendable () -> Void

    private struct State: Sendable {
        var jobs: [(number: Int, job: Job)] = []
        var last = 0
        /// Threads that wait for a job.
        var idle = 0
    }

    /// As many idle threads stay; others end.
    private static let kept = 8
    /// Bytes of stack, as a main thread has; Darwin gives other threads 512 KiB. Untouched pages take no memory.
    private static let stack = 8 << 20
    private static let monitor = Monitor(State())

    /// Runs a job on a thread of its own.
    static func run(_ job: @escaping Job) throws(KingletError) {
        let (number, missing) = monitor.withLock { state in
            state.last += 1
            state.jobs.append((state.last, job))
            return (state.last, state.jobs.count > state.idle)
        }
        monitor.wakeOne()
        if !missing || startThread() { return }
        // Unless another thread has taken it meanwhile.
        let isWaiting = monitor.withLock { state in
            let index = state.jobs.firstIndex { $0.number == number }
            if let index { state.jobs.remove(at: index) }
            return index != nil
        }
        if isWaiting {
            throw KingletError(status: .outOfMemory, message: "the system has no thread left for the call; make fewer at the same time")
        }
    }

    private static func startThread() -> Bool {
        var attributes = pthread_attr_t()
        guard pthread_attr_init(&attributes) == 0 else { return false }
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stack)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        #if canImport(Darwin)
        var thread: pthread_t?
        #else
        var thread = pthread_t()
        #endif
        return pthread_create(&thread, &attributes, { _ in Workers.work() }, nil) == 0
    }

    private static func work() -> UnsafeMutableRawPointer? {
        var idle = false
        while let job = monitor.wait({ state -> Job?? in
            if !idle {
                idle = true
                state.idle += 1
            }
            if !state.jobs.isEmpty {
                idle = false
                state.idle -= 1
                return .some(state.jobs.removeFirst().job)
            }
            if state.idle > kept {
                state.idle -= 1
                return .some(nil)
            }
            return nil
        }) {
            job()
        }
        return nil
    }
}

/// Runs a call that blocks on a thread of its own. Cancelling the task sets the call's cancellation.
func offCooperativePool<Success: Sendable>(
    _ body: @escaping @Sendable (Cancellation) throws(KingletError) -> Success
) async throws(KingletError) -> Success {
    try Library.check()
    let cancellation = Cancellation()
    let result: Result<Success, KingletError> = await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
            do throws(KingletError) {
                try Workers.run { continuation.resume(returning: Result { () throws(KingletError) in try body(cancellation) }) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
    } onCancel: {
        cancellation.cancel()
    }
    return try result.get()
}
