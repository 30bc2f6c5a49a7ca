//! What follows the transformer of a model that embeds: the modules of sentence-transformers, as data.

use super::{Activation, Pooling};

/// From the hidden states of a text's tokens to its embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Modules {
    /// What each token's vector goes through before the pooling.
    pub tokens: Vec<Module>,
    /// How token vectors become one; the results of several are concatenated in this order.
    pub poolings: Vec<Pooling>,
    /// Whether the tokens of a prompt are pooled too.
    pub include_prompt: bool,
    /// What the pooled vector goes through.
    pub texts: Vec<Module>,
    /// The width of the vector per text that an ONNX graph gives by itself: the embedding, unless a call names a pooling.
    pub graph: Option<usize>,
}

impl Modules {
    /// One pooling, and nothing else.
    pub fn pooling(pooling: Pooling) -> Self {
        Self::poolings(vec![pooling])
    }

    /// Poolings, and nothing else.
    pub fn poolings(poolings: Vec<Pooling>) -> Self {
        Self { tokens: Vec::new(), poolings, include_prompt: true, texts: Vec::new(), graph: None }
    }

    /// Whether the last module scales vectors to length 1.
    pub fn normalizes(&self) -> bool {
        self.texts.last() == Some(&Module::Normalize)
    }

    /// Whether vectors `width` wide can go through these modules, or why not.
    pub fn check(modules: &[Module], mut width: usize) -> Result<(), String> {
        for module in modules {
            let (name, wanted) = match module {
                Module::Dense(dense) => (&dense.name, dense.inputs),
                Module::LayerNorm { name, width } => (name, *width),
                Module::Normalize => continue,
            };
            if wanted != width {
                return Err(format!("{name} takes vectors {wanted} wide, and gets vectors {width} wide"));
            }
            width = self::width(std::slice::from_ref(module), width);
        }
        Ok(())
    }

    /// The width of a token's vector when it is pooled, from that of a hidden state.
    pub fn token_width(&self, hidden: usize) -> usize {
        width(&self.tokens, hidden)
    }

    /// The width of an embedding, from that of a hidden state.
    pub fn width(&self, hidden: usize) -> usize {
        width(&self.texts, self.token_width(hidden) * self.poolings.len())
    }
}

/// The width of what comes out of modules that a vector of this width goes into.
pub(super) fn width(modules: &[Module], width: usize) -> usize {
    modules.iter().fold(width, |width, module| match module {
        Module::Dense(dense) => dense.outputs,
        Module::LayerNorm { .. } | Module::Normalize => width,
    })
}

/// One module.
#[derive(Clone, Debug, PartialEq)]
pub enum Module {
    /// `activation(x·Wᵀ + b)`, and what is added to that.
    Dense(ModuleDense),
    /// LayerNorm with the tensors `name.weight` and `name.bias`, over vectors of this width.
    LayerNorm { name: String, width: usize },
    /// Scales a vector to length 1.
    Normalize,
}

/// A linear layer and the function after it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleDense {
    /// The name before `.weight` and `.bias`.
    pub name: String,
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    pub activation: Elementwise,
    pub residual: Option<Residual>,
}

/// What is added to a layer's output.
#[derive(Clone, Debug, PartialEq)]
pub enum Residual {
    /// Its input.
    Input,
    /// Its input times the weight of this name, without a bias.
    Projected(String),
}

/// A function of torch.nn on each element, with the class's own defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    /// One that backends compute with the product.
    Fused(Activation),
    Sigmoid,
    LeakyRelu,
    Elu,
    Softplus,
    Mish,
}

impl Elementwise {
    /// By the class's full name, such as `torch.nn.modules.activation.Tanh`.
    pub fn of_torch(class: &str) -> Option<Self> {
        Some(match class.strip_prefix("torch.nn.")?.rsplit('.').next()? {
            "Identity" => Self::Fused(Activation::None),
            "Tanh" => Self::Fused(Activation::Tanh),
            "ReLU" => Self::Fused(Activation::Relu),
            "GELU" => Self::Fused(Activation::Gelu),
            "SiLU" => Self::Fused(Activation::Silu),
            "Sigmoid" => Self::Sigmoid,
            "LeakyReLU" => Self::LeakyRelu,
            "ELU" => Self::Elu,
            "Softplus" => Self::Softplus,
            "Mish" => Self::Mish,
            _ => return None,
        })
    }

    /// The class's name in torch.nn.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fused(Activation::None) => "Identity",
            Self::Fused(Activation::Tanh) => "Tanh",
            Self::Fused(Activation::Relu) => "ReLU",
            Self::Fused(Activation::Gelu | Activation::GeluTanh) => "GELU",
            Self::Fused(Activation::Silu) => "SiLU",
            Self::Sigmoid => "Sigmoid",
            Self::LeakyRelu => "LeakyReLU",
            Self::Elu => "ELU",
            Self::Softplus => "Softplus",
            Self::Mish => "Mish",
        }
    }
}
