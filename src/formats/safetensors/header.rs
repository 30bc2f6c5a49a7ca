//! The JSON header of a safetensors file, with the limits that the `safetensors` crate's own parser does not set.

use std::collections::HashSet;
use std::fmt;

use ::safetensors::tensor::{Dtype, TensorInfo};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::MAX_TENSORS;
use crate::formats::quoted;

/// The maximum number of dimensions of one tensor: PyTorch's own limit.
const MAX_DIMENSIONS: usize = 64;

/// The tensors in the order of the header. Names are unique; offsets and shapes are not checked yet.
///
/// The free-form `__metadata__` is skipped: it is not used, and may be most of a header.
pub(super) struct Header(pub Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut tensors, mut seen) = (Vec::new(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("{} appears twice", quoted(&name))));
            }
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if tensors.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("there are more than {MAX_TENSORS} tensors")));
            }
            let Tensor { dtype, shape: Shape(shape), data_offsets } = map.next_value()?;
            tensors.push((name, TensorInfo { dtype, shape, data_offsets }));
        }
        Ok(Header(tensors))
    }
}

/// `TensorInfo` with a limit on the number of dimensions.
#[derive(Deserialize)]
struct Tensor {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (usize, usize),
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(dimension) = seq.next_element()? {
            if shape.len() == MAX_DIMENSIONS {
                return Err(A::Error::custom(format!("a tensor has more than {MAX_DIMENSIONS} dimensions")));
            }
            shape.push(dimension);
        }
        Ok(Shape(shape))
    }
}
