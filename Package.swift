// swift-tools-version: 6.2
// Where the C library comes from:
// - KINGLET_LOCAL=system: the installed library, found by pkg-config; what the project's own tests use.
// - KINGLET_LOCAL=PATH: an XCFramework (scripts/xcframework makes it) or an artifact bundle on this machine.
// - otherwise a release; its workflow fills in version and checksum below.
import PackageDescription

let version = "0.1.0"
let checksum = ""  // of kinglet-VERSION.xcframework.zip and the bundle in it; empty: there is no release yet

let library: Target
switch Context.environment["KINGLET_LOCAL"] ?? (checksum.isEmpty ? "system" : "") {
case "system":
    library = .systemLibrary(name: "CKinglet", path: "bindings/swift/Sources/CKinglet", pkgConfig: "kinglet")
case "":
    #if canImport(Darwin)
    let file = "kinglet-\(version).xcframework.zip"
    #else
    let file = "kinglet-\(version).artifactbundle.zip"
    #endif
    library = .binaryTarget(
        name: "CKinglet", url: "https://github.com/kinglet-ml/kinglet/releases/download/v\(version)/\(file)", checksum: checksum)
case let path:
    library = .binaryTarget(name: "CKinglet", path: path)
}

let package = Package(
    name: "Kinglet",
    platforms: [.macOS(.v14), .iOS(.v17)],
    products: [.library(name: "Kinglet", targets: ["Kinglet"])],
    targets: [
        library,
        .target(name: "Kinglet", dependencies: ["CKinglet"], path: "bindings/swift/Sources/Kinglet"),
        .testTarget(name: "KingletTests", dependencies: ["Kinglet", "CKinglet"], path: "bindings/swift/Tests/KingletTests"),
    ],
    swiftLanguageModes: [.v6]
)
