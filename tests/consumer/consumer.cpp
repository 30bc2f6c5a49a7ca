// The C++ binding as a C++17 or C++20 program uses it, with exceptions. Usage: consumer FIXTURES.
// Generation is in consumer_generate.cpp.

#include <kinglet.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#if __cplusplus >= 202002L
#include <span>
#endif
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"

int generate_main(const std::string &fixtures);
int no_exceptions_main(const std::string &fixtures);

namespace {

// An Error with this status, whose message contains `word`.
template <class Call>
void fails(kinglet::Status status, const char *word, Call call) {
    try {
        call();
        CHECK(!"an exception");
    } catch (const kinglet::Error &error) {
        CHECK(error.status() == status);
        CHECK(std::strstr(error.what(), word) != nullptr);
    }
}

template <class T>
constexpr bool only_moves = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(only_moves<kinglet::Encoding> && only_moves<kinglet::Embeddings>);
static_assert(only_moves<kinglet::Classifications> && only_moves<kinglet::TokenClassifications>);
static_assert(only_moves<kinglet::Ranking> && std::is_copy_constructible_v<kinglet::EmbeddingCodes>);
static_assert(only_moves<kinglet::HiddenStates> && only_moves<kinglet::Cancellation>);
static_assert(only_moves<kinglet::Request<kinglet::Embeddings>> && only_moves<kinglet::Request<kinglet::Generations>>);
static_assert(std::is_copy_constructible_v<kinglet::Counters> && std::is_base_of_v<std::runtime_error, kinglet::Error>);
static_assert(!std::is_constructible_v<kinglet::Texts, std::string> && !std::is_constructible_v<kinglet::Texts, int>);
static_assert(std::is_nothrow_copy_constructible_v<kinglet::Model> && std::is_nothrow_copy_assignable_v<kinglet::Model>);
#if __cplusplus >= 202002L
static_assert(std::is_convertible_v<kinglet::Span<const float>, std::span<const float>>);
static_assert(std::is_convertible_v<std::span<const float>, kinglet::Span<const float>>);
#endif

void texts() {
    const std::string a = "one", b = "three";
    CHECK(kinglet::Texts({"one", b}).size() == 2);
    CHECK(kinglet::Texts({"one", b}).data()[1].size == 5);
    CHECK(kinglet::Texts(std::vector<std::string>{a, b}).size() == 2);
    CHECK(kinglet::Texts(std::vector<std::string_view>{a}).size() == 1);
    CHECK(kinglet::Texts(std::array<const char *, 3>{"a", "b", "c"}).size() == 3);
    const std::vector<std::string_view> views{a, b};
    CHECK(kinglet::Texts(kinglet::Span<const std::string_view>(views)).size() == 2);
    const char *const array[] = {"x", "y"};
    CHECK(kinglet::Texts(array).size() == 2);
}

void loading(const std::string &fixtures) {
    std::vector<double> shares;
    std::string lines;
    kinglet::ModelOptions options;
    options.threads = 2;
    options.precision = kinglet::Precision::F32;
    options.log_level = kinglet::LogLevel::Debug;
    options.progress = [&](double fraction) {
        shares.push_back(fraction);
        return true;
    };
    options.log = [&](kinglet::LogLevel, std::string_view line) { lines += line; };
    auto model = kinglet::Model::load(fixtures + "/bert", options).value();
    CHECK(!shares.empty() && shares.back() == 1.0);
    CHECK(!lines.empty());
    CHECK(model.family() == "bert" && model.path() == fixtures + "/bert");
    CHECK(model.device() == kinglet::Device::Cpu && model.precision() == kinglet::Precision::F32);
    CHECK(model.threads() == 2 && model.dimension() == 32 && model.max_length() == 24 && model.vocabulary_size() == 300);
    CHECK(model.weight_bytes() > 0 && model.labels().empty());
    CHECK(model.describe().value().find("\"bert\"") != std::string::npos);

    // Moves leave something that fails but does no harm.
    kinglet::Model moved = std::move(model);
    CHECK(moved.family() == "bert");
    fails(kinglet::Status::InvalidArgument, "NULL", [&] { (void)model.embed({"bird"}).value(); });
    model = std::move(moved);
    CHECK(model.embed({"bird"}).value().size() == 1);
    auto shared = model;
    model = kinglet::Model::load(fixtures + "/bert").value();
    CHECK(shared.embed({"bird"}).value().dimension() == 32);

    // Callbacks that cancel and throw.
    options.progress = [](double) { return false; };
    fails(kinglet::Status::Cancelled, "", [&] { (void)kinglet::Model::load(fixtures + "/bert", options).value(); });
    options.progress = [](double) -> bool { throw std::string("mine"); };
    try {
        (void)kinglet::Model::load(fixtures + "/bert", options).value();
        CHECK(!"an exception");
    } catch (const std::string &thrown) {
        CHECK(thrown == "mine");
    }
    CHECK(kinglet::Model::load(fixtures + "/bert", options).status() == kinglet::Status::Cancelled);
    options.progress = nullptr;
    options.log = [](kinglet::LogLevel, std::string_view) { throw 1; };
    CHECK(kinglet::Model::load(fixtures + "/bert", options).value().dimension() == 32);

    fails(kinglet::Status::NotFound, "nowhere", [&] { (void)kinglet::Model::load(fixtures + "/nowhere").value(); });
    options.device = kinglet::Device::Metal;
    fails(kinglet::Status::Unsupported, "", [&] { (void)kinglet::Model::load(fixtures + "/bert", options).value(); });
    options = {};
    options.memory_limit = 1000;
    fails(kinglet::Status::OutOfMemory, "", [&] { (void)kinglet::Model::load(fixtures + "/bert", options).value(); });
    options = {};
    options.max_text_bytes = 4;
    const auto limited = kinglet::Model::load(fixtures + "/bert", options).value();
    fails(kinglet::Status::InvalidArgument, "texts[0]: has 5 bytes", [&] { (void)limited.embed({"birds"}).value(); });
    CHECK(kinglet::name(kinglet::Status::NotFound) == std::string("not_found"));
    CHECK(!kinglet::version().empty());
}

void tokenising(const kinglet::Model &model) {
    auto encoding = model.tokenize({"bird", ""}).value();
    CHECK(encoding.size() == 2 && encoding.token_count() == 6 && encoding.longest() == 4);
    CHECK(encoding.ids(0)[1] == 53 && encoding.ids(1).size() == 2 && encoding.ids().size() == 6);
    CHECK(encoding.lengths()[1] == 2 && encoding.type_ids(0)[0] == 0 && !encoding.truncated(0));
    CHECK(encoding.special_tokens_mask(1)[0] == 1 && encoding.sequences(0)[1] == 0);
    CHECK(encoding.offsets().empty() && encoding.offsets(0).empty());
    const auto padded = encoding.pad().value();
    CHECK(padded.rows == 2 && padded.length == 4 && padded.ids.size() == 8);
    CHECK(padded.ids[6] == encoding.pad_id() && padded.attention_mask[5] == 1 && padded.attention_mask[6] == 0);
    CHECK(encoding.pad(6, 7).value().ids[5] == 7);
    fails(kinglet::Status::InvalidArgument, "", [&] { (void)encoding.pad(2).value(); });
    CHECK(encoding.pad(static_cast<std::size_t>(-1)).status() == kinglet::Status::OutOfMemory);

    const auto states = model.hidden_states(encoding).value();
    CHECK(states.size() == 2 && states.dimension() == 32 && states.token_count() == 6 && states.values().size() == 192);
    NEAR(states[0][0], -0.6894349);
    NEAR(states[1][0], -0.8737418);
    const std::vector<std::uint32_t> ids{2, 53, 232, 3};
    const std::vector<std::size_t> lengths{4};
    NEAR(model.hidden_states(ids, lengths).value()[0][0], -0.6894349);
    fails(kinglet::Status::InvalidArgument, "type_ids",
          [&] { (void)model.hidden_states(ids, lengths, encoding.type_ids(1)).value(); });
    CHECK(model.detokenize(ids).value() == "bird");
    CHECK(model.detokenize(ids, {kinglet::Tristate::No}).value().find("[CLS]") != std::string::npos);

    kinglet::CompressOptions shorter;
    fails(kinglet::Status::InvalidArgument, "ratio", [&] { (void)model.compress("bird", shorter).value(); });
    shorter.ratio = 2;
    shorter.force_tokens = {"rain"};
    const std::string document = "A small bird sings. The rain runs to the sea! It answers the stone.";
    const auto compression = model.compress(document, shorter).value();
    CHECK(compression.text() == "The rain runs to the sea!" && compression.kept().size() == 1);
    CHECK(compression.kept()[0].start == 20 && compression.kept()[0].end == 45 && compression.windows() == 3);
    CHECK(compression.method() == kinglet::CompressMethod::SentenceEmbeddings);
    CHECK(compression.tokens_after() * 2 <= compression.tokens_before());

    const auto *before = encoding.ids().data();
    const kinglet::Encoding moved = std::move(encoding);
    CHECK(moved.ids().data() == before && encoding.size() == 0 && encoding.ids().empty());

    kinglet::TokenizeOptions options;
    options.offsets = true;
    const auto pairs = model.tokenize_pairs({"bird"}, {"bird"}, options).value();
    CHECK(pairs.token_count() == 7 && pairs.type_ids(0)[5] == 1 && pairs.sequences(0)[5] == 1);
    CHECK(pairs.offsets(0)[2].start == 1 && pairs.offsets(0)[2].end == 4);
    fails(kinglet::Status::InvalidArgument, "pairs", [&] { (void)model.tokenize_pairs({"a", "b"}, {"c"}).value(); });
    options.max_length = 3;
    CHECK(model.tokenize({"bird"}, options).value().truncated(0));
}

void embedding(const kinglet::Model &model) {
    const auto embeddings = model.embed(std::vector<std::string>{"bird", ""}).value();
    CHECK(embeddings.size() == 2 && embeddings.dimension() == 32 && embeddings.row_count() == 2);
    NEAR(embeddings[0][0], -0.2079457);
    NEAR(embeddings[1][0], -0.16182);
    std::size_t seen = 0;
    for (const auto vector : embeddings) CHECK(vector.size() == 32 && vector.data() == embeddings[seen++].data());
    CHECK(seen == 2);
    CHECK(embeddings.values().size() == 64 && embeddings.token_count(0) == 4 && !embeddings.truncated(0));
    // The same texts in Arrow's layout, without the first one of the buffers, into rows with room between them.
    const std::int32_t offsets[] = {0, 1, 5, 5};
    float into[33 + 32] = {};
    std::size_t tokens[2] = {};
    kinglet::ArrowTexts<std::int32_t> arrow{2, offsets, {"xbird", 5}, 1};
    kinglet::EmbeddingBuffer buffer{32, into, 33, tokens};
    model.embed_arrow(arrow, buffer).value();
    CHECK(into[0] == embeddings[0][0] && into[33 + 31] == embeddings[1][31] && into[32] == 0 && tokens[0] == 4 && tokens[1] == 2);
    buffer.stride = 31;
    fails(kinglet::Status::InvalidArgument, "buffer.stride", [&] { model.embed_arrow(arrow, buffer).value(); });
    kinglet::EmbedOptions options;
    options.pooling = kinglet::Pooling::None;
    options.normalize = kinglet::Tristate::No;
    const auto rows = model.embed({"bird", ""}, options).value();
    CHECK(rows.row_count() == 6 && rows[0].size() == 4 * 32 && rows[1].size() == 2 * 32);
    NEAR(rows[0][0], -0.6894349);
    kinglet::EmbedOptions prompted;
    prompted.prompt = "small ";
    prompted.truncate_dim = 8;
    const auto few = model.embed({"bird"}, prompted).value();
    CHECK(few.dimension() == 8 && few[0][0] == model.embed({"small bird"}).value()[0][0]);
    prompted.prompt = "";
    prompted.prompt_name = "passage";
    CHECK(model.embed({"bird"}, prompted).value()[0][0] == embeddings[0][0]);
    prompted.prompt.reset();
    fails(kinglet::Status::InvalidArgument, "prompt_name", [&] { (void)model.embed({"bird"}, prompted).value(); });
    CHECK(model.embedding_dimension() == 32);
    fails(kinglet::Status::InvalidArgument, "", [&] { (void)model.embed(std::vector<std::string>{}).value(); });
    fails(kinglet::Status::InvalidArgument, "UTF-8", [&] { (void)model.embed({"\xff"}).value(); });
    fails(kinglet::Status::Unsupported, "", [&] { (void)model.classify({"bird"}).value(); });
}

void counters(const kinglet::Model &model) {
    model.reset_counters();
    (void)model.embed({"bird", "fox"}).value();
    const auto counters = model.counters().value();
    CHECK(counters[kinglet::Stage::Call].calls == 1 && counters[kinglet::Stage::Call].items == 2 && counters[kinglet::Stage::Call].time.count() > 0);
    CHECK(counters.latency().count == 1 && counters.stages()[1].first == kinglet::Stage::Tokenize);
    CHECK(counters.stages()[1].second.items == counters[kinglet::Stage::Tokenize].items && counters[kinglet::Stage::Linear].calls > 0);
    CHECK(model.export_counters(kinglet::CountersFormat::Json).value()[0] == '{');
    CHECK(model.export_counters(kinglet::CountersFormat::Prometheus).value().find("# TYPE") != std::string::npos);
    CHECK(model.export_counters(kinglet::CountersFormat::Csv).value().find("attention,") != std::string::npos);
}

void cancelling(const kinglet::Model &model) {
    const kinglet::Cancellation cancellation;
    kinglet::EmbedOptions options;
    options.cancellation = &cancellation;
    model.reset_counters();
    std::thread other([&] {
        while (model.counters().value().latency().count < 3) std::this_thread::yield();
        cancellation.cancel();
    });
    fails(kinglet::Status::Cancelled, "", [&] {
        for (int i = 0; i < 1000000; ++i) (void)model.embed({"The small bird sings near the river."}, options).value();
    });
    other.join();
    kinglet::ClassifyOptions classify;
    classify.cancellation = &cancellation;
    CHECK(!model.classify({"bird"}, classify));
}

bool same(kinglet::Span<const float> a, kinglet::Span<const float> b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

// Calls in the background give what calls give.
void requests(const std::string &fixtures, const kinglet::Model &model) {
    using namespace std::chrono_literals;
    const std::vector<std::string> texts = {"a small bird", "sings"};
    std::atomic<int> done{0};
    auto request = model.submit_embed(texts, {}, [&] { ++done; }).value();
    CHECK(request.wait_for(1min) && request.ready());
    const auto embeddings = request.take().value(), alone = model.embed(texts).value();
    for (std::size_t i = 0; i < texts.size(); ++i) CHECK(same(embeddings[i], alone[i]));
    fails(kinglet::Status::InvalidArgument, "taken before", [&] { (void)request.take().value(); });

    // take() waits; the call's own error comes with it.
    kinglet::EmbedOptions wrong;
    wrong.prompt_name = "passage";
    fails(kinglet::Status::InvalidArgument, "prompt", [&] { (void)model.submit_embed(texts, wrong).value().take().value(); });

    // Cancelled, by itself and by the options' cancellation; destroyed before it is done, with its callback still called.
    const std::vector<std::string> many(20000, "The small bird sings near the river, and the river sings to the bird.");
    auto cancelled = model.submit_embed(many, {}, [&] { ++done; }).value();
    CHECK(!cancelled.wait_for(0ms));
    cancelled.cancel();
    CHECK(cancelled.take().status() == kinglet::Status::Cancelled);
    {
        kinglet::Cancellation cancellation;
        kinglet::EmbedOptions options;
        options.cancellation = &cancellation;
        auto moved = model.submit_embed(many, options, [&] { ++done; }).value();
        auto other = std::move(moved);
        cancellation.cancel();
        CHECK(!moved.ready() && other.take().status() == kinglet::Status::Cancelled);
        (void)model.submit_embed(many, {}, [&] { ++done; }).value();
        (void)model.submit_embed(texts, {}, [&] { ++done; throw 1; }).value().take();
    }
    while (done < 5) std::this_thread::sleep_for(1ms);

    const auto classifier = kinglet::Model::load(fixtures + "/bert-classifier").value();
    const auto one = classifier.submit_classify({"bird"}).value().take().value();
    CHECK(same(one[0], classifier.classify({"bird"}).value()[0]));
    CHECK(classifier.submit_classify_pairs({"bird"}, {"fox"}).value().take().value().size() == 1);
    CHECK(!classifier.submit_classify_pairs({"bird"}, {}));
    const auto scorer = kinglet::Model::load(fixtures + "/roberta-cross-encoder").value();
    CHECK(same(scorer.submit_score({"a"}, {"bird"}).value().take().value()[0], scorer.score({"a"}, {"bird"}).value()[0]));
    const auto tagger = kinglet::Model::load(fixtures + "/bert-token-classifier").value();
    CHECK(tagger.submit_classify_tokens({"bird"}).value().take().value().size() == 1);
}

void heads(const std::string &fixtures) {
    kinglet::ClassifyOptions raw;
    raw.function = kinglet::ScoreFunction::None;
    {
        const auto model = kinglet::Model::load(fixtures + "/bert-classifier").value();
        CHECK(model.label_count() == 2 && model.labels()[1] == "POSITIVE" && model.label(0) == "NEGATIVE");
        const auto made = model.classify({"bird", ""}).value();
        CHECK(made.size() == 2 && made.label_count() == 2 && made.best(0) == 1 && made.scores().size() == 4);
        NEAR(made[0][0] + made[0][1], 1);
        CHECK(made.token_count(1) == 2 && !made.truncated(0));
        const auto pairs = model.classify_pairs({"Where does the water go?"}, {"The river runs dry in the summer."}, raw).value();
        NEAR(pairs[0][0], -0.9240975);
    }
    {
        const auto model = kinglet::Model::load(fixtures + "/roberta-cross-encoder").value();
        NEAR(model.score({"Where does the water go?"}, {"The river runs dry in the summer."}, raw).value()[0][0], 0.7342991);
        fails(kinglet::Status::InvalidArgument, "documents", [&] { (void)model.score({"a"}, {"b", "c"}).value(); });

        const std::vector<std::string> documents = {"a stone falls", "a small bird", "", "a small bird"};
        const std::vector<std::string> queries(4, "what flies?");
        const auto scores = model.score(queries, documents).value();
        const auto ranking = model.rerank("what flies?", documents).value();
        CHECK(ranking.size() == 4 && ranking.document_count() == 4 && !ranking.truncated(0));
        for (std::size_t i = 0; i < ranking.size(); ++i) {
            CHECK(ranking[i].score == scores[ranking[i].index][0] && ranking.token_count(i) == scores.token_count(i));
            if (i > 0) CHECK(ranking[i - 1].score > ranking[i].score || (ranking[i - 1].score == ranking[i].score && ranking[i - 1].index < ranking[i].index));
        }
        kinglet::RerankOptions best;
        best.top_n = 1;
        best.scoring = raw;
        const auto first = model.rerank("what flies?", documents, best).value();
        CHECK(first.size() == 1 && first.indices()[0] == ranking[0].index);
        fails(kinglet::Status::InvalidArgument, "documents", [&] { (void)model.rerank("a", std::vector<std::string>{}).value(); });
    }
    {
        const auto model = kinglet::Model::load(fixtures + "/tasks/splade").value();
        const std::vector<std::string> texts = {"a [MASK] bird", "[MASK] and [MASK]"};
        kinglet::FillMaskOptions few;
        few.targets = {"river", "bird"};
        const auto fills = model.fill_mask(texts, few).value();
        CHECK(fills.size() == 2 && fills.mask_count() == 3 && fills.top_k() == 2 && fills.starts()[2] == 3 && fills.token_count(0) > 4);
        const auto likely = fills.fills(2);
        CHECK(likely.size() == 2 && likely[0].score >= likely[1].score && !likely[0].sequence.empty() && !fills.truncated(1));
        CHECK(fills.fill(3, 0).sequence.empty());
        const auto sparse = model.sparse_embed(texts).value();
        CHECK(sparse.size() == 2 && sparse.dimension() == 300 && sparse[0].indices.size() == 20 && !sparse.truncated(0));
        CHECK(sparse.indices().size() == sparse.weights().size() && sparse.starts()[2] == sparse.indices().size());
        CHECK(sparse[0].dot(sparse[1]) == sparse[1].dot(sparse[0]) && sparse[0].dot(sparse[0]) > 0 && sparse.token_count(1) > 4);
        kinglet::SparseOptions named;
        named.prompt_name = "query";
        named.max_active_dims = 3;
        const auto query = model.sparse_embed(texts, named).value();
        CHECK(query[1].weights.size() == 3 && query.token_count(0) > sparse.token_count(0));
        fails(kinglet::Status::InvalidArgument, "no mask token", [&] { (void)model.fill_mask({"a bird"}).value(); });
    }
    {
        const auto model = kinglet::Model::load(fixtures + "/tasks/nli").value();
        kinglet::ZeroShotOptions each;
        each.multi_label = true;
        each.hypothesis_template = "About {}.";
        const auto results = model.classify_zero_shot({"a small bird", "the train"}, {"birds", "trains", "money"}, each).value();
        CHECK(results.size() == 2 && results.label_count() == 3 && !results.truncated(0) && results.token_count(1) > 6);
        CHECK(results[1].labels.size() == 3 && results[1].scores[0] >= results[1].scores[2]);
        fails(kinglet::Status::InvalidArgument, "labels", [&] { (void)model.classify_zero_shot({"a"}, std::vector<std::string>{}).value(); });
    }
    {
        const auto model = kinglet::Model::load(fixtures + "/bert-token-classifier").value();
        const auto made = model.classify_tokens({"bird", "fox"}, raw).value();
        CHECK(made.size() == 2 && made.label_count() == 5 && made[0].size() == 4 * 5 && !made.truncated(1));
        CHECK(made.scores().size() == made.token_count() * 5);
        NEAR(made[0][0], 1.649655);
        CHECK(made.entities().size() == made.entity_count());
        for (const auto &entity : made.entities()) CHECK(entity.text < 2 && entity.start < entity.end && !entity.name.empty());
    }
}

void search() {
    // Rows of three values with room for one between them.
    const std::vector<float> corpus = {1, -2, 0.5, 9, -1, 4, 0.25};
    const kinglet::EmbeddingRows rows(corpus, 3, 4);
    CHECK(rows.size() == 2 && rows.dimension() == 3 && rows.kind() == kinglet::EmbeddingType::Float32);
    kinglet::SearchOptions options;
    options.similarity = kinglet::Similarity::Dot;
    const auto hits = kinglet::search(rows, rows, options).value();
    CHECK(hits.per_query == 2 && hits.indices == (std::vector<std::int64_t>{0, 1, 1, 0}));
    CHECK(hits.scores == (std::vector<float>{5.25, -8.875, 17.0625, -8.875}));

    const auto ranges = kinglet::embedding_ranges(rows).value();
    CHECK(ranges == (std::vector<float>{-1, -2, 0.25, 1, 4, 0.5}));
    for (const auto kind : {kinglet::EmbeddingType::Float32, kinglet::EmbeddingType::Float16, kinglet::EmbeddingType::Int8,
                            kinglet::EmbeddingType::Uint8, kinglet::EmbeddingType::Binary, kinglet::EmbeddingType::Ubinary}) {
        const auto codes = kinglet::quantize_embeddings(rows, kind, ranges).value();
        CHECK(codes.kind() == kind && codes.rows().size() == 2 && codes.dimension() == 3);
        const auto found = kinglet::search(codes.rows(), codes.rows(), {}).value();
        CHECK(found.per_query == 2 && found.scores.size() == 4);
    }
    const auto bits = kinglet::quantize_embeddings(rows, kinglet::EmbeddingType::Ubinary).value();
    CHECK(bits.bytes().size() == 2 && bits.bytes()[0] == 0xa0 && bits.bytes()[1] == 0x60);
    const auto codes = kinglet::quantize_embeddings(rows, kinglet::EmbeddingType::Uint8, ranges).value();
    kinglet::SearchOptions rescored;
    rescored.top_k = 1;
    rescored.ranges = ranges;
    CHECK(kinglet::search(rows, codes.rows(), rescored).value().indices.size() == 2);
    fails(kinglet::Status::InvalidArgument, "ranges: are needed", [&] { (void)kinglet::search(rows, codes.rows()).value(); });
    fails(kinglet::Status::InvalidArgument, "hamming", [&] {
        kinglet::SearchOptions wrong;
        wrong.similarity = kinglet::Similarity::Hamming;
        (void)kinglet::search(rows, rows, wrong).value();
    });
    fails(kinglet::Status::InvalidArgument, "dimension", [&] { (void)kinglet::embedding_ranges({corpus, 0}).value(); });
}

void results(const kinglet::Model &model) {
    auto good = model.embed({"bird"});
    CHECK(good && good.has_value() && good->size() == 1 && (*good).size() == 1 && good.value().size() == 1);
    CHECK(good.status() == kinglet::Status::Ok);
    const auto bad = model.embed({"\xff"});
    CHECK(!bad && bad.error().status() == kinglet::Status::InvalidArgument);
    fails(kinglet::Status::InvalidArgument, "UTF-8", [&] { (void)bad.value(); });
    CHECK(model.detokenize(std::vector<std::uint32_t>{53, 232}).value_or("none") == "bird");
    CHECK(kinglet::Result<std::string>(kinglet::Error(kinglet::Status::Io, "x")).value_or("none") == "none");
    model.reset_counters();
    CHECK(model.counters().has_value() && model.describe().has_value());
    kinglet::Embeddings taken = std::move(good).value();
    CHECK(taken.size() == 1);
}

void devices() {
    const kinglet::Devices found = kinglet::devices().value();
    CHECK(found.size() >= 1 && found[0].device == kinglet::Device::Cpu && found[0].device_index == 0 && !found[0].name.empty());
    bool cuda = false;
    for (const auto device : found) cuda = cuda || device.device == kinglet::Device::Cuda;
    // Every kind is listed, or it is said why not.
    CHECK(cuda != (found.missing().find("cuda") != std::string_view::npos));
    kinglet::DevicesOptions options;
    options.open_libraries = false;
    CHECK(kinglet::devices(options).value().size() <= found.size());
}

void batch_sizes(const std::string &fixtures, const kinglet::Model &bert) {
    kinglet::SuggestBatchSizeOptions options;
    options.skip_calibration = true;
    kinglet::Workload reads, writes;
    reads.input_tokens = 12;
    reads.input_spread = 3;
    writes.input_tokens = 8;
    writes.output_tokens = 6;
    const auto gpt2 = kinglet::Model::load(fixtures + "/generation/gpt2").value();
    const auto found = gpt2.suggest_batch_size(writes, options).value();
    CHECK(found.batch_size > 1 && found.batch_ms > 0 && found.within_bound && found.explanation.find("assumed") != std::string::npos);
    NEAR(found.tokens_per_second / found.texts_per_second, 6);
    options.goal = kinglet::BatchGoal::Memory;
    options.memory_bytes = found.bytes - 1;
    const auto bounded = gpt2.suggest_batch_size(writes, options).value();
    CHECK(bounded.within_bound && bounded.bytes <= options.memory_bytes && bounded.batch_size < found.batch_size);
    fails(kinglet::Status::InvalidArgument, "options.latency_ms", [&] {
        kinglet::SuggestBatchSizeOptions wrong;
        wrong.goal = kinglet::BatchGoal::Latency;
        (void)bert.suggest_batch_size(reads, wrong).value();
    });
    fails(kinglet::Status::InvalidArgument, "input_tokens", [&] { (void)bert.suggest_batch_size({}).value(); });
    fails(kinglet::Status::Unsupported, "text", [&] { (void)bert.suggest_batch_size(writes).value(); });
    kinglet::SuggestBatchSizeOptions measured;
    measured.calibration_ms = 50;
    CHECK(bert.suggest_batch_size(reads, measured).value().explanation.find("measured on this machine") != std::string::npos);
    const kinglet::Cancellation cancellation;
    cancellation.cancel();
    measured.cancellation = &cancellation;
    CHECK(bert.suggest_batch_size(reads, measured).status() == kinglet::Status::Cancelled);
    CHECK(std::string(kinglet::name(kinglet::BatchGoal::Latency)) == "latency");
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: consumer FIXTURES\n");
        return 2;
    }
    const std::string fixtures = argv[1];
    texts();
    loading(fixtures);
    const auto model = kinglet::Model::load(fixtures + "/bert").value();
    tokenising(model);
    embedding(model);
    counters(model);
    batch_sizes(fixtures, model);
    cancelling(model);
    requests(fixtures, model);
    devices();
    heads(fixtures);
    search();
    results(model);
    CHECK(generate_main(fixtures) == 0);
    CHECK(no_exceptions_main(fixtures) == 0);
    return finish(__cplusplus >= 202002L ? "consumer.cpp, C++20" : "consumer.cpp, C++17");
}
