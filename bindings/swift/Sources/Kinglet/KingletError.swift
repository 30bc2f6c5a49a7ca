import CKinglet

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Why a call failed. Everything in this package that throws throws this.
public struct KingletError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of the error, for instance ``Status/notFound``. A call whose task is cancelled throws ``Status/cancelled``.
    public let status: Status

    /// What went wrong and what to do about it. It names the file, the argument or the option; C's names of options are in snake case.
    public let message: String

    public init(status: Status, message: String) {
        self.status = status
        self.message = message
    }

    public var description: String { "kinglet: \(message)" }

    /// An error of this package's own checks.
    static func invalid(_ message: String) -> KingletError {
        KingletError(status: .invalidArgument, message: message)
    }
}

extension KingletError: LocalizedError {
    public var errorDescription: String? { message }
}

/// Makes a C call that returns a status; what it wrote through its pointer to an error becomes the error that is thrown.
func call(_ body: (UnsafeMutablePointer<OpaquePointer?>) -> kinglet_status) throws(KingletError) {
    var failure: OpaquePointer?
    let status = body(&failure)
    if status == KINGLET_STATUS_OK.rawValue { return }
    defer { kinglet_error_free(failure) }
    let message = String(cString: kinglet_error_message(failure))
    throw KingletError(status: Status(rawValue: status), message: message.isEmpty ? "the call failed: \(Status(rawValue: status))" : message)
}

/// The short name of a value of C; numbers without one are written like an initialiser, for instance "Device(9)".
func nameOf<Value: RawRepresentable<UInt32>>(_ value: Value, _ name: UnsafePointer<CChar>) -> String {
    let name = String(cString: name)
    return name == "unknown" ? "\(Value.self)(\(value.rawValue))" : name
}
