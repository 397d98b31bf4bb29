//! The domains in which Windows looks for names: settings of its DNS client and of its connections, most of them in the
//! registry.

use super::resolver::domain;
use crate::host::{Host, RegistryKey, Result};
use crate::inventory::windows::registry::{Values, text};

/// Where group policy sets a list of domains, and where another policy sets the computer's own. The latter is followed from
/// the next start on: until then it only has the name `NV PrimaryDnsSuffix`.
const LIST_POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows NT\DNSClient";
const PRIMARY_POLICY: &str = r"SOFTWARE\Policies\Microsoft\System\DNSClient";

/// What is set on the computer itself; by connection below `Interfaces`.
const PARAMETERS: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";

/// A connection that is up.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The name of its key, `{4D36E972-...}`.
    pub(super) key: String,
    /// Its domains as the system itself has them, from whatever source.
    pub(super) suffixes: Vec<String>,
}

/// The domains in the system's order, each once. Connections are in that order, too.
pub(super) fn search_domains(host: &dyn Host, connections: &[Connection]) -> Result<Vec<String>> {
    let parameters = RegistryKey::machine(PARAMETERS);
    let interfaces = parameters.subkey("Interfaces");
    let values_of = |connection: &Connection| values(host, &interfaces.subkey(&connection.key));
    let connections = connections
        .iter()
        .map(|connection| Ok((connection.suffixes.clone(), values_of(connection)?)));
    let settings = Settings {
        list_policy: values(host, &RegistryKey::machine(LIST_POLICY))?,
        primary_policy: values(host, &RegistryKey::machine(PRIMARY_POLICY))?,
        computer: values(host, &parameters)?,
        connections: connections.collect::<Result<_>>()?,
    };
    Ok(settings.domains())
}

/// What is set where.
#[derive(Debug, Default)]
struct Settings {
    list_policy: Values,
    primary_policy: Values,
    computer: Values,
    /// What the system knows of each connection, and what is set for it.
    connections: Vec<(Vec<String>, Values)>,
}

impl Settings {
    /// A list holds alone, and that of the policy rather than the computer's, which a bad one switches off as well. Without
    /// one, it is the computer's own domain and then those of its connections. The parents of the computer's own are left
    /// out, though the system may try them: whoever has them may be somebody else.
    fn domains(&self) -> Vec<String> {
        let lists = [&self.list_policy, &self.computer].map(|values| text(values, "SearchList"));
        let list = lists.into_iter().flatten().next();
        let listed = distinct(list.iter().flat_map(|list| list.split(is_separator)));
        if !listed.is_empty() {
            return listed;
        }
        let own = text(&self.primary_policy, "PrimaryDnsSuffix").or_else(|| text(&self.computer, "Domain"));
        let of_connections = self.connections.iter().flat_map(|(suffixes, values)| {
            let set = || text(values, "Domain").or_else(|| text(values, "DhcpDomain"));
            let known = suffixes.iter().any(|suffix| domain(suffix).is_some());
            if known {
                suffixes.clone()
            } else {
                set().into_iter().collect()
            }
        });
        let domains = distinct(own.into_iter().chain(of_connections));
        if domains.is_empty() {
            // What DHCP said last for the computer as a whole.
            return distinct(text(&self.computer, "DhcpDomain"));
        }
        domains
    }
}

/// Usually commas; what somebody wrote into the registry himself has blanks as well.
fn is_separator(character: char) -> bool {
    character == ',' || character.is_whitespace()
}

/// The domains among the texts, each where it stands first.
fn distinct(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for found in texts.into_iter().filter_map(|text| domain(text.as_ref())) {
        if !domains.iter().any(|known| known.eq_ignore_ascii_case(&found)) {
            domains.push(found);
        }
    }
    domains
}

/// The values of a key; none where there is no such key.
fn values(host: &dyn Host, key: &RegistryKey) -> Result<Values> {
    match host.registry_values(key) {
        Err(error) if error.is_not_found() => Ok(Values::new()),
        values => values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RegistryValue;
    use crate::host::recorded::{RecordedHost, Recording};
    use proptest::prelude::*;
    use serde_json::json;

    fn texts(values: &[(&str, &str)]) -> Values {
        let text =
            |(name, text): &(&str, &str)| ((*name).to_owned(), RegistryValue::Text((*text).to_owned()));
        values.iter().map(text).collect()
    }

    /// A computer in a directory, on a cable and on a wireless network.
    fn in_a_directory() -> Settings {
        Settings {
            computer: texts(&[("Domain", "corp.example"), ("DhcpDomain", "old.example")]),
            connections: vec![
                (vec!["lan.example".into()], Values::new()),
                (vec!["Corp.Example".into(), "wifi.example.".into()], Values::new()),
            ],
            ..Settings::default()
        }
    }

    #[test]
    fn the_computers_own_domain_is_before_those_of_its_connections() {
        let expected = ["corp.example", "lan.example", "wifi.example"];
        assert_eq!(in_a_directory().domains(), expected);
    }

    #[test]
    fn a_list_holds_alone_and_the_policys_before_the_computers() {
        let mut settings = in_a_directory();
        let list = RegistryValue::Text("b.example,a.example, B.example.,,".into());
        settings.computer.insert("SearchList".into(), list);
        assert_eq!(settings.domains(), ["b.example", "a.example"]);
        settings.list_policy = texts(&[("SearchList", "policy.example")]);
        assert_eq!(settings.domains(), ["policy.example"]);
        // One without a domain in it switches off the other, as it does in Windows.
        settings.list_policy = texts(&[("SearchList", ",")]);
        assert_eq!(settings.domains(), in_a_directory().domains());
        // An empty one is none.
        settings.list_policy = texts(&[("SearchList", "")]);
        assert_eq!(settings.domains(), ["b.example", "a.example"]);
    }

    #[test]
    fn the_policys_domain_is_the_computers_own_once_it_holds() {
        let mut settings = in_a_directory();
        settings.primary_policy = texts(&[("NV PrimaryDnsSuffix", "next.example")]);
        assert_eq!(settings.domains()[0], "corp.example");
        settings.primary_policy = texts(&[("PrimaryDnsSuffix", "policy.example")]);
        assert_eq!(
            settings.domains(),
            ["policy.example", "lan.example", "corp.example", "wifi.example"]
        );
    }

    #[test]
    fn a_computer_in_no_directory_has_the_domain_that_dhcp_tells() {
        let connection = |values: &[(&str, &str)]| (vec![String::new()], texts(values));
        let mut settings = Settings {
            computer: texts(&[("Domain", ""), ("DhcpDomain", "old.example")]),
            connections: vec![
                connection(&[("Domain", ""), ("DhcpDomain", "dhcp.example")]),
                connection(&[("Domain", "set.example"), ("DhcpDomain", "other.example")]),
            ],
            ..Settings::default()
        };
        assert_eq!(settings.domains(), ["dhcp.example", "set.example"]);
        settings.connections.clear();
        assert_eq!(settings.domains(), ["old.example"]);
        settings.computer.clear();
        assert!(settings.domains().is_empty());
    }

    #[test]
    fn names_are_asked_for_in_ascii_and_what_is_no_name_is_passed_over() {
        let settings = Settings {
            computer: texts(&[("SearchList", "bücher.example a..b .")]),
            ..Settings::default()
        };
        assert_eq!(settings.domains(), ["xn--bcher-kva.example"]);
    }

    #[test]
    fn the_settings_are_read_from_their_keys() {
        let machine = json!({
            "os": "windows", "hostname": "pc", "kernel": {"release": "10.0.22631", "machine": "AMD64"},
            "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
        });
        let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
        let connections = ["{1}", "{2}"].map(|key| Connection {
            key: key.to_owned(),
            ..Connection::default()
        });
        let domains = || search_domains(&host, &connections).unwrap();
        let set = |key: &str, name: &str, text: &str| {
            let value = RegistryValue::Text(text.to_owned());
            host.set_registry_value(&RegistryKey::machine(key), name, &value)
                .unwrap();
        };
        assert!(domains().is_empty());
        set(
            &format!(r"{PARAMETERS}\Interfaces\{{2}}"),
            "DhcpDomain",
            "dhcp.example",
        );
        // Of a connection that is down.
        set(
            &format!(r"{PARAMETERS}\Interfaces\{{3}}"),
            "DhcpDomain",
            "hotel.example",
        );
        assert_eq!(domains(), ["dhcp.example"]);
        set(PARAMETERS, "Domain", "corp.example");
        assert_eq!(domains(), ["corp.example", "dhcp.example"]);
        set(PRIMARY_POLICY, "PrimaryDnsSuffix", "primary.example");
        assert_eq!(domains(), ["primary.example", "dhcp.example"]);
        set(PARAMETERS, "SearchList", "list.example");
        assert_eq!(domains(), ["list.example"]);
        set(LIST_POLICY, "SearchList", "policy.example");
        assert_eq!(domains(), ["policy.example"]);
    }

    proptest! {
        #[test]
        fn no_list_panics_and_no_domain_is_there_twice(list in "([a-c]|[.,]|\\PC){0,40}") {
            let settings = Settings {
                computer: texts(&[("SearchList", &list), ("Domain", &list)]),
                ..Settings::default()
            };
            let found = settings.domains();
            prop_assert_eq!(distinct(&found), found);
        }
    }
}
