//! A virtual agent's state as it is kept between two runs: what the agent would find on its disk.

use super::key_text::KeyText;
use super::state::{SharedSettings, VirtualState};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oco_protocol::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One agent. Its keys are secrets: whoever has them can speak for its computer.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    /// The key that it signs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_key: Option<String>,
    /// The key that its server signs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_key: Option<String>,
    /// Time of the last answer that it accepted, µs of UNIX time.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u64>,
    /// Time of the last request that it sent, µs of UNIX time.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<u64>,
    /// Other files it wrote (base64), and files it removed (null).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<PathBuf, Option<String>>,
}

impl fmt::Debug for AgentRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRecord").finish_non_exhaustive()
    }
}

impl AgentRecord {
    /// What is to be kept of a state.
    pub fn of(state: &VirtualState) -> Self {
        let text = |key: &Option<KeyText>| key.as_ref().map(|key| key.as_str().to_owned());
        Self {
            agent_key: text(&state.agent_key),
            server_key: text(&state.server_key),
            received: state.timestamp.map(Timestamp::as_micros),
            sent: state.sent_timestamp.map(Timestamp::as_micros),
            files: state
                .extra
                .iter()
                .flat_map(|files| files.iter())
                .map(|(path, content)| (path.clone(), content.as_ref().map(|bytes| STANDARD.encode(bytes))))
                .collect(),
        }
    }

    /// The state, in a fleet with these settings; the path of a file whose content is no base64.
    pub fn into_state(self, settings: Arc<SharedSettings>) -> Result<VirtualState, PathBuf> {
        let mut files = BTreeMap::new();
        for (path, content) in self.files {
            let content = content.map(|text| STANDARD.decode(text)).transpose();
            let Ok(content) = content else {
                return Err(path);
            };
            files.insert(path, content.map(Vec::into_boxed_slice));
        }
        Ok(VirtualState {
            settings,
            agent_key: self.agent_key.as_deref().map(KeyText::new),
            server_key: self.server_key.as_deref().map(KeyText::new),
            timestamp: self.received.map(Timestamp::from_micros),
            sent_timestamp: self.sent.map(Timestamp::from_micros),
            extra: (!files.is_empty()).then(|| Box::new(files)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oco_agent::config::Paths;
    use proptest::prelude::*;
    use std::path::Path;

    proptest! {
        #[test]
        fn a_state_survives_its_record(
            agent_key in proptest::option::of("[ -~]{0,40}"),
            timestamp in proptest::option::of(0u64..4_290_000_000_000_000),
            content in proptest::collection::vec(any::<u8>(), 0..60),
            removed: bool,
        ) {
            let paths = Paths::beside(Path::new("/etc/oco-agent.ini"));
            let settings = Arc::new(SharedSettings::default());
            let mut state = VirtualState::registered(
                settings.clone(),
                agent_key.as_deref().unwrap_or_default(),
                "3z7ry2fi245dfgy5zhflhm7cv8zetw",
                timestamp.map(Timestamp::from_micros),
            );
            state.write(&paths, Path::new("/var/lib/other"), &content);
            if removed {
                state.remove(&paths, Path::new("/etc/passwd"));
            }
            let line = serde_json::to_string(&AgentRecord::of(&state)).unwrap();
            let back: AgentRecord = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(back.into_state(settings).unwrap(), state);
        }
    }

    #[test]
    fn a_file_that_is_no_base64_is_named() {
        let record: AgentRecord = serde_json::from_str(r#"{"files":{"/a":"%"}}"#).unwrap();
        let refused = record.into_state(Arc::new(SharedSettings::default()));
        assert_eq!(refused.unwrap_err(), Path::new("/a"));
    }
}
