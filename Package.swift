// swift-tools-version: 6.2

import PackageDescription

// The C library comes from one of three places:
//
// - In a release it is a binary that SwiftPM downloads: an XCFramework on Apple's platforms, an artifact bundle with static libraries on
//   Linux (SE-0482, Swift 6.2). .github/workflows/swift.yml publishes both and has scripts/swift-release fill in `release` below, in the
//   commit that gets the release's tag.
// - Otherwise it is the installed one that pkg-config calls `kinglet`: on every commit without a release, and with KINGLET_LOCAL=system.
// - KINGLET_LOCAL=PATH takes an XCFramework or artifact bundle that was built here by `scripts/xcframework` or `scripts/artifactbundle`. The
//   path is relative to this file.
//
// In each of them the module is called CKinglet. Package@swift-6.0.swift is for Swift 6.0 and 6.1, which know no binaries on Linux.

/// A released version, and the SHA-256 of the archives that it is published with.
struct Release {
    var version: String
    var xcframework: String
    var artifactbundle: String
}

let release: Release? = nil

/// The target CKinglet.
func library() -> Target {
    let local = Context.environment["KINGLET_LOCAL"]
    if let local, local != "system" {
        return .binaryTarget(name: "CKinglet", path: local)
    }
    if let release, local == nil {
        let downloads = "https://github.com/kinglet-ml/kinglet/releases/download/swift-\(release.version)"
        #if os(Linux)
        return .binaryTarget(
            name: "CKinglet", url: "\(downloads)/CKinglet.artifactbundle.zip", checksum: release.artifactbundle)
        #else
        return .binaryTarget(name: "CKinglet", url: "\(downloads)/CKinglet.xcframework.zip", checksum: release.xcframework)
        #endif
    }
    return .systemLibrary(name: "CKinglet", path: "bindings/swift/Sources/CKinglet", pkgConfig: "kinglet")
}

let package = Package(
    name: "Kinglet",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [.library(name: "Kinglet", targets: ["Kinglet"])],
    targets: [
        library(),
        .target(name: "Kinglet", dependencies: ["CKinglet"], path: "bindings/swift/Sources/Kinglet"),
        .testTarget(name: "KingletTests", dependencies: ["Kinglet", "CKinglet"], path: "bindings/swift/Tests/KingletTests"),
    ],
    swiftLanguageModes: [.v6]
)
