//! The pickle that `torch.save` writes of one tensor, read without running anything.
//!
//! A pickle is a program for a stack machine (Python's `pickletools` lists the opcodes). This one knows those that build
//! numbers, texts and tuples, and three functions by name. Only names can be repeated: so what it builds is not much larger than
//! the program.

use std::collections::HashMap;

/// How much may be on the stack.
const DEEPEST: usize = 64;
/// Bytes of a function's name.
const LONGEST_NAME: usize = 64;

/// Where a tensor's elements lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The file that holds them, below `data/`.
    pub key: String,
    /// What each of them is.
    pub dtype: Dtype,
    /// How many the file holds.
    pub elements: usize,
    /// Which of them is the tensor's first.
    pub offset: usize,
    /// Of each dimension.
    pub sizes: Vec<usize>,
    /// Elements from one index of a dimension to the next; as many as `sizes`.
    pub strides: Vec<usize>,
}

/// Types of numbers that embeddings come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dtype {
    F32,
    F16,
    Bf16,
}

/// What is on the stack.
#[derive(Debug, Clone)]
enum Value {
    Mark,
    Boolean,
    Integer(i64),
    Text(String),
    /// A function or class: module, a space, name.
    Global(String),
    Tuple(Vec<Value>),
    /// An empty dictionary.
    Nothing,
    Storage {
        key: String,
        dtype: Dtype,
        elements: usize,
    },
    Tensor(Layout),
}

/// The one tensor of a pickle.
///
/// # Errors
/// What it holds instead.
pub(super) fn read(program: &[u8]) -> Result<Layout, String> {
    let mut machine = Machine {
        rest: program,
        stack: Vec::new(),
        names: HashMap::new(),
    };
    loop {
        let opcode = machine.byte()?;
        if opcode == b'.' {
            break;
        }
        machine.step(opcode)?;
        if machine.stack.len() > DEEPEST {
            return Err("its pickle is no single tensor".to_owned());
        }
    }
    match (machine.stack.pop(), machine.stack.is_empty()) {
        (Some(Value::Tensor(layout)), true) => Ok(layout),
        _ => Err("its pickle is no single tensor".to_owned()),
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Functions by the numbers under which they are found again.
    names: HashMap<u8, String>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), String> {
        let value = match opcode {
            // The protocol's number.
            0x80 => return self.take(1).map(drop),
            b'q' => {
                let number = self.byte()?;
                if let Some(Value::Global(name)) = self.stack.last() {
                    self.names.insert(number, name.clone());
                }
                return Ok(());
            }
            b'h' => {
                let number = self.byte()?;
                Value::Global(self.names.get(&number).ok_or_else(broken)?.clone())
            }
            b'(' => Value::Mark,
            b'c' => {
                let name = format!("{} {}", self.line()?, self.line()?);
                if name.len() > LONGEST_NAME {
                    return Err(broken());
                }
                Value::Global(name)
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?) as usize;
                Value::Text(text(self.take(len)?)?)
            }
            b'K' => Value::Integer(self.byte()?.into()),
            b'M' => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            0x88 | 0x89 => Value::Boolean,
            b')' => Value::Tuple(Vec::new()),
            0x85..=0x87 => {
                let len = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(len).ok_or_else(broken)?;
                Value::Tuple(self.stack.split_off(start))
            }
            b't' => {
                let is_mark = |value: &Value| matches!(value, Value::Mark);
                let mark = self.stack.iter().rposition(is_mark).ok_or_else(broken)?;
                let items = self.stack.split_off(mark + 1);
                self.stack.pop();
                Value::Tuple(items)
            }
            b'Q' => storage(self.pop()?)?,
            b'R' => {
                let arguments = self.pop()?;
                call(&self.pop()?, arguments)?
            }
            other => {
                return Err(format!(
                    "it is something else than one tensor: its pickle has the opcode {other:#04x}"
                ));
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(broken)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(broken)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| broken())
    }

    /// Up to a line break, and that.
    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let line = text(self.take(end.ok_or_else(broken)?)?)?;
        self.take(1)?;
        Ok(line)
    }
}

fn broken() -> String {
    "its pickle is broken".to_owned()
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| broken())
}

/// What a persistent id of torch's names: a file of numbers.
fn storage(id: Value) -> Result<Value, String> {
    let Value::Tuple(parts) = id else {
        return Err(broken());
    };
    let [
        Value::Text(kind),
        Value::Global(class),
        Value::Text(key),
        Value::Text(_device),
        Value::Integer(elements),
    ] = &parts[..]
    else {
        return Err(broken());
    };
    let dtype = match class.as_str() {
        "torch FloatStorage" => Dtype::F32,
        "torch HalfStorage" => Dtype::F16,
        "torch BFloat16Storage" => Dtype::Bf16,
        other => {
            let known = "torch.float32, torch.float16 or torch.bfloat16";
            return Err(format!("its numbers are those of a {other:?}, not {known}"));
        }
    };
    if kind != "storage" {
        return Err(broken());
    }
    Ok(Value::Storage {
        key: key.clone(),
        dtype,
        elements: usize::try_from(*elements).map_err(|_| broken())?,
    })
}

/// What one of the functions makes that build a tensor.
fn call(function: &Value, arguments: Value) -> Result<Value, String> {
    let (Value::Global(name), Value::Tuple(arguments)) = (function, arguments) else {
        return Err(broken());
    };
    match (name.as_str(), &arguments[..]) {
        ("collections OrderedDict", []) => Ok(Value::Nothing),
        (
            "torch._utils _rebuild_tensor_v2",
            [
                Value::Storage {
                    key,
                    dtype,
                    elements,
                },
                Value::Integer(offset),
                Value::Tuple(sizes),
                Value::Tuple(strides),
                Value::Boolean,
                Value::Nothing,
            ],
        ) if sizes.len() == strides.len() => Ok(Value::Tensor(Layout {
            key: key.clone(),
            dtype: *dtype,
            elements: *elements,
            offset: usize::try_from(*offset).map_err(|_| broken())?,
            sizes: counts(sizes)?,
            strides: counts(strides)?,
        })),
        (
            "torch._utils _rebuild_parameter",
            [Value::Tensor(layout), Value::Boolean, Value::Nothing],
        ) => Ok(Value::Tensor(layout.clone())),
        _ => Err(format!(
            "its pickle calls {name:?}, and only a dense tensor is taken"
        )),
    }
}

fn counts(items: &[Value]) -> Result<Vec<usize>, String> {
    let count = |item: &Value| match item {
        Value::Integer(count) => usize::try_from(*count).map_err(|_| broken()),
        _ => Err(broken()),
    };
    items.iter().map(count).collect()
}
