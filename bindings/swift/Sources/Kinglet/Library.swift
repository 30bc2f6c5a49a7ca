import CKinglet

/// The C library that this package is a layer over.
public enum Library {
    /// The version of the library that is loaded, for instance "0.1.0".
    public static var version: String { String(cString: kinglet_version()) }

    /// The version of the C ABI that the loaded library has.
    public static var abiVersion: UInt32 { kinglet_abi_version() }

    /// Throws ``Status/unsupported`` if the loaded library has another ABI than the header that this package was compiled with, and says
    /// which. Every call that makes a first object does this too; it costs nothing after the first time.
    public static func check() throws(KingletError) {
        if let mismatch { throw mismatch }
    }

    private static let mismatch = mismatch(
        abi: abiVersion, version: version, compiledFor: (UInt32(KINGLET_ABI_VERSION), KINGLET_VERSION_STRING))

    /// Below ABI 1 every minor version may have other structs, so those must agree too.
    static func mismatch(abi: UInt32, version: String, compiledFor header: (abi: UInt32, version: String)) -> KingletError? {
        func minor(_ version: String) -> String { version.split(separator: ".").prefix(2).joined(separator: ".") }
        if abi == header.abi && (abi > 0 || minor(version) == minor(header.version)) { return nil }
        return KingletError(
            status: .unsupported,
            message: "this program was compiled for Kinglet \(header.version) (C ABI \(header.abi)), but the library that is loaded is "
                + "\(version) (C ABI \(abi)); install the library of that version, or compile the program for the one that is installed")
    }
}
