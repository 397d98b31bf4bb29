//! Requests as they go over the wire, built once: what differs from one sending to the next is of a fixed width and patched
//! in place, so that the generator leaves the cores to the server.

use oco_protocol::inventory::{Inventory, Network, Partition, Software};
use oco_protocol::rpc::{AGENT_API_PATH, CONTENT_TYPE, Method};
use oco_protocol::signature::{self, AGENT_SIGNATURE_HEADER};
use oco_protocol::{Key, Timestamp};
use serde_json::{Value, json};

/// An update changes every so-manieth package: 5 %.
const CHANGED: usize = 20;
/// What stands where a timestamp is put; no other text of a request has it.
const TIMESTAMP: &str = "0000000000.0000";
/// What stands before the part of a version that an update changes, and that part.
const VERSION: &str = r#""version":""#;
const DIGITS: usize = 5;
/// What stands before the number that every update changes.
const FREE: &str = r#""free":1"#;

/// A request of one computer.
pub(crate) struct Message {
    bytes: Vec<u8>,
    signature: usize,
    body: usize,
    timestamp: usize,
    versions: Vec<usize>,
    free: Option<usize>,
    changes: usize,
}

impl Message {
    /// A hello.
    pub(crate) fn hello(name: &str) -> Self {
        let data = json!({
            "agent_version": "2.0.0", "networks": networks(), "services": null, "uptime": 1493.17,
            "battery_level": false, "battery_status": false, "force_update": false
        });
        Self::new(Method::Hello, name, &data)
    }

    /// An update with these packages.
    pub(crate) fn update(name: &str, software: Vec<Software>) -> Self {
        let text = |text: &str| Some(text.to_owned());
        let inventory = Inventory {
            hostname: text(name),
            agent_version: text("2.0.0"),
            os: text("Debian GNU/Linux"),
            os_version: text("13"),
            os_language: text("en_US.UTF-8"),
            kernel_version: text("6.12.48-amd64"),
            architecture: text("x86_64"),
            cpu: text("13th Gen Intel(R) Core(TM) i5-1340P"),
            ram: Some(16_544_432_128),
            serial: text(name),
            manufacturer: text("Example"),
            model: text("Desktop 400"),
            uptime: Some(1493.17),
            networks: Some(networks()),
            partitions: Some(vec![Partition {
                device: "/dev/nvme0n1p2".into(),
                mountpoint: "/".into(),
                filesystem: "ext4".into(),
                size: 254_000_000_000,
                free: 100_000_000_000,
                name: String::new(),
                uuid: "0c6c5ac4-8f93-4a55-b9cc-35ab0a0a3f5c".into(),
                encrypted: false,
            }]),
            software: Some(software),
            ..Inventory::default()
        };
        Self::new(Method::Update, name, &json!(inventory))
    }

    fn new(method: Method, name: &str, data: &Value) -> Self {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{{"uid":"{name}","hostname":"{name}","timestamp":{TIMESTAMP},"data":{data}}}}}"#,
            method.as_str()
        );
        let head = format!(
            "POST {AGENT_API_PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {CONTENT_TYPE}\r\n\
             content-length: {}\r\n{AGENT_SIGNATURE_HEADER}: ",
            body.len()
        );
        let (signature, end) = (head.len(), format!("{:64}\r\n\r\n", ""));
        let start = signature + end.len();
        let after = |text: &str| {
            let found = body.match_indices(text);
            found.map(|(at, _)| start + at + text.len()).collect::<Vec<_>>()
        };
        Self {
            signature,
            body: start,
            timestamp: start + body.find(TIMESTAMP).unwrap_or_default(),
            versions: after(VERSION),
            free: after(FREE).first().copied(),
            changes: 0,
            bytes: [head, end, body].concat().into_bytes(),
        }
    }

    /// Has 5 % of the packages in another version, which other computers have too after as many changes.
    pub(crate) fn change(&mut self) {
        self.changes += 1;
        let digits = format!("{:0DIGITS$}", self.changes);
        let of_turn = self.versions.iter().skip(self.changes % CHANGED).step_by(CHANGED);
        for at in of_turn.chain(&self.free) {
            self.bytes[*at..at + DIGITS].copy_from_slice(digits.as_bytes());
        }
    }

    /// The request as it is sent at this time.
    pub(crate) fn sealed(&mut self, key: &Key, timestamp: Timestamp) -> &[u8] {
        let micros = timestamp.as_micros();
        let text = format!("{:010}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100);
        self.bytes[self.timestamp..self.timestamp + TIMESTAMP.len()].copy_from_slice(text.as_bytes());
        let signature = signature::sign(key, &self.bytes[self.body..]);
        self.bytes[self.signature..self.signature + signature.len()].copy_from_slice(signature.as_bytes());
        &self.bytes
    }
}

fn networks() -> Vec<Network> {
    vec![Network {
        addr: "192.0.2.2".into(),
        netmask: "255.255.255.0".into(),
        broadcast: "192.0.2.255".into(),
        mac: "02:fc:00:00:00:01".into(),
        interface: "eth0".into(),
    }]
}

/// A package that all computers may have, or only those of the same `edition`.
pub(crate) fn package(number: usize, edition: usize) -> Software {
    Software {
        name: package_name(number),
        version: format!("{:0DIGITS$}.{edition}", 0),
        description: "Shared by apps".into(),
    }
}

/// Its name.
pub(crate) fn package_name(number: usize) -> String {
    format!("package-{number:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &Message) -> Value {
        serde_json::from_slice(&message.bytes[message.body..]).unwrap()
    }

    #[test]
    fn a_change_touches_a_twentieth_of_the_packages_and_the_signature_follows() {
        let key = Key::new("k");
        let mut message = Message::update("pc", (0..100).map(|number| package(number, 1)).collect());
        message.sealed(&key, Timestamp::from_micros(1_795_329_638_173_100));
        let before = body(&message);
        message.change();
        let bytes = message
            .sealed(&key, Timestamp::from_micros(1_795_329_638_173_200))
            .to_vec();
        let after = body(&message);
        let software = |body: &Value| body["params"]["data"]["software"].as_array().unwrap().clone();
        let pairs = software(&before).into_iter().zip(software(&after));
        assert_eq!(pairs.filter(|(before, after)| before != after).count(), 5);
        assert_eq!(
            after["params"]["data"]["partitions"][0]["free"],
            100_001_000_000_u64
        );
        assert_eq!(after["params"]["timestamp"], 1_795_329_638.173_2);
        let signature = std::str::from_utf8(&bytes[message.signature..message.signature + 64]).unwrap();
        assert!(signature::verify(&key, &bytes[message.body..], signature));
    }

    #[test]
    fn an_inventory_is_as_large_as_that_of_the_targets() {
        let message = Message::update("pc", (0..1800).map(|number| package(number, 1)).collect());
        let size = message.bytes.len() - message.body;
        assert!((135_000..141_000).contains(&size), "{size}");
    }
}
