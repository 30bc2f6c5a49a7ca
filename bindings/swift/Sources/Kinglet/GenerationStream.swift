/// The pieces of a generation, as they come.
///
/// Nothing happens before the first piece is asked for, and each loop is a separate call. The model works on the next step while the loop's
/// body runs, and then waits for the body. Leaving the loop, in whatever way, or cancelling its task ends the call within one step; a loop
/// whose task is cancelled throws ``Status/cancelled``. What was generated before an error comes before it.
public struct GenerationStream: AsyncSequence, Sendable {
    public typealias Element = Piece
    public typealias Failure = KingletError

    /// Makes the call, on a thread of its own.
    private let call: @Sendable (Cancellation, @escaping Listener) throws(KingletError) -> Void
    /// Called with the call's cancellation when nobody reads any more.
    private let onLeave: @Sendable (Cancellation) -> Void

    init(
        onLeave: @escaping @Sendable (Cancellation) -> Void = { _ in },
        _ call: @escaping @Sendable (Cancellation, @escaping Listener) throws(KingletError) -> Void
    ) {
        self.call = call
        self.onLeave = onLeave
    }

    public func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    /// Runs the call of one loop. It ends with the iterator.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let stream: GenerationStream
        private var running: Running?

        fileprivate init(stream: GenerationStream) { self.stream = stream }

        public mutating func next() async throws(KingletError) -> Piece? {
            try await next(isolation: nil)
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(KingletError) -> Piece? {
            if running == nil {
                try Library.check()
                running = stream.start()
            }
            return try await running!.next()
        }
    }

    /// A call that runs. It is cancelled when nobody holds this any more; the thread that makes it does not.
    fileprivate final class Running: Sendable {
        private let channel: Channel
        private let cancellation: Cancellation
        private let onLeave: @Sendable (Cancellation) -> Void

        init(channel: Channel, cancellation: Cancellation, onLeave: @escaping @Sendable (Cancellation) -> Void) {
            self.channel = channel
            self.cancellation = cancellation
            self.onLeave = onLeave
        }

        deinit {
            cancellation.cancel()
            channel.leave()
            onLeave(cancellation)
        }

        func next() async throws(KingletError) -> Piece? {
            let result = await withTaskCancellationHandler {
                await withCheckedContinuation { channel.take($0) }
            } onCancel: { [cancellation] in
                cancellation.cancel()
            }
            return try result.get()
        }
    }

    private func start() -> Running {
        let channel = Channel(), cancellation = Cancellation(), call = call
        do throws(KingletError) {
            try Workers.run {
                channel.end(Result { () throws(KingletError) in try call(cancellation) { channel.offer($0) } })
            }
        } catch {
            channel.end(.failure(error))
        }
        return Running(channel: channel, cancellation: cancellation, onLeave: onLeave)
    }
}

/// Hands pieces from the thread that generates to the task that reads. The thread waits until its piece is taken, so that a call has not ended
/// before its last piece is: what a session does at the end, it does for readers that have had everything.
private final class Channel: Sendable {
    typealias Reader = CheckedContinuation<Result<Piece?, KingletError>, Never>

    private struct State: Sendable {
        var piece: Piece?
        var reader: Reader?
        var end: Result<Void, KingletError>?
        var isLeft = false
    }

    private let monitor = Monitor(State())

    /// Hands over a piece. False: the reader has left.
    func offer(_ piece: Piece) -> Bool {
        var isOffered = false
        let (reader, goOn): (Reader?, Bool) = monitor.wait { state in
            if state.isLeft { return (nil, false) }
            if isOffered { return state.piece == nil ? (nil, true) : nil }
            if let reader = state.reader {
                state.reader = nil
                return (reader, true)
            }
            state.piece = piece
            isOffered = true
            return nil
        }
        reader?.resume(returning: .success(piece))
        return goOn
    }

    /// Says that there are no more pieces.
    func end(_ result: Result<Void, KingletError>) {
        let reader = monitor.withLock { state in
            // An error is thrown once.
            state.end = state.reader == nil ? result : .success(())
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: result.map { nil })
    }

    /// Resumes the reader with the next piece, with nil at the end, or with the error.
    func take(_ reader: Reader) {
        let result: Result<Piece?, KingletError>? = monitor.withLock { state in
            if let piece = state.piece {
                state.piece = nil
                return .success(piece)
            }
            if let end = state.end {
                state.end = .success(())
                return end.map { nil }
            }
            state.reader = reader
            return nil
        }
        monitor.wake()
        if let result { reader.resume(returning: result) }
    }

    func leave() {
        monitor.withLock { $0.isLeft = true }
        monitor.wake()
    }
}
