//! A virtual agent's config file: the settings of the whole fleet with the agent's own keys filled in.

const SECTIONS: [&str; 2] = ["agent", "server"];
const AGENT_KEY: &str = "agent-key";
const SERVER_KEY: &str = "server-key";

/// Settings that are the same in the config of every agent of a fleet: everything but the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedSettings {
    /// Section, key, value; sorted.
    settings: Vec<(Box<str>, Box<str>, Box<str>)>,
}

/// A setting that cannot be shared by a fleet. Its value is left out: a URL may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot give every agent this setting `{key}` in [{section}]: expected section agent or server, a key other \
     than agent-key and server-key, given once, and a value on one line without quotes, backslashes and comment signs"
)]
pub struct InvalidSetting {
    section: String,
    key: String,
}

impl SharedSettings {
    /// From (section, key, value), such as `("server", "api-url", "https://...")`.
    pub fn new<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Self, InvalidSetting> {
        let mut sorted: Vec<(Box<str>, Box<str>, Box<str>)> = Vec::new();
        for (section, key, value) in settings {
            let plain = SECTIONS.contains(&section) && is_plain_key(key) && is_plain_value(value);
            let taken = key == AGENT_KEY
                || key == SERVER_KEY
                || sorted.iter().any(|(s, k, _)| **s == *section && **k == *key);
            if !plain || taken {
                return Err(InvalidSetting {
                    section: section.into(),
                    key: key.into(),
                });
            }
            sorted.push((section.into(), key.into(), value.into()));
        }
        sorted.sort();
        Ok(Self { settings: sorted })
    }

    fn position(&self, section: &str, key: &str, value: &str) -> Option<usize> {
        self.settings
            .iter()
            .position(|(s, k, v)| **s == *section && **k == *key && **v == *value)
    }
}

/// The agent's own part of its config; none: the file doesn't have that key at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CompactConfig<'a> {
    pub(super) agent_key: Option<&'a str>,
    pub(super) server_key: Option<&'a str>,
}

impl CompactConfig<'_> {
    /// The file, with the shared settings.
    pub(super) fn render(&self, shared: &SharedSettings) -> String {
        let mut text = String::with_capacity(256);
        for (section, key_name, key) in [
            ("agent", AGENT_KEY, self.agent_key),
            ("server", SERVER_KEY, self.server_key),
        ] {
            text.push('[');
            text.push_str(section);
            text.push_str("]\n");
            let own = key.map(|key| (key_name, key));
            let shared = shared.settings.iter().filter(|(s, ..)| **s == *section);
            for (name, value) in own
                .into_iter()
                .chain(shared.map(|(_, name, value)| (&**name, &**value)))
            {
                text.push_str(name);
                text.push_str(" = ");
                text.push_str(value);
                text.push('\n');
            }
        }
        text
    }
}

/// Reads a config that says nothing beyond its keys and the shared settings; any other is none.
pub(super) fn parse<'a>(text: &'a str, shared: &SharedSettings) -> Option<CompactConfig<'a>> {
    let mut config = CompactConfig::default();
    let mut section = None;
    let mut sections_seen = [false; SECTIONS.len()];
    let mut settings_seen = 0u64;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let index = SECTIONS.iter().position(|known| *known == name)?;
            if std::mem::replace(&mut sections_seen[index], true) {
                return None;
            }
            section = Some(SECTIONS[index]);
            continue;
        }
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim_end(), value.trim_start());
        if !is_plain_value(value) {
            return None;
        }
        match (section?, key) {
            ("agent", AGENT_KEY) if config.agent_key.is_none() => config.agent_key = Some(value),
            ("server", SERVER_KEY) if config.server_key.is_none() => config.server_key = Some(value),
            (section, key) => {
                let bit = 1u64.checked_shl(u32::try_from(shared.position(section, key, value)?).ok()?)?;
                if settings_seen & bit != 0 {
                    return None;
                }
                settings_seen |= bit;
            }
        }
    }
    let complete = settings_seen.count_ones() as usize == shared.settings.len() && sections_seen == [true; 2];
    complete.then_some(config)
}

fn is_plain_key(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether every `.ini` parser reads the value as it stands.
fn is_plain_value(value: &str) -> bool {
    value.trim() == value
        && !value.starts_with(['[', '='])
        && !value
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\' | ';' | '#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> SharedSettings {
        SharedSettings::new([
            ("server", "api-url", "https://oco.example/api-agent.php"),
            ("agent", "debug", "0"),
        ])
        .unwrap()
    }

    #[test]
    fn config_with_a_comment_or_another_value_is_not_compact() {
        let config = CompactConfig {
            agent_key: Some("a"),
            server_key: Some(""),
        };
        let text = config.render(&shared());
        assert_eq!(parse(&text, &shared()), Some(config));
        assert_eq!(parse(&format!("# by the administrator\n{text}"), &shared()), None);
        assert_eq!(parse(&text.replace("debug = 0", "debug = 1"), &shared()), None);
        assert_eq!(parse(&text.replace("debug = 0\n", ""), &shared()), None);
        assert_eq!(
            parse(&text.replace("agent-key = a", "agent-key = a#b"), &shared()),
            None
        );
    }

    #[test]
    fn order_and_spacing_do_not_matter() {
        let text = "\n[server]\nserver-key=s\napi-url=https://oco.example/api-agent.php\n[agent]\ndebug=0\nagent-key   =  a\n";
        let expected = CompactConfig {
            agent_key: Some("a"),
            server_key: Some("s"),
        };
        assert_eq!(parse(text, &shared()), Some(expected));
    }

    #[test]
    fn keys_and_unusual_values_cannot_be_shared() {
        for setting in [
            ("server", "server-key", "x"),
            ("agent", "a b", "x"),
            ("users", "debug", "1"),
            ("agent", "x", "a;b"),
        ] {
            assert!(SharedSettings::new([setting]).is_err(), "{setting:?}");
        }
        assert!(SharedSettings::new([("agent", "debug", "1"), ("agent", "debug", "1")]).is_err());
    }
}
