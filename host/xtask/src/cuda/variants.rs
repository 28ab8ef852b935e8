//! Which of the libraries' kernel files are compiled, by their names, and what stands in for the others.
//!
//! candle-flash-attn has a file for each head size, element type, causal or not, paged or not: 52 of them take hours, the
//! paged half dozen that weir calls a quarter of one. Those of candle-kernels for quantized weights, convolutions and sorting
//! nobody calls: weights are widened as they are read. What is left out must still link, so a function that says so and ends
//! the process takes its place; the runner refuses models that would call one, as it knows what was built
//! (`WEIR_CUDA_HEAD_SIZES`, `WEIR_CUDA_F16`).

use std::str::FromStr;

use anyhow::{Context, Result, ensure};

/// The head sizes that candle-flash-attn has paged kernels for.
const PAGED_HEAD_SIZES: [u32; 4] = [64, 128, 256, 512];
/// Template switches of flash attention that no runner of ours takes: ALiBi, dropout, and heads whose size is not the
/// kernel's own. Windows and soft caps stay: without their switch a kernel would ignore them and say nothing. A file to put in
/// front follows ([`super::nvcc::SWITCHES`]).
pub const FLAGS: [&str; 5] = [
    "-DFLASHATTENTION_DISABLE_ALIBI",
    "-DFLASHATTENTION_DISABLE_DROPOUT",
    "-DFLASHATTENTION_DISABLE_UNEVEN_K",
    "-Ikernels",
    "-include",
];
/// The files of candle-kernels that become PTX and that no runner of ours calls.
const UNUSED_PTX: [&str; 3] = ["conv.cu", "quantized.cu", "sort.cu"];
/// PTX without a kernel: who looks for one is told that there is none.
pub const NO_PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";
const HEADERS: &str = "#include <cstdio>\n#include <cstdlib>\n";

/// What is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants {
    pub head_sizes: Vec<u32>,
    /// f16 beside bf16.
    pub f16: bool,
}

/// What a kernel file is to this choice.
#[derive(Debug, PartialEq, Eq)]
pub enum Role {
    /// A kernel of flash attention that is compiled, with [`FLAGS`].
    Flash,
    /// C++ that stands in for a file that is left out.
    LeftOut(String),
    /// Left out, and with it all that its crate declares in `src/ffi.rs` ([`stand_ins`]).
    Declared,
    /// PTX that is left out ([`NO_PTX`]).
    Unused,
    /// Compiled as it is.
    Plain,
}

impl Variants {
    /// Refuses what the library does not have.
    pub fn check(&self) -> Result<()> {
        for size in &self.head_sizes {
            ensure!(
                PAGED_HEAD_SIZES.contains(size),
                "--head-sizes: no kernel for heads of {size}; there are {PAGED_HEAD_SIZES:?}"
            );
        }
        Ok(())
    }

    /// The head sizes as a list in one word.
    pub fn head_sizes(&self, between: &str) -> String {
        let sizes: Vec<String> = self.head_sizes.iter().map(u32::to_string).collect();
        sizes.join(between)
    }

    /// The role of a file, by its name without folders.
    pub fn role(&self, file: &str) -> Role {
        if let Some(kernel) = FlashKernel::parse(file) {
            let wanted = kernel.paged && self.head_sizes.contains(&kernel.head_size);
            return match wanted && (self.f16 || !kernel.f16) {
                true => Role::Flash,
                false => Role::LeftOut(kernel.stand_in(file)),
            };
        }
        if UNUSED_PTX.contains(&file) {
            Role::Unused
        } else if file == "mmvq_gguf.cu" {
            // All of the crate that is no PTX; one file stands in for the others too.
            Role::Declared
        } else if file.starts_with("mmq_") || file.starts_with("moe_") {
            Role::LeftOut(String::new())
        } else {
            Role::Plain
        }
    }
}

/// As one word, to hand it to the process that stands in for nvcc.
impl std::fmt::Display for Variants {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{};{}", self.head_sizes(","), self.f16)
    }
}

impl FromStr for Variants {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once(';');
        let (sizes, f16) = parts.with_context(|| format!("`{text}` names no variants"))?;
        let sizes = sizes.split(',').filter(|size| !size.is_empty());
        Ok(Self {
            head_sizes: sizes.map(str::parse).collect::<Result<_, _>>()?,
            f16: f16.parse()?,
        })
    }
}

/// What the name of a flash attention kernel's file says, as in `flash_fwd_splitkv_hdim64_bf16_causal_sm80.cu`.
struct FlashKernel {
    paged: bool,
    head_size: u32,
    f16: bool,
    causal: bool,
}

impl FlashKernel {
    fn parse(file: &str) -> Option<Self> {
        let rest = file.strip_prefix("flash_fwd_")?.strip_suffix("_sm80.cu")?;
        let (paged, rest) = match rest.strip_prefix("splitkv_") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (size, rest) = rest.strip_prefix("hdim")?.split_once('_')?;
        let (element, causal) = match rest.strip_suffix("_causal") {
            Some(element) => (element, true),
            None => (rest, false),
        };
        let f16 = match element {
            "fp16" => true,
            "bf16" => false,
            _ => return None,
        };
        Some(Self {
            paged,
            head_size: size.parse().ok()?,
            f16,
            causal,
        })
    }

    /// The one function that its file defines, which the library's dispatcher names.
    fn stand_in(&self, file: &str) -> String {
        let function = match self.paged {
            true => "run_mha_fwd_splitkv_paged_",
            false => "run_mha_fwd_",
        };
        let element = if self.f16 { "half_t" } else { "bfloat16_t" };
        let Self {
            head_size, causal, ..
        } = self;
        format!(
            "{HEADERS}struct CUstream_st;\nstruct Flash_fwd_params;\nnamespace cutlass {{ struct {element}; }}\n\
             template <typename Element, int HeadSize, bool Causal> void {function}(Flash_fwd_params &, CUstream_st *);\n\
             template <> void {function}<cutlass::{element}, {head_size}, {causal}>(Flash_fwd_params &, CUstream_st *) {{\n\
             {}}}\n",
            give_up(file)
        )
    }
}

/// C++ of all functions that Rust declares to be found elsewhere.
pub fn stand_ins(ffi: &str) -> String {
    let names = ffi.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("pub fn ")?;
        rest.split('(').next()
    });
    let functions =
        names.map(|name| format!("extern \"C\" void {name}() {{\n{}}}\n", give_up(name)));
    HEADERS.to_owned() + &functions.collect::<String>()
}

fn give_up(what: &str) -> String {
    let message = format!("weir: {what} was left out of this build, see cargo xtask cuda --help");
    format!("    std::fputs(\"{message}\\n\", stderr);\n    std::abort();\n")
}

#[cfg(test)]
mod tests;
