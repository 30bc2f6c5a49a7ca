import CKinglet

/// What the output must match.
public enum Grammar: Sendable, Hashable {
    /// A JSON schema.
    case jsonSchema(String)
    /// A regular expression.
    case regex(String)
    /// A Lark grammar.
    case lark(String)
}

/// Options of generation, by the names of Hugging Face. What is nil is decided by the model's generation_config.json.
///
/// A prompt prefix that was computed before is `prefix`.
public struct GenerateOptions: Sendable {
    /// The most tokens to generate; 256 where the model's file does not decide.
    public var maxNewTokens: Int?
    /// No end token is chosen before this many tokens.
    public var minNewTokens: Int?
    /// Beams of beam search; 1 is greedy search or sampling.
    public var numBeams: Int?
    /// Outputs per input: the best beams, or samples.
    public var numReturnSequences: Int?
    /// Prompt-lookup speculative decoding: the most tokens that are proposed at a time. The output is the same.
    public var promptLookupNumTokens: Int?
    /// With `promptLookupNumTokens`: the most last tokens that are searched for.
    public var maxMatchingNgramSize: Int?
    /// No sequence of this many tokens occurs twice.
    public var noRepeatNgramSize: Int?
    /// Samples tokens instead of choosing the most likely one.
    public var doSample: Bool?
    /// With `doSample`: divides the logits before sampling.
    public var temperature: Float?
    /// With `doSample`: samples among this many most likely tokens; 0: among all.
    public var topK: Int?
    /// With `doSample`: nucleus sampling.
    public var topP: Float?
    /// With `doSample`: keeps tokens with at least this fraction of the most likely token's probability.
    public var minP: Float?
    /// With `doSample`: locally typical sampling.
    public var typicalP: Float?
    /// With `doSample`: the same seed samples the same tokens for the same prompt. nil: another seed for each call.
    public var seed: UInt64?
    /// Above 1: makes tokens of the prompt and the output less likely.
    public var repetitionPenalty: Float?
    /// Subtracted once from the logit of each token that was generated.
    public var presencePenalty: Float?
    /// Subtracted from the logit of each token as often as it was generated.
    public var frequencyPenalty: Float?
    /// With beams: a beam's score is its log-probability divided by length^lengthPenalty.
    public var lengthPenalty: Float?
    /// With beams: when the search stops.
    public var earlyStopping: EarlyStopping = .auto
    /// Never chooses an end token.
    public var ignoreEOS = false
    /// Returns the log-probability of each token.
    public var logprobs = false
    /// Adds the tokenizer's special tokens to the input.
    public var addSpecialTokens: Bool?
    /// Leaves special tokens out of the text.
    public var skipSpecialTokens: Bool?
    /// What the output must match.
    public var grammar: Grammar?
    /// The text ends before the first of these strings.
    public var stopStrings: [String] = []
    /// Token sequences that are never generated.
    public var badWordsIDs: [[UInt32]] = []
    /// Tokens that are never generated.
    public var suppressTokens: [UInt32] = []
    /// Tokens that are not generated as the first one.
    public var beginSuppressTokens: [UInt32] = []
    /// The end tokens.
    public var eosTokenIDs: [UInt32] = []
    /// The last token if `maxNewTokens` is reached: one of these.
    public var forcedEOSTokenIDs: [UInt32] = []
    /// The first token that an encoder-decoder model generates.
    public var forcedBOSTokenID: UInt32?
    /// The token that the decoder of an encoder-decoder model starts from.
    public var decoderStartTokenID: UInt32?
    /// A prompt prefix that was computed before.
    public var prefix: Prefix?

    /// Options that are all unset.
    public init() {}

    /// Greedy search, or sampling with a temperature, of at most `maxNewTokens` tokens.
    public init(maxNewTokens: Int, temperature: Float? = nil, seed: UInt64? = nil) {
        self.maxNewTokens = maxNewTokens
        self.temperature = temperature
        self.seed = seed
        doSample = temperature == nil ? nil : true
    }

    func c(_ arguments: Arguments, _ cancellation: Cancellation?) throws(KingletError) -> kinglet_generate_options {
        var c = kinglet_generate_options()
        kinglet_generate_options_init(&c, MemoryLayout<kinglet_generate_options>.size)
        func set(_ field: WritableKeyPath<kinglet_generate_options, UInt64>, _ value: Int?, _ name: String) throws(KingletError) {
            guard let value else { return }
            guard value >= 0 else { throw .invalid("\(name): \(value) is negative") }
            c[keyPath: field] = UInt64(value)
        }
        try set(\.max_new_tokens, maxNewTokens, "maxNewTokens")
        try set(\.min_new_tokens, minNewTokens, "minNewTokens")
        try set(\.num_beams, numBeams, "numBeams")
        try set(\.num_return_sequences, numReturnSequences, "numReturnSequences")
        try set(\.prompt_lookup_num_tokens, promptLookupNumTokens, "promptLookupNumTokens")
        try set(\.max_matching_ngram_size, maxMatchingNgramSize, "maxMatchingNgramSize")
        try set(\.no_repeat_ngram_size, noRepeatNgramSize, "noRepeatNgramSize")
        try set(\.top_k, topK, "topK")
        if let seed { (c.seed, c.has_seed) = (seed, 1) }
        c.do_sample = tristate(doSample)
        c.temperature = temperature ?? .nan
        c.top_p = topP ?? .nan
        c.min_p = minP ?? .nan
        c.typical_p = typicalP ?? .nan
        c.repetition_penalty = repetitionPenalty ?? .nan
        c.presence_penalty = presencePenalty ?? .nan
        c.frequency_penalty = frequencyPenalty ?? .nan
        c.length_penalty = lengthPenalty ?? .nan
        c.early_stopping = earlyStopping.rawValue
        c.ignore_eos = ignoreEOS ? 1 : 0
        c.logprobs = logprobs ? 1 : 0
        c.add_special_tokens = tristate(addSpecialTokens)
        c.skip_special_tokens = tristate(skipSpecialTokens)
        switch grammar {
        case nil: break
        case .jsonSchema(let text)?: (c.grammar_kind, c.grammar) = (GrammarKind.jsonSchema.rawValue, arguments.text(text))
        case .regex(let text)?: (c.grammar_kind, c.grammar) = (GrammarKind.regex.rawValue, arguments.text(text))
        case .lark(let text)?: (c.grammar_kind, c.grammar) = (GrammarKind.lark.rawValue, arguments.text(text))
        }
        (c.stop_strings, c.stop_string_count) = (arguments.texts(stopStrings), stopStrings.count)
        (c.bad_words_ids, c.bad_word_count) = (arguments.lists(badWordsIDs), badWordsIDs.count)
        c.suppress_tokens = arguments.ids(suppressTokens)
        c.begin_suppress_tokens = arguments.ids(beginSuppressTokens)
        c.eos_token_ids = arguments.ids(eosTokenIDs)
        c.forced_eos_token_ids = arguments.ids(forcedEOSTokenIDs)
        if let forcedBOSTokenID { c.forced_bos_token_id = UInt64(forcedBOSTokenID) }
        if let decoderStartTokenID { c.decoder_start_token_id = UInt64(decoderStartTokenID) }
        c.cancellation = cancellation?.pointer
        return c
    }
}
