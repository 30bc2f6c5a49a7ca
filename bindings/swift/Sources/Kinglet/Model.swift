import CKinglet

/// A loaded model.
///
/// Any number of calls may run on one model at the same time; they share its threads. One call with a batch of texts is faster than many
/// calls with one text each. On the CPU the bits of a text's result depend on neither the other texts nor the number of threads.
///
/// Each long call has two variants under one name. In a synchronous function it blocks the calling thread and takes a ``Cancellation``. With
/// `await` it runs on a thread of its own, never on Swift's cooperative pool, and cancelling the task ends it within one step of its work
/// with ``Status/cancelled``.
///
/// A model is freed when the last reference to it, to its sessions and to its prefixes is gone. Results stay valid.
public final class Model: Sendable {
    let handle: Handle

    /// What is known of the model.
    public let properties: Properties

    private init(_ handle: Handle) throws(KingletError) {
        self.handle = handle
        properties = Properties(try handle.readModel())
    }

    /// Loads a model.
    ///
    /// The files must not change during the call; a .kinglet file stays mapped and must not change while the model is in use.
    ///
    /// - Parameters:
    ///   - path: A Hugging Face directory (config.json, tokenizer.json, and model.safetensors or its shards with their index), a GGUF file, a
    ///     .kinglet file as ``quantize(_:to:precision:calibrationTexts:progress:cancellation:)`` writes it, an ONNX export (``ModelOptions/onnxRuntime``), or the
    ///     name of a model in the local cache of the Hugging Face hub (`sentence-transformers/all-MiniLM-L6-v2`; nothing is downloaded).
    /// - Throws: ``Status/notFound``, ``Status/io``, ``Status/invalidFile`` (the message names the file), ``Status/unsupported`` (a family,
    ///   device or precision, or a library of another version), ``Status/outOfMemory`` (the limit), ``Status/invalidArgument``, and
    ///   ``Status/cancelled``.
    public static func load(
        path: String, options: ModelOptions = ModelOptions(), cancellation: Cancellation? = nil
    ) throws(KingletError) -> Model {
        let handle = try cancellation.use { cancellation throws(KingletError) in
            try options.use(cancellation: cancellation) { options throws(KingletError) in
                try withTexts([path]) { path throws(KingletError) in
                    try Handle.make(free: kinglet_model_free) { model, failure in
                        kinglet_model_load(path!.pointee, options, model, failure)
                    }
                }
            }
        }
        return try Model(handle)
    }

    /// Loads a model; ``load(path:options:cancellation:)`` has the details.
    public static func load(path: String, options: ModelOptions = ModelOptions()) async throws(KingletError) -> Model {
        try await offCooperativePool { cancellation throws(KingletError) in
            try load(path: path, options: options, cancellation: cancellation)
        }
    }

    /// Reads a model, a Hugging Face directory or a GGUF file, and writes it as one .kinglet file, which ``load(path:options:cancellation:)`` then
    /// maps instead of converting. The file appears when it is complete; a call that fails leaves nothing.
    ///
    /// - Parameters:
    ///   - precision: The number format of the weights in the file; not ``Precision/auto``.
    ///   - calibrationTexts: Texts like those that the model will get, for int8 and int4: for each layer the change of its inputs is
    ///     chosen with which rounding loses least. Empty: no calibration.
    ///   - progress: Called as ``ModelOptions/progress`` is.
    public static func quantize(
        _ source: String, to destination: String, precision: Precision, calibrationTexts: [String] = [],
        progress: (@Sendable (_ fraction: Double) -> Bool)? = nil, cancellation: Cancellation? = nil
    ) throws(KingletError) {
        try cancellation.use { pointer throws(KingletError) in
            // A short conversion may end before C looks at its cancellation, so that is asked at each report too.
            let box = ProgressBox { fraction in (progress?(fraction) ?? true) && cancellation?.isCancelled != true }
            defer { withExtendedLifetime(box) {} }
            var options = kinglet_quantize_options()
            options.struct_size = MemoryLayout<kinglet_quantize_options>.size
            options.cancellation = pointer
            options.progress = onProgress
            options.progress_user_data = box.pointer
            try withTexts([source, destination] + calibrationTexts) { paths throws(KingletError) in
                options.calibration_texts = paths! + 2
                options.calibration_text_count = calibrationTexts.count
                try call { failure in kinglet_model_quantize(paths![0], paths![1], precision.rawValue, &options, failure) }
            }
        }
    }

    /// Writes a .kinglet file; ``quantize(_:to:precision:calibrationTexts:progress:cancellation:)`` has the details.
    public static func quantize(
        _ source: String, to destination: String, precision: Precision, calibrationTexts: [String] = [],
        progress: (@Sendable (_ fraction: Double) -> Bool)? = nil
    ) async throws(KingletError) {
        try await offCooperativePool { cancellation throws(KingletError) in
            try quantize(
                source, to: destination, precision: precision, calibrationTexts: calibrationTexts, progress: progress,
                cancellation: cancellation)
        }
    }

    /// The memory that the model takes now beside its weights.
    public func memoryUse() throws(KingletError) -> MemoryUse {
        let view = try handle.readModel()
        return MemoryUse(cacheBytes: Int(view.cache_bytes), deviceBytes: Int(view.device_bytes))
    }

    /// A JSON object: family, architecture, sizes, precision, the kernels in use, pooling, labels. Later versions may add members.
    public func describe() throws(KingletError) -> String {
        try handle.use { model throws(KingletError) in
            try String.make { text, failure in kinglet_model_describe(model, text, failure) }
        }
    }
}

extension Model {
    /// What is known of a model.
    public struct Properties: Hashable, Sendable {
        /// The path that was given to ``Model/load(path:options:cancellation:)``.
        public let path: String
        /// The `model_type` of config.json, for instance "bert".
        public let family: String
        /// Where the model runs.
        public let device: Device
        /// Which of the devices of that kind.
        public let deviceIndex: Int
        /// The precision in use, never ``Precision/auto``.
        public let precision: Precision
        /// Whether the model generates text.
        public let canGenerate: Bool
        /// Whether ``Model/session()`` works: the model is a decoder with a chat template.
        public let canChat: Bool
        /// Whether the model has an encoder: all models that only embed or classify, and those that generate from a source text.
        public let hasEncoder: Bool
        /// Threads that one call may use.
        public let threads: Int
        /// The number of values per hidden state.
        public let dimension: Int
        /// The number of values per embedding, by the model's own modules and truncate_dim.
        public let embeddingDimension: Int
        /// The maximum number of tokens of a text, special tokens included; longer texts are truncated.
        public let maxLength: Int
        /// The number of token ids.
        public let vocabularySize: Int
        /// The labels of the classification head, by number; empty without such a head.
        public let labels: [String]
        /// Bytes of the weights.
        public let weightBytes: Int

        init(_ view: kinglet_model_view) {
            path = String(view.path)
            family = String(view.family)
            device = Device(rawValue: view.device)
            deviceIndex = Int(view.device_index)
            precision = Precision(rawValue: view.precision)
            canGenerate = view.can_generate != 0
            canChat = view.can_chat != 0
            hasEncoder = view.has_encoder != 0
            threads = view.threads
            dimension = view.dimension
            embeddingDimension = view.embedding_dimension
            maxLength = view.max_length
            vocabularySize = view.vocabulary_size
            labels = UnsafeBufferPointer(start: view.labels, count: view.label_count).map { String($0) }
            weightBytes = Int(view.weight_bytes)
        }
    }

    /// The memory that a model takes beside its weights.
    public struct MemoryUse: Hashable, Sendable {
        /// Bytes of the KV caches of all calls, sessions and prefixes; memory that is kept for later ones is included.
        public let cacheBytes: Int
        /// Bytes that the model takes on a GPU, weights and caches; 0 on the CPU.
        public let deviceBytes: Int
    }
}

extension Handle {
    /// The view of a model, which is read while the handle lives.
    fileprivate func readModel() throws(KingletError) -> kinglet_model_view {
        var view = kinglet_model_view()
        view.struct_size = MemoryLayout<kinglet_model_view>.size
        return try read(view, kinglet_model_read)
    }
}
