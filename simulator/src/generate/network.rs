//! Network interfaces: wired, wireless, virtual and idle ones, with the addresses that a real system lists.

use super::hardware::Form;
use super::{Draw, Profile, Topic};
use oco_agent::host::{Interface, InterfaceAddress, Os};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

/// A laptop gets another address after this many seconds: it was somewhere else.
const LEASE: u64 = 7 * 24 * 3600;

impl Profile {
    /// The network interfaces.
    pub fn interfaces(&self, now: SystemTime) -> Vec<Interface> {
        let mut draw = Draw::new(self.machine, Topic::Network, 0);
        let mut interfaces = Vec::with_capacity(4);
        if self.machine.os != Os::Windows || draw.permille(500) {
            interfaces.push(loopback(self.machine.os));
        }
        let laptop = self.model.form == Form::Laptop;
        interfaces.push(self.connected(
            interface_name(self.machine.os, laptop, &mut draw),
            laptop,
            now,
            &mut draw,
        ));
        if laptop || draw.permille(300) {
            let name = interface_name(self.machine.os, false, &mut draw);
            interfaces.push(Interface {
                name: second(name),
                mac: Some(self.mac(1, &mut draw)),
                loopback: false,
                addresses: vec![],
            });
        }
        if self.machine.os == Os::Linux && draw.permille(250) {
            interfaces.push(docker_bridge(&mut draw));
        }
        if draw.permille(150) {
            interfaces.push(tunnel(self.machine.os, &mut draw));
        }
        interfaces
    }

    fn connected(&self, name: String, laptop: bool, now: SystemTime, draw: &mut Draw) -> Interface {
        let lease = if laptop { Self::seconds(now) / LEASE } else { 0 };
        let mac = self.mac(0, draw);
        let host = self.machine.index.wrapping_add(lease.wrapping_mul(7919));
        let mut addresses = vec![v4(
            [10, draw.pick(&[0, 8, 20, 77])],
            host,
            draw.pick(&[16, 20, 22, 24]),
        )];
        if draw.permille(100) {
            addresses.push(v4([172, 16], host.rotate_left(3), 24));
        }
        if draw.permille(450) {
            let network = [0x2001, 0xdb8, u16::try_from(draw.below(0x10000)).unwrap_or(0), 1];
            addresses.push(v6(network, draw.next_u64(), 64));
            if draw.permille(200) {
                addresses.push(v6(network, host | 1, 128));
            }
        }
        if draw.permille(800) {
            addresses.push(v6([0xfe80, 0, 0, 0], draw.next_u64(), 64));
        }
        Interface {
            name,
            mac: Some(mac),
            loopback: false,
            addresses,
        }
    }

    /// The address of the machine's interface of that number: vendor, then index.
    fn mac(&self, interface: u64, draw: &mut Draw) -> String {
        let [a, b, c] = draw.pick_or(self.model.ouis, [0x02, 0, 0]);
        // An odd factor: machines of one vendor differ as long as there are fewer than eight million of them.
        let device = self
            .machine
            .index
            .wrapping_mul(2)
            .wrapping_add(interface)
            .wrapping_mul(0x9E_3779);
        let [.., d, e, f] = device.to_be_bytes();
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

fn interface_name(os: Os, wireless: bool, draw: &mut Draw) -> String {
    let names: [&str; 4] = match (os, wireless) {
        (Os::Linux, false) => ["eth0", "eno1", "enp0s31f6", "ens18"],
        (Os::Linux, true) => ["wlan0", "wlp0s20f3", "wlp2s0", "wlx00c0caabcdef"],
        (Os::MacOs, wireless) => [if wireless { "en0" } else { "en5" }; 4],
        (Os::Windows, false) => [
            "Ethernet",
            "Ethernet 2",
            "LAN-Verbindung",
            "Подключение по локальной сети",
        ],
        (Os::Windows, true) => ["Wi-Fi", "WLAN", "Drahtlosnetzwerkverbindung", "Wi-Fi 2"],
    };
    draw.pick(&names).to_owned()
}

/// The name of another interface of the same kind.
fn second(name: String) -> String {
    if name == "en5" { name } else { format!("{name}b") }
}

fn loopback(os: Os) -> Interface {
    let name = match os {
        Os::Linux => "lo",
        Os::MacOs => "lo0",
        Os::Windows => "Loopback Pseudo-Interface 1",
    };
    let address = |addr, prefix| InterfaceAddress {
        addr,
        prefix,
        broadcast: None,
    };
    let addresses = vec![
        address(Ipv4Addr::LOCALHOST.into(), 8),
        address(Ipv6Addr::LOCALHOST.into(), 128),
    ];
    let mac = (os == Os::Linux).then(|| "00:00:00:00:00:00".to_owned());
    Interface {
        name: name.to_owned(),
        mac,
        loopback: true,
        addresses,
    }
}

fn docker_bridge(draw: &mut Draw) -> Interface {
    let mut mac = "02:42".to_owned();
    for _ in 0..4 {
        mac.push_str(&format!(":{:02x}", draw.below(256)));
    }
    Interface {
        name: "docker0".into(),
        mac: Some(mac),
        loopback: false,
        addresses: vec![v4([172, 17], 0, 16)],
    }
}

/// A VPN: no hardware address, no broadcast, one host in its network.
fn tunnel(os: Os, draw: &mut Draw) -> Interface {
    let name = match os {
        Os::Linux => "tun0",
        Os::MacOs => "utun4",
        Os::Windows => "Ethernet 7",
    };
    let addr = Ipv4Addr::new(10, 254, octet(draw), octet(draw));
    let address = InterfaceAddress {
        addr: addr.into(),
        prefix: 32,
        broadcast: None,
    };
    Interface {
        name: name.to_owned(),
        mac: None,
        loopback: false,
        addresses: vec![address],
    }
}

fn octet(draw: &mut Draw) -> u8 {
    u8::try_from(1 + draw.below(254)).unwrap_or(1)
}

/// An address in `start`.0.0/16 for the host of that number, as seen in a network of `prefix` bits.
fn v4(start: [u8; 2], host: u64, prefix: u8) -> InterfaceAddress {
    let host = u32::try_from(host % 65_000).unwrap_or(0) + 10;
    let network = u32::from_be_bytes([start[0], start[1], 0, 0]);
    let address = network | host;
    let mask = u32::MAX << (32 - u32::from(prefix));
    let broadcast = IpAddr::from(Ipv4Addr::from_bits(address | !mask));
    InterfaceAddress {
        addr: Ipv4Addr::from_bits(address).into(),
        prefix,
        broadcast: Some(broadcast),
    }
}

fn v6(network: [u16; 4], host: u64, prefix: u8) -> InterfaceAddress {
    let network = network
        .into_iter()
        .fold(0u128, |bits, group| bits << 16 | u128::from(group));
    let addr = Ipv6Addr::from_bits(network << 64 | u128::from(host));
    InterfaceAddress {
        addr: addr.into(),
        prefix,
        broadcast: None,
    }
}
