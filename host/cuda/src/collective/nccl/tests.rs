//! The calls, held to a library that has NCCL's functions and adds up on the host.

use std::{path::Path, process::Command, thread};

use super::*;

/// What stands in for a stream.
const STREAM: usize = 0x57;

#[test]
fn a_missing_library_is_one_line() {
    let error = Nccl::open("libnccl-that-nobody-has.so.2").unwrap_err();
    assert!(
        error.starts_with("NCCL, through which GPUs share a model, cannot be used: "),
        "{error}"
    );
    assert!(error.contains("libnccl-that-nobody-has.so.2"), "{error}");
    assert!(error.contains("No such file"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_library_without_its_functions_is_not_nccl() {
    let error = Nccl::open("libc.so.6").unwrap_err();
    assert!(error.contains("ncclCommInitAll"), "{error}");
}

#[test]
fn sums_go_through_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libnccl.so.2");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/collective/nccl/fake_nccl.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-pthread", "-Wall", "-Werror", "-o"]);
    let status = compiler.args([&file, &source]).status().unwrap();
    assert!(status.success());
    let file = file.to_str().unwrap();
    let error = Group::join(Nccl::open(file).unwrap(), &[0]).unwrap_err();
    assert_eq!(error, "NCCL: GPUs cannot be joined: invalid argument");

    let nccl = Nccl::open(file).unwrap();
    // SAFETY: the function is as its source says.
    let aborts: unsafe extern "C" fn() -> c_int =
        unsafe { *nccl._library.get(b"aborts\0").unwrap() };
    let group = Group::join(nccl, &[0, 1, 2]).unwrap();
    let sum = |rank: usize, numbers: &mut [f32], dtype| {
        let pointer = numbers.as_mut_ptr().cast();
        // SAFETY: the numbers are there until it returns, and this library's streams are no pointers.
        unsafe { group.sum(rank, pointer, numbers.len(), dtype, STREAM as Opaque) }
    };
    thread::scope(|scope| {
        for rank in 0..3 {
            scope.spawn(move || {
                for round in 0..50 {
                    let mut numbers = [1.0, rank as f32, (rank * round) as f32];
                    sum(rank, &mut numbers, DType::F32).unwrap();
                    assert_eq!(numbers, [3.0, 3.0, (3 * round) as f32]);
                }
            });
        }
    });
    let error = sum(0, &mut [1.0], DType::BF16).unwrap_err();
    assert_eq!(error, "NCCL: a sum over all GPUs: invalid usage");
    assert_eq!(
        sum(0, &mut [1.0], DType::U32).unwrap_err(),
        "GPUs do not add up U32"
    );
    group.leave("device 1: it fell off the bus");
    let error = sum(2, &mut [1.0], DType::F32).unwrap_err();
    assert_eq!(error, "device 1: it fell off the bus");
    // SAFETY: as above; the group keeps the library open.
    let aborted = unsafe { aborts() };
    assert_eq!((aborted, group.ended()), (3, Some(error)));
}
