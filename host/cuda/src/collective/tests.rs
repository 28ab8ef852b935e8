//! Sums are of all parts, whoever comes first, and nobody waits for who has left.

use std::{thread, time::Duration};

use super::*;

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec1().unwrap()
}

#[test]
fn each_sum_is_of_all_parts_of_its_own_round() {
    const COUNT: usize = 4;
    const ROUNDS: usize = 200;
    let places = threads::connect(COUNT);
    thread::scope(|scope| {
        for (rank, place) in places.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    if (round + rank) % 37 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let own = [round as f32, (round * rank) as f32];
                    let sum = place.sum(Tensor::new(&own, &Device::Cpu).unwrap()).unwrap();
                    assert_eq!(numbers(&sum), [(4 * round) as f32, (6 * round) as f32]);
                }
            });
        }
    });
    assert_eq!(places[0].ended(), None);
}

#[test]
fn who_leaves_is_not_waited_for() {
    let places = threads::connect(3);
    let part = || Tensor::new(&[1f32], &Device::Cpu).unwrap();
    thread::scope(|scope| {
        let waiting = places[..2].iter();
        let waiting: Vec<_> = waiting
            .map(|place| scope.spawn(|| place.sum(part())))
            .collect();
        let failed: std::result::Result<(), _> = take_part(&*places[2], 2, || Err("out of memory"));
        assert_eq!(failed, Err("out of memory"));
        for waiting in waiting {
            let error = waiting.join().unwrap().unwrap_err().to_string();
            assert!(error.contains("device 2: out of memory"), "{error}");
        }
    });
    places[0].leave("something else");
    assert_eq!(
        places[1].ended().as_deref(),
        Some("device 2: out of memory")
    );
    assert!(places[0].sum(part()).is_err());
}

#[test]
fn a_panic_leaves_too() {
    let places = threads::connect(2);
    let panicked = thread::scope(|scope| {
        let place = &places[1];
        let work = || -> std::result::Result<(), String> { panic!("as this test wants it") };
        scope.spawn(move || take_part(&**place, 1, work)).join()
    });
    assert!(panicked.is_err());
    let reason = places[0].ended();
    assert_eq!(reason.as_deref(), Some("device 1: its thread has panicked"));
}

/// Sums in which something is wrong.
#[derive(Debug)]
struct Wrong(fn(&Tensor) -> Result<Tensor>);

impl Collective for Wrong {
    fn sum(&self, part: Tensor) -> Result<Tensor> {
        (self.0)(&part)
    }

    fn leave(&self, _reason: &str) {}

    fn ended(&self) -> Option<String> {
        None
    }
}

#[test]
fn wrong_sums_are_found_out() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let places = threads::connect(4);
        thread::scope(|scope| {
            for (rank, place) in places.iter().enumerate() {
                scope.spawn(move || {
                    let off = is_off(&**place, (rank, 4), dtype, &Device::Cpu);
                    assert!(!off.unwrap(), "{dtype:?}");
                });
            }
        });
    }
    for wrong in [
        |part: &Tensor| Ok(part.clone()),
        |part: &Tensor| part * 2.0,
        |part: &Tensor| part.zeros_like(),
    ] {
        for rank in [0, 1] {
            let off = is_off(&Wrong(wrong), (rank, 2), DType::F32, &Device::Cpu);
            assert!(off.unwrap());
        }
    }
}
