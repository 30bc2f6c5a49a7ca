//! A naive transformer in f64, token by token and head by head, which reads the whole Spec. Its weights are made up from their names
//! when it first reads them, so that a checkpoint of exactly what it read can be written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, json};

use crate::network::transformer::{distances, relative};
use crate::spec::{
    Activation, Experts, Head, HeadKind, HeadToken, LanguageHead, LanguageWeight, LinearTensors, MaskedHead, Norm,
    NormKind, NormPlace, Position, RotaryScaling, Stack,
};

type Vectors = Vec<Vec<f64>>;

/// Made-up tensors, by name.
#[derive(Default)]
pub struct Tensors(RefCell<BTreeMap<String, ShapeAndValues>>);

type ShapeAndValues = (Vec<usize>, Vec<f32>);

impl Tensors {
    fn get(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let mut all = self.0.borrow_mut();
        let make = || {
            let mut state = name.bytes().fold(1u32, |state, byte| state.wrapping_mul(31).wrapping_add(u32::from(byte)));
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let centre = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            (shape.to_vec(), (0..shape.iter().product()).map(|_| centre + next()).collect())
        };
        let (stored, values) = all.entry(name.to_string()).or_insert_with(make);
        assert_eq!(stored, shape, "{name}");
        values.clone()
    }

    /// Writes what was read as a safetensors file.
    pub fn write(&self, path: &Path) {
        let (mut header, mut data) = (Map::new(), Vec::new());
        for (name, (shape, values)) in self.0.borrow().iter() {
            let start = data.len();
            values.iter().for_each(|value| data.extend(value.to_le_bytes()));
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
            header.insert(name.clone(), entry);
        }
        let header = serde_json::to_vec(&header).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(path, [&length[..], &header, &data].concat()).unwrap();
    }
}

pub struct Reference<'a> {
    pub tensors: &'a Tensors,
    pub stack: &'a Stack,
    pub vocabulary: usize,
    pub causal: bool,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Abramowitz and Stegun 7.1.26 is not exact enough; the series is, for arguments of this size.
fn erf(x: f64) -> f64 {
    let (mut term, mut total) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        total += term / f64::from(2 * n + 1);
    }
    if x.abs() > 5.0 { x.signum() } else { total * 2.0 / std::f64::consts::PI.sqrt() }
}

fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
    }
}

/// The sinusoidal vector of a position.
fn sines(position: usize, width: usize, inclusive: bool) -> Vec<f64> {
    let half = width / 2;
    let steps = if inclusive { half - 1 } else { half };
    let angle = |k: usize| position as f64 / 10_000f64.powf(k as f64 / steps as f64);
    (0..half).map(|k| angle(k).sin()).chain((0..half).map(|k| angle(k).cos())).collect()
}

impl Reference<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Vec<f64> {
        let values = self.tensors.get(&format!("{}{name}", self.stack.names.prefix), shape);
        values.into_iter().map(f64::from).collect()
    }

    /// The name of a layer's tensor.
    fn at(&self, name: &str, layer: usize) -> String {
        name.replace("{}", &(if self.stack.shared_layers { 0 } else { layer }).to_string())
    }

    fn row(&self, table: &str, rows: usize, row: usize) -> Vec<f64> {
        let width = self.stack.embedding_size;
        self.tensor(&format!("{table}.weight"), &[rows, width])[row * width..][..width].to_vec()
    }

    fn linear(&self, name: &str, x: &Vectors, outputs: usize, bias: bool) -> Vectors {
        let inputs = x[0].len();
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs]);
        let bias = if bias { self.tensor(&format!("{name}.bias"), &[outputs]) } else { vec![0.0; outputs] };
        let one = |x: &Vec<f64>| weight.chunks(inputs).zip(&bias).map(|(w, b)| dot(w, x) + b).collect();
        x.iter().map(one).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (Norm { kind, eps, bias, shift, .. }, width) = (self.stack.norm, x.len());
        let weight = self.tensor(&format!("{name}.weight"), &[width]);
        let added = if bias { self.tensor(&format!("{name}.bias"), &[width]) } else { vec![0.0; width] };
        let mean = if kind == NormKind::LayerNorm { x.iter().sum::<f64>() / width as f64 } else { 0.0 };
        let spread = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let one = |((x, w), b): ((&f64, &f64), &f64)| {
            (x - mean) / (spread + f64::from(eps)).sqrt() * (w + f64::from(shift)) + b
        };
        x.iter().zip(&weight).zip(&added).map(one).collect()
    }

    fn norms(&self, name: &str, x: &Vectors) -> Vectors {
        x.iter().map(|x| self.norm(name, x)).collect()
    }

    fn embed(&self, ids: &[u32], types: &[u32]) -> Vectors {
        let (stack, names) = (self.stack, &self.stack.names);
        let one = |i: usize| {
            let mut x = self.row(names.word[0], self.vocabulary, ids[i] as usize);
            x.iter_mut().for_each(|x| *x *= f64::from(stack.embedding_scale));
            let position = match stack.position {
                Position::None => vec![0.0; stack.embedding_size],
                Position::Learned { rows, first } => self.row(names.position, rows, first + i),
                Position::LearnedAfterPadding { rows, padding } => {
                    let counted = ids[..=i].iter().filter(|&&id| id as usize != padding).count();
                    let row = if ids[i] as usize == padding { padding } else { padding + counted };
                    self.row(names.position, rows, row)
                }
                Position::Sinusoidal { first, inclusive, .. } => sines(first + i, stack.embedding_size, inclusive),
                Position::SinusoidalAfterPadding { padding, .. } if ids[i] as usize == padding => {
                    vec![0.0; stack.embedding_size]
                }
                Position::SinusoidalAfterPadding { padding, .. } => {
                    let counted = ids[..=i].iter().filter(|&&id| id as usize != padding).count();
                    sines(padding + counted, stack.embedding_size, true)
                }
            };
            x = sum(&x, &position);
            if stack.token_types > 0 {
                x = sum(&x, &self.row(names.token_type.unwrap(), stack.token_types, types[i] as usize));
            }
            names.embedding_norm.map_or(x.clone(), |norm| self.norm(norm, &x))
        };
        let x: Vectors = (0..ids.len()).map(one).collect();
        names.embedding_projection.map_or(x.clone(), |name| self.linear(name, &x, stack.hidden, true))
    }

    /// Rotates a head's components.
    fn rotate(&self, head: &mut [f64], layer: usize, position: usize, length: usize) {
        let Some(rotary) = self.stack.rotary.as_ref().filter(|rotary| rotary.is_in(layer)) else { return };
        let local = rotary.local_theta.filter(|_| self.stack.attention.window(layer) > 0);
        let theta = f64::from(local.unwrap_or(rotary.theta));
        let half = rotary.dim / 2;
        let pair = |i: usize| if rotary.interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
        for i in 0..half {
            let mut frequency = theta.powf(-2.0 * i as f64 / rotary.dim as f64);
            let mut amplitude = 1.0;
            let turns = |frequency: f64, length: usize| length as f64 * frequency / (2.0 * std::f64::consts::PI);
            match &rotary.scaling {
                _ if local.is_some() => {}
                RotaryScaling::None => {}
                RotaryScaling::Linear { factor } => frequency /= f64::from(*factor),
                RotaryScaling::Llama3 { factor, low, high, original } => {
                    let smooth = (turns(frequency, *original) - f64::from(*low)) / f64::from(high - low);
                    let smooth = smooth.clamp(0.0, 1.0);
                    frequency = (1.0 - smooth) * frequency / f64::from(*factor) + smooth * frequency;
                }
                RotaryScaling::Long { short, long, original, attention } => {
                    frequency /= f64::from(if length > *original { long[i] } else { short[i] });
                    amplitude = f64::from(*attention);
                }
                RotaryScaling::Yarn { factor, fast, slow, original, truncate, attention } => {
                    // The indices at which a frequency turns that often within the original length.
                    let index = |times: &f32| {
                        let one = turns(1.0, *original) / f64::from(*times);
                        one.ln() / theta.ln() * rotary.dim as f64 / 2.0
                    };
                    let (low, high) = (index(fast), index(slow));
                    let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                    let (low, high) = (low.max(0.0), high.min(rotary.dim as f64 - 1.0));
                    let slow = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    frequency *= 1.0 - slow + slow / f64::from(*factor);
                    amplitude = f64::from(*attention);
                }
                RotaryScaling::Dynamic { factor, original } => {
                    let (factor, dim) = (f64::from(*factor), rotary.dim as f64);
                    let times = factor * length.max(*original) as f64 / *original as f64 - (factor - 1.0);
                    frequency *= times.powf(dim / (dim - 2.0)).powf(-2.0 * i as f64 / dim);
                }
            }
            let (s, c) = (position as f64 * frequency).sin_cos();
            let (first, second) = pair(i);
            let (a, b) = (head[first], head[second]);
            head[first] = amplitude * (a * c - b * s);
            head[second] = amplitude * (b * c + a * s);
        }
    }

    /// `softmax(cap(scale · (q·kᵀ + term)) + bias)·v`, over the keys that a query sees.
    fn attend(
        &self,
        (q, k, v): (&Vectors, &Vectors, &Vectors),
        sees: impl Fn(usize, usize) -> bool,
        term: impl Fn(usize, usize, usize) -> f64,
        bias: impl Fn(usize, usize, usize) -> f64,
    ) -> Vectors {
        let (heads, spec) = (self.stack.heads, &self.stack.attention);
        let part = |at: usize| at * heads.dim..(at + 1) * heads.dim;
        let one = |i: usize, head: usize| {
            let kv = head * heads.kv / heads.count;
            let keys: Vec<_> = (0..k.len()).filter(|&j| sees(i, j)).collect();
            let score = |&j: &usize| {
                let product = dot(&q[i][part(head)], &k[j][part(kv)]);
                let mut score = f64::from(spec.scale) * (product + term(head, i, j));
                if spec.softcap > 0.0 {
                    score = f64::from(spec.softcap) * (score / f64::from(spec.softcap)).tanh();
                }
                (score + bias(head, i, j)).exp()
            };
            let weights: Vec<f64> = keys.iter().map(score).collect();
            let total: f64 = weights.iter().sum();
            let mut out = vec![0.0; heads.dim];
            for (j, weight) in keys.iter().zip(&weights) {
                out.iter_mut().zip(&v[*j][part(kv)]).for_each(|(out, v)| *out += weight / total * v);
            }
            out
        };
        (0..q.len()).map(|i| (0..heads.count).flat_map(|head| one(i, head)).collect()).collect()
    }

    /// The row of a query and a key in the table of distances, and the queries and the keys that a layer makes of the table.
    #[allow(clippy::type_complexity)]
    fn distances(
        &self,
        layer: usize,
        query: &str,
        key: &str,
    ) -> Option<(impl Fn(usize, usize) -> usize, Option<Vectors>, Option<Vectors>)> {
        let (stack, names) = (self.stack, &self.stack.names);
        let spec = stack.disentangled?;
        let table = self.tensor(&format!("{}.weight", names.distances.unwrap()), &[2 * spec.span, stack.hidden]);
        let table: Vectors = table.chunks(stack.hidden).map(<[f64]>::to_vec).collect();
        let table = names.distance_norm.map_or(table.clone(), |norm| self.norms(norm, &table));
        let made = |wanted: bool, own: Option<&str>, shared: &str| {
            let name = self.at(own.unwrap_or(shared), layer);
            wanted.then(|| self.linear(&name, &table, stack.heads.query_width(), stack.biases.qkv))
        };
        let queries = made(spec.position_to_content, names.distance_query, query);
        let keys = made(spec.content_to_position, names.distance_key, key);
        Some((move |i: usize, j: usize| distances::row(i as isize - j as isize, spec), queries, keys))
    }

    fn own_attention(&self, layer: usize, x: &Vectors) -> Vectors {
        let (stack, names) = (self.stack, &self.stack.names);
        let (heads, window, tokens) = (stack.heads, stack.attention.window(layer), x.len());
        let LinearTensors::Separate([query, key, value]) = names.qkv else { panic!("three tensors") };
        let made = |name: &str, width: usize, norm: Option<&str>| {
            let mut all = self.linear(&self.at(name, layer), x, width, stack.biases.qkv);
            for (position, x) in all.iter_mut().enumerate() {
                if let (Some(norm), true) = (norm, stack.attention.joint_norm) {
                    *x = self.norm(&self.at(norm, layer), x);
                }
                for head in x.chunks_mut(heads.dim) {
                    let Some(norm) = norm else { continue };
                    if stack.attention.head_norm && !stack.attention.joint_norm {
                        head.copy_from_slice(&self.norm(&self.at(norm, layer), head));
                    }
                    self.rotate(head, layer, position, tokens);
                }
            }
            all
        };
        let q = made(query, heads.query_width(), names.query_norm);
        let k = made(key, heads.kv_width(), names.key_norm);
        let v = made(value, heads.kv_width(), None);
        let sees = |i: usize, j: usize| match self.causal {
            true => j <= i && (window == 0 || i - j < window),
            false => window == 0 || i.abs_diff(j) <= window / 2,
        };
        let biases = stack.relative.map(|relative| {
            let name = format!("{}.weight", names.relative_bias.unwrap());
            let table: Vec<f32> =
                self.tensor(&name, &[relative.buckets, heads.count]).into_iter().map(|x| x as f32).collect();
            relative::by_distance(&table, relative, heads.count, tokens)
        });
        let biases = biases.or_else(|| stack.alibi.map(|max| relative::alibi(max, heads.count, tokens)));
        let bias = |head: usize, i: usize, j: usize| {
            biases.as_ref().map_or(0.0, |biases| f64::from(biases[head][j + tokens - 1 - i]))
        };
        let distances = self.distances(layer, query, key);
        let term = |head: usize, i: usize, j: usize| {
            let Some((rows, queries, keys)) = &distances else { return 0.0 };
            let (row, part) = (rows(i, j), head * heads.dim..(head + 1) * heads.dim);
            let of = |x: &Vectors, y: &Option<Vectors>, at: usize| {
                y.as_ref().map_or(0.0, |y| dot(&x[at][part.clone()], &y[row][part.clone()]))
            };
            of(&q, keys, i) + of(&k, queries, j)
        };
        let mixed = self.attend((&q, &k, &v), sees, term, bias);
        self.linear(&self.at(one(names.attention_output), layer), &mixed, stack.hidden, stack.biases.attention_output)
    }

    fn feed_forward(&self, layer: usize, x: &Vectors) -> Vectors {
        let (stack, names) = (self.stack, &self.stack.names);
        if let Some(experts) = stack.experts.as_ref().filter(|experts| experts.is_in(layer)) {
            return self.experts(layer, x, experts);
        }
        let biases = (stack.biases.feed_forward, stack.biases.feed_forward_output);
        self.feed((names.up, names.down), |name| self.at(name, layer), x, stack.intermediate, biases)
    }

    fn feed(
        &self,
        (up, down): (LinearTensors, LinearTensors),
        at: impl Fn(&str) -> String,
        x: &Vectors,
        intermediate: usize,
        biases: (bool, bool),
    ) -> Vectors {
        let LinearTensors::Separate([gate, up]) = up else { panic!("two tensors") };
        let part = |name| self.linear(&at(name), x, intermediate, biases.0);
        let mut inner = part(gate);
        inner.iter_mut().flatten().for_each(|x| *x = activate(*x, self.stack.activation));
        if self.stack.gated {
            inner.iter_mut().flatten().zip(part(up).concat()).for_each(|(x, up)| *x *= up);
        }
        self.linear(&at(one(down)), &inner, self.stack.hidden, biases.1)
    }

    fn experts(&self, layer: usize, x: &Vectors, experts: &Experts) -> Vectors {
        let names = &self.stack.names;
        let none = (false, false);
        let logits = self.linear(&self.at(names.router.unwrap(), layer), x, experts.count, false);
        let (up, down) = (names.expert_up, names.expert_down);
        let outputs: Vec<Vectors> = (0..experts.count)
            .map(|e| {
                let at = |name: &str| self.at(&name.replace("{e}", &e.to_string()), layer);
                self.feed((up, down), at, x, experts.intermediate, none)
            })
            .collect();
        let shared = experts.shared.map(|size| {
            let score = names.shared_gate.map(|name| self.linear(&self.at(name, layer), x, 1, false));
            (self.feed((names.shared_up, names.shared_down), |name| self.at(name, layer), x, size, none), score)
        });
        let mut sums = vec![vec![0.0; self.stack.hidden]; x.len()];
        for (row, sums) in sums.iter_mut().enumerate() {
            // An expert is taken if fewer than `per_token` have a larger logit, or an equal one and a smaller number.
            let logits = &logits[row];
            let ahead = |e: usize| (0..experts.count).filter(|&o| (logits[o], e) > (logits[e], o)).count();
            let taken: Vec<usize> = (0..experts.count).filter(|&e| ahead(e) < experts.per_token).collect();
            let among = |e: &usize| !experts.normalized || taken.contains(e);
            let total: f64 = (0..experts.count).filter(among).map(|e| logits[e].exp()).sum();
            for &e in &taken {
                let factor = logits[e].exp() / total;
                sums.iter_mut().zip(&outputs[e][row]).for_each(|(sum, y)| *sum += factor * y);
            }
            if let Some(name) = names.expert_bias {
                let bias = self.tensor(&self.at(name, layer), &[self.stack.hidden]);
                sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
            }
            if let Some((y, score)) = &shared {
                let factor = score.as_ref().map_or(1.0, |score| 1.0 / (1.0 + (-score[row][0]).exp()));
                sums.iter_mut().zip(&y[row]).for_each(|(sum, y)| *sum += factor * y);
            }
        }
        sums
    }

    /// The last hidden states of a text.
    pub fn states(&self, ids: &[u32], types: &[u32], source: Option<&Vectors>) -> Vectors {
        let (stack, names) = (self.stack, &self.stack.names);
        let add = |x: &Vectors, y: &Vectors| x.iter().zip(y).map(|(x, y)| sum(x, y)).collect::<Vectors>();
        // `x + f(norm(x))`, with the norms where the Spec puts them.
        let sublayer =
            |x: &Vectors, norm: &str, post: Option<&str>, f: &dyn Fn(&Vectors) -> Vectors| match stack.norm.place {
                NormPlace::Post => self.norms(norm, &add(x, &f(x))),
                NormPlace::Pre | NormPlace::Parallel => add(x, &f(&self.norms(norm, x))),
                NormPlace::Both | NormPlace::Output => {
                    let inner = if stack.norm.place == NormPlace::Both { self.norms(norm, x) } else { x.clone() };
                    let y = f(&inner);
                    add(x, &post.map_or(y.clone(), |post| self.norms(post, &y)))
                }
            };
        let mut x = self.embed(ids, types);
        for layer in 0..stack.layers {
            let named = |name: &str| self.at(name, layer);
            let own = |x: &Vectors| self.own_attention(layer, x);
            let attended = match layer > 0 || stack.norm.first_attention {
                true => {
                    sublayer(&x, &named(names.attention_norm), names.attention_post_norm.map(named).as_deref(), &own)
                }
                false => add(&x, &own(&x)),
            };
            let mut entered = attended.clone();
            if let Some(source) = source {
                entered = sublayer(&attended, &named(names.cross_norm.unwrap()), None, &|x| {
                    let heads = stack.heads;
                    let part = |name: &str, x: &Vectors, width| self.linear(&named(name), x, width, stack.biases.qkv);
                    let [key, value] = names.cross_key_value.unwrap() else { panic!("two tensors") };
                    let q = part(names.cross_query.unwrap(), x, heads.query_width());
                    let (k, v) = (part(key, source, heads.kv_width()), part(value, source, heads.kv_width()));
                    let mixed = self.attend((&q, &k, &v), |_, _| true, |_, _, _| 0.0, |_, _, _| 0.0);
                    let output = named(names.cross_output.unwrap());
                    self.linear(&output, &mixed, stack.hidden, stack.biases.attention_output)
                });
            }
            let fed = |x: &Vectors| {
                let post = names.output_post_norm.map(named);
                sublayer(x, &named(names.output_norm), post.as_deref(), &|x| self.feed_forward(layer, x))
            };
            x = match stack.norm.place {
                // Both sublayers read the layer's input.
                NormPlace::Parallel => {
                    let (a, b) = (entered, fed(&x));
                    add(&add(&a, &b), &x.iter().map(|x| x.iter().map(|x| -x).collect()).collect())
                }
                _ => fed(&entered),
            };
        }
        names.final_norm.map_or(x.clone(), |norm| self.norms(norm, &x))
    }

    /// What a language head makes of hidden states.
    pub fn logits(&self, states: &Vectors, head: &LanguageHead) -> Vectors {
        let name = match head.weight {
            LanguageWeight::Tied => self.stack.names.word[0],
            LanguageWeight::Own(names) | LanguageWeight::OwnOrTied(names) => names[0],
        };
        let scaled: Vectors = states.iter().map(|x| x.iter().map(|x| x * f64::from(head.scale)).collect()).collect();
        let mut logits = self.linear(name, &scaled, self.vocabulary, false);
        let bias = head.bias.map(|name| self.tensor(name, &[1, self.vocabulary]));
        let softcap = f64::from(head.softcap);
        for row in &mut logits {
            row.iter_mut().zip(bias.iter().flatten()).for_each(|(x, bias)| *x += bias);
            if softcap > 0.0 {
                row.iter_mut().for_each(|x| *x = softcap * (*x / softcap).tanh());
            }
        }
        logits
    }

    /// What the head of a masked language model makes of hidden states.
    pub fn masked(&self, states: &Vectors, head: &MaskedHead) -> Vectors {
        let mut x = self.linear(head.dense.name, states, self.stack.embedding_size, head.dense.bias);
        x.iter_mut().flatten().for_each(|x| *x = activate(*x, head.dense.activation));
        let name = match head.weight {
            LanguageWeight::Tied => self.stack.names.word[0],
            LanguageWeight::Own(names) | LanguageWeight::OwnOrTied(names) => names[0],
        };
        let mut logits = self.linear(name, &self.norms(head.norm, &x), self.vocabulary, false);
        let bias = head.bias.first().map(|name| self.tensor(name, &[self.vocabulary]));
        logits.iter_mut().for_each(|row| row.iter_mut().zip(bias.iter().flatten()).for_each(|(x, bias)| *x += bias));
        logits
    }

    /// What a classification head makes of the hidden states of a text.
    pub fn classify(&self, mut states: Vectors, ids: &[u32], head: &Head) -> Vectors {
        if head.kind == HeadKind::Sequence {
            let at = match head.token {
                HeadToken::First => 0,
                HeadToken::Last { padding } => ids.iter().rposition(|&id| Some(id) != padding).unwrap_or(0),
            };
            states = vec![states.swap_remove(at)];
        }
        for (i, dense) in head.layers.iter().enumerate() {
            let outputs = if i + 1 == head.layers.len() { head.labels } else { self.stack.hidden };
            states = self.linear(dense.name, &states, outputs, dense.bias);
            states.iter_mut().flatten().for_each(|x| *x = activate(*x, dense.activation));
        }
        states
    }
}

fn one(rows: LinearTensors) -> &'static str {
    let LinearTensors::Single(name) = rows else { panic!("one tensor") };
    name
}
