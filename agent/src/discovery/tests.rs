use super::*;
use crate::host::Visibility;
use crate::host::recorded::{RecordedHost, Recording};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn record(priority: u16, weight: u16, port: u16, target: &str) -> ServiceRecord {
    ServiceRecord {
        priority,
        weight,
        port,
        target: target.to_owned(),
    }
}

fn host(domains: &[(&str, Option<Vec<ServiceRecord>>)]) -> RecordedHost {
    let machine = serde_json::json!({
        "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
        "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
    });
    let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
    host.set_search_domains(domains.iter().map(|(domain, _)| (*domain).to_owned()).collect());
    for (domain, records) in domains {
        if let Some(records) = records {
            host.set_service_records(&format!("_oco._tcp.{domain}."), records.clone());
        }
    }
    host
}

#[test]
fn the_answer_becomes_a_url_and_the_first_domain_with_one_counts() {
    let host = host(&[
        ("none.example", Some(vec![])),
        ("broken.example", None),
        ("a.example", Some(vec![record(1, 1, 8443, "OCO.a.example.")])),
        ("b.example", Some(vec![record(0, 1, 443, "b.example.")])),
    ]);
    let found = discover(&host, Protocol::Signed).unwrap();
    assert_eq!(found.url, "https://oco.a.example:8443/api-agent.php");
    assert_eq!(found.name, "_oco._tcp.a.example.");
}

#[test]
fn the_server_is_stored_once_and_the_rest_of_the_configuration_stays() {
    let host = host(&[("a.example", Some(vec![record(1, 1, 8443, "oco.a.example.")]))]);
    let path = Path::new("/etc/oco-agent.ini");
    let text = "; mine\n[agent]\nagent-key = k\n[server]\napi-url =\n# end\n";
    host.write_file(path, text.as_bytes(), Visibility::Private)
        .unwrap();
    find_server(&host, path).unwrap();
    let expected = text.replace("api-url =", "api-url = https://oco.a.example:8443/api-agent.php");
    assert_eq!(host.read_file(path).unwrap(), expected.as_bytes());
    host.set_search_domains(Vec::new());
    find_server(&host, path).unwrap();
    assert_eq!(host.read_file(path).unwrap(), expected.as_bytes());
}

#[test]
fn the_key_of_the_keyed_generation_goes_to_no_server_that_dns_names() {
    let host = host(&[("a.example", Some(vec![record(1, 1, 8443, "oco.a.example.")]))]);
    let path = Path::new("/etc/oco-agent.ini");
    let text = b"[agent]\nagent-key = k\n[server]\nprotocol = keyed\n";
    host.write_file(path, text, Visibility::Private).unwrap();
    let message = find_server(&host, path).unwrap_err().to_string();
    assert!(message.contains("set api-url to"), "{message}");
    assert_eq!(host.read_file(path).unwrap(), text);
}

#[test]
fn an_answer_that_cannot_be_stored_is_an_error() {
    let host = host(&[("a.example", Some(vec![record(1, 1, 8443, "oco.a.example.")]))]);
    let path = Path::new("/etc/oco-agent.ini");
    host.write_file(path, b"[agent]\nagent-key = k\n", Visibility::Private)
        .unwrap();
    host.set_read_only(true);
    assert!(matches!(
        find_server(&host, path),
        Err(FindServerError::Config(ConfigError::Write(_)))
    ));
}

#[test]
fn failures_say_what_was_asked_and_what_to_do() {
    let message = discover(&host(&[]), Protocol::Signed).unwrap_err().to_string();
    assert!(
        message.contains("no DNS search domain") && message.contains("https://SERVER/api-agent.php"),
        "{message}"
    );
    let host = host(&[
        ("a.example", Some(vec![])),
        ("b.example", None),
        ("c.example", Some(vec![record(0, 0, 443, ".")])),
        ("d.example", Some(vec![record(0, 0, 0, "x.d.example.")])),
    ]);
    let message = discover(&host, Protocol::Signed).unwrap_err().to_string();
    for part in [
        "_oco._tcp.a.example (there are none)",
        "_oco._tcp.b.example (",
        "_oco._tcp.c.example (the domain says that it has no server)",
        "_oco._tcp.d.example (x.d.example. is said to be at port 0)",
        "set it to https://SERVER/api-agent.php",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn hostile_records_are_passed_over_in_words() {
    let long = format!("{}.example.", "a".repeat(64));
    let very_long = "abcdefg.".repeat(40);
    for (target, reason) in [
        (long.as_str(), "too long"),
        (&very_long, "too long"),
        ("a..example.", "empty label"),
        ("a/b@evil.example.", "other than letters"),
        ("user:pass@evil.example.", "other than letters"),
        ("x#.example.", "other than letters"),
        ("a b.example.", "other than letters"),
        ("\\010\\013[server].example.", "other than letters"),
        ("x\r\n[agent]\nagent-key = z.example.", "other than letters"),
        ("_oco.example.", "other than letters"),
        ("-a.example.", "hyphen"),
        ("a-.example.", "hyphen"),
        ("127.0.0.1.", "ends like an address"),
        ("0x7f.1.", "ends like an address"),
        ("b\u{fc}ro.example.", "other than letters"),
        ("xn--0.example.", "URL"),
    ] {
        let refusal = url(&record(0, 0, 443, target)).unwrap_err();
        assert!(refusal.contains(reason), "{target:?}: {refusal}");
        assert!(
            !refusal.contains(['\r', '\n']) && refusal.len() < 400,
            "{refusal}"
        );
    }
    let good = record(9, 0, 443, "oco.example.");
    let host = host(&[("a.example", Some(vec![record(0, 9, 443, "a b."), good]))]);
    let found = discover(&host, Protocol::Signed).unwrap();
    assert_eq!(found.url, "https://oco.example:443/api-agent.php");
    assert_eq!(found.refused.len(), 1);
}

#[test]
fn weights_are_chances_within_the_lowest_priority() {
    let records = [
        record(20, 60_000, 1, "far"),
        record(10, 3, 2, "three"),
        record(10, 0, 3, "zero"),
        record(10, 7, 4, "seven"),
    ];
    let mut hits = BTreeMap::new();
    for draw in 0..11_000 {
        let chosen = select(&records, draw).unwrap();
        *hits.entry(chosen.target.as_str()).or_insert(0) += 1;
    }
    assert_eq!(
        hits,
        BTreeMap::from([("three", 3000), ("seven", 7000), ("zero", 1000)])
    );
}

#[test]
fn records_without_weights_have_equal_chances() {
    let records = [record(1, 0, 1, "a"), record(1, 0, 2, "b"), record(1, 0, 3, "c")];
    let chosen: Vec<u16> = (0..6).map(|draw| select(&records, draw).unwrap().port).collect();
    assert_eq!(chosen, [1, 2, 3, 1, 2, 3]);
    assert_eq!(select(&[], 7), None);
}

proptest! {
    #[test]
    fn the_choice_is_always_one_of_the_lowest_priority(
        records in prop::collection::vec((0u16..4, any::<u16>(), any::<u16>()), 1..20), draw: u64,
    ) {
        let records: Vec<_> = records.into_iter().map(|(p, w, port)| record(p, w, port, "x.")).collect();
        let chosen = select(&records, draw).unwrap();
        prop_assert!(records.iter().all(|record| record.priority >= chosen.priority));
    }

    #[test]
    fn every_record_of_some_weight_can_be_chosen(weights in prop::collection::vec(0u16..50, 1..8)) {
        let records: Vec<_> = weights.iter().zip(1..).map(|(weight, port)| record(5, *weight, port, "x.")).collect();
        let points: u64 = weights.iter().map(|weight| u64::from(*weight)).sum::<u64>() + 1;
        let mut hits = vec![0u64; records.len()];
        for draw in 0..points {
            hits[usize::from(select(&records, draw).unwrap().port) - 1] += 1;
        }
        for (hits, weight) in hits.iter().zip(&weights).filter(|(_, weight)| **weight > 0) {
            prop_assert!(*hits == u64::from(*weight) || *hits == u64::from(*weight) + 1);
        }
    }

    #[test]
    fn no_target_breaks_out_of_its_url(target: String, port: u16) {
        if let Ok(url) = url(&record(0, 0, port, &target)) {
            let parsed = reqwest::Url::parse(&url).unwrap();
            prop_assert_eq!((parsed.scheme(), parsed.path(), parsed.username()), ("https", "/api-agent.php", ""));
            prop_assert_eq!(parsed.host_str().unwrap(), target.trim_end_matches('.').to_ascii_lowercase());
            prop_assert!(parsed.query().is_none() && parsed.fragment().is_none());
        }
    }
}
