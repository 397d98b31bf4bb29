//! The server of a run: one embedded in this process, or one that runs already.

use super::RunError;
use crate::admin::Credentials;
use crate::http;
use crate::redact::{redacted, redacted_text};
use crate::scenario::Fleet;
use oco_mock_server::{Config, Server, ServerHandle, Tls};
use oco_protocol::Key;
use oco_protocol::rpc::AGENT_API_PATH;
use reqwest::Url;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a server may take to answer the first question.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Which server to run against.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there is one in a run")]
pub enum ServerChoice {
    /// A mock server in this process, with an empty database.
    Embedded,
    /// A server that runs already.
    External(External),
}

/// A server that runs already.
#[derive(Clone)]
pub struct External {
    /// URL of its agent API.
    pub url: Url,
    /// The key that its agents register with.
    pub agent_key: Key,
    /// The key of a mock server's REST API.
    pub api_key: Option<Key>,
    /// Who administers through the client API.
    pub client_api: Option<Credentials>,
    /// PEM file of certificates to trust beside the system's.
    pub ca: Option<PathBuf>,
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no server: expected a URL such as https://oco.example.com or http://127.0.0.1:8080/api-agent.php"
)]
pub struct InvalidServer(String);

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External")
            .field("url", &redacted(&self.url).as_str())
            .finish_non_exhaustive()
    }
}

impl External {
    /// Reads a server's URL; one without a path gets that of the agent API.
    pub fn parse_url(text: &str) -> Result<Url, InvalidServer> {
        let invalid = || InvalidServer(redacted_text(text));
        let mut url: Url = text.parse().map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(invalid());
        }
        if url.path() == "/" {
            url.set_path(AGENT_API_PATH);
        }
        Ok(url)
    }
}

/// The server of a run.
pub(super) struct RunningServer {
    access: External,
    embedded: Option<Embedded>,
}

struct Embedded {
    handle: ServerHandle,
    shutdown: CancellationToken,
    /// The database; removed at the end.
    folder: TempDir,
}

impl RunningServer {
    /// Starts the embedded server, or makes sure that the other one answers.
    pub(super) async fn start(choice: ServerChoice, fleet: &Fleet) -> Result<Self, RunError> {
        match choice {
            ServerChoice::External(access) => {
                greet(&access.url, access.ca.as_deref()).await?;
                Ok(Self {
                    access,
                    embedded: None,
                })
            }
            ServerChoice::Embedded => start_embedded(fleet.tls).await,
        }
    }

    pub(super) fn agent_url(&self) -> &Url {
        &self.access.url
    }

    pub(super) fn agent_key(&self) -> &Key {
        &self.access.agent_key
    }

    pub(super) fn api_key(&self) -> Option<&Key> {
        self.access.api_key.as_ref()
    }

    pub(super) fn client_api(&self) -> Option<&Credentials> {
        self.access.client_api.as_ref()
    }

    pub(super) fn ca(&self) -> Option<&Path> {
        self.access.ca.as_deref()
    }

    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// For the report.
    pub(super) fn name(&self) -> String {
        let kind = if self.is_embedded() {
            "embedded mock server at "
        } else {
            ""
        };
        format!("{kind}{}", redacted(&self.access.url))
    }

    /// Stops the embedded server and removes its database.
    pub(super) async fn stop(self) {
        let Some(Embedded {
            handle,
            shutdown,
            folder,
        }) = self.embedded
        else {
            return;
        };
        shutdown.cancel();
        if let Err(error) = handle.join().await {
            tracing::warn!(
                error = &error as &dyn Error,
                "the embedded server did not end properly"
            );
        }
        if let Err(error) = folder.close() {
            tracing::warn!(
                error = &error as &dyn Error,
                "the embedded server's database could not be removed"
            );
        }
    }
}

async fn start_embedded(tls: bool) -> Result<RunningServer, RunError> {
    fn failed<E: Error + Send + Sync + 'static>(operation: &'static str) -> impl FnOnce(E) -> RunError {
        move |source| RunError::Embedded {
            operation,
            source: Box::new(source),
        }
    }
    let folder = tempfile::Builder::new().prefix("oco-simulator-").tempdir();
    let folder = folder.map_err(failed("no folder for its database"))?;
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(failed("no free port on 127.0.0.1"))?;
    let shutdown = CancellationToken::new();
    let authority = Tls::OwnAuthority {
        folder: folder.path().to_owned(),
        names: Vec::new(),
    };
    let config = Config {
        database: format!("sqlite:{}", folder.path().join("server.db").display()),
        tls: tls.then_some(authority),
        ..Config::default()
    };
    let handle = Server::start(config, listener, shutdown.clone().cancelled_owned()).await;
    let handle = handle.map_err(failed("it refused its configuration"))?;
    let url = External::parse_url(&handle.agent_url()).map_err(failed("its address makes no sense"))?;
    let access = External {
        url,
        agent_key: handle.agent_key.clone(),
        api_key: Some(handle.api_key.clone()),
        client_api: None,
        ca: handle.ca_certificate.clone(),
    };
    Ok(RunningServer {
        access,
        embedded: Some(Embedded {
            handle,
            shutdown,
            folder,
        }),
    })
}

/// Any answer will do, a refusal included.
async fn greet(url: &Url, ca: Option<&Path>) -> Result<(), RunError> {
    let failed = |source: reqwest::Error| RunError::Unreachable {
        url: redacted(url),
        source: source.without_url(),
    };
    let client = http::client(url, ca, FIRST_ANSWER)?;
    client.get(url.clone()).send().await.map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_path_gets_that_of_the_agent_api() {
        for (text, url) in [
            ("https://oco.example", "https://oco.example/api-agent.php"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/api-agent.php"),
            ("http://h/oco/api-agent.php", "http://h/oco/api-agent.php"),
        ] {
            assert_eq!(External::parse_url(text).unwrap().as_str(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for text in ["", "oco.example", "ftp://oco.example", "127.0.0.1:8080"] {
            assert!(
                External::parse_url(text)
                    .unwrap_err()
                    .to_string()
                    .contains("https://"),
                "{text}"
            );
        }
    }
}
