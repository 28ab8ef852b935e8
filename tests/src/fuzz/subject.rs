//! A parser under test: loaded natively and as the component that is shipped, alone and with the companions and
//! configurations its corpus and its roles suggest.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context;
use weir_corpus::{case::Case, fuzz::Material};
use weir_output::{Parser, Roles};

use super::order;
use crate::{
    Plugins,
    corpora::{corpora, read_all},
    manifest::Manifest,
    native::NativePlugins,
};

/// A parser under test.
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The component behind the name.
    pub component: String,
    /// The chains it is run in; there is one.
    pub setups: Vec<Setup>,
    /// What its inputs are made of; a setup of these is a place in `setups`.
    pub material: Material,
}

impl Subject {
    /// The parser alone, as it is without configuration.
    pub fn plainest(&self) -> Option<usize> {
        let plain = |setup: &Setup| setup.with.is_none() && setup.config.is_empty();
        self.setups.iter().position(plain)
    }
}

/// A chain of parsers.
pub struct Setup {
    /// The configuration of the parser under test.
    pub config: toml::Table,
    /// The other parser.
    pub with: Option<String>,
    /// The component behind that one's name.
    pub with_component: Option<String>,
    /// The parsers as ordinary code.
    pub native: Vec<Arc<dyn Parser>>,
    /// The parsers as components; empty where they are left out.
    pub wasm: Vec<Arc<dyn Parser>>,
}

impl Setup {
    /// What calls do when nothing but the tool parser's own rules are at work.
    pub fn tools_alone(&self) -> Option<&Arc<dyn Parser>> {
        let only_tools = |parser: &&Arc<dyn Parser>| is_tools(parser.info().roles);
        self.native
            .first()
            .filter(|_| self.native.len() == 1)
            .filter(only_tools)
    }
}

fn is_tools(roles: Roles) -> bool {
    roles.tools && !roles.reasoning
}

fn is_reasoning(roles: Roles) -> bool {
    roles.reasoning && !roles.tools
}

/// Every parser with a corpus.
///
/// # Errors
/// When the corpora cannot be read.
pub fn names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in std::fs::read_dir(corpora().join("parsers"))? {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Loads a parser and its companions.
///
/// # Errors
/// When one of them cannot be loaded.
pub fn load(name: &str, wasm: Option<&dyn Plugins>) -> anyhow::Result<Subject> {
    let mut subject = Subject {
        name: name.to_owned(),
        component: Manifest::read()?.component(name)?,
        setups: Vec::new(),
        material: Material::default(),
    };
    let (own, others): (Vec<Case>, Vec<Case>) = read_all("parsers")?
        .into_iter()
        .partition(|case| case.plugin() == name);
    for case in own {
        let setup = setup(&mut subject, &case.config, case.with.as_deref(), wasm)?;
        subject.material.cases.push((case, setup));
    }
    let empty = toml::Table::new();
    // A parser that must be configured is run as its corpus configures it.
    if let Ok(parser) = NativePlugins.parser(name, &empty) {
        let roles = parser.info().roles;
        setup(&mut subject, &empty, None, wasm)?;
        for other in names()? {
            let Ok(companion) = NativePlugins.parser(&other, &empty) else {
                continue;
            };
            let theirs = companion.info().roles;
            if (is_tools(roles) && is_reasoning(theirs))
                || (is_reasoning(roles) && is_tools(theirs))
            {
                setup(&mut subject, &empty, Some(&other), wasm)?;
            }
        }
    }
    let is_companion = |case: &Case| {
        let companions = subject.setups.iter().map(|setup| setup.with.as_deref());
        companions.flatten().any(|with| with == case.plugin())
    };
    let neighbours = others.into_iter().filter(is_companion).collect();
    subject.material.neighbours = neighbours;
    let infos = subject
        .setups
        .iter()
        .flat_map(|setup| &setup.native)
        .map(|parser| parser.info());
    let markers: BTreeSet<String> = infos
        .flat_map(|info| [&info.markers, &info.special_tokens, &info.stop_tokens])
        .flatten()
        .cloned()
        .collect();
    subject.material.setups = subject.setups.len();
    subject.material.markers = markers
        .into_iter()
        .filter(|marker| !marker.is_empty())
        .collect();
    Ok(subject)
}

/// The place of this chain in the subject's, which it joins if it is new.
fn setup(
    subject: &mut Subject,
    config: &toml::Table,
    with: Option<&str>,
    wasm: Option<&dyn Plugins>,
) -> anyhow::Result<usize> {
    let known = |setup: &Setup| setup.config == *config && setup.with.as_deref() == with;
    if let Some(place) = subject.setups.iter().position(known) {
        return Ok(place);
    }
    let chain = |plugins: &dyn Plugins| -> anyhow::Result<Vec<Arc<dyn Parser>>> {
        let first = plugins.parser(&subject.name, config).map(order::checked);
        let second = with.map(|with| {
            plugins
                .parser(with, &toml::Table::new())
                .map(order::checked)
        });
        [first].into_iter().chain(second).collect()
    };
    let context = || format!("{} ({config:?}) with {with:?}", subject.name);
    let setup = Setup {
        native: chain(&NativePlugins).with_context(context)?,
        wasm: wasm.map_or(Ok(Vec::new()), chain).with_context(context)?,
        config: config.clone(),
        with: with.map(str::to_owned),
        with_component: with
            .map(|with| Manifest::read()?.component(with))
            .transpose()?,
    };
    subject.setups.push(setup);
    Ok(subject.setups.len() - 1)
}
