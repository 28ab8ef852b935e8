//! Kernels that are wrong in one way each must not pass.

use std::path::Path;

use weir_model::Checkpoint;

use super::*;
use crate::layer::lacking;

/// The plain operations, wrong in one way.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    Angles,
    Values,
    Window,
    Cap,
    Gate,
    Noise,
    Choice,
    NoChoice,
}

impl Kernels for Wrong {
    fn turn(&self, projected: Tensor, heads: &Heads, step: &Step<'_>) -> Result<Tensor> {
        if !matches!(self, Self::Angles) {
            return Reference.turn(projected, heads, step);
        }
        let mut step = Step::new(step.batch, PAGE, &Device::Cpu)?;
        step.positions = step.positions.zeros_like()?;
        Reference.turn(projected, heads, &step)
    }

    fn store(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<()> {
        let zeros = projected.zeros_like()?;
        let stored = match self {
            Self::Values => &zeros,
            _ => projected,
        };
        Reference.store(stored, heads, slabs, layer, step)
    }

    fn attend(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Result<Tensor> {
        let mut heads = heads.on(&Device::Cpu)?;
        match self {
            Self::Window => heads.attention.window = None,
            Self::Cap => heads.attention.softcap = None,
            _ => {}
        }
        let mixed = Reference.attend(projected, &heads, slabs, layer, step)?;
        match self {
            Self::Noise => mixed * f64::NAN,
            _ => Ok(mixed),
        }
    }

    fn gate(&self, both: &Tensor, activation: Activation) -> Result<Tensor> {
        match self {
            Self::Gate => Reference.gate(both, Activation::Silu),
            _ => Reference.gate(both, activation),
        }
    }

    fn block_maxima(&self, logits: &Tensor) -> Result<Tensor> {
        match self {
            Self::Choice => Reference.block_maxima(&logits.abs()?),
            Self::NoChoice => candle_core::bail!("no such kernel"),
            _ => Reference.block_maxima(logits),
        }
    }
}

fn judge(model: &str, wrong: Wrong) -> std::result::Result<Proof, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let checkpoint = Checkpoint::open(&root.join(model)).unwrap();
    let description = checkpoint.describe().unwrap();
    run(&Device::Cpu, Dtype::F32, &description, &move |_| {
        Ok(Box::new(wrong))
    })
}

#[test]
fn what_is_right_passes() {
    for model in ["llama", "gemma2", "gemma3", "qwen2", "qwen3", "phi4-mini"] {
        assert_eq!(judge(model, Wrong::Nothing), Ok(Proof::Whole), "{model}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (wrong, named) in [
        (Wrong::Angles, "the rotation"),
        (Wrong::Values, "the attention"),
        (Wrong::Window, "window Some(24)"),
        (Wrong::Cap, "the attention"),
        (Wrong::Gate, "the gate GeluTanh"),
        (Wrong::Noise, "off by inf"),
    ] {
        let error = judge("gemma2", wrong).unwrap_err();
        assert!(error.starts_with("the GPU must not serve: "), "{error}");
        assert!(error.contains(named), "{wrong:?}: {error}");
    }
}

/// The host finds the largest logits where the device does not.
#[test]
fn a_wrong_choice_alone_costs_whole_rows() {
    let proof = judge("gemma2", Wrong::Choice).unwrap();
    let Proof::WholeRows(reason) = proof else {
        panic!("it passes");
    };
    assert!(reason.starts_with("the largest logits"), "{reason}");
    let proof = judge("gemma2", Wrong::NoChoice).unwrap();
    let Proof::WholeRows(reason) = proof else {
        panic!("it passes");
    };
    assert!(reason.ends_with("no such kernel"), "{reason}");
}

/// Half precision rounds; rounding alone must pass, and with room to spare. What is allowed grows with a type's roundings, so
/// this holds for the wider ones of bf16 too, which the CPU does not multiply.
#[test]
fn half_precision_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let mut computed = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let Ok(description) = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.describe())
        else {
            continue;
        };
        if description
            .layers
            .iter()
            .any(|layer| lacking(layer).is_some())
        {
            continue;
        }
        let kernels: &MakeKernels<'_> = &|_| Ok(Box::new(Reference));
        let outcome = run(&Device::Cpu, Dtype::F16, &description, kernels);
        assert_eq!(outcome, Ok(Proof::Whole), "{}", path.display());
        let off = model_is_off(&Device::Cpu, Dtype::F16, &small(&description), kernels).unwrap();
        assert!(
            off < Dtype::F16.tolerance(4.0),
            "{}: {off:.1e}",
            path.display()
        );
        computed += 1;
    }
    assert!(computed >= 20, "only {computed} models");
}
