//! Addresses of the network interfaces, in the words of the protocol.

use crate::host::{Interface, InterfaceAddress};
use oco_protocol::inventory::{Network, UNKNOWN};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One item for each address. The loopback interface and addresses that are valid on their own link only are left out;
/// an interface without any other address appears once.
pub(super) fn report(interfaces: &[Interface]) -> Vec<Network> {
    interfaces
        .iter()
        .filter(|interface| !interface.loopback)
        .flat_map(of_interface)
        .collect()
}

fn of_interface(interface: &Interface) -> Vec<Network> {
    let mut networks: Vec<_> = interface
        .addresses
        .iter()
        .filter(|address| is_reported(address.addr))
        .map(|address| network(interface, Some(address)))
        .collect();
    if networks.is_empty() {
        networks.push(network(interface, None));
    }
    networks
}

fn is_reported(addr: IpAddr) -> bool {
    let link_local = matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !addr.is_loopback() && !link_local
}

fn network(interface: &Interface, address: Option<&InterfaceAddress>) -> Network {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    Network {
        addr: or_unknown(address.map(|address| address.addr.to_string())),
        netmask: or_unknown(address.map(|address| netmask(address.addr, address.prefix))),
        broadcast: or_unknown(
            address
                .and_then(|address| address.broadcast)
                .map(|addr| addr.to_string()),
        ),
        mac: or_unknown(interface.mac.clone()),
        interface: interface.name.clone(),
    }
}

/// `255.255.255.0`, or `ffff:ffff:ffff:ffff::/64`.
fn netmask(addr: IpAddr, prefix: u8) -> String {
    let host_bits = |width: u32| width.saturating_sub(prefix.into());
    match addr {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits(32)).unwrap_or(0)).to_string(),
        IpAddr::V6(_) => {
            let mask = Ipv6Addr::from_bits(u128::MAX.checked_shl(host_bits(128)).unwrap_or(0));
            format!("{mask}/{prefix}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interface(addresses: &[(&str, u8, Option<&str>)]) -> Interface {
        Interface {
            name: "eth0".to_owned(),
            mac: Some("02:fc:00:00:00:01".to_owned()),
            loopback: false,
            addresses: addresses
                .iter()
                .map(|(addr, prefix, broadcast)| InterfaceAddress {
                    addr: addr.parse().unwrap(),
                    prefix: *prefix,
                    broadcast: broadcast.map(|addr| addr.parse().unwrap()),
                })
                .collect(),
        }
    }

    #[test]
    fn each_address_is_an_item_in_the_servers_spelling() {
        let networks = report(&[interface(&[
            ("192.0.2.2", 24, Some("192.0.2.255")),
            ("fd00::2", 64, None),
            ("fe80::1", 64, None),
        ])]);
        let items: Vec<_> = networks
            .iter()
            .map(|n| [&*n.addr, &*n.netmask, &*n.broadcast, &*n.mac])
            .collect();
        assert_eq!(
            items,
            [
                ["192.0.2.2", "255.255.255.0", "192.0.2.255", "02:fc:00:00:00:01"],
                ["fd00::2", "ffff:ffff:ffff:ffff::/64", "-", "02:fc:00:00:00:01"],
            ]
        );
    }

    #[test]
    fn an_interface_with_only_link_local_addresses_appears_once() {
        let networks = report(&[interface(&[("fe80::1", 64, None), ("fe80::2", 64, None)])]);
        assert_eq!(networks.len(), 1);
        assert_eq!(
            [&*networks[0].addr, &*networks[0].netmask, &*networks[0].broadcast],
            ["-"; 3]
        );
    }

    #[test]
    fn the_loopback_interface_and_its_addresses_are_left_out() {
        let mut loopback = interface(&[("127.0.0.1", 8, None)]);
        loopback.loopback = true;
        assert!(report(&[loopback]).is_empty());
        assert_eq!(
            report(&[interface(&[("::1", 128, None), ("10.0.0.1", 8, None)])]).len(),
            1
        );
    }

    #[test]
    fn unusual_prefixes_have_their_masks() {
        let v4 = |prefix| netmask("10.0.0.1".parse().unwrap(), prefix);
        assert_eq!(
            [v4(0), v4(20), v4(32)],
            ["0.0.0.0", "255.255.240.0", "255.255.255.255"]
        );
        let v6 = |prefix| netmask("fd00::1".parse().unwrap(), prefix);
        assert_eq!([&*v6(0), &*v6(56)], ["::/0", "ffff:ffff:ffff:ff00::/56"]);
        assert_eq!(v6(128), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
    }

    proptest! {
        #[test]
        fn no_prefix_panics(addr: IpAddr, prefix: u8) {
            netmask(addr, prefix);
        }
    }
}
