// Forward declarations of the classes, for headers that only name them.

#ifndef KINGLET_FWD_HPP
#define KINGLET_FWD_HPP

#include "config.hpp"

namespace kinglet {
inline namespace KINGLET_FORM {

class Cancellation;
class Classifications;
class Compression;
class Counters;
class Devices;
class EmbeddingCodes;
class EmbeddingRows;
class Embeddings;
class Encoding;
class Error;
class Generations;
class Grammar;
class HiddenStates;
class Logits;
class MaskFills;
class Model;
class Prefix;
class Ranking;
class Session;
class SparseEmbeddings;
class Texts;
class ZeroShotResults;
struct BatchSuggestion;
struct ChatOptions;
struct ClassifyOptions;
struct CompressOptions;
struct DetokenizeOptions;
struct EmbedOptions;
struct FillMaskOptions;
struct GenerateOptions;
struct HiddenStatesOptions;
struct LogitsOptions;
struct ModelOptions;
struct PrefixOptions;
struct QuantizeOptions;
struct RerankOptions;
struct SearchHits;
struct SearchOptions;
struct SparseOptions;
struct SuggestBatchSizeOptions;
struct TokenizeOptions;
struct Workload;
struct ZeroShotOptions;
template <class T>
class Request;
template <class T>
class Result;
template <class T>
class Span;

} // namespace KINGLET_FORM
} // namespace kinglet

#endif
