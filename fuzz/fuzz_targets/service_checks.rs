//! The output of a service check: one result a line at most, each with a state and a name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::service_checks::parse;
use oco_fuzz::check_texts;

fuzz_target!(|output: &[u8]| {
    let text = String::from_utf8_lossy(output);
    let services = parse(&text);
    assert!(services.len() <= text.lines().count());
    for service in services {
        assert!(
            ["0", "1", "2", "3", "P"].contains(&service.status.as_str()),
            "{service:?}"
        );
        assert!(!service.name.trim().is_empty(), "{service:?}");
        assert_eq!(service.merics, service.metrics);
        assert!(
            service
                .metrics
                .as_ref()
                .is_some_and(|metrics| !metrics.is_empty())
        );
        check_texts(
            "service",
            &serde_json::to_value(&service).expect("a service is JSON"),
            false,
        );
        // Written as a check writes it, it is read again.
        let metrics = service.metrics.clone().unwrap_or_default();
        let line = format!(
            "{} \"{}\" {metrics} {}",
            service.status, service.name, service.details
        );
        if !service.name.contains('"') {
            assert_eq!(parse(&line), [service], "{line:?}");
        }
    }
});
