//! Where a schema refers to itself: every reference has a vetted schema as its target, and following them all is no deeper
//! than the compiler's stack.

use std::collections::{HashMap, HashSet};

use super::{pointer, refusal};
use crate::{ConstrainError, limits};

/// References and what they may refer to.
#[derive(Default)]
pub(super) struct References {
    /// How deep schemas nest in each, by its place as references spell it. Names with a slash have none: they cannot be told
    /// from two names.
    schemas: HashMap<String, usize>,
    /// Where each stands, and its target.
    found: Vec<(String, String)>,
    /// A name of a schema that is not the root.
    inner_id: Option<String>,
}

impl References {
    pub(super) fn note_schema(&mut self, path: &[String], depth: usize) {
        if !path.iter().any(|step| step.contains('/')) {
            let place = path
                .iter()
                .fold(String::from("#"), |place, step| place + "/" + step);
            self.schemas.insert(place, depth);
        }
    }

    pub(super) fn note_id(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.inner_id.get_or_insert_with(|| pointer(path));
        }
    }

    pub(super) fn note_reference(
        &mut self,
        pointer: String,
        target: &str,
    ) -> Result<(), ConstrainError> {
        if self.found.len() == limits::MAX_REFERENCES {
            let limit = limits::MAX_REFERENCES;
            return Err(refusal(
                &pointer,
                format!("it is one of more than {limit} references"),
            ));
        }
        self.found.push((pointer, target.to_owned()));
        Ok(())
    }

    /// # Errors
    /// When a target is none, a name changes what references mean, or all together nest too deep. `depth` is the root's.
    pub(super) fn check(&self, depth: usize) -> Result<(), ConstrainError> {
        if let (Some(id), false) = (&self.inner_id, self.found.is_empty()) {
            return Err(refusal(
                id,
                "a schema within the schema has a name of its own, and there are references: leave the name out",
            ));
        }
        let mut recursion = depth;
        let mut followed = HashSet::new();
        for (pointer, target) in &self.found {
            let Some(depth) = self.schemas.get(target) else {
                return Err(refusal(
                    pointer,
                    format!("there is no schema at {target:?}"),
                ));
            };
            if followed.insert(target) {
                recursion += depth;
            }
            if recursion > limits::MAX_RECURSION {
                let limit = limits::MAX_RECURSION;
                let problem =
                    format!("all that is referred to nests deeper than {limit} levels together");
                return Err(refusal(pointer, problem));
            }
        }
        Ok(())
    }
}
