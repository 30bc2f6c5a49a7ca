import Foundation
import Testing

@testable import Kinglet

@Suite struct SessionTests {
    /// A turn's reply is what the whole chat as one prompt gives, and earlier turns stay computed.
    @Test(arguments: ["gpt2", "llama"])
    func turns(_ name: String) async throws {
        let model = try await chatModel(name), session = try model.session()
        #expect(model.properties.canChat)
        var prompt = ""
        func expectReply(_ got: Generation) async throws {
            var options = greedy(8)
            options.addSpecialTokens = false
            #expect(try await model.generate(["\(prompt)<assistant>"], options: options)[0].text == got.text)
            #expect(got.inputTokenCount > 0)
            prompt += "<assistant>\(got.text)"
        }
        try await session.add(Message(role: "system", content: "Be short."))
        prompt += "<system>Be short.<user>The river"
        try await expectReply(session.send("The river", options: greedy(8)))
        let held = try await session.heldTokens()
        #expect(held >= 10)
        try await session.add(Message(role: "user", content: "a"))
        prompt += "<user>a"
        try await expectReply(session.reply(options: greedy(8)))
        #expect(try await session.heldTokens() > held)
        #expect(try await session.messages().map(\.role) == ["system", "user", "assistant", "user", "assistant"])
        try await session.rewind(1)
        #expect(try await session.messages() == [Message(role: "system", content: "Be short.")])
        prompt = "<system>Be short.<user>again"
        try await expectReply(session.send("again", options: greedy(8)))
        #expect(try model.memoryUse().cacheBytes > 0)
    }

    /// Replies that must call a tool, and what a chat keeps of them.
    @Test func tools() async throws {
        let model = try await chatModel("bloom", generationConfig: #"{"eos_token_id": 0}"#)
        let tools = #"[{"name": "go"}]"#
        let options = ChatOptions(tools: tools, templateVariables: #"{"a": 1}"#, toolFormat: .hermes)
        let session = try model.session(options: options)
        var calling = greedy(200)
        for (choice, count) in [(ToolChoice.function("go"), 1), (.none, 0)] {
            calling.toolChoice = choice
            let reply = try await session.send("hi", options: calling)
            #expect(reply.outputs[0].message.contains("\"tool_calls\"") == (count == 1))
        }
        try await session.rewind(0)
        let json = #"{"role":"tool","content":"3","tool_call_id":"x"}"#
        try await session.add(Message(json: json))
        #expect(try await session.messages() == [Message(role: "tool", content: "3", json: json)])
        #expect(try await session.prompt() == "<tool>3<assistant>")

        let chat = #"[{"role": "user", "content": "a"}]"#
        #expect(try model.applyChatTemplate(chat) == "<user>a")
        #expect(try model.applyChatTemplate(chat, options: ChatOptions(addGenerationPrompt: true)) == "<user>a<assistant>")
        let answer = #"<think>Hm.</think><tool_call>{"name": "go", "arguments": {}}</tool_call>"#
        let message = try model.parseResponse(answer, options: options)
        #expect(message.contains(#""reasoning_content":"Hm.""#) && message.contains(#""name":"go""#))
        await expectError(.invalidArgument, naming: "tools: ") { _ = try model.session(options: ChatOptions(tools: "5")) }
        await expectError(.invalidArgument, naming: "messages: ") { _ = try model.applyChatTemplate("5") }
        await expectError(.invalidArgument, naming: "continue_final_message: ") {
            _ = try model.session(options: ChatOptions(continueFinalMessage: true))
        }
    }

    /// The variants that block.
    @Test func blocking() async throws {
        let model = try await chatModel("llama")
        func chat() throws -> [Message] {
            let session = try model.session()
            try session.add(Message(role: "system", content: "Be short."))
            _ = try session.send("The river", options: greedy(4))
            try session.rewind(2)
            _ = try session.reply(options: greedy(4))
            #expect(try session.heldTokens() > 0)
            #expect(try session.prompt().hasPrefix("<system>Be short.<user>The river"))
            return try session.messages()
        }
        #expect(try chat().map(\.role) == ["system", "user", "assistant"])
    }

    /// A streamed reply is the same as a whole one; a loop that is left leaves the chat as it was; and calls within it say what is wrong.
    @Test func streams() async throws {
        let session = try await chatModel("llama").session()
        let want = try await session.send("The river", options: greedy(8))
        let chat = try await session.messages()
        try await session.rewind(0)

        var text = "", pieces = 0
        for try await piece in session.sendStream("The river", options: greedy(8)) {
            text += piece.text
            pieces += 1
            // With the last piece the reply may be there already.
            if piece.finishReason == .none {
                await expectError(.invalidArgument, naming: "streamed reply") { _ = try await session.messages() }
            }
        }
        #expect(text == want.text && pieces == want.outputs[0].tokens.count)
        #expect(try await session.messages() == chat)
        for try await _ in session.sendStream("lost", options: greedy(8)) { break }
        // Waits for the end of the loop's call, which is cancelled.
        #expect(try await session.messages() == chat)
        try await session.add(Message(role: "user", content: "more"))
        for try await _ in session.replyStream(options: greedy(8)) {}
        #expect(try await session.messages().count == chat.count + 2)
    }

    /// An iterator that is dropped late does not end the turn of the next loop.
    @Test func droppedLate() async throws {
        let session = try await chatModel("llama").session()
        var first: GenerationStream.Iterator? = session.sendStream("bird", options: greedy(2)).makeAsyncIterator()
        while try await first?.next() != nil {}
        var second = session.sendStream("bird", options: greedy(4)).makeAsyncIterator()
        #expect(try await second.next() != nil)
        first = nil
        await expectError(.invalidArgument, naming: "streamed reply") { _ = try await session.messages() }
        while try await second.next() != nil {}
        #expect(try await session.messages().count == 4)
    }

    @Test func errors() async throws {
        var model: Model? = try await chatModel("llama")
        let session = try model!.session()
        try await session.add(Message(role: "user", content: "The river"))
        let before = try await session.messages()
        for (name, set) in [
            ("num_return_sequences", { ($0.numReturnSequences, $0.doSample) = (2, true) }),
            ("temperature", { ($0.temperature, $0.doSample) = (1, false) }), ("numBeams", { $0.numBeams = -1 }),
        ] as [(String, (inout GenerateOptions) -> Void)] {
            var options = GenerateOptions()
            set(&options)
            await expectError(.invalidArgument, naming: name) { _ = try await session.send("wrong", options: options) }
        }
        await expectError(.invalidArgument, naming: "count") { try await session.rewind(-1) }
        let late = Task { try await session.send("too late") }
        late.cancel()
        await expectError(.cancelled) { _ = try await late.value }
        #expect(try await session.messages() == before)

        // A session keeps its model.
        model = nil
        #expect(try await !session.reply(options: greedy(4)).text.isEmpty)
    }

    /// Tasks that talk to one session take turns, each of a whole question and reply; one that waits heeds its cancellation.
    @Test func together() async throws {
        let session = try await chatModel("llama").session()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<5 { group.addTask { _ = try await session.send("bird", options: greedy(2)) } }
            try await group.waitForAll()
        }
        #expect(try await session.messages().map(\.role) == (0..<10).map { $0 % 2 == 0 ? "user" : "assistant" })

        // Where a loop has the turn, others do not wait for it.
        try await session.rewind(0)
        let inside = Collected<Bool>(), asked = Collected<Bool>()
        let loop = Task {
            for try await piece in session.sendStream("bird", options: greedy(2)) where piece.finishReason == .none {
                inside.append(true)
                while asked.values.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
            }
        }
        while inside.values.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        await expectError(.invalidArgument, naming: "streamed reply") { _ = try await session.send("a") }
        asked.append(true)
        try await loop.value
        #expect(try await session.messages().count == 2)
    }

    /// A call that waits for its turn heeds its cancellation.
    @Test func waitingIsCancelled() async throws {
        let turn = Turn(), isTaken = Collected<Bool>(), mayEnd = Collected<Bool>()
        let holder = Task {
            try await offCooperativePool { _ throws(KingletError) in
                try turn.use {
                    isTaken.append(true)
                    while mayEnd.values.isEmpty { usleep(1000) }
                }
            }
        }
        while isTaken.values.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        let waiting = Task {
            try await offCooperativePool { cancellation throws(KingletError) in
                try turn.use(cancellation) { _ = Issue.record("it has the turn") }
            }
        }
        try await Task.sleep(for: .milliseconds(10))
        waiting.cancel()
        await expectError(.cancelled) { try await waiting.value }
        mayEnd.append(true)
        try await holder.value
        try turn.use {}
    }

    /// Prompts that begin with a prefix give the same as without it, at less work; many calls share it, and it keeps its model.
    @Test func prefixes() async throws {
        let plain = try await Model.load(path: generator("llama"))
        let model = try await Model.load(path: generator("llama"))
        let beginning = "The small bird sings near the river"
        let texts = ["\(beginning), and it isn't hard to see.", beginning, "She wrote a letter.", "The small"]
        let want = try await plain.generate(texts, options: greedy(12))
        var options = greedy(12)
        options.prefix = try await model.prefix(beginning)
        model.resetCounters()
        #expect(try await model.generate(texts, options: options).map(\.outputs) == want.map(\.outputs))
        let with = try model.counters()[.prefill].tokens, without = try plain.counters()[.prefill].tokens
        #expect(with + 20 <= without)
        try await withThrowingTaskGroup(of: [Generation].self) { group in
            for _ in 0..<20 { group.addTask { [options] in try await model.generate([texts[0]], options: options) } }
            for try await got in group { #expect(got[0].outputs == want[0].outputs) }
        }
    }
}
