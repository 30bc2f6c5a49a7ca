//! The modules of sentence-transformers after a transformer or a graph: their tensors, and running them.

use crate::backend::{Backend, InputTransform, LinearView, NormView, Order, Part, Role, pooling};
use crate::base::error::Result;
use crate::formats::weights::Weights;
use crate::spec::{Activation, Elementwise, Module, Modules, Residual};

/// PyTorch's default for `LayerNorm`.
const LAYER_NORM_EPS: f32 = 1e-5;

/// The tensors of all modules, found and of the right shapes.
#[derive(Default)]
pub struct ModulesView<'a> {
    pub tokens: Vec<ModuleView<'a>>,
    pub texts: Vec<ModuleView<'a>>,
}

pub enum ModuleView<'a> {
    Dense { linear: LinearView<'a>, activation: Elementwise, residual: ResidualView<'a> },
    LayerNorm(Box<NormView<'a>>),
    Normalize,
}

pub enum ResidualView<'a> {
    None,
    Input,
    Projected(LinearView<'a>),
}

impl<'a> ModulesView<'a> {
    /// # Errors
    /// A tensor that is missing or of another shape, by file and name.
    pub fn find(modules: &Modules, weights: &'a Weights) -> Result<Self> {
        let find = |module: &Module| ModuleView::find(module, weights);
        let all = |modules: &[Module]| modules.iter().map(find).collect::<Result<Vec<_>>>();
        Ok(Self { tokens: all(&modules.tokens)?, texts: all(&modules.texts)? })
    }

    pub fn linears(&self) -> impl Iterator<Item = &LinearView<'a>> {
        self.tokens.iter().chain(&self.texts).flat_map(|module| {
            let (linear, residual) = match module {
                ModuleView::Dense { linear, residual: ResidualView::Projected(residual), .. } => {
                    (Some(linear), Some(residual))
                }
                ModuleView::Dense { linear, .. } => (Some(linear), None),
                _ => (None, None),
            };
            linear.into_iter().chain(residual)
        })
    }

    pub fn norms(&self) -> impl Iterator<Item = &NormView<'a>> {
        self.tokens.iter().chain(&self.texts).filter_map(|module| match module {
            ModuleView::LayerNorm(norm) => Some(&**norm),
            _ => None,
        })
    }

    /// Bytes that the weights will take, at most.
    pub fn bytes(&self) -> u64 {
        let floats = self.linears().map(|linear| (linear.inputs + 1).saturating_mul(linear.outputs)).sum::<usize>()
            + self.norms().map(|norm| 2 * norm.weight.shape[0]).sum::<usize>();
        (floats as u64).saturating_mul(size_of::<f32>() as u64)
    }
}

impl<'a> ModuleView<'a> {
    fn find(module: &Module, weights: &'a Weights) -> Result<Self> {
        let linear = |name: &str, outputs: usize, inputs: usize, bias: bool| {
            let weight = weights.require(&format!("{name}.weight"), &[outputs, inputs])?;
            let bias = bias.then(|| weights.require(&format!("{name}.bias"), &[outputs])).transpose()?;
            let part = Part { weight, bias, outputs, order: Order::From(0) };
            Ok(LinearView {
                key: name.to_string(),
                parts: vec![part],
                inputs,
                outputs,
                transform: InputTransform::default(),
            })
        };
        Ok(match module {
            Module::Dense(dense) => Self::Dense {
                linear: linear(&dense.name, dense.outputs, dense.inputs, dense.bias)?,
                activation: dense.activation,
                residual: match &dense.residual {
                    None => ResidualView::None,
                    Some(Residual::Input) => ResidualView::Input,
                    Some(Residual::Projected(name)) => {
                        ResidualView::Projected(linear(name, dense.outputs, dense.inputs, false)?)
                    }
                },
            },
            Module::LayerNorm { name, width } => Self::LayerNorm(Box::new(NormView {
                rms: false,
                weight: weights.require(&format!("{name}.weight"), &[*width])?,
                bias: Some(weights.require(&format!("{name}.bias"), &[*width])?),
                eps: LAYER_NORM_EPS,
                shift: 0.0,
                scale: 1.0,
            })),
            Module::Normalize => Self::Normalize,
        })
    }
}

/// All modules, loaded on a backend.
pub struct Chain<B: Backend> {
    pub tokens: Vec<Loaded<B>>,
    pub texts: Vec<Loaded<B>>,
}

pub enum Loaded<B: Backend> {
    Dense { linear: B::Linear, outputs: usize, activation: Elementwise, residual: Added<B> },
    LayerNorm(B::Norm),
    Normalize,
}

/// What is added to a layer's output.
pub enum Added<B: Backend> {
    Nothing,
    Input,
    Projected(B::Linear),
}

impl<B: Backend> Chain<B> {
    pub fn load(backend: &B, view: &ModulesView) -> Result<Self> {
        let load = |view: &ModuleView| Loaded::load(backend, view);
        let all = |views: &[ModuleView]| views.iter().map(load).collect::<Result<Vec<_>>>();
        Ok(Self { tokens: all(&view.tokens)?, texts: all(&view.texts)? })
    }
}

impl<B: Backend> Chain<B> {
    /// The width of a token's vector after the modules of tokens, from that of a hidden state.
    pub fn token_width(&self, hidden: usize) -> usize {
        let outputs =
            |module: &Loaded<B>| if let Loaded::Dense { outputs, .. } = module { Some(*outputs) } else { None };
        self.tokens.iter().rev().find_map(outputs).unwrap_or(hidden)
    }
}

impl<B: Backend> Loaded<B> {
    fn load(backend: &B, view: &ModuleView) -> Result<Self> {
        Ok(match view {
            ModuleView::Dense { linear, activation, residual } => Self::Dense {
                linear: backend.linear_load(Role::Vector, linear)?,
                outputs: linear.outputs,
                activation: *activation,
                residual: match residual {
                    ResidualView::None => Added::Nothing,
                    ResidualView::Input => Added::Input,
                    ResidualView::Projected(linear) => Added::Projected(backend.linear_load(Role::Vector, linear)?),
                },
            },
            ModuleView::LayerNorm(norm) => Self::LayerNorm(backend.norm_load(norm)?),
            ModuleView::Normalize => Self::Normalize,
        })
    }
}

/// Puts rows of `width` values through modules, one after the other.
pub fn run<B: Backend>(backend: &B, modules: &[Loaded<B>], mut rows: Vec<f32>, mut width: usize) -> Result<Vec<f32>> {
    for module in modules {
        match module {
            Loaded::Normalize => pooling::normalize(&mut rows, width),
            Loaded::LayerNorm(norm) => {
                let x = backend.norm(backend.tensor_from(std::mem::take(&mut rows), width)?, norm)?;
                backend.read(&x, &mut rows)?;
            }
            Loaded::Dense { linear, outputs, activation, residual } => {
                let fused =
                    if let Elementwise::Fused(activation) = activation { *activation } else { Activation::None };
                let mut added = if matches!(residual, Added::Input) { rows.clone() } else { Vec::new() };
                let x = backend.tensor_from(std::mem::take(&mut rows), width)?;
                backend.read(&backend.project(&x, None, linear, fused)?, &mut rows)?;
                apply(*activation, &mut rows);
                if let Added::Projected(linear) = residual {
                    backend.read(&backend.project(&x, None, linear, Activation::None)?, &mut added)?;
                }
                rows.iter_mut().zip(added).for_each(|(y, more)| *y += more);
                width = *outputs;
            }
        }
    }
    Ok(rows)
}

/// The functions that are not fused with a product.
fn apply(function: Elementwise, values: &mut [f32]) {
    let softplus = |x: f32| if x > 20.0 { x } else { x.exp().ln_1p() };
    let f: &dyn Fn(f32) -> f32 = match function {
        Elementwise::Fused(_) => return,
        Elementwise::Sigmoid => &|x| 1.0 / (1.0 + (-x).exp()),
        Elementwise::LeakyRelu => &|x| if x > 0.0 { x } else { 0.01 * x },
        Elementwise::Elu => &|x| if x > 0.0 { x } else { x.exp_m1() },
        Elementwise::Softplus => &softplus,
        Elementwise::Mish => &|x| x * softplus(x).tanh(),
    };
    values.iter_mut().for_each(|x| *x = f(*x));
}
