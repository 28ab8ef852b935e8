//! Connections to somebody else's API: its address, TLS where it wants that, and what went wrong in one line.

use std::{error::Error, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    header::{HeaderValue, InvalidHeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// More of a list of models or of an error is not read.
const MAX_BODY: usize = 1 << 20;

/// Where an API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// The prefix of the OpenAI routes, without a slash at its end: `http://host:8000/v1`.
    pub api: String,
    /// The same without `/v1`: where engines have their own routes.
    pub root: String,
    /// Whether it begins with https.
    pub tls: bool,
}

impl BaseUrl {
    /// Reads what a user writes; a URL without a path gets `/v1`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let parsed: Uri = url
            .parse()
            .map_err(|error: hyper::http::uri::InvalidUri| error.to_string())?;
        let tls = match parsed.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it begins with neither http:// nor https://".to_owned()),
        };
        if parsed.query().is_some() {
            return Err("it has a query".to_owned());
        }
        let url = url.trim_end_matches('/');
        let api = match parsed.path() {
            "" | "/" => format!("{url}/v1"),
            _ => url.to_owned(),
        };
        let root = api.strip_suffix("/v1").unwrap_or(&api).to_owned();
        Ok(Self { api, root, tls })
    }
}

/// The header that holds a key; it never shows in a log.
///
/// # Errors
/// A key that no header can hold.
pub fn bearer(key: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Opens connections. TLS wants the system's certificates, so it is only set up for who needs it. Proxies of the environment
/// are not used.
#[derive(Clone)]
pub enum Connections {
    /// As they are.
    Plain(Client<HttpConnector, Full<Bytes>>),
    /// Encrypted.
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Connections {
    /// `max_idle` connections of each server are kept for the next request; `connect` is how long one may take to be made.
    ///
    /// # Errors
    /// No certificates on this system.
    pub fn new(tls: bool, max_idle: usize, connect: Option<Duration>) -> Result<Self, String> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        builder.pool_max_idle_per_host(max_idle);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(connect);
        if !tls {
            return Ok(Self::Plain(builder.build(tcp)));
        }
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .map_err(|error| error.to_string())?
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self::Tls(builder.build(connector)))
    }

    /// Sends it; the answer's body is read as it comes, and dropping it closes the connection.
    pub fn request(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        match self {
            Self::Plain(client) => client.request(request),
            Self::Tls(client) => client.request(request),
        }
    }
}

/// A short answer's whole body.
///
/// # Errors
/// One line: it broke off, or is longer than 1 MiB.
pub async fn whole(response: Response<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {}", root(error.as_ref())))?;
    Ok(body.to_bytes())
}

/// Why there is no answer.
pub fn connection_error(error: &ClientError) -> String {
    match error.is_connect() {
        true => format!("cannot connect: {}", root(error)),
        false => format!("the connection broke: {}", root(error)),
    }
}

/// What it was in the end; the layers above only say that they failed too.
pub fn root(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed_or_refused() {
        let read = |url: &str| BaseUrl::parse(url).map(|url| (url.api, url.root, url.tls));
        let url = |api: &str, root: &str, tls| Ok((api.to_owned(), root.to_owned(), tls));
        assert_eq!(
            read("http://h:1/v1/"),
            url("http://h:1/v1", "http://h:1", false)
        );
        assert_eq!(
            read("https://h:1"),
            url("https://h:1/v1", "https://h:1", true)
        );
        assert_eq!(
            read("http://h/api"),
            url("http://h/api", "http://h/api", false)
        );
        for bad in [
            "h:1",
            "127.0.0.1:8000/v1",
            "ftp://h/v1",
            "http://h/v1?x=1",
            "",
            "http://",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(bearer("a\nb").is_err());
    }
}
