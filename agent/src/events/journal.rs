//! Events from the systemd journal, as `journalctl` prints them.

use super::{EventError, Found, Room, shorten, since, size};
use crate::host::{Command, Host};
use oco_protocol::inventory::UNKNOWN;
use oco_protocol::rpc::{Event, EventQuery};
use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How this log is called in queries, and in events of no unit.
pub(super) const LOG: &str = "journalctl";

/// Only these fields are printed, which older versions of `journalctl` (before 236) cannot be told.
const FIELDS: &str = "--output-fields=MESSAGE,PRIORITY,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,_COMM,_SYSTEMD_UNIT";
/// Memory that a compiled regular expression may take, bytes. What it takes for matching is in proportion to that, and
/// so is the time for each character.
const REGEX_LIMIT: usize = 128 << 10;
/// Longest line that is read, bytes. A message that is not text is printed as a list of numbers.
const MOST_LINE: usize = 512 << 10;

/// Runs one query, for as many events as there is room for.
pub(super) fn query(host: &dyn Host, query: &EventQuery, room: Room) -> Result<Found, EventError> {
    let filter = Filter::parse(&query.query)?;
    let since = since(&query.since)?.as_second().max(0);
    match run(host, &filter, &filter.arguments(since, true), room) {
        Err(EventError::Command { .. }) => run(host, &filter, &filter.arguments(since, false), room),
        outcome => outcome,
    }
}

fn run(host: &dyn Host, filter: &Filter, args: &[String], room: Room) -> Result<Found, EventError> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let command = Command {
        program: "journalctl",
        args: &args,
        time_limit: room.time(host),
    };
    let mut found = Found::default();
    let mut lines = Lines::default();
    let code = host.stream(&command, &mut |piece| {
        lines.feed(piece, |line| {
            let Some(event) = filter.event(line) else {
                return ControlFlow::Continue(());
            };
            let bytes = size(&event);
            if found.events.len() >= room.events || found.bytes + bytes > room.bytes {
                found.cut = true;
                return ControlFlow::Break(());
            }
            found.bytes += bytes;
            found.events.push(event);
            ControlFlow::Continue(())
        })
    })?;
    if code != Some(0) && !found.cut {
        return Err(EventError::Command {
            command: command.to_string(),
            code,
        });
    }
    Ok(found)
}

/// What a query wants.
#[derive(Debug)]
struct Filter {
    units: Vec<String>,
    identifiers: Vec<String>,
    priorities: Vec<u8>,
    grep: Option<Pattern>,
}

/// The query as received: each value a text, for some of them a number or a list.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RawFilter {
    unit: List,
    identifier: List,
    priority: List,
    grep: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum List {
    #[default]
    None,
    Text(String),
    Number(i64),
    Many(Vec<List>),
}

impl List {
    /// The entries of comma-separated texts.
    fn entries(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Number(number) => vec![number.to_string()],
            Self::Many(lists) => lists.iter().flat_map(Self::entries).collect(),
            Self::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

impl Filter {
    fn parse(query: &str) -> Result<Self, EventError> {
        let raw: RawFilter = if query.trim().is_empty() {
            RawFilter::default()
        } else {
            serde_json::from_str(query).map_err(|source| EventError::Query {
                query: query.chars().take(200).collect(),
                source,
            })?
        };
        let priorities = raw.priority.entries();
        let priorities: Result<Vec<_>, _> = priorities.iter().map(|text| priority(text)).collect();
        let grep = raw.grep.filter(|pattern| !pattern.is_empty());
        Ok(Self {
            units: raw.unit.entries(),
            identifiers: raw.identifier.entries(),
            priorities: priorities?,
            grep: grep
                .map(|pattern| Pattern::compile(&pattern))
                .transpose()
                .map_err(EventError::Grep)?,
        })
    }

    /// The arguments of `journalctl`; there is no shell, and each value is tied to its option.
    fn arguments(&self, since: i64, with_fields: bool) -> Vec<String> {
        // `all`: messages of more than 4096 bytes are left out otherwise.
        let mut args: Vec<String> = ["--quiet", "--no-pager", "--all", "--output=json"]
            .map(str::to_owned)
            .into();
        args.extend(with_fields.then(|| FIELDS.to_owned()));
        args.push(format!("--since=@{since}"));
        args.extend(self.units.iter().map(|unit| format!("--unit={unit}")));
        args.extend(self.identifiers.iter().map(|name| format!("--identifier={name}")));
        args.extend(
            self.priorities
                .iter()
                .map(|priority| format!("PRIORITY={priority}")),
        );
        args
    }

    /// The event in a line, if it is one and wanted.
    fn event(&self, line: &[u8]) -> Option<Event> {
        let fields: BTreeMap<String, Value> = serde_json::from_slice(line).ok()?;
        let field = |name: &str| fields.get(name).and_then(text).filter(|text| !text.is_empty());
        let mut message = field("MESSAGE").unwrap_or_default();
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&message)) {
            return None;
        }
        shorten(&mut message);
        let number = |name: &str, default: &str| {
            field(name)
                .filter(|text| text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit()))
                .unwrap_or_else(|| default.to_owned())
        };
        let micros = field("__REALTIME_TIMESTAMP")?.parse().ok()?;
        let time = jiff::Timestamp::from_microsecond(micros).ok()?;
        Some(Event {
            log: field("_SYSTEMD_UNIT").unwrap_or_else(|| LOG.to_owned()),
            provider: field("SYSLOG_IDENTIFIER")
                .or_else(|| field("_COMM"))
                .unwrap_or_else(|| UNKNOWN.to_owned()),
            event_id: number("SYSLOG_FACILITY", "0").into(),
            // As systemd has it for entries without one.
            level: number("PRIORITY", "6").into(),
            timestamp: time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            data: BTreeMap::from([("message".to_owned(), message.into())]),
        })
    }
}

/// What messages have to contain. Matching takes linear time. Classes such as `\w` are about ASCII, as they are in
/// `journalctl --grep`, which spares the agent tables of Unicode.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    ignores_case: bool,
}

impl Pattern {
    /// As with `journalctl --grep`, a pattern without upper-case letters ignores case.
    fn compile(pattern: &str) -> Result<Self, regex_lite::Error> {
        let ignores_case = !pattern.chars().any(char::is_uppercase);
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(ignores_case)
            .size_limit(REGEX_LIMIT)
            .build()?;
        Ok(Self { regex, ignores_case })
    }

    fn is_match(&self, message: &str) -> bool {
        // The library knows the case of ASCII letters only. All letters of the pattern are small ones here.
        if self.ignores_case && !message.is_ascii() {
            return self.regex.is_match(&message.to_lowercase());
        }
        self.regex.is_match(message)
    }
}

fn priority(text: &str) -> Result<u8, EventError> {
    const NAMES: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    let by_name = || NAMES.iter().position(|name| *name == text);
    let number = text.parse().ok().or_else(by_name);
    number
        .and_then(|number| u8::try_from(number).ok())
        .filter(|number| *number < 8)
        .ok_or_else(|| EventError::Priority(text.chars().take(50).collect()))
}

/// A field's value: a text, bytes where it is not UTF-8, a list of these where it occurs more than once, or null where
/// it was too long.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(Value::is_number) => {
            let bytes = items
                .iter()
                .map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok()));
            let bytes: Option<Vec<u8>> = bytes.collect();
            Some(String::from_utf8_lossy(&bytes?).into_owned())
        }
        Value::Array(items) => items.iter().find_map(text),
        _ => None,
    }
}

/// Puts lines together from pieces. Lines that are too long are left out.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
    too_long: bool,
}

impl Lines {
    fn feed(&mut self, piece: &[u8], mut line: impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.take(&rest[..end]);
            rest = &rest[end + 1..];
            let whole = std::mem::take(&mut self.begun);
            if !std::mem::take(&mut self.too_long) {
                line(&whole)?;
            }
            self.begun = whole;
            self.begun.clear();
        }
        self.take(rest);
        ControlFlow::Continue(())
    }

    fn take(&mut self, part: &[u8]) {
        self.too_long |= self.begun.len() + part.len() > MOST_LINE;
        if self.too_long {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::MOST_MESSAGE;
    use proptest::prelude::*;
    use serde_json::json;

    fn arguments(query: &str) -> Vec<String> {
        Filter::parse(query).unwrap().arguments(7, false)
    }

    #[test]
    fn values_stay_arguments_of_their_own_options() {
        let args = arguments(r#"{"unit":"ssh.service, --file=/x","identifier":"-M","priority":"3,warning"}"#);
        assert_eq!(
            args[4..],
            [
                "--since=@7",
                "--unit=ssh.service",
                "--unit=--file=/x",
                "--identifier=-M",
                "PRIORITY=3",
                "PRIORITY=4"
            ]
        );
        assert_eq!(
            arguments(r#"{"priority":[2,"crit"],"unit":null}"#)[5..],
            ["PRIORITY=2", "PRIORITY=2"]
        );
        assert_eq!(arguments("").len(), 5);
    }

    #[test]
    fn malformed_queries_are_refused_with_their_reason() {
        for query in ["[", "7", r#"{"unit":{}}"#, r#"{"grep":7}"#] {
            assert!(
                matches!(Filter::parse(query), Err(EventError::Query { .. })),
                "{query}"
            );
        }
        for priority in ["8", "-1", "loud"] {
            let query = json!({ "priority": priority }).to_string();
            assert!(
                matches!(Filter::parse(&query), Err(EventError::Priority(_))),
                "{query}"
            );
        }
        for grep in ["(", "(?=x)", "((a{100}){100}){100}"] {
            let query = json!({ "grep": grep }).to_string();
            assert!(
                matches!(Filter::parse(&query), Err(EventError::Grep(_))),
                "{query}"
            );
        }
    }

    #[test]
    fn entries_become_events_as_the_existing_agent_has_them() {
        // transcripts/signed/019
        let line = json!({"__REALTIME_TIMESTAMP": "1795326061000000", "PRIORITY": "4", "SYSLOG_FACILITY": "4",
            "SYSLOG_IDENTIFIER": "sshd", "_SYSTEMD_UNIT": "ssh.service", "MESSAGE": "Failed password for root"});
        let filter = Filter::parse("{}").unwrap();
        let event = filter.event(line.to_string().as_bytes()).unwrap();
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            json!({"log": "ssh.service", "provider": "sshd", "event_id": "4", "level": "4",
                   "timestamp": "2026-11-22 05:41:01", "data": {"message": "Failed password for root"}})
        );
        let bare =
            json!({"__REALTIME_TIMESTAMP": "0", "MESSAGE": null, "_COMM": ["a", "b"], "PRIORITY": "x"});
        assert_eq!(
            serde_json::to_value(filter.event(bare.to_string().as_bytes()).unwrap()).unwrap(),
            json!({"log": "journalctl", "provider": "a", "event_id": "0", "level": "6",
                   "timestamp": "1970-01-01 00:00:00", "data": {"message": ""}})
        );
    }

    #[test]
    fn messages_that_are_not_text_are_read_and_long_ones_cut() {
        let filter = Filter::parse("{}").unwrap();
        let event = |message: Value| {
            let line = json!({"__REALTIME_TIMESTAMP": "1", "MESSAGE": message}).to_string();
            filter.event(line.as_bytes()).unwrap().data["message"].clone()
        };
        assert_eq!(event(json!([72, 105, 255])), json!("Hi\u{fffd}"));
        assert_eq!(event(json!([72, 256])), json!(""));
        let long = event(json!("ä".repeat(MOST_MESSAGE)));
        assert_eq!(long.as_str().unwrap().len(), MOST_MESSAGE + '…'.len_utf8());
    }

    #[test]
    fn the_regular_expression_picks_messages() {
        let filter = Filter::parse(r#"{"grep":"oops [0-9]*5"}"#).unwrap();
        let wanted = |message: &str| {
            let line = json!({"__REALTIME_TIMESTAMP": "1", "MESSAGE": message}).to_string();
            filter.event(line.as_bytes()).is_some()
        };
        assert!(wanted("oops 15") && wanted("Kernel: OOPS 5") && !wanted("oops 14"));
        assert!(!Pattern::compile("Oops").unwrap().is_match("oops"));
    }

    #[test]
    fn case_is_ignored_in_every_language() {
        let matches = |pattern: &str, message: &str| Pattern::compile(pattern).unwrap().is_match(message);
        assert!(matches("zugriff für müller", "ZUGRIFF FÜR MÜLLER verweigert"));
        assert!(!matches("MÜller", "müller") && matches("^.üller$", "Müller"));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            lines in proptest::collection::vec("[a-z]{0,8}", 0..6), cut in 1usize..5
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (mut splitter, mut read) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(cut) {
                let _ = splitter.feed(piece, |line| {
                    read.push(String::from_utf8(line.to_vec()).unwrap());
                    ControlFlow::Continue(())
                });
            }
            prop_assert_eq!(read, lines);
        }

        #[test]
        fn no_query_and_no_line_panics(query in "\\PC{0,80}", line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(filter) = Filter::parse(&query) {
                filter.arguments(0, true);
                filter.event(&line);
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_only() {
        let (mut splitter, mut read) = (Lines::default(), Vec::new());
        for piece in [&b"first\n"[..], &vec![b'x'; MOST_LINE], b"more", b"\nlast\n"] {
            let _ = splitter.feed(piece, |line| {
                read.push(line.to_vec());
                ControlFlow::Continue(())
            });
        }
        assert_eq!(read, [b"first".to_vec(), b"last".to_vec()]);
    }

    #[test]
    fn moments_are_read_as_utc() {
        let seconds = |text| since(text).map(|moment| moment.as_second());
        assert_eq!(seconds("1970-01-01 00:00:00").unwrap(), 0);
        assert_eq!(seconds("2026-11-22 05:41:01").unwrap(), 1_795_326_061);
        assert!(seconds("yesterday").is_err() && seconds("2026-13-01 00:00:00").is_err());
    }
}
