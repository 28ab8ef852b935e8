//! Where a model is computed, and in which numbers.

use serde::{Deserialize, Serialize};

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A GPU where one can be used, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// The numbers a GPU computes in, as other servers spell them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Bf16.
    Auto,
    /// f32's range in 16 bits.
    #[serde(alias = "bfloat16")]
    Bf16,
    /// Half precision.
    #[serde(alias = "float16", alias = "half")]
    F16,
}

impl Device {
    /// Whether this build has what the device needs, and such devices share a model.
    pub(super) fn check(self, tp: usize) -> Result<(), String> {
        self.check_shared(tp, cfg!(feature = "cuda"))?;
        if self == Self::Cuda && !cfg!(feature = "cuda") {
            return Err(
                "device is cuda, but this build has no CUDA: `cargo xtask cuda` builds one that has, on any machine; where the \
                 CUDA toolkit is installed, so does `cargo build --release --features flash-attn`; or use --device cpu or auto"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Whether so many of such devices share a model, in a build that has CUDA or has not.
    fn check_shared(self, tp: usize, has_cuda: bool) -> Result<(), String> {
        match (self, has_cuda) {
            _ if tp <= 1 => Ok(()),
            (_, false) => Err(format!(
                "tp is {tp}, but this build has no CUDA and computes on one device: only --tp 1 works"
            )),
            (Self::Cpu, true) => Err(format!(
                "tp is {tp}, but device is cpu: only GPUs share a model, with --device cuda or auto"
            )),
            (Self::Auto | Self::Cuda, true) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_elsewhere() {
        for (text, dtype) in [
            ("auto", Dtype::Auto),
            ("bf16", Dtype::Bf16),
            ("bfloat16", Dtype::Bf16),
            ("half", Dtype::F16),
            ("float16", Dtype::F16),
        ] {
            let found: Dtype = serde_json::from_value(text.into()).expect("a dtype");
            assert_eq!(found, dtype);
        }
        assert!(serde_json::from_value::<Dtype>("float64".into()).is_err());
    }

    #[test]
    fn only_gpus_share_a_model() {
        for (device, has_cuda, why) in [
            (Device::Auto, false, "this build has no CUDA"),
            (Device::Cpu, false, "this build has no CUDA"),
            (Device::Cpu, true, "device is cpu"),
        ] {
            let error = device.check_shared(2, has_cuda).expect_err(why);
            assert!(error.starts_with(&format!("tp is 2, but {why}")), "{error}");
            assert_eq!(device.check_shared(1, has_cuda), Ok(()));
        }
        assert_eq!(Device::Auto.check_shared(2, true), Ok(()));
        assert_eq!(Device::Cuda.check_shared(8, true), Ok(()));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_how_to_make_one_that_has_it() {
        let error = Device::Cuda.check(1).expect_err("no CUDA here");
        for way in [
            "`cargo xtask cuda`",
            "--features flash-attn",
            "--device cpu",
        ] {
            assert!(error.contains(way), "{error}");
        }
        assert_eq!(
            (Device::Auto.check(1), Device::Cpu.check(1)),
            (Ok(()), Ok(()))
        );
    }
}
