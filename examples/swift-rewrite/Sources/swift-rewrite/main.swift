// Prints what a model writes for texts, while it is generated: LLVM IR, or queries that were rewritten.
//
//   swift-rewrite MODEL TEXT...
//
// MODEL is a .kinglet file, a GGUF file or a Hugging Face directory. Ctrl-C cancels: the library ends within one step.

import Dispatch
import Foundation
import Kinglet

let arguments = CommandLine.arguments.dropFirst()
guard let path = arguments.first, arguments.count > 1 else {
    printError("usage: swift-rewrite MODEL TEXT...")
    exit(2)
}

let work = Task {
    let model = try await Model.load(path: path)
    // Beams cannot be streamed, and a model's files may ask for some.
    let options = GenerateOptions(numBeams: 1)
    for text in arguments.dropFirst() {
        for try await piece in model.stream(text, options: options) {
            FileHandle.standardOutput.write(Data(piece.text.utf8))
        }
        print()
    }
}

// Instead of ending the process, Ctrl-C cancels the task, and with it the call that it waits for.
signal(SIGINT, SIG_IGN)
let interrupt = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
interrupt.setEventHandler { work.cancel() }
interrupt.resume()

do {
    try await work.value
} catch let error as KingletError where error.status == .cancelled {
    printError("\nswift-rewrite: cancelled")
    exit(130)
} catch {
    printError("swift-rewrite: \(error.localizedDescription)")
    exit(1)
}

func printError(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
