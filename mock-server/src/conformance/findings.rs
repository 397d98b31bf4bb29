//! Findings with their exchanges, within bounds: all are counted, of each rule the latest are kept, and of a rule that is
//! broken all the time only some.

use super::rules::{Rule, RuleText};
use oco_protocol::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Findings of one rule that are kept.
const MAX_KEPT: usize = 50;
/// Once that many are kept, one of so many findings replaces the oldest.
const SAMPLE: u64 = 64;
/// Agents that are counted by themselves; the others are counted as `(others)`.
const MAX_AGENTS: usize = 20_000;
/// Characters of a host name that are kept: anybody may send any.
pub(super) const MAX_HOSTNAME: usize = 200;
const OTHERS: &str = "(others)";

/// One finding.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct Finding {
    pub(crate) id: u64,
    pub(crate) rule: &'static str,
    pub(crate) severity: super::rules::Severity,
    pub(crate) hostname: String,
    pub(crate) method: String,
    #[schema(value_type = f64)]
    pub(crate) at: Timestamp,
    /// Where, and what is wrong there.
    pub(crate) details: Vec<String>,
    pub(crate) request: Message,
    /// None where it was not answered, or not by the server itself.
    #[schema(required)]
    pub(crate) response: Option<Message>,
}

/// A request or an answer, without secrets.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct Message {
    /// Request line, or status.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A rule with the number of its findings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RuleCount {
    #[serde(flatten)]
    pub(crate) rule: RuleText,
    pub(crate) count: u64,
}

/// An agent with the numbers of its findings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AgentCount {
    pub(crate) hostname: String,
    pub(crate) findings: u64,
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) rules: BTreeMap<&'static str, u64>,
}

/// All findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    next: u64,
    by_rule: BTreeMap<Rule, (u64, VecDeque<Finding>)>,
    by_agent: HashMap<String, BTreeMap<Rule, u64>>,
}

impl Findings {
    /// Counts a finding; whether it is to be kept, too.
    pub(super) fn count(&mut self, rule: Rule, hostname: &str) -> bool {
        let mut agent: String = hostname.to_lowercase().chars().take(MAX_HOSTNAME).collect();
        if self.by_agent.len() >= MAX_AGENTS && !self.by_agent.contains_key(&agent) {
            agent = OTHERS.into();
        }
        *self.by_agent.entry(agent).or_default().entry(rule).or_default() += 1;
        let (count, kept) = self.by_rule.entry(rule).or_default();
        *count += 1;
        kept.len() < MAX_KEPT || *count % SAMPLE == 0
    }

    /// Keeps a finding; its id.
    pub(super) fn keep(&mut self, rule: Rule, finding: Finding) -> u64 {
        self.next += 1;
        let (_, kept) = self.by_rule.entry(rule).or_default();
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back(Finding {
            id: self.next,
            ..finding
        });
        self.next
    }

    /// Adds the answer to a finding, if it is still kept.
    pub(super) fn answered(&mut self, rule: Rule, id: u64, response: &Message) {
        let kept = self.by_rule.get_mut(&rule);
        if let Some(finding) = kept.and_then(|(_, kept)| kept.iter_mut().find(|finding| finding.id == id)) {
            finding.response = Some(response.clone());
        }
    }

    /// All rules with their counts.
    pub(super) fn rules(&self) -> Vec<RuleCount> {
        let count = |rule| self.by_rule.get(&rule).map_or(0, |(count, _)| *count);
        let rules = Rule::ALL.iter().map(|rule| RuleCount {
            rule: rule.text(),
            count: count(*rule),
        });
        rules.collect()
    }

    /// Agents with findings, those with most first.
    pub(super) fn agents(&self, limit: usize) -> Vec<AgentCount> {
        let agents = self.by_agent.iter().map(|(hostname, rules)| AgentCount {
            hostname: hostname.clone(),
            findings: rules.values().sum(),
            rules: rules
                .iter()
                .map(|(rule, count)| (rule.text().id, *count))
                .collect(),
        });
        let mut agents: Vec<_> = agents.collect();
        agents.sort_by(|a, b| (b.findings, &a.hostname).cmp(&(a.findings, &b.hostname)));
        agents.truncate(limit);
        agents
    }

    /// Kept findings, latest first, of a rule and an agent or of all.
    pub(super) fn list(&self, rule: Option<Rule>, hostname: Option<&str>, limit: usize) -> Vec<Finding> {
        let hostname = hostname.map(str::to_lowercase);
        let fits = |finding: &&Finding| {
            hostname
                .as_ref()
                .is_none_or(|hostname| finding.hostname.to_lowercase() == *hostname)
        };
        let kept = self
            .by_rule
            .iter()
            .filter(|(known, _)| rule.is_none_or(|rule| rule == **known))
            .flat_map(|(_, (_, kept))| kept);
        let mut found: Vec<_> = kept.filter(fits).collect();
        found.sort_by_key(|finding| std::cmp::Reverse(finding.id));
        found.into_iter().take(limit).cloned().collect()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.by_rule.clear();
        self.by_agent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_some_are_kept() {
        let mut findings = Findings::default();
        let message = Message {
            line: String::new(),
            headers: Vec::new(),
            body: String::new(),
        };
        for _ in 0..1000 {
            if findings.count(Rule::Type, "PC") {
                let finding = Finding {
                    id: 0,
                    rule: "data.type",
                    severity: Rule::Type.text().severity,
                    hostname: "PC".into(),
                    method: "hello".into(),
                    at: Timestamp::ZERO,
                    details: Vec::new(),
                    request: message.clone(),
                    response: None,
                };
                findings.keep(Rule::Type, finding);
            }
        }
        let counted = findings
            .rules()
            .into_iter()
            .find(|rule| rule.rule.id == "data.type");
        assert_eq!(counted.unwrap().count, 1000);
        assert_eq!(findings.agents(10)[0].rules["data.type"], 1000);
        let kept = findings.list(None, Some("pc"), 1000);
        assert_eq!(kept.len(), MAX_KEPT);
        assert_eq!(kept[0].id, 50 + (1000 / SAMPLE), "the latest first");
        assert!(findings.list(Some(Rule::Json), None, 10).is_empty());
        findings.clear();
        assert!(findings.agents(1).is_empty());
    }
}
