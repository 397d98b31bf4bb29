//! What can be told without asking anybody but DNS: files, identity, locks, keys.

use super::Item;
use crate::agent::collection;
use crate::config::{self, Config, Paths};
use crate::discovery;
use crate::errors::with_causes;
use crate::host::{Access, Host, Os, Visibility, system};
use crate::inventory;
use crate::lock;
use crate::state;
use oco_protocol::Timestamp;
use std::net::IpAddr;
use std::path::Path;

const CONFIGURATION: &str = "configuration";
const STATE: &str = "state";
const LOCK: &str = "lock";
const SERVER: &str = "server";
const KEYS: &str = "keys";

/// The configuration, with defaults in place of its wrong values; none if there is none that could be read.
pub(super) fn configuration(host: &dyn Host, path: &Path) -> (Vec<Item>, Option<Config>) {
    let examination = match config::examine(host, path) {
        Ok(examination) => examination,
        Err(error) => {
            let hint = format!(
                "repair the file, name another one with --config, or run this as {} if it is there",
                Words::of(host.os()).administrator
            );
            return (vec![Item::fail(CONFIGURATION, with_causes(&error), hint)], None);
        }
    };
    let words = Words::of(host.os());
    let mut items = vec![match host.access(path) {
        Ok(access) => exposure(path, &access, words),
        Err(error) => Item::warn(
            CONFIGURATION,
            with_causes(&error),
            format!("see that only {} can read it", words.administrator),
        ),
    }];
    let folder = path.parent().map(|folder| (folder, host.access(folder)));
    if let Some((folder, Ok(access))) = folder
        && (access.others_write || access.foreign_owner)
    {
        let finding = format!("others can replace it: its folder has {}", access.description);
        let hint = format!(
            "see that only {} can write into {}",
            words.administrator,
            folder.display()
        );
        items.push(Item::fail(CONFIGURATION, finding, hint));
    }
    let wrong = examination.errors.iter();
    items.extend(wrong.map(|error| {
        Item::fail(
            CONFIGURATION,
            error.to_string(),
            "correct the value or remove the line",
        )
    }));
    let odd = examination.warnings.into_iter();
    items.extend(odd.map(|warning| Item::warn(CONFIGURATION, warning, "correct the line or remove it")));
    (items, Some(examination.config))
}

/// Whether the configuration's keys are the agent's own.
fn exposure(path: &Path, access: &Access, words: Words) -> Item {
    let finding = format!("{}, {}", path.display(), access.description);
    if access.foreign_owner {
        let own = words.own(path);
        let hint = format!("whoever owns it controls this computer: {own}");
        let finding = format!("{finding}: it does not belong to {}", words.administrator);
        Item::fail(CONFIGURATION, finding, hint)
    } else if access.others_write {
        let hint = format!("whoever writes it controls this computer: {}", words.close(path));
        Item::fail(CONFIGURATION, format!("{finding}: others can change it"), hint)
    } else if access.others_read {
        let hint = format!("it holds keys: {}", words.close(path));
        Item::warn(CONFIGURATION, format!("{finding}: others can read it"), hint)
    } else {
        Item::ok(CONFIGURATION, finding)
    }
}

/// What things are called on a system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// Who may do everything.
    pub(super) administrator: &'static str,
    os: Os,
}

impl Words {
    pub(super) fn of(os: Os) -> Self {
        let administrator = match os {
            Os::Windows => "an administrator",
            Os::Linux | Os::MacOs => "root",
        };
        Self { administrator, os }
    }

    /// The command that gives a file to whoever may do everything.
    fn own(self, file: &Path) -> String {
        match self.os {
            // The group of the administrators, whatever the language calls it.
            Os::Windows => format!("icacls \"{}\" /setowner *S-1-5-32-544", file.display()),
            Os::Linux | Os::MacOs => format!("chown root {}", file.display()),
        }
    }

    /// The command that keeps all others from a file.
    fn close(self, file: &Path) -> String {
        match self.os {
            // The system and the administrators.
            Os::Windows => format!(
                "icacls \"{}\" /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F",
                file.display()
            ),
            Os::Linux | Os::MacOs => format!("chmod 600 {}", file.display()),
        }
    }
}

/// Who this computer says it is.
pub(super) fn identity(host: &dyn Host, config: &Config) -> Item {
    let name = "identity";
    match inventory::identity(host, &collection(config, None)) {
        Ok(identity) if identity.uid == identity.hostname && config.machine_uid.is_none() => Item::warn(
            name,
            format!(
                "host name {}, which is the uid too: the hardware names none",
                identity.hostname
            ),
            "set [agent] machine-uid if the host name may change",
        ),
        Ok(identity) => Item::ok(
            name,
            format!("host name {}, uid {}", identity.hostname, identity.uid),
        ),
        Err(error) => Item::fail(
            name,
            with_causes(&error),
            format!(
                "run this as {}, or set [agent] machine-uid",
                Words::of(host.os()).administrator
            ),
        ),
    }
}

/// Whether files can be replaced in the folders of the configuration and of the state.
pub(super) fn state(host: &dyn Host, paths: &Paths) -> Vec<Item> {
    let mut folders: Vec<_> = [&paths.config, &paths.timestamp]
        .into_iter()
        .filter_map(|file| file.parent())
        .collect();
    folders.dedup();
    let check = |folder: &Path| {
        if !folder.as_os_str().is_empty() && !host.exists(folder) {
            return Item::ok(
                STATE,
                format!(
                    "{} is missing; it is created when the agent starts",
                    shown(folder)
                ),
            );
        }
        let probe = folder.join(".oco-agent-check");
        let written = host.write_file(&probe, b"written by oco-agent check\n", Visibility::Private);
        match written.and_then(|()| host.remove_file(&probe)) {
            Ok(()) => Item::ok(STATE, format!("{} can be written", shown(folder))),
            Err(error) => Item::fail(
                STATE,
                with_causes(&error),
                format!(
                    "run this as {}; check free space, and that the file system is not read-only",
                    Words::of(host.os()).administrator
                ),
            ),
        }
    };
    folders.into_iter().map(check).collect()
}

fn shown(folder: &Path) -> String {
    let folder = folder.display().to_string();
    if folder.is_empty() { ".".to_owned() } else { folder }
}

/// Whether an agent runs, this one or the one that it replaces.
pub(super) fn lock(path: &Path, os: Os) -> Vec<Item> {
    let mut items = vec![match lock::holder_of(path) {
        Ok(None) => Item::ok(LOCK, format!("{} is free: no agent is running", path.display())),
        Ok(Some(holder)) => Item::ok(
            LOCK,
            format!("an agent is running, process {holder}; it is left alone"),
        ),
        Err(error) => Item::fail(
            LOCK,
            with_causes(&error),
            format!(
                "run this as {}; if it is already, see who made that file and remove it",
                Words::of(os).administrator
            ),
        ),
    }];
    let others = system::other_agents_locks().into_iter();
    let running = others.filter_map(|lock| Some((system::running_agent(&lock)?, lock)));
    items.extend(running.map(|(pid, lock)| {
        let finding = format!(
            "another agent is running, process {pid}, by its lock {}",
            lock.display()
        );
        Item::fail(
            LOCK,
            finding,
            "stop and remove it: this agent does not start beside it",
        )
    }));
    items
}

/// Which server it is; one that DNS names is taken over into `config`, but not stored.
pub(super) fn server(host: &dyn Host, config: &mut Config) -> Item {
    if let Some(url) = &config.api_url {
        let plain = reqwest::Url::parse(url)
            .is_ok_and(|url| url.scheme() == "http" && !is_this_computer(url.host_str().unwrap_or_default()));
        let finding = format!("{}, from the configuration", without_credentials(url));
        return if plain {
            let hint =
                "use https:// in [server] api-url unless the network is your own: packages are not signed";
            Item::warn(SERVER, finding, hint)
        } else {
            Item::ok(SERVER, finding)
        };
    }
    match discovery::discover(host, config.protocol) {
        Ok(found) => {
            let finding = format!("{}, from the SRV records of {}", found.url, found.name);
            config.api_url = Some(found.url);
            match found.refused.as_slice() {
                [] => Item::ok(SERVER, finding),
                refused => Item::warn(
                    SERVER,
                    finding,
                    format!("correct the other records: {}", refused.join(", ")),
                ),
            }
        }
        Err(error) => {
            let hint = "set [server] api-url to https://SERVER/api-agent.php";
            Item::fail(SERVER, with_causes(&error), hint)
        }
    }
}

fn is_this_computer(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The URL as it may be shown: what stands before an `@` may be a password.
fn without_credentials(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else {
        return "a URL".to_owned();
    };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    // Fails only for URLs without a host, which the configuration does not have.
    let _ = parsed.set_username("").and_then(|()| parsed.set_password(None));
    parsed.to_string()
}

/// Whether the agent can sign and verify, and whether its memory of the exchange is sound.
pub(super) fn keys(host: &dyn Host, paths: &Paths, config: &Config) -> Vec<Item> {
    let mut items = vec![
        match (config.agent_key.is_empty(), config.server_key.is_empty()) {
            (true, true) => Item::fail(
                KEYS,
                "there is no agent key",
                "set [agent] agent-key to the registration key of the server",
            ),
            (true, false) => Item::fail(
                KEYS,
                "there is a server key but no agent key",
                "restore [agent] agent-key; or empty server-key, set agent-key to the registration key, and let the server \
             forget this computer",
            ),
            (false, true) => Item::ok(
                KEYS,
                "not registered yet: the agent key is taken for the registration key, the first check-in brings both keys",
            ),
            (false, false) => Item::ok(KEYS, "registered: there is an agent key and a server key"),
        },
    ];
    let (sent, received) = state::stored(host, paths);
    let now = Timestamp::from_system_time(host.now());
    let ahead = |timestamp: Timestamp| timestamp > now;
    if ahead(sent) {
        items.push(Item::warn(
            KEYS,
            format!("the last request has the timestamp {sent}, which is yet to come"),
            "this computer's clock was ahead before, or is behind now; requests go on from there",
        ));
    }
    if ahead(received) {
        items.push(Item::warn(
            KEYS,
            format!("the last answer has the timestamp {received}, which is yet to come"),
            format!(
                "answers before that are refused; if the server's clock was ahead, remove {}",
                paths.timestamp.display()
            ),
        ));
    }
    items
}
