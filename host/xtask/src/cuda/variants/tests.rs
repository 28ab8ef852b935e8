//! File names of candle-flash-attn and candle-kernels 0.11.1, and what becomes of them.

use super::*;

fn variants(head_sizes: &[u32], f16: bool) -> Variants {
    Variants {
        head_sizes: head_sizes.to_vec(),
        f16,
    }
}

/// The text that stands in for a file.
fn stand_in(file: &str) -> String {
    match variants(&[], false).role(file) {
        Role::LeftOut(text) => text,
        kept => panic!("{kept:?}"),
    }
}

#[test]
fn kernels_are_kept_by_head_size_and_type() {
    let some = variants(&[64, 256], false);
    let with_f16 = variants(&[64, 256], true);
    for (file, kept, kept_with_f16) in [
        ("flash_fwd_hdim64_bf16_sm80.cu", false, false),
        ("flash_fwd_hdim64_bf16_causal_sm80.cu", false, false),
        ("flash_fwd_splitkv_hdim64_bf16_sm80.cu", true, true),
        ("flash_fwd_splitkv_hdim256_bf16_causal_sm80.cu", true, true),
        ("flash_fwd_splitkv_hdim64_fp16_sm80.cu", false, true),
        ("flash_fwd_hdim128_bf16_sm80.cu", false, false),
        ("flash_fwd_hdim32_fp16_causal_sm80.cu", false, false),
        ("mmq_instance_q4_k.cu", false, false),
        ("mmq_quantize.cu", false, false),
        ("moe_wmma.cu", false, false),
        ("flash_api.cu", true, true),
        ("affine.cu", true, true),
    ] {
        let left_out = |variants: &Variants| matches!(variants.role(file), Role::LeftOut(_));
        assert_eq!(!left_out(&some), kept, "{file}");
        assert_eq!(!left_out(&with_f16), kept_with_f16, "{file}");
    }
    let role = some.role("flash_fwd_splitkv_hdim64_bf16_sm80.cu");
    assert_eq!(role, Role::Flash);
    for (file, role) in [
        ("flash_api.cu", Role::Plain),
        ("reduce.cu", Role::Plain),
        ("quantized.cu", Role::Unused),
        ("mmvq_gguf.cu", Role::Declared),
    ] {
        assert_eq!(some.role(file), role, "{file}");
    }
}

#[test]
fn what_rust_declares_is_defined() {
    let text = stand_ins(
        "extern \"C\" {\n    pub fn launch_a(\n        x: *const u8,\n    );\n\n    pub fn launch_b();\n}\n",
    );
    for definition in [
        "extern \"C\" void launch_a() {",
        "extern \"C\" void launch_b() {",
        "weir: launch_b was left out",
    ] {
        assert!(text.contains(definition), "{text}");
    }
    assert_eq!(text.matches("extern").count(), 2);
}

#[test]
fn what_stands_in_defines_the_function_that_is_left_out() {
    for (file, definition) in [
        (
            "flash_fwd_splitkv_hdim96_fp16_causal_sm80.cu",
            "template <> void run_mha_fwd_splitkv_paged_<cutlass::half_t, 96, true>(Flash_fwd_params &, CUstream_st *)",
        ),
        (
            "flash_fwd_hdim96_bf16_sm80.cu",
            "template <> void run_mha_fwd_<cutlass::bfloat16_t, 96, false>(",
        ),
    ] {
        let text = stand_in(file);
        assert!(text.contains(definition), "{text}");
        assert!(
            text.contains(&format!("\"weir: {file} was left out")),
            "{text}"
        );
        assert!(text.contains("--help\\n\", stderr);\n"), "{text}");
    }
}

#[test]
fn a_choice_goes_through_the_environment() {
    for choice in [
        variants(&[64, 128, 256], false),
        variants(&[64], true),
        variants(&[], false),
    ] {
        assert_eq!(choice.to_string().parse::<Variants>().unwrap(), choice);
    }
    assert!("64".parse::<Variants>().is_err());
}

#[test]
fn what_the_library_lacks_is_refused() {
    assert!(variants(&[64, 512], true).check().is_ok());
    let error = variants(&[80], true).check().unwrap_err().to_string();
    assert!(error.contains("heads of 80"), "{error}");
}
