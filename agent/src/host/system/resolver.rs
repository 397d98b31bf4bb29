//! The system's name service, for what `getaddrinfo` cannot tell: search domains and SRV records.

use crate::host::{HostError, Result, ServiceRecord};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::system_conf::read_system_conf;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A resolver. The system's settings are read anew for each question: networks come and go.
#[derive(Debug, Clone, Default)]
pub struct Resolver {
    /// In place of the system's.
    settings: Option<(ResolverConfig, ResolverOpts)>,
}

impl Resolver {
    /// A resolver that asks one server, and has these search domains, whatever the system says.
    pub fn with_server(server: SocketAddr, search: &[&str]) -> io::Result<Self> {
        let search = search.iter().map(|name| name.parse::<Name>());
        let search = search.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut name_server.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_parts(None, search, vec![name_server]);
        Ok(Self {
            settings: Some((config, ResolverOpts::default())),
        })
    }

    /// The search domains in their order, else the domain that the computer is in.
    #[cfg(unix)]
    pub(super) fn search_domains(&self) -> Result<Vec<String>> {
        let (config, _) = self
            .settings()
            .map_err(|error| HostError::new("read", "the settings of the system's resolver", error))?;
        Ok(search_domains(&config))
    }

    /// The search domains that were given in place of the system's. Windows has them in more places than are read here.
    #[cfg(windows)]
    pub(super) fn given_search_domains(&self) -> Option<Vec<String>> {
        self.settings.as_ref().map(|(config, _)| search_domains(config))
    }

    /// The SRV records of a name. Must be called where blocking is allowed.
    pub(super) fn service_records(&self, name: &str, time_limit: Duration) -> Result<Vec<ServiceRecord>> {
        self.look_up(name, time_limit)
            .map_err(|error| HostError::new("look up the SRV records of", name, error))
    }

    fn look_up(&self, name: &str, time_limit: Duration) -> io::Result<Vec<ServiceRecord>> {
        let (config, mut options) = self.settings()?;
        // A datagram that is lost is to be sent again within the limit.
        options.timeout = options.timeout.min(time_limit / 3);
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let mut name = Name::from_ascii(name).map_err(io::Error::other)?;
        name.set_fqdn(true);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let question = async {
            let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options)
                .build()?;
            resolver.srv_lookup(name).await
        };
        let answer = runtime.block_on(async { tokio::time::timeout(time_limit, question).await });
        match answer {
            Err(_) | Ok(Err(NetError::Timeout)) => {
                let reason = format!("no name server has answered within {} s", time_limit.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, reason))
            }
            Ok(Err(error)) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Ok(Ok(lookup)) => Ok(lookup
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::SRV(record) => Some(ServiceRecord {
                        priority: record.priority,
                        weight: record.weight,
                        port: record.port,
                        target: record.target.to_ascii(),
                    }),
                    _ => None,
                })
                .collect()),
        }
    }

    fn settings(&self) -> io::Result<(ResolverConfig, ResolverOpts)> {
        match &self.settings {
            Some(settings) => Ok(settings.clone()),
            None => read_system_conf().map_err(io::Error::other),
        }
    }
}

fn search_domains(config: &ResolverConfig) -> Vec<String> {
    let domains = if config.search.is_empty() {
        config.domain.as_slice()
    } else {
        &config.search
    };
    domains
        .iter()
        .filter(|name| !name.is_root())
        .map(Name::to_ascii)
        .collect()
}

/// A domain as it is asked for, `xn--bcher-kva.example`, without a dot at its end; none where it is not the name of one.
#[cfg(any(windows, test))]
pub(super) fn domain(text: &str) -> Option<String> {
    let name = text.trim().trim_end_matches('.').parse::<Name>().ok()?;
    name.iter().next()?;
    Some(name.to_ascii())
}
