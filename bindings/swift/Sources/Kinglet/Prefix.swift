import CKinglet

extension Model {
    /// Computes and caches the beginning of prompts, for ``GenerateOptions/prefix``.
    ///
    /// - Parameter addSpecialTokens: Adds the tokenizer's special tokens to the text; must be as for the prompts. Default: yes.
    /// - Throws: ``Status/unsupported`` if the model is no decoder, ``Status/invalidArgument`` for a text that is longer than the model takes,
    ///   ``Status/outOfMemory``, ``Status/cancelled``.
    public func prefix(
        _ text: String, addSpecialTokens: Bool? = nil, cancellation: Cancellation? = nil
    ) throws(KingletError) -> Prefix {
        var c = kinglet_prefix_options()
        c.struct_size = MemoryLayout<kinglet_prefix_options>.size
        c.add_special_tokens = kinglet_tristate(addSpecialTokens)
        let prefix = try cancellation.use { cancellation throws(KingletError) in
            c.cancellation = cancellation
            return try handle.use { model throws(KingletError) in
                try withTexts([text]) { text throws(KingletError) in
                    try Handle.make(free: kinglet_prefix_free) { prefix, failure in
                        kinglet_prefix_new(model, text!.pointee, &c, prefix, failure)
                    }
                }
            }
        }
        return Prefix(prefix)
    }

    /// Computes and caches the beginning of prompts; ``prefix(_:addSpecialTokens:cancellation:)`` has the details.
    public func prefix(_ text: String, addSpecialTokens: Bool? = nil) async throws(KingletError) -> Prefix {
        try await offCooperativePool { [self] cancellation throws(KingletError) in
            try prefix(text, addSpecialTokens: addSpecialTokens, cancellation: cancellation)
        }
    }
}

/// A prompt prefix whose KV cache was computed once: a system prompt, an instruction, a document that many questions are about. A prompt
/// reuses it as far as its first tokens are the same. Many calls may use it at the same time; it keeps its model.
public final class Prefix: Sendable {
    let handle: Handle

    init(_ handle: Handle) { self.handle = handle }
}
