import CKinglet

/// Options of a generation, with Hugging Face's names.
///
/// What is nil has the value of the model's generation_config.json, else Hugging Face's default; so no options are what the model's authors
/// recommend. Options that contradict each other throw ``Status/invalidArgument`` with a message that names them.
public struct GenerateOptions: Sendable {
    /// The maximum number of tokens of an input text, special tokens included; longer texts are truncated. It may be more than the limit of
    /// the model's files, up to the model's positions. Not for token ids and chats. Default: that limit for source texts, none for prompts.
    public var maxInputLength: Int?
    /// The maximum number of tokens to generate. Default: 256.
    public var maxNewTokens: Int?
    /// How many tokens come before an end token can be chosen. Default: 0.
    public var minNewTokens: Int?

    /// Samples tokens instead of choosing the most likely one. Default: no.
    public var doSample: Bool?
    /// With ``doSample``: divides the logits before sampling. Default: 1.
    public var temperature: Float?
    /// With ``doSample``: samples from this many most likely tokens; 0 from all. Default: 50.
    public var topK: Int?
    /// With ``doSample``: nucleus sampling, the most likely tokens with this total probability. Default: 1.
    public var topP: Float?
    /// With ``doSample``: keeps tokens with at least this fraction of the highest probability. Default: 0.
    public var minP: Float?
    /// With ``doSample``: locally typical sampling, the tokens closest to the entropy with this total probability. Default: 1.
    public var typicalP: Float?
    /// With ``doSample``: makes sampling repeatable. The same seed gives the same text for a prompt, alone or in any batch. Default: a new
    /// seed per call.
    public var seed: UInt64?

    /// Above 1 makes tokens of the prompt and the output less likely. Default: 1.
    public var repetitionPenalty: Float?
    /// Subtracted once from the logit of each generated token. Default: 0.
    public var presencePenalty: Float?
    /// Subtracted from the logit of each token as often as it was generated. Default: 0.
    public var frequencyPenalty: Float?
    /// Forbids that a sequence of this many tokens occurs twice; 0 allows it. Default: 0.
    public var noRepeatNgramSize: Int?
    /// Above 1 makes tokens of the source text, or of the prompt if the model has no encoder, more likely. Default: 1.
    public var encoderRepetitionPenalty: Float?
    /// Forbids sequences of this many tokens of the source text, or of the prompt if the model has no encoder; 0 allows them. Default: 0.
    public var encoderNoRepeatNgramSize: Int?
    /// Makes end tokens more likely with each token beyond a number of them. Default: off.
    public var exponentialDecayLengthPenalty: ExponentialDecay?

    /// Beams of beam search; 1 is greedy search or sampling. Default: 1.
    public var numBeams: Int?
    /// Outputs per text, at most ``numBeams`` unless ``doSample`` is set. Default: 1.
    public var numReturnSequences: Int?
    /// With beams: the exponent of the length by which a beam's log-probability is divided. Default: 1.
    public var lengthPenalty: Float?
    /// With beams: when the search stops.
    public var earlyStopping: EarlyStopping = .auto

    /// Strings that end a text; the stop string is not part of it.
    public var stopStrings: [String] = []
    /// Token sequences that are never generated.
    public var badWordsIDs: [[UInt32]] = []
    /// Changes the logit of the last token of each sequence where the tokens before it are there.
    public var sequenceBias: [SequenceBias] = []
    /// Tokens that are never generated.
    public var suppressTokens: [UInt32] = []
    /// Tokens that are not generated as the first one.
    public var beginSuppressTokens: [UInt32] = []
    /// The first token that an encoder-decoder model generates.
    public var forcedBOSTokenID: UInt32?
    /// The last token if the length limit is reached: one of these.
    public var forcedEOSTokenIDs: [UInt32] = []
    /// The tokens that end a text. Default: the model's.
    public var eosTokenIDs: [UInt32] = []
    /// The token that the decoder of an encoder-decoder model starts from.
    public var decoderStartTokenID: UInt32?
    /// Tokens that the decoder of an encoder-decoder model continues, after its start token: one list for all inputs, or one per input.
    /// They are not part of the output.
    public var decoderInputIDs: [[UInt32]] = []
    /// ``decoderInputIDs`` as texts. Not both.
    public var decoderInputTexts: [String] = []
    /// Never chooses an end token.
    public var ignoreEOS = false

    /// Returns the log-probability of each token.
    public var logprobs = false
    /// Constrains the text.
    public var grammar: Grammar?
    /// With a JSON schema: what becomes of keywords that cannot be enforced while the text is generated. Default: ``SchemaMode/check``.
    public var schemaMode: SchemaMode = .auto
    /// The most work that compiling the grammar may take, in steps of its compiler, of which a core does about a million in a second or two;
    /// a grammar that needs more is refused, on every machine alike. Default: 1,000,000.
    public var grammarWorkLimit: Int?
    /// The most memory that the compiled grammar may take, in bytes (estimated). Default: 256 MB.
    public var grammarMemoryLimit: Int?
    /// Of a session with tools: which of them the model is to call. Default: ``ToolChoice/auto``.
    public var toolChoice: ToolChoice = .auto
    /// Adds the tokenizer's special tokens to the input. Default: yes; a ``Session`` never does, because its template writes them.
    public var addSpecialTokens: Bool?
    /// Leaves special tokens out of the text. Default: yes.
    public var skipSpecialTokens: Bool?
    /// Prompt-lookup decoding (a form of speculative decoding) with drafts of up to this many tokens, copied from where the last tokens appear
    /// earlier in the prompt, the output or the source text. The output is identical, and faster where texts repeat or copy. Not with
    /// ``doSample`` or beams. Default: 0, off.
    public var promptLookupNumTokens: Int?
    /// With ``promptLookupNumTokens``: how many last tokens are searched for at most. Default: 2.
    public var maxMatchingNgramSize: Int?
    /// How urgent the call is.
    public var priority: Priority = .normal
    /// How long the call may take, waiting included; then it fails with ``Status/deadlineExceeded``. Default: no limit.
    public var deadline: Duration?
    /// A prompt prefix of the same model, computed by ``Model/prefix(_:addSpecialTokens:cancellation:)``.
    public var prefix: Prefix?

    /// The most common options; the others are set one by one.
    public init(
        maxNewTokens: Int? = nil, doSample: Bool? = nil, temperature: Float? = nil, topK: Int? = nil, topP: Float? = nil,
        seed: UInt64? = nil, numBeams: Int? = nil, stopStrings: [String] = [], grammar: Grammar? = nil, prefix: Prefix? = nil
    ) {
        self.maxNewTokens = maxNewTokens
        self.doSample = doSample
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
        self.numBeams = numBeams
        self.stopStrings = stopStrings
        self.grammar = grammar
        self.prefix = prefix
    }
}

/// Makes end tokens more likely: with each token beyond ``start`` generated ones their logits gain by ``factor``.
public struct ExponentialDecay: Hashable, Sendable {
    /// The number of generated tokens after which end tokens become more likely.
    public var start: Int
    /// Above 1 for shorter texts.
    public var factor: Float

    public init(start: Int, factor: Float) {
        self.start = start
        self.factor = factor
    }
}

/// A bias of a token sequence, for ``GenerateOptions/sequenceBias``.
public struct SequenceBias: Hashable, Sendable {
    /// The logit of the last token changes where the others precede it.
    public var ids: [UInt32]
    /// What is added: a finite number.
    public var bias: Float

    public init(ids: [UInt32], bias: Float) {
        self.ids = ids
        self.bias = bias
    }
}

/// What constrains a generated text.
public enum Grammar: Hashable, Sendable {
    /// JSON that satisfies a schema.
    case jsonSchema(String)
    /// A regular expression that matches the whole text.
    case regex(String)
    /// A grammar in llguidance's variant of Lark.
    case lark(String)
}

/// Receives a piece, on the thread that makes the call; false cancels it.
typealias Listener = @Sendable (Piece) -> Bool

extension GenerateOptions {
    /// C's options, for the length of a call that is given them.
    func use<Result>(
        listener: Listener?, cancellation: OpaquePointer?,
        _ body: (UnsafePointer<kinglet_generate_options>) throws(KingletError) -> Result
    ) throws(KingletError) -> Result {
        var options = kinglet_generate_options()
        kinglet_generate_options_init(&options, MemoryLayout<kinglet_generate_options>.size)
        try setNumbers(&options)
        setSwitches(&options)
        options.cancellation = cancellation

        let box = listener.map { Box($0) }
        defer { withExtendedLifetime((box, prefix)) {} }
        if let box {
            options.on_piece = { user, piece in
                Box<Listener>.at(user).closure(Piece(piece!.pointee)) ? 1 : 0
            }
            options.on_piece_user_data = box.pointer
        }
        let text: String
        switch grammar {
        case nil: text = ""
        case .jsonSchema(let schema)?: (text, options.grammar_kind) = (schema, KINGLET_GRAMMAR_KIND_JSON_SCHEMA.rawValue)
        case .regex(let expression)?: (text, options.grammar_kind) = (expression, KINGLET_GRAMMAR_KIND_REGEX.rawValue)
        case .lark(let grammar)?: (text, options.grammar_kind) = (grammar, KINGLET_GRAMMAR_KIND_LARK.rawValue)
        }
        return try withTexts([text, toolChoice.name] + stopStrings + decoderInputTexts) { texts throws(KingletError) in
            options.grammar = texts![0]
            options.tool_choice = texts![1]
            options.stop_strings = stopStrings.isEmpty ? nil : texts! + 2
            options.stop_string_count = stopStrings.count
            options.decoder_input_texts = decoderInputTexts.isEmpty ? nil : texts! + 2 + stopStrings.count
            options.decoder_input_text_count = decoderInputTexts.count
            let biases = sequenceBias.map(\.bias.bitPattern)
            let fixed = [suppressTokens, beginSuppressTokens, eosTokenIDs, forcedEOSTokenIDs, biases]
            return try withLists(fixed + badWordsIDs + sequenceBias.map(\.ids) + decoderInputIDs) { lists throws(KingletError) in
                options.suppress_tokens = lists[0]
                options.begin_suppress_tokens = lists[1]
                options.eos_token_ids = lists[2]
                options.forced_eos_token_ids = lists[3]
                // A number has the size and the alignment of a token id.
                options.sequence_bias = lists[4].data.map { UnsafeRawPointer($0).assumingMemoryBound(to: Float.self) }
                var next = lists.baseAddress! + 5
                options.bad_words_ids = badWordsIDs.isEmpty ? nil : next
                options.bad_word_count = badWordsIDs.count
                next += badWordsIDs.count
                options.sequence_bias_ids = sequenceBias.isEmpty ? nil : next
                options.sequence_bias_count = sequenceBias.count
                next += sequenceBias.count
                options.decoder_input_ids = decoderInputIDs.isEmpty ? nil : next
                options.decoder_input_count = decoderInputIDs.count
                guard let prefix else { return try body(&options) }
                return try prefix.handle.use { pointer throws(KingletError) in
                    options.prefix = pointer
                    return try body(&options)
                }
            }
        }
    }

    private func setNumbers(_ options: inout kinglet_generate_options) throws(KingletError) {
        let counts: [(String, Int?, WritableKeyPath<kinglet_generate_options, UInt64>)] = [
            ("maxInputLength", maxInputLength, \.max_input_length),
            ("maxNewTokens", maxNewTokens, \.max_new_tokens), ("minNewTokens", minNewTokens, \.min_new_tokens),
            ("topK", topK, \.top_k), ("noRepeatNgramSize", noRepeatNgramSize, \.no_repeat_ngram_size),
            // 0 is unset in C; no text has sequences of the other size.
            ("encoderNoRepeatNgramSize", encoderNoRepeatNgramSize.map { $0 == 0 ? Int(Int32.max) : $0 }, \.encoder_no_repeat_ngram_size),
            ("exponentialDecayLengthPenalty.start", exponentialDecayLengthPenalty?.start, \.exponential_decay_start),
            ("numBeams", numBeams, \.num_beams), ("numReturnSequences", numReturnSequences, \.num_return_sequences),
            ("promptLookupNumTokens", promptLookupNumTokens, \.prompt_lookup_num_tokens),
            ("maxMatchingNgramSize", maxMatchingNgramSize, \.max_matching_ngram_size),
            ("grammarWorkLimit", grammarWorkLimit, \.grammar_work_limit),
            ("grammarMemoryLimit", grammarMemoryLimit, \.grammar_memory_limit),
        ]
        options.priority = priority.rawValue
        options.deadline_ms = try units(deadline, "deadline", perSecond: 1000)
        for (name, value, place) in counts where value != nil { options[keyPath: place] = UInt64(try size(value, name)) }
        let numbers: [(String, Float?, WritableKeyPath<kinglet_generate_options, Float>)] = [
            ("temperature", temperature, \.temperature), ("topP", topP, \.top_p), ("minP", minP, \.min_p),
            ("typicalP", typicalP, \.typical_p), ("repetitionPenalty", repetitionPenalty, \.repetition_penalty),
            ("presencePenalty", presencePenalty, \.presence_penalty), ("frequencyPenalty", frequencyPenalty, \.frequency_penalty),
            ("lengthPenalty", lengthPenalty, \.length_penalty),
            ("encoderRepetitionPenalty", encoderRepetitionPenalty.map(notZero), \.encoder_repetition_penalty),
            ("exponentialDecayLengthPenalty.factor", exponentialDecayLengthPenalty.map { notZero($0.factor) }, \.exponential_decay_factor),
        ]
        for (name, value, place) in numbers {
            guard let value else { continue }
            // NaN is C's value for unset.
            if value.isNaN { throw .invalid("\(name): is not a number") }
            options[keyPath: place] = value
        }
    }

    /// Another number for 0, which is unset in C: one that is refused as 0 is.
    private func notZero(_ number: Float) -> Float { number == 0 ? -1 : number }

    private func setSwitches(_ options: inout kinglet_generate_options) {
        options.do_sample = kinglet_tristate(doSample)
        options.add_special_tokens = kinglet_tristate(addSpecialTokens)
        options.skip_special_tokens = kinglet_tristate(skipSpecialTokens)
        options.early_stopping = earlyStopping.rawValue
        options.schema_mode = schemaMode.rawValue
        options.ignore_eos = ignoreEOS ? 1 : 0
        options.logprobs = logprobs ? 1 : 0
        if let seed { (options.seed, options.has_seed) = (seed, 1) }
        if let forcedBOSTokenID { options.forced_bos_token_id = UInt64(forcedBOSTokenID) }
        if let decoderStartTokenID { options.decoder_start_token_id = UInt64(decoderStartTokenID) }
    }
}
