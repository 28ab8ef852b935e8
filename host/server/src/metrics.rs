//! What the server counts, and the text in which Prometheus reads it.
//!
//! Invariants: counters belong to one `AppState`, never to the process, so two servers share nothing. What a token costs is
//! a few relaxed atomic additions on counters that its request holds already; maps and locks are touched once a request.
//! Labels are names that the operator or this program chose: nothing that a client writes makes a series.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use weir_engine::histogram::{Histogram, MILLISECOND, SECOND};

use crate::{reload::Reloader, wiring::PluginWiring};

mod exposition;
mod families;
mod model;
mod upstreams;

pub use families::render;
pub use model::{ChoiceMeter, ModelMetrics};

/// From a health check to an answer of many thousand tokens.
const REQUEST_BOUNDS: &[u64] = &[
    5 * MILLISECOND,
    25 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    20 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
];

/// What one server counts; each model has counters of its own beside.
#[derive(Default)]
pub struct Metrics {
    in_flight: AtomicI64,
    totals: Mutex<Totals>,
    /// Set once the plugins are there.
    plugins: OnceLock<Plugins>,
}

/// Where the plugins' counters are read.
struct Plugins {
    wiring: Arc<PluginWiring>,
    reloader: Arc<Reloader>,
}

/// What is counted once a request.
#[derive(Default)]
struct Totals {
    routes: BTreeMap<String, RouteTotals>,
    errors: BTreeMap<&'static str, u64>,
}

/// One route's.
struct RouteTotals {
    by_status: BTreeMap<u16, u64>,
    aborted: u64,
    duration: Histogram,
}

impl Default for RouteTotals {
    fn default() -> Self {
        Self {
            by_status: BTreeMap::new(),
            aborted: 0,
            duration: Histogram::new(REQUEST_BOUNDS),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestEnd<'a> {
    /// The route's path as the router has it; never the request's.
    pub route: &'a str,
    /// The status of its answer; 499 when the client left before there was one.
    pub status: u16,
    /// Whether the client left before the answer's last byte.
    pub aborted: bool,
    /// The kind of error, in the answer or in its stream.
    pub error: Option<&'static str>,
    /// From the request's head to the answer's last byte.
    pub duration: Duration,
}

impl Metrics {
    /// Shows these plugins' counters, too.
    pub fn show_plugins(&self, wiring: Arc<PluginWiring>, reloader: Arc<Reloader>) {
        if self.plugins.set(Plugins { wiring, reloader }).is_err() {
            tracing::warn!("the metrics have their plugins already");
        }
    }

    /// A request has begun; [`Metrics::request_ended`] follows.
    pub fn request_began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended.
    pub fn request_ended(&self, end: &RequestEnd) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut totals = self.totals();
        if let Some(error) = end.error {
            *totals.errors.entry(error).or_default() += 1;
        }
        if !totals.routes.contains_key(end.route) {
            totals
                .routes
                .insert(end.route.to_owned(), RouteTotals::default());
        }
        let Some(route) = totals.routes.get_mut(end.route) else {
            unreachable!("the route was put in just now");
        };
        *route.by_status.entry(end.status).or_default() += 1;
        route.aborted += u64::from(end.aborted);
        route.duration.observe_duration(end.duration);
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        // A panic elsewhere leaves no half-made change behind the lock.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
