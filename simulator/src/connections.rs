//! How virtual agents reach the server: a small pool of HTTP clients, each with a source address of its own where the
//! server is on loopback, and a new connection for each request, as real agents do it, unless the scenario wants otherwise.

use crate::scenario;
use oco_agent::server_client::{HttpClient, HttpError, HttpOptions, TlsRoots};
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

/// The agent's own default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3050);
/// The agent's own default.
const READ_TIMEOUT: Duration = Duration::from_secs(150);

/// The pool.
#[derive(Debug, Clone)]
pub struct Connections(Vec<HttpClient>);

impl Connections {
    /// For a server, from the source addresses that the scenario wants if it is on this machine. `ca` is a PEM file of
    /// certificates to trust beside the system's.
    pub fn new(server: &Url, wanted: &scenario::Connections, ca: Option<&Path>) -> Result<Self, HttpError> {
        let roots = TlsRoots {
            additional: ca.map(Path::to_owned),
        };
        let clients = local_addresses(server, wanted.source_addresses.0)
            .into_iter()
            .map(|local_address| {
                HttpClient::new(&HttpOptions {
                    connect_timeout: CONNECT_TIMEOUT,
                    read_timeout: READ_TIMEOUT,
                    tls: (server.scheme() == "https").then(|| roots.clone()),
                    local_address,
                    keep_alive: wanted.keep_alive,
                    proxies: false,
                })
            });
        clients.collect::<Result<_, _>>().map(Self)
    }

    /// The client of an agent: always the same one.
    pub fn of(&self, agent: u32) -> Option<&HttpClient> {
        self.0.get(agent as usize % self.0.len().max(1))
    }
}

/// Linux answers for the whole of 127.0.0.0/8 without any set-up; other systems have 127.0.0.1 only.
fn local_addresses(server: &Url, count: u16) -> Vec<Option<IpAddr>> {
    let host = server.host_str().unwrap_or_default();
    let loopback = host == "localhost"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    if !cfg!(target_os = "linux") || !loopback {
        return vec![None];
    }
    let address = |number: u16| {
        Ipv4Addr::new(
            127,
            1,
            u8::try_from(number / 16).unwrap_or(0),
            1 + (number % 16) as u8,
        )
    };
    (0..count.max(1))
        .map(|number| Some(IpAddr::V4(address(number))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use std::collections::BTreeSet;

    fn addresses(url: &str, count: u16) -> Vec<Option<IpAddr>> {
        local_addresses(&url.parse().unwrap(), count)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_loopback_server_sees_many_addresses() {
        let seen: BTreeSet<_> = addresses("http://127.0.0.1:80/x", 250)
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(seen.len(), 250);
        assert!(seen.iter().all(IpAddr::is_loopback));
        assert_eq!(addresses("http://localhost/", 3).len(), 3);
    }

    #[test]
    fn any_other_server_sees_the_system_s_choice() {
        for url in [
            "https://oco.example/api-agent.php",
            "http://192.0.2.7/",
            "http://[::1]/",
        ] {
            assert_eq!(addresses(url, 16), [None]);
        }
    }

    #[test]
    fn an_agent_keeps_its_client_whatever_its_index() {
        let url = "http://127.0.0.1/".parse().unwrap();
        let pool = Connections::new(&url, &scenario::Connections::default(), None).unwrap();
        assert!((0..10).all(|agent| pool.of(agent).is_some()));
    }
}
