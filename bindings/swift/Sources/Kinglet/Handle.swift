import CKinglet

/// Owns a handle of C, which is freed when the last reference goes.
///
/// `@unchecked Sendable`: the pointer never changes, and kinglet.h promises that every function may be called from any thread and calls with
/// one handle may run at the same time, except that nothing may run beside `_free`. `deinit` runs when there is no other reference, and
/// `use` keeps one for the length of a call.
final class Handle: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let free: @convention(c) (OpaquePointer?) -> Void

    init(_ pointer: OpaquePointer, free: @escaping @convention(c) (OpaquePointer?) -> Void) {
        self.pointer = pointer
        self.free = free
    }

    deinit { free(pointer) }

    func use<Result, Failure>(_ body: (OpaquePointer) throws(Failure) -> Result) throws(Failure) -> Result {
        defer { withExtendedLifetime(self) {} }
        return try body(pointer)
    }

    /// The handle that a C call makes.
    static func make(
        free: @escaping @convention(c) (OpaquePointer?) -> Void,
        _ body: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>) -> kinglet_status
    ) throws(KingletError) -> Handle {
        var made: OpaquePointer?
        try call { failure in body(&made, failure) }
        guard let made else { throw KingletError(status: .internal, message: "a call succeeded and made nothing") }
        return Handle(made, free: free)
    }

    /// The struct that a C function fills.
    func read<View>(
        _ view: View,
        _ function: (OpaquePointer?, UnsafeMutablePointer<View>?, UnsafeMutablePointer<OpaquePointer?>?) -> kinglet_status
    ) throws(KingletError) -> View {
        var view = view
        try use { pointer throws(KingletError) in
            try call { failure in function(pointer, &view, failure) }
        }
        return view
    }
}

/// An array in the memory of a handle.
///
/// `@unchecked Sendable`: the memory is not written to as long as the handle is there.
struct Borrowed<Element: BitwiseCopyable>: @unchecked Sendable {
    private let owner: Handle
    private let start: UnsafePointer<Element>?
    let count: Int

    init(_ owner: Handle, _ start: UnsafePointer<Element>?, _ count: Int) {
        self.owner = owner
        self.start = start
        self.count = start == nil ? 0 : count
    }

    /// Whether there is an array at all.
    var isThere: Bool { start != nil }

    func withUnsafe<Result, Failure>(
        _ body: (UnsafeBufferPointer<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(owner) {} }
        return try body(UnsafeBufferPointer(start: start, count: count))
    }

    func withUnsafe<Result, Failure>(
        _ range: Range<Int>, _ body: (UnsafeBufferPointer<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withUnsafe { all throws(Failure) in
            precondition(range.lowerBound >= 0 && range.upperBound <= all.count, "index out of range")
            return try body(UnsafeBufferPointer(rebasing: all[range]))
        }
    }

    var array: [Element] { withUnsafe { Array($0) } }

    func array(_ range: Range<Int>) -> [Element] { withUnsafe(range) { Array($0) } }

    subscript(index: Int) -> Element {
        withUnsafe { all in
            precondition(all.indices.contains(index), "index out of range")
            return all[index]
        }
    }
}

extension Borrowed<UInt8> {
    /// Values that are 0 or 1.
    var flags: [Bool] { withUnsafe { $0.map { $0 != 0 } } }
}

extension Borrowed<Int> {
    /// The rows of text `index`, by the numbers of the first row of each text.
    func rows(_ index: Int) -> Range<Int> { self[index]..<self[index + 1] }
}
