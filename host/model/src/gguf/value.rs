//! A metadata value, kept in the bytes of its file and decoded when asked for.
//!
//! So an array costs no more memory than it has bytes in the file, whatever it counts. Invariant, from `header`: the
//! bytes are whole elements, a string with its length before it.

/// The type of a value or of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    U64,
    I64,
    F64,
}

/// The number that says array, where a type is expected.
pub(super) const ARRAY: u32 = 9;

impl ElementType {
    /// The type of a number in a file.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of an element; None for a string.
    pub(super) fn size(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String => None,
        }
    }
}

/// One element, or an array of them.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) element: ElementType,
    pub(super) is_array: bool,
    pub(super) bytes: Vec<u8>,
}

impl Value {
    /// Decodes a value that is no array.
    pub(super) fn one<'a, T>(&'a self, decode: Decode<'a, T>) -> Option<T> {
        match self.is_array {
            true => None,
            false => decode(self.element, self.elements().next()?),
        }
    }

    /// Decodes an array.
    pub(super) fn all<'a, T>(&'a self, decode: Decode<'a, T>) -> Option<Vec<T>> {
        match self.is_array {
            true => self
                .elements()
                .map(|bytes| decode(self.element, bytes))
                .collect(),
            false => None,
        }
    }

    fn elements(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let len = match self.element.size() {
                Some(size) => size,
                None => {
                    let (len, behind) = rest.split_first_chunk()?;
                    rest = behind;
                    u64::from_le_bytes(*len)
                }
            };
            let (element, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            rest = behind;
            Some(element)
        })
    }
}

/// What an element of a type and some bytes is; None when it is something else.
pub(super) type Decode<'a, T> = fn(ElementType, &'a [u8]) -> Option<T>;

/// The bytes of a string, without the zeros that some writers end it with.
pub(super) fn text(element: ElementType, bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().rposition(|&byte| byte != 0);
    (element == ElementType::String).then(|| &bytes[..end.map_or(0, |last| last + 1)])
}

/// An integer of any width that fits.
pub(super) fn integer<T: TryFrom<i128>>(element: ElementType, bytes: &[u8]) -> Option<T> {
    let wide: i128 = match element {
        ElementType::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::U64 => u64::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::I64 => i64::from_le_bytes(bytes.try_into().ok()?).into(),
        _ => return None,
    };
    wide.try_into().ok()
}

/// A floating-point number of either width.
pub(super) fn float(element: ElementType, bytes: &[u8]) -> Option<f32> {
    match element {
        ElementType::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
        ElementType::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?) as f32),
        _ => None,
    }
}

/// A boolean: a byte of 0 or 1.
pub(super) fn boolean(element: ElementType, bytes: &[u8]) -> Option<bool> {
    match (element, bytes) {
        (ElementType::Bool, [0]) => Some(false),
        (ElementType::Bool, [1]) => Some(true),
        _ => None,
    }
}
