//! Finds a Spec's tensors in the checkpoint and checks every shape before anything is allocated.

use crate::backend::{Backend, InputTransform, LinearView, NormView, Order, Part, Role};
use crate::base::error::{Error, Result};
use crate::formats::safetensors::{DType, TensorView, Weights};

use super::distances;
use crate::network::modules::ModulesView;
use crate::spec::{
    Disentangled, Experts, Heads, LanguageWeight, LinearTensors, MaskedHead, Modules, Norm, NormKind, NormPlace,
    Position, Spec, Stack,
};

pub struct LayerView<'a> {
    pub qkv: LinearView<'a>,
    pub attention_output: LinearView<'a>,
    /// None in a first layer without it.
    pub attention_norm: Option<NormView<'a>>,
    pub attention_post_norm: Option<NormView<'a>>,
    pub head_norms: Option<(NormView<'a>, NormView<'a>)>,
    /// Of keys and queries of distances; None where they are those of tokens.
    pub distance_key: Option<LinearView<'a>>,
    pub distance_query: Option<LinearView<'a>>,
    pub cross: Option<CrossView<'a>>,
    pub feed: FeedView<'a>,
    pub output_norm: Option<NormView<'a>>,
    pub output_post_norm: Option<NormView<'a>>,
}

impl<'a> LayerView<'a> {
    pub fn linears(&self) -> impl Iterator<Item = (Role, &LinearView<'a>)> {
        let cross = self.cross.iter().flat_map(|c| [&c.query, &c.key_value, &c.output]);
        let (experts, routers) = match &self.feed {
            FeedView::Plain(feed) => (std::slice::from_ref(feed).iter().chain(&None), [None, None]),
            FeedView::Mixture(m) => (m.experts.iter().chain(&m.shared), [Some(&m.router), m.shared_gate.as_ref()]),
        };
        let layers = [&self.qkv, &self.attention_output].into_iter().chain(cross);
        let layers = layers.chain(experts.flat_map(|expert| [&expert.up, &expert.down]));
        let routers = routers.into_iter().flatten().map(|linear| (Role::Router, linear));
        layers.map(|linear| (Role::Layer, linear)).chain(routers)
    }

    /// Vectors that are added.
    pub fn vectors(&self) -> impl Iterator<Item = &TensorView<'a>> {
        let bias = match &self.feed {
            FeedView::Mixture(mixture) => mixture.bias.as_ref(),
            FeedView::Plain(_) => None,
        };
        bias.into_iter()
    }

    /// Layers that are applied when the model is loaded and not kept.
    pub fn applied(&self) -> impl Iterator<Item = &LinearView<'a>> {
        self.distance_key.iter().chain(&self.distance_query)
    }

    pub fn norms(&self) -> impl Iterator<Item = &NormView<'a>> {
        let head_norms = self.head_norms.iter().flat_map(|(query, key)| [query, key]);
        let post = self.attention_post_norm.iter().chain(&self.output_post_norm);
        let cross = self.cross.iter().map(|cross| &cross.norm);
        self.attention_norm.iter().chain(&self.output_norm).chain(head_norms).chain(post).chain(cross)
    }
}

/// The feed-forward of a layer.
pub enum FeedView<'a> {
    Plain(ExpertView<'a>),
    Mixture(Box<MixtureView<'a>>),
}

/// The layers of a feed-forward, or of an expert.
pub struct ExpertView<'a> {
    pub up: LinearView<'a>,
    pub down: LinearView<'a>,
}

/// A mixture of experts.
pub struct MixtureView<'a> {
    pub router: LinearView<'a>,
    pub experts: Vec<ExpertView<'a>>,
    pub shared: Option<ExpertView<'a>>,
    pub shared_gate: Option<LinearView<'a>>,
    pub bias: Option<TensorView<'a>>,
}

/// Attention to the encoder's output.
pub struct CrossView<'a> {
    pub query: LinearView<'a>,
    pub key_value: LinearView<'a>,
    pub output: LinearView<'a>,
    pub norm: NormView<'a>,
}

/// The tensors of an encoder or a decoder, with checked shapes.
pub struct StackView<'a> {
    pub word: TensorView<'a>,
    pub position: Option<TensorView<'a>>,
    pub token_type: Option<TensorView<'a>>,
    pub embedding_norm: Option<NormView<'a>>,
    pub embedding_projection: Option<LinearView<'a>>,
    /// `[buckets, heads]`.
    pub relative_bias: Option<TensorView<'a>>,
    /// `[2 · span, hidden]`.
    pub distances: Option<TensorView<'a>>,
    pub distance_norm: Option<NormView<'a>>,
    /// One if all have its weights.
    pub layers: Vec<LayerView<'a>>,
    pub final_norm: Option<NormView<'a>>,
}

/// The head of a masked language model.
pub struct MaskedView<'a> {
    pub dense: LinearView<'a>,
    pub norm: NormView<'a>,
    pub decoder: LinearView<'a>,
    /// Whether `decoder` is the encoder's word embeddings.
    pub tied: bool,
    /// What a decoder of its own is called.
    pub own_name: Option<&'static str>,
}

impl<'a> MaskedView<'a> {
    /// None if the checkpoint has no such head.
    fn find(head: &MaskedHead, stack: &Stack, word: &TensorView<'a>, weights: &'a Weights) -> Result<Option<Self>> {
        let stored = |name: &str| weights.get(&format!("{name}.weight"));
        if stored(head.dense.name).is_none() {
            return Ok(None);
        }
        let find = Finder { weights, prefix: "", norm: stack.norm };
        let (outputs, width) = (word.rows(), stack.embedding_size);
        let names = match head.weight {
            LanguageWeight::Tied => &[],
            LanguageWeight::Own(names) | LanguageWeight::OwnOrTied(names) => names,
        };
        let own = names.iter().find_map(|name| Some((*name, stored(name)?)));
        let own = match head.weight {
            LanguageWeight::Own(_) if own.is_none() => return Ok(None),
            LanguageWeight::Own(_) => own,
            _ => own.filter(|(_, weight)| !weight.equals(word)),
        };
        let mut decoder = match own {
            Some((name, _)) => find.one(name, 0, outputs, width, false)?,
            None => {
                let key = word.name.trim_end_matches(".weight").to_string();
                let parts = vec![Part { weight: *word, bias: None, outputs, order: Order::From(0) }];
                let transform = InputTransform::find(weights, &key, width)?;
                LinearView { key, parts, inputs: width, outputs, transform }
            }
        };
        if let Some(first) = head.bias.first() {
            // In a `.kinglet` file the bias has the weight's name.
            let packed = format!("{}.bias", decoder.key);
            let names = head.bias.iter().copied().chain([packed.as_str()]);
            let name = names.into_iter().find(|name| weights.get(name).is_some()).unwrap_or(first);
            decoder.parts[0].bias = Some(weights.require(name, &[outputs])?);
        }
        Ok(Some(Self {
            dense: find.one(head.dense.name, 0, width, stack.hidden, head.dense.bias)?,
            norm: find.norm(head.norm, 0, width)?,
            decoder,
            tied: own.is_none(),
            own_name: names.first().copied(),
        }))
    }
}

/// The tensors of a whole model; empty for ONNX graphs.
#[derive(Default)]
pub struct ModelView<'a> {
    pub encoder: Option<StackView<'a>>,
    pub decoder: Option<StackView<'a>>,
    /// The layers of the classification head.
    pub head: Vec<LinearView<'a>>,
    pub language: Option<LinearView<'a>>,
    /// Whether `language` is the decoder's word embeddings.
    pub tied: bool,
    pub masked: Option<MaskedView<'a>>,
    /// Why the head of a masked language model cannot be used; the rest of the model can.
    pub unfit: Option<Error>,
    pub modules: ModulesView<'a>,
}

struct Finder<'a> {
    weights: &'a Weights,
    /// The prefix of the stack's tensor names in this checkpoint.
    prefix: &'static str,
    norm: Norm,
}

/// A linear layer to look up.
struct LinearSpec<'n> {
    tensors: LinearTensors,
    outputs: &'n [usize],
    inputs: usize,
    bias: bool,
    heads: Heads,
    /// Of queries and keys: the components of a head that are rotated, if those of a pair are side by side.
    pairs: Option<usize>,
}

impl LinearSpec<'_> {
    /// The rows of part `at`, from `first` on.
    fn order(&self, at: usize, first: usize) -> Order {
        match self.pairs {
            Some(rotated) if at < 2 => Order::Pairs { first, dim: self.heads.dim, rotated },
            _ => Order::From(first),
        }
    }
}

impl<'a> Finder<'a> {
    fn full(&self, template: &str, layer: usize) -> String {
        format!("{}{}", self.prefix, template.replace("{}", &layer.to_string()))
    }

    fn part(&self, name: &str, shape: &[usize], channels: usize, bias: bool) -> Result<Part<'a>> {
        let weight = self.weights.require(&format!("{name}.weight"), shape)?;
        let bias = bias.then(|| self.weights.require(&format!("{name}.bias"), &[channels])).transpose()?;
        Ok(Part { weight, bias, outputs: channels, order: Order::From(0) })
    }

    fn linear(&self, wanted: &LinearSpec, layer: usize) -> Result<LinearView<'a>> {
        let (inputs, total) = (wanted.inputs, wanted.outputs.iter().sum());
        if let Some(packed) = self.packed(wanted, layer, total)? {
            return Ok(packed);
        }
        let mut parts = Vec::with_capacity(wanted.outputs.len());
        let mut first = 0;
        let key = match wanted.tensors {
            LinearTensors::Separate(names) => {
                for (at, (name, &outputs)) in names.iter().zip(wanted.outputs).enumerate() {
                    let part = self.part(&self.full(name, layer), &[outputs, inputs], outputs, wanted.bias)?;
                    parts.push(Part { order: wanted.order(at, 0), ..part });
                }
                names.first().copied().unwrap_or_default()
            }
            LinearTensors::Single(name)
            | LinearTensors::Reversed(name)
            | LinearTensors::ByHead(name)
            | LinearTensors::Transposed(name) => {
                // Weights that other libraries have quantised are `[outputs, inputs]` in any case.
                let quantised = |tensor: TensorView| matches!(tensor.dtype, DType::Quantised(_));
                let transposed = matches!(wanted.tensors, LinearTensors::Transposed(_))
                    && !self.weights.get(&format!("{}.weight", self.full(name, layer))).is_some_and(quantised);
                let shape = if transposed { [inputs, total] } else { [total, inputs] };
                let whole = self.part(&self.full(name, layer), &shape, total, wanted.bias)?;
                for (at, &outputs) in wanted.outputs.iter().enumerate() {
                    let dim = wanted.heads.dim;
                    let order = match wanted.tensors {
                        LinearTensors::ByHead(_) => {
                            Order::ByHead { first: first / outputs * dim, dim, stride: 3 * dim }
                        }
                        _ if transposed => Order::Columns { first, row: 0 },
                        LinearTensors::Reversed(_) => Order::From(total - first - outputs),
                        _ => wanted.order(at, first),
                    };
                    parts.push(Part { outputs, order, ..whole.clone() });
                    first += outputs;
                }
                name
            }
        };
        Ok(LinearView {
            key: self.full(key, layer),
            parts,
            inputs,
            outputs: total,
            transform: InputTransform::default(),
        })
    }

    /// The layer in a `.kinglet` file: all parts in one tensor, under the first one's name.
    fn packed(&self, wanted: &LinearSpec, layer: usize, total: usize) -> Result<Option<LinearView<'a>>> {
        let name = wanted.tensors.names().first().copied().unwrap_or_default();
        let key = self.full(name, layer);
        self.packed_as(key, wanted, total)
    }

    /// As [`Self::packed`], of a layer with this key.
    fn packed_as(&self, key: String, wanted: &LinearSpec, total: usize) -> Result<Option<LinearView<'a>>> {
        if self.weights.get(&format!("{key}.weight")).is_none_or(|tensor| !tensor.dtype.is_packed()) {
            return Ok(None);
        }
        let part = self.part(&key, &[total, wanted.inputs], total, wanted.bias)?;
        let transform = InputTransform::find(self.weights, &key, wanted.inputs)?;
        Ok(Some(LinearView { key, parts: vec![part], inputs: wanted.inputs, outputs: total, transform }))
    }

    /// A layer of an expert: of tensors of its own, or of tensors of all `count` experts.
    fn expert(&self, wanted: &LinearSpec, layer: usize, (expert, count): (usize, usize)) -> Result<LinearView<'a>> {
        let names = wanted.tensors.names();
        let (inputs, total) = (wanted.inputs, wanted.outputs.iter().sum());
        let own = |name: &str| self.full(name, layer).replace("{e}", &expert.to_string());
        let first = names.first().copied().unwrap_or_default();
        let key = if first.contains("{e}") { own(first) } else { format!("{}.{expert}", own(first)) };
        if let Some(packed) = self.packed_as(key.clone(), wanted, total)? {
            return Ok(packed);
        }
        let is_own = first.contains("{e}") && self.weights.get(&format!("{}.weight", own(first))).is_some();
        let whole = |name: &str| {
            let bare = self.full(&name.replace(".{e}", ""), layer);
            if self.weights.get(&bare).is_some() { bare } else { format!("{bare}.weight") }
        };
        // Where there are neither, the error names the tensor of the first expert.
        let is_own = is_own || first.contains("{e}") && self.weights.get(&whole(first)).is_none();
        let all = |name: &str, rows: usize, columns: usize| {
            let name = whole(name);
            let flat = self.weights.get(&name).is_some_and(|tensor| tensor.shape.len() == 2);
            let shape = [count, rows, columns];
            let joined = [count.saturating_mul(rows), columns];
            self.weights.require(&name, if flat { &joined } else { &shape })
        };
        if let LinearTensors::Transposed(name) = wanted.tensors {
            let order = Order::Columns { first: 0, row: expert * inputs };
            let part = Part { weight: all(name, inputs, total)?, bias: None, outputs: total, order };
            let transform = InputTransform::default();
            return Ok(LinearView { key, parts: vec![part], inputs, outputs: total, transform });
        }
        let mut parts = Vec::with_capacity(wanted.outputs.len());
        let mut before = 0;
        for (at, &outputs) in wanted.outputs.iter().enumerate() {
            let single = names.len() == 1;
            let (name, rows) = (names[if single { 0 } else { at }], if single { total } else { outputs });
            let (weight, first) = match is_own {
                true => (self.weights.require(&format!("{}.weight", own(name)), &[rows, inputs])?, 0),
                false => (all(name, rows, inputs)?, expert * rows),
            };
            let order = Order::From(first + if single { before } else { 0 });
            parts.push(Part { weight, bias: None, outputs, order });
            before += outputs;
        }
        Ok(LinearView { key, parts, inputs, outputs: total, transform: InputTransform::default() })
    }

    /// A layer of one part, by its name.
    fn one(&self, name: &str, layer: usize, outputs: usize, inputs: usize, bias: bool) -> Result<LinearView<'a>> {
        let name = self.full(name, layer);
        let part = self.part(&name, &[outputs, inputs], outputs, bias)?;
        let transform = InputTransform::find(self.weights, &name, inputs)?;
        Ok(LinearView { key: name, parts: vec![part], inputs, outputs, transform })
    }

    /// Checkpoints converted from TensorFlow call a norm's weight and bias `gamma` and `beta`.
    fn norm(&self, template: &str, layer: usize, width: usize) -> Result<NormView<'a>> {
        let name = self.full(template, layer);
        let old = self.weights.get(&format!("{name}.gamma")).is_some();
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        let bias = self.norm.bias.then(|| self.weights.require(&format!("{name}.{bias}"), &[width])).transpose()?;
        Ok(NormView {
            rms: self.norm.kind == NormKind::RmsNorm,
            weight: self.weights.require(&format!("{name}.{weight}"), &[width])?,
            bias,
            eps: self.norm.eps,
            shift: self.norm.shift,
            scale: 1.0,
        })
    }

    fn norm_opt(&self, template: Option<&str>, layer: usize, width: usize) -> Result<Option<NormView<'a>>> {
        template.map(|template| self.norm(template, layer, width)).transpose()
    }
}

/// The name, or an error for a family that does not give it.
fn named<T: Copy>(name: Option<T>, what: &str) -> Result<T> {
    name.ok_or_else(|| Error::internal(format!("the family names no {what}")))
}

impl<'a> StackView<'a> {
    fn find(stack: &Stack, vocabulary: usize, weights: &'a Weights) -> Result<Self> {
        let names = &stack.names;
        let candidates = || names.word.iter().flat_map(|name| [(names.prefix, *name), ("", *name)]);
        let there = |(prefix, name): &(&str, &str)| weights.get(&format!("{prefix}{name}.weight")).is_some();
        let first = names.word.first().copied().unwrap_or_default();
        let (prefix, word) = candidates().find(there).unwrap_or((names.prefix, first));
        let find = Finder { weights, prefix, norm: stack.norm };
        let (hidden, width, heads) = (stack.hidden, stack.embedding_size, stack.heads);
        let table = |name: &str, rows: usize| weights.require(&format!("{prefix}{name}.weight"), &[rows, width]);
        let linear = |rows: LinearTensors, layer: usize, outputs: &[usize], inputs: usize, bias: bool| {
            find.linear(&LinearSpec { tensors: rows, outputs, inputs, bias, heads, pairs: None }, layer)
        };
        let pairs = stack.rotary.as_ref().filter(|rotary| rotary.interleaved).map(|rotary| rotary.dim);
        let qkv = |layer: usize| {
            let outputs = [heads.query_width(), heads.kv_width(), heads.kv_width()];
            let (tensors, bias) = (names.qkv, stack.biases.qkv);
            find.linear(&LinearSpec { tensors, outputs: &outputs, inputs: hidden, bias, heads, pairs }, layer)
        };
        let (query, kv) = (heads.query_width(), heads.kv_width());
        let (inner, post) = (stack.norm.place != NormPlace::Output, stack.norm.place.has_output_norms());

        let halves = |size: usize| if stack.gated { vec![size; 2] } else { vec![size] };
        let mixture = |i: usize, experts: &Experts| {
            let one = |tensors: LinearTensors, outputs: &[usize], inputs: usize, e: usize| {
                let wanted = LinearSpec { tensors, outputs, inputs, bias: false, heads, pairs: None };
                find.expert(&wanted, i, (e, experts.count))
            };
            let inner = halves(experts.intermediate);
            let expert = |e: usize| {
                Ok(ExpertView {
                    up: one(names.expert_up, &inner, hidden, e)?,
                    down: one(names.expert_down, &[hidden], experts.intermediate, e)?,
                })
            };
            let shared = |size: usize| {
                Ok(ExpertView {
                    up: linear(names.shared_up, i, &halves(size), hidden, false)?,
                    down: linear(names.shared_down, i, &[hidden], size, false)?,
                })
            };
            let gate = names.shared_gate.filter(|_| experts.shared.is_some());
            Ok(MixtureView {
                router: find.one(named(names.router, "router")?, i, experts.count, hidden, false)?,
                experts: (0..experts.count).map(expert).collect::<Result<_>>()?,
                shared: experts.shared.map(shared).transpose()?,
                shared_gate: gate.map(|name| find.one(name, i, 1, hidden, false)).transpose()?,
                bias: names.expert_bias.map(|name| weights.require(&find.full(name, i), &[hidden])).transpose()?,
            })
        };
        let feed = |i: usize| match &stack.experts {
            Some(experts) if experts.is_in(i) => Ok(FeedView::Mixture(Box::new(mixture(i, experts)?))),
            _ => Ok(FeedView::Plain(ExpertView {
                up: linear(names.up, i, &halves(stack.intermediate), hidden, stack.biases.feed_forward)?,
                down: linear(names.down, i, &[hidden], stack.intermediate, stack.biases.feed_forward_output)?,
            })),
        };
        let cross = |i: usize| {
            let parts = named(names.cross_key_value, "cross-attention keys")?;
            Ok(CrossView {
                query: find.one(named(names.cross_query, "cross-attention")?, i, query, hidden, stack.biases.qkv)?,
                key_value: linear(LinearTensors::Separate(parts), i, &[kv, kv], hidden, stack.biases.qkv)?,
                output: find.one(
                    named(names.cross_output, "cross-attention output")?,
                    i,
                    hidden,
                    query,
                    stack.biases.attention_output,
                )?,
                norm: find.norm(named(names.cross_norm, "cross-attention norm")?, i, hidden)?,
            })
        };
        let has_norm = |i: usize| inner && (i > 0 || stack.norm.first_attention);
        let layer = |i: usize| {
            let head_norms = stack.attention.head_norm.then(|| {
                let width = |all: usize| if stack.attention.joint_norm { all } else { heads.dim };
                let query = find.norm(named(names.query_norm, "query norm")?, i, width(query))?;
                Ok((query, find.norm(named(names.key_norm, "key norm")?, i, width(kv))?))
            });
            let distance = |name: Option<&str>, is: fn(&Disentangled) -> bool| {
                let name = name.filter(|_| stack.disentangled.as_ref().is_some_and(is));
                name.map(|name| find.one(name, i, query, hidden, stack.biases.qkv)).transpose()
            };
            Ok(LayerView {
                qkv: qkv(i)?,
                attention_output: linear(names.attention_output, i, &[hidden], query, stack.biases.attention_output)?,
                attention_norm: find.norm_opt(has_norm(i).then_some(names.attention_norm), i, hidden)?,
                attention_post_norm: find.norm_opt(names.attention_post_norm.filter(|_| post), i, hidden)?,
                head_norms: head_norms.transpose()?,
                distance_key: distance(names.distance_key, |d| d.content_to_position)?,
                distance_query: distance(names.distance_query, |d| d.position_to_content)?,
                cross: stack.cross.then(|| cross(i)).transpose()?,
                feed: feed(i)?,
                output_norm: find.norm_opt(inner.then_some(names.output_norm), i, hidden)?,
                output_post_norm: find.norm_opt(names.output_post_norm.filter(|_| post), i, hidden)?,
            })
        };
        let relative_bias = match (stack.relative, names.relative_bias) {
            (Some(relative), Some(name)) => {
                Some(weights.require(&format!("{prefix}{name}.weight"), &[relative.buckets, heads.count])?)
            }
            _ => None,
        };
        let distances = match (stack.disentangled, names.distances) {
            (Some(disentangled), Some(name)) => {
                let shape = [disentangled.span.saturating_mul(2), hidden];
                Some(weights.require(&format!("{prefix}{name}.weight"), &shape)?)
            }
            _ => None,
        };
        Ok(Self {
            word: table(word, vocabulary)?,
            position: match stack.position {
                Position::Learned { rows, .. } | Position::LearnedAfterPadding { rows, .. } => {
                    Some(table(names.position, rows)?)
                }
                Position::None | Position::Sinusoidal { .. } | Position::SinusoidalAfterPadding { .. } => None,
            },
            token_type: match names.token_type {
                Some(name) if stack.token_types > 0 => Some(table(name, stack.token_types)?),
                _ => None,
            },
            embedding_norm: find.norm_opt(names.embedding_norm, 0, width)?,
            embedding_projection: names
                .embedding_projection
                .map(|name| find.one(name, 0, hidden, width, true))
                .transpose()?,
            relative_bias,
            distance_norm: find.norm_opt(names.distance_norm.filter(|_| distances.is_some()), 0, hidden)?,
            distances,
            // Stops at the first missing layer, even if the configuration says billions.
            layers: (0..stack.distinct_layers()).map(layer).collect::<Result<_>>()?,
            final_norm: find.norm_opt(names.final_norm, 0, hidden)?,
        })
    }

    fn bytes<B: Backend>(&self, backend: &B, stack: &Stack) -> u64 {
        let linears = self
            .layers
            .iter()
            .flat_map(LayerView::linears)
            .chain(self.embedding_projection.iter().map(|l| (Role::Head, l)))
            .map(|(role, l)| backend.linear_bytes(role, l.outputs, l.inputs) as u64)
            .sum::<u64>();
        let tables = [self.position.as_ref(), self.token_type.as_ref()];
        let tables =
            tables.into_iter().flatten().map(|t| backend.table_bytes(t.shape[0], t.shape[1]) as u64).sum::<u64>();
        // At most nine vectors per layer.
        let norms = (2 + 9 * self.layers.len()) * stack.hidden * size_of::<f32>();
        let biased = self.relative_bias.is_some() || stack.alibi.is_some();
        let distances = if biased { 2 * stack.max_tokens * stack.heads.count * 4 } else { 0 };
        let vectors = stack.disentangled.map_or(0, |d| {
            let kinds = usize::from(d.content_to_position) + usize::from(d.position_to_content);
            distances::bytes(d.span, stack.heads.query_width()).saturating_mul(kinds * self.layers.len())
        });
        let sines = match stack.position {
            Position::Sinusoidal { rows, .. } | Position::SinusoidalAfterPadding { rows, .. } => {
                backend.table_bytes(rows, stack.embedding_size)
            }
            _ => 0,
        };
        linears + tables + norms.saturating_add(distances).saturating_add(vectors).saturating_add(sines) as u64
    }
}

impl<'a> ModelView<'a> {
    /// # Errors
    /// A field of the Spec that the transformer does not honour; a tensor that is missing or of another shape than the Spec says, by
    /// file and name.
    pub fn find(spec: &Spec, weights: &'a Weights) -> Result<Self> {
        super::check::check(spec)?;
        let stack = |stack: &Stack| StackView::find(stack, spec.vocabulary, weights);
        let (mut encoder, decoder) =
            (spec.encoder.as_ref().map(stack).transpose()?, spec.decoder.as_ref().map(stack).transpose()?);
        // A checkpoint may hold the table that both share once for each.
        if let (Some(encoder), Some(decoder)) = (&mut encoder, &decoder)
            && encoder.word.name != decoder.word.name
            && encoder.word.equals(&decoder.word)
        {
            encoder.word = decoder.word;
        }
        let mut head_layers = Vec::new();
        if let (Some(head), Some(stack)) = (&spec.head, spec.reader()) {
            let prefix = stack.names.prefix;
            let there = |name: &str| weights.get(&format!("{prefix}{name}.weight")).is_some();
            let prefixed = stack.names.word.iter().any(|name| there(name));
            let find = |prefix| Finder { weights, prefix, norm: stack.norm };
            for (i, dense) in head.layers.iter().enumerate() {
                let prefix = if dense.prefixed && prefixed { prefix } else { "" };
                let outputs = if i + 1 == head.layers.len() { head.labels } else { stack.hidden };
                head_layers.push(find(prefix).one(dense.name, 0, outputs, stack.hidden, dense.bias)?);
            }
        }
        let (mut language, mut tied) = (None, false);
        if let (Some(head), Some(stack), Some(decoder)) = (&spec.language, &spec.decoder, &decoder) {
            let stored = |names: &'static [&'static str]| {
                names.iter().find_map(|&name| Some((name, weights.get(&format!("{name}.weight"))?)))
            };
            let own = match head.weight {
                LanguageWeight::Tied => None,
                LanguageWeight::Own(names) => stored(names),
                LanguageWeight::OwnOrTied(names) => stored(names).filter(|(_, weight)| !weight.equals(&decoder.word)),
            };
            tied = own.is_none() && !matches!(head.weight, LanguageWeight::Own(_));
            if let Some((name, _)) = own {
                let find = Finder { weights, prefix: "", norm: stack.norm };
                language = Some(find.one(name, 0, spec.vocabulary, stack.hidden, false)?);
            } else if tied {
                let outputs = spec.vocabulary;
                let part = Part { weight: decoder.word, bias: None, outputs, order: Order::From(0) };
                let key = decoder.word.name.trim_end_matches(".weight").to_string();
                let (inputs, parts) = (stack.hidden, vec![part]);
                let transform = InputTransform::find(weights, &key, inputs)?;
                language = Some(LinearView { key, parts, inputs, outputs, transform });
            }
            if let (Some(found), Some(name)) = (&mut language, head.bias) {
                // In a `.kinglet` file, and where the layer has a bias of its own, the bias has the weight's name.
                let packed = format!("{}.bias", found.key);
                if weights.get(&packed).is_some() || name == packed {
                    found.parts[0].bias = Some(weights.require(&packed, &[spec.vocabulary])?);
                } else if weights.get(name).is_some() {
                    found.parts[0].bias = Some(weights.require(name, &[1, spec.vocabulary])?);
                }
            }
        }
        let (mut masked, mut unfit) = (None, None);
        if let (Some(head), Some(stack), Some(encoder)) = (&spec.masked, &spec.encoder, &encoder) {
            match MaskedView::find(head, stack, &encoder.word, weights) {
                Ok(found) => masked = found,
                Err(error) => unfit = Some(error),
            }
        }
        let modules = ModulesView::default();
        Ok(Self { encoder, decoder, head: head_layers, language, tied, masked, unfit, modules })
    }

    /// Finds the tensors of what follows the transformer too.
    pub fn with_modules(self, modules: &Modules, weights: &'a Weights) -> Result<Self> {
        Ok(Self { modules: ModulesView::find(modules, weights)?, ..self })
    }

    /// Takes the language heads from the Spec of a checkpoint that has none, as of a base model: it can embed.
    pub fn settle(&self, spec: &mut Spec) {
        if self.language.is_none() {
            spec.language = None;
        }
        if self.masked.is_none() {
            spec.masked = None;
        }
    }

    /// The number type of most weights of the layers, or of the word embeddings where there are no layers. A GGUF file has several: the
    /// embeddings are often wider than the layers.
    pub fn dtype(&self) -> Option<DType> {
        let stacks = || self.encoder.iter().chain(&self.decoder);
        let mut counts: Vec<(DType, usize)> = Vec::new();
        for (_, linear) in stacks().flat_map(|stack| &stack.layers).flat_map(LayerView::linears) {
            let Some(part) = linear.parts.first() else { continue };
            let weights = linear.outputs.saturating_mul(linear.inputs);
            match counts.iter_mut().find(|(kind, _)| *kind == part.weight.dtype) {
                Some((_, count)) => *count = count.saturating_add(weights),
                None => counts.push((part.weight.dtype, weights)),
            }
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(kind, _)| kind);
        most.or_else(|| stacks().next().map(|stack| stack.word.dtype))
    }

    /// Whether the encoder and the decoder share the word embeddings.
    pub fn shares_words(&self) -> bool {
        match (&self.encoder, &self.decoder) {
            (Some(encoder), Some(decoder)) => encoder.word.name == decoder.word.name,
            _ => false,
        }
    }

    /// Whether the decoder of a masked language model serves as the encoder's word embeddings on a backend.
    pub fn masked_words<B: Backend>(&self, backend: &B) -> bool {
        self.masked.as_ref().is_some_and(|masked| masked.tied) && backend.tables_are_exact()
    }

    /// The size of the weights on a backend, in bytes.
    pub fn bytes<B: Backend>(&self, backend: &B, spec: &Spec) -> u64 {
        let stacks = [(&self.encoder, &spec.encoder), (&self.decoder, &spec.decoder)];
        let stacks = stacks.into_iter().filter_map(|(view, stack)| Some((view.as_ref()?, stack.as_ref()?)));
        let stacks: u64 = stacks.map(|(view, stack)| view.bytes(backend, stack)).sum();
        let masked = self.masked.iter().flat_map(|masked| [&masked.dense, &masked.decoder]);
        let heads = self.head.iter().chain(&self.language).chain(masked);
        let heads: u64 = heads.map(|l| backend.linear_bytes(Role::Head, l.outputs, l.inputs) as u64).sum();
        let own_words = |view: &StackView| backend.table_bytes(view.word.shape[0], view.word.shape[1]) as u64;
        let decoder_words = match &self.decoder {
            Some(view) if !self.tied => own_words(view),
            _ => 0,
        };
        let encoder_words = match &self.encoder {
            Some(view) if !self.shares_words() && !self.masked_words(backend) => own_words(view),
            _ => 0,
        };
        stacks + heads + decoder_words + encoder_words + self.modules.bytes()
    }
}
