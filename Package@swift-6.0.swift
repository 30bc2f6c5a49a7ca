// swift-tools-version: 6.0

import PackageDescription

// For Swift 6.0 and 6.1, which know no binary libraries on Linux (SE-0482): the library is the installed one that pkg-config calls
// `kinglet`. Package.swift is for newer versions; both have the same targets.
let package = Package(
    name: "Kinglet",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [.library(name: "Kinglet", targets: ["Kinglet"])],
    targets: [
        .systemLibrary(name: "CKinglet", path: "bindings/swift/Sources/CKinglet", pkgConfig: "kinglet"),
        .target(name: "Kinglet", dependencies: ["CKinglet"], path: "bindings/swift/Sources/Kinglet"),
        .testTarget(name: "KingletTests", dependencies: ["Kinglet", "CKinglet"], path: "bindings/swift/Tests/KingletTests"),
    ],
    swiftLanguageModes: [.v6]
)
