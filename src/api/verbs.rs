//! The verbs of a model. Each one calls a task or the generator.

use crate::base::call::{CallLimits, Cancellation};
use crate::base::error::Result;
use crate::generate::options::GenerateOptions;
use crate::generate::session::{Prefix, Session};
use crate::generate::{Generations, Listener, Logits};
use crate::tasks;
use crate::tasks::classification::{Classifications, ClassifyOptions, Ranking, Setting};
use crate::tasks::compress::{CompressOptions, Compression};
use crate::tasks::embedding::{EmbedOptions, Embeddings};
use crate::tasks::fill_mask::{FillMaskOptions, MaskFills};
use crate::tasks::hidden::HiddenStates;
use crate::tasks::sparse::{SparseEmbeddings, SparseOptions};
use crate::tasks::token_classification::{Aggregation, TokenClassifications};
use crate::tasks::zero_shot::{ZeroShot, ZeroShotOptions};
use crate::text::chat::{ChatOptions, Message};
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::Model;

impl Model {
    /// Tokenises a batch of texts, or of pairs, without running the model. Texts beyond the model's maximum length are truncated
    /// by the rules of the tokenizer's files, unless `options` sets another limit.
    pub fn tokenize(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &EncodeOptions,
        cancellation: Option<&Cancellation>,
    ) -> Result<Encoding> {
        self.0.engine.call(
            CallLimits::cancelled_by(cancellation),
            |call| self.0.engine.encode(texts, pairs, options, call),
            Encoding::shape,
        )
    }

    /// Detokenises token ids.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.0.engine.tokenizer.decode(ids, skip_special_tokens)
    }

    /// Embeds texts. On device `cpu`, a text's embedding has the same bits whatever the other texts and the number of threads.
    ///
    /// # Errors
    /// The model's files ask for modules that Kinglet does not support (named in the message); a prompt's name that they do not have;
    /// cancellation.
    pub fn embed(&self, texts: &[&str], options: &EmbedOptions) -> Result<Embeddings> {
        tasks::embedding::embed(&self.0.engine, &self.0.embedding, texts, options)
    }

    /// The values per embedding that [`Model::embed`] gives with these options.
    ///
    /// # Errors
    /// [`Pooling::None`](crate::Pooling::None), which gives one vector per token; otherwise like `embed`.
    pub fn embedding_size_with(&self, options: &EmbedOptions) -> Result<usize> {
        tasks::embedding::dimension(&self.0.engine, &self.0.embedding, options)
    }

    /// Classifies texts, or pairs if `pairs` gives the second texts.
    ///
    /// # Errors
    /// A model without a sequence classification head; `pairs` and `texts` of different lengths; cancellation.
    pub fn classify(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &ClassifyOptions,
    ) -> Result<Classifications> {
        tasks::classification::classify(&self.0.engine, self.classifying(), texts, pairs, options)
    }

    fn classifying(&self) -> Setting<'_> {
        (&self.0.classifier, &self.0.embedding, &self.0.generator.chat)
    }

    /// Scores how well each document answers its query, with a cross-encoder: a model with one output, or a decoder with
    /// sentence-transformers' module `LogitScore`.
    ///
    /// # Errors
    /// As [`Model::classify`]; a model with more than one label.
    pub fn score(&self, queries: &[&str], documents: &[&str], options: &ClassifyOptions) -> Result<Classifications> {
        tasks::classification::score(&self.0.engine, self.classifying(), queries, documents, options)
    }

    /// Scores documents for a query as [`Model::score`] does, and sorts them: the best first, at most `top_n` of them.
    ///
    /// # Errors
    /// As [`Model::score`].
    pub fn rerank(
        &self,
        query: &str,
        documents: &[&str],
        top_n: Option<usize>,
        options: &ClassifyOptions,
    ) -> Result<Ranking> {
        tasks::classification::rerank(&self.0.engine, self.classifying(), query, documents, top_n, options)
    }

    /// Classifies the tokens of texts.
    ///
    /// # Errors
    /// A model without a token classification head; cancellation.
    pub fn classify_tokens(
        &self,
        texts: &[&str],
        aggregation: Aggregation,
        options: &ClassifyOptions,
    ) -> Result<TokenClassifications> {
        tasks::token_classification::classify_tokens(&self.0.engine, &self.0.classifier, texts, aggregation, options)
    }

    /// Classifies texts by labels that the call names, with a model of natural language inference: each text is paired with a hypothesis
    /// about each label, and the label's score is the probability that the text entails it.
    ///
    /// ```no_run
    /// # use kinglet::{LoadOptions, Model, ZeroShotOptions};
    /// # let model = Model::load("deberta-v3-base-zeroshot-v2.0", LoadOptions::default())?;
    /// let labels = ["politics", "sport"];
    /// let found = model.classify_zero_shot(&["The match ended 3 to 1."], &labels, &ZeroShotOptions::default())?;
    /// println!("{}: {}", labels[found.order[0] as usize], found.scores[0]);
    /// # Ok::<(), kinglet::Error>(())
    /// ```
    ///
    /// # Errors
    /// A model without a sequence classification head, or without a label that begins with "entail" (the message names its labels); no
    /// label; a template without `{}`; a hypothesis that leaves no room for a text; cancellation.
    pub fn classify_zero_shot(&self, texts: &[&str], labels: &[&str], options: &ZeroShotOptions) -> Result<ZeroShot> {
        tasks::zero_shot::classify_zero_shot(&self.0.engine, &self.0.classifier, texts, labels, options)
    }

    /// Finds the most likely tokens for the mask tokens in texts, with a masked language model.
    ///
    /// # Errors
    /// A model without a masked language head; a text without a mask token (the message names the token); a target without a token;
    /// cancellation.
    pub fn fill_mask(&self, texts: &[&str], options: &FillMaskOptions) -> Result<MaskFills> {
        tasks::fill_mask::fill_mask(&self.0.engine, texts, options)
    }

    /// Embeds texts as weights of tokens of the vocabulary, with a sparse encoder (SPLADE) or another masked language model. The dot product
    /// of two embeddings ([`SparseEmbeddings::dot`]) tells how well the texts match.
    ///
    /// # Errors
    /// A model without a masked language head; sentence-transformers' files of another kind of model, or with modules that Kinglet does
    /// not support (named in the message); a prompt's name that they do not have; cancellation.
    pub fn sparse_embed(&self, texts: &[&str], options: &SparseOptions) -> Result<SparseEmbeddings> {
        tasks::sparse::sparse_embed(&self.0.engine, &self.0.embedding, texts, options)
    }

    /// Shortens a document of any length: words or sentences that matter least are dropped, the others keep their order. A document that
    /// fits the budget is returned as it is.
    ///
    /// ```no_run
    /// # use kinglet::{CompressOptions, LoadOptions, Model};
    /// # let model = Model::load("all-MiniLM-L6-v2", LoadOptions::default())?;
    /// # let document = String::new();
    /// let options = CompressOptions { ratio: Some(4.0), ..CompressOptions::default() };
    /// let short = model.compress(&document, &options)?;
    /// println!("{} of {} tokens: {}", short.tokens_after, short.tokens_before, short.text);
    /// # Ok::<(), kinglet::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not one of `ratio` and `max_tokens`; a method that the model does not serve; an option that the method does not have; a budget that
    /// holds no unit, or not those that are kept in any case; cancellation.
    pub fn compress(&self, document: &str, options: &CompressOptions) -> Result<Compression> {
        tasks::compress::compress(&self.0.engine, &self.0.classifier, &self.0.embedding, document, options)
    }

    /// Returns the hidden states of token ids as given: no token is added, nothing is truncated. `lengths` has the number of ids of
    /// each sequence; `type_ids` has one value per token, and `None` means 0 for all.
    ///
    /// # Errors
    /// Lengths that do not add up to the number of ids; an id outside the vocabulary; a sequence beyond the model's maximum length.
    pub fn hidden_states(
        &self,
        ids: &[u32],
        lengths: &[usize],
        type_ids: Option<&[u32]>,
        cancellation: Option<&Cancellation>,
    ) -> Result<HiddenStates> {
        tasks::hidden::hidden_states(&self.0.engine, ids, lengths, type_ids, cancellation)
    }

    /// Generates a text for each prompt or, with an encoder, for each source text. On device `cpu`, an output has the same bits
    /// whatever the other texts and the number of threads.
    ///
    /// `listener` receives the texts piece by piece. It requires `num_beams` 1: beam search may still replace earlier tokens.
    ///
    /// # Errors
    /// A model that cannot generate; options out of range or in contradiction; a prompt that leaves no room for output; the
    /// memory limit; cancellation.
    pub fn generate(
        &self,
        texts: &[&str],
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Generations> {
        self.0.generator.generate(texts, options, listener)
    }

    /// As [`Model::generate`], for token ids; `lengths` has the number of ids of each input.
    pub fn generate_ids(
        &self,
        ids: &[u32],
        lengths: &[usize],
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Generations> {
        self.0.generator.generate_ids(ids, lengths, options, listener)
    }

    /// The unprocessed logits that follow each token: of `decoder_ids` given the source text `ids`, or, without an encoder, of
    /// `ids`. `stepwise` feeds one token at a time through the KV cache, as generation does; the numbers are the same.
    pub fn logits(
        &self,
        ids: &[u32],
        decoder_ids: Option<&[u32]>,
        stepwise: bool,
        cancellation: Option<&Cancellation>,
    ) -> Result<Logits> {
        self.0.generator.logits(ids, decoder_ids, stepwise, cancellation)
    }

    /// Computes and caches a prompt prefix. A prompt that shares its first tokens reuses the cached part
    /// ([`GenerateOptions::prefix`]).
    ///
    /// # Errors
    /// A model with an encoder, where prompts cannot share a prefix; a prefix beyond the model's maximum length.
    pub fn prefix(&self, text: &str, add_special_tokens: bool, cancellation: Option<&Cancellation>) -> Result<Prefix> {
        Prefix::new(&self.0.generator, text, add_special_tokens, cancellation)
    }

    /// Starts a chat session.
    ///
    /// # Errors
    /// A model without a chat template, or with one that is broken.
    pub fn session(&self) -> Result<Session> {
        self.session_with(&ChatOptions::default())
    }

    /// Starts a chat session with tools, documents or variables of the template.
    ///
    /// # Errors
    /// As [`Model::session`]; options that are not as they should be, by their names.
    pub fn session_with(&self, options: &ChatOptions) -> Result<Session> {
        Session::new(&self.0.generator, options)
    }

    /// The prompt that the model's chat template makes of a chat, as transformers' `apply_chat_template` does. Special tokens are in it:
    /// generate with `add_special_tokens` off.
    ///
    /// # Errors
    /// A model without a chat template; options that are not as they should be; messages that the template rejects; cancellation.
    pub fn apply_chat_template(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        cancellation: Option<&Cancellation>,
    ) -> Result<String> {
        self.0.generator.apply_chat_template(messages, options, cancellation)
    }

    /// Reads the text of an answer: what the model thought (`reasoning_content`), what it says, and which of the options' tools it calls
    /// (`tool_calls`). What is no whole call of one of these tools stays in the content. `prefix` is the prompt, or its end, or empty: some
    /// templates begin the thought themselves.
    ///
    /// # Errors
    /// A model without a chat template; options that are not as they should be.
    pub fn parse_response(&self, text: &str, prefix: &str, options: &ChatOptions) -> Result<Message> {
        self.0.generator.parse_response(text, prefix, options)
    }
}
