//! A name server that answers for SRV records exactly what a test tells it to, over UDP and TCP.
//!
//! It writes the wire format (RFC 1035) itself, so that it shares no code with the resolver under test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

/// Priority, weight, port, and the labels of the target.
pub(crate) type Srv = (u16, u16, u16, Vec<Vec<u8>>);

/// What is answered to a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These records.
    Records(Vec<Srv>),
    /// Over UDP that the answer is too long, over TCP these records.
    Truncated(Vec<Srv>),
    /// There is no such name.
    NoSuchName,
    /// The server has failed.
    Failure,
    /// Nothing.
    Silence,
    /// A message that breaks off within a record.
    Malformed,
}

/// The server; it knows the names that its rule answers for.
pub(crate) struct DnsServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

type Rule = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

impl DnsServer {
    /// Starts a server whose answers `rule` decides: it is given names in lower case without a dot at the end.
    pub(crate) fn start(address: &str, rule: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Option<Self> {
        let tcp = TcpListener::bind(address).ok()?;
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).ok()?;
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let rule: Rule = Arc::new(rule);
        let (log, answers) = (asked.clone(), rule.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                if let Some(answer) = answer(&buffer[..length], false, &answers, &log) {
                    udp.send_to(&answer, client).unwrap();
                }
            }
        });
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                // A client may hang up at any time.
                let _ = serve(stream.unwrap(), &rule, &log);
            }
        });
        Some(Self { address, asked })
    }

    /// The names that were asked for, and whether over TCP.
    pub(crate) fn asked(&self) -> Vec<(String, bool)> {
        self.asked.lock().unwrap().clone()
    }
}

/// A record for an ordinary host name.
pub(crate) fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    let labels = target.split('.').filter(|label| !label.is_empty());
    (
        priority,
        weight,
        port,
        labels.map(|label| label.as_bytes().to_vec()).collect(),
    )
}

fn serve(mut stream: TcpStream, rule: &Rule, log: &Mutex<Vec<(String, bool)>>) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question)?;
        if let Some(answer) = answer(&question, true, rule, log) {
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }
}

/// The answer to a query with one question; none to anything else.
fn answer(query: &[u8], tcp: bool, rule: &Rule, log: &Mutex<Vec<(String, bool)>>) -> Option<Vec<u8>> {
    let (mut name, mut at) = (Vec::new(), 12);
    while *query.get(at)? > 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push(String::from_utf8(query.get(at + 1..end)?.to_ascii_lowercase()).ok()?);
        at = end;
    }
    let question = query.get(12..at + 5)?;
    let name = name.join(".");
    log.lock().unwrap().push((name.clone(), tcp));
    let (code, truncated, records, cut) = match rule(&name) {
        Reply::Silence => return None,
        Reply::Records(records) => (0, false, records, 0),
        Reply::Truncated(records) if tcp => (0, false, records, 0),
        Reply::Truncated(_) => (0, true, Vec::new(), 0),
        Reply::NoSuchName => (3, false, Vec::new(), 0),
        Reply::Failure => (2, false, Vec::new(), 0),
        Reply::Malformed => (0, false, vec![srv(1, 1, 443, "oco.example")], 5),
    };
    let mut message = query[..2].to_vec();
    message.extend([
        0x84 | u8::from(truncated) << 1,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(records.len()).unwrap(),
    ]);
    message.extend([0, 0, 0, 0]);
    message.extend(question);
    for (priority, weight, port, labels) in records {
        // The name of the question, type SRV, class IN, valid for a minute.
        message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        let mut data = [priority, weight, port].map(u16::to_be_bytes).concat();
        for label in labels {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend(label);
        }
        data.push(0);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    message.truncate(message.len() - cut);
    Some(message)
}
