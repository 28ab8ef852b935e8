//! `weir models`: the models that are known by name, those in the cache, and those of a configuration.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    config::Config,
    pull::{CachedModel, cached, known},
    table::table,
};

const HEAD: [&str; 6] = ["MODEL", "NAME", "SOURCE", "PATH", "SIZE", "FETCHED"];

/// What there is to list.
pub struct ModelLists {
    known: Vec<(&'static str, String)>,
    cached: Vec<CachedModel>,
    /// Names and source of each.
    configured: Vec<(Vec<String>, String)>,
}

impl ModelLists {
    /// Looks into the cache, and into the configuration if there is one.
    pub fn gather(config: Option<&Config>) -> Self {
        let models = config.map(Config::of_each_model).unwrap_or_default();
        Self {
            known: known().collect(),
            cached: cached(),
            configured: models
                .into_iter()
                .map(|model| {
                    let source = model.source().to_owned();
                    (model.served_model_name, source)
                })
                .collect(),
        }
    }

    /// A table for people. `now` is what ages are counted from.
    pub fn to_table(&self, now: SystemTime) -> String {
        let row = |kind: &str, name: &str, source: &str| {
            [kind, name, source, "", "", ""].map(str::to_owned)
        };
        let known = self
            .known
            .iter()
            .map(|(name, source)| row("known", name, source));
        let cached = self.cached.iter().map(|model| {
            let [kind, name, source, ..] = row("cached", "", &model.source);
            let age = now.duration_since(model.fetched).unwrap_or_default();
            let path = model.path.display().to_string();
            [kind, name, source, path, megabytes(model.bytes), ago(age)]
        });
        let configured = self
            .configured
            .iter()
            .map(|(names, source)| row("configured", &names.join(", "), source));
        table(
            HEAD,
            &known.chain(cached).chain(configured).collect::<Vec<_>>(),
        )
    }

    /// The same for programs; `fetched` in seconds since 1970.
    pub fn to_json(&self) -> Value {
        let known = self.known.iter();
        let cached = self.cached.iter().map(|model| {
            let since_1970 = model.fetched.duration_since(SystemTime::UNIX_EPOCH);
            json!({
                "source": model.source,
                "path": model.path,
                "bytes": model.bytes,
                "fetched": since_1970.unwrap_or_default().as_secs(),
            })
        });
        let configured = self.configured.iter();
        json!({
            "known": known.map(|(name, source)| json!({"name": name, "source": source})).collect::<Vec<_>>(),
            "cached": cached.collect::<Vec<_>>(),
            "configured": configured.map(|(names, source)| json!({"names": names, "source": source})).collect::<Vec<_>>(),
        })
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

fn ago(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min ago"),
        120..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_model_has_its_rows() {
        let fetched = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let lists = ModelLists {
            known: vec![("smollm2", "pypi:x==1".to_owned())],
            cached: vec![CachedModel {
                source: "smollm2".to_owned(),
                path: "/c/m.gguf".into(),
                bytes: 98_000_001,
                fetched,
            }],
            configured: vec![(vec!["a".to_owned(), "b".to_owned()], "m.gguf".to_owned())],
        };
        let table = lists.to_table(fetched + Duration::from_secs(3 * 3600));
        let cells: Vec<Vec<&str>> = table
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(cells[1], ["known", "smollm2", "pypi:x==1"]);
        assert_eq!(
            cells[2],
            ["cached", "smollm2", "/c/m.gguf", "99 MB", "3 h ago"]
        );
        assert_eq!(cells[3], ["configured", "a, b", "m.gguf"]);
        let json = lists.to_json();
        assert_eq!(json["cached"][0]["fetched"], 1_000);
        assert_eq!(json["configured"][0]["names"][1], "b");
        assert_eq!(ago(Duration::from_secs(90)), "1 min ago");
        assert_eq!(ago(Duration::from_secs(86_400 * 9)), "9 days ago");
    }
}
