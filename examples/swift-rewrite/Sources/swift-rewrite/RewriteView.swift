// The view that an app would use; Linux has no SwiftUI and skips it.

#if canImport(SwiftUI)
import Kinglet
import SwiftUI

/// Shows the text while it is written. The task ends, and with it the call in the library, when the view disappears or another text comes.
struct RewriteView: View {
    let model: Model
    let text: String
    @State private var written = ""
    @State private var failure: String?

    var body: some View {
        VStack(alignment: .leading) {
            Text(written).textSelection(.enabled)
            if let failure { Text(failure).foregroundStyle(.red) }
        }
        .task(id: text) {
            written = ""
            failure = nil
            do {
                for try await piece in model.stream(text) { written += piece.text }
            } catch let error as KingletError where error.status == .cancelled {
                // Another text has come, or nobody looks any more.
            } catch {
                failure = "\(error)"
            }
        }
    }
}
#endif
