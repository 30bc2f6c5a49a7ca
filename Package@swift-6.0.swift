// swift-tools-version: 6.0
// Swift 6.0 and 6.1, for which binary targets exist only on Apple's platforms: the library is the installed one, found by pkg-config.
// Package.swift is for later versions.
import PackageDescription

let package = Package(
    name: "Kinglet",
    products: [.library(name: "Kinglet", targets: ["Kinglet"])],
    targets: [
        .systemLibrary(name: "CKinglet", path: "bindings/swift/Sources/CKinglet", pkgConfig: "kinglet"),
        .target(name: "Kinglet", dependencies: ["CKinglet"], path: "bindings/swift/Sources/Kinglet"),
        .testTarget(name: "KingletTests", dependencies: ["Kinglet", "CKinglet"], path: "bindings/swift/Tests/KingletTests"),
    ],
    swiftLanguageModes: [.v6]
)
