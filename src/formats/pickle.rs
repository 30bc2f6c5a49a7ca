//! The pickles of PyTorch's checkpoints, of which only tensors are read: nothing that a pickle names is ever called. The opcodes and
//! classes are those that `torch.save` writes for a dictionary of tensors; any other is refused by name.

use std::collections::HashMap;

use safetensors::Dtype;

/// The maximum number of objects in one pickle. A tensor takes about twenty.
const MAX_OBJECTS: usize = 1 << 21;

/// The maximum number of dimensions of a tensor.
const MAX_DIMENSIONS: usize = 8;

/// What is wrong with a pickle.
pub type Parsed<T> = Result<T, String>;

/// A tensor within a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The name of the storage, the type of its elements, and their number.
    pub storage: String,
    pub dtype: Dtype,
    pub elements: usize,
    /// The first element.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// Objects refer to others by index, so that nothing that nests can exhaust the stack.
#[derive(Clone, Debug)]
enum Object {
    None,
    Bool,
    Number(i64),
    Float,
    Text(String),
    Tuple(Vec<u32>),
    List(Vec<u32>),
    Dict(Vec<(u32, u32)>),
    Class(Class),
    Storage(String, Dtype, usize),
    Tensor(Tensor),
}

#[derive(Clone, Copy, Debug)]
enum Class {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Class {
    fn find(module: &str, name: &str) -> Parsed<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => {
                let name = super::quoted(&format!("{module}.{name}"));
                return Err(format!("it names {name}, and only tensors are read"));
            }
        })
    }
}

/// Reads pickles that follow each other.
pub struct Pickles<'a> {
    bytes: &'a [u8],
    /// Bytes read so far, of all pickles.
    pub at: usize,
    objects: Vec<Object>,
    stack: Vec<u32>,
    marks: Vec<usize>,
    memo: HashMap<u32, u32>,
}

impl<'a> Pickles<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let (objects, stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        Self { bytes, at: 0, objects, stack, marks, memo }
    }

    /// The next pickle, a dictionary of tensors by name.
    pub fn tensors(&mut self) -> Parsed<Vec<(String, Tensor)>> {
        let root = self.run()?;
        let Object::Dict(pairs) = self.object(root) else {
            return Err("it is not a dictionary of tensors".into());
        };
        let mut tensors = Vec::with_capacity(pairs.len());
        for &(key, value) in pairs {
            match (self.object(key), self.object(value)) {
                (Object::Text(name), Object::Tensor(tensor)) => tensors.push((name.clone(), tensor.clone())),
                (Object::Text(name), _) => return Err(format!("{} is not a tensor", super::quoted(name))),
                _ => return Err("it is not a dictionary of tensors by name".into()),
            }
        }
        Ok(tensors)
    }

    /// The next pickle, a list of texts.
    pub fn texts(&mut self) -> Parsed<Vec<String>> {
        let root = self.run()?;
        let Object::List(items) = self.object(root) else { return Err("it does not list its storages".into()) };
        let text = |&item: &u32| match self.object(item) {
            Object::Text(text) => Ok(text.clone()),
            _ => Err("the name of a storage is not a text".to_string()),
        };
        items.iter().map(text).collect()
    }

    /// Reads a pickle whose value does not matter.
    pub fn skip(&mut self) -> Parsed<()> {
        self.run().map(|_| ())
    }

    fn object(&self, index: u32) -> &Object {
        self.objects.get(index as usize).unwrap_or(&Object::None)
    }

    fn run(&mut self) -> Parsed<u32> {
        (self.stack, self.marks, self.memo, self.objects) = Default::default();
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                b'\x80' => match self.byte()? {
                    0..=5 => {}
                    version => return Err(format!("its protocol {version} is not known")),
                },
                b'}' => self.push(Object::Dict(Vec::new()))?,
                b']' => self.push(Object::List(Vec::new()))?,
                b')' => self.push(Object::Tuple(Vec::new()))?,
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.push(Object::None)?,
                b'\x88' | b'\x89' => self.push(Object::Bool)?,
                b'K' => self.number_of(1)?,
                b'M' => self.number_of(2)?,
                b'J' => {
                    let number = self.array()?;
                    self.push(Object::Number(i32::from_le_bytes(number).into()))?;
                }
                b'\x8a' => self.long()?,
                b'G' => {
                    self.take(8)?;
                    self.push(Object::Float)?;
                }
                b'U' => self.text_of(1)?,
                b'X' | b'T' => self.text_of(4)?,
                b'\x8c' => self.text_of(1)?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Object::Class(Class::find(module, name)?))?;
                }
                b'q' => self.store(1)?,
                b'r' => self.store(4)?,
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b'\x85' => self.tuple(1)?,
                b'\x86' => self.tuple(2)?,
                b'\x87' => self.tuple(3)?,
                b't' => {
                    let items = self.marked()?;
                    self.push(Object::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.marked()?;
                    self.append(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(vec![key, value])?;
                }
                b'u' => {
                    let items = self.marked()?;
                    self.insert(items)?;
                }
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                b'b' => {
                    // The attributes of a dictionary are versions of modules.
                    self.pop()?;
                    let target = *self.stack.last().ok_or(ENDS)?;
                    if !matches!(self.object(target), Object::Dict(_)) {
                        return Err("it sets the attributes of an object, and only tensors are read".into());
                    }
                }
                other => return Err(format!("its opcode 0x{other:02x} is not one of a dictionary of tensors")),
            }
        }
    }

    fn take(&mut self, length: usize) -> Parsed<&'a [u8]> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..length)).ok_or("it ends too early")?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| ENDS.to_string())
    }

    fn byte(&mut self) -> Parsed<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number of one, two or four bytes.
    fn unsigned(&mut self, bytes: usize) -> Parsed<u32> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn line(&mut self) -> Parsed<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(200).position(|&byte| byte == b'\n').ok_or("the name of a class does not end")?;
        self.at += end + 1;
        str::from_utf8(&rest[..end]).map_err(|_| "the name of a class is not UTF-8".into())
    }

    fn push(&mut self, object: Object) -> Parsed<()> {
        if self.objects.len() == MAX_OBJECTS {
            return Err(format!("it has more than {MAX_OBJECTS} objects"));
        }
        self.stack.push(self.objects.len() as u32);
        self.objects.push(object);
        Ok(())
    }

    fn pop(&mut self) -> Parsed<u32> {
        Ok(self.stack.pop().ok_or(ENDS)?)
    }

    /// What was pushed since the last mark.
    fn marked(&mut self) -> Parsed<Vec<u32>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, length: usize) -> Parsed<()> {
        let first = self.stack.len().checked_sub(length).ok_or(ENDS)?;
        let items = self.stack.split_off(first);
        self.push(Object::Tuple(items))
    }

    fn number_of(&mut self, bytes: usize) -> Parsed<()> {
        let number = self.unsigned(bytes)?;
        self.push(Object::Number(number.into()))
    }

    fn long(&mut self) -> Parsed<()> {
        let length = usize::from(self.byte()?);
        let bytes = self.take(length)?;
        // The two first pickles of old files have numbers of ten bytes, which nobody needs.
        let mut number = [bytes.last().map_or(0, |&last| if last < 128 { 0 } else { 255 }); 8];
        number.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        self.push(Object::Number(i64::from_le_bytes(number)))
    }

    fn text_of(&mut self, bytes: usize) -> Parsed<()> {
        let length = self.unsigned(bytes)? as usize;
        let text = str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8")?;
        self.push(Object::Text(text.to_owned()))
    }

    fn store(&mut self, bytes: usize) -> Parsed<()> {
        let (name, top) = (self.unsigned(bytes)?, *self.stack.last().ok_or(ENDS)?);
        self.memo.insert(name, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Parsed<()> {
        let name = self.unsigned(bytes)?;
        self.stack.push(*self.memo.get(&name).ok_or("it recalls what it has not stored")?);
        Ok(())
    }

    fn append(&mut self, items: Vec<u32>) -> Parsed<()> {
        let target = *self.stack.last().ok_or(ENDS)?;
        match self.objects.get_mut(target as usize) {
            Some(Object::List(list)) => list.extend(items),
            _ => return Err("it appends to what is not a list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, items: Vec<u32>) -> Parsed<()> {
        let target = *self.stack.last().ok_or(ENDS)?;
        let pairs = items.as_chunks::<2>();
        match self.objects.get_mut(target as usize) {
            Some(Object::Dict(dict)) if pairs.1.is_empty() => {
                dict.extend(pairs.0.iter().map(|&[key, value]| (key, value)))
            }
            _ => return Err("it sets items of what is not a dictionary".into()),
        }
        Ok(())
    }

    fn items(&self, tuple: u32) -> Parsed<&[u32]> {
        match self.object(tuple) {
            Object::Tuple(items) => Ok(items),
            _ => Err("arguments are not a tuple".into()),
        }
    }

    fn size(&self, number: u32) -> Parsed<usize> {
        match self.object(number) {
            &Object::Number(number) => usize::try_from(number).map_err(|_| format!("{number} is not a size")),
            _ => Err("a size is not a number".into()),
        }
    }

    /// `('storage', torch.FloatStorage, '0', 'cpu', 12)`; in old files one more, None.
    fn storage(&mut self) -> Parsed<()> {
        let id = self.pop()?;
        let wrong = || "a reference is not to a storage".to_string();
        let &[kind, class, key, _, size, ref view @ ..] = self.items(id)? else { return Err(wrong()) };
        let (Object::Text(kind), &Object::Class(Class::Storage(dtype)), Object::Text(key)) =
            (self.object(kind), self.object(class), self.object(key))
        else {
            return Err(wrong());
        };
        if kind != "storage" || !view.iter().all(|&view| matches!(self.object(view), Object::None)) {
            return Err(wrong());
        }
        let storage = Object::Storage(key.clone(), dtype, self.size(size)?);
        self.push(storage)
    }

    fn call(&mut self) -> Parsed<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let &Object::Class(class) = self.object(function) else { return Err("it calls what is not a class".into()) };
        let items = self.items(arguments)?;
        let made = match (class, items) {
            (Class::OrderedDict, []) => Object::Dict(Vec::new()),
            (Class::RebuildTensor, &[storage, offset, shape, stride, ..]) => {
                let Object::Storage(storage, dtype, elements) = self.object(storage) else {
                    return Err("a tensor has no storage".into());
                };
                let sizes = |tuple| -> Parsed<Vec<usize>> {
                    let items = self.items(tuple)?;
                    if items.len() > MAX_DIMENSIONS {
                        return Err(format!("a tensor has more than {MAX_DIMENSIONS} dimensions"));
                    }
                    items.iter().map(|&size| self.size(size)).collect()
                };
                Object::Tensor(Tensor {
                    storage: storage.clone(),
                    dtype: *dtype,
                    elements: *elements,
                    offset: self.size(offset)?,
                    shape: sizes(shape)?,
                    stride: sizes(stride)?,
                })
            }
            (Class::RebuildParameter, &[tensor, ..]) => match self.object(tensor) {
                Object::Tensor(tensor) => Object::Tensor(tensor.clone()),
                _ => return Err("a parameter is not a tensor".into()),
            },
            _ => return Err("it calls a class with other arguments than torch.save".into()),
        };
        self.push(made)
    }
}

const ENDS: &str = "it takes more from its stack than it has put there";
