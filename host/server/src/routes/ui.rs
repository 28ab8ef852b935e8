//! GET / and /ui/{file}: the page, whose sources lie in `host/server/ui` and are sent as they are.
//!
//! Invariants: nothing of it needs a key, as nothing of it is anybody's; the browser is told to run these files alone, to
//! ask this server alone and to let no script make markup of text; a file that a browser has is not sent again.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

mod cases;

use crate::error::ApiError;

/// What the browser may do for the page. Scripts that turn text into markup are refused by the last two.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; frame-ancestors 'none'; \
    base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Of every file of the page; a browser asks each time whether it has changed.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

const PAGE: &str = "index.html";

/// A file of the page.
struct Asset {
    name: &'static str,
    bytes: Bytes,
    /// Part of its SHA-256, in quotes.
    tag: String,
}

macro_rules! assets {
    ($($name:literal)*) => {
        vec![$(Asset::new($name, Bytes::from_static(include_bytes!(concat!("../../ui/", $name))))),*]
    };
}

/// All of them; a new one is one word here.
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut assets = assets! {
        "index.html"
        "answer.js"
        "api.js"
        "app.js"
        "case_file.js"
        "chart.js"
        "chat.js"
        "cutting.js"
        "dom.js"
        "exposition.js"
        "fold.js"
        "icon.svg"
        "markdown.js"
        "playground.js"
        "prose.js"
        "request.js"
        "server.js"
        "splits_view.js"
        "sse.js"
        "style.css"
        "timeline.js"
        "turn.js"
        "views.css"
    };
    assets.push(Asset::new("cases.json", cases::document()));
    assets
});

impl Asset {
    fn new(name: &'static str, bytes: Bytes) -> Self {
        let digest = Sha256::digest(&bytes);
        let digits: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            name,
            bytes,
            tag: format!("\"{digits}\""),
        }
    }

    fn media_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("json") => "application/json",
            _ => "text/javascript; charset=utf-8",
        }
    }

    fn answer(&'static self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter();
        let known = known.filter_map(|value| value.to_str().ok());
        let mut tags = known.flat_map(|value| value.split(','));
        let same = |tag: &str| matches!(tag.trim(), "*") || tag.trim().ends_with(&self.tag);
        let mut response = match tags.any(same) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => (
                [(header::CONTENT_TYPE, self.media_type())],
                self.bytes.clone(),
            )
                .into_response(),
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // Digits in quotes always make a value.
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The page.
pub(super) async fn page(uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    file(Path(PAGE.to_owned()), uri, headers).await
}

/// What it is made of.
pub(super) async fn file(
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match asset(&name) {
        Some(asset) => Ok(asset.answer(&headers)),
        None => Err(super::no_route(uri).await),
    }
}
