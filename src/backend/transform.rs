//! A change of a linear layer's inputs before they are rounded, and of its weights, which leaves their product as it is.

use crate::base::error::{Error, Result};
use crate::formats::quoted;
use crate::formats::safetensors::Weights;
use crate::kernels::{BLOCK, Kernel, block_of, portable};

/// The tensors of a layer's transform in a `.kinglet` file, after the layer's name.
pub const FACTORS: &str = "input_factors";
pub const ROTATION: &str = "input_rotation";

/// Inputs `x` become `H·(factors ⊙ x)`, with a Hadamard matrix `H` of `block` rows over each of the inputs' blocks, and the weights `w`
/// of an output become `H·(w / factors) / block`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputTransform {
    /// Empty if all are 1.
    pub factors: Vec<f32>,
    /// A divisor of [`block_of`] the inputs, at least 16; 0 for no rotation.
    pub block: usize,
}

impl InputTransform {
    /// That of a layer in a `.kinglet` file; other files have none.
    pub fn find(weights: &Weights, key: &str, inputs: usize) -> Result<Self> {
        let packed = weights.get(&format!("{key}.weight")).is_some_and(|tensor| tensor.dtype.is_packed());
        let values = |name: &str, count: usize| {
            let name = format!("{key}.{name}");
            let there = packed && weights.get(&name).is_some();
            if there { weights.require(&name, &[count])?.to_vec_f32() } else { Ok(Vec::new()) }
        };
        let (factors, rotation) = (values(FACTORS, inputs)?, values(ROTATION, 1)?);
        let block = rotation.first().map_or(0, |&block| block as usize);
        if block > 0 && !(block.is_power_of_two() && block >= BLOCK && block_of(inputs).is_multiple_of(block)) {
            let (name, file) =
                (quoted(&format!("{key}.{ROTATION}")), weights.require(&format!("{key}.{ROTATION}"), &[1])?.file);
            return Err(Error::invalid_file(file, format!("tensor {name} is {block} for {inputs} inputs")));
        }
        Ok(Self { factors, block })
    }

    pub fn is_none(&self) -> bool {
        self.factors.is_empty() && self.block == 0
    }

    /// Transforms a row of inputs.
    pub fn apply(&self, kernel: &dyn Kernel, x: &[f32], out: &mut [f32]) {
        if self.factors.is_empty() {
            out.copy_from_slice(x);
        } else {
            kernel.multiply(x, &self.factors, out);
        }
        if self.block > 0 {
            kernel.hadamard(out, self.block);
        }
    }

    /// Transforms the weights of an output.
    pub fn weights(&self, row: &mut [f32]) {
        row.iter_mut().zip(&self.factors).for_each(|(weight, factor)| *weight /= factor);
        if self.block > 0 {
            portable().hadamard(row, self.block);
            row.iter_mut().for_each(|weight| *weight /= self.block as f32);
        }
    }

    /// The weights of an output as they were before [`Self::weights`], up to rounding.
    pub fn undo_weights(&self, row: &mut [f32]) {
        if self.block > 0 {
            portable().hadamard(row, self.block);
        }
        row.iter_mut().zip(&self.factors).for_each(|(weight, factor)| *weight *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: usize = 16 * 3 * 32;

    #[test]
    fn a_transform_leaves_products_as_they_are() {
        let numbers =
            |seed: usize| (0..INPUTS).map(move |i| ((i * 37 + seed * 11) % 19) as f32 - 9.0).collect::<Vec<_>>();
        let (x, w) = (numbers(1), numbers(2));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for block in [0, 16, 32, 128, 512] {
            let factors = numbers(3).iter().map(|x| x.abs() + 0.5).collect();
            let transform = InputTransform { factors, block };
            let (mut inputs, mut weights) = (vec![0.0; INPUTS], w.clone());
            transform.apply(portable(), &x, &mut inputs);
            transform.weights(&mut weights);
            assert!((dot(&inputs, &weights) - dot(&x, &w)).abs() < 0.5, "{block}");
            transform.undo_weights(&mut weights);
            assert!(weights.iter().zip(&w).all(|(a, b)| (a - b).abs() < 1e-4), "{block}");
        }
    }
}
