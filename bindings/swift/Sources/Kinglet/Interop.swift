import CKinglet
import Dispatch

/// A handle of the C interface, freed with its last reference.
///
/// `@unchecked Sendable`: the C interface promises that every function may be called from any thread, also at the same time with the same
/// handle, except for the `_free` functions, which only `deinit` calls.
final class Handle: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let free: @Sendable (OpaquePointer) -> Void

    init(_ pointer: OpaquePointer, free: @escaping @Sendable (OpaquePointer) -> Void) {
        self.pointer = pointer
        self.free = free
    }

    deinit { free(pointer) }

    /// Lends the pointer to `body`; the handle lives until it returns.
    func use<R, E: Error>(_ body: (OpaquePointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(pointer)
    }
}

/// A cancellation of the C interface.
///
/// `@unchecked Sendable`: cancelling from any thread is what it is for.
final class Cancellation: @unchecked Sendable {
    let pointer: OpaquePointer = kinglet_cancellation_new()

    func cancel() { kinglet_cancellation_cancel(pointer) }

    deinit { kinglet_cancellation_free(pointer) }
}

typealias ErrorPlace = UnsafeMutablePointer<OpaquePointer?>

/// Makes a C call, and throws what it reports.
func check(_ call: (ErrorPlace) -> kinglet_status) throws(KingletError) {
    var failure: OpaquePointer?
    let status = call(&failure)
    guard status != 0 else { return }
    defer { kinglet_error_free(failure) }
    throw KingletError(
        status: Status(rawValue: status) ?? .internal, message: String(cString: kinglet_error_message(failure)))
}

/// Makes a C call that writes a handle.
func make(
    free: @escaping @Sendable (OpaquePointer) -> Void,
    _ call: (UnsafeMutablePointer<OpaquePointer?>, ErrorPlace) -> kinglet_status
) throws(KingletError) -> Handle {
    var made: OpaquePointer?
    try check { failure in call(&made, failure) }
    guard let made else { throw KingletError(status: .internal, message: "the library returned no handle") }
    return Handle(made, free: free)
}

/// Reads a text that the library makes.
func text(_ call: (UnsafeMutablePointer<OpaquePointer?>, ErrorPlace) -> kinglet_status) throws(KingletError) -> String {
    let text = try make(free: { kinglet_text_free($0) }, call)
    return text.use { string(kinglet_text_str($0)) }
}

func string(_ text: kinglet_str) -> String {
    guard let data = text.data, text.size > 0 else { return "" }
    return data.withMemoryRebound(to: UInt8.self, capacity: text.size) { bytes in
        String(decoding: UnsafeBufferPointer(start: bytes, count: text.size), as: UTF8.self)
    }
}

/// Copies `count` values of C memory.
func array<T>(_ values: UnsafePointer<T>?, _ count: Int) -> [T] {
    Array(UnsafeBufferPointer(start: values, count: values == nil ? 0 : count))
}

/// Copies `count` values that are 0 or 1.
func flags(_ values: UnsafePointer<UInt8>?, _ count: Int) -> [Bool] { array(values, count).map { $0 != 0 } }

/// `name`'s value as C has it; sizes must not be negative.
func size(_ value: Int?, _ name: String) throws(KingletError) -> Int {
    guard let value else { return 0 }
    guard value >= 0 else { throw .invalid("\(name): \(value) is negative") }
    return value
}

/// C memory for the arguments of one call.
final class Arguments {
    private var blocks: [UnsafeMutableRawPointer] = []

    deinit { blocks.forEach { $0.deallocate() } }

    private func allocate<T>(_ type: T.Type, _ count: Int) -> UnsafeMutablePointer<T> {
        let block = UnsafeMutableRawPointer.allocate(byteCount: count * MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment)
        blocks.append(block)
        return block.bindMemory(to: type, capacity: count)
    }

    /// All texts in one block; nil for no texts.
    func texts(_ texts: [String]) -> UnsafePointer<kinglet_str>? {
        if texts.isEmpty { return nil }
        let strings = allocate(kinglet_str.self, texts.count)
        let space = allocate(CChar.self, max(1, texts.reduce(0) { $0 + $1.utf8.count }))
        var at = 0
        for (i, text) in texts.enumerated() {
            let start = at
            for byte in text.utf8 {
                (space + at).initialize(to: CChar(bitPattern: byte))
                at += 1
            }
            (strings + i).initialize(to: kinglet_str(data: UnsafePointer(space + start), size: at - start))
        }
        return UnsafePointer(strings)
    }

    func text(_ text: String) -> kinglet_str { texts([text])!.pointee }

    func ids(_ ids: [UInt32]) -> kinglet_ids {
        if ids.isEmpty { return kinglet_ids(data: nil, count: 0) }
        let space = allocate(UInt32.self, ids.count)
        space.initialize(from: ids, count: ids.count)
        return kinglet_ids(data: UnsafePointer(space), count: ids.count)
    }

    func lists(_ lists: [[UInt32]]) -> UnsafePointer<kinglet_ids>? {
        if lists.isEmpty { return nil }
        let all = allocate(kinglet_ids.self, lists.count)
        for (i, list) in lists.enumerated() { (all + i).initialize(to: ids(list)) }
        return UnsafePointer(all)
    }
}

/// Gives `body` a pointer to `value` and keeps `arguments` until it returns.
func lending<T, R, E: Error>(_ value: T, _ arguments: Arguments, _ body: (UnsafePointer<T>) throws(E) -> R) throws(E) -> R {
    defer { withExtendedLifetime(arguments) {} }
    let place = UnsafeMutablePointer<T>.allocate(capacity: 1)
    place.initialize(to: value)
    defer { place.deallocate() }
    return try body(UnsafePointer(place))
}

/// Threads for calls that block. Swift's cooperative threads must not: there are only as many as cores.
private let blocking = DispatchQueue(label: "kinglet.blocking", attributes: .concurrent)

/// Runs `work`, which blocks, away from the cooperative threads. Cancelling the task cancels the call within one step.
func offload<R: Sendable>(
    _ work: @escaping @Sendable (Cancellation) throws(KingletError) -> R
) async throws(KingletError) -> R {
    let cancellation = Cancellation()
    let result: Result<R, KingletError> = await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
            blocking.async {
                do throws(KingletError) {
                    continuation.resume(returning: .success(try work(cancellation)))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
    } onCancel: {
        cancellation.cancel()
    }
    return try result.get()
}
