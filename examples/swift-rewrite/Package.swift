// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "swift-rewrite",
    platforms: [.macOS(.v14), .iOS(.v17)],
    dependencies: [.package(name: "Kinglet", path: "../..")],
    targets: [
        .executableTarget(name: "swift-rewrite", dependencies: [.product(name: "Kinglet", package: "Kinglet")])
    ],
    swiftLanguageModes: [.v6]
)
