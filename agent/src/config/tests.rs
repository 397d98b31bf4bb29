use super::*;
use crate::host::recorded::{RecordedHost, Recording};

fn config(text: &str) -> Result<Config, ConfigError> {
    Config::from_document(&Document::parse(text).unwrap(), Os::Linux, Path::new("a.ini"))
}

#[test]
fn the_manual_page_explains_every_key_and_no_other() {
    let page = include_str!("../../packaging/man/oco-agent.ini.5");
    let mut lines = page.lines();
    let mut explained = Vec::new();
    while lines.any(|line| line == ".TP") {
        let keys = lines.next().unwrap().replace("\\-", "-");
        explained.extend(
            keys.split([' ', '"', ','])
                .skip(1)
                .filter(|key| !key.is_empty())
                .map(str::to_owned),
        );
    }
    let mut known: Vec<&str> = KNOWN_KEYS.iter().flat_map(|(_, keys)| *keys).copied().collect();
    explained.sort();
    known.sort_unstable();
    known.dedup();
    assert_eq!(explained, known);
}

#[test]
fn the_packaged_configuration_is_accepted_without_a_warning() {
    let document = Document::parse(include_str!("../../packaging/common/oco-agent.ini")).unwrap();
    let path = Path::new("oco-agent.ini");
    assert_eq!(unknown_keys(&document, path), Vec::<String>::new());
    let config = Config::from_document(&document, Os::Linux, path).unwrap();
    assert!(config.api_url.is_none() && config.agent_key.is_empty() && config.server_key.is_empty());
}

#[test]
fn an_empty_section_gives_the_documented_defaults() {
    let config = config("[agent]\n[server]\nserver-key = None\n").unwrap();
    assert_eq!(config.query_interval, Duration::from_secs(60));
    assert_eq!(config.connection_timeout, Duration::from_secs_f64(3.05));
    assert_eq!(config.report_job_output, Some(Duration::from_secs(5)));
    assert_eq!((config.job_timeout, config.api_url), (None, None));
    assert!(config.server_key.is_empty() && config.hostname_remove_domain);
    assert_eq!(config.local_users, 1000..=65534);
}

#[test]
fn wrong_values_name_file_line_key_and_accepted_form() {
    for (line, part) in [
        (
            "query-interval = soon",
            "a.ini:2: [agent] query-interval = \"soon\" is wrong: expected seconds",
        ),
        ("query-interval = -1", "seconds, more than 0"),
        ("debug = maybe", "expected 0 or 1"),
        ("chunk-size = 0", "whole number from 1"),
    ] {
        let message = config(&format!("[agent]\n{line}")).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let message = config("[server]\nprotocol = auto").unwrap_err().to_string();
    let expected = "a.ini:2: [server] protocol = \"auto\" is wrong: expected signed or keyed";
    assert_eq!(message, expected);
    for url in ["ftp://x/", "oco.example.com", "https://"] {
        assert!(
            config(&format!("[server]\napi-url = {url}"))
                .unwrap_err()
                .to_string()
                .contains("a URL such as")
        );
    }
}

#[test]
fn the_signed_generation_is_spoken_unless_the_other_is_named() {
    for (line, protocol) in [
        ("", Protocol::Signed),
        ("protocol =", Protocol::Signed),
        ("protocol = signed", Protocol::Signed),
        ("protocol = Keyed", Protocol::Keyed),
    ] {
        assert_eq!(config(&format!("[server]\n{line}\n")).unwrap().protocol, protocol);
    }
}

#[test]
fn unknown_keys_are_warned_of_and_known_ones_are_not() {
    let known = KNOWN_KEYS
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| format!("[{section}]\n{key} = 1\n")));
    let document = Document::parse(&known.collect::<String>()).unwrap();
    assert_eq!(unknown_keys(&document, Path::new("a.ini")), Vec::<String>::new());
    let document = Document::parse("[agent]\nintervall = 1\n").unwrap();
    assert_eq!(
        unknown_keys(&document, Path::new("a.ini")),
        ["a.ini:2: [agent] intervall is not a setting of this agent"]
    );
}

#[test]
fn debug_output_never_shows_a_key() {
    let config = config("[agent]\nagent-key = s3cret\n[server]\nserver-key = s3cret\n").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

const EVERY_KEY: &str = "[agent]\ndebug = yes\nquery-interval = 30\nconnection-timeout = 1.5\nread-timeout = 20\n\
    agent-key = a key\nmachine-uid = u-1\nhostname-remove-domain = 0\nchunk-size = 4096\nreport-frames = 7\n\
    report-job-output = 0\njob-timeout = 90\nmax-output = 5000\n[server]\napi-url = https://h/api-agent.php\n\
    server-key = s\nca-file = /etc/ca.pem\n[windows]\nusername-with-domain = 1\n\
    [linux]\nlocal-users-min-uid = 10\nlocal-users-max-uid = 20\n\
    [macos]\nlocal-users-min-uid = 501\nlocal-users-max-uid = 600\n";

#[test]
fn every_documented_key_is_accepted_and_means_what_it_says() {
    let document = Document::parse(EVERY_KEY).unwrap();
    assert_eq!(warnings(&document, Path::new("a.ini")), Vec::<String>::new());
    let of = |os| Config::from_document(&document, os, Path::new("a.ini")).unwrap();
    let config = of(Os::Linux);
    assert!(config.debug && !config.hostname_remove_domain && config.username_with_domain);
    assert_eq!(config.query_interval, Duration::from_secs(30));
    assert_eq!(config.connection_timeout, Duration::from_millis(1500));
    assert_eq!(config.read_timeout, Duration::from_secs(20));
    assert_eq!(
        (config.agent_key.expose(), config.server_key.expose()),
        ("a key", "s")
    );
    assert_eq!(config.machine_uid.as_deref(), Some("u-1"));
    assert_eq!(
        (config.chunk_size, config.report_frames, config.max_output),
        (4096, 7, 5000)
    );
    assert_eq!(
        (config.report_job_output, config.job_timeout),
        (None, Some(Duration::from_secs(90)))
    );
    assert_eq!(config.api_url.as_deref(), Some("https://h/api-agent.php"));
    assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(config.local_users, 10..=20);
    assert_eq!(of(Os::MacOs).local_users, 501..=600);
    let defaults = Config::from_document(&Document::default(), Os::MacOs, Path::new("a.ini")).unwrap();
    assert_eq!(defaults.local_users, 1000..=65534);
    assert!(!defaults.username_with_domain);
}

#[test]
fn a_section_of_one_system_needs_none_of_the_others() {
    for section in ["linux", "macos"] {
        let text = format!("[{section}]\nlocal-users-min-uid = 500\n");
        let document = Document::parse(&text).unwrap();
        for os in Os::ALL {
            Config::from_document(&document, os, Path::new("a.ini")).unwrap();
        }
    }
}

#[test]
fn every_kind_of_value_is_refused_when_it_is_wrong() {
    for (section, key, value, expected) in [
        ("agent", "debug", "2", "0 or 1"),
        ("agent", "hostname-remove-domain", "si", "0 or 1"),
        ("windows", "username-with-domain", "maybe", "0 or 1"),
        ("agent", "query-interval", "0", "more than 0"),
        ("agent", "connection-timeout", "3,05", "seconds"),
        ("agent", "read-timeout", "inf", "at most 86400"),
        ("agent", "report-job-output", "-1", "from 0 (never)"),
        ("agent", "job-timeout", "NaN", "from 0 (never)"),
        ("agent", "chunk-size", "8k", "whole number"),
        ("agent", "report-frames", "1.5", "whole number"),
        ("agent", "max-output", "-5", "whole number"),
        ("linux", "local-users-min-uid", "root", "user id"),
        ("linux", "local-users-max-uid", "4294967296", "user id"),
        (
            "linux",
            "local-users-max-uid",
            "999",
            "not less than local-users-min-uid",
        ),
        (
            "linux",
            "local-users-min-uid",
            "70000",
            "a local-users-max-uid above it",
        ),
        ("server", "api-url", "https://", "a URL such as"),
    ] {
        let message = config(&format!("[{section}]\n{key} = {value}\n"))
            .unwrap_err()
            .to_string();
        let place = format!("a.ini:2: [{section}] {key} = {value:?} is wrong: expected ");
        assert!(
            message.starts_with(&place) && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn keys_that_stand_there_twice_are_warned_of() {
    let document = Document::parse("[agent]\ndebug = 0\n[server]\n[agent]\ndebug = 1\n").unwrap();
    assert_eq!(
        warnings(&document, Path::new("a.ini")),
        ["a.ini:2: [agent] debug is set again in line 5; the last one counts"]
    );
    let many = "[x]\n".to_owned() + &"k = 1\n".repeat(MAX_BYTES / 6);
    assert_eq!(
        warnings(&Document::parse(&many).unwrap(), Path::new("a.ini")).len(),
        MAX_WARNINGS
    );
}

fn stored(content: &[u8]) -> RecordedHost {
    let machine = serde_json::json!({
        "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
        "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
    });
    let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
    host.write_file(Path::new("/a.ini"), content, Visibility::Private)
        .unwrap();
    host
}

#[test]
fn files_that_are_no_configuration_are_explained() {
    let utf16: Vec<u8> = "[agent]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe".as_slice(), &utf16].concat();
    let large = vec![b'\n'; MAX_BYTES + 1];
    for (content, message) in [
        (b"".as_slice(), "/a.ini: the configuration is empty"),
        (b" \r\n\t", "/a.ini: the configuration is empty"),
        (
            &[0; 4096],
            "/a.ini:1: the line contains NUL bytes, as after a power failure: restore",
        ),
        (
            b"[agent]\ndebug = 1\n\0\0\0\0",
            "/a.ini:3: the line contains NUL bytes",
        ),
        (
            &utf16,
            "/a.ini:1: the configuration is UTF-16 text; save it as UTF-8",
        ),
        (&marked, "/a.ini:1: the configuration is UTF-16 text"),
        (
            b"[agent]\n; f\xfcr alle\n",
            "/a.ini:2: the configuration is not UTF-8 text",
        ),
        (&large, "/a.ini: 1048577 bytes are no configuration"),
        (b"[agent]\rdebug = 1\r", "carriage return without a line feed"),
    ] {
        let error = load(&stored(content), Path::new("/a.ini"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(message) || error.contains(message), "{error}");
    }
}

#[test]
fn all_wrong_values_are_found_and_the_others_hold() {
    let text = b"[agent]\ndebug = maybe\nquery-interval = 7\nread-timeout = x\nread-timeout = y\nfoo = 1\n[server]\napi-url = z\n";
    let found = examine(&stored(text), Path::new("/a.ini")).unwrap();
    let lines: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].contains(":2: ") && lines[1].contains(":5: ") && lines[2].contains(":8: "),
        "{lines:?}"
    );
    assert_eq!(found.config.query_interval, Duration::from_secs(7));
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
}

#[test]
fn values_are_written_back_into_what_is_there() {
    let text = "\u{feff}; Schl\u{fc}ssel\r\n[agent]\r\nagent-key = old\r\n\r\n[server]\r\napi-url =\r\n# end";
    let host = stored(text.as_bytes());
    let path = Path::new("/a.ini");
    store_api_url(&host, path, "https://h:8443/api-agent.php").unwrap();
    store_keys(&host, path, Some(&Key::new("new")), None).unwrap();
    let expected = text
        .replace("api-url =\r\n", "api-url = https://h:8443/api-agent.php\r\n")
        .replace("= old", "= new");
    assert_eq!(
        String::from_utf8(host.read_file(path).unwrap()).unwrap(),
        expected
    );
    assert_eq!(host.written(path), Some(Visibility::Private));
}
