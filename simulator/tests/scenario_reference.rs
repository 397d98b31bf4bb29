//! The page on scenarios: it mentions every key that the parser knows, in its section, and its examples are scenarios.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_simulator::scenario::{AdversaryKind, Scenario};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../scenarios/README.md");

/// A key that no section has.
const UNKNOWN: &str = "no_such_key = 1";

/// Sections as the page heads them, with what has to stand before an unknown key in them.
const SECTIONS: [(&str, &str); 28] = [
    ("scenario", ""),
    ("[run]", "[run]"),
    ("[fleet]", "[fleet]"),
    ("[fleet.os]", "[fleet.os]"),
    ("[fleet.hardware]", "[fleet.hardware]"),
    ("[fleet.software]", "[fleet.software]"),
    ("[[fleet.software.package]]", "[[fleet.software.package]]"),
    ("[fleet.generations]", "[fleet.generations]"),
    ("[pacing]", "[pacing]"),
    ("[connections]", "[connections]"),
    ("[jobs]", "[jobs]"),
    ("[[offline]]", "[[offline]]"),
    ("[[clock]]", "[[clock]]"),
    ("[churn]", "[churn]"),
    ("[churn.join]", "[churn.join]"),
    ("[[adversary]]", "[[adversary]]"),
    ("[[fault]]", "[[fault]]"),
    ("[fault.select]", "[[fault]]\n[fault.select]"),
    ("[admin]", "[admin]"),
    ("[admin.settings]", "[admin.settings]"),
    ("[[admin.package]]", "[[admin.package]]"),
    ("[admin.package.jobs]", "[[admin.package]]\n[admin.package.jobs]"),
    ("[[admin.deployment]]", "[[admin.deployment]]"),
    ("[[admin.policies]]", "[[admin.policies]]"),
    ("[[admin.event_rule]]", "[[admin.event_rule]]"),
    ("[[admin.password_rule]]", "[[admin.password_rule]]"),
    ("[[convergence]]", "[[convergence]]"),
    ("[thresholds]", "[thresholds]"),
];

/// The keys of a section, as the parser tells them to whoever uses one that it does not know.
fn keys(section: &str) -> BTreeSet<String> {
    let text = format!("{section}\n{UNKNOWN}");
    let message = Scenario::parse("x", "x", &text).unwrap_err().to_string();
    let accepted = message
        .split_once("`no_such_key`, expected ")
        .unwrap_or_else(|| panic!("{section}: {message}"));
    let words = accepted.1.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// What the page says below a heading.
fn chapter(heading: &str) -> &'static str {
    let start = format!("\n### `{heading}`\n");
    let (_, rest) = PAGE
        .split_once(&start)
        .unwrap_or_else(|| panic!("no chapter {heading}"));
    let end = rest.find("\n### ").into_iter().chain(rest.find("\n## ")).min();
    &rest[..end.unwrap_or(rest.len())]
}

#[test]
fn every_key_of_every_section_is_in_the_reference() {
    for (heading, section) in SECTIONS {
        let chapter = chapter(heading);
        let keys = keys(section);
        assert!(!keys.is_empty(), "{heading}");
        for key in keys {
            assert!(
                chapter.contains(&format!("`{key}`")),
                "{heading} does not mention {key}"
            );
        }
    }
}

#[test]
fn every_section_of_the_parser_has_its_chapter() {
    let known: Vec<_> = SECTIONS
        .iter()
        .map(|(heading, _)| heading.trim_matches(['[', ']']))
        .collect();
    for key in keys("").into_iter().filter(|key| key != "description") {
        assert!(known.contains(&key.as_str()), "no chapter on {key}");
    }
    for key in keys("[admin]") {
        let path = format!("admin.{key}");
        assert!(known.contains(&path.as_str()), "no chapter on {path}");
    }
    for heading in PAGE.lines().filter_map(|line| line.strip_prefix("### `")) {
        let heading = heading.trim_end_matches('`').trim_matches(['[', ']']);
        assert!(
            known.contains(&heading),
            "nothing checks the chapter on {heading}"
        );
    }
}

#[test]
fn every_kind_of_adversary_is_explained() {
    let chapter = chapter("[[adversary]]");
    for kind in AdversaryKind::ALL {
        assert!(chapter.contains(&format!("| `{kind}` |")), "{kind}");
        for status in kind.refusals() {
            assert!(chapter.contains(&status.to_string()), "{kind}: {status}");
        }
    }
}

#[test]
fn every_example_is_a_scenario() {
    let examples: Vec<_> = PAGE
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 5);
    for (number, example) in examples.into_iter().enumerate() {
        let origin = format!("example {number}");
        Scenario::parse("example", &origin, example).unwrap();
    }
}
