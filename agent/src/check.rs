//! `oco-agent check`: goes through everything that a check-in needs, in its order, and says of each part whether it works
//! and what to do where it does not. Nothing is registered, no timestamp used up, and nobody is asked but DNS and the
//! server.

mod local;
mod server;
mod tls;

use crate::config::{Config, Paths};
use crate::host::Host;
use crate::server_client::{HttpClient, HttpError};
use serde::Serialize;
use std::fmt;
use std::io;

/// How a part of the whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// The agent cannot do its work.
    Fail,
    /// Something before it failed, so it cannot be told.
    Skipped,
}

/// One thing that was looked at. Never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub finding: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Item {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            finding: finding.into(),
            hint: None,
        }
    }

    fn warn(name: &'static str, finding: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            hint: Some(hint.into()),
            ..Self::ok(name, finding)
        }
    }

    fn fail(name: &'static str, finding: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            hint: Some(hint.into()),
            ..Self::ok(name, finding)
        }
    }

    fn skipped(name: &'static str, finding: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Skipped,
            ..Self::ok(name, finding)
        }
    }
}

/// All that was looked at, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing failed.
    pub ok: bool,
    /// What was looked at.
    pub items: Vec<Item>,
}

impl From<Vec<Item>> for Report {
    fn from(items: Vec<Item>) -> Self {
        let ok = items.iter().all(|item| item.verdict != Verdict::Fail);
        Self { ok, items }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.items.iter().map(|item| item.name.len()).max().unwrap_or(0);
        for item in &self.items {
            let verdict = match item.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
                Verdict::Skipped => "-",
            };
            writeln!(f, "{verdict:<4}  {:<width$}  {}", item.name, item.finding)?;
            if let Some(hint) = &item.hint {
                writeln!(f, "      {:<width$}  -> {hint}", "")?;
            }
        }
        Ok(())
    }
}

/// Looks at everything. `http` makes the client that a configuration asks for. Blocks, and must not be called on an
/// asynchronous runtime.
pub fn run(
    host: &dyn Host,
    paths: &Paths,
    http: impl FnOnce(&Config) -> Result<HttpClient, HttpError>,
) -> io::Result<Report> {
    let (mut items, config) = local::configuration(host, &paths.config);
    let Some(mut config) = config else {
        items.extend(local::state(host, paths));
        items.extend(local::lock(&paths.lock, host.os()));
        return Ok(items.into());
    };
    items.push(local::identity(host, &config));
    items.extend(local::state(host, paths));
    items.extend(local::lock(&paths.lock, host.os()));
    items.push(local::server(host, &mut config));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    items.extend(runtime.block_on(server::items(host, &config, http)));
    // A question to the system's resolver that never returns must not keep the process.
    runtime.shutdown_background();
    items.extend(local::keys(host, paths, &config));
    Ok(items.into())
}

#[cfg(test)]
mod tests;
