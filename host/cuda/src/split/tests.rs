//! Shares are the model, taken together, and nothing of it twice but what devices need whole.

use std::path::Path;

use weir_model::Checkpoint;

use super::*;

fn describe(name: &str) -> ModelDescription {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let checkpoint = Checkpoint::open(&root.join(name)).unwrap();
    checkpoint.describe().unwrap()
}

/// Four heads that share two of keys, of 8 elements; networks of 48.
fn cut(count: usize, rank: usize, part: Part, suffix: &str) -> Cut {
    let model = describe("llama");
    let share = Share {
        model: &model,
        rank,
        count,
    };
    share.cut(Place::Layer(1), part, suffix)
}

/// One range of so many rows.
fn one(of: usize, own: Range<usize>) -> Cut {
    Cut::Rows(of, vec![own])
}

#[test]
fn heads_and_widths_are_shared() {
    assert_eq!(cut(2, 1, names::QUERY, "weight"), one(32, 16..32));
    assert_eq!(cut(2, 0, names::KEY, "bias"), one(16, 0..8));
    assert_eq!(cut(2, 1, names::DENSE.up, "weight"), one(48, 24..48));
    assert_eq!(
        cut(2, 1, names::FUSED_QKV, "weight"),
        Cut::Rows(64, vec![16..32, 40..48, 56..64])
    );
    assert_eq!(
        cut(2, 1, names::FUSED_GATE_UP, "bias"),
        Cut::Rows(96, vec![24..48, 72..96])
    );
    let output = names::ATTENTION_OUTPUT;
    assert_eq!(cut(2, 1, output, "weight"), Cut::Columns(32, 16..32));
    assert_eq!(cut(2, 0, output, "bias"), Cut::Whole);
    assert_eq!(cut(2, 1, output, "bias"), Cut::Zeros);
    assert_eq!(
        cut(4, 3, names::DENSE.down, "weight"),
        Cut::Columns(48, 36..48)
    );
    assert_eq!(cut(2, 1, names::ATTENTION_NORM, "weight"), Cut::Whole);
    assert_eq!(cut(1, 0, names::QUERY, "weight"), Cut::Whole);
}

#[test]
fn heads_of_keys_are_repeated_for_more_devices_than_there_are() {
    let found = [0, 1, 2, 3].map(|rank| cut(4, rank, names::VALUE, "weight"));
    let right = [0..8, 0..8, 8..16, 8..16].map(|rows| Cut::Rows(16, vec![rows]));
    assert_eq!(found, right);
    assert_eq!(
        cut(4, 2, names::FUSED_QKV, "weight"),
        Cut::Rows(64, vec![16..24, 40..48, 56..64])
    );
    let model = describe("llama");
    let share = Share {
        model: &model,
        rank: 0,
        count: 4,
    };
    let Attention::Grouped(attention) = &share.description().unwrap().layers[0].attention else {
        panic!("heads of another kind");
    };
    assert_eq!((attention.heads, attention.kv_heads), (1, 1));
}

#[test]
fn what_cannot_be_shared_evenly_is_named() {
    let refused = |count, change: fn(&mut GroupedAttention)| {
        let mut model = describe("llama");
        for layer in &mut model.layers {
            if let Attention::Grouped(attention) = &mut layer.attention {
                change(attention);
            }
        }
        let share = Share {
            model: &model,
            rank: 0,
            count,
        };
        share.description().unwrap_err()
    };
    assert_eq!(
        refused(7, |_| {}),
        "tp is 7, but the model's 4 heads cannot be shared evenly by 7 devices"
    );
    assert_eq!(
        refused(32, |attention| attention.heads = 32),
        "tp is 32, but the model's 48 columns of a network cannot be shared evenly by 32 devices"
    );
    let three = |attention: &mut GroupedAttention| (attention.heads, attention.kv_heads) = (12, 3);
    assert_eq!(
        refused(2, three),
        "tp is 2, but the model's 3 heads of keys cannot be shared evenly by 2 devices"
    );
}
