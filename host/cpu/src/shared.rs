//! Memory that the workers of a step write side by side, each its own part.
//!
//! What keeps it sound is the order of a step: within a phase no element is written by one worker and touched by
//! another. That order is the callers' to keep, so access is unsafe; bounds are checked here.
#![allow(
    unsafe_code,
    reason = "several threads write disjoint parts of one buffer"
)]

use std::{
    alloc::{Layout, alloc_zeroed},
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, Range},
};

/// A buffer of numbers, shared by the workers of a team.
#[derive(Debug, Default)]
pub(crate) struct Shared<T, S = Box<[UnsafeCell<T>]>> {
    cells: S,
    elements: PhantomData<T>,
}

/// Somebody else's buffer, for as long as it is lent.
pub(crate) type Borrowed<'a, T> = Shared<T, &'a [UnsafeCell<T>]>;

// SAFETY: elements are plain numbers; who may touch which and when is the contract of the unsafe methods.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Borrowed<'_, T> {}

/// Numbers whose zero is all bytes zero.
pub(crate) trait ZeroBytes {}

impl ZeroBytes for i16 {}
impl ZeroBytes for f32 {}

impl<T: ZeroBytes> Shared<T> {
    /// [`Shared::zeros`] of as many elements as may be more than there is memory for; None if so.
    pub(crate) fn try_zeros(len: usize) -> Option<Self> {
        let layout = Layout::array::<T>(len).ok()?;
        if len == 0 {
            return Some(Self {
                cells: Box::default(),
                elements: PhantomData,
            });
        }
        // SAFETY: the layout is not empty.
        let first = unsafe { alloc_zeroed(layout) }.cast::<UnsafeCell<T>>();
        if first.is_null() {
            return None;
        }
        let cells = std::ptr::slice_from_raw_parts_mut(first, len);
        // SAFETY: the global allocator gave this memory for this layout, and zeros are numbers.
        let cells = unsafe { Box::from_raw(cells) };
        Some(Self {
            cells,
            elements: PhantomData,
        })
    }
}

impl<T: Copy + Default> Shared<T> {
    /// `len` zeros; the system hands out their memory as it is first written.
    pub(crate) fn zeros(len: usize) -> Self {
        Self::from_vec(vec![T::default(); len])
    }

    /// Takes over the elements.
    pub(crate) fn from_vec(elements: Vec<T>) -> Self {
        let elements = Box::into_raw(elements.into_boxed_slice());
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, so this is the same allocation under another type.
        let cells = unsafe { Box::from_raw(elements as *mut [UnsafeCell<T>]) };
        Self {
            cells,
            elements: PhantomData,
        }
    }

    /// Grows to at least `len` elements; what was in them is lost.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.cells.len() < len {
            *self = Self::zeros(len);
        }
    }
}

impl<'a, T> Borrowed<'a, T> {
    /// Lends the elements to the workers.
    pub(crate) fn borrowed(elements: &'a mut [T]) -> Self {
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and nobody else has the slice while it is borrowed.
        let cells = unsafe { &*(std::ptr::from_mut(elements) as *const [UnsafeCell<T>]) };
        Self {
            cells,
            elements: PhantomData,
        }
    }
}

impl<T, S: Deref<Target = [UnsafeCell<T>]>> Shared<T, S> {
    /// The elements of a range, to read.
    ///
    /// # Safety
    /// While the slice lives, no worker writes into the range.
    ///
    /// # Panics
    /// If the range is not within the buffer.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &[T] {
        let cells = &self.cells[range];
        // SAFETY: the caller's word; `UnsafeCell<T>` has the layout of `T`.
        unsafe { &*(std::ptr::from_ref(cells) as *const [T]) }
    }

    /// The elements of a range, to write.
    ///
    /// # Safety
    /// While the slice lives, nothing else touches the range.
    ///
    /// # Panics
    /// If the range is not within the buffer.
    #[allow(
        clippy::mut_from_ref,
        reason = "the elements are cells, and the caller answers for them"
    )]
    pub(crate) unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [T] {
        let (first, len) = (self.pointer(range.clone()), range.len());
        // SAFETY: the pointer is to `len` elements, which are cells; the caller gives his word for the rest.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    /// Where the elements of a range begin, for kernels that write parts of it that are no slice.
    ///
    /// # Panics
    /// If the range is not within the buffer.
    pub(crate) fn pointer(&self, range: Range<usize>) -> *mut T {
        UnsafeCell::raw_get(self.cells[range].as_ptr())
    }
}
