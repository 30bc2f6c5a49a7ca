// The same binding without exceptions, in the same program as consumer.cpp.

#include <kinglet.hpp>

#include <string>

#if KINGLET_EXCEPTIONS
#error "compile this with -fno-exceptions"
#endif

int no_exceptions_main(const std::string &fixtures);

int no_exceptions_main(const std::string &fixtures) {
    int reports = 0;
    kinglet::ModelOptions options;
    options.progress = [&](double) { return ++reports > 0; };
    options.log = [](kinglet::LogLevel, std::string_view) {};
    const auto model = kinglet::Model::load(fixtures + "/bert", options);
    if (!model || reports == 0) return 1;
    const auto embeddings = model->embed({"bird"});
    if (!embeddings || (*embeddings)[0].size() != 32) return 2;
    const auto encoding = model->tokenize({"bird"});
    if (!encoding || !encoding->pad() || !model->hidden_states(*encoding)) return 3;
    const kinglet::Cancellation cancellation;
    cancellation.cancel();
    kinglet::EmbedOptions cancelled;
    cancelled.cancellation = &cancellation;
    if (model->embed({"bird"}, cancelled).status() != kinglet::Status::Cancelled) return 5;
    const auto missing = kinglet::Model::load(fixtures + "/nowhere");
    if (missing || missing.error().status() != kinglet::Status::NotFound) return 6;
    const auto writer = kinglet::Model::load(fixtures + "/generation/gpt2");
    if (!writer) return 7;
    std::string text;
    kinglet::GenerateOptions wanted;
    wanted.max_new_tokens = 5;
    wanted.ignore_eos = true;
    wanted.on_piece = [&](const kinglet::Piece &piece) { text += piece.text; };
    const auto made = writer->generate("The river", wanted);
    if (!made || (*made)[0].tokens.size() != 5 || (*made)[0].text != text) return 8;
    wanted.on_piece = [](const kinglet::Piece &) { return false; };
    if (writer->generate({"The river"}, wanted).status() != kinglet::Status::Cancelled) return 9;
    if (!writer->prefix("The") || writer->session().status() != kinglet::Status::Unsupported) return 10;
    const std::uint32_t ids[] = {299, 295};
    if (!writer->logits(ids) || kinglet::quantize("", "", kinglet::Precision::F32)) return 11;
    return 0;
}
