//! A proxy between agent and mock server that a test can let hold back, lose or refuse single requests.

use super::scripted::{Captured, read_request, response};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the proxy does with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Passes it on.
    Forward,
    /// Keeps it, and the agent waiting.
    Hold,
    /// Passes it on and closes the connection when the answer comes.
    LoseAnswer,
    /// Answers 400 with this text.
    Refuse(&'static str),
}

type Rule = Box<dyn Fn(&Captured) -> Action + Send>;

/// The proxy; it passes everything on until it is given a rule.
pub(crate) struct Proxy {
    /// URL of the agent API through the proxy.
    pub(crate) url: String,
    rule: Arc<Mutex<Rule>>,
    requests: Arc<Mutex<Vec<Captured>>>,
}

impl Proxy {
    /// Starts a proxy for the agent API at `url`.
    pub(crate) fn start(url: &str) -> Self {
        let upstream = url.split('/').nth(2).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url.replacen(&upstream, &listener.local_addr().unwrap().to_string(), 1);
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Action::Forward)));
        let requests = Arc::default();
        let proxy = Self {
            url,
            rule: rule.clone(),
            requests: Arc::clone(&requests),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (rule, requests, upstream) = (rule.clone(), Arc::clone(&requests), upstream.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &upstream, &rule, &requests));
            }
        });
        proxy
    }

    /// From now on, `rule` decides.
    pub(crate) fn set(&self, rule: impl Fn(&Captured) -> Action + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// How many requests so far are as `condition` says.
    pub(crate) fn count(&self, condition: impl Fn(&Captured) -> bool) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| condition(request))
            .count()
    }
}

/// Serves one connection, with one request.
fn serve(mut agent: TcpStream, upstream: &str, rule: &Mutex<Rule>, requests: &Mutex<Vec<Captured>>) {
    let request = read_request(&mut agent);
    let action = (rule.lock().unwrap())(&request);
    requests.lock().unwrap().push(request.clone());
    match action {
        Action::Hold => {
            // Until the agent hangs up.
            let _ = agent.read(&mut [0]);
        }
        Action::Refuse(reason) => {
            let refusal = response("400 Bad Request", "Content-Type: text/html\r\n", reason);
            let _ = agent.write_all(&refusal);
        }
        Action::Forward => {
            let server = pass_on(&request, upstream);
            relay(agent, server);
        }
        Action::LoseAnswer => {
            let mut server = pass_on(&request, upstream);
            assert!(server.read(&mut [0]).unwrap() > 0);
        }
    }
}

fn pass_on(request: &Captured, upstream: &str) -> TcpStream {
    let mut server = TcpStream::connect(upstream).unwrap();
    let bytes = [request.head.as_bytes(), b"\r\n\r\n", &request.body].concat();
    server.write_all(&bytes).unwrap();
    server
}

/// Hands the answer to the agent until that has enough.
fn relay(mut agent: TcpStream, mut server: TcpStream) {
    let (mut agent_side, server_side) = (agent.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut agent_side, &mut std::io::sink());
        let _ = server_side.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut server, &mut agent);
    let _ = agent.shutdown(Shutdown::Both);
}
