//! This program under the name `nvcc`, as the build scripts of candle call it.
//!
//! With a real compiler behind it, it compiles what [`Variants`] keep, for every capability asked for, and puts something in
//! the place of the rest. Without one it compiles nothing: it writes the empty files that build scripts ask for, which is
//! enough to type-check the Rust code around them. What it is to do stands in the environment, because build scripts hand no
//! arguments of ours through; it is called through a link whose name is `nvcc`.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use super::{
    objects::Kept,
    variants::{FLAGS, NO_PTX, Role, Variants, stand_ins},
};

/// The real compiler; nothing is compiled without it.
pub const REAL: &str = "XTASK_NVCC_REAL";
/// The kernels that are wanted, as [`Variants`] write themselves.
pub const VARIANTS: &str = "XTASK_NVCC_VARIANTS";
/// Capabilities beside the build script's own, separated by commas.
pub const ALSO: &str = "XTASK_NVCC_ALSO";
/// What stands in front of flash attention's kernels, in the folder of which `kernels` is one.
pub const SWITCHES: &str = "XTASK_NVCC_SWITCHES";
/// A file that is told of everything that is compiled.
pub const PROGRESS: &str = "XTASK_NVCC_PROGRESS";

/// cudarc takes the version from the fourth line, cudaforge from the one that says `release`.
const NO_COMPILER: &str = "nvcc: cargo xtask, which compiles nothing\n\n\nCuda compilation tools, release 13.0, V13.0.88\n";

/// Whether this process was called as `nvcc`.
pub fn is_called() -> bool {
    let name = env::args_os().next();
    name.is_some_and(|name| {
        Path::new(&name)
            .file_name()
            .is_some_and(|name| name == "nvcc")
    })
}

/// A folder with a link of that name, made new: `FOLDER/bin/nvcc`.
pub fn link(folder: &Path) -> Result<PathBuf> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    let link = bin.join("nvcc");
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink(env::current_exe()?, &link)?;
    Ok(link)
}

/// What nvcc would do.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match act(&arguments) {
        // A compiler that a signal ended has no code.
        Ok(status) => ExitCode::from(status.map_or(0, |status| status.code().unwrap_or(1) as u8)),
        Err(error) => {
            eprintln!("nvcc (cargo xtask): {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &[OsString]) -> Result<Option<ExitStatus>> {
    let Some(real) = env::var_os(REAL) else {
        pretend(arguments)?;
        return Ok(None);
    };
    let call = Call::read(arguments);
    let Some(source) = call.source_name() else {
        return Ok(Some(Command::new(&real).args(arguments).status()?));
    };
    let written = call.written()?.context("nothing is written")?;
    let variants: Variants = env::var(VARIANTS).context(VARIANTS)?.parse()?;
    let mut arguments = arguments.to_vec();
    match variants.role(&source) {
        Role::LeftOut(text) => return stand_in(&written, &text).map(Some),
        Role::Declared => {
            // Build scripts run in their crate's folder.
            let ffi = fs::read_to_string("src/ffi.rs").context("src/ffi.rs")?;
            return stand_in(&written, &stand_ins(&ffi)).map(Some);
        }
        Role::Unused => {
            fs::write(&written, NO_PTX).with_context(|| written.display().to_string())?;
            return Ok(None);
        }
        Role::Flash => {
            arguments.extend(FLAGS.map(OsString::from));
            arguments.extend(env::var_os(SWITCHES));
        }
        Role::Plain => {}
    }
    // PTX is for one capability and runs on later ones too.
    if !call.ptx {
        let also = env::var(ALSO).unwrap_or_default();
        let also = also.split(',').filter(|c| !c.is_empty());
        arguments.extend(also.map(|capability| generate_for(capability).into()));
    }
    let kept = Kept::of(&source, &arguments);
    if let Some(kept) = &kept
        && kept.bring(&written)?
    {
        tell(&format!("nvcc: {source}, compiled before"));
        return Ok(None);
    }
    let begun = Instant::now();
    let status = Command::new(&real).args(&arguments).status()?;
    let seconds = begun.elapsed().as_secs();
    tell(&format!("nvcc: {source}, {seconds} s"));
    if status.success()
        && let Some(kept) = kept
    {
        kept.keep(&written)?;
    }
    Ok(Some(status))
}

/// nvcc's option for another capability; from 90 on with those instructions that no other one has, as cudaforge asks for.
fn generate_for(capability: &str) -> String {
    let number: u32 = capability.parse().unwrap_or_default();
    let special = match number {
        90..=119 => "a",
        120.. => "f",
        _ => "",
    };
    format!("-gencode=arch=compute_{capability}{special},code=sm_{capability}{special}")
}

/// Compiles C++ into the object that was to be the kernel.
fn stand_in(object: &Path, text: &str) -> Result<ExitStatus> {
    let mut source = object.to_owned().into_os_string();
    source.push(".cpp");
    fs::write(&source, text)?;
    let compiler = env::var_os("NVCC_CCBIN").unwrap_or_else(|| "c++".into());
    let mut command = Command::new(&compiler);
    command
        .args(["-O1", "-fPIC", "-c", "-o"])
        .arg(object)
        .arg(&source);
    command
        .status()
        .with_context(|| compiler.display().to_string())
}

/// Nobody fails for want of a line of progress.
fn tell(line: &str) {
    let file = env::var_os(PROGRESS).map(|path| File::options().append(true).open(path));
    if let Some(Ok(mut file)) = file {
        drop(writeln!(file, "{line}"));
    }
}

/// Answers and writes what build scripts wait for, and compiles nothing.
fn pretend(arguments: &[OsString]) -> Result<()> {
    let asks_for = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if asks_for("--version") {
        print!("{NO_COMPILER}");
        return Ok(());
    }
    if asks_for("--list-gpu-code") {
        println!("sm_90");
        return Ok(());
    }
    let call = Call::read(arguments);
    let Some(output) = call.written()? else {
        return Ok(());
    };
    ensure!(
        fs::metadata(&output).map_or(0, |file| file.len()) == 0,
        "{} is a real object; type checks have a target folder of their own",
        output.display()
    );
    fs::write(&output, "").with_context(|| output.display().to_string())
}

/// What matters of nvcc's command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    source: Option<PathBuf>,
    output: Option<PathBuf>,
    folder: Option<PathBuf>,
    ptx: bool,
}

impl Call {
    fn read(arguments: &[OsString]) -> Self {
        let mut call = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("-o") => call.output = arguments.next().map(PathBuf::from),
                Some("--output-directory") => call.folder = arguments.next().map(PathBuf::from),
                Some("--ptx" | "-ptx") => call.ptx = true,
                _ if Path::new(argument)
                    .extension()
                    .is_some_and(|end| end == "cu") =>
                {
                    call.source = Some(PathBuf::from(argument));
                }
                _ => {}
            }
        }
        call
    }

    /// The file that is written, if any.
    fn written(&self) -> Result<Option<PathBuf>> {
        Ok(match (&self.output, &self.folder, self.ptx) {
            (Some(output), _, _) => Some(output.clone()),
            (None, Some(folder), true) => {
                let source = self.source.as_ref().context("no source")?;
                let name = source.file_stem().context("no source")?;
                Some(folder.join(name).with_extension("ptx"))
            }
            _ => None,
        })
    }

    fn source_name(&self) -> Option<String> {
        let name = self.source.as_ref()?.file_name()?;
        Some(name.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn command_lines_of_build_scripts_are_understood() {
        let compile = "-gencode=arch=compute_90a,code=sm_90a -c -o /out/a-1.o --default-stream per-thread -O3 -Xcompiler \
                       -fPIC --verbose kernels/a.cu";
        let call = Call::read(&words(compile));
        assert_eq!(call.source_name().as_deref(), Some("a.cu"));
        assert_eq!(call.output, Some("/out/a-1.o".into()));
        assert!(!call.ptx);
        let ptx = "--ptx --output-directory /out -std=c++17 src/fill.cu";
        let call = Call::read(&words(ptx));
        assert_eq!((call.folder, call.ptx), (Some("/out".into()), true));
        let library = Call::read(&words("--lib -o /out/lib.a /out/a-1.o /out/b-2.o"));
        assert_eq!(
            (library.source, library.output),
            (None, Some("/out/lib.a".into()))
        );
    }

    #[test]
    fn without_a_compiler_the_files_are_there_and_empty() {
        let folder = env::temp_dir().join(format!("xtask-nvcc-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.display();
        pretend(&words(&format!(
            "--ptx --output-directory {path} src/fill.cu"
        )))
        .unwrap();
        pretend(&words(&format!("-c -o {path}/fill.o src/fill.cu"))).unwrap();
        pretend(&words(&format!("-c -o {path}/fill.o src/fill.cu"))).unwrap();
        for name in ["fill.ptx", "fill.o"] {
            assert_eq!(fs::metadata(folder.join(name)).unwrap().len(), 0);
        }
        fs::write(folder.join("real.o"), "code").unwrap();
        assert!(pretend(&words(&format!("-c -o {path}/real.o src/real.cu"))).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn other_capabilities_are_asked_for_as_the_first_one_is() {
        assert_eq!(generate_for("80"), "-gencode=arch=compute_80,code=sm_80");
        assert_eq!(generate_for("90"), "-gencode=arch=compute_90a,code=sm_90a");
        assert_eq!(
            generate_for("120"),
            "-gencode=arch=compute_120f,code=sm_120f"
        );
    }
}
