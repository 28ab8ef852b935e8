//! Libraries that stand in for the driver, cuBLAS, cuRAND and NVRTC: something to link with where they are not installed, and
//! something to start with where there is no GPU.
//!
//! Each has the library's soname and every function that cudarc declares of it; all of them answer with the error for "no
//! device" or "not initialized", so the program finds that there is no GPU and says so. They must never be found before real
//! libraries: the launcher (`weir.sh`) adds one only where its namesake is missing.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{CargoOpt, MetadataCommand};

/// A library, how its functions' names begin, cudarc's module of it, and what its functions answer.
struct Library {
    name: &'static str,
    prefix: &'static str,
    module: &'static str,
    /// CUDA_ERROR_NO_DEVICE, CUBLAS_STATUS_NOT_INITIALIZED, CURAND_STATUS_INITIALIZATION_FAILED, NVRTC_ERROR_OUT_OF_MEMORY.
    answer: u32,
    /// The version in its soname, where it is not CUDA's own.
    version: Option<u32>,
}

const LIBRARIES: [Library; 5] = [
    Library {
        name: "cuda",
        prefix: "cu",
        module: "driver",
        answer: 100,
        version: Some(1),
    },
    Library {
        name: "cublas",
        prefix: "cublas",
        module: "cublas",
        answer: 1,
        version: None,
    },
    Library {
        name: "cublasLt",
        prefix: "cublasLt",
        module: "cublaslt",
        answer: 1,
        version: None,
    },
    Library {
        name: "curand",
        prefix: "curand",
        module: "curand",
        answer: 203,
        version: Some(10),
    },
    Library {
        name: "nvrtc",
        prefix: "nvrtc",
        module: "nvrtc",
        answer: 1,
        version: None,
    },
];
/// The driver's words for an error, by name and in full: two functions that must answer, or nobody learns what is wrong.
const DRIVER_WORDS: [&str; 2] = ["cuGetErrorName", "cuGetErrorString"];

/// The stand-ins in a folder of their own: `NAME.so` to link with, and each under its soname in a folder called so.
pub struct Stubs {
    pub folder: PathBuf,
    pub sonames: Vec<String>,
}

/// Builds them for a major version of CUDA, in target/cuda/stubs.
pub fn build(root: &Path, major: u32) -> Result<Stubs> {
    let sources = cudarc(root)?;
    let folder = root.join("target/cuda/stubs");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut sonames = Vec::new();
    for library in &LIBRARIES {
        let file = sources.join(library.module).join("sys/mod.rs");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let functions = functions(&text, library.prefix);
        ensure!(
            !functions.is_empty(),
            "{} declares no function",
            file.display()
        );
        let soname = format!(
            "lib{}.so.{}",
            library.name,
            library.version.unwrap_or(major)
        );
        let own = folder.join(&soname);
        fs::create_dir_all(&own)?;
        let code = folder.join(format!("{}.c", library.name));
        fs::write(&code, source(&functions, library.answer))?;
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-s", "-o"])
            .arg(own.join(&soname))
            .arg(format!("-Wl,-soname,{soname}"))
            .arg(&code);
        ensure!(
            compiler.status().context("cc")?.success(),
            "{compiler:?} failed"
        );
        symlink(
            own.join(&soname),
            folder.join(format!("lib{}.so", library.name)),
        )?;
        sonames.push(soname);
    }
    Ok(Stubs { folder, sonames })
}

/// Where cargo keeps the sources of cudarc; fetched if need be.
fn cudarc(root: &Path) -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned()])
        .exec()?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "cudarc");
    let manifest = &package
        .context("no crate of the workspace needs cudarc")?
        .manifest_path;
    let folder = manifest.parent().context("cudarc's folder")?;
    Ok(folder.join("src").into_std_path_buf())
}

/// Names behind `fn` that begin with the prefix and go on with a capital letter.
fn functions<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split("fn ").skip(1).map(|rest| {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        &rest[..end]
    });
    let ours = |name: &&str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    names.filter(ours).collect()
}

fn source(functions: &BTreeSet<&str>, answer: u32) -> String {
    let line = |name: &&str| match DRIVER_WORDS.contains(name) {
        true => format!(
            "int {name}(int error, const char **text) {{ *text = \"no CUDA driver on this machine\"; return 0; }}\n"
        ),
        false => format!("int {name}(void) {{ return {answer}; }}\n"),
    };
    functions.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_their_names() {
        let text = "pub fn cuInit(Flags: u32) -> X;\n    pub fn cublasCreate_v2(h: *mut H) -> S;\nfn cudaMalloc();\n\
                    unsafe fn cuMemAlloc_v2<F: Fn(u8)>(x: u8) {}\nfn cuInit(again: u32) {}\nfn current() {}";
        let names = |prefix| functions(text, prefix).into_iter().collect::<Vec<_>>();
        assert_eq!(names("cu"), ["cuInit", "cuMemAlloc_v2"]);
        assert_eq!(names("cublas"), ["cublasCreate_v2"]);
        assert_eq!(names("cublasLt"), [""; 0]);
    }

    #[test]
    fn every_function_answers_and_the_driver_has_words() {
        let code = source(&BTreeSet::from(["cuInit", "cuGetErrorString"]), 100);
        assert!(code.contains("int cuInit(void) { return 100; }"), "{code}");
        assert!(
            code.contains("int cuGetErrorString(int error, const char **text)"),
            "{code}"
        );
    }
}
