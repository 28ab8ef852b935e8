//! Free text without some markers, or up to one, as rules: a rule for each beginning of a marker that may stand at the text's end.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rules, class, either, literal};

/// What a character does behind a beginning.
enum Step {
    /// The text goes on behind this beginning.
    Goes(String),
    /// It ends with the marker.
    Ends,
    /// It would be a text that must not come.
    Forbidden,
}

/// A rule for text in which none of `without` stands, up to and with the first `end` if there is one.
pub(super) fn rule(without: &[&str], end: Option<&str>, rules: &mut Rules) -> String {
    let without = without.iter().copied();
    let without: Vec<&str> = without
        .filter(|marker| !marker.is_empty() && Some(*marker) != end)
        .collect();
    let markers: Vec<&str> = without.iter().copied().chain(end).collect();
    let alphabet: BTreeSet<char> = markers.iter().flat_map(|marker| marker.chars()).collect();
    let beginnings: BTreeSet<&str> = markers
        .iter()
        .flat_map(|marker| marker.char_indices().map(|(at, _)| &marker[..at]))
        .chain([""])
        .collect();
    let names: BTreeMap<&str, String> = beginnings
        .iter()
        .map(|beginning| (*beginning, rules.name()))
        .collect();
    for (beginning, name) in &names {
        // Characters that lead to the same place share an alternative.
        let mut goes: BTreeMap<String, Vec<(char, char)>> = BTreeMap::new();
        let mut written = Vec::new();
        for &character in &alphabet {
            match step(beginning, character, &without, end, &beginnings) {
                Step::Forbidden => {}
                Step::Ends => written.push(literal(&character.to_string())),
                Step::Goes(to) => goes.entry(to).or_default().push((character, character)),
            }
        }
        for (to, characters) in goes {
            written.push(format!(
                "{} {}",
                class(&characters, false),
                names[to.as_str()]
            ));
        }
        let others: Vec<(char, char)> = alphabet.iter().map(|&one| (one, one)).collect();
        let others = match others.is_empty() {
            true => class(&[('\0', '\0')], true),
            false => class(&others, true),
        };
        written.push(format!("{others} {}", names[""]));
        if end.is_none() {
            written.push(literal(""));
        }
        rules.define(name, &either(&written));
    }
    names[""].clone()
}

fn step(
    beginning: &str,
    character: char,
    without: &[&str],
    end: Option<&str>,
    beginnings: &BTreeSet<&str>,
) -> Step {
    let text = format!("{beginning}{character}");
    if without.iter().any(|marker| text.ends_with(marker)) {
        return Step::Forbidden;
    }
    if end.is_some_and(|end| text.ends_with(end)) {
        return Step::Ends;
    }
    let mut suffixes = text.char_indices().map(|(at, _)| &text[at..]);
    let longest = suffixes.find(|suffix| beginnings.contains(suffix));
    Step::Goes(longest.unwrap_or_default().to_owned())
}
