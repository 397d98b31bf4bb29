//! Faults that the server commits on purpose: rules, added and removed while it runs, each with a selector of exchanges
//! and a fault. A fault counts as committed when it is performed, so that a test can tell that it happened.

mod answers;
mod archives;
mod bomb;
mod choose;
mod rule;

pub use rule::{
    CutPlace, DelayMs, Fault, InvalidRule, Json, KeyChange, OperatingSystem, PackageFault, Rule, Selector,
    SignatureFault, TimestampFault,
};

use crate::connection::{Cut, CutAt, Ending, Pace};
use crate::hooks::{Answer, Exchange, Filter, Flow, Interruption};
use choose::Choice;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Computers whose last answer is kept, to be sent again.
const MAX_REMEMBERED: usize = 100_000;

/// All rules.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    rules: RwLock<BTreeMap<u64, Arc<Active>>>,
    next: AtomicU64,
    any: AtomicBool,
    needs_os: AtomicBool,
    remembers: AtomicBool,
    /// Whether there is a socket, without which nobody can be refused.
    listens: AtomicBool,
    /// Of removed rules, by kind.
    gone: Mutex<BTreeMap<&'static str, u64>>,
    last_answers: Mutex<HashMap<String, Answer>>,
}

/// A rule with what came of it.
#[derive(Debug)]
struct Active {
    id: u64,
    rule: Rule,
    choice: Choice,
    matched: AtomicU64,
    committed: AtomicU64,
}

/// A rule as the REST surface shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = FaultView)]
pub(crate) struct RuleView {
    pub(crate) id: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    pub(crate) select: Selector,
    pub(crate) fault: Fault,
    /// Exchanges that the selector fits, those that its share or number left out included.
    pub(crate) matched: u64,
    /// How often the fault was committed.
    pub(crate) committed: u64,
}

/// The rules that were chosen for an exchange.
#[derive(Debug, Clone, Default)]
struct Chosen(Vec<Arc<Active>>);

impl Active {
    fn view(&self) -> RuleView {
        RuleView {
            id: self.id,
            name: self.rule.name.clone(),
            select: self.rule.select.clone(),
            fault: self.rule.fault.clone(),
            matched: self.matched.load(Ordering::Relaxed),
            committed: self.committed.load(Ordering::Relaxed),
        }
    }

    fn commit(&self, exchange: &Exchange) {
        self.committed.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            fault.rule = self.id,
            fault.kind = self.rule.fault.kind(),
            rpc.method = ?exchange.method,
            rpc.hostname = ?exchange.hostname,
            "fault committed"
        );
    }
}

impl Faults {
    /// With these rules, whose draws come from `seed`.
    pub(crate) fn new(rules: &[Rule], seed: u64) -> Result<Self, InvalidRule> {
        let faults = Self {
            seed,
            rules: RwLock::default(),
            next: AtomicU64::new(1),
            any: AtomicBool::new(false),
            needs_os: AtomicBool::new(false),
            remembers: AtomicBool::new(false),
            listens: AtomicBool::new(false),
            gone: Mutex::default(),
            last_answers: Mutex::default(),
        };
        for rule in rules {
            faults.add(rule.clone())?;
        }
        Ok(faults)
    }

    /// Adds a rule; its id.
    pub(crate) fn add(&self, rule: Rule) -> Result<u64, InvalidRule> {
        rule.check()?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let active = Active {
            id,
            choice: Choice::new(self.seed, id, &rule.select),
            rule,
            matched: AtomicU64::new(0),
            committed: AtomicU64::new(0),
        };
        self.change(|rules| {
            rules.insert(id, Arc::new(active));
        });
        Ok(id)
    }

    /// Removes a rule, which is returned as it was last.
    pub(crate) fn remove(&self, id: u64) -> Option<RuleView> {
        let removed = self.change(|rules| rules.remove(&id))?;
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        *gone.entry(removed.rule.fault.kind()).or_default() += removed.committed.load(Ordering::Relaxed);
        Some(removed.view())
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, Arc<Active>>) -> T) -> T {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut rules);
        self.any.store(!rules.is_empty(), Ordering::Release);
        let needs_os = rules.values().any(|active| active.rule.select.os.is_some());
        self.needs_os.store(needs_os, Ordering::Release);
        let remembers = rules.values().any(|active| active.rule.fault.needs_last_answer());
        self.remembers.store(remembers, Ordering::Release);
        if !remembers {
            self.last_answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
        result
    }

    /// One rule.
    pub(crate) fn get(&self, id: u64) -> Option<RuleView> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.get(&id).map(|active| active.view())
    }

    /// All rules by id.
    pub(crate) fn list(&self) -> Vec<RuleView> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.values().map(|active| active.view()).collect()
    }

    /// How many faults were committed, by kind, those of removed rules included.
    pub(crate) fn committed(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for active in self.rules.read().unwrap_or_else(PoisonError::into_inner).values() {
            *counts.entry(active.rule.fault.kind()).or_default() += active.committed.load(Ordering::Relaxed);
        }
        counts
    }

    /// Whether a rule asks for operating systems.
    pub(crate) fn needs_os(&self) -> bool {
        self.needs_os.load(Ordering::Acquire)
    }

    /// From now on there is a socket.
    pub(crate) fn set_listens(&self) {
        self.listens.store(true, Ordering::Release);
    }

    fn choose(&self, exchange: &Exchange) -> Chosen {
        let rules: Vec<_> = {
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            rules.values().cloned().collect()
        };
        let fits = |active: &Arc<Active>| {
            active.rule.select.fits(exchange) && active.rule.fault.applies_to(&exchange.method)
        };
        let chosen = rules.into_iter().filter(fits).filter(|active| {
            active.matched.fetch_add(1, Ordering::Relaxed);
            active.choice.draw(&active.rule.select, &exchange.hostname)
        });
        Chosen(chosen.collect())
    }

    fn last_answer(&self, exchange: &Exchange) -> Option<Answer> {
        let answers = self.last_answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&exchange.hostname.to_lowercase()).cloned()
    }

    fn remember(&self, exchange: &Exchange, answer: &Answer) {
        let signed = answer
            .headers
            .contains_key(oco_protocol::signature::SERVER_SIGNATURE_HEADER);
        let mut answers = self.last_answers.lock().unwrap_or_else(PoisonError::into_inner);
        let hostname = exchange.hostname.to_lowercase();
        if signed && (answers.len() < MAX_REMEMBERED || answers.contains_key(&hostname)) {
            answers.insert(hostname, answer.clone());
        }
    }
}

impl Filter for Faults {
    fn is_active(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn request(&self, exchange: &mut Exchange) -> Flow {
        let chosen = self.choose(exchange);
        let mut flow = Flow::Serve;
        for active in &chosen.0 {
            let fault = &active.rule.fault;
            let before = match fault {
                Fault::Delay(delay) => Flow::After(active.choice.delay(delay, &exchange.hostname)),
                Fault::Status {
                    code,
                    reason,
                    retry_after,
                    body,
                } => Flow::Answer(Box::new(answers::status(
                    *code,
                    reason.as_deref(),
                    *retry_after,
                    body,
                ))),
                Fault::Reset {
                    at: CutPlace::Request,
                } => Flow::Hold(Duration::ZERO),
                Fault::Idle {
                    at: CutPlace::Request,
                    for_ms,
                } => Flow::Hold(Duration::from_millis(*for_ms)),
                Fault::Refuse { for_ms } if self.listens.load(Ordering::Acquire) => {
                    Flow::Interrupt(Interruption::Refuse(Duration::from_millis(*for_ms)))
                }
                Fault::Restart { for_ms } if self.listens.load(Ordering::Acquire) => {
                    Flow::Interrupt(Interruption::Restart(Duration::from_millis(*for_ms)))
                }
                _ => continue,
            };
            flow = match (flow, before) {
                // Delays add up, whatever comes after them.
                (Flow::After(one), Flow::After(other)) => {
                    active.commit(exchange);
                    Flow::After(one + other)
                }
                (Flow::Serve | Flow::After(_), before) => {
                    active.commit(exchange);
                    before
                }
                (decided, _) => {
                    active.choice.give_back();
                    decided
                }
            };
        }
        exchange.notes.insert(chosen);
        flow
    }

    fn alters(&self, exchange: &Exchange) -> bool {
        let chosen = exchange.notes.get::<Chosen>();
        chosen.is_some_and(|chosen| chosen.0.iter().any(|active| active.rule.fault.is_genuine()))
    }

    fn unsigned(&self, exchange: &Exchange, answer: &mut Value) {
        let Some(chosen) = exchange.notes.get::<Chosen>() else {
            return;
        };
        for active in chosen.0.iter().filter(|active| active.rule.fault.is_genuine()) {
            let last = self.last_answer(exchange);
            if answers::alter(&active.rule.fault, answer, last.as_ref(), &exchange.os) {
                active.commit(exchange);
            } else {
                active.choice.give_back();
            }
        }
    }

    fn response(&self, exchange: &Exchange, answer: &mut Answer) {
        let genuine = self.remembers.load(Ordering::Acquire).then(|| answer.clone());
        if let Some(chosen) = exchange.notes.get::<Chosen>() {
            for active in &chosen.0 {
                let fault = &active.rule.fault;
                if fault.is_genuine() && answer.status == axum::http::StatusCode::OK {
                    continue;
                }
                match self.break_answer(fault, exchange, answer) {
                    Some(true) => active.commit(exchange),
                    Some(false) => active.choice.give_back(),
                    None => {}
                }
            }
        }
        if let Some(genuine) = genuine {
            self.remember(exchange, &genuine);
        }
    }
}

impl Faults {
    /// Whether the fault was committed; none where it was decided about before.
    fn break_answer(&self, fault: &Fault, exchange: &Exchange, answer: &mut Answer) -> Option<bool> {
        let half = answer.body.len() as u64 / 2;
        match fault {
            Fault::Bandwidth { bytes_per_second } => {
                // Twenty writes a second, or fewer where that is less than a byte each.
                let bytes = usize::try_from(bytes_per_second / 20)
                    .unwrap_or(usize::MAX)
                    .max(1);
                let pause = Duration::from_secs_f64(bytes as f64 / *bytes_per_second as f64);
                answer.delivery.pace = Some(Pace { bytes, pause });
            }
            Fault::Dribble { bytes, every_ms } => {
                answer.delivery.pace = Some(Pace {
                    bytes: *bytes,
                    pause: Duration::from_millis(*every_ms),
                });
            }
            Fault::Reset { at } => {
                let at = cut_at(*at, half, answer)?;
                answer.delivery.cut = Some(Cut {
                    at,
                    ending: Ending::Reset,
                });
            }
            Fault::Idle { at, for_ms } => {
                let at = cut_at(*at, half, answer)?;
                let ending = Ending::Idle(Duration::from_millis(*for_ms));
                answer.delivery.cut = Some(Cut { at, ending });
            }
            Fault::Timestamp {
                is: TimestampFault::Replayed,
            } => match self.last_answer(exchange) {
                Some(last) => {
                    answer.headers = last.headers;
                    answer.body = last.body;
                }
                None => return Some(false),
            },
            Fault::Delay(_) | Fault::Status { .. } => return None,
            Fault::Refuse { .. } | Fault::Restart { .. } => {
                return (!self.listens.load(Ordering::Acquire)).then_some(false);
            }
            fault => return Some(answers::break_answer(fault, exchange, answer)),
        }
        Some(true)
    }
}

fn cut_at(place: CutPlace, half: u64, answer: &Answer) -> Option<CutAt> {
    match place {
        CutPlace::Request => None,
        CutPlace::Before => Some(CutAt::Head),
        CutPlace::In => Some(CutAt::Body(half)),
        CutPlace::After => Some(CutAt::Body(answer.body.len() as u64)),
    }
}
