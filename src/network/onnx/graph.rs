//! One ONNX graph: its inputs and outputs by name, and running it. A graph is untrusted: the type and the shape of what it returns are
//! checked before it is read.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use half::f16;
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType as Element, ValueType};

use super::runtime::{Runtime, SessionOptions};
use crate::base::error::{Error, Result};
use crate::formats::{quoted, shortened};

/// An input or an output.
#[derive(Clone, Debug)]
pub struct Port {
    pub name: String,
    /// None if it is not a tensor.
    pub element: Option<Element>,
    /// -1 for an axis that the graph leaves open.
    pub shape: Vec<i64>,
}

impl Port {
    fn new(outlet: &Outlet) -> Self {
        let (element, shape) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => (Some(*ty), shape.to_vec()),
            _ => (None, Vec::new()),
        };
        Self { name: outlet.name().to_string(), element, shape }
    }

    pub fn is_float(&self) -> bool {
        matches!(self.element, Some(Element::Float32 | Element::Float16))
    }

    /// The size of an axis, counted from the end if negative; None if the graph leaves it open.
    pub fn axis(&self, axis: isize) -> Option<usize> {
        let place = if axis < 0 { self.shape.len().checked_add_signed(axis)? } else { axis as usize };
        usize::try_from(*self.shape.get(place)?).ok()
    }
}

/// A loaded graph.
pub struct Graph {
    path: PathBuf,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// `ort` requires that runs of a session do not overlap. A run uses all threads of the model anyway, and a second session would load
    /// the weights again.
    session: Mutex<Session>,
}

/// The inputs of a run, by name.
pub type Inputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

impl Graph {
    pub fn open(runtime: &Runtime, path: &Path, options: &SessionOptions) -> Result<Self> {
        crate::formats::open_regular(path)?;
        // `ort` panics on types of inputs and outputs that it does not know.
        let opened = crate::base::panics::guarded(|| runtime.session(path, options));
        let session =
            opened.map_err(|_| Error::invalid_file(path, "the graph's inputs and outputs cannot be described"))??;
        let ports = |outlets: &[Outlet]| outlets.iter().map(Port::new).collect();
        let (inputs, outputs) = (ports(session.inputs()), ports(session.outputs()));
        Ok(Self { path: path.to_owned(), inputs, outputs, session: Mutex::new(session) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name == name)
    }

    pub fn output(&self, name: &str) -> Option<&Port> {
        self.outputs.iter().find(|port| port.name == name)
    }

    /// An error that names the file.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid_file(&self.path, what)
    }

    /// The names of the outputs, for messages.
    pub fn output_names(&self) -> String {
        let names: Vec<_> = self.outputs.iter().take(20).map(|port| quoted(&port.name)).collect();
        names.join(", ")
    }

    /// An output that must exist.
    pub fn require_output(&self, name: &str) -> Result<&Port> {
        self.output(name).ok_or_else(|| {
            self.error(format!("the graph has no output {}; its outputs are {}", quoted(name), self.output_names()))
        })
    }

    /// Refuses a graph with an input that is not `known`.
    pub fn check_inputs(&self, known: impl Fn(&str) -> bool) -> Result<()> {
        match self.inputs.iter().find(|port| !known(&port.name)) {
            None => Ok(()),
            Some(port) => {
                let (path, name) = (self.path.display(), quoted(&port.name));
                Err(Error::unsupported(format!(
                    "{path}: the graph's input {name} is not supported; export the model again for its task (optimum-cli export \
                     onnx), or run the original safetensors"
                )))
            }
        }
    }

    /// Runs the graph and returns these outputs, in this order.
    pub fn run(&self, inputs: Inputs, outputs: &[&str]) -> Result<Vec<DynValue>> {
        let failed = |e: ort::Error| self.error(format!("ONNX Runtime cannot run it: {}", shortened(e)));
        let selected = outputs.iter().fold(OutputSelector::no_default(), |selected, &name| selected.with(name));
        let options = RunOptions::new().map_err(failed)?.with_outputs(selected);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = session.run_with_options(inputs, &options).map_err(failed)?;
        let take = |&name: &&str| {
            values.remove(name).ok_or_else(|| self.error(format!("the graph returned no output {}", quoted(name))))
        };
        outputs.iter().map(take).collect()
    }

    /// A tensor of integers, in the input's type.
    pub fn integers(&self, port: &Port, shape: &[usize], values: &[u32]) -> Result<SessionInputValue<'static>> {
        match port.element {
            Some(Element::Int64) => self.tensor(shape, values.iter().map(|&v| i64::from(v)).collect::<Vec<_>>()),
            Some(Element::Int32) => self.tensor(shape, values.iter().map(|&v| v as i32).collect::<Vec<_>>()),
            Some(Element::Bool) => self.tensor(shape, values.iter().map(|&v| v != 0).collect::<Vec<_>>()),
            Some(Element::Float32) => self.tensor(shape, values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
            _ => Err(self.wrong_type(port, "integers")),
        }
    }

    /// A tensor that owns its values.
    pub fn tensor<T>(&self, shape: &[usize], values: Vec<T>) -> Result<SessionInputValue<'static>>
    where
        T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    {
        Ok(self.value(shape, values)?.into())
    }

    /// As [`Graph::tensor`], as a value that can be kept.
    pub fn value<T>(&self, shape: &[usize], values: Vec<T>) -> Result<DynValue>
    where
        T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    {
        let tensor = Tensor::from_array((shape.to_vec(), values));
        let tensor = tensor.map_err(|e| self.error(format!("no tensor of shape {shape:?}: {}", shortened(e))))?;
        Ok(tensor.into_dyn())
    }

    fn wrong_type(&self, port: &Port, wanted: &str) -> Error {
        let found = port.element.map_or_else(|| "no tensor".to_string(), |element| element.to_string());
        self.error(format!("input {} is {found}; {wanted} are expected", quoted(&port.name)))
    }

    /// The numbers of an output, which must have this shape.
    pub fn floats<'v>(&self, name: &str, value: &'v DynValue, shape: &[usize]) -> Result<Cow<'v, [f32]>> {
        let found = self.shape(name, value)?;
        if found != shape {
            return Err(self.error(format!(
                "output {} has shape {found:?}; {shape:?} is expected for these inputs",
                quoted(name)
            )));
        }
        self.numbers(name, value)
    }

    /// The numbers of an output of any shape.
    pub fn numbers<'v>(&self, name: &str, value: &'v DynValue) -> Result<Cow<'v, [f32]>> {
        if let Ok((_, values)) = value.try_extract_tensor::<f32>() {
            return Ok(Cow::Borrowed(values));
        }
        if let Ok((_, values)) = value.try_extract_tensor::<f16>() {
            return Ok(Cow::Owned(values.iter().map(|v| v.to_f32()).collect()));
        }
        Err(self.error(format!("output {} is {}; f32 or f16 is expected", quoted(name), value.dtype())))
    }

    /// The shape of an output.
    pub fn shape(&self, name: &str, value: &DynValue) -> Result<Vec<usize>> {
        match value.dtype() {
            ValueType::Tensor { shape, .. } => Ok(shape.iter().map(|&axis| axis.max(0) as usize).collect()),
            other => Err(self.error(format!("output {} is {other}, not a tensor", quoted(name)))),
        }
    }
}
