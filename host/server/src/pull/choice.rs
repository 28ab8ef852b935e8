//! Which files of a repository or a folder make a model. Names are all that is looked at, but for the list of shards.
//!
//! Safetensors go before GGUF, as they are the original. Weights that are pickled Python (.bin, .pt) are never taken:
//! reading them runs code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::BufReader,
    path::Path,
};

use serde::Deserialize;

use super::{
    Local, Wanted,
    source::{is_inner_path, is_name},
};

/// Weights in one file, and the list of the files they are in when they are several (transformers' names).
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const SHARD_LIST: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";

/// What goes with the weights, as far as a repository has it; the last four are of sentence-transformers.
const SIDE_FILES: &[&str] = &[
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// Files that a tokenizer can be read from.
const TOKENIZERS: &[&str] = &[
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.txt",
];

/// A list of shards names every tensor once; the largest models have 9 MB of it.
const MAX_SHARD_LIST: u64 = 256 << 20;
/// An error names no more files than this.
const MAX_NAMED: usize = 40;

/// What makes the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// This GGUF.
    Gguf(String),
    /// The safetensors and what goes with them.
    Folder,
}

/// Chooses from the names of all files.
///
/// # Errors
/// Why there is no choice, and how to make one.
pub(super) fn choose(files: &[String], wanted: &Wanted) -> Result<Chosen, String> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let ggufs = || files.iter().filter(|file| is_model_gguf(file));
    let candidates: Vec<&String> = match wanted {
        Wanted::File(file) if has(file) => return single(file),
        Wanted::Tokenizer if TOKENIZERS.iter().any(|file| has(file)) => return Ok(Chosen::Folder),
        Wanted::Any | Wanted::Tokenizer if has(CONFIG) && (has(WEIGHTS) || has(SHARD_LIST)) => {
            return Ok(Chosen::Folder);
        }
        Wanted::File(file) => return Err(format!("there is no {file}{}", listed(ggufs()))),
        Wanted::Quantization(quantization) => {
            ggufs().filter(|file| says(file, quantization)).collect()
        }
        Wanted::Any | Wanted::Tokenizer => ggufs().collect(),
    };
    match (candidates.as_slice(), wanted) {
        ([file], _) => single(file),
        // All parts of one split file.
        ([first, ..], _)
            if set_of(first).is_some()
                && candidates.iter().all(|file| set_of(file) == set_of(first)) =>
        {
            single(first)
        }
        ([], Wanted::Quantization(quantization)) => Err(format!(
            "no GGUF file is called {quantization}{}",
            listed(ggufs())
        )),
        ([], _) if has(WEIGHTS) || has(SHARD_LIST) => Err("there is no config.json".to_owned()),
        ([], _) => Err(format!(
            "there are neither safetensors ({WEIGHTS} or {SHARD_LIST}) nor GGUF files"
        )),
        _ => Err(format!(
            "several GGUF files fit; name one, with /FILE.gguf or :QUANTIZATION behind a repository{}",
            listed(candidates.iter().copied())
        )),
    }
}

fn single(file: &str) -> Result<Chosen, String> {
    match set_of(file) {
        Some(_) => Err(format!(
            "{file} is one part of a split GGUF, which weir does not load; merge the parts with `llama-gguf-split --merge`"
        )),
        None => Ok(Chosen::Gguf(file.to_owned())),
    }
}

fn listed<'a>(files: impl Iterator<Item = &'a String>) -> String {
    let mut names: Vec<&str> = files.map(String::as_str).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    match (names.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", names.join(", ")),
        (false, more) => format!(": {} and {more} more", names.join(", ")),
    }
}

/// The files beside the weights that are wanted and there.
pub(super) fn side_files(files: &[String]) -> impl Iterator<Item = &'static str> {
    let wanted = SIDE_FILES.iter().copied();
    wanted.filter(|name| files.iter().any(|file| file == name))
}

pub(super) fn is_gguf(name: &str) -> bool {
    name.ends_with(".gguf")
}

/// GGUF files that are no language model stand beside one: vision projectors and importance matrices (llama.cpp's names).
fn is_model_gguf(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    is_gguf(name) && !name.contains("mmproj") && !name.contains("imatrix")
}

/// Whether a file is called by a quantization: it stands in the path as a whole, as in `m-Q4_K_M.gguf` and `Q8_0/m.gguf`.
fn says(path: &str, quantization: &str) -> bool {
    let (path, quantization) = (path.to_ascii_lowercase(), quantization.to_ascii_lowercase());
    path.match_indices(&quantization).any(|(at, _)| {
        let before = path[..at].chars().next_back();
        let after = path[at + quantization.len()..].chars().next();
        before.is_none_or(|c| "-._/".contains(c)) && after.is_none_or(|c| "-./".contains(c))
    })
}

/// What a part of a split GGUF is a part of: `m` and the total of `m-00002-of-00005.gguf`.
fn set_of(file: &str) -> Option<(&str, &str)> {
    let (rest, total) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (name, part) = rest.rsplit_once('-')?;
    let number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (number(part) && number(total)).then_some((name, total))
}

/// The files a list of shards names, each safe to join to a folder.
///
/// # Errors
/// What is wrong with the list.
pub(super) fn shards(list: &Path) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct List {
        weight_map: BTreeMap<String, String>,
    }
    let file = fs::File::open(list).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    if length > MAX_SHARD_LIST {
        return Err(format!(
            "{length} bytes are too many for a list of shards (at most {MAX_SHARD_LIST})"
        ));
    }
    let list: List = serde_json::from_reader(BufReader::new(file))
        .map_err(|error| format!("no list of shards: {error}"))?;
    let shards: BTreeSet<String> = list.weight_map.into_values().collect();
    let odd = |shard: &&String| !is_name(shard) || !shard.ends_with(".safetensors");
    match shards.iter().find(odd) {
        Some(shard) => Err(format!(
            "the weight_map names `{shard}`, which is no safetensors file of this folder"
        )),
        None if shards.is_empty() => Err("the weight_map is empty".to_owned()),
        None => Ok(shards),
    }
}

/// The whole model in a folder; GGUF files are looked for `depth` folders deep.
///
/// # Errors
/// Why there is none, or what of it is missing.
pub(super) fn in_folder(folder: &Path, wanted: &Wanted, depth: usize) -> Result<Local, String> {
    let mut files = Vec::new();
    list_files(folder, "", depth, &mut files);
    match choose(&files, wanted)? {
        Chosen::Gguf(file) => Ok(Local::Gguf(folder.join(file))),
        Chosen::Folder => {
            if *wanted != Wanted::Tokenizer && !folder.join(WEIGHTS).is_file() {
                let shards = shards(&folder.join(SHARD_LIST))
                    .map_err(|reason| format!("{SHARD_LIST}: {reason}"))?;
                if let Some(missing) = shards.iter().find(|shard| !folder.join(shard).is_file()) {
                    return Err(format!("there is no {missing}, which {SHARD_LIST} names"));
                }
            }
            Ok(Local::Folder(folder.to_owned()))
        }
    }
}

/// Every file below a folder by its path from there, links followed, broken ones left out.
pub(super) fn list_files(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{prefix}{name}");
        match fs::metadata(entry.path()) {
            Ok(found) if found.is_file() && is_inner_path(&path) => files.push(path),
            Ok(found) if found.is_dir() && depth > 1 => {
                list_files(&entry.path(), &format!("{path}/"), depth - 1, files);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str], wanted: &Wanted) -> Result<Chosen, String> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        choose(&files, wanted)
    }

    #[test]
    fn one_model_is_chosen() {
        let gguf = |name: &str| Ok(Chosen::Gguf(name.to_owned()));
        let quantization = |name: &str| Wanted::Quantization(name.to_owned());
        let safetensors = ["config.json", "model.safetensors", "m-Q8_0.gguf"];
        assert_eq!(of(&safetensors, &Wanted::Any), Ok(Chosen::Folder));
        let named = Wanted::File("m-Q8_0.gguf".to_owned());
        assert_eq!(of(&safetensors, &named), gguf("m-Q8_0.gguf"));
        let one = ["m.gguf", "mmproj-f16.gguf", "README.md"];
        assert_eq!(of(&one, &Wanted::Any), gguf("m.gguf"));
        let several = [
            "m-IQ4_K.gguf",
            "m-Q4_K_M.gguf",
            "m.Q4_K.gguf",
            "Q8_0/m.gguf",
        ];
        assert_eq!(of(&several, &quantization("q4_k_m")), gguf("m-Q4_K_M.gguf"));
        assert_eq!(of(&several, &quantization("Q4_K")), gguf("m.Q4_K.gguf"));
        assert_eq!(of(&several, &quantization("Q8_0")), gguf("Q8_0/m.gguf"));
    }

    #[test]
    fn what_cannot_be_chosen_is_said() {
        let wrong = |files: &[&str], wanted: &Wanted, words: &str| {
            let said = of(files, wanted).expect_err("no choice");
            assert!(said.contains(words), "{said}");
        };
        let q2 = Wanted::Quantization("Q2_K".to_owned());
        wrong(
            &["b.gguf", "a.gguf"],
            &Wanted::Any,
            "name one, with /FILE.gguf or :QUANTIZATION behind a repository: a.gguf, b.gguf",
        );
        wrong(&["b.gguf"], &q2, "no GGUF file is called Q2_K: b.gguf");
        wrong(&["model.safetensors"], &Wanted::Any, "no config.json");
        wrong(
            &["config.json", "pytorch_model.bin"],
            &Wanted::Any,
            "neither safetensors",
        );
        let split = ["m-Q2_K-00001-of-00002.gguf", "m-Q2_K-00002-of-00002.gguf"];
        wrong(&split, &Wanted::Any, "llama-gguf-split");
        wrong(&split, &q2, "llama-gguf-split");
        wrong(
            &["a.gguf"],
            &Wanted::File("c.gguf".to_owned()),
            "there is no c.gguf: a.gguf",
        );
    }

    #[test]
    fn a_folder_must_hold_every_shard() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("writes");
        let said = || in_folder(folder.path(), &Wanted::Any, 1).expect_err("not whole");
        write("config.json", "{}");
        assert!(said().contains("neither safetensors"), "{}", said());
        for (list, words) in [
            ("[]", "no list of shards"),
            (r#"{"weight_map": {}}"#, "is empty"),
            (
                r#"{"weight_map": {"a": "../b.safetensors"}}"#,
                "`../b.safetensors`",
            ),
            (
                r#"{"weight_map": {"a": "1.safetensors"}}"#,
                "there is no 1.safetensors",
            ),
        ] {
            write(SHARD_LIST, list);
            assert!(said().contains(words), "{}", said());
        }
        write("1.safetensors", "");
        let whole = in_folder(folder.path(), &Wanted::Any, 1).expect("whole");
        assert_eq!(whole, Local::Folder(folder.path().to_owned()));
    }
}
