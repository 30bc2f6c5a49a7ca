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
    write("usage: swift-rewrite MODEL TEXT...\n", to: .standardError)
    exit(2)
}

let work = Task {
    let model = try await Model.load(path: path)
    // Beams cannot be streamed, and a model's files may ask for some.
    let options = GenerateOptions(numBeams: 1)
    for text in arguments.dropFirst() {
        for try await piece in model.stream(text, options: options) {
            write(piece.text, to: .standardOutput)
        }
        write("\n", to: .standardOutput)
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
    write("\nswift-rewrite: cancelled\n", to: .standardError)
    exit(130)
} catch {
    write("swift-rewrite: \(error.localizedDescription)\n", to: .standardError)
    exit(1)
}

/// Unlike print, without a buffer.
func write(_ text: String, to file: FileHandle) { file.write(Data(text.utf8)) }
