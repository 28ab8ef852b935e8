//! The models of a server: which names are whose, and what became of each.
//!
//! Invariants: no name is of two models, and at most one model takes the names that are nobody's. All names are known
//! from the start; a model is loading until it is served or has failed, and stays what it became.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use thiserror::Error;

use crate::{error::ApiError, state::ServedModel};

/// What clients may call a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelNames {
    /// The first is its id. Never empty.
    pub names: Vec<String>,
    /// Answers to names that are nobody's, too.
    pub accept_any: bool,
}

impl ModelNames {
    /// The first.
    pub fn id(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl From<&str> for ModelNames {
    fn from(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            accept_any: false,
        }
    }
}

/// Names that leave open which model is meant. Models are counted from 0, as the configuration's list is.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NamesError {
    /// One name, two models.
    #[error("`{name}` is the name of models[{first}] and of models[{second}]: give each its own")]
    Twice {
        /// The name.
        name: String,
        /// Whose it is.
        first: usize,
        /// Whose it is too.
        second: usize,
    },
    /// Two models for every name.
    #[error(
        "accept_any_model is set for `{first}` and for `{second}`: only one of them can take every name"
    )]
    AnyTwice {
        /// Id of the one.
        first: String,
        /// Id of the other.
        second: String,
    },
}

/// Every model of a server, in the order given.
pub struct ModelSet(Vec<Member>);

struct Member {
    names: ModelNames,
    /// The model, or why there is none; empty while it loads.
    outcome: OnceLock<Result<Arc<ServedModel>, String>>,
}

impl Member {
    fn has_failed(&self) -> bool {
        matches!(self.outcome.get(), Some(Err(_)))
    }

    fn model(&self) -> Result<&Arc<ServedModel>, ApiError> {
        let id = self.names.id();
        match self.outcome.get() {
            Some(Ok(model)) => Ok(model),
            Some(Err(reason)) => {
                let message = format!("the model `{id}` could not be loaded: {reason}");
                Err(ApiError::unavailable(&message))
            }
            None => {
                let message = format!("the model `{id}` is still loading");
                Err(ApiError::unavailable(&message))
            }
        }
    }
}

/// A model that is loaded and has one name.
impl From<ServedModel> for ModelSet {
    fn from(model: ServedModel) -> Self {
        Self(vec![Member {
            names: model.id().into(),
            outcome: OnceLock::from(Ok(Arc::new(model))),
        }])
    }
}

impl ModelSet {
    /// Models that are to be loaded; at least one.
    ///
    /// # Errors
    /// Names that leave open which model is meant.
    pub fn loading(models: Vec<ModelNames>) -> Result<Self, NamesError> {
        let mut owners = BTreeMap::new();
        let mut any: Option<&ModelNames> = None;
        for (second, model) in models.iter().enumerate() {
            for name in &model.names {
                let first = *owners.entry(name).or_insert(second);
                if first != second {
                    let name = name.clone();
                    return Err(NamesError::Twice {
                        name,
                        first,
                        second,
                    });
                }
            }
            if let Some(other) = any.filter(|_| model.accept_any) {
                return Err(NamesError::AnyTwice {
                    first: other.id().to_owned(),
                    second: model.id().to_owned(),
                });
            }
            any = any.or(model.accept_any.then_some(model));
        }
        let member = |names| Member {
            names,
            outcome: OnceLock::new(),
        };
        Ok(Self(models.into_iter().map(member).collect()))
    }

    /// Serves a model from now on.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn serve(&self, index: usize, model: ServedModel) {
        self.settle(index, Ok(Arc::new(model)));
    }

    /// Says why a model will not be served.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn fail(&self, index: usize, reason: String) {
        self.settle(index, Err(reason));
    }

    fn settle(&self, index: usize, outcome: Result<Arc<ServedModel>, String>) {
        if self.0[index].outcome.set(outcome).is_err() {
            tracing::warn!("the model `{}` is there already", self.0[index].names.id());
        }
    }

    /// The model of this name; the first of all for no name.
    ///
    /// # Errors
    /// 404 for a name that is nobody's; 503 while the model loads and when it could not be loaded.
    pub fn named(&self, name: Option<&str>) -> Result<&Arc<ServedModel>, ApiError> {
        let find = |wanted: &dyn Fn(&ModelNames) -> bool| {
            let mut members = self.0.iter();
            members.find(|member| wanted(&member.names))
        };
        let found = match name {
            None => self.0.first(),
            Some(name) => find(&|of| of.names.iter().any(|own| own == name))
                .or_else(|| find(&|of| of.accept_any)),
        };
        let unknown = || ApiError::model_not_found(name.unwrap_or_default(), &self.names());
        found.ok_or_else(unknown)?.model()
    }

    /// The names there is hope for.
    fn names(&self) -> Vec<&str> {
        let members = self.0.iter().filter(|member| !member.has_failed());
        let names = members.flat_map(|member| &member.names.names);
        names.map(String::as_str).collect()
    }

    /// The models that are served, each with its names.
    pub fn served(&self) -> impl Iterator<Item = (&[String], &Arc<ServedModel>)> {
        self.0.iter().filter_map(|member| {
            let model = member.outcome.get()?.as_ref().ok()?;
            Some((member.names.names.as_slice(), model))
        })
    }

    /// The first that is served and makes vectors of texts, and nothing else: for whoever compares texts. A generative model's
    /// vectors say little of what a text is about, and cost a prompt each.
    pub fn embedding(&self) -> Option<&Arc<ServedModel>> {
        let mut served = self.served().map(|(_, model)| model);
        served.find(|model| model.generator.is_none() && model.embedder.is_ok())
    }

    /// The id of every model, and whether it is served.
    pub fn loaded(&self) -> impl Iterator<Item = (&str, bool)> {
        let members = self.0.iter();
        members.map(|member| {
            (
                member.names.id(),
                matches!(member.outcome.get(), Some(Ok(_))),
            )
        })
    }

    /// Whether the engines of all that are served can compute.
    ///
    /// # Errors
    /// 503 otherwise, naming the model.
    pub fn healthy(&self) -> Result<(), ApiError> {
        for (_, model) in self.served() {
            let Some(generator) = &model.generator else {
                continue;
            };
            if let Err(error) = generator.check() {
                let id = model.id();
                return Err(ApiError::unavailable(&format!("model {id}: {error}")));
            }
        }
        Ok(())
    }

    /// Whether nothing loads any more and something is served.
    ///
    /// # Errors
    /// 503 otherwise, with what is missing.
    pub fn ready(&self) -> Result<(), ApiError> {
        let loading = self.0.iter().find(|member| member.outcome.get().is_none());
        let missing = match self.served().next() {
            Some(_) => loading,
            None => loading.or(self.0.first()),
        };
        missing.map_or(Ok(()), |member| member.model().map(drop))
    }
}
