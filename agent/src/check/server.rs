//! The way to the server, step by step: name, connection, certificate, what answers there, and its clock.

use super::{Item, tls};
use crate::config::Config;
use crate::errors::with_causes;
use crate::host::Host;
use crate::server_client::{HttpClient, HttpError};
use hyper::ext::ReasonPhrase;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Response, Url};
use rustls::pki_types::UnixTime;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const NAME: &str = "name";
const CONNECTION: &str = "connection";
const CERTIFICATE: &str = "certificate";
const AGENT_API: &str = "agent API";
const CLOCK: &str = "clock";

/// Longest wait for the system's resolver, and for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// So much of an answer is enough to know it by, bytes.
const ENOUGH: usize = 4096;

/// A difference of the clocks up to which nothing is said, and one up to which the agent works but should not have to, s.
const CLOCK_OK: u64 = 30;
const CLOCK_WARN: u64 = 300;

/// Everything about the server that the configuration (or DNS) names.
pub(super) async fn items(
    host: &dyn Host,
    config: &Config,
    http: impl FnOnce(&Config) -> Result<HttpClient, HttpError>,
) -> Vec<Item> {
    let url = config.api_url.as_deref().and_then(|url| Url::parse(url).ok());
    let Some(url) = url else {
        let skipped = |name| Item::skipped(name, "there is no server to ask");
        return [NAME, CONNECTION, CERTIFICATE, AGENT_API, CLOCK]
            .map(skipped)
            .into();
    };
    let client = http(config);
    let mut items = Vec::new();
    let reachable = match &client {
        Err(error) => {
            items.push(Item::fail(
                CERTIFICATE,
                with_causes(error),
                "correct [server] ca-file",
            ));
            false
        }
        Ok(_) if is_proxied(&url) => {
            let proxied =
                |name| Item::skipped(name, "the environment names a proxy, which goes on from there");
            items.extend([NAME, CONNECTION, CERTIFICATE].map(proxied));
            true
        }
        Ok(_) => way(host, config, &url, &mut items).await,
    };
    match client {
        Ok(client) if reachable => items.extend(answer(host, config, &client, url).await),
        _ => items.extend([AGENT_API, CLOCK].map(|name| Item::skipped(name, "the server cannot be asked"))),
    }
    items
}

/// Whether the agent's client would go through a proxy.
fn is_proxied(url: &Url) -> bool {
    let uri = url.as_str().parse::<hyper::Uri>();
    uri.is_ok_and(|uri| Matcher::from_env().intercept(&uri).is_some())
}

/// Name, connection and certificate; whether it could be asked then.
async fn way(host: &dyn Host, config: &Config, url: &Url, items: &mut Vec<Item>) -> bool {
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses = match resolve(name, port).await {
        Ok((item, addresses)) => {
            items.push(item);
            addresses
        }
        Err(item) => {
            items.push(item);
            let skipped = |part| Item::skipped(part, "the server's address is unknown");
            items.extend([CONNECTION, CERTIFICATE].map(skipped));
            return false;
        }
    };
    let (item, stream) = connect(&addresses, config.connection_timeout).await;
    items.push(item);
    let Some(stream) = stream else {
        items.push(Item::skipped(CERTIFICATE, "there is no connection"));
        return false;
    };
    if url.scheme() != "https" {
        items.push(Item::skipped(CERTIFICATE, "the URL is plain http"));
        return true;
    }
    let now = host.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let trust = tls::Trust::load(config);
    let now = UnixTime::since_unix_epoch(now);
    let item = tls::check(&trust, stream, name, config.connection_timeout, now).await;
    let ok = item.verdict != super::Verdict::Fail;
    items.push(item);
    ok
}

async fn resolve(name: &str, port: u16) -> Result<(Item, Vec<SocketAddr>), Item> {
    if let Ok(address) = name.parse::<IpAddr>() {
        let item = Item::ok(NAME, format!("{address} is an address"));
        return Ok((item, vec![SocketAddr::new(address, port)]));
    }
    let failed = |reason: String| {
        let hint = "check the name in [server] api-url and this computer's DNS settings";
        Err(Item::fail(NAME, format!("{name} has no address: {reason}"), hint))
    };
    let addresses: Vec<_> = match timeout(PATIENCE, tokio::net::lookup_host((name, port))).await {
        Err(_) => {
            return failed(format!(
                "the resolver does not answer within {} s",
                PATIENCE.as_secs()
            ));
        }
        Ok(Err(error)) => return failed(error.to_string()),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    if addresses.is_empty() {
        return failed("the resolver knows none".to_owned());
    }
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    Ok((
        Item::ok(NAME, format!("{name} is {}", shown.join(", "))),
        addresses,
    ))
}

/// Connects to the first address that takes a connection.
async fn connect(addresses: &[SocketAddr], limit: Duration) -> (Item, Option<TcpStream>) {
    let mut failures = Vec::new();
    for address in addresses.iter().take(8) {
        let started = Instant::now();
        let failure = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let finding = format!("{address} after {} ms", started.elapsed().as_millis());
                let item = if failures.is_empty() {
                    Item::ok(CONNECTION, finding)
                } else {
                    let hint = format!("other addresses of the server take none: {}", failures.join("; "));
                    Item::warn(CONNECTION, finding, hint)
                };
                return (item, Some(stream));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", limit.as_secs_f32()),
        };
        failures.push(format!("{address}: {failure}"));
    }
    let hint = "check the port in [server] api-url, that the server runs, and the firewalls in between";
    (Item::fail(CONNECTION, failures.join("; "), hint), None)
}

/// What answers there, and which time it has.
async fn answer(host: &dyn Host, config: &Config, client: &HttpClient, url: Url) -> Vec<Item> {
    // Neither a method nor a signature: servers of both generations refuse it before they look for a computer.
    let request = client
        .request(reqwest::Method::POST, url)
        .header("content-type", "text/plain")
        .body(Vec::new());
    let limit = PATIENCE.min(config.connection_timeout + config.read_timeout);
    let sent = host.now();
    let exchange = async {
        let mut response = request.send().await?;
        let received = host.now();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() >= ENOUGH {
                break;
            }
        }
        Ok::<_, reqwest::Error>((response, body, received))
    };
    match timeout(limit, exchange).await {
        Ok(Ok((response, body, received))) => {
            // The server's clock was read somewhere in between.
            let middle = sent + received.duration_since(sent).unwrap_or_default() / 2;
            let status = response.status().as_u16();
            vec![
                api(status, &reason(&response, &body), header(&response, "location")),
                clock(header(&response, "date"), middle),
            ]
        }
        failed => {
            let finding = match failed {
                Ok(Err(error)) => with_causes(&error.without_url()),
                _ => format!("no answer within {} s", limit.as_secs()),
            };
            vec![
                Item::fail(AGENT_API, finding, "check what listens there, and its log"),
                Item::skipped(CLOCK, "the server has not answered"),
            ]
        }
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// What the server says of a refusal: in the body, or where that is empty in the status line, as servers of 2022 do.
fn reason(response: &Response, body: &[u8]) -> String {
    let phrase = response
        .extensions()
        .get::<ReasonPhrase>()
        .map(ReasonPhrase::as_bytes);
    let text = if body.is_empty() {
        phrase.unwrap_or_default()
    } else {
        body
    };
    let text = String::from_utf8_lossy(text);
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// Whether an answer is that of an agent API to a request without the right content type.
fn api(status: u16, reason: &str, location: Option<&str>) -> Item {
    let path = "check the path in [server] api-url, which usually ends in /api-agent.php";
    match status {
        400 if reason.to_ascii_lowercase().starts_with("content type mismatch") => {
            Item::ok(AGENT_API, "answers as an OCO server does")
        }
        200..=299 => Item::fail(
            AGENT_API,
            format!("something else answers there (status {status})"),
            path,
        ),
        300..=399 => {
            let target = location
                .unwrap_or("nowhere")
                .chars()
                .filter(|c| !c.is_control())
                .take(200);
            let finding = format!("it leads on to {} (status {status})", target.collect::<String>());
            Item::fail(
                AGENT_API,
                finding,
                "redirects are not followed: set [server] api-url to where the agent API is",
            )
        }
        404 => Item::fail(AGENT_API, "there is no such page (status 404)", path),
        407 => Item::fail(
            AGENT_API,
            "the proxy wants to know who asks (status 407)",
            "put user and password into the proxy's URL",
        ),
        500..=599 => {
            let finding = format!("the server has failed (status {status}): {reason}");
            Item::fail(AGENT_API, finding, "look into the web server's log")
        }
        _ => {
            let finding = format!("it answers with status {status}: {reason}");
            Item::fail(AGENT_API, finding, path)
        }
    }
}

/// Compares the clocks. Signed requests carry a time, and one from the future locks out all before it.
fn clock(date: Option<&str>, now: SystemTime) -> Item {
    let server = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (Some(server), Ok(now)) = (server, i64::try_from(now.as_secs())) else {
        return Item::warn(
            CLOCK,
            "the server tells no time",
            "compare the clocks of this computer and the server",
        );
    };
    let ahead = now.saturating_sub(server.timestamp().as_second());
    let seconds = ahead.unsigned_abs();
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let finding = match seconds {
        0 | 1 => "the same as the server's".to_owned(),
        _ => format!("{seconds} s {side} the server's"),
    };
    let hint = "set the clocks of both sides, best by NTP";
    match seconds {
        _ if seconds <= CLOCK_OK => Item::ok(CLOCK, finding),
        _ if seconds <= CLOCK_WARN => Item::warn(CLOCK, finding, hint),
        _ => Item::fail(CLOCK, finding, hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn an_agent_api_is_known_by_its_refusal_whatever_its_generation() {
        for reason in ["Content type mismatch", "Content Type Mismatch"] {
            assert_eq!(api(400, reason, None).verdict, Verdict::Ok);
        }
        for (status, reason, location, part) in [
            (200, "<html>", None, "something else"),
            (400, "Bad Request", None, "status 400: Bad Request"),
            (404, "Not Found", None, "no such page"),
            (301, "", Some("https://x/\r\n"), "leads on to https://x/ "),
            (500, "", None, "has failed"),
            (403, "Forbidden", None, "status 403"),
        ] {
            let item = api(status, reason, location);
            assert_eq!(item.verdict, Verdict::Fail);
            assert!(item.finding.contains(part) && item.hint.is_some(), "{item:?}");
        }
    }

    #[test]
    fn clocks_are_compared_in_both_directions() {
        let server = "Sun, 22 Nov 2026 06:00:00 GMT";
        let at =
            |offset: i64| UNIX_EPOCH + Duration::from_secs(1_795_327_200_u64.saturating_add_signed(offset));
        for (offset, verdict, part) in [
            (0, Verdict::Ok, "the same"),
            (-20, Verdict::Ok, "20 s behind"),
            (31, Verdict::Warn, "31 s ahead of"),
            (-300, Verdict::Warn, "300 s behind"),
            (86_400, Verdict::Fail, "86400 s ahead of"),
            (-301, Verdict::Fail, "301 s behind"),
        ] {
            let item = clock(Some(server), at(offset));
            assert!(item.verdict == verdict && item.finding.contains(part), "{item:?}");
        }
        for date in [None, Some("yesterday"), Some("")] {
            assert_eq!(clock(date, at(0)).verdict, Verdict::Warn);
        }
    }
}
