//! Formats of [`crate::marked_calls`] and [`crate::listed_calls`] whose markers and keys are known only at run time: those that
//! come from a configuration.
//!
//! A family's static table becomes one of these when its parser is made, so there is one way to read either. Nothing is
//! checked here but that a table is whole: see [`crate::marker_scanner::check_markers`] for markers of a user.

use alloc::{borrow::Cow, sync::Arc, vec::Vec};

use crate::{
    json_call::CallKeys,
    listed_calls::{ListFormat, ListRole},
    marked_calls::{CallFormat, MarkerRole, NamePlace},
};

/// A [`CallFormat`] of its own.
#[derive(Debug)]
pub struct OwnedCallFormat {
    /// Every marker and what it does; none begins another one.
    pub markers: Vec<(Cow<'static, str>, MarkerRole)>,
    /// Where the name stands.
    pub name: NamePlace,
    /// The keys of a call, where they are others than the usual ones.
    pub keys: Option<Arc<CallKeys>>,
}

impl From<&'static CallFormat> for OwnedCallFormat {
    fn from(format: &'static CallFormat) -> Self {
        Self {
            markers: paired(format.markers, format.roles),
            name: format.name,
            keys: None,
        }
    }
}

/// A [`ListFormat`] of its own.
#[derive(Debug)]
pub struct OwnedListFormat {
    /// Every marker and what it does; none begins another one.
    pub markers: Vec<(Cow<'static, str>, ListRole)>,
    /// Whether a name may stand behind the start marker, with the call's arguments behind it.
    pub names: bool,
    /// Whether the `id` of a call object is the call's id.
    pub ids: bool,
    /// The keys of a call, where they are others than the usual ones.
    pub keys: Option<Arc<CallKeys>>,
}

impl From<&'static ListFormat> for OwnedListFormat {
    fn from(format: &'static ListFormat) -> Self {
        Self {
            markers: paired(format.markers, format.roles),
            names: format.names,
            ids: format.ids,
            keys: None,
        }
    }
}

fn paired<R: Copy>(
    markers: &'static [&'static str],
    roles: &'static [R],
) -> Vec<(Cow<'static, str>, R)> {
    assert_eq!(markers.len(), roles.len(), "a role a marker");
    let markers = markers.iter().map(|marker| Cow::Borrowed(*marker));
    markers.zip(roles.iter().copied()).collect()
}
