//! Arithmetic on rows of logits in host memory, from any device: free functions over the best SIMD kernel of this machine, which is
//! chosen once per process.

use std::sync::OnceLock;

use crate::kernels::{self, Kernel};

fn kernel() -> &'static dyn Kernel {
    static KERNEL: OnceLock<&'static dyn Kernel> = OnceLock::new();
    // An unknown `KINGLET_ISA` is refused when a model is loaded; until then, the portable kernel is used, which is always last.
    *KERNEL.get_or_init(|| match kernels::select() {
        Ok(kernel) => kernel,
        Err(_) => kernels::available().pop().expect("the portable kernel"),
    })
}

/// `ln Σ exp` of a row; -∞ if all values are -∞.
pub fn log_sum_exp(row: &[f32]) -> f32 {
    kernels::log_sum_exp(kernel(), row)
}

/// The index of the largest value of a row, the first of equals; None if no value is above -∞.
pub fn arg_max(row: &[f32]) -> Option<u32> {
    kernel().arg_max(row).map(|(index, _)| index as u32)
}

/// `softcap · tanh(value / softcap)` of each value, in place; 0 for no cap. It keeps the order, but may make different values equal.
pub fn cap(values: &mut [f32], softcap: f32) {
    if softcap > 0.0 {
        values.iter_mut().for_each(|x| *x = softcap * (*x / softcap).tanh());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_finite_value_have_no_largest() {
        assert_eq!(arg_max(&[f32::NEG_INFINITY; 3]), None);
        assert_eq!(arg_max(&[1.0, 2.0, 2.0]), Some(1));
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
        assert!((log_sum_exp(&[0.0; 8]) - 8f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_cap_bounds_values_and_zero_is_no_cap() {
        let mut values = [-1e9, 0.0, 1.0, 1e9];
        cap(&mut values, 0.0);
        assert_eq!(values, [-1e9, 0.0, 1.0, 1e9]);
        cap(&mut values, 2.0);
        assert_eq!(values, [-2.0, 0.0, 2.0 * 0.5f32.tanh(), 2.0]);
    }
}
