// What an app would use in place of the terminal. Linux has no SwiftUI and skips it.

#if canImport(SwiftUI)
import Kinglet
import SwiftUI

/// A field for a text, and below it what the model writes, while it is generated.
struct RewriteView: View {
    /// Loaded once by the app, with `try await Model.load(path:)`; the file is in the app's bundle.
    let model: Model

    @State private var text = ""
    @State private var output = ""
    @State private var failure: String?
    @State private var work: Task<Void, Never>?

    var body: some View {
        VStack(alignment: .leading) {
            TextField("Text", text: $text)
                .onSubmit(start)
            ScrollView { Text(output).textSelection(.enabled).frame(maxWidth: .infinity, alignment: .leading) }
            if let failure { Text(failure).foregroundStyle(.red) }
            if work == nil { Button("Rewrite", action: start).disabled(text.isEmpty) } else { Button("Stop") { work?.cancel() } }
        }
        .padding()
        .onDisappear { work?.cancel() }
    }

    /// The task inherits the main actor, and waits there without blocking it: the library works on a thread of its own.
    private func start() {
        guard work == nil else { return }
        output = ""
        failure = nil
        work = Task {
            do {
                for try await piece in model.stream(text, options: GenerateOptions(numBeams: 1)) { output += piece.text }
            } catch let error as KingletError where error.status == .cancelled {
                // Stopped by the button, or the view is gone.
            } catch {
                failure = error.localizedDescription
            }
            work = nil
        }
    }
}
#endif
