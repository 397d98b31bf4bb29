//! Rules as they are written: in requests to `/mock/v1/faults`, and in the configuration file.

use crate::hooks::Exchange;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest time of a fault, ms: a day.
const MAX_MS: u64 = 24 * 3600 * 1000;
/// Largest oversized body, bytes.
const MAX_BODY: u64 = 1 << 30;
const METHODS: [&str; 7] = [
    "hello",
    "update",
    "update_job_state",
    "update_deploy_status",
    "download",
    "events",
    "passwords",
];

/// Which exchanges, and what goes wrong with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FaultRule)]
pub struct Rule {
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// All exchanges, if left out.
    #[serde(default)]
    pub select: Selector,
    /// What goes wrong.
    pub fault: Fault,
}

/// Which exchanges; what is left out fits all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = FaultSelector)]
pub struct Selector {
    /// Names without `oco.agent.`: hello, update, update_job_state, update_deploy_status, download, events, passwords.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Host name, in whatever case; `*` stands for any characters, `?` for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// As the last inventory has it; computers without one fit none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<OperatingSystem>,
    /// Share of the fitting exchanges, 0 to 1, drawn for each computer by itself from the seed.
    #[schema(minimum = 0, maximum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// So many of the fitting exchanges of each computer are left alone at first.
    #[serde(skip_serializing_if = "is_zero")]
    pub skip: u64,
    /// Only so often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Not before this time, UNIX seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Before this time, UNIX seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
}

/// Families of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum OperatingSystem {
    Linux,
    Macos,
    Windows,
}

/// What goes wrong. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The request waits before it is served.
    Delay(DelayMs),
    /// The answer comes slowly.
    Bandwidth {
        /// Bytes a second.
        #[schema(minimum = 1, maximum = 1_073_741_824)]
        #[serde(alias = "bytes-per-second")]
        bytes_per_second: u64,
    },
    /// The answer comes in drops.
    Dribble {
        /// Of each drop.
        #[schema(minimum = 1, maximum = 1_073_741_824)]
        bytes: usize,
        /// Between two drops.
        #[schema(minimum = 1, maximum = 86_400_000)]
        #[serde(alias = "every-ms")]
        every_ms: u64,
    },
    /// Another status instead of an answer; the request is not served.
    Status {
        /// 400 to 599.
        #[schema(minimum = 400, maximum = 599)]
        code: u16,
        /// Reason phrase.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// `Retry-After`, seconds.
        #[serde(default, alias = "retry-after", skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
        /// Body.
        #[serde(default)]
        body: String,
    },
    /// The connection is reset.
    Reset {
        /// Where.
        at: CutPlace,
    },
    /// The connection is silent for a while, and then closed.
    Idle {
        /// Where.
        at: CutPlace,
        /// For so long.
        #[serde(default = "ten_minutes", alias = "for-ms")]
        #[schema(maximum = 86_400_000)]
        for_ms: u64,
    },
    /// This connection is reset, and new ones are refused for a while.
    Refuse {
        /// For so long.
        #[serde(alias = "for-ms")]
        #[schema(maximum = 86_400_000)]
        for_ms: u64,
    },
    /// The server cuts all connections, closes its database, is away for a while and starts again.
    Restart {
        /// For so long.
        #[serde(alias = "for-ms")]
        #[schema(maximum = 86_400_000)]
        for_ms: u64,
    },
    /// The JSON of the answer is broken.
    Json {
        /// How.
        is: Json,
        /// Whether the server signs what comes of it, so that it gets past the check of the signature.
        #[serde(default)]
        signed: bool,
    },
    /// The answer says that it is something else.
    ContentType {
        /// What.
        value: String,
    },
    /// The answer is followed by white space.
    Oversized {
        /// Length of the body, bytes.
        #[schema(minimum = 1, maximum = 1_073_741_824)]
        bytes: u64,
        /// Whether the server signs it.
        #[serde(default)]
        signed: bool,
    },
    /// The signature does not fit.
    Signature {
        /// How.
        is: SignatureFault,
    },
    /// The answer's timestamp is not newer. Signed, except where it is an old answer's.
    Timestamp {
        /// How.
        is: TimestampFault,
    },
    /// The answer to a hello brings keys that nobody asked for, signed with the key that the agent knows.
    KeyChange {
        /// Which.
        #[serde(default)]
        keys: KeyChange,
    },
    // Braces have these take no further fields, as all others do.
    /// Jobs have fields that nobody knows.
    UnknownJobFields {},
    /// Each job comes twice.
    DuplicateJobs {},
    /// Jobs have procedures of another operating system.
    ForeignJob {},
    /// A package's archive is not what it should be.
    Package {
        /// How.
        is: PackageFault,
    },
}

/// How long a request waits, ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "distribution", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DelayMs {
    /// Always as long.
    Fixed {
        /// How long.
        #[schema(maximum = 86_400_000)]
        ms: u64,
    },
    /// Any time between two is as likely.
    Uniform {
        /// The shortest.
        #[schema(maximum = 86_400_000)]
        min: u64,
        /// The longest.
        #[schema(maximum = 86_400_000)]
        max: u64,
    },
    /// As networks and servers are: mostly short, at times very long.
    LogNormal {
        /// Half of them are shorter.
        #[schema(minimum = 1, maximum = 86_400_000)]
        median: f64,
        /// Standard deviation of the logarithm.
        #[schema(minimum = 0, maximum = 10)]
        sigma: f64,
    },
}

/// Where a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CutPlace {
    /// Before the request is served.
    Request,
    /// After the request was served, before its answer.
    Before,
    /// In the middle of the answer's body.
    In,
    /// After the answer's body.
    After,
}

/// Broken JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JsonFault)]
pub enum Json {
    /// The first half.
    Truncated,
    /// Something else.
    Garbage,
}

/// A signature that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureFault {
    /// Well-formed, of nothing.
    Wrong,
    /// None.
    Missing,
    /// By the key that another computer knows.
    OtherAgent,
}

/// A timestamp that is not newer than that of the answer before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimestampFault {
    /// The whole answer before, once more.
    Replayed,
    /// The same timestamp.
    Equal,
    /// An hour before.
    Backward,
    /// None.
    Absent,
}

/// Keys that change unasked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum KeyChange {
    Agent,
    Server,
    #[default]
    Both,
}

/// An archive that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PackageFault {
    /// Its first half.
    Truncated,
    /// Damaged in its middle.
    Corrupt,
    /// A gigabyte of nothing in a megabyte.
    ZipBomb,
    /// With an entry `../escaped`.
    ParentEntry,
    /// With an entry `/tmp/escaped`.
    AbsoluteEntry,
    /// With a symbolic link out of its folder, and a file behind it.
    LinkEntry,
    /// More bytes are announced than come.
    WrongLength,
    /// A request for a range gets the whole archive.
    RangeIgnored,
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRule(String);

impl Rule {
    /// Refuses values out of their bounds.
    pub fn check(&self) -> Result<(), InvalidRule> {
        let invalid = |message: String| Err(InvalidRule(message));
        let select = &self.select;
        if let Some(method) = select
            .methods
            .iter()
            .find(|method| !METHODS.contains(&method.as_str()))
        {
            return invalid(format!(
                "select.methods: {method:?} is none of {}",
                METHODS.join(", ")
            ));
        }
        if select.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return invalid("select.share must be 0 to 1".into());
        }
        self.fault.check()
    }
}

impl Fault {
    fn check(&self) -> Result<(), InvalidRule> {
        let within = |name: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(InvalidRule(format!("fault.{name} must be {min} to {max}")))
            }
        };
        match self {
            Self::Delay(DelayMs::Fixed { ms }) => within("ms", *ms, 0, MAX_MS),
            Self::Delay(DelayMs::Uniform { min, max }) => {
                within("max", *max, 0, MAX_MS)?;
                within("min", *min, 0, *max)
            }
            Self::Delay(DelayMs::LogNormal { median, sigma }) => {
                #[allow(clippy::cast_precision_loss)] // a day in ms fits
                let bounded = (1.0..=MAX_MS as f64).contains(median) && (0.0..=10.0).contains(sigma);
                if bounded {
                    Ok(())
                } else {
                    Err(InvalidRule(format!(
                        "fault.median must be 1 to {MAX_MS} and fault.sigma 0 to 10"
                    )))
                }
            }
            Self::Bandwidth { bytes_per_second } => {
                within("bytes_per_second", *bytes_per_second, 1, MAX_BODY)
            }
            Self::Dribble { bytes, every_ms } => {
                within("bytes", *bytes as u64, 1, MAX_BODY)?;
                within("every_ms", *every_ms, 1, MAX_MS)
            }
            Self::Status { code, .. } => within("code", (*code).into(), 400, 599),
            Self::Idle { for_ms, .. } | Self::Refuse { for_ms } | Self::Restart { for_ms } => {
                within("for_ms", *for_ms, 0, MAX_MS)
            }
            Self::Oversized { bytes, .. } => within("bytes", *bytes, 1, MAX_BODY),
            Self::ContentType { value } if axum::http::HeaderValue::from_str(value).is_err() => {
                Err(InvalidRule("fault.value is no value of a header".into()))
            }
            _ => Ok(()),
        }
    }

    /// Its name, for counters.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Dribble { .. } => "dribble",
            Self::Status { .. } => "status",
            Self::Reset { .. } => "reset",
            Self::Idle { .. } => "idle",
            Self::Refuse { .. } => "refuse",
            Self::Restart { .. } => "restart",
            Self::Json { .. } => "json",
            Self::ContentType { .. } => "content-type",
            Self::Oversized { .. } => "oversized",
            Self::Signature { .. } => "signature",
            Self::Timestamp { .. } => "timestamp",
            Self::KeyChange { .. } => "key-change",
            Self::UnknownJobFields {} => "unknown-job-fields",
            Self::DuplicateJobs {} => "duplicate-jobs",
            Self::ForeignJob {} => "foreign-job",
            Self::Package { .. } => "package",
        }
    }

    /// Whether it can befall this method at all.
    pub(super) fn applies_to(&self, method: &str) -> bool {
        match self {
            Self::KeyChange { .. }
            | Self::UnknownJobFields {}
            | Self::DuplicateJobs {}
            | Self::ForeignJob {} => method == "hello",
            Self::Package { .. } => method == "download",
            Self::Json { .. } | Self::Signature { .. } | Self::Timestamp { .. } => method != "download",
            _ => true,
        }
    }

    /// Whether the answer is changed before it is signed.
    pub(super) fn is_genuine(&self) -> bool {
        match self {
            Self::KeyChange { .. }
            | Self::UnknownJobFields {}
            | Self::DuplicateJobs {}
            | Self::ForeignJob {} => true,
            Self::Timestamp { is } => *is != TimestampFault::Replayed,
            _ => false,
        }
    }

    /// Whether it is made of the answer before.
    pub(super) fn needs_last_answer(&self) -> bool {
        matches!(
            self,
            Self::Timestamp {
                is: TimestampFault::Replayed | TimestampFault::Equal
            }
        )
    }
}

impl Selector {
    /// Whether an exchange is one of those that are chosen from.
    pub(super) fn fits(&self, exchange: &Exchange) -> bool {
        let at = exchange.received_at.as_secs_f64();
        (self.methods.is_empty() || self.methods.contains(&exchange.method))
            && self
                .hostname
                .as_ref()
                .is_none_or(|pattern| is_like(&exchange.hostname.to_lowercase(), &pattern.to_lowercase()))
            && self
                .os
                .is_none_or(|os| exchange.os.as_deref().map(OperatingSystem::of) == Some(os))
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
    }
}

impl OperatingSystem {
    /// The family of a system as inventories name it.
    pub(super) fn of(name: &str) -> Self {
        match name {
            name if name.starts_with("Windows") || name.starts_with("Microsoft Windows") => Self::Windows,
            name if name.starts_with("macOS") || name.starts_with("Mac OS") => Self::Macos,
            _ => Self::Linux,
        }
    }
}

/// Whether `text` is as `pattern` wants it: `*` is any characters, `?` one.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<_>, Vec<_>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut next) = (0, 0);
    // Where the last star is, and what it has swallowed: only that one is ever tried again.
    let mut star = None;
    while at < text.len() {
        match pattern.get(next) {
            Some('*') => {
                star = Some((next, at));
                next += 1;
            }
            Some(one) if *one == '?' || *one == text[at] => {
                at += 1;
                next += 1;
            }
            _ => match star {
                Some((position, swallowed)) => {
                    star = Some((position, swallowed + 1));
                    at = swallowed + 1;
                    next = position + 1;
                }
                None => return false,
            },
        }
    }
    pattern[next..].iter().all(|one| *one == '*')
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn ten_minutes() -> u64 {
    600_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_matched_by_patterns() {
        for (text, pattern, expected) in [
            ("pc-1", "pc-1", true),
            ("pc-1", "pc-?", true),
            ("pc-12", "pc-?", false),
            ("pc-12", "pc-*", true),
            ("pc-12", "*", true),
            ("", "*", true),
            ("", "?", false),
            ("web-01.example", "w*.ex*le", true),
            ("aab", "*ab", true),
            ("aab", "*a", false),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn rules_out_of_bounds_are_refused_with_the_field() {
        for (rule, field) in [
            (r#"{"fault":{"kind":"status","code":200}}"#, "fault.code"),
            (
                r#"{"select":{"share":1.5},"fault":{"kind":"duplicate-jobs"}}"#,
                "select.share",
            ),
            (
                r#"{"select":{"methods":["nope"]},"fault":{"kind":"duplicate-jobs"}}"#,
                "select.methods",
            ),
            (
                r#"{"fault":{"kind":"bandwidth","bytes_per_second":0}}"#,
                "fault.bytes_per_second",
            ),
            (
                r#"{"fault":{"kind":"dribble","bytes":0,"every_ms":1}}"#,
                "fault.bytes",
            ),
            (
                r#"{"fault":{"kind":"delay","distribution":"uniform","min":2,"max":1}}"#,
                "fault.min",
            ),
            (
                r#"{"fault":{"kind":"delay","distribution":"log-normal","median":0.5,"sigma":1}}"#,
                "fault.median",
            ),
            (
                r#"{"fault":{"kind":"content-type","value":"a\nb"}}"#,
                "fault.value",
            ),
            (
                r#"{"fault":{"kind":"restart","for_ms":99999999999}}"#,
                "fault.for_ms",
            ),
        ] {
            let rule: Rule = serde_json::from_str(rule).unwrap();
            assert!(
                rule.check().unwrap_err().to_string().starts_with(field),
                "{rule:?}"
            );
        }
        for text in [
            r#"{"fault":{"kind":"nope"}}"#,
            r#"{"fault":{"kind":"duplicate-jobs"},"surplus":1}"#,
            r#"{"select":{"host":"x"},"fault":{"kind":"duplicate-jobs"}}"#,
        ] {
            assert!(serde_json::from_str::<Rule>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_are_the_same_in_a_configuration_file() {
        #[derive(Deserialize)]
        struct File {
            faults: Vec<Rule>,
        }
        let text = "[[faults]]\nname = 'busy'\nselect = { methods = ['hello'], share = 0.5 }\n\
                    fault = { kind = 'status', code = 503, retry-after = 5 }\n";
        let file: File = toml::from_str(text).unwrap();
        let json = r#"{"name":"busy","select":{"methods":["hello"],"share":0.5},
            "fault":{"kind":"status","code":503,"retry_after":5}}"#;
        assert_eq!(file.faults, [serde_json::from_str::<Rule>(json).unwrap()]);
    }
}
