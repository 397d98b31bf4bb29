//! A server that says exactly what a test tells it to, over a raw socket, and keeps every byte it is sent.

use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Server key of the scripted server.
pub(crate) const SERVER_KEY: &str = "server-key-of-the-tests";
/// Agent key that the scripted server gives out.
pub(crate) const AGENT_KEY: &str = "agent-key-of-the-tests";

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    /// Request line and headers, letter case untouched.
    pub(crate) head: String,
    /// The exact body.
    pub(crate) body: Vec<u8>,
}

impl Captured {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The method that is called.
    pub(crate) fn method(&self) -> String {
        self.json()["method"].as_str().unwrap().to_owned()
    }

    /// What a report of a job says.
    pub(crate) fn data(&self) -> Value {
        self.json()["params"]["data"].clone()
    }

    /// Value of a header whose name is written exactly so.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A step of a script.
pub(crate) type Answer = Box<dyn Fn(&Captured) -> Vec<u8> + Send + Sync>;

/// What becomes of a connection after its request was read.
pub(crate) type Handler = dyn Fn(&Captured, &mut TcpStream) + Send + Sync;

/// The server. One with a script answers one request a connection, in the order of its script, and then refuses
/// connections; one with a handler goes on.
pub(crate) struct ScriptedServer {
    /// URL of its agent API.
    pub(crate) url: String,
    captured: Arc<Mutex<Vec<Captured>>>,
}

impl ScriptedServer {
    /// Starts a server with this script.
    pub(crate) fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api-agent.php", listener.local_addr().unwrap());
        let captured = Arc::new(Mutex::new(Vec::new()));
        let log = captured.clone();
        std::thread::spawn(move || {
            for answer in script {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                let response = answer(&request);
                log.lock().unwrap().push(request);
                // The agent may have hung up on purpose.
                let _ = stream.write_all(&response);
            }
        });
        Self { url, captured }
    }

    /// Starts a server that hands each connection with its request to `handler`, on a thread of its own. It lives with
    /// connections that bring none.
    pub(crate) fn serving(handler: impl Fn(&Captured, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api-agent.php", listener.local_addr().unwrap());
        let captured: Arc<Mutex<Vec<Captured>>> = Arc::default();
        let (log, handler): (_, Arc<Handler>) = (captured.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, handler, mut stream) = (log.clone(), handler.clone(), stream.unwrap());
                std::thread::spawn(move || {
                    let Some(request) = try_read_request(&mut stream) else {
                        return;
                    };
                    log.lock().unwrap().push(request.clone());
                    handler(&request, &mut stream);
                });
            }
        });
        Self { url, captured }
    }

    /// Starts a server that answers every request with what `answer` makes of it.
    pub(crate) fn answering(answer: impl Fn(&Captured) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serving(move |request, stream| {
            // The agent may have hung up on purpose.
            let _ = stream.write_all(&answer(request));
        })
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Captured> {
        self.captured.lock().unwrap().clone()
    }
}

/// A script's step that answers with these bytes.
pub(crate) fn raw(response: Vec<u8>) -> Answer {
    Box::new(move |_| response.clone())
}

/// So many equal steps: `answer` decides by the request.
pub(crate) fn repeated(
    count: usize,
    answer: impl Fn(&Captured) -> Vec<u8> + Clone + Send + Sync + 'static,
) -> Vec<Answer> {
    let step = |_| Box::new(answer.clone()) as Answer;
    (0..count).map(step).collect()
}

/// A successful response whose body is an archive.
pub(crate) fn archive_response(archive: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        archive.len()
    );
    [head.as_bytes(), archive].concat()
}

/// A script's step that answers a hello of a new computer as a real server does.
pub(crate) fn registration() -> Answer {
    raw(signed(&hello(Some(SERVER_KEY), Some(AGENT_KEY)), SERVER_KEY))
}

/// `params` of an answer to a hello that asks for nothing.
pub(crate) fn hello(server_key: Option<&str>, agent_key: Option<&str>) -> Value {
    json!({"server-key": server_key, "agent-key": agent_key, "update": 0, "logins-since": "1970-01-01 00:00:00",
           "software-jobs": [], "events": [], "update-passwords": []})
}

/// A successful answer with a timestamp of now, signed with `key`.
pub(crate) fn signed(params: &Value, key: &str) -> Vec<u8> {
    #[allow(clippy::disallowed_methods)] // the peer of a real agent needs the real time
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    signed_at(params, key, now)
}

/// An answer with this `success`, and a timestamp of now, signed with `key`.
pub(crate) fn signed_with(success: &Value, params: &Value, key: &str) -> Vec<u8> {
    #[allow(clippy::disallowed_methods)] // the peer of a real agent needs the real time
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    answer(success, params, key, now)
}

/// A successful answer with this timestamp, signed with `key`.
pub(crate) fn signed_at(params: &Value, key: &str, timestamp: Duration) -> Vec<u8> {
    answer(&json!(true), params, key, timestamp)
}

fn answer(success: &Value, params: &Value, key: &str, timestamp: Duration) -> Vec<u8> {
    let body = json!({"id": 1, "error": null,
        "result": {"success": success, "params": params, "timestamp": timestamp.as_secs_f64()}})
    .to_string();
    let signature = signature::sign(&Key::new(key), body.as_bytes());
    response(
        "200 OK",
        &format!("Content-Type: application/json\r\nx-oco-server-signature: {signature}\r\n"),
        &body,
    )
}

/// A response with `headers` (each ending in CR LF).
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one request from a connection.
pub(crate) fn read_request(stream: &mut TcpStream) -> Captured {
    try_read_request(stream).expect("the request ended early")
}

/// Reads one request; none if the connection ends before it is complete.
pub(crate) fn try_read_request(stream: &mut impl Read) -> Option<Captured> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let body = &bytes[end + 4..];
        if body.len() >= length.unwrap_or(0usize) {
            return Some(Captured {
                body: body.to_vec(),
                head,
            });
        }
    }
}
