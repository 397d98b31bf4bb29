//! What the administrator does.

use super::behaviour::PackageJobs;
use super::values::{Moment, NonEmpty, PackageSize};
use crate::duration::Span;
use oco_agent::host::Os;
use oco_protocol::policy::ScopePolicies;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

/// `[admin]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Software packages, created before the first agent joins.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
    /// Deployments of them.
    #[serde(rename = "deployment")]
    pub deployments: Vec<Deployment>,
    /// Settings, changed before the first agent joins.
    pub settings: Settings,
    /// Policies for all computers, each time in place of those before.
    pub policies: Vec<PolicySet>,
    /// Events that computers are asked for.
    #[serde(rename = "event_rule")]
    pub event_rules: Vec<EventRule>,
    /// Passwords that computers rotate.
    #[serde(rename = "password_rule")]
    pub password_rules: Vec<PasswordRule>,
}

impl Admin {
    /// Whether there is anything for an administrator to do.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.deployments.is_empty() && self.mock_only().is_empty()
    }

    /// The sections that a real server's client API has nothing for.
    pub fn mock_only(&self) -> Vec<&'static str> {
        let sections = [
            ("[admin.settings]", self.settings != Settings::default()),
            ("[[admin.policies]]", !self.policies.is_empty()),
            ("[[admin.event_rule]]", !self.event_rules.is_empty()),
            ("[[admin.password_rule]]", !self.password_rules.is_empty()),
        ];
        let used = sections.into_iter().filter(|(_, used)| *used);
        used.map(|(section, _)| section).collect()
    }
}

/// `[[admin.package]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// Version.
    #[serde(default = "super::default_version")]
    pub version: String,
    /// Command line that installs it, run in the unpacked package.
    pub procedure: Spanned<String>,
    /// Size of the file in its ZIP, KiB; 0: the package has no file and nothing is downloaded.
    #[serde(default = "no_file")]
    pub size_kib: PackageSize,
    /// What a success is followed by.
    #[serde(default)]
    pub post_action: PostAction,
    /// How its jobs behave, where that is not as `[jobs]` has it.
    #[serde(default)]
    pub jobs: PackageJobs,
}

/// What follows an installation that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostAction {
    /// Nothing.
    #[default]
    None,
    /// The machine restarts.
    Restart,
    /// The machine shuts down.
    Shutdown,
    /// The agent ends and starts again.
    Exit,
}

impl PostAction {
    /// As both administration interfaces number it.
    pub fn number(self) -> u8 {
        self as u8
    }
}

fn no_file() -> PackageSize {
    PackageSize::NONE
}

/// `[[admin.deployment]]`: packages to every computer that is registered at that time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// Which packages.
    pub packages: NonEmpty<Spanned<String>>,
    /// When.
    pub at: Moment,
    /// What a failed job means for the rest of the computer's jobs.
    #[serde(default)]
    pub sequence: Sequence,
    /// Deployments with a higher one go first.
    #[serde(default)]
    pub priority: i32,
}

/// What a failed job means for those after it on the same computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sequence {
    /// Nothing.
    #[default]
    Continue,
    /// They fail, too.
    Abort,
}

/// `[admin.settings]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Age at which the server asks for an inventory again; none: as it is set.
    pub update_interval: Option<Span>,
}

/// `[[admin.policies]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// When.
    pub at: Moment,
    /// Key, such as `JSON:/etc/x.json:Name`, and value. What was there before and is not in it is removed.
    pub machine: Spanned<ScopePolicies>,
}

impl PolicySet {
    /// Those that machines with such a system follow.
    pub fn of_system(&self, os: Os) -> impl Iterator<Item = (&String, &Value)> {
        let policies = self.machine.get_ref().iter();
        policies.filter(move |(key, _)| is_for(key, os))
    }

    /// Whether there are any.
    pub fn concerns(&self, os: Os) -> bool {
        self.of_system(os).next().is_some()
    }
}

/// The registry is Windows', settings are those of macOS, and files are for the systems whose paths they have.
fn is_for(key: &str, os: Os) -> bool {
    match (key.split_once(':'), os) {
        (Some(("JSON", path)), Os::Linux | Os::MacOs) => path.starts_with('/'),
        (Some(("JSON", path)), Os::Windows) => {
            path.starts_with(|c: char| c.is_ascii_alphabetic()) && path[1..].starts_with(':')
        }
        (Some(("REGISTRY", _)), Os::Windows) | (Some(("DEFAULTS", _)), Os::MacOs) => true,
        _ => false,
    }
}

/// `[[admin.event_rule]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// When.
    pub at: Moment,
    /// `journalctl`, or a Windows channel.
    pub log: String,
    /// A JSON object as text for journald, XML or XPath for Windows.
    #[serde(default)]
    pub query: String,
}

/// `[[admin.password_rule]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordRule {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// When.
    pub at: Moment,
    /// The local account. `root` is on every Linux machine and Mac, `Administrator` on every Windows machine.
    pub username: String,
    /// Characters to draw from.
    #[serde(default = "alphabet")]
    pub alphabet: String,
    /// How many.
    #[serde(default = "length")]
    pub length: super::values::PasswordLength,
    /// Age at which a password is rotated again.
    #[serde(default = "month")]
    pub valid_for: super::values::Interval,
}

fn alphabet() -> String {
    "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789".to_owned()
}

fn length() -> super::values::PasswordLength {
    super::values::PasswordLength(16)
}

fn month() -> super::values::Interval {
    super::values::Interval(Span::from_secs(30 * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_for_the_systems_that_have_what_they_are_about() {
        for (key, systems) in [
            ("JSON:/etc/x.json:a", &[Os::Linux, Os::MacOs] as &[Os]),
            (r"JSON:C:\x.json:a", &[Os::Windows]),
            (r"REGISTRY:Software\X:a", &[Os::Windows]),
            ("DEFAULTS:com.example.x:a", &[Os::MacOs]),
            ("NOTHING:/etc/x:a", &[]),
            ("JSON:", &[]),
            ("JSON:ü", &[]),
            ("JSON", &[]),
        ] {
            let concerned = Os::ALL.into_iter().filter(|os| is_for(key, *os));
            let concerned: Vec<_> = concerned.collect();
            assert_eq!(concerned.len(), systems.len(), "{key}: {concerned:?}");
            assert!(systems.iter().all(|os| concerned.contains(os)), "{key}");
        }
    }
}
