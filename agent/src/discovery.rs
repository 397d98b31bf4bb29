//! Finding the server over DNS, as long as the configuration names none: the SRV records of `_oco._tcp` in the search
//! domains of the system's resolver.
//!
//! What DNS says is not proven by anybody. So it is used once, for the first contact, and then stands in the
//! configuration; the server behind it has to show a certificate for its name.

use crate::config::{self, ConfigError, Protocol};
use crate::errors::with_causes;
use crate::host::{Host, HostError, ServiceRecord};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// The service that is looked for.
pub const SERVICE: &str = "_oco._tcp";

/// All search domains together are asked for this long.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A server that DNS names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// URL of its agent API.
    pub url: String,
    /// The name whose records named it.
    pub name: String,
    /// Records that were passed over, and why.
    pub refused: Vec<String>,
}

/// DNS names no server.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The system's resolver cannot be asked.
    #[error(
        "[server] api-url is empty, and DNS cannot be asked for a server; set it to https://SERVER/api-agent.php"
    )]
    Resolver(#[source] HostError),
    /// The generation that is asked for sends the key to whoever is asked.
    #[error(
        "[server] api-url is empty, and with protocol = keyed no server is looked for in DNS: it would be sent the agent \
         key in the clear; set api-url to https://SERVER/api-agent.php"
    )]
    Keyed,
    /// There is nowhere to look.
    #[error(
        "[server] api-url is empty, and this computer has no DNS search domain to look for {SERVICE} in; set it to \
         https://SERVER/api-agent.php"
    )]
    NoDomain,
    /// No domain has a usable record.
    #[error(
        "[server] api-url is empty, and no server was found in DNS; asked for SRV records of {}; set it to \
         https://SERVER/api-agent.php, or publish such a record", asked.join("; ")
    )]
    NotFound {
        /// Each name that was asked for, with what came of it.
        asked: Vec<String>,
    },
}

/// A configuration that names no server, and stays so.
#[derive(Debug, thiserror::Error)]
pub enum FindServerError {
    /// It cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No server was found.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
}

/// Makes sure that the configuration names a server: where it names none, DNS is asked and its answer stored. Blocks for
/// [`TIME_LIMIT`] at most.
pub fn find_server(host: &dyn Host, config: &Path) -> Result<(), FindServerError> {
    let settings = config::load(host, config)?.0;
    if settings.api_url.is_some() {
        return Ok(());
    }
    let Found { url, name, refused } = discover(host, settings.protocol)?;
    for reason in refused {
        tracing::warn!("an SRV record is passed over: {reason}");
    }
    config::store_api_url(host, config, &url)?;
    tracing::info!(
        url,
        name,
        "server found in DNS; its URL is stored in the configuration"
    );
    Ok(())
}

/// Asks the search domains one after the other, until one of them names a server.
pub fn discover(host: &dyn Host, protocol: Protocol) -> Result<Found, DiscoveryError> {
    // The signed generation proves itself to a stranger, the keyed one hands it the key.
    if protocol == Protocol::Keyed {
        return Err(DiscoveryError::Keyed);
    }
    let deadline = Instant::now() + TIME_LIMIT;
    let domains = host.search_domains().map_err(DiscoveryError::Resolver)?;
    let mut asked = Vec::new();
    for (index, domain) in domains.iter().enumerate() {
        let name = format!("{SERVICE}.{}.", domain.trim_end_matches('.'));
        // A domain that does not answer leaves the others their share of the time.
        let left = u32::try_from(domains.len() - index).unwrap_or(u32::MAX);
        let limit = deadline.saturating_duration_since(Instant::now()) / left;
        let outcome = match host.service_records(&name, limit) {
            Ok(records) => choose(host, &records),
            Err(error) => Err(with_causes(&error.source)),
        };
        match outcome {
            Ok((url, refused)) => return Ok(Found { url, name, refused }),
            Err(reason) => asked.push(format!("{} ({reason})", name.trim_end_matches('.'))),
        }
    }
    Err(if asked.is_empty() {
        DiscoveryError::NoDomain
    } else {
        DiscoveryError::NotFound { asked }
    })
}

/// The URL of the server to use, and why some records were passed over; or why there is none.
fn choose(host: &dyn Host, records: &[ServiceRecord]) -> Result<(String, Vec<String>), String> {
    let (mut usable, mut refused) = (Vec::new(), Vec::new());
    for record in records {
        match url(record) {
            Ok(_) => usable.push(record.clone()),
            Err(reason) => refused.push(reason),
        }
    }
    let mut draw = [0; 8];
    host.fill_random(&mut draw).map_err(|error| with_causes(&error))?;
    match select(&usable, u64::from_le_bytes(draw)).map(url) {
        Some(Ok(url)) => Ok((url, refused)),
        _ if refused.is_empty() => Err("there are none".to_owned()),
        _ => Err(refused.join(", ")),
    }
}

/// The record that a client is to use by RFC 2782: of the lowest priority, and there with a chance in proportion to its
/// weight. `draw` is any number, from a random source.
pub fn select(records: &[ServiceRecord], draw: u64) -> Option<&ServiceRecord> {
    let priority = records.iter().map(|record| record.priority).min()?;
    let group = records.iter().filter(|record| record.priority == priority);
    // Those without a weight come first, which gives them together a very small chance beside others.
    let (mut without, with): (Vec<_>, Vec<_>) = group.partition(|record| record.weight == 0);
    let points = with.iter().map(|record| u64::from(record.weight)).sum::<u64>() + 1;
    if let Ok(count @ 1..) = u64::try_from(without.len()) {
        let turn = usize::try_from(draw / points % count).unwrap_or_default();
        without.rotate_left(turn);
    }
    let (point, mut sum) = (draw % points, 0);
    without.into_iter().chain(with).find(|record| {
        sum += u64::from(record.weight);
        sum >= point
    })
}

/// The URL that a record leads to, or why it must not be used.
fn url(record: &ServiceRecord) -> Result<String, String> {
    let name = record.target.strip_suffix('.').unwrap_or(&record.target);
    let shown = || {
        record
            .target
            .chars()
            .take(80)
            .collect::<String>()
            .escape_debug()
            .to_string()
    };
    if name.is_empty() {
        return Err("the domain says that it has no server".to_owned());
    }
    if let Some(reason) = oddity(name) {
        return Err(format!("\"{}\" is no host name: {reason}", shown()));
    }
    if record.port == 0 {
        return Err(format!("{} is said to be at port 0", shown()));
    }
    let name = name.to_ascii_lowercase();
    let url = format!("https://{name}:{}/api-agent.php", record.port);
    // The last word has the parser that will read it: it must find the same host.
    match reqwest::Url::parse(&url) {
        Ok(parsed) if parsed.host_str() == Some(&name) => Ok(url),
        _ => Err(format!("\"{}\" is no host name that can stand in a URL", shown())),
    }
}

/// What keeps a name from being a host name by RFC 1123.
fn oddity(name: &str) -> Option<&'static str> {
    let labels = || name.split('.');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.len() > 253 || labels().any(|label| label.len() > 63) {
        Some("it is too long")
    } else if labels().any(str::is_empty) {
        Some("it has an empty label")
    } else if !labels().all(|label| label.bytes().all(plain)) {
        Some("there is something other than letters, digits and hyphens in it")
    } else if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
        Some("a label begins or ends with a hyphen")
    } else if labels()
        .next_back()
        .is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()))
    {
        Some("it ends like an address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
