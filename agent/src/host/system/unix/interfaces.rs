//! Network interfaces, from getifaddrs(3).

use crate::host::{HostError, Interface, InterfaceAddress, Result};
use nix::ifaddrs::{self, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use std::io;
use std::net::IpAddr;

/// The interfaces with their addresses, in the system's order.
pub(crate) fn list() -> Result<Vec<Interface>> {
    let entries =
        getifaddrs().map_err(|error| HostError::new("list", "network interfaces", io::Error::from(error)))?;
    let mut interfaces = Vec::new();
    for entry in entries {
        add(&mut interfaces, &entry);
    }
    Ok(interfaces)
}

fn add(interfaces: &mut Vec<Interface>, entry: &ifaddrs::InterfaceAddress) {
    // An address with a label such as `eth0:1` belongs to `eth0`.
    let name = entry.interface_name.split(':').next().unwrap_or_default();
    let position = interfaces
        .iter()
        .position(|interface| interface.name == name)
        .unwrap_or_else(|| {
            interfaces.push(Interface {
                name: name.to_owned(),
                mac: None,
                loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
                addresses: Vec::new(),
            });
            interfaces.len() - 1
        });
    let interface = &mut interfaces[position];
    if let Some(mac) = entry.address.as_ref().and_then(hardware_address) {
        interface.mac = Some(mac);
    }
    if let Some(addr) = entry.address.as_ref().and_then(ip) {
        let netmask = entry.netmask.as_ref().and_then(ip);
        let broadcast = entry.broadcast.as_ref().and_then(ip).filter(|_| addr.is_ipv4());
        interface.addresses.push(InterfaceAddress {
            addr,
            prefix: prefix(addr, netmask),
            broadcast,
        });
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(v4.ip().into()),
        (None, Some(v6)) => Some(v6.ip().into()),
        (None, None) => None,
    }
}

/// Six bytes that are not all zero (as the loopback interface's are), lower-case with colons.
fn hardware_address(address: &SockaddrStorage) -> Option<String> {
    let link = address.as_link_addr()?;
    #[cfg(target_os = "linux")]
    let length = link.halen();
    #[cfg(target_os = "macos")]
    let length = link.alen();
    let link = Some(link).filter(|_| length == 6)?;
    let [a, b, c, d, e, f] = link.addr().filter(|bytes| bytes != &[0; 6])?;
    Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
}

/// Length of the prefix that a netmask stands for; without one, the address stands alone.
fn prefix(addr: IpAddr, netmask: Option<IpAddr>) -> u8 {
    let bits = match (addr, netmask) {
        (_, Some(IpAddr::V4(mask))) => mask.to_bits().leading_ones(),
        (_, Some(IpAddr::V6(mask))) => mask.to_bits().leading_ones(),
        (IpAddr::V4(_), None) => 32,
        (IpAddr::V6(_), None) => 128,
    };
    u8::try_from(bits).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_listed_with_its_prefix() {
        let interfaces = list().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.loopback).unwrap();
        assert_eq!(loopback.mac, None);
        let v4 = loopback
            .addresses
            .iter()
            .find(|address| address.addr.is_ipv4())
            .unwrap();
        assert_eq!((v4.addr, v4.prefix), ("127.0.0.1".parse().unwrap(), 8));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn hardware_addresses_agree_with_sysfs() {
        for interface in list().unwrap() {
            let path = format!("/sys/class/net/{}/address", interface.name);
            let expected = std::fs::read_to_string(path).unwrap_or_default();
            if let Some(mac) = interface.mac {
                assert_eq!(mac, expected.trim());
            }
        }
    }

    #[test]
    fn an_address_without_a_netmask_stands_alone() {
        assert_eq!(prefix("10.0.0.1".parse().unwrap(), None), 32);
        assert_eq!(prefix("fd00::1".parse().unwrap(), None), 128);
        assert_eq!(
            prefix(
                "10.0.0.1".parse().unwrap(),
                Some("255.255.240.0".parse().unwrap())
            ),
            20
        );
    }
}
