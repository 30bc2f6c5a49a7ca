//! Tokenising and detokenising, by Hugging Face's `tokenizers`. Batches are split over the thread pool; the type is reentrant.
//!
//! `tokenizer.json` may hold the truncation and padding of the program that saved it. Both are removed at load, as transformers
//! overrides them in each call: padding is never computed, and the length limit belongs to the model and the call. Only the side of
//! the truncation is kept, where `tokenizer_config.json` names none. Of pairs, the longer text is cut first.

mod backtracking;
pub(crate) mod clean_up;
mod count;
mod cuts;
mod fields;
mod files;
mod letters;
mod limits;
mod long_words;
mod parts;
mod special;
mod templates;
pub(crate) mod vocabulary;
mod whole;
mod windows;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence as NormalizerSequence};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{ModelWrapper, PostProcessor, Tokenizer as HfTokenizer};

use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result, Status};
use crate::base::fork::Lock;
use crate::base::memory::ensure;
use crate::base::panics;
use crate::base::threads::Pool;
use crate::formats;
use crate::formats::files::Files;
use crate::text::encoding::{Encoding, NO_SEQUENCE, Span};

use backtracking::Backtracking;
use cuts::Cuts;
pub(crate) use files::TokenizerFiles;
use parts::Steps;
pub use special::SpecialTokens;

/// While a tokenizer is read, it takes about this many times the size of its file.
const PARSING_FACTOR: u64 = 40;

/// The number of texts that are tokenised before they are packed.
const BLOCK: usize = 4096;

/// While a text is tokenised it takes about this many bytes per byte, and after it [`ENCODED_FACTOR`].
const ENCODING_FACTOR: u64 = 120;
const ENCODED_FACTOR: u64 = 24;

/// The field by which a BPE vocabulary asks for clean-up too.
const CLEAN_UP_BPE: &str = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";

/// Options of one call to [`Tokenizer::encode`].
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// Adds `[CLS]`, `</s>` and the like.
    pub add_special_tokens: bool,
    /// The maximum number of tokens per sequence, including special tokens; `None` means the tokenizer's own limit (see
    /// [`Tokenizer::max_length`]), `Some(usize::MAX)` no limit.
    pub max_length: Option<usize>,
    /// Computes the byte range of each token in its text.
    pub offsets: bool,
    /// Truncates only the first text of a pair that is too long, and not the longer one. A second text that leaves no room is an error.
    pub only_first: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { add_special_tokens: true, max_length: None, offsets: false, only_first: false }
    }
}

/// A loaded tokenizer. Clones share it.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    /// None if the model has no tokenizer; it then accepts only token ids.
    tokenizer: Option<HfTokenizer>,
    post: Option<PostProcessorWrapper>,
    /// The expressions that may fail on a text.
    backtracking: Backtracking,
    direction: TruncationDirection,
    max_length: usize,
    /// False: all token types are 0, because the files do not name them among the model's inputs.
    token_types: bool,
    pad_id: Option<u32>,
    path: PathBuf,
    /// Where long texts are cut into parts; found out when the first one comes.
    cuts: Lock<Option<Arc<Cuts>>>,
    /// The longest text in bytes.
    max_text_bytes: u64,
    /// Ids from the first on are unknown, and become the second.
    unknown: Option<(u32, u32)>,
    /// Why there is no tokenizer.
    absent: String,
    special: SpecialTokens,
    /// Whether decoded text is cleaned up.
    cleans_up: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, or the vocabulary files of a model that has none, and the length limit and truncation side from `tokenizer_config.json` if there is one.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        Self::new(TokenizerFiles::read(&Files::in_directory(directory))?)
    }

    pub(crate) fn new(files: TokenizerFiles) -> Result<Self> {
        let TokenizerFiles {
            json: bytes,
            path,
            unknown,
            absent,
            config,
            mut special,
            lower_case,
            max_text_bytes,
            class,
        } = files;
        if bytes.is_empty() {
            return Ok(Self(Arc::new(Inner {
                tokenizer: None,
                post: None,
                backtracking: Backtracking::default(),
                direction: TruncationDirection::Right,
                max_length: usize::MAX,
                token_types: true,
                pad_id: None,
                path,
                cuts: Lock::default(),
                max_text_bytes,
                unknown,
                absent,
                special,
                cleans_up: false,
            })));
        }
        ensure((bytes.len() as u64).saturating_mul(PARSING_FACTOR), "reading the tokenizer")?;
        if let Some(fault) = limits::fault(&bytes) {
            return Err(Error::invalid_file(&path, fault));
        }
        // The crate panics on some invalid files; report them as invalid.
        let parsed = panics::guarded(|| -> tokenizers::Result<HfTokenizer> {
            let mut tokenizer = HfTokenizer::from_bytes(&bytes)?;
            special.add_to(&mut tokenizer)?;
            Ok(tokenizer)
        });
        let mut tokenizer = match parsed {
            Ok(Ok(tokenizer)) => tokenizer,
            Ok(Err(error)) => return Err(Error::invalid_file(&path, format!("not a tokenizer: {error}"))),
            Err(_) => return Err(Error::invalid_file(&path, "not a tokenizer: its parts contradict each other")),
        };
        drop(bytes);
        if let Some((first, _)) = unknown
            && let Some((id, token)) = tokenizer.get_added_tokens_decoder().iter().find(|(id, _)| **id >= first)
        {
            // The ids after the vocabulary are taken.
            let token = formats::quoted(&token.content);
            let what =
                format!("{}: the token {token} of the tokenizer's settings would get the id {id}", path.display());
            return Err(Error::unsupported(format!("{what}, which the vocabulary does not have")));
        }
        let flag = |name: &str| config.as_ref().map_or(Ok(false), |c| c.bool_or(name, false));
        tokenizer.set_encode_special_tokens(flag("split_special_tokens")?);
        // In text of a BPE vocabulary a space before punctuation is the model's own.
        let is_bpe = matches!(tokenizer.get_model(), ModelWrapper::BPE(_));
        let cleans_up = flag("clean_up_tokenization_spaces")? && (!is_bpe || flag(CLEAN_UP_BPE)?);

        if let (Some((class, is_named)), Some(config)) = (&class, &config) {
            fields::apply(&mut tokenizer, config, class, *is_named)?;
        }
        if lower_case {
            lower_first(&mut tokenizer).map_err(|e| Error::invalid_file(&path, e))?;
        }
        let backtracking = Backtracking::of(&tokenizer).map_err(|e| Error::invalid_file(&path, e))?;
        let truncation = tokenizer.get_truncation().cloned();
        let pad_id = tokenizer.get_padding().map(|padding| padding.pad_id);
        let pad_id = pad_id.or_else(|| special.get("pad_token").and_then(|token| tokenizer.token_to_id(token)));
        let side = config.as_ref().and_then(|c| c.get("truncation_side")).and_then(|v| v.as_str());
        let direction = match (side, &truncation) {
            (Some("left"), _) => TruncationDirection::Left,
            (Some(_), _) | (None, None) => TruncationDirection::Right,
            (None, Some(truncation)) => truncation.direction,
        };
        let max_length = config.as_ref().and_then(fields::max_length).unwrap_or(usize::MAX);
        let inputs = config.as_ref().map(|c| c.strings("model_input_names")).transpose()?.unwrap_or_default();
        let token_types = inputs.is_empty() || inputs.contains(&"token_type_ids");

        let post = tokenizer.get_post_processor().cloned();
        if let Some(token) = post.as_ref().and_then(templates::missing_token) {
            let token = formats::quoted(&token);
            let what = format!("post_processor: its template uses {token}, which is missing from its special_tokens");
            return Err(Error::invalid_file(&path, what));
        }
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::invalid_file(&path, e))?;
        Ok(Self(Arc::new(Inner {
            tokenizer: Some(tokenizer),
            post,
            backtracking,
            direction,
            max_length,
            token_types,
            pad_id,
            path,
            cuts: Lock::default(),
            max_text_bytes,
            unknown,
            absent,
            special,
            cleans_up,
        })))
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// `model_max_length` of `tokenizer_config.json`, special tokens included; `usize::MAX` if it sets none.
    pub fn max_length(&self) -> usize {
        self.0.max_length
    }

    /// Token ids are below this number (files may leave gaps).
    pub fn vocabulary_size(&self) -> usize {
        let size = self.0.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.get_vocab_size(true));
        self.0.unknown.map_or(size, |(first, _)| size.min(first as usize))
    }

    /// The ids of one text.
    pub fn ids(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let counters = crate::base::counters::Counters::default();
        let call = Call::new(&counters);
        let options = EncodeOptions { add_special_tokens, max_length: Some(usize::MAX), ..EncodeOptions::default() };
        Ok(self.encode(&[text], None, &options, &Pool::new(1), call)?.ids().to_vec())
    }

    /// Hugging Face's own tokenizer, without a post-processor.
    pub(crate) fn inner(&self) -> Result<&HfTokenizer> {
        self.0.hf()
    }

    /// Why there is no tokenizer, and what helps.
    pub fn absent(&self) -> &str {
        &self.0.absent
    }

    /// Whether there is a tokenizer: a model without one accepts only token ids.
    pub fn is_present(&self) -> bool {
        self.0.tokenizer.is_some()
    }

    /// The id of a token by its text as the vocabulary has it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.0.tokenizer.as_ref()?.token_to_id(token)
    }

    /// Whether a token is one that the tokenizer calls special.
    pub(crate) fn is_special(&self, id: u32) -> bool {
        let tokenizer = self.0.tokenizer.as_ref();
        let token =
            tokenizer.and_then(|tokenizer| tokenizer.get_added_vocabulary().get_added_tokens_decoder().get(&id));
        token.is_some_and(|token| token.special)
    }

    /// The text of a token that the tokenizer calls special.
    pub(crate) fn special_text(&self, id: u32) -> Option<String> {
        self.0.tokenizer.as_ref().filter(|_| self.is_special(id))?.id_to_token(id)
    }

    /// The id of a special token, by its text.
    pub(crate) fn special_id(&self, text: &str) -> Option<u32> {
        let id = self.0.tokenizer.as_ref()?.token_to_id(text)?;
        self.is_special(id).then_some(id)
    }

    /// The id of the padding token, if the files name one.
    pub fn pad_id(&self) -> Option<u32> {
        self.0.pad_id
    }

    /// The special tokens that the files name.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.0.special
    }

    /// Tokenises a batch on the pool's threads. `pairs` has the second text of each pair.
    ///
    /// # Errors
    /// `pairs` and `texts` of different lengths; a `max_length` that leaves no room for text beside the special tokens.
    pub fn encode(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &EncodeOptions,
        pool: &Pool,
        call: Call<'_>,
    ) -> Result<Encoding> {
        self.check_lengths(texts, pairs)?;
        call.check()?;
        let limit = self.limit(options, pairs.is_some())?;
        self.0.ensure(texts, pairs, limit, pool.threads(), call)?;
        let start = Instant::now();
        let mut encoding = Encoding::with_offsets(options.offsets, self.0.pad_id.unwrap_or(0));
        let mut packing = Duration::ZERO;
        // Block by block: the crate's own form of a tokenised text takes many times the memory of the packed one.
        for (block, texts) in texts.chunks(BLOCK).enumerate() {
            let slots: Vec<OnceLock<Result<One>>> = texts.iter().map(|_| OnceLock::new()).collect();
            pool.run(texts.len(), |i| {
                let pair = pairs.map(|pairs| pairs[block * BLOCK + i]);
                let one = call.check().and_then(|()| self.0.encode_one(texts[i], pair, options, limit, call));
                // The slot is empty: each task has its own.
                let _ = slots[i].set(one);
            });
            let packed = Instant::now();
            for (i, slot) in slots.into_iter().enumerate() {
                let missing = || Error::internal(format!("text {} was not tokenised", block * BLOCK + i));
                pack(&slot.into_inner().ok_or_else(missing)??, self.0.unknown, &mut encoding);
            }
            packing += packed.elapsed();
        }
        call.counters.add(Stage::Pack, texts.len(), encoding.tokens(), packing);
        call.counters.add(Stage::Tokenize, texts.len(), encoding.tokens(), start.elapsed() - packing);
        if !self.0.token_types {
            encoding.type_ids.fill(0);
        }
        Ok(encoding)
    }

    /// Refuses a batch with a text that is too long, by its index, or with another number of second texts than of first ones.
    pub(crate) fn check_lengths(&self, texts: &[&str], pairs: Option<&[&str]>) -> Result<()> {
        if let Some(pairs) = pairs
            && pairs.len() != texts.len()
        {
            let (n, m) = (texts.len(), pairs.len());
            return Err(Error::invalid_argument(format!("pairs: {m} second texts for {n} first texts")));
        }
        let limit = self.0.max_text_bytes;
        for (name, texts) in [("texts", texts), ("pairs", pairs.unwrap_or_default())] {
            if let Some((i, text)) = texts.iter().enumerate().find(|(_, text)| text.len() as u64 > limit) {
                return Err(Error::invalid_argument(format!(
                    "{name}[{i}]: has {} bytes; the maximum is {limit} (option max_text_bytes of the load)",
                    text.len()
                )));
            }
        }
        Ok(())
    }

    /// The maximum number of tokens without the special ones, or `None` for no limit.
    fn limit(&self, options: &EncodeOptions, pair: bool) -> Result<Option<usize>> {
        let max = options.max_length.unwrap_or(self.0.max_length);
        if max == usize::MAX {
            return Ok(None);
        }
        let added = match (&self.0.post, options.add_special_tokens) {
            (Some(post), true) => post.added_tokens(pair),
            _ => 0,
        };
        match max.checked_sub(added) {
            Some(room) if room > 0 => Ok(Some(room)),
            _ => Err(Error::invalid_argument(format!(
                "max_length: {max} leaves no room for text beside {added} special tokens"
            ))),
        }
    }

    /// Detokenises token ids.
    ///
    /// # Errors
    /// An id that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let tokenizer = self.0.hf()?;
        if let Some((i, id)) = ids.iter().enumerate().find(|&(_, &id)| tokenizer.id_to_token(id).is_none()) {
            return Err(Error::invalid_argument(format!("ids[{i}]: {id} is not in the vocabulary")));
        }
        self.decode_lenient(ids, skip_special_tokens)
    }

    /// As `decode`, for ids of which the vocabulary may lack some (models' tables are padded): these have no text.
    pub(crate) fn decode_lenient(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let text = self.decode_known(ids, skip_special_tokens)?;
        Ok(if self.0.cleans_up { clean_up::clean_up(&text).into_owned() } else { text })
    }

    /// Whether [`Self::decode`] cleans up, which [`Self::decode_known`] leaves to its caller.
    pub(crate) fn cleans_up(&self) -> bool {
        self.0.cleans_up
    }

    /// As `decode`, for ids that a model generated: ids beyond the vocabulary (models' tables are padded) have no text, and without
    /// a tokenizer no id has. Spaces are not cleaned up, because parts of a text are decoded by this.
    pub(crate) fn decode_known(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let Some(tokenizer) = &self.0.tokenizer else { return Ok(String::new()) };
        let text = tokenizer.decode(ids, skip_special_tokens);
        text.map_err(|e| Error::new(Status::InvalidArgument, format!("ids: cannot be decoded: {e}")))
    }
}

/// Puts `Lowercase` before the normalizer, unless it is there.
fn lower_first(tokenizer: &mut HfTokenizer) -> tokenizers::Result<()> {
    let mut all = match tokenizer.get_normalizer().cloned() {
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        other => other.into_iter().collect(),
    };
    if !all.iter().any(|normalizer| matches!(normalizer, NormalizerWrapper::Lowercase(_))) {
        all.insert(0, Lowercase.into());
        tokenizer.with_normalizer(Some(NormalizerSequence::new(all)))?;
    }
    Ok(())
}

struct One {
    encoding: tokenizers::Encoding,
    truncated: bool,
}

impl Inner {
    fn hf(&self) -> Result<&HfTokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| {
            let path = self.path.display();
            let what = format!("{path}: {}; without a tokenizer a model accepts only token ids", self.absent);
            Error::new(Status::NotFound, what)
        })
    }

    /// Fails unless the system grants what tokenising a batch takes.
    fn ensure(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        limit: Option<usize>,
        threads: usize,
        call: Call<'_>,
    ) -> Result<()> {
        let (mut longest, mut all) = (0, 0u64);
        for text in texts.iter().chain(pairs.unwrap_or_default()) {
            let length = if text.len() > cuts::PART && self.cuts(call)?.any() { 4 * cuts::PART } else { text.len() };
            longest = longest.max(length as u64);
            let kept = limit.map_or(text.len(), |limit| text.len().min(limit.saturating_mul(64)));
            all = all.saturating_add(kept as u64);
        }
        let threads = threads.min(texts.len()) as u64;
        let bytes =
            (longest * threads).saturating_mul(ENCODING_FACTOR).saturating_add(all.saturating_mul(ENCODED_FACTOR));
        ensure(bytes, "tokenizing the texts")
    }

    /// Whether long texts are tokenised in parts.
    fn cuts(&self, call: Call<'_>) -> Result<Arc<Cuts>> {
        let known = self.cuts.lock().clone();
        if let Some(cuts) = known {
            return Ok(cuts);
        }
        // Outside the lock, because it takes long. Of two threads that do the same the second one's result stays.
        let cuts = match &self.tokenizer {
            Some(tokenizer) => Cuts::of(tokenizer, &|| call.check())?,
            None => Cuts::none(),
        };
        let cuts = Arc::new(cuts);
        *self.cuts.lock() = Some(cuts.clone());
        Ok(cuts)
    }

    fn encode_one(
        self: &Arc<Self>,
        text: &str,
        pair: Option<&str>,
        options: &EncodeOptions,
        limit: Option<usize>,
        call: Call<'_>,
    ) -> Result<One> {
        let from_the_end = self.direction == TruncationDirection::Left;
        let raw = |text: &str, room: Option<usize>| {
            // The post-processor was removed, so this is the text without special tokens, to be truncated before they are added.
            if text.len() > cuts::PART
                && let cuts = self.cuts(call)?
                && cuts.any()
            {
                let shortened = cuts.shortened(text);
                let text = shortened.as_ref().map_or(text, |shortened| &shortened.text);
                let (tokenize, poll) = (|part: &str| self.encode_whole(part, true, call), || call.check());
                let steps = Steps { tokenize: &tokenize, poll: &poll };
                let encoding = parts::encode(&steps, &cuts, text, cuts::PART, room, from_the_end)?;
                return Ok(match shortened {
                    Some(shortened) => shortened.restore(&encoding),
                    None => encoding,
                });
            }
            parts::check_length(text)?;
            self.encode_whole(text, options.offsets, call)
        };
        let failed = untokenizable;
        let mut first = raw(text, limit)?;
        let mut second = pair.map(|pair| raw(pair, limit)).transpose()?;
        if let (true, Some(room), Some(other)) = (options.only_first, limit, &second)
            && other.len() >= room
            && first.len() + other.len() > room
        {
            return Err(Error::invalid_argument(format!(
                "pairs: a second text of {} tokens leaves no room for the first one, of {room} tokens that both may have",
                other.len()
            )));
        }
        // Both texts get half of the room; if it is odd, the one with more tokens gets one more.
        if let (Some(room), Some(pair), Some(other)) = (limit, pair, &second)
            && room % 2 == 1
            && first.len() > room
            && other.len() > room
        {
            let bytes = text.len() as u64 + pair.len() as u64;
            ensure(bytes.saturating_mul(ENCODED_FACTOR), "tokenizing a pair of texts")?;
            (first, second) = (raw(text, None)?, Some(raw(pair, None)?));
        }
        let mut truncated = false;
        if let Some(room) = limit
            && first.len() + second.as_ref().map_or(0, |e| e.len()) > room
        {
            truncated = true;
            let first_only = options.only_first && second.is_some();
            let strategy = if first_only { TruncationStrategy::OnlyFirst } else { TruncationStrategy::LongestFirst };
            let params = TruncationParams { direction: self.direction, max_length: room, strategy, stride: 0 };
            (first, second) = truncate_encodings(first, second, &params).map_err(failed)?;
            // The crate keeps the truncated parts as further encodings, which are not needed.
            drop(first.take_overflowing());
            if let Some(second) = &mut second {
                drop(second.take_overflowing());
            }
        }
        let encoding = match &self.post {
            Some(post) => post.process(first, second, options.add_special_tokens).map_err(failed)?,
            None => {
                if let Some(mut second) = second {
                    first.set_sequence_id(0);
                    second.set_sequence_id(1);
                    second.set_type_ids(vec![1; second.len()]);
                    first.merge_with(second, false);
                }
                first
            }
        };
        Ok(One { encoding, truncated })
    }
}

fn untokenizable(error: tokenizers::Error) -> Error {
    Error::invalid_argument(format!("texts: a text cannot be tokenised: {error}"))
}

/// Appends a text to a batch.
fn pack(one: &One, unknown: Option<(u32, u32)>, packed: &mut Encoding) {
    // Defined numbers in both cases: the compiler compares them before it looks whether there is an unknown token, which valgrind reports.
    let (first, unknown) = unknown.unwrap_or((u32::MAX, u32::MAX));
    let known = |&id: &u32| if id >= first { unknown } else { id };
    let One { encoding, truncated } = one;
    packed.ids.extend(encoding.get_ids().iter().map(known));
    packed.type_ids.extend_from_slice(encoding.get_type_ids());
    packed.special.extend(encoding.get_special_tokens_mask().iter().map(|&m| m as u8));
    let second = encoding.n_sequences() > 1;
    packed.sequences.extend(encoding.get_special_tokens_mask().iter().enumerate().map(|(token, &special)| {
        match encoding.token_to_sequence(token) {
            _ if special != 0 => NO_SEQUENCE,
            Some(sequence) if second => sequence as u8,
            _ => 0,
        }
    }));
    if let Some(spans) = &mut packed.offsets {
        spans.extend(encoding.get_offsets().iter().map(|&(start, end)| Span { start, end }));
    }
    if let Some(words) = &mut packed.words {
        words.extend(encoding.get_word_ids().iter().map(|word| word.unwrap_or(u32::MAX)));
    }
    packed.truncated.push(u8::from(*truncated));
    packed.longest = packed.longest.max(encoding.len());
    packed.starts.push(packed.ids.len());
}
