//! What a virtual agent keeps between two check-ins: a config, two timestamps and whatever else was written, held so
//! that a million idle agents fit into a gigabyte, and shown to the agent as the files it knows.

use super::config_file::{self, CompactConfig};
use super::key_text::KeyText;
use oco_agent::config::Paths;
use oco_protocol::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use super::config_file::SharedSettings;

/// Files that were written (with their content) or removed (none), where they don't fit the compact form.
pub(super) type ExtraFiles = BTreeMap<PathBuf, Option<Box<[u8]>>>;

/// A virtual agent's persistent state.
///
/// The config is held as its two keys plus the settings that the whole fleet shares, the timestamp files as integers.
/// A file whose content says more than that (comments, other settings, rubbish) is kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualState {
    pub(super) settings: Arc<SharedSettings>,
    pub(super) agent_key: Option<KeyText>,
    pub(super) server_key: Option<KeyText>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) sent_timestamp: Option<Timestamp>,
    pub(super) extra: Option<Box<ExtraFiles>>,
}

impl VirtualState {
    /// A freshly installed agent: the fleet's settings and a registration key, no server key yet.
    pub fn installed(settings: Arc<SharedSettings>, registration_key: &str) -> Self {
        Self::registered(settings, registration_key, "", None)
    }

    /// An agent that the server knows already: with the keys and the last timestamp of an earlier check-in.
    pub fn registered(
        settings: Arc<SharedSettings>,
        agent_key: &str,
        server_key: &str,
        timestamp: Option<Timestamp>,
    ) -> Self {
        Self {
            settings,
            agent_key: Some(KeyText::new(agent_key)),
            server_key: Some(KeyText::new(server_key)),
            timestamp,
            sent_timestamp: None,
            extra: None,
        }
    }

    /// Whether it holds the keys of a server that knows it.
    pub fn is_registered(&self) -> bool {
        let key = self.server_key.as_ref();
        key.is_some_and(|key| !key.as_str().is_empty())
    }

    /// What the agent shares with its fleet.
    pub fn settings(&self) -> Arc<SharedSettings> {
        self.settings.clone()
    }

    /// The timestamp of the last response that the agent accepted, if the file holds one.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Bytes that this state takes, its heap allocations included (without allocator overhead and without what is
    /// shared by the whole fleet).
    pub fn bytes(&self) -> usize {
        let keys = [&self.agent_key, &self.server_key];
        let extra = self.extra.as_ref().map_or(0, |files| {
            let files = files.iter();
            files
                .map(|(path, content)| path.as_os_str().len() + content.as_ref().map_or(0, |c| c.len()) + 48)
                .sum()
        });
        size_of::<Self>() + keys.into_iter().flatten().map(KeyText::heap_bytes).sum::<usize>() + extra
    }

    /// The content of a file that the agent wrote; `Some(None)` means that it removed the file.
    #[allow(
        clippy::option_option,
        reason = "nothing known, known to be gone, known content"
    )]
    pub(super) fn read(&self, paths: &Paths, path: &Path) -> Option<Option<Vec<u8>>> {
        if let Some(content) = self.extra.as_ref().and_then(|files| files.get(path)) {
            return Some(content.as_deref().map(<[u8]>::to_vec));
        }
        if path == paths.config {
            let config = self.compact_config();
            return Some(Some(config.render(&self.settings).into_bytes()));
        }
        let timestamp = self.timestamp_of(paths, path)?;
        Some(timestamp.map(|timestamp| timestamp.to_string().into_bytes()))
    }

    /// Takes over what the agent wrote.
    pub(super) fn write(&mut self, paths: &Paths, path: &Path, content: &[u8]) {
        if self.write_compactly(paths, path, content) {
            self.forget_extra(path);
        } else {
            self.put_extra(path, Some(content.into()));
        }
    }

    /// Removes a file, also one that the machine was generated with.
    pub(super) fn remove(&mut self, paths: &Paths, path: &Path) {
        if path == paths.timestamp {
            self.timestamp = None;
            self.forget_extra(path);
        } else if path == paths.sent_timestamp {
            self.sent_timestamp = None;
            self.forget_extra(path);
        } else if super::split_path(path).is_some_and(|(folder, _)| Path::new(folder) == paths.journal) {
            // No machine is generated with a job journal, so nothing shows through where an entry was.
            self.forget_extra(path);
        } else {
            self.put_extra(path, None);
        }
    }

    /// Names directly below `folder` that the agent wrote (true) or removed (false).
    pub(super) fn names_below<'a>(
        &'a self,
        paths: &'a Paths,
        folder: &'a Path,
    ) -> impl Iterator<Item = (&'a str, bool)> {
        let extra = self.extra.iter().flat_map(|files| files.iter());
        let extra = extra.map(|(path, content)| (path.as_path(), content.is_some()));
        let known = [
            (paths.config.as_path(), true),
            (paths.timestamp.as_path(), self.timestamp.is_some()),
            (paths.sent_timestamp.as_path(), self.sent_timestamp.is_some()),
        ];
        let known = known.into_iter().filter(|(_, present)| *present);
        known.chain(extra).filter_map(move |(path, present)| {
            let (parent, name) = super::split_path(path)?;
            (Path::new(parent) == folder).then_some((name, present))
        })
    }

    fn compact_config(&self) -> CompactConfig<'_> {
        CompactConfig {
            agent_key: self.agent_key.as_ref().map(KeyText::as_str),
            server_key: self.server_key.as_ref().map(KeyText::as_str),
        }
    }

    #[allow(
        clippy::option_option,
        reason = "no timestamp file, no timestamp in it, a timestamp"
    )]
    fn timestamp_of(&self, paths: &Paths, path: &Path) -> Option<Option<Timestamp>> {
        if path == paths.timestamp {
            Some(self.timestamp)
        } else if path == paths.sent_timestamp {
            Some(self.sent_timestamp)
        } else {
            None
        }
    }

    fn write_compactly(&mut self, paths: &Paths, path: &Path, content: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(content) else {
            return false;
        };
        if path == paths.config {
            let Some(config) = config_file::parse(text, &self.settings) else {
                return false;
            };
            self.agent_key = config.agent_key.map(KeyText::new);
            self.server_key = config.server_key.map(KeyText::new);
            return true;
        }
        let slot = if path == paths.timestamp {
            &mut self.timestamp
        } else if path == paths.sent_timestamp {
            &mut self.sent_timestamp
        } else {
            return false;
        };
        let timestamp = text.parse::<Timestamp>().ok();
        *slot = timestamp.filter(|timestamp| timestamp.to_string() == text.trim_end());
        slot.is_some()
    }

    pub(super) fn put_extra(&mut self, path: &Path, content: Option<Box<[u8]>>) {
        self.extra
            .get_or_insert_default()
            .insert(path.to_owned(), content);
    }

    pub(super) fn forget_extra(&mut self, path: &Path) {
        if let Some(files) = &mut self.extra {
            files.remove(path);
            if files.is_empty() {
                self.extra = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated_host::Surroundings;
    use oco_agent::config::Document;
    use oco_agent::host::Os;
    use proptest::prelude::*;

    fn paths() -> Paths {
        Paths::beside(Path::new("/etc/oco-agent.ini"))
    }

    fn settings() -> Arc<SharedSettings> {
        let settings = [
            ("agent", "query-interval", "60"),
            ("server", "api-url", "https://oco.example/api-agent.php"),
        ];
        Arc::new(SharedSettings::new(settings).unwrap())
    }

    fn state() -> VirtualState {
        VirtualState::installed(settings(), "registration-key-0123456789")
    }

    #[test]
    fn idle_agent_takes_less_than_two_hundred_bytes() {
        let key = "j2oijn45xofcfg68tfbcj7oliidlz3";
        let mut state = VirtualState::registered(
            settings(),
            key,
            key,
            Some(Timestamp::from_micros(1_795_329_639_622_411)),
        );
        state.write(&paths(), &paths().sent_timestamp, b"1795329639.3059\n");
        assert!(state.bytes() < 200, "{} bytes", state.bytes());
    }

    #[test]
    fn job_journal_leaves_nothing_behind_once_its_jobs_are_done() {
        for paths in [paths(), Surroundings::installed(Os::Windows).paths] {
            let mut state = state();
            let before = state.clone();
            let entry = paths.journal.join("job-4.json");
            state.write(&paths, &entry, b"{}");
            assert_eq!(state.read(&paths, &entry), Some(Some(b"{}".to_vec())));
            let names: Vec<_> = state.names_below(&paths, &paths.journal).collect();
            assert_eq!(names, [("job-4.json", true)]);
            state.remove(&paths, &entry);
            assert_eq!(state, before);
        }
    }

    #[test]
    fn keys_that_the_server_gave_are_kept_compactly() {
        let mut state = state();
        let before = state.bytes();
        let config = String::from_utf8(state.read(&paths(), &paths().config).unwrap().unwrap()).unwrap();
        let config = config
            .replace("registration-key-0123456789", "j2oijn45xofcfg68tfbcj7oliidlz3")
            .replace("server-key =", "server-key = 3z7ry2fi245dfgy5zhflhm7cv8zetw");
        state.write(&paths(), &paths().config, config.as_bytes());
        assert_eq!(state.bytes(), before);
        let back = String::from_utf8(state.read(&paths(), &paths().config).unwrap().unwrap()).unwrap();
        assert!(
            back.contains("agent-key = j2oijn45xofcfg68tfbcj7oliidlz3\n"),
            "{back}"
        );
        assert!(
            back.contains("server-key = 3z7ry2fi245dfgy5zhflhm7cv8zetw\n"),
            "{back}"
        );
        assert!(
            back.contains("api-url = https://oco.example/api-agent.php\n"),
            "{back}"
        );
    }

    #[test]
    fn removed_timestamp_is_gone_and_removed_other_file_stays_removed() {
        let mut state = state();
        state.write(&paths(), &paths().timestamp, b"12.5");
        state.remove(&paths(), &paths().timestamp);
        assert_eq!(state.read(&paths(), &paths().timestamp), Some(None));
        state.remove(&paths(), Path::new("/etc/passwd"));
        assert_eq!(state.read(&paths(), Path::new("/etc/passwd")), Some(None));
        state.write(&paths(), Path::new("/etc/passwd"), b"x");
        assert_eq!(
            state.read(&paths(), Path::new("/etc/passwd")),
            Some(Some(b"x".to_vec()))
        );
    }

    /// Every setting of an .ini text as the agent reads it; none if it refuses the file.
    fn meaning(content: &[u8]) -> Option<BTreeMap<(String, String), String>> {
        let document = Document::parse(std::str::from_utf8(content).ok()?).ok()?;
        let entries = document.entries().iter();
        Some(
            entries
                .map(|entry| ((entry.section.clone(), entry.key.clone()), entry.value.clone()))
                .collect(),
        )
    }

    proptest! {
        #[test]
        fn config_reads_back_as_what_was_written(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("[agent]".to_owned()), Just("[server]".to_owned()), Just(String::new()), Just("# note".to_owned()),
                    "(agent-key|server-key|api-url|query-interval|debug) ?= ?[ -~]{0,40}",
                    Just("api-url = https://oco.example/api-agent.php".to_owned()),
                    Just("query-interval = 60".to_owned()),
                    "[ -~]{0,20}",
                ],
                0..12,
            ),
        ) {
            let mut state = state();
            let written = lines.join("\n").into_bytes();
            state.write(&paths(), &paths().config, &written);
            let back = state.read(&paths(), &paths().config).unwrap().unwrap();
            if back != written {
                prop_assert_eq!(meaning(&back), meaning(&written));
            }
        }

        #[test]
        fn any_file_reads_back(content in proptest::collection::vec(any::<u8>(), 0..60), which in 0usize..3) {
            let mut state = state();
            let path = [paths().timestamp, paths().sent_timestamp, "/var/lib/other".into()][which].clone();
            state.write(&paths(), &path, &content);
            let back = state.read(&paths(), &path).unwrap().unwrap();
            prop_assert_eq!(back.trim_ascii_end(), content.trim_ascii_end());
        }

        #[test]
        fn timestamps_read_back_with_their_exact_value(micros in 0u64..4_290_000_000_000_000) {
            let mut state = state();
            let written = Timestamp::from_micros(micros).to_string();
            state.write(&paths(), &paths().timestamp, written.as_bytes());
            prop_assert_eq!(state.timestamp(), Some(Timestamp::from_micros(micros)));
            prop_assert_eq!(state.read(&paths(), &paths().timestamp), Some(Some(written.into_bytes())));
        }
    }
}
