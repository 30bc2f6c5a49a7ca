//! The KV cache of ONNX decoders: the tensors that a run returned for several texts, shared by their sequences, and gathered into new
//! tensors when other sequences run together.

use std::sync::Arc;

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorElementType as Element, ValueType};

use super::graph::{Graph, Port};
use crate::base::error::{Error, Result};
use crate::base::memory::Budget;
use crate::spec::Heads;

/// The prefix of KV cache inputs, and of the outputs with their new values.
pub const PAST: &str = "past_key_values.";
const PRESENT: &str = "present.";

/// The maximum number of heads and their maximum width.
const MAX_AXIS: usize = 1 << 16;

/// The keys or the values of one layer: the input, and the output with its new values.
pub struct Past {
    pub input: String,
    pub output: String,
    pub element: Element,
    pub heads: usize,
    pub width: usize,
}

impl Past {
    /// `heads` are for axes that the graph leaves open.
    pub fn new(graph: &Graph, port: &Port, heads: Heads) -> Result<Self> {
        let name = &port.name;
        let element = port.element.filter(|element| matches!(element, Element::Float32 | Element::Float16));
        let (Some(element), 4) = (element, port.shape.len()) else {
            return Err(graph.error(format!("input `{name}` is not [texts, heads, tokens, width] in f32 or f16")));
        };
        let (heads, width) = (port.axis(1).unwrap_or(heads.kv), port.axis(3).unwrap_or(heads.dim));
        if heads > MAX_AXIS || width > MAX_AXIS {
            return Err(
                graph.error(format!("input `{name}` has {heads} heads of {width}; at most {MAX_AXIS} are supported"))
            );
        }
        let output = format!("{PRESENT}{}", name.strip_prefix(PAST).unwrap_or(name));
        Ok(Self { input: name.clone(), output, element, heads, width })
    }

    /// An empty KV cache for `rows` texts.
    pub fn empty(&self, graph: &Graph, rows: usize) -> Result<SessionInputValue<'static>> {
        let shape = [rows, self.heads, 0, self.width];
        match self.element {
            Element::Float16 => graph.tensor(&shape, Vec::<f16>::new()),
            _ => graph.tensor(&shape, Vec::<f32>::new()),
        }
    }
}

/// Tensors `[rows, heads, tokens, width]` or `[rows, tokens, width]`, one row per text.
pub struct Block {
    pub values: Vec<DynValue>,
    rows: usize,
    /// The tokens of each row, padding included.
    pub tokens: usize,
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

impl Block {
    /// Takes tensors of checked shapes and counts them in the budget.
    pub fn new(values: Vec<DynValue>, rows: usize, tokens: usize, budget: &Arc<Budget>) -> Result<Arc<Self>> {
        let bytes = values.iter().map(size).sum();
        budget.take(bytes, "the KV cache")?;
        Ok(Arc::new(Self { values, rows, tokens, budget: budget.clone(), bytes }))
    }
}

fn size(value: &DynValue) -> u64 {
    match value.dtype() {
        ValueType::Tensor { shape, ty, .. } => ty.byte_size(shape.num_elements()).unwrap_or(0) as u64,
        _ => 0,
    }
}

/// A row of a block: the tensors of one text.
#[derive(Clone)]
pub struct Row {
    pub block: Arc<Block>,
    pub row: usize,
}

/// A block of these rows with `tokens` tokens each: the same block if they are all of its rows in order, or else a gathered one. Each
/// row has a count of valid tokens; the rest is filled with zeros, which the mask must hide.
pub fn gather(graph: &Graph, rows: &[(&Row, usize)], tokens: usize, budget: &Arc<Budget>) -> Result<Arc<Block>> {
    let Some((first, _)) = rows.first() else { return Err(Error::internal("a block without rows")) };
    let whole = rows.len() == first.block.rows
        && first.block.tokens == tokens
        && rows.iter().enumerate().all(|(i, (row, _))| row.row == i && Arc::ptr_eq(&row.block, &first.block));
    if whole {
        return Ok(first.block.clone());
    }
    let mut values = Vec::with_capacity(first.block.values.len());
    for place in 0..first.block.values.len() {
        values.push(match element(&first.block.values[place]) {
            Some(Element::Float32) => gather_tensor::<f32>(graph, rows, place, tokens)?,
            Some(Element::Float16) => gather_tensor::<f16>(graph, rows, place, tokens)?,
            _ => return Err(graph.error("the KV cache is neither f32 nor f16")),
        });
    }
    Block::new(values, rows.len(), tokens, budget)
}

pub fn element(value: &DynValue) -> Option<Element> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => Some(*ty),
        _ => None,
    }
}

fn gather_tensor<T>(graph: &Graph, rows: &[(&Row, usize)], place: usize, tokens: usize) -> Result<DynValue>
where
    T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + Copy + Default + 'static,
{
    let mut out: Vec<T> = Vec::new();
    let mut shape = Vec::new();
    for (number, (row, count)) in rows.iter().enumerate() {
        let value = row.block.values.get(place).ok_or_else(|| Error::internal("rows of different KV caches"))?;
        let (found, data) =
            value.try_extract_tensor::<T>().map_err(|_| Error::internal("KV caches of different types"))?;
        let found: Vec<usize> = found.iter().map(|&axis| axis.max(0) as usize).collect();
        let (Some(&width), axes) = (found.last(), found.len()) else {
            return Err(Error::internal("a KV cache without axes"));
        };
        let parts: usize = found[1..axes - 2].iter().product();
        let mut wanted = found.clone();
        (wanted[0], wanted[axes - 2]) = (rows.len(), tokens);
        if number == 0 {
            let count: usize = wanted.iter().product();
            out.try_reserve_exact(count).map_err(|_| Error::out_of_memory("no memory for the KV cache"))?;
            shape = wanted;
        } else if shape != wanted {
            return Err(Error::internal("rows of different KV caches"));
        }
        let (stored, taken) = (row.block.tokens, (*count).min(tokens));
        for part in 0..parts {
            let from = (row.row * parts + part) * stored * width;
            out.extend_from_slice(&data[from..from + taken * width]);
            out.resize(out.len() + (tokens - taken) * width, T::default());
        }
    }
    graph.value(&shape, out)
}
