//! Checkpoints that GPTQ, AWQ and compressed-tensors have quantised give the numbers of the same model with dequantised weights. The files
//! are packed here as those libraries pack them (AutoGPTQ and GPTQModel, AutoAWQ's `gemm`, compressed-tensors' `pack-quantized` and
//! `int-quantized`), from random numbers, scales and zeros.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::f16;
use kinglet::{Device, LoadOptions, Model, Precision, Status};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use support::{bits, cosine, load};

const HIDDEN: usize = 64;
const MIDDLE: usize = 128;
const LAYERS: usize = 2;
const VOCABULARY: usize = 304;
const IDS: [u32; 6] = [5, 6, 7, 8, 9, 10];

/// `(module, outputs, inputs)` of a layer.
const LINEARS: [(&str, usize, usize); 7] = [
    ("self_attn.q_proj", HIDDEN, HIDDEN),
    ("self_attn.k_proj", HIDDEN / 2, HIDDEN),
    ("self_attn.v_proj", HIDDEN / 2, HIDDEN),
    ("self_attn.o_proj", HIDDEN, HIDDEN),
    ("mlp.gate_proj", MIDDLE, HIDDEN),
    ("mlp.up_proj", MIDDLE, HIDDEN),
    ("mlp.down_proj", HIDDEN, MIDDLE),
];

/// Numbers of a fixed sequence (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }

    /// In -1 to 1.
    fn value(&mut self) -> f32 {
        self.below(2001) as f32 / 1000.0 - 1.0
    }
}

#[derive(Clone, Copy)]
struct Form {
    bits: u32,
    group_size: usize,
    symmetric: bool,
    /// The inputs' groups are in no order.
    listed: bool,
}

/// A weight: `scale · (number - zero)`.
struct Linear {
    form: Form,
    outputs: usize,
    inputs: usize,
    /// `[outputs][inputs]`.
    numbers: Vec<u32>,
    /// `[groups][outputs]`.
    scales: Vec<f16>,
    zeros: Vec<u32>,
    group_of: Vec<usize>,
}

impl Linear {
    fn new(form: Form, outputs: usize, inputs: usize, random: &mut Random) -> Self {
        let size = form.group_size.min(inputs);
        let (groups, values) = (inputs / size, 1 << form.bits);
        let mut group_of: Vec<usize> = (0..inputs).map(|input| input / size).collect();
        if form.listed {
            for input in (1..inputs).rev() {
                group_of.swap(input, random.below(input as u32 + 1) as usize);
            }
        }
        let zero = |random: &mut Random| if form.symmetric { values / 2 } else { random.below(values) };
        Self {
            form,
            outputs,
            inputs,
            numbers: (0..outputs * inputs).map(|_| random.below(values)).collect(),
            scales: (0..groups * outputs)
                .map(|_| f16::from_f32((0.2 + 0.1 * random.value()) / values as f32))
                .collect(),
            zeros: (0..groups * outputs).map(|_| zero(random)).collect(),
            group_of,
        }
    }

    fn groups(&self) -> usize {
        self.scales.len() / self.outputs
    }

    fn weight(&self, output: usize, input: usize) -> f32 {
        let at = self.group_of[input] * self.outputs + output;
        let number = self.numbers[output * self.inputs + input] as i32;
        self.scales[at].to_f32() * (number - self.zeros[at] as i32) as f32
    }
}

/// Tensors by name: type, shape and bytes.
#[derive(Default)]
struct File(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl File {
    fn f32(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        self.0.insert(name.into(), (Dtype::F32, shape.into(), bytes));
    }

    fn f16(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f16>) {
        let bytes = values.into_iter().flat_map(f16::to_le_bytes).collect();
        self.0.insert(name.into(), (Dtype::F16, shape.into(), bytes));
    }

    fn words(&mut self, name: &str, shape: &[usize], words: impl IntoIterator<Item = u32>) {
        let bytes = words.into_iter().flat_map(u32::to_le_bytes).collect();
        self.0.insert(name.into(), (Dtype::I32, shape.into(), bytes));
    }

    fn write(&self, path: &Path) {
        let view = |(dtype, shape, bytes)| TensorView::new(dtype, shape, bytes).unwrap();
        let views = self.0.iter().map(|(name, (dtype, shape, bytes))| (name, view((*dtype, shape.clone(), bytes))));
        safetensors::serialize_to_file(views, None, path).unwrap();
    }
}

/// A stream of numbers of `bits` bits in words, the lowest bits first.
fn stream(numbers: impl Iterator<Item = u32>, bits: u32) -> Vec<u32> {
    let (mut words, mut held, mut count) = (Vec::new(), 0u64, 0);
    for number in numbers {
        held |= u64::from(number) << count;
        count += bits;
        if count >= 32 {
            words.push(held as u32);
            (held, count) = (held >> 32, count - 32);
        }
    }
    if count > 0 {
        words.push(held as u32);
    }
    words
}

/// Columns beside each other, from a list of each.
fn transposed(columns: &[Vec<u32>]) -> Vec<u32> {
    (0..columns[0].len()).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}

type Pack = fn(&mut File, &str, &Linear);

fn gptq(file: &mut File, name: &str, linear: &Linear, less: u32) {
    let (bits, outputs, inputs, groups) = (linear.form.bits, linear.outputs, linear.inputs, linear.groups());
    let columns: Vec<_> = linear.numbers.chunks(inputs).map(|row| stream(row.iter().copied(), bits)).collect();
    file.words(&format!("{name}.qweight"), &[inputs * bits as usize / 32, outputs], transposed(&columns));
    let stored = |zero: &u32| zero.wrapping_sub(less) & ((1 << bits) - 1);
    let zeros: Vec<u32> = linear.zeros.chunks(outputs).flat_map(|row| stream(row.iter().map(stored), bits)).collect();
    file.words(&format!("{name}.qzeros"), &[groups, outputs * bits as usize / 32], zeros);
    file.f16(&format!("{name}.scales"), &[groups, outputs], linear.scales.iter().copied());
    file.words(&format!("{name}.g_idx"), &[inputs], linear.group_of.iter().map(|&group| group as u32));
}

fn awq(file: &mut File, name: &str, linear: &Linear) {
    let (outputs, inputs, groups) = (linear.outputs, linear.inputs, linear.groups());
    // Eight outputs in a word, in this order from the lowest bits on.
    let interleaved = |row: &[u32]| {
        row.chunks(8)
            .map(|eight| {
                [0, 2, 4, 6, 1, 3, 5, 7].iter().enumerate().fold(0, |word, (i, &at)| word | eight[at] << (4 * i))
            })
            .collect::<Vec<u32>>()
    };
    let by_input =
        |input: usize| (0..outputs).map(move |output| linear.numbers[output * inputs + input]).collect::<Vec<_>>();
    let words: Vec<u32> = (0..inputs).flat_map(|input| interleaved(&by_input(input))).collect();
    file.words(&format!("{name}.qweight"), &[inputs, outputs / 8], words);
    file.words(&format!("{name}.qzeros"), &[groups, outputs / 8], linear.zeros.chunks(outputs).flat_map(interleaved));
    file.f16(&format!("{name}.scales"), &[groups, outputs], linear.scales.iter().copied());
}

fn scales_by_output(file: &mut File, name: &str, linear: &Linear) {
    let (outputs, groups) = (linear.outputs, linear.groups());
    let by_output =
        (0..outputs).flat_map(|output| (0..groups).map(move |group| linear.scales[group * outputs + output]));
    file.f16(&format!("{name}.weight_scale"), &[outputs, groups], by_output);
}

fn packed_rows(file: &mut File, name: &str, linear: &Linear) {
    let (bits, outputs, inputs, groups) = (linear.form.bits, linear.outputs, linear.inputs, linear.groups());
    let words = linear.numbers.chunks(inputs).flat_map(|row| stream(row.iter().copied(), bits));
    file.words(&format!("{name}.weight_packed"), &[outputs, inputs * bits as usize / 32], words);
    let shape: Vec<u8> = [outputs as i64, inputs as i64].iter().flat_map(|x| x.to_le_bytes()).collect();
    file.0.insert(format!("{name}.weight_shape"), (Dtype::I64, vec![2], shape));
    scales_by_output(file, name, linear);
    if !linear.form.symmetric {
        let columns: Vec<_> = linear.zeros.chunks(outputs).map(|group| stream(group.iter().copied(), bits)).collect();
        file.words(&format!("{name}.weight_zero_point"), &[outputs * bits as usize / 32, groups], transposed(&columns));
    }
}

fn signed_bytes(file: &mut File, name: &str, linear: &Linear) {
    let bytes = linear.numbers.iter().map(|&number| (number as i32 - 128) as u8).collect();
    file.0.insert(format!("{name}.weight"), (Dtype::I8, vec![linear.outputs, linear.inputs], bytes));
    scales_by_output(file, name, linear);
}

/// Two models: quantised, and with the same weights in f32.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new(config: Value, form: Form, pack: Pack) -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        let mut random = Random(7);
        let (mut quantised, mut plain) = (File::default(), File::default());
        for file in [&mut quantised, &mut plain] {
            let mut random = Random(3);
            let table = (0..VOCABULARY * HIDDEN).map(|_| random.value());
            file.f32("model.embed_tokens.weight", &[VOCABULARY, HIDDEN], table);
            file.f32("model.norm.weight", &[HIDDEN], [1.0; HIDDEN]);
        }
        for layer in 0..LAYERS {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                for file in [&mut quantised, &mut plain] {
                    file.f32(&format!("model.layers.{layer}.{norm}.weight"), &[HIDDEN], [1.0; HIDDEN]);
                }
            }
            for (module, outputs, inputs) in LINEARS {
                let (name, linear) =
                    (format!("model.layers.{layer}.{module}"), Linear::new(form, outputs, inputs, &mut random));
                pack(&mut quantised, &name, &linear);
                let weights = (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i)));
                plain.f32(&format!("{name}.weight"), &[outputs, inputs], weights.map(|(o, i)| linear.weight(o, i)));
            }
        }
        let source = support::fixtures().join("generation/llama");
        let text = fs::read_to_string(source.join("config.json")).unwrap();
        let mut settings: Value = serde_json::from_str(&text).unwrap();
        for (field, value) in [("hidden_size", HIDDEN), ("intermediate_size", MIDDLE), ("head_dim", HIDDEN / 4)] {
            settings[field] = json!(value);
        }
        for (name, file) in [("plain", plain), ("quantised", quantised)] {
            let path = pair.folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::copy(source.join("tokenizer.json"), path.join("tokenizer.json")).unwrap();
            file.write(&path.join("model.safetensors"));
            fs::write(path.join("config.json"), settings.to_string()).unwrap();
            settings["quantization_config"] = config.clone();
        }
        pair
    }

    fn load(&self, name: &str, device: Device, precision: Precision) -> Model {
        load(&self.folder.path().join(name), device, precision, 2)
    }
}

fn logits(model: &Model) -> Vec<f32> {
    model.logits(&IDS, None, false, None).unwrap().values
}

fn compressed(format: &str, weights: Value) -> Value {
    let group = json!({"targets": ["Linear"], "weights": weights, "input_activations": null});
    json!({"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": group}, "ignore": ["lm_head"]})
}

/// `(name, configuration, form, how it is packed, what `auto` is)`.
fn cases() -> Vec<(&'static str, Value, Form, Pack, Precision)> {
    let form = |bits, group_size, symmetric, listed| Form { bits, group_size, symmetric, listed };
    let gptq_of = |bits: u32, group_size: i64, format: &str| json!({"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": false, "checkpoint_format": format});
    let v1: Pack = |file, name, linear| gptq(file, name, linear, 1);
    let v2: Pack = |file, name, linear| gptq(file, name, linear, 0);
    let packed = |bits: u32, strategy: &str, size: Option<usize>, symmetric: bool| {
        let weights =
            json!({"num_bits": bits, "strategy": strategy, "group_size": size, "symmetric": symmetric, "type": "int"});
        compressed("pack-quantized", weights)
    };
    let whole = usize::MAX;
    vec![
        ("gptq", gptq_of(4, 32, "gptq"), form(4, 32, false, false), v1, Precision::Int4),
        ("gptq symmetric", gptq_of(4, 64, "gptq"), form(4, 64, true, false), v1, Precision::Int4),
        ("gptq v2 act order", gptq_of(4, 32, "gptq_v2"), form(4, 32, false, true), v2, Precision::Int8),
        ("gptq 8 bits", gptq_of(8, -1, "gptq"), form(8, whole, true, false), v1, Precision::Int8),
        ("gptq 3 bits", gptq_of(3, 32, "gptq"), form(3, 32, false, false), v1, Precision::Int4),
        ("gptq 2 bits in small groups", gptq_of(2, 16, "gptq"), form(2, 16, false, false), v1, Precision::Int8),
        (
            "awq",
            json!({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": true, "version": "gemm"}),
            form(4, 64, false, false),
            awq,
            Precision::Int4,
        ),
        ("packed", packed(4, "group", Some(32), true), form(4, 32, true, false), packed_rows, Precision::Int4),
        (
            "packed with zeros",
            packed(4, "group", Some(32), false),
            form(4, 32, false, false),
            packed_rows,
            Precision::Int4,
        ),
        ("packed 8 bits", packed(8, "channel", None, true), form(8, whole, true, false), packed_rows, Precision::Int8),
        (
            "bytes",
            compressed(
                "int-quantized",
                json!({"num_bits": 8, "strategy": "channel", "symmetric": true, "type": "int"}),
            ),
            form(8, whole, true, false),
            signed_bytes,
            Precision::Int8,
        ),
    ]
}

#[test]
fn quantised_weights_are_their_dequantised_values() {
    for (name, config, form, pack, _) in cases() {
        let pair = Pair::new(config, form, pack);
        let devices = if cfg!(feature = "candle") { &[Device::Cpu, Device::CandleCpu][..] } else { &[Device::Cpu] };
        for &device in devices {
            let [plain, quantised] =
                ["plain", "quantised"].map(|file| logits(&pair.load(file, device, Precision::F32)));
            assert!(plain.iter().any(|x| x.abs() > 0.1), "{name}");
            assert_eq!(bits(&quantised), bits(&plain), "{name} on {}", device.name());
        }
    }
}

#[test]
fn automatic_precision_keeps_the_numbers() {
    for (name, config, form, pack, precision) in cases() {
        let pair = Pair::new(config, form, pack);
        let (quantised, wide) =
            (pair.load("quantised", Device::Cpu, Precision::Auto), pair.load("plain", Device::Cpu, Precision::F32));
        assert_eq!(quantised.precision(), precision, "{name}");
        // What is lost is lost by rounding activations, and by weights of more or other groups that become INT8.
        let near = cosine(&logits(&quantised), &logits(&wide));
        assert!(near > 0.999, "{name}: {near}");
    }
}

#[test]
fn a_kinglet_file_has_the_same_bits() {
    for (name, config, form, pack, precision) in cases() {
        let pair = Pair::new(config, form, pack);
        let file = pair.folder.path().join("model.kinglet");
        kinglet::quantize(&pair.folder.path().join("quantised"), &file, precision, &mut |_| true).unwrap();
        let (packed, model) =
            (load(&file, Device::Cpu, Precision::Auto, 1), pair.load("quantised", Device::Cpu, Precision::Auto));
        assert_eq!(packed.precision(), precision, "{name}");
        assert_eq!(bits(&logits(&packed)), bits(&logits(&model)), "{name}");
    }
}

/// Changes a tensor of the quantised file, and returns the error of loading it.
fn damaged(change: impl FnOnce(&mut File)) -> kinglet::Error {
    let (_, config, form, pack, _) = cases().swap_remove(2);
    let pair = Pair::new(config, form, pack);
    let path = pair.folder.path().join("quantised/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut file = File::default();
    for (name, view) in tensors.tensors() {
        file.0.insert(name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    }
    change(&mut file);
    file.write(&path);
    let error = Model::load(path.parent().unwrap(), LoadOptions::default()).err().unwrap();
    assert!(error.message().contains("model.safetensors"), "{error}");
    error
}

#[test]
fn tensors_that_contradict_each_other_are_named() {
    const MODULE: &str = "model.layers.1.mlp.down_proj";
    let tensor = |what: &str| format!("{MODULE}.{what}");
    let error = damaged(|file| drop(file.0.remove(&tensor("scales"))));
    assert!(error.message().contains(&tensor("scales")), "{error}");
    let error = damaged(|file| {
        let listed = file.0.get_mut(&tensor("g_idx")).unwrap();
        listed.2[4..8].copy_from_slice(&4u32.to_le_bytes());
    });
    assert!(error.message().contains("puts input 1 into a group that does not exist; there are 4"), "{error}");
    let error = damaged(|file| file.words(&tensor("qzeros"), &[4, 7], [0; 28]));
    assert!(error.message().contains(&tensor("qzeros")) && error.message().contains("[4, 8] is needed"), "{error}");
    let error = damaged(|file| {
        let scales = file.0.get_mut(&tensor("scales")).unwrap();
        scales.2[..2].copy_from_slice(&f16::INFINITY.to_le_bytes());
    });
    assert_eq!(error.status(), Status::InvalidFile, "{error}");
    assert!(error.message().contains(&tensor("weight")), "{error}");
}
