//! The layers of encoders and decoders: attention, feed-forward, norms and residual sums (Vaswani et al. 2017), in the order that the
//! Spec says.

use std::sync::Arc;

use crate::backend::{
    AttentionInput, Backend, DistanceRows, DistanceTensors, Ends, FeedForward, HeadNorms, LinearView, NormView,
    PassInput, Role, Rotations, Sequences,
};
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::ensure;

use super::mixture::Mixture;
use super::rotary::Frequencies;
use super::weights::{FeedView, LayerView, StackView};
use super::{distances, relative};
use crate::spec::{self, Activation, NormPlace, RotarySwitch};

/// A stack of layers loaded on a backend.
pub struct LoadedStack<B: Backend> {
    pub spec: spec::Stack,
    pub word: Arc<B::Table>,
    position: Option<B::Table>,
    token_type: Option<B::Table>,
    embedding_norm: Option<B::Norm>,
    embedding_projection: Option<B::Linear>,
    relative_bias: Option<B::RelativeBias>,
    distances: Option<DistanceRows>,
    frequencies: Option<Frequencies>,
    /// One if all have its weights.
    layers: Vec<Layer<B>>,
    pub final_norm: Option<B::Norm>,
}

struct Layer<B: Backend> {
    qkv: B::Linear,
    attention_output: B::Linear,
    /// None in a first layer without it.
    attention_norm: Option<B::Norm>,
    attention_post_norm: Option<B::Norm>,
    head_norms: Option<HeadNorms<B::Norm>>,
    distances: Option<B::Distances>,
    cross: Option<Cross<B>>,
    feed: Feed<B>,
    output_norm: Option<B::Norm>,
    output_post_norm: Option<B::Norm>,
}

enum Feed<B: Backend> {
    Plain { up: B::Linear, down: B::Linear },
    Mixture(Mixture<B>),
}

struct Cross<B: Backend> {
    query: B::Linear,
    key_value: B::Linear,
    output: B::Linear,
    norm: B::Norm,
}

/// The backend, the call and the counted sizes of a pass through a stack.
pub struct PassContext<'a, B> {
    pub backend: &'a B,
    pub call: Call<'a>,
    pub items: usize,
    pub tokens: usize,
}

impl<B> Clone for PassContext<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for PassContext<'_, B> {}

impl<B> PassContext<'_, B> {
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        self.call.counters.time(stage, self.items, self.tokens, work)
    }
}

impl<B: Backend> LoadedStack<B> {
    /// Converts the weights to the backend's format, layer by layer. `word` is the word table if it is loaded already; `progress` is
    /// called after each layer and stops the load by returning an error.
    pub fn load(
        backend: &B,
        spec: &spec::Stack,
        view: &StackView,
        word: Option<Arc<B::Table>>,
        progress: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let word = word.map_or_else(|| backend.table_load(&view.word).map(Arc::new), Ok)?;
        let position = match &view.position {
            Some(table) => Some(backend.table_load(table)?),
            None => spec
                .position
                .sines(spec.embedding_size)
                .map(|sines| backend.table_from(sines, spec.embedding_size))
                .transpose()?,
        };
        // Twice: expanded, and as the backend keeps it.
        let bytes = 2 * size_of::<f32>() * 2 * (spec.heads.count + 2) * spec.max_tokens;
        let relative_bias = match (&view.relative_bias, spec.relative, spec.alibi) {
            (Some(table), Some(relative), _) => {
                ensure(bytes as u64, "the relative position bias")?;
                Some(relative::by_distance(&table.to_vec_f32()?, relative, spec.heads.count, spec.max_tokens))
            }
            (_, _, Some(max)) => {
                ensure(bytes as u64, "ALiBi")?;
                Some(relative::alibi(max, spec.heads.count, spec.max_tokens))
            }
            _ => None,
        };
        let relative_bias = relative_bias.map(|rows| backend.relative_bias_load(rows)).transpose()?;
        let norm = |n: &Option<NormView>| n.as_ref().map(|n| backend.norm_load(n)).transpose();
        // What all layers make their keys and queries of distances of.
        let table = match (&view.distances, spec.disentangled) {
            (Some(table), Some(_)) => {
                let bytes = distances::bytes(table.rows(), spec.heads.qkv_width());
                ensure(bytes as u64, "the vectors of distances")?;
                let table = backend.tensor_from(table.to_vec_f32()?, spec.hidden)?;
                Some(match norm(&view.distance_norm)? {
                    Some(norm) => backend.norm(table, &norm)?,
                    None => table,
                })
            }
            _ => None,
        };
        let (token_type, embedding_norm) =
            (view.token_type.as_ref().map(|t| backend.table_load(t)).transpose()?, norm(&view.embedding_norm)?);
        let projection = view.embedding_projection.as_ref();
        let embedding_projection = projection.map(|view| backend.linear_load(Role::Head, view)).transpose()?;
        progress()?;
        let mut layers = Vec::with_capacity(view.layers.len());
        for layer in &view.layers {
            let mut loaded = Layer::load(backend, layer)?;
            if let (Some(table), Some(_)) = (&table, spec.disentangled) {
                loaded.distances = Some(loaded.vectors(backend, spec, layer, table)?);
            }
            layers.push(loaded);
            progress()?;
        }
        Ok(Self {
            word,
            position,
            token_type,
            embedding_norm,
            embedding_projection,
            relative_bias,
            distances: spec.disentangled.map(|d| distances::rows(d, spec.max_tokens)),
            frequencies: spec.rotary.as_ref().map(Frequencies::new),
            layers,
            final_norm: norm(&view.final_norm)?,
            spec: spec.clone(),
        })
    }

    /// Embeddings of tokens at `rows` of the position table.
    pub fn embed(&self, run: PassContext<'_, B>, ids: &[u32], type_ids: &[u32], rows: &[u32]) -> Result<B::Tensor> {
        run.time(Stage::Embed, || {
            let mut sources = [(&*self.word, ids, self.spec.embedding_scale); 3];
            let others = [(&self.position, rows), (&self.token_type, type_ids)];
            let mut count = 1;
            for (table, ids) in others {
                if let Some(table) = table {
                    sources[count] = (table, ids, 1.0);
                    count += 1;
                }
            }
            let x = run.backend.embed(&sources[..count])?;
            let x = match &self.embedding_norm {
                Some(norm) => run.backend.norm(x, norm)?,
                None => x,
            };
            match &self.embedding_projection {
                Some(projection) => run.backend.project_embeddings(&x, projection),
                None => Ok(x),
            }
        })
    }

    /// As [`Frequencies::switch`].
    pub fn rotary_switch(&self) -> Option<RotarySwitch> {
        self.frequencies.as_ref().and_then(Frequencies::switch)
    }

    /// Begins a pass of tokens at these positions. Writes their sines and cosines to `rotations`; `lengths` as in
    /// [`Frequencies::at`].
    pub fn begin<'a>(
        &'a self,
        backend: &B,
        positions: &[u32],
        lengths: &[u32],
        rotations: &'a mut Rotations,
        sequences: Sequences<'a, B::Sequence>,
    ) -> Result<B::Pass<'a>> {
        if let Some(frequencies) = &self.frequencies {
            frequencies.at(positions, lengths, rotations);
        }
        let (relative_bias, distances) = (self.relative_bias.as_ref(), self.distances.as_ref());
        backend.begin(PassInput { stack: &self.spec, rotations, relative_bias, distances, sequences })
    }

    fn weights(&self, layer: usize) -> &Layer<B> {
        &self.layers[layer % self.spec.distinct_layers()]
    }

    /// Runs one layer.
    pub fn layer(&self, run: PassContext<'_, B>, pass: &B::Pass<'_>, index: usize, x: B::Tensor) -> Result<B::Tensor> {
        run.call.check()?;
        let (backend, layer, spec) = (run.backend, self.weights(index), &self.spec);
        let post = spec.norm.place == NormPlace::Post;
        let before = |norm: Option<_>| norm.filter(|_| !post);
        let ends = |inner, norm: Option<_>| Ends { post: inner, after: norm.filter(|_| post) };
        let project = |x: &B::Tensor, norm: Option<_>, w| {
            run.time(Stage::Linear, || backend.project(x, before(norm), w, Activation::None))
        };
        let attend = |input| run.time(Stage::Attention, || backend.attention(pass, index, input));
        let qkv = project(&x, layer.attention_norm.as_ref(), &layer.qkv)?;
        let attended =
            attend(AttentionInput::Own { qkv, norms: layer.head_norms.as_ref(), distances: layer.distances.as_ref() })?;
        let feed = |x| match &layer.feed {
            Feed::Plain { up, down } => {
                let (norm, activation, gated) = (before(layer.output_norm.as_ref()), spec.activation, spec.gated);
                let ends = ends(layer.output_post_norm.as_ref(), layer.output_norm.as_ref());
                let feed = FeedForward { norm, up, activation, gated, down, ends };
                run.time(Stage::Linear, || backend.feed_forward(x, &feed))
            }
            Feed::Mixture(mixture) => {
                let norm = layer.output_norm.as_ref();
                let x = mixture.apply(run, spec, x, before(norm))?;
                match norm.filter(|_| post) {
                    Some(norm) => run.time(Stage::Linear, || backend.norm(x, norm)),
                    None => Ok(x),
                }
            }
        };
        if spec.norm.place == NormPlace::Parallel {
            let x = feed(x)?;
            return run.time(Stage::Linear, || {
                backend.project_add(&attended, &layer.attention_output, x, Ends { post: None, after: None })
            });
        }
        let joins = ends(layer.attention_post_norm.as_ref(), layer.attention_norm.as_ref());
        let mut x = run.time(Stage::Linear, || backend.project_add(&attended, &layer.attention_output, x, joins))?;
        drop(attended);
        if let Some(layer) = &layer.cross {
            let queries = project(&x, Some(&layer.norm), &layer.query)?;
            let attended = attend(AttentionInput::Source { queries })?;
            x = run.time(Stage::Linear, || {
                backend.project_add(&attended, &layer.output, x, ends(None, Some(&layer.norm)))
            })?;
        }
        feed(x)
    }

    /// A layer's cross-attention keys and values of the encoder's output.
    pub fn cross_key_value(&self, backend: &B, index: usize, source: &B::Tensor) -> Result<Option<B::Tensor>> {
        let cross = self.weights(index).cross.as_ref();
        cross.map(|cross| backend.project(source, None, &cross.key_value, Activation::None)).transpose()
    }
}

impl<B: Backend> Layer<B> {
    fn load(backend: &B, view: &LayerView) -> Result<Self> {
        let linear = |l: &LinearView| backend.linear_load(Role::Layer, l);
        let norm = |n: &NormView| backend.norm_load(n);
        let norm_opt = |n: &Option<NormView>| n.as_ref().map(norm).transpose();
        let cross = match &view.cross {
            None => None,
            Some(cross) => Some(Cross {
                query: linear(&cross.query)?,
                key_value: linear(&cross.key_value)?,
                output: linear(&cross.output)?,
                norm: norm(&cross.norm)?,
            }),
        };
        Ok(Self {
            qkv: linear(&view.qkv)?,
            attention_output: linear(&view.attention_output)?,
            attention_norm: norm_opt(&view.attention_norm)?,
            attention_post_norm: norm_opt(&view.attention_post_norm)?,
            head_norms: match &view.head_norms {
                Some((query, key)) => Some(HeadNorms { query: norm(query)?, key: norm(key)? }),
                None => None,
            },
            distances: None,
            cross,
            feed: match &view.feed {
                FeedView::Plain(feed) => Feed::Plain { up: linear(&feed.up)?, down: linear(&feed.down)? },
                FeedView::Mixture(mixture) => Feed::Mixture(Mixture::load(backend, mixture)?),
            },
            output_norm: norm_opt(&view.output_norm)?,
            output_post_norm: norm_opt(&view.output_post_norm)?,
        })
    }

    /// The layer's keys and queries of distances, of the table of all layers.
    fn vectors(&self, backend: &B, spec: &spec::Stack, view: &LayerView, table: &B::Tensor) -> Result<B::Distances> {
        let Some(kinds) = spec.disentangled else { return Err(Error::internal("no vectors of distances")) };
        let own = |linear: &Option<LinearView>| match linear {
            Some(linear) => {
                let linear = backend.linear_load(Role::Layer, linear)?;
                backend.project(table, None, &linear, Activation::None).map(Some)
            }
            None => Ok(None),
        };
        let (keys, queries) = (own(&view.distance_key)?, own(&view.distance_query)?);
        let (wants_keys, wants_queries) = (kinds.content_to_position, kinds.position_to_content);
        let shares = wants_keys && keys.is_none() || wants_queries && queries.is_none();
        let shared = shares.then(|| backend.project(table, None, &self.qkv, Activation::None)).transpose()?;
        let shared = |column: usize| shared.as_ref().map(|shared| (shared, column));
        let vectors = DistanceTensors {
            keys: keys.as_ref().map(|own| (own, 0)).or(shared(spec.heads.query_width())).filter(|_| wants_keys),
            queries: queries.as_ref().map(|own| (own, 0)).or(shared(0)).filter(|_| wants_queries),
        };
        backend.distances_load(spec.heads, vectors)
    }
}
