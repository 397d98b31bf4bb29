//! Network interfaces, from the IP helper.

use super::text::{check, from_pointer, from_wide};
use crate::host::system::suffixes::Connection;
use crate::host::{HostError, Interface, InterfaceAddress, Result};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use windows::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_NO_DATA};
use windows::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses,
    IF_TYPE_SOFTWARE_LOOPBACK, IP_ADAPTER_ADDRESSES_LH,
};
use windows::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, SOCKADDR_IN, SOCKADDR_IN6, SOCKET_ADDRESS,
};

/// Room for so many bytes first; the system says if it needs more.
const FIRST_ROOM: u32 = 16 << 10;
/// Interfaces may be added between two calls.
const ATTEMPTS: u32 = 5;

/// The interfaces with their addresses, in the system's order.
pub(super) fn list() -> Result<Vec<Interface>> {
    each(|adapter| Some(interface(adapter)))
}

/// The connections that are up, in the system's order.
pub(super) fn connections() -> Result<Vec<Connection>> {
    each(|adapter| {
        let is_one = adapter.OperStatus == IfOperStatusUp && adapter.IfType != IF_TYPE_SOFTWARE_LOOPBACK;
        is_one.then(|| connection(adapter))
    })
}

/// What is made of each of the system's adapters.
fn each<T>(make: impl Fn(&IP_ADAPTER_ADDRESSES_LH) -> Option<T>) -> Result<Vec<T>> {
    let buffer = adapters().map_err(|error| HostError::new("list", "network interfaces", error))?;
    let mut made = Vec::new();
    let mut next: *const IP_ADAPTER_ADDRESSES_LH = buffer.as_ptr().cast();
    while !buffer.is_empty() && !next.is_null() {
        // SAFETY: the system has filled the buffer with a list of these, which ends with null.
        let adapter = unsafe { &*next };
        made.extend(make(adapter));
        next = adapter.Next;
    }
    Ok(made)
}

/// The system's list, in words since it has pointers in it; empty where there is none.
fn adapters() -> io::Result<Vec<u64>> {
    let flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER;
    let mut size = FIRST_ROOM;
    for _ in 0..ATTEMPTS {
        let mut buffer = vec![0_u64; (size as usize).div_ceil(size_of::<u64>())];
        // SAFETY: the buffer is at least as long as is said, and lives until the function returns.
        let code = unsafe {
            let start = buffer.as_mut_ptr().cast();
            GetAdaptersAddresses(u32::from(AF_UNSPEC.0), flags, None, Some(start), &raw mut size)
        };
        if code == ERROR_NO_DATA.0 {
            return Ok(Vec::new());
        }
        if code != ERROR_BUFFER_OVERFLOW.0 {
            return check(code).map(|()| buffer);
        }
    }
    Err(io::Error::other("there are more interfaces at each look"))
}

fn interface(adapter: &IP_ADAPTER_ADDRESSES_LH) -> Interface {
    let mut addresses = Vec::new();
    let mut next = adapter.FirstUnicastAddress;
    while !next.is_null() {
        // SAFETY: part of the system's list, which ends with null.
        let address = unsafe { &*next };
        // SAFETY: the system's socket address is valid for its length.
        if let Some(addr) = unsafe { ip(&address.Address) } {
            let prefix = address.OnLinkPrefixLength;
            addresses.push(InterfaceAddress {
                addr,
                prefix,
                broadcast: broadcast(addr, prefix),
            });
        }
        next = address.Next;
    }
    let length = usize::try_from(adapter.PhysicalAddressLength).unwrap_or_default();
    Interface {
        // SAFETY: a text of the system's list.
        name: unsafe { from_pointer(adapter.FriendlyName) },
        mac: hardware_address(adapter.PhysicalAddress.get(..length).unwrap_or_default()),
        loopback: adapter.IfType == IF_TYPE_SOFTWARE_LOOPBACK,
        addresses,
    }
}

fn connection(adapter: &IP_ADAPTER_ADDRESSES_LH) -> Connection {
    // SAFETY: a text of the system's list.
    let mut suffixes = vec![unsafe { from_pointer(adapter.DnsSuffix) }];
    let mut next = adapter.FirstDnsSuffix;
    while !next.is_null() {
        // SAFETY: part of the system's list, which ends with null.
        let suffix = unsafe { &*next };
        suffixes.push(from_wide(&suffix.String).to_string_lossy().into_owned());
        next = suffix.Next;
    }
    let name = adapter.AdapterName;
    Connection {
        key: if name.is_null() {
            String::new()
        } else {
            // SAFETY: a text of the system's list.
            String::from_utf8_lossy(unsafe { name.as_bytes() }).into_owned()
        },
        suffixes,
    }
}

/// # Safety
/// The structure leads to a socket address of the length that it says.
unsafe fn ip(address: &SOCKET_ADDRESS) -> Option<IpAddr> {
    let length = usize::try_from(address.iSockaddrLength).unwrap_or_default();
    if address.lpSockaddr.is_null() {
        return None;
    }
    // SAFETY: the family is in every socket address, and the length has been looked at before the rest is.
    unsafe {
        match (*address.lpSockaddr).sa_family {
            AF_INET if length >= size_of::<SOCKADDR_IN>() => {
                let address = &*address.lpSockaddr.cast::<SOCKADDR_IN>();
                Some(Ipv4Addr::from(address.sin_addr.S_un.S_addr.to_ne_bytes()).into())
            }
            AF_INET6 if length >= size_of::<SOCKADDR_IN6>() => {
                let address = &*address.lpSockaddr.cast::<SOCKADDR_IN6>();
                Some(Ipv6Addr::from(address.sin6_addr.u.Byte).into())
            }
            _ => None,
        }
    }
}

/// The last address of an IPv4 network: the system does not name it. Networks of one or two addresses have none.
fn broadcast(addr: IpAddr, prefix: u8) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(addr) if prefix < 31 => {
            let host = u32::MAX.checked_shr(prefix.into()).unwrap_or_default();
            Some(Ipv4Addr::from(addr.to_bits() | host).into())
        }
        _ => None,
    }
}

/// Six bytes that are not all zero, lower-case with colons.
fn hardware_address(bytes: &[u8]) -> Option<String> {
    let [a, b, c, d, e, f] = bytes else { return None };
    let all_zero = bytes.iter().all(|byte| *byte == 0);
    (!all_zero).then(|| format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let interfaces = list().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.loopback).unwrap();
        let address = |interface: &Interface| {
            let found = interface
                .addresses
                .iter()
                .find(|address| address.addr == IpAddr::V4(Ipv4Addr::LOCALHOST));
            found.cloned()
        };
        assert_eq!(address(loopback).unwrap().prefix, 8, "{interfaces:?}");
    }

    #[test]
    fn connections_have_the_keys_of_their_settings() {
        let connections = connections().unwrap();
        assert!(
            connections
                .iter()
                .all(|connection| connection.key.starts_with('{') && connection.key.ends_with('}')),
            "{connections:?}"
        );
    }

    #[test]
    fn broadcast_and_hardware_addresses_are_written_as_usual() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(broadcast(address("192.0.2.7"), 24), Some(address("192.0.2.255")));
        assert_eq!(
            broadcast(address("10.1.2.3"), 0),
            Some(address("255.255.255.255"))
        );
        assert_eq!(broadcast(address("192.0.2.7"), 32), None);
        assert_eq!(broadcast(address("2001:db8::1"), 64), None);
        assert_eq!(
            hardware_address(&[0, 0x15, 0x5d, 1, 2, 0xff]).as_deref(),
            Some("00:15:5d:01:02:ff")
        );
        assert_eq!(hardware_address(&[0; 6]), None);
        assert_eq!(hardware_address(&[1; 8]), None);
    }
}
