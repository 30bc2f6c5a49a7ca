//! What a model does: each verb hands its work to the task or to the generator.

use crate::base::call::Cancellation;
use crate::base::error::Result;
use crate::generate::options::GenerateOptions;
use crate::generate::session::{Prefix, Session};
use crate::generate::{Generations, Listener, Logits};
use crate::tasks;
use crate::tasks::classification::{Classifications, ClassifyOptions};
use crate::tasks::embedding::{EmbedOptions, Embeddings};
use crate::tasks::hidden::HiddenStates;
use crate::tasks::token_classification::{Aggregation, TokenClassifications};
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::Model;

impl Model {
    /// Tokenises a batch of texts, or of pairs, without running the model. Texts longer than the model takes are cut, as the
    /// tokenizer's files say, unless `options` sets another limit.
    pub fn tokenize(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &EncodeOptions,
        cancellation: Option<&Cancellation>,
    ) -> Result<Encoding> {
        self.0.engine.call(cancellation, |call| self.0.engine.encode(texts, pairs, options, call), Encoding::shape)
    }

    /// Token ids back to text.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.0.engine.tokenizer.decode(ids, skip_special_tokens)
    }

    /// Embeds texts. The result's bits for a text depend on neither the other texts nor the number of threads (device `cpu`).
    ///
    /// # Errors
    /// A pooling that the model's files ask for and Kinglet does not have; cancellation.
    pub fn embed(&self, texts: &[&str], options: &EmbedOptions) -> Result<Embeddings> {
        tasks::embedding::embed(&self.0.engine, &self.0.embedding, texts, options)
    }

    /// Classifies texts, or pairs if `pairs` holds their second texts.
    ///
    /// # Errors
    /// A model without a sequence classification head; `pairs` of another length; cancellation.
    pub fn classify(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &ClassifyOptions,
    ) -> Result<Classifications> {
        tasks::classification::classify(&self.0.engine, &self.0.classifier, texts, pairs, options)
    }

    /// Scores pairs with a cross-encoder, a model with one output: how well each document answers its query.
    ///
    /// # Errors
    /// As [`Model::classify`]; a model with more than one label.
    pub fn score(&self, queries: &[&str], documents: &[&str], options: &ClassifyOptions) -> Result<Classifications> {
        tasks::classification::score(&self.0.engine, &self.0.classifier, queries, documents, options)
    }

    /// Labels the tokens of texts.
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

    /// Runs token ids as they are: no tokens are added and nothing is cut. `lengths` says how many of `ids` make up each
    /// sequence; `type_ids`, where given, has one value a token (0 everywhere if not).
    ///
    /// # Errors
    /// Lengths that do not add up to the number of ids, an id outside the vocabulary, a sequence longer than the model takes.
    pub fn hidden_states(
        &self,
        ids: &[u32],
        lengths: &[usize],
        type_ids: Option<&[u32]>,
        cancellation: Option<&Cancellation>,
    ) -> Result<HiddenStates> {
        tasks::hidden::hidden_states(&self.0.engine, ids, lengths, type_ids, cancellation)
    }

    /// Generates a text for each prompt or, with an encoder, for each source text. On the CPU an output's bits depend on neither
    /// the other texts nor the number of threads.
    ///
    /// `listener` gets the texts piece by piece; it needs `num_beams` 1, because beams change their minds.
    ///
    /// # Errors
    /// A model that generates nothing; options out of range or contradicting each other; a prompt that leaves no room; the memory
    /// limit; cancellation.
    pub fn generate(
        &self,
        texts: &[&str],
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Generations> {
        self.0.generator.generate(texts, options, listener)
    }

    /// As [`Model::generate`], from token ids as they are; `lengths` says how many of `ids` make up each input.
    pub fn generate_ids(
        &self,
        ids: &[u32],
        lengths: &[usize],
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Generations> {
        self.0.generator.generate_ids(ids, lengths, options, listener)
    }

    /// The logits of a sequence's tokens before any processing: of `decoder_ids` given the source text `ids`, or for a decoder of
    /// `ids` alone. With `stepwise` the tokens run one at a time through the cache, as in generation; the numbers are the same.
    pub fn logits(
        &self,
        ids: &[u32],
        decoder_ids: Option<&[u32]>,
        stepwise: bool,
        cancellation: Option<&Cancellation>,
    ) -> Result<Logits> {
        self.0.generator.logits(ids, decoder_ids, stepwise, cancellation)
    }

    /// Computes the beginning of prompts. Prompts that begin with the same tokens, as far as they do, are then generated from without
    /// computing it again ([`GenerateOptions::prefix`]).
    ///
    /// # Errors
    /// A model with an encoder, whose prompts have no beginning to share; a prefix longer than the model takes.
    pub fn prefix(&self, text: &str, add_special_tokens: bool) -> Result<Prefix> {
        Prefix::new(&self.0.generator, text, add_special_tokens)
    }

    /// Begins a chat.
    ///
    /// # Errors
    /// A model without a chat template, or with one that is broken.
    pub fn session(&self) -> Result<Session> {
        Session::new(&self.0.generator)
    }
}
