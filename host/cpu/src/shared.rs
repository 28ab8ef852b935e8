//! Memory that the workers of a step write side by side, each its own part.
//!
//! What keeps it sound is the order of a step: between two barriers no element is written by one worker and touched by
//! another. That order is the callers' to keep, so access is unsafe; bounds are checked here.
#![allow(
    unsafe_code,
    reason = "several threads write disjoint parts of one buffer"
)]

use std::{
    alloc::{Layout, alloc_zeroed},
    cell::UnsafeCell,
    ops::Range,
};

/// A buffer of numbers, shared by the workers of a team.
#[derive(Debug, Default)]
pub(crate) struct Shared<T> {
    cells: Box<[UnsafeCell<T>]>,
}

// SAFETY: elements are plain numbers; who may touch which and when is the contract of the unsafe methods.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl Shared<u16> {
    /// [`Shared::zeros`] of as many elements as may be more than there is memory for; None if so.
    pub(crate) fn try_zeros(len: usize) -> Option<Self> {
        let layout = Layout::array::<u16>(len).ok()?;
        if len == 0 {
            return Some(Self::default());
        }
        // SAFETY: the layout is not empty.
        let first = unsafe { alloc_zeroed(layout) }.cast::<UnsafeCell<u16>>();
        if first.is_null() {
            return None;
        }
        let cells = std::ptr::slice_from_raw_parts_mut(first, len);
        // SAFETY: the global allocator gave this memory for this layout, and zeros are numbers.
        let cells = unsafe { Box::from_raw(cells) };
        Some(Self { cells })
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
        Self { cells }
    }

    /// The elements, when all workers are done.
    pub(crate) fn into_vec(self) -> Vec<T> {
        let cells = Box::into_raw(self.cells);
        // SAFETY: as in `from_vec`, the other way round.
        unsafe { Box::from_raw(cells as *mut [T]) }.into_vec()
    }

    /// Grows to at least `len` elements; what was in them is lost.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.cells.len() < len {
            *self = Self::from_vec(vec![T::default(); len]);
        }
    }

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
