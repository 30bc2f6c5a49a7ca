//! Weights that GPTQ, AWQ or compressed-tensors have quantised. A module's tensors become one tensor `NAME.weight` of the shape `[outputs,
//! inputs]`, which is dequantised when it is read; whoever reads it sees an ordinary weight.
//!
//! All shapes are compared before anything is read, and the groups of inputs (`g_idx`) one by one.

use safetensors::Dtype;

use self::layout::{Layout, Packing, Quantised, Zeros};
use self::scheme::{Compressed, Strategy};
use super::json::Config;
use super::quoted;
use super::tensor::{DType, QuantisedType, TensorView};
use super::weights::{Companion, Entry, Packed, Weights};
use crate::base::error::{Error, Result};
use crate::kernels::GROUP_INPUTS;

pub use scheme::{FIELD, Scheme, describe};

pub mod layout;
mod scheme;
#[cfg(test)]
mod tests;

const I32: DType = DType::Other(Dtype::I32);
const I8: DType = DType::Other(Dtype::I8);

/// Combines the tensors of each module that the configuration's method has quantised.
///
/// # Errors
/// `Unsupported`: a method that is not read. `InvalidFile`: tensors that are missing or contradict each other or the configuration.
pub fn combine(weights: &mut Weights, config: &Config) -> Result<()> {
    let Some(scheme) = Scheme::read(config)? else { return Ok(()) };
    let (ends, method): (&[&str], _) = match &scheme {
        Scheme::Gptq { .. } => (&[".qweight"], "GPTQ"),
        Scheme::Awq { .. } => (&[".qweight"], "AWQ"),
        Scheme::Compressed(_) => (&[".weight_packed", ".weight_scale"], "compressed-tensors"),
    };
    let module = |name: &str| ends.iter().find_map(|end| name.strip_suffix(end)).map(String::from);
    let mut modules: Vec<String> = weights.names().filter_map(module).collect();
    modules.dedup();
    if modules.is_empty() {
        let described = config.get(FIELD).map(describe).unwrap_or_default();
        return Err(Error::invalid_file(
            config.path(),
            format!(
                "field `{FIELD}`: the weights are quantised ({described}), but there is no tensor *{}",
                ends.join(" or *")
            ),
        ));
    }
    for name in modules {
        let found = Module { weights, name: &name };
        let combined = match &scheme {
            &Scheme::Gptq { bits, group_size, less } => found.gptq(bits, group_size, less)?,
            &Scheme::Awq { group_size } => found.awq(group_size)?,
            Scheme::Compressed(groups) => found.compressed(groups)?,
        };
        let (combined, used) = combined.entry(&found, method)?;
        used.iter().for_each(|tensor| weights.remove(tensor));
        weights.insert(format!("{name}.weight"), combined);
    }
    Ok(())
}

/// The tensors of one module.
struct Module<'a> {
    weights: &'a Weights,
    name: &'a str,
}

/// The tensors that make a weight, checked against each other.
struct Found<'a> {
    layout: Layout,
    numbers: TensorView<'a>,
    scales: TensorView<'a>,
    zeros: Option<TensorView<'a>>,
    groups: Option<TensorView<'a>>,
    /// What else has been used up.
    others: Vec<&'a str>,
}

fn invalid(tensor: &TensorView, what: impl std::fmt::Display) -> Error {
    Error::invalid_file(tensor.file, format!("tensor {} {what}", quoted(tensor.name)))
}

fn shaped(tensor: &TensorView, types: &[DType], shape: &[usize]) -> Result<()> {
    if !types.contains(&tensor.dtype) {
        let names: Vec<_> = types.iter().map(ToString::to_string).collect();
        return Err(invalid(tensor, format_args!("has type {}, but {} is needed", tensor.dtype, names.join(" or "))));
    }
    if tensor.shape != shape {
        return Err(invalid(tensor, format_args!("has shape {:?}, but {shape:?} is needed", tensor.shape)));
    }
    Ok(())
}

const SCALES: [DType; 3] = [DType::F16, DType::BF16, DType::F32];

impl<'a> Module<'a> {
    fn get(&self, what: &str) -> Option<TensorView<'a>> {
        self.weights.get(&format!("{}.{what}", self.name))
    }

    /// A tensor that must exist; `beside` is one that does.
    fn require(&self, what: &str, beside: &TensorView) -> Result<TensorView<'a>> {
        self.get(what).ok_or_else(|| {
            let name = quoted(&format!("{}.{what}", self.name));
            Error::invalid_file(beside.file, format!("there is no tensor {name} beside {}", quoted(beside.name)))
        })
    }

    /// A tensor of words in two dimensions.
    fn words(&self, what: &str) -> Result<(TensorView<'a>, [usize; 2])> {
        let Some(tensor) = self.get(what) else {
            return Err(Error::internal(format!("there is no {what} of {}", self.name)));
        };
        match *tensor.shape {
            [rows, columns] if tensor.dtype == I32 => Ok((tensor, [rows, columns])),
            _ => Err(invalid(
                &tensor,
                format_args!(
                    "has type {} and shape {:?}, but I32 and two dimensions are needed",
                    tensor.dtype, tensor.shape
                ),
            )),
        }
    }

    fn gptq(&self, bits: u32, group_size: Option<usize>, less: u32) -> Result<Found<'a>> {
        let (numbers, [words, outputs]) = self.words("qweight")?;
        let inputs = numbers_in(words, bits).filter(|_| (words * 32).is_multiple_of(bits as usize));
        let inputs = inputs.ok_or_else(|| {
            invalid(&numbers, format_args!("of {words} rows does not hold {bits} bits for each input"))
        })?;
        let (scales, zeros) = (self.require("scales", &numbers)?, self.require("qzeros", &numbers)?);
        let (group_size, groups) = in_groups(inputs, group_size);
        let zero_words = words_for(outputs, bits).ok_or_else(|| invalid(&numbers, "is too large"))?;
        shaped(&scales, &SCALES, &[groups, outputs])?;
        shaped(&zeros, &[I32], &[groups, zero_words])?;
        let listed = self.get("g_idx");
        let layout = Layout {
            packing: Packing::Columns,
            bits,
            outputs,
            inputs,
            groups,
            group_size,
            zeros: Zeros::Stream { less },
            scale_type: scales.dtype,
            scale_strides: (1, outputs),
        };
        let others = listed.iter().map(|tensor| tensor.name).collect();
        Ok(Found { layout, numbers, scales, zeros: Some(zeros), groups: listed, others })
    }

    fn awq(&self, group_size: Option<usize>) -> Result<Found<'a>> {
        let (numbers, [inputs, words]) = self.words("qweight")?;
        let outputs = numbers_in(words, 4).ok_or_else(|| invalid(&numbers, "is too large"))?;
        let (scales, zeros) = (self.require("scales", &numbers)?, self.require("qzeros", &numbers)?);
        let (group_size, groups) = in_groups(inputs, group_size);
        shaped(&scales, &SCALES, &[groups, outputs])?;
        shaped(&zeros, &[I32], &[groups, words])?;
        let layout = Layout {
            packing: Packing::Interleaved,
            bits: 4,
            outputs,
            inputs,
            groups,
            group_size,
            zeros: Zeros::Interleaved,
            scale_type: scales.dtype,
            scale_strides: (1, outputs),
        };
        Ok(Found { layout, numbers, scales, zeros: Some(zeros), groups: None, others: Vec::new() })
    }

    fn compressed(&self, groups: &[Compressed]) -> Result<Found<'a>> {
        let packed = self.get("weight_packed");
        let (numbers, [outputs, inputs]) = match &packed {
            Some(_) => {
                let (numbers, [outputs, _]) = self.words("weight_packed")?;
                let shape = self.require("weight_shape", &numbers)?;
                let [rows, inputs] = pair(&shape)?;
                if rows != outputs {
                    return Err(invalid(&shape, format_args!("says {rows} rows, but there are {outputs}")));
                }
                (numbers, [outputs, inputs])
            }
            None => match self.get("weight") {
                Some(weight) if weight.dtype == I8 && weight.shape.len() == 2 => {
                    (weight, [weight.shape[0], weight.shape[1]])
                }
                Some(weight) => {
                    let what = format_args!(
                        "has type {} and shape {:?}, but I8 and two dimensions are needed",
                        weight.dtype, weight.shape
                    );
                    return Err(invalid(&weight, what));
                }
                None => {
                    let scale = self.get("weight_scale").ok_or_else(|| Error::internal("no scale"))?;
                    return Err(self.require("weight", &scale).err().unwrap_or_else(|| Error::internal("a weight")));
                }
            },
        };
        let scales = self.require("weight_scale", &numbers)?;
        let zeros = self.get("weight_zero_point");
        // The first group of the configuration that the shapes fit.
        let fits = |group: &&Compressed| {
            let (_, count) = group.strategy.groups(inputs);
            let fits_numbers = !group.packed || words_for(inputs, group.bits) == Some(numbers.shape[1]);
            group.packed == packed.is_some()
                && fits_numbers
                && group.strategy.scale_strides(scales.shape, outputs, count).is_some()
                && (group.symmetric || zeros.is_some())
        };
        let Some(group) = groups.iter().find(fits) else {
            let (numbered, scaled) = (numbers.shape, scales.shape);
            let what = format!(
                "has shape {numbered:?} for {inputs} inputs, and {} has shape {scaled:?}{}, which no group of `config_groups` has",
                quoted(scales.name),
                if zeros.is_some() { "" } else { " without a zero point" }
            );
            return Err(invalid(&numbers, what));
        };
        let (group_size, count) = group.strategy.groups(inputs);
        let strides = group.strategy.scale_strides(scales.shape, outputs, count).unwrap_or_default();
        shaped(&scales, &SCALES, scales.shape)?;
        let middle = if group.packed { 1 << (group.bits - 1) } else { 0 };
        let stored = match &zeros {
            None => Zeros::All(middle),
            Some(zeros) if zeros.dtype == I32 && group.packed => {
                let words = words_for(outputs, group.bits).ok_or_else(|| invalid(&numbers, "is too large"))?;
                shaped(zeros, &[I32], &[words, count])?;
                Zeros::Columns
            }
            Some(zeros) => {
                shaped(zeros, &[I8], scales.shape)?;
                Zeros::Bytes { more: middle }
            }
        };
        // Older files say the group of each input, or -1 where they are in order.
        let listed = self.get("weight_g_idx");
        let mut others: Vec<_> = listed.iter().map(|tensor| tensor.name).collect();
        others.extend(self.get("weight_shape").map(|shape| shape.name));
        let in_order = |tensor: &TensorView| tensor.bytes.first_chunk() == Some(&(-1i32).to_le_bytes());
        let layout = Layout {
            packing: if group.packed { Packing::Rows } else { Packing::Bytes },
            bits: if group.packed { group.bits } else { 8 },
            outputs,
            inputs,
            groups: count,
            group_size,
            zeros: stored,
            scale_type: scales.dtype,
            scale_strides: strides,
        };
        Ok(Found { layout, numbers, scales, zeros, groups: listed.filter(|tensor| !in_order(tensor)), others })
    }
}

impl Strategy {
    /// The inputs in a group, and the number of groups.
    fn groups(self, inputs: usize) -> (usize, usize) {
        match self {
            Self::Tensor | Self::Channel => in_groups(inputs, None),
            Self::Group(size) => in_groups(inputs, Some(size)),
        }
    }

    /// The steps between the scales of two outputs and of two groups; None for another shape.
    fn scale_strides(self, shape: &[usize], outputs: usize, groups: usize) -> Option<(usize, usize)> {
        match (self, shape) {
            (Self::Tensor, [] | [1] | [1, 1]) => Some((0, 0)),
            (Self::Channel, [rows] | [rows, 1]) if *rows == outputs => Some((1, 0)),
            (Self::Group(_), [rows, columns]) if (*rows, *columns) == (outputs, groups) => Some((groups, 1)),
            _ => None,
        }
    }
}

/// The numbers that fit so many words.
fn numbers_in(words: usize, bits: u32) -> Option<usize> {
    Some(words.checked_mul(32)? / bits as usize)
}

/// The words that hold so many numbers.
fn words_for(numbers: usize, bits: u32) -> Option<usize> {
    Some(numbers.checked_mul(bits as usize)?.div_ceil(32))
}

/// The inputs in a group, and the number of groups.
fn in_groups(inputs: usize, size: Option<usize>) -> (usize, usize) {
    let size = size.unwrap_or(inputs).max(1);
    (size, inputs.div_ceil(size))
}

/// Two numbers: a shape.
fn pair(tensor: &TensorView) -> Result<[usize; 2]> {
    let number = |bytes: &[u8]| match *bytes {
        [a, b, c, d] => usize::try_from(i32::from_le_bytes([a, b, c, d])).ok(),
        _ => usize::try_from(i64::from_le_bytes(*bytes.first_chunk()?)).ok(),
    };
    let size = match tensor.dtype {
        I32 => 4,
        DType::Other(Dtype::I64) => 8,
        _ => 0,
    };
    let numbers = if size > 0 && tensor.shape == [2] { tensor.bytes.split_at_checked(size) } else { None };
    let numbers = numbers.and_then(|(first, second)| Some([number(first)?, number(second)?]));
    numbers.ok_or_else(|| invalid(tensor, "does not hold two whole numbers, in I32 or I64"))
}

impl<'a> Found<'a> {
    /// The combined weight, and the tensors that are in it.
    fn entry(self, module: &Module, method: &'static str) -> Result<(Entry, Vec<String>)> {
        let Self { layout, numbers, scales, zeros, groups, others } = self;
        let weight = format!("{}.weight", module.name);
        if numbers.name != weight && module.weights.get(&weight).is_some() {
            return Err(invalid(&numbers, format_args!("is there beside {}, which it replaces", quoted(&weight))));
        }
        // The largest index, and so all others, fits: elements are counted in usize.
        if layout.outputs.checked_mul(layout.inputs).is_none() {
            return Err(invalid(&numbers, "is too large"));
        }
        let mut fits = layout.in_order_fits();
        if let Some(listed) = &groups {
            shaped(listed, &[I32], &[layout.inputs])?;
            let view = Quantised { layout: &layout, scales: &[], zeros: &[], groups: listed.bytes };
            fits = true;
            let mut first = 0;
            for input in 0..layout.inputs {
                let group = view.group(input).filter(|group| *group < layout.groups);
                let Some(group) = group else {
                    let what = format_args!(
                        "puts input {input} into a group that does not exist; there are {}",
                        layout.groups
                    );
                    return Err(invalid(listed, what));
                };
                if input.is_multiple_of(GROUP_INPUTS) {
                    first = group;
                }
                fits &= group == first;
            }
        }
        let companion = |tensor: &TensorView| module.weights.companion(tensor.name);
        let packed = Packed {
            layout,
            scales: companion(&scales)?,
            zeros: zeros.as_ref().map(companion).transpose()?,
            groups: groups.as_ref().filter(|tensor| !tensor.bytes.is_empty()).map(companion).transpose()?,
        };
        let Companion { shard, offset, length } = companion(&numbers)?;
        let four_bits = fits && layout.bits <= 4 && layout.packing != Packing::Bytes;
        let dtype = DType::Quantised(QuantisedType { method, bits: layout.bits as u8, four_bits });
        let mut used: Vec<String> = [Some(&numbers), Some(&scales), zeros.as_ref()]
            .into_iter()
            .flatten()
            .map(|tensor| tensor.name.into())
            .collect();
        used.extend(others.into_iter().map(String::from));
        let entry = Entry {
            packed: Some(Box::new(packed)),
            ..Entry::new(shard, dtype, vec![layout.outputs, layout.inputs], offset, length)
        };
        Ok((entry, used))
    }
}
