// Streams what an encoder-decoder model writes for a text: a rewritten query, or LLVM IR.
//
//     swift run swift-rewrite MODEL TEXT
//
// Ctrl-C cancels: the library stops within one step.

import Dispatch
import Foundation
import Kinglet

func say(_ text: String, to place: FileHandle) { place.write(Data(text.utf8)) }

guard CommandLine.arguments.count == 3 else {
    say("usage: swift-rewrite MODEL TEXT\n", to: .standardError)
    exit(2)
}
let (path, text) = (CommandLine.arguments[1], CommandLine.arguments[2])

let work = Task {
    let model = try await Model.load(path: path)
    for try await piece in model.stream(text) { say(piece.text, to: .standardOutput) }
    say("\n", to: .standardOutput)
}

signal(SIGINT, SIG_IGN)
let interrupt = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
interrupt.setEventHandler { work.cancel() }
interrupt.resume()

do {
    try await work.value
} catch let error as KingletError where error.status == .cancelled {
    say("\n", to: .standardOutput)
    exit(130)
} catch {
    say("swift-rewrite: \(error)\n", to: .standardError)
    exit(1)
}
