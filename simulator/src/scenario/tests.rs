//! Scenarios that are valid, and what is said about those that are not.

use super::*;

fn message(text: &str) -> String {
    Scenario::parse("x", "x.toml", text).unwrap_err().to_string()
}

#[test]
fn every_built_in_scenario_is_valid() {
    let scenarios: Vec<_> = Scenario::built_in().map(Result::unwrap).collect();
    assert_eq!(scenarios[0].name, DEFAULT);
    assert!(scenarios.iter().all(|scenario| !scenario.description.is_empty()));
}

#[test]
fn a_description_alone_is_a_scenario() {
    let scenario = Scenario::parse("x", "x.toml", "description = \"small\"").unwrap();
    assert_eq!(scenario.fleet.size.0, 1000);
    assert!(scenario.admin.is_empty());
}

#[test]
fn bad_scenarios_are_refused_with_line_key_and_accepted_values() {
    let cases: [(&str, &[&str]); 36] = [
        ("", &["x.toml", "line 1", "missing field `description`"]),
        (
            "description = \"\"\n[fleet]\nsiez = 3",
            &["line 3", "`siez`", "`size`", "`seed`", "`os`"],
        ),
        (
            "description = \"\"\n[fleet]\nsize = 0",
            &["line 3", "size", "1 to 10000000"],
        ),
        (
            "description = \"\"\n[fleet]\nsize = \"many\"",
            &["line 3", "size", "whole number", "1 to 10000000"],
        ),
        (
            "description = \"\"\n[fleet]\nstart = \"1999-12-31T00:00:00Z\"",
            &["line 3", "start", "2000 to 2099", "2026-10-05T08:00:00Z"],
        ),
        (
            "description = \"\"\n[fleet.os]\nbsd = 1",
            &["line 3", "`bsd`", "`linux`, `macos`, `windows`"],
        ),
        (
            "description = \"\"\n[fleet.os]\nlinux = 0",
            &["fleet.os", "above 0"],
        ),
        (
            "description = \"\"\n[pacing]\n\njitter = 1.5",
            &["line 4", "1.5", "0 to 1"],
        ),
        (
            "description = \"\"\n[pacing]\ninterval = \"0s\"",
            &["line 3", "interval", "above 0"],
        ),
        (
            "description = \"\"\n[pacing]\nramp = \"5 days\"",
            &["line 3", "5 days", "5m"],
        ),
        (
            "description = \"\"\n[pacing]\nin_flight = 0",
            &["line 3", "1 to 100000"],
        ),
        (
            "description = \"\"\n[connections]\nsource_addresses = 0",
            &["line 3", "1 to 250"],
        ),
        (
            "description = \"\"\n[run]\nuntil = \"never\"",
            &["line 3", "`never`", "`converged` or `duration`"],
        ),
        (
            "description = \"\"\n[jobs]\nshortest = \"5s\"\nlongest = \"1s\"",
            &["line 4", "jobs.longest", "5s"],
        ),
        (
            "description = \"\"\n[thresholds.p99]\n\"oco.agent.helo\" = \"1s\"",
            &["line 3", "oco.agent.helo", "oco.agent.hello"],
        ),
        (
            "description = \"\"\n[[admin.deployment]]\nname = \"d\"\npackages = [\"p\"]\nat = \"5s\"",
            &["line 4", "admin.deployment.packages", "\"p\"", "has none"],
        ),
        (
            "description = \"\"\n[[admin.package]]\nname = \"p\"\nprocedure = \"true\"\n[[admin.package]]\n\
             name = \"p\"\nprocedure = \"true\"",
            &["line 6", "admin.package.name", "twice"],
        ),
        (
            "description = \"\"\n[[convergence]]\nname = \"c\"\ngoal = \"finished\"\nwithin = 5",
            &["line 4", "convergence.deployment"],
        ),
        (
            "description = \"\"\n[[convergence]]\nname = \"c\"\ngoal = \"done\"\nwithin = 5",
            &["line 4", "`done`", "`registered`, `finished`, `succeeded`"],
        ),
        (
            "description = \"\"\n[fleet.hardware]\nserver = 1",
            &["fleet.hardware", "macos", "laptop or desktop"],
        ),
        (
            "description = \"\"\n[fleet.generations]\nkeyed = 0",
            &["fleet.generations", "signed or keyed"],
        ),
        (
            "description = \"\"\n[fleet.software]\npopularity = 11.0",
            &["line 3", "popularity", "0 to 10"],
        ),
        (
            "description = \"\"\n[[fleet.software.package]]\nname = \"p\"\nshare = 1\nos = [\"bsd\"]",
            &["line 5", "`bsd`", "`linux`, `macos`, `windows`"],
        ),
        (
            "description = \"\"\n[[admin.policies]]\nname = \"p\"\nat = 1\nmachine = { 'NOTHING:x:y' = 1 }",
            &[
                "x.toml",
                "line 5",
                "admin.policies.machine",
                "\"p\"",
                "NOTHING:x:y",
                "REGISTRY:",
            ],
        ),
        (
            "description = \"\"\n[fleet.os]\nlinux = 1\n[[admin.policies]]\nname = \"p\"\nat = 1\n\
             machine = { 'DEFAULTS:x:y' = 1 }\n[[convergence]]\nname = \"c\"\ngoal = \"applied\"\npolicies = \"p\"\nwithin = 5",
            &["line 11", "convergence.policies", "\"p\"", "linux"],
        ),
        (
            "description = \"\"\n[[clock]]\nshare = 0.1",
            &["line 3", "clock", "ahead or behind"],
        ),
        (
            "description = \"\"\n[[clock]]\nshare = 0.6\nahead = 1\n[[clock]]\nshare = 0.6\nbehind = 1",
            &["line 6", "clock.share", "at most 1"],
        ),
        (
            "description = \"\"\n[[offline]]\nshare = 1\nfrom = 1\nfor = 10\nevery = 5",
            &["line 6", "offline.every", "10s"],
        ),
        (
            "description = \"\"\n[churn]\njoin = { share = 2, from = 1 }",
            &["line 3", "share from 0 to 1"],
        ),
        (
            "description = \"\"\n[[adversary]]\nname = \"a\"\nkind = \"thief\"",
            &["line 4", "`thief`", "`wrong-key`", "`slow-reader`"],
        ),
        (
            "description = \"\"\n[[adversary]]\nname = \"a\"\nkind = \"replay\"\ncount = 0",
            &["line 5", "1 to 1000"],
        ),
        (
            "description = \"\"\n[[fault]]\nname = \"f\"\nat = 1\nfault = { kind = \"status\", code = 200 }",
            &["line 3", "fault", "400 to 599"],
        ),
        (
            "description = \"\"\n[[fault]]\nname = \"f\"\nat = 1\nselect = { from = 5.0 }\nfault = { kind = \"duplicate-jobs\" }",
            &["line 3", "fault.at and fault.for"],
        ),
        (
            "description = \"\"\n[[admin.package]]\nname = \"p\"\nprocedure = \"x\"\npost_action = \"reboot\"",
            &["line 5", "`reboot`", "`restart`"],
        ),
        (
            "description = \"\"\n[[admin.package]]\nname = \"p\"\nprocedure = \"x\"\n[[admin.package]]\nname = \"q\"\n\
             procedure = \"x\"\n[admin.package.jobs]\nfailure_share = 1",
            &["admin.package.procedure", "\"q\"", "of its own"],
        ),
        (
            "description = \"\"\n[[convergence]]\nname = \"c\"\ngoal = \"applied\"\nwithin = 5",
            &["line 4", "convergence.policies", "applied"],
        ),
    ];
    for (text, parts) in cases {
        let message = message(text);
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?} for:\n{text}");
        }
    }
}

#[test]
fn a_name_that_is_neither_file_nor_built_in_lists_the_built_in_ones() {
    let message = Scenario::load("dmeo").unwrap_err().to_string();
    assert!(message.contains("dmeo") && message.contains("demo"), "{message}");
    assert!(matches!(
        Scenario::load("no/such.toml"),
        Err(ScenarioError::Read { .. })
    ));
}

#[test]
fn shares_of_systems_follow_their_weights() {
    let text = "description = \"\"\n[fleet.os]\nlinux = 1\nwindows = 3";
    let scenario = Scenario::parse("x", "x", text).unwrap();
    let windows = (0..10_000)
        .filter(|index| scenario.os_of(*index) == Os::Windows)
        .count();
    assert!((7300..7700).contains(&windows), "{windows}");
    assert!((0..10_000).all(|index| scenario.os_of(index) != Os::MacOs));
}
