// swift-tools-version: 6.0

import PackageDescription

let package = Package(
    name: "swift-rewrite",
    platforms: [.macOS(.v13), .iOS(.v16)],
    // A program outside this repository: .package(url: "https://github.com/kinglet-ml/kinglet", from: "0.1.0")
    dependencies: [.package(name: "kinglet", path: "../..")],
    targets: [
        .executableTarget(name: "swift-rewrite", dependencies: [.product(name: "Kinglet", package: "kinglet")])
    ],
    swiftLanguageModes: [.v6]
)
