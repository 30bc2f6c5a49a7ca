import Foundation
import Kinglet
import Testing

@Suite struct GenerateTests {
    /// Greedy tokens and beams are those of transformers, from texts, from ids, and in a batch.
    @Test(arguments: generators)
    func reference(_ name: String) async throws {
        let model = try await Model.load(path: generator(name)), reference = try GenerationReference(name)
        #expect(model.properties.canGenerate && model.properties.hasEncoder == ["t5-gated", "bart"].contains(name))
        let texts = reference.cases.map { $0.text! }
        let fromTexts = try await model.generate(texts, options: greedy(24))
        let fromIDs = try await model.generate(ids: reference.cases.map(\.ids), options: greedy(24))
        var options = GenerateOptions(maxNewTokens: 24, numBeams: 5)
        options.numReturnSequences = 2
        let beams = try await model.generate(texts, options: options)
        try #require(fromTexts.count == texts.count && fromIDs.count == texts.count && beams.count == texts.count)
        for (i, want) in reference.cases.enumerated() {
            let alone = try await model.generate([texts[i]], options: greedy(24))[0]
            for got in [fromTexts[i], fromIDs[i], alone] {
                let output = got.outputs[0]
                #expect(got.outputs.count == 1 && output.tokens == want.greedy && got.inputTokenCount == want.ids.count && !got.truncated)
                #expect(try await model.tokenizer.detokenize(output.tokens) == output.text)
                #expect(got.text == output.text && output.logprobs == nil)
            }
            let wanted = try #require(want.beam5)
            #expect(beams[i].outputs.map(\.tokens) == wanted.map(\.tokens))
            for (got, want) in zip(beams[i].outputs, wanted) { #expect(abs(got.score - want.score!) <= 1e-3) }
        }
        for want in try #require(reference.options) {
            let outputs = try await model.generate(ids: [want.ids], options: want.options.generate)[0].outputs
            #expect(outputs.count == want.outputs.count)
            for (got, want) in zip(outputs, want.outputs) {
                // Transformers fills up to the longest.
                #expect(got.tokens == (got.finishReason == .eos ? Array(want.tokens.prefix(got.tokens.count)) : want.tokens))
            }
        }
    }

    /// maxInputLength truncates a source text, and the result says so.
    @Test func maxInputLength() async throws {
        let model = try await Model.load(path: generator("t5-gated"))
        var options = GenerateOptions(maxNewTokens: 2)
        options.maxInputLength = 4
        let got = try await model.generate(["She wrote a short letter to him."], options: options)[0]
        #expect(got.truncated && got.inputTokenCount == 4)
        options.maxInputLength = -1
        let wrong = options
        await expectError(.invalidArgument, "negative") { _ = try await model.generate(["bird"], options: wrong) }
    }

    /// GGUF files of a decoder and of an encoder-decoder give the tokens and the logits of their own reference.
    @Test(arguments: ["llama", "t5"])
    func gguf(_ name: String) async throws {
        struct GGUFReference: Decodable {
            var text: String
            var ids: [UInt32]
            var decoderIds: [UInt32]?
            var lastLogits: [[Float]]
        }
        let model = try await Model.load(path: fixture("generation-gguf/\(name).gguf"), options: ModelOptions(precision: .f32))
        let want: GGUFReference = try decoded(fixture("generation-gguf/\(name).json"))
        #expect(try await model.tokenizer.tokenize([want.text])[0] == want.ids)
        let logits = try await model.logits(want.ids, decoderIDs: want.decoderIds)
        for (row, want) in zip(logits.suffix(want.lastLogits.count), want.lastLogits) { expectNear("logits", row, want) }
    }

    /// The variants that block give what those with `await` do.
    @Test func blocking() throws {
        let model = try Model.load(path: generator("gpt2")), reference = try GenerationReference("gpt2")
        let want = reference.cases[1]
        #expect(try model.generate([want.text!], options: greedy(24))[0].outputs[0].tokens == want.greedy)
        let prefix = try model.prefix(want.text!)
        let options = GenerateOptions(maxNewTokens: 24, doSample: false, numBeams: 1, prefix: prefix)
        #expect(try model.generate(ids: [want.ids], options: options)[0].outputs[0].tokens == want.greedy)
        #expect(try model.logits(want.ids).count == want.ids.count)
    }

    /// Each option of the choice of tokens reaches the library.
    @Test func options() async throws {
        let model = try await Model.load(path: generator("gpt2"))
        let text = try #require(GenerationReference("gpt2").cases[1].text)
        func with(_ set: (inout GenerateOptions) -> Void) async throws -> Output {
            var options = greedy(12)
            set(&options)
            return try await model.generate([text], options: options)[0].outputs[0]
        }
        let plain = try await with { _ in }
        let tokens = plain.tokens, first = tokens[0], third = tokens[2]
        #expect(tokens.count == 12 && plain.finishReason == .length)

        #expect(try await !with { $0.suppressTokens = [first] }.tokens.contains(first))
        #expect(try await with { $0.beginSuppressTokens = [first] }.tokens[0] != first)
        #expect(try await !with { $0.badWordsIDs = [[first], Array(tokens[1...2])] }.tokens.contains(first))
        #expect(try await with { $0.badWordsIDs = [Array(tokens[1...2])] }.tokens[1...2] != tokens[1...2])
        let ended = try await with { $0.eosTokenIDs = [third] }
        #expect(ended.finishReason == .eos && ended.tokens.last == third)
        for set in [{ $0.minNewTokens = 12 }, { $0.ignoreEOS = true }] as [(inout GenerateOptions) -> Void] {
            let got = try await with {
                $0.eosTokenIDs = [third]
                set(&$0)
            }
            #expect(got.tokens.count == 12 && !got.tokens.contains(third))
        }
        #expect(try await with { $0.forcedEOSTokenIDs = [7] }.tokens[11] == 7)
        #expect(try await with { $0.repetitionPenalty = 3 }.tokens != tokens)
        #expect(try await with { $0.presencePenalty = 30 }.tokens != tokens)
        #expect(try await with { $0.frequencyPenalty = 30 }.tokens != tokens)
        #expect(try await Set(with { $0.noRepeatNgramSize = 1 }.tokens).count == 12)
        #expect(try await with { $0.encoderRepetitionPenalty = 30 }.tokens != tokens)
        let of = try GenerationReference("gpt2").cases[1].ids[0]
        for size in 0...1 {
            let copying = try await with {
                $0.sequenceBias = [SequenceBias(ids: [of], bias: 1000)]
                $0.encoderNoRepeatNgramSize = size
            }
            #expect(copying.tokens.contains(of) == (size == 0))
        }
        #expect(
            try await !with { $0.sequenceBias = [SequenceBias(ids: [first], bias: -1000), SequenceBias(ids: [7, 8], bias: 1)] }
                .tokens.contains(first))
        let shorter = try await with {
            $0.eosTokenIDs = [7]
            $0.exponentialDecayLengthPenalty = ExponentialDecay(start: 2, factor: 100)
        }
        #expect(shorter.finishReason == .eos && shorter.tokens.count < 12)
        let scored = try await with { $0.logprobs = true }
        #expect(scored.logprobs?.count == 12 && scored.logprobs!.allSatisfy { $0 <= 0 })
        #expect(abs(scored.logprobs!.reduce(0, +) - scored.score) < 1e-3)

        // A stop string ends the text before it.
        let middle = plain.text.index(plain.text.startIndex, offsetBy: plain.text.count / 2)
        let stop = String(plain.text[middle...].prefix(2))
        let stopped = try await with { $0.stopStrings = ["never there", stop] }
        #expect(stopped.finishReason == .stopString)
        #expect(stopped.text == String(plain.text[..<plain.text.range(of: stop)!.lowerBound]))
    }

    /// A seed repeats itself, others differ, and a very low temperature or one candidate is greedy.
    @Test func sampling() async throws {
        let model = try await Model.load(path: generator("gpt2"))
        let text = try #require(GenerationReference("gpt2").cases[1].text)
        func sampled(_ set: (inout GenerateOptions) -> Void) async throws -> [UInt32] {
            var options = GenerateOptions(maxNewTokens: 12, doSample: true, seed: 7)
            set(&options)
            return try await model.generate([text], options: options)[0].outputs[0].tokens
        }
        let plain = try await model.generate([text], options: greedy(12))[0].outputs[0].tokens
        let seven = try await sampled { $0.temperature = 2 }
        #expect(try await sampled { $0.temperature = 2 } == seven)
        #expect(seven != plain)
        #expect(try await sampled { ($0.temperature, $0.seed) = (2, 8) } != seven)
        for set in [{ $0.temperature = 1e-4 }, { $0.topK = 1 }, { $0.topP = 1e-6 }, { $0.minP = 1 }] as [(inout GenerateOptions) -> Void] {
            #expect(try await sampled(set).prefix(4) == plain.prefix(4))
        }
        #expect(try await sampled { ($0.temperature, $0.typicalP) = (2, 0.1) } != seven)
        var options = GenerateOptions(maxNewTokens: 8, doSample: true, temperature: 2, seed: 1)
        options.numReturnSequences = 3
        let three = try await model.generate([text], options: options)[0].outputs
        #expect(three.count == 3 && three[0].tokens != three[1].tokens)
    }

    /// Options of special tokens and of encoder-decoder models, for which 0 is a value.
    @Test func otherModels() async throws {
        let llama = try await Model.load(path: generator("llama"))
        var options = greedy(2)
        let with = try await llama.generate(["The river"], options: options)
        options.addSpecialTokens = false
        #expect(try await llama.generate(["The river"], options: options)[0].inputTokenCount + 1 == with[0].inputTokenCount)

        let bart = try await Model.load(path: generator("bart"))
        options = GenerateOptions(maxNewTokens: 3, numBeams: 1)
        (options.forcedBOSTokenID, options.forcedEOSTokenIDs, options.skipSpecialTokens) = (9, [11], false)
        let forced = try await bart.generate(["The river"], options: options)[0].outputs[0].tokens
        #expect(forced[0] == 9 && forced[2] == 11)

        let t5 = try await Model.load(path: generator("t5-gated"))
        func started(_ id: UInt32?) async throws -> [UInt32] {
            var options = GenerateOptions(maxNewTokens: 8, numBeams: 1)
            options.decoderStartTokenID = id
            return try await t5.generate(["The river"], options: options)[0].outputs[0].tokens
        }
        let own = try await started(nil)
        #expect(try await started(40) != own)
        #expect(try await started(0) == own)
        func continued(_ set: (inout GenerateOptions) -> Void) async throws -> [UInt32] {
            var options = GenerateOptions(maxNewTokens: 6, numBeams: 1)
            set(&options)
            return try await t5.generate(["The river"], options: options)[0].outputs[0].tokens
        }
        #expect(try await continued { $0.decoderInputIDs = [Array(own[..<2])] } == Array(own[2...]))
        #expect(try await continued { $0.decoderInputTexts = ["a letter"] } != Array(own.prefix(6)))
        func beams(_ penalty: Float, _ stopping: EarlyStopping) async throws -> Float {
            var options = GenerateOptions(maxNewTokens: 12, numBeams: 3)
            (options.lengthPenalty, options.earlyStopping) = (penalty, stopping)
            return try await t5.generate(["The river"], options: options)[0].outputs[0].score
        }
        let (none, two) = (try await beams(0, .yes), try await beams(2, .never))
        #expect(none < two)
    }

    @Test func grammars() async throws {
        let model = try await Model.load(path: generator("gpt2"))
        func text(_ grammar: Grammar) async throws -> String {
            try await model.generate(["The river"], options: GenerateOptions(maxNewTokens: 60, grammar: grammar))[0].text
        }
        #expect(try await text(.regex("[a-c]{3}-[0-9]{2}")).wholeMatch(of: /[a-c]{3}-[0-9]{2}/) != nil)
        struct Object: Decodable { var bird: Bool }
        let schema = """
            {"type": "object", "properties": {"bird": {"type": "boolean"}}, "required": ["bird"], "additionalProperties": false}
            """
        _ = try JSONDecoder().decode(Object.self, from: Data(await text(.jsonSchema(schema)).utf8))
        #expect(try await ["yes", "no"].contains(text(.lark(#"start: "yes" | "no""#))))
        for broken in [Grammar.regex("("), .jsonSchema("{"), .lark("start:: x")] {
            await expectError(.invalidArgument, "\(broken)") { _ = try await text(broken) }
        }
    }

    /// Options that are wrong or contradict each other are errors that name them: Swift's names where Swift checks, C's where C does.
    @Test func wrongOptions() async throws {
        let gpt2 = try await Model.load(path: generator("gpt2"))
        for (name, set) in [
            ("maxNewTokens", { $0.maxNewTokens = -1 }), ("minNewTokens", { $0.minNewTokens = -1 }), ("topK", { $0.topK = -1 }),
            ("noRepeatNgramSize", { $0.noRepeatNgramSize = -1 }), ("numBeams", { $0.numBeams = -1 }),
            ("numReturnSequences", { $0.numReturnSequences = -1 }), ("topP", { $0.topP = .nan }),
            ("lengthPenalty", { $0.lengthPenalty = .nan }), ("length_penalty", { ($0.numBeams, $0.lengthPenalty) = (2, .infinity) }),
            ("min_new_tokens", { ($0.maxNewTokens, $0.minNewTokens) = (3, 4) }), ("max_new_tokens", { $0.maxNewTokens = .max }),
            ("max_new_tokens", { $0.maxNewTokens = 0 }), ("temperature", { $0.temperature = 0.5 }),
            ("temperature", { ($0.doSample, $0.temperature) = (true, 0) }), ("top_k", { $0.topK = 5 }),
            ("top_p", { ($0.doSample, $0.topP) = (true, 0) }), ("min_p", { ($0.doSample, $0.minP) = (true, 1.5) }),
            ("typical_p", { ($0.doSample, $0.typicalP) = (true, 0) }), ("seed", { $0.seed = 0 }),
            ("repetition_penalty", { $0.repetitionPenalty = 0 }), ("presence_penalty", { $0.presencePenalty = .infinity }),
            ("frequency_penalty", { $0.frequencyPenalty = .infinity }), ("num_beams", { ($0.doSample, $0.numBeams) = (true, 2) }),
            ("num_beams", { $0.numBeams = 1000 }), ("num_return_sequences", { $0.numReturnSequences = 2 }),
            ("length_penalty", { $0.lengthPenalty = 1 }),
            ("early_stopping", { ($0.numBeams, $0.earlyStopping) = (2, EarlyStopping(rawValue: 9)) }),
            ("early_stopping", { $0.earlyStopping = .yes }), ("stop_strings", { $0.stopStrings = ["a", ""] }),
            ("bad_words_ids", { $0.badWordsIDs = [[1], []] }), ("bad_words_ids", { $0.badWordsIDs = [[1, 1 << 30]] }),
            ("suppress_tokens", { $0.suppressTokens = [1 << 30] }), ("begin_suppress_tokens", { $0.beginSuppressTokens = [1 << 30] }),
            ("eos_token_id", { $0.eosTokenIDs = [1 << 30] }), ("forced_eos_token_id", { $0.forcedEOSTokenIDs = [1 << 30] }),
            ("forced_bos_token_id", { $0.forcedBOSTokenID = 1 << 30 }),
            ("decoder_start_token_id", { $0.decoderStartTokenID = 1 << 30 }),
            ("encoderNoRepeatNgramSize", { $0.encoderNoRepeatNgramSize = -1 }),
            ("encoder_repetition_penalty", { $0.encoderRepetitionPenalty = 0 }),
            ("exponential_decay_length_penalty", { $0.exponentialDecayLengthPenalty = ExponentialDecay(start: 1, factor: 0) }),
            ("exponentialDecayLengthPenalty.start", { $0.exponentialDecayLengthPenalty = ExponentialDecay(start: -1, factor: 2) }),
            ("sequence_bias", { $0.sequenceBias = [SequenceBias(ids: [], bias: 1)] }),
            ("sequence_bias", { $0.sequenceBias = [SequenceBias(ids: [1], bias: .nan)] }),
            ("decoder_input_ids: the model has no encoder", { $0.decoderInputIDs = [[1]] }),
            ("decoder_input_texts", { ($0.decoderInputIDs, $0.decoderInputTexts) = ([[1]], ["a"]) }),
            ("Unicode classes", { ($0.grammarWorkLimit, $0.grammar) = (100, .regex("\\w+ \\w+")) }),
            ("Unicode classes", { ($0.grammarMemoryLimit, $0.grammar) = (100, .regex("\\w+")) }),
            ("ignore_eos", { ($0.ignoreEOS, $0.grammar) = (true, .regex("a+")) }),
            ("promptLookupNumTokens", { $0.promptLookupNumTokens = -1 }), ("max_matching_ngram_size", { $0.maxMatchingNgramSize = 2 }),
            ("do_sample", { ($0.promptLookupNumTokens, $0.doSample) = (4, true) }),
            ("num_beams", { ($0.promptLookupNumTokens, $0.numBeams) = (4, 2) }),
        ] as [(String, (inout GenerateOptions) -> Void)] {
            var options = GenerateOptions()
            set(&options)
            await expectError(.invalidArgument, naming: name) { _ = try await gpt2.generate(["bird"], options: options) }
        }
    }

    @Test func wrongCalls() async throws {
        let gpt2 = try await Model.load(path: generator("gpt2")), bart = try await Model.load(path: generator("bart"))
        let bert = try await Model.load(path: fixture("bert")), llama = try await Model.load(path: generator("llama"))
        let foreign = GenerateOptions(maxNewTokens: 4, prefix: try await llama.prefix("The river"))
        let folder = try Folder()
        for (what, status, body) in [
            ("no texts", .invalidArgument, { _ = try await gpt2.generate([]) }),
            ("no ids", .invalidArgument, { _ = try await gpt2.generate(ids: []) }),
            ("empty ids", .invalidArgument, { _ = try await gpt2.generate(ids: [[]]) }),
            ("unknown id", .invalidArgument, { _ = try await gpt2.generate(ids: [[1 << 31]]) }),
            ("foreign prefix", .invalidArgument, { _ = try await gpt2.generate(["The river runs"], options: foreign) }),
            ("no generator", .unsupported, { _ = try await bert.generate(["bird"]) }),
            ("no logits", .unsupported, { _ = try await bert.logits([1]) }),
            ("decoder ids", .invalidArgument, { _ = try await gpt2.logits([1], decoderIDs: [1]) }),
            ("no decoder ids", .invalidArgument, { _ = try await bart.logits([1]) }),
            ("encoder's prefix", .unsupported, { _ = try await bart.prefix("a") }),
            ("encoder's session", .unsupported, { _ = try bart.session() }),
            ("no template", .unsupported, { _ = try gpt2.session() }),
            ("no source", .notFound, { try await Model.quantize(fixture("none"), to: folder.file("a"), precision: .int8) }),
            ("no destination", .invalidArgument, { try await Model.quantize(fixture("bert"), to: "", precision: .int8) }),
            ("no precision", .invalidArgument, { try await Model.quantize(fixture("bert"), to: folder.file("a"), precision: .auto) }),
            (
                "unknown precision", .invalidArgument,
                { try await Model.quantize(fixture("bert"), to: folder.file("a"), precision: Precision(rawValue: 9)) }
            ),
        ] as [(String, Status, () async throws -> Void)] {
            await expectError(status, what, body)
        }
    }

    /// The logits are those of transformers, at once and step by step.
    @Test(arguments: generators)
    func logits(_ name: String) async throws {
        let model = try await Model.load(path: generator(name))
        var compared = 0
        for want in try GenerationReference(name).cases {
            guard let rows = want.logits, !rows.isEmpty, let decoderIDs = want.decoderIds else { continue }
            compared += 1
            let ids = model.properties.hasEncoder ? want.ids : decoderIDs, decoder = model.properties.hasEncoder ? decoderIDs : nil
            let logits = try await model.logits(ids, decoderIDs: decoder)
            #expect(logits.count == decoderIDs.count && logits.vocabularySize == model.properties.vocabularySize)
            for (i, row) in rows.enumerated() { expectNear("row \(i)", logits[i], row) }
            let stepwise = try await model.logits(ids, decoderIDs: decoder, stepwise: true)
            #expect(sameBits(stepwise.values, logits.values))
            logits.withUnsafeRow(1) { row in
                #expect(Array(row) == logits[1])
                logits.withUnsafeValues { #expect($0.baseAddress! + logits.vocabularySize == row.baseAddress) }
            }
        }
        #expect(compared > 0)
    }

    /// A quantised file loads, says what it is, and generates; in f32 it generates the same.
    @Test(arguments: [Precision.f32, .f16, .int8, .bf16, .int4])
    func quantize(_ precision: Precision) async throws {
        let folder = try Folder(), place = folder.file("llama.kinglet"), shares = Collected<Double>()
        try await Model.quantize(
            generator("llama"), to: place, precision: precision,
            progress: { fraction in
                shares.append(fraction)
                return true
            })
        #expect(shares.values.count >= 2 && shares.values == shares.values.sorted() && shares.values.last == 1)
        let model = try await Model.load(path: place)
        #expect(model.properties.precision == precision && model.properties.family == "llama" && model.properties.canGenerate)
        let got = try await model.generate(["The river"], options: greedy(24))
        if precision == .f32 {
            let want = try await Model.load(path: generator("llama")).generate(["The river"], options: greedy(24))
            #expect(got == want)
        }
    }

    /// A calibrated file says what was chosen; texts for a type that has no calibration are refused.
    @Test func quantizeCalibrated() async throws {
        let folder = try Folder(), place = folder.file("bert.kinglet"), texts = ["A bird sings.", "Rivers run to the sea."]
        try await Model.quantize(fixture("bert"), to: place, precision: .int8, calibrationTexts: texts)
        let described = try await Model.load(path: place).describe()
        #expect(described.contains("\"calibration\":{\"texts\":2,\"layers\":{\""))
        await expectError(.invalidArgument) {
            try await Model.quantize(fixture("bert"), to: place, precision: .f16, calibrationTexts: texts)
        }
    }

    @Test func quantizeCancelled() async throws {
        let folder = try Folder(), place = folder.file("none.kinglet")
        await expectError(.cancelled) {
            try await Model.quantize(fixture("bert"), to: place, precision: .int8, progress: { _ in false })
        }
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await Model.quantize(fixture("bert"), to: place, precision: .int8)
        }
        await expectError(.cancelled) { try await task.value }
        #expect(!Place.exists(place))
    }

    /// Drafts change how soon a text is there, and nothing of it.
    @Test(arguments: generators)
    func promptLookup(_ name: String) async throws {
        let model = try await Model.load(path: generator(name))
        var plain = greedy(24)
        plain.logprobs = true
        var drafting = plain
        (drafting.promptLookupNumTokens, drafting.maxMatchingNgramSize) = (5, 1)
        let want = try await model.generate(many(4), options: plain)
        #expect(try await model.generate(many(4), options: drafting) == want)
        let c = try model.counters()
        #expect(c[.draft].tokens > 0 && c[.accept].tokens <= c[.draft].tokens)
    }

    /// Questions that come again are answered from the cache; its counters and those of generation say so.
    @Test func answerCache() async throws {
        let model = try await Model.load(path: generator("gpt2"), options: ModelOptions(answerCacheBytes: 1 << 20))
        let first = try await model.generate(["The river", "a"], options: greedy(12))
        #expect(try await model.generate(["a", "The river"], options: greedy(12)) == first.reversed())
        _ = try await model.generate(["The river", "b"], options: greedy(12))
        let c = try model.counters()
        #expect(c[.answerHit].calls == 3 && c[.answerHit].items == 3 && c[.answerMiss].calls == 3 && c[.firstToken].items == 3)
        #expect(c[.prefill].calls > 0 && c[.decode].calls >= 10 && c[.sample].items >= 30 && c[.detokenize].items == 3)
        #expect(c[.decode].time > .zero && c[.call].items == 6)
    }
}
