//! Checks every exchange of every agent against the protocol. What is wrong is counted and kept with its exchange, without
//! secrets; in strict mode it is refused.

mod agents;
mod findings;
mod keyed;
mod mask;
mod rules;
mod shapes;
mod walk;

pub(crate) use findings::{AgentCount, Finding, RuleCount};
pub(crate) use rules::{Rule, Severity};

use crate::generation::ServerGeneration;
use crate::hooks::{Answer, Exchange, Filter, Flow};
use agents::{Agents, Asked};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use findings::{Findings, Message};
use memchr::memmem::Finder;
use oco_protocol::rpc::CONTENT_TYPE as JSON;
use oco_protocol::signature::AGENT_SIGNATURE_HEADER;
use oco_protocol::{Key, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use walk::{Notes, Values};

/// How far ahead a timestamp may be, s.
const FUTURE: f64 = 86_400.0;
/// Shortest key that is looked for in bodies: a shorter one occurs by chance.
const MIN_KEY: usize = 12;
/// Refusals are short texts.
const MAX_REFUSAL: usize = 1024;

/// Tells the keys of a computer, which must not be in its requests.
pub(crate) trait Keys: Send + Sync + std::fmt::Debug {
    /// The one that computers register with, then those of the computer of that name.
    fn of(&self, hostname: &str) -> Vec<Key>;

    /// Whether one of them, if it is not shorter than that, is in `body`.
    fn is_in(&self, hostname: &str, body: &[u8], min_length: usize) -> bool;
}

/// What is checked, and what was found.
#[derive(Debug)]
pub(crate) struct Conformance {
    on: bool,
    strict: bool,
    generation: ServerGeneration,
    keys: OnceLock<Mutex<Arc<dyn Keys>>>,
    checked: AtomicU64,
    agents: Mutex<Agents>,
    findings: Mutex<Findings>,
}

/// What was found out about a request, for when its answer comes.
#[derive(Debug, Clone)]
struct Checked {
    keyed: bool,
    values: Values,
    kept: Vec<(Rule, u64)>,
    noted: Vec<Rule>,
}

impl Conformance {
    /// Checks what is sent to a server of that generation, if `on`; refuses what is wrong, if `strict`.
    pub(crate) fn new(on: bool, strict: bool, generation: ServerGeneration) -> Self {
        Self {
            on,
            strict,
            generation,
            keys: OnceLock::new(),
            checked: AtomicU64::new(0),
            agents: Mutex::default(),
            findings: Mutex::default(),
        }
    }

    /// Where the keys of computers are from now on.
    pub(crate) fn set_keys(&self, keys: Arc<dyn Keys>) {
        let slot = self.keys.get_or_init(|| Mutex::new(keys.clone()));
        *lock(slot) = keys;
    }

    /// Whether requests are refused.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// How many exchanges were checked.
    pub(crate) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// All rules with their counts.
    pub(crate) fn rules(&self) -> Vec<RuleCount> {
        lock(&self.findings).rules()
    }

    /// Agents with findings, those with most first.
    pub(crate) fn agents(&self, limit: usize) -> Vec<AgentCount> {
        lock(&self.findings).agents(limit)
    }

    /// Kept findings, latest first.
    pub(crate) fn list(&self, rule: Option<Rule>, hostname: Option<&str>, limit: usize) -> Vec<Finding> {
        lock(&self.findings).list(rule, hostname, limit)
    }

    /// Forgets all findings, and what agents did before.
    pub(crate) fn reset(&self) {
        lock(&self.findings).clear();
        lock(&self.agents).clear();
        self.checked.store(0, Ordering::Relaxed);
    }

    fn keys_of(&self, hostname: &str) -> Vec<Key> {
        self.keys
            .get()
            .map_or_else(Vec::new, |keys| lock(keys).of(hostname))
    }

    /// Counts what is noted, and keeps some of it.
    fn record(&self, exchange: &Exchange, notes: &Notes, response: Option<&Answer>) -> Vec<(Rule, u64)> {
        let mut findings = lock(&self.findings);
        let wanted: Vec<_> = notes
            .0
            .iter()
            .filter(|(rule, _)| findings.count(*rule, &exchange.hostname))
            .collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let keys = self.keys_of(&exchange.hostname);
        let request = Message {
            line: format!("{} {}", exchange.http_method, mask::uri(&exchange.uri, &keys)),
            headers: mask::headers(&exchange.headers, &keys),
            body: mask::body(&exchange.body, &keys),
        };
        let response = response.map(|answer| message(answer, &keys));
        let keep = |(rule, details): &(Rule, Vec<String>)| {
            let details = details.iter().cloned();
            let finding = Finding {
                id: 0,
                rule: rule.text().id,
                severity: rule.text().severity,
                hostname: exchange.hostname.chars().take(findings::MAX_HOSTNAME).collect(),
                method: exchange.method.chars().take(64).collect(),
                at: exchange.received_at,
                details: details.map(|detail| mask::without(detail, &keys)).collect(),
                request: request.clone(),
                response: response.clone(),
            };
            (*rule, findings.keep(*rule, finding))
        };
        wanted.into_iter().map(keep).collect()
    }
}

impl Filter for Conformance {
    fn is_active(&self) -> bool {
        self.on
    }

    fn request(&self, exchange: &mut Exchange) -> Flow {
        if is_nobody(exchange) {
            return Flow::Serve;
        }
        self.checked.fetch_add(1, Ordering::Relaxed);
        let mut notes = Notes::default();
        let keyed = keyed::is_keyed(exchange, self.generation);
        check_http(exchange, keyed, &mut notes);
        let values = match shapes::of(&exchange.method, keyed) {
            Some(shape) if !exchange.body.is_empty() => walk::compare(&exchange.body, shape, &mut notes),
            None if keyed && exchange.method == "download" => keyed::check_query(exchange, &mut notes),
            None if keyed => check_json(exchange, &mut notes),
            _ => Values::default(),
        };
        if keyed {
            keyed::check_secrets(exchange, &self.keys_of(&exchange.hostname), &mut notes);
        } else {
            check_timestamp(exchange, &values, &mut notes);
            self.check_secrets(exchange, &mut notes);
        }
        if !exchange.hostname.is_empty() {
            lock(&self.agents).check(&exchange.method, &exchange.hostname, &values, &mut notes);
        }
        let mut checked = Checked {
            keyed,
            values,
            kept: Vec::new(),
            noted: Vec::new(),
        };
        if !notes.0.is_empty() {
            checked.kept = self.record(exchange, &notes, None);
            checked.noted = notes.0.iter().map(|(rule, _)| *rule).collect();
        }
        exchange.notes.insert(checked);
        let worst = notes
            .0
            .iter()
            .find(|(rule, _)| rule.text().severity == Severity::Error);
        match worst.filter(|_| self.strict) {
            Some((rule, details)) => Flow::Answer(Box::new(refusal(*rule, details))),
            None => Flow::Serve,
        }
    }

    fn response(&self, exchange: &Exchange, answer: &mut Answer) {
        let Some(checked) = exchange.notes.get::<Checked>() else {
            return;
        };
        if answer.status == StatusCode::OK {
            if !exchange.hostname.is_empty() {
                let hello = exchange.method == "hello";
                let asked = hello.then(|| Asked::by(&answer.body)).flatten();
                lock(&self.agents).served(&exchange.method, &exchange.hostname, &checked.values, asked);
            }
        } else if let Some(rule) = self
            .refused(exchange, answer, checked.keyed)
            .filter(|rule| !is_noted(*rule, &checked.noted))
        {
            let mut notes = Notes::default();
            notes.add(rule, || "the server refuses it".into());
            self.record(exchange, &notes, Some(answer));
        }
        if !checked.kept.is_empty() {
            let response = message(answer, &self.keys_of(&exchange.hostname));
            let mut findings = lock(&self.findings);
            for (rule, id) in &checked.kept {
                findings.answered(*rule, *id, &response);
            }
        }
    }
}

impl Conformance {
    /// What a refusal says about the request: by its text, or of a keyed request also by its reason phrase.
    fn refused(&self, exchange: &Exchange, answer: &Answer, keyed: bool) -> Option<Rule> {
        let by_phrase = || keyed::refused(exchange, answer, &self.keys_of(&exchange.hostname));
        refused(answer).or_else(|| keyed.then(by_phrase).flatten())
    }

    fn check_secrets(&self, exchange: &Exchange, notes: &mut Notes) {
        // Mostly there is none, and one search tells.
        if END_OF_MEMBER.find(&exchange.body).is_some() {
            for name in [r#""agent-key""#, r#""server-key""#] {
                if is_member(&exchange.body, name) {
                    notes.add(Rule::SecretKey, || format!("a member {name}"));
                }
            }
        }
        if keyed::has_key_in_query(exchange) {
            notes.add(Rule::SecretKey, || "a key in the query".into());
        }
        let known = self.keys.get().map(|keys| lock(keys).clone());
        if known.is_some_and(|keys| keys.is_in(&exchange.hostname, &exchange.body, MIN_KEY)) {
            notes.add(Rule::SecretKey, || "the value of a key".into());
        }
    }
}

/// How the names of members end that are keys.
static END_OF_MEMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#"-key""#));

/// Whether the body has a member of this quoted name.
fn is_member(body: &[u8], quoted: &str) -> bool {
    memchr::memmem::find_iter(body, quoted).any(|at| {
        let escaped = at > 0 && body[at - 1] == b'\\';
        let rest = &body[at + quoted.len()..];
        let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        !escaped && next == Some(&b':')
    })
}

/// Whether a request is no agent's, but of somebody who looks whether there is a server.
fn is_nobody(exchange: &Exchange) -> bool {
    [Method::GET, Method::HEAD].contains(&exchange.http_method)
        && exchange.body.is_empty()
        && exchange.uri.query().is_none()
        && !exchange.headers.contains_key(AGENT_SIGNATURE_HEADER)
}

fn check_http(exchange: &Exchange, keyed: bool, notes: &mut Notes) {
    let download = exchange.method == "download";
    // A keyed download has no body, and so no type.
    if !(keyed && download)
        && exchange.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) != Some(JSON.as_bytes())
    {
        let value = exchange.headers.get(CONTENT_TYPE);
        notes.add(Rule::ContentType, || match value {
            Some(value) => format!("{value:?}"),
            None => "none".into(),
        });
    }
    let fine = exchange.http_method == Method::POST
        || (download && [Method::GET, Method::PUT].contains(&exchange.http_method));
    if !fine && !exchange.method.is_empty() {
        notes.add(Rule::HttpMethod, || exchange.http_method.to_string());
    }
    if let Some(encoding) = exchange.headers.get(CONTENT_ENCODING) {
        notes.add(Rule::Encoding, || format!("{encoding:?}"));
    }
    if let Some(signature) = exchange.headers.get(AGENT_SIGNATURE_HEADER) {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if signature.len() != 64 || !signature.as_bytes().iter().all(digit) {
            notes.add(Rule::SignatureForm, || format!("{} characters", signature.len()));
        }
    }
    if let Some(name) = exchange.head.as_deref().and_then(miscased) {
        notes.add(Rule::HeaderCase, || name);
    }
}

/// The name of an `x-oco` header that is not in lower case.
fn miscased(head: &[u8]) -> Option<String> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let name = line.split(|byte| *byte == b':').next()?;
        let ours = name.get(..6)?.eq_ignore_ascii_case(b"x-oco-");
        (ours && name.iter().any(u8::is_ascii_uppercase)).then(|| String::from_utf8_lossy(name).into_owned())
    })
}

/// What belongs to no method has to be a request at least; of a known one the walk tells.
fn check_json(exchange: &Exchange, notes: &mut Notes) -> Values {
    if !exchange.body.is_empty()
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&exchange.body)
    {
        notes.add(Rule::Json, || error.to_string());
    }
    Values::default()
}

fn check_timestamp(exchange: &Exchange, values: &Values, notes: &mut Notes) {
    if exchange.body.is_empty() || shapes::of(&exchange.method, false).is_none() {
        return;
    }
    let now = Timestamp::as_secs_f64(exchange.received_at);
    match values.timestamp {
        None => notes.add(Rule::TimestampMissing, || "params.timestamp".into()),
        Some(timestamp) if timestamp > now + FUTURE => {
            notes.add(Rule::TimestampFuture, || format!("{timestamp} at {now}"));
        }
        Some(_) => {}
    }
}

/// Whether what the server refuses has been found out before.
fn is_noted(refused: Rule, noted: &[Rule]) -> bool {
    // The server makes no difference between a timestamp that is old and none.
    let same = |rule: &Rule| {
        *rule == refused || (refused, *rule) == (Rule::TimestampNotNewer, Rule::TimestampMissing)
    };
    noted.iter().any(same)
}

fn refused(answer: &Answer) -> Option<Rule> {
    let text = answer
        .body
        .get(..MAX_REFUSAL.min(answer.body.len()))
        .and_then(|text| std::str::from_utf8(text).ok())?;
    Rule::of_refusal(answer.status.as_u16(), text)
}

fn refusal(rule: Rule, details: &[String]) -> Answer {
    let rule = rule.text();
    let body = format!("{}: {} ({})", rule.id, rule.text, details.join("; "));
    let mut answer = Answer::new(StatusCode::BAD_REQUEST, body);
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    answer.headers.insert(CONTENT_TYPE, plain);
    answer
}

fn message(answer: &Answer, keys: &[Key]) -> Message {
    Message {
        line: answer.status.to_string(),
        headers: mask::headers(&answer.headers, keys),
        body: mask::body(&answer.body, keys),
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
