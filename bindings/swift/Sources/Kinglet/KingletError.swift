import CKinglet

/// Why a call failed.
public struct KingletError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of failure it is: the status of the C interface.
    public let status: Status
    /// What went wrong and what to do about it. It names the file, the field or the argument.
    public let message: String

    public init(status: Status, message: String) {
        self.status = status
        self.message = message
    }

    public var description: String { "\(message) (\(status))" }

    static func invalid(_ message: String) -> KingletError {
        KingletError(status: .invalidArgument, message: message)
    }
}

/// The library's version, for instance "0.1.0".
public var libraryVersion: String { String(cString: kinglet_version()) }

/// Checks that the loaded library is one that this package was compiled for. Loading a model does it, too.
public func checkLibrary() throws(KingletError) {
    let (wanted, found) = (UInt32(KINGLET_ABI_VERSION), kinglet_abi_version())
    // Below 1.0 each minor version is an ABI of its own (docs/abi-policy.md).
    let minor = "\(KINGLET_VERSION_MAJOR).\(KINGLET_VERSION_MINOR)."
    if wanted != found || (wanted == 0 && !libraryVersion.hasPrefix(minor)) {
        throw KingletError(
            status: .unsupported,
            message: "the loaded libkinglet is version \(libraryVersion) with ABI \(found), and this program was compiled for "
                + "version \(KINGLET_VERSION_STRING) with ABI \(wanted); install that version, or compile the program again")
    }
}
