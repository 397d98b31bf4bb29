//! Requests that succeed, and the server that they are for.

use super::document::{Document, Operation};
use crate::support::{TestAgent, TestServer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A request that succeeds after those before it.
pub(crate) struct Example {
    pub(crate) operation: &'static str,
    /// For the parameters in its path.
    pub(crate) path: &'static [&'static str],
    pub(crate) query: &'static str,
    pub(crate) body: Option<Value>,
}

fn example(
    operation: &'static str,
    path: &'static [&'static str],
    query: &'static str,
    body: Value,
) -> Example {
    let body = Some(body).filter(|body| !body.is_null());
    Example {
        operation,
        path,
        query,
        body,
    }
}

/// Requests for all operations, in an order in which each has what it needs.
pub(crate) fn examples() -> Vec<Example> {
    let on = |operation, path, body| example(operation, path, "", body);
    let plain = |operation, query| example(operation, &[], query, Value::Null);
    let file = json!({"name": "run.sh", "content": STANDARD.encode("echo hello")});
    let package = json!({"name": "tool", "version": "1.0", "notes": "n", "procedure": "sh run.sh",
        "success_codes": "0,3010", "post_action": 1, "upgrade_behavior": 2, "uninstall_procedure": "rm tool",
        "uninstall_success_codes": "", "uninstall_post_action": 0, "download_for_uninstall": true,
        "compatible_os": "Debian", "compatible_os_version": "12", "compatible_architecture": "x86_64", "files": [file]});
    let deployment = json!({"name": "d", "packages": [1], "computers": "all", "priority": 3, "sequence_mode": 1,
        "start": 1_800_000_000.5, "end": 1_900_000_000, "restart_timeout": 7, "notes": "n",
        "agent_ip_ranges": ["10.0.0.0/8", "!10.9.0.0/16"], "time_frames": ["FRI 18:00-23:00"],
        "force_install_same_version": false});
    let fleet = json!({"inventories_over": 7200, "computers": [{"hostname": "old-1", "uid": "u-1", "agent_key": "a1",
        "server_key": "s1", "agent_version": "2.0.0"}, {"hostname": "old-2", "agent_key": "a2", "server_key": "s2"}]});
    let policies = json!({"machine": {"JSON:/etc/app.json:Home": ["a", {"b": null}]},
        "users": {"S-1-5-21": {"JSON:/etc/app.json:Dark": true}}});
    let fault = json!({"name": "f", "select": {"methods": ["hello"], "hostname": "pc-*", "os": "linux", "share": 0.5,
        "skip": 1, "first": 2, "from": 1.5, "until": 2.5}, "fault": {"kind": "delay", "distribution": "fixed", "ms": 5}});
    vec![
        plain("show_description", ""),
        on("create_package", &[], package),
        plain("list_packages", ""),
        on(
            "create_computer",
            &[],
            json!({"hostname": "new-pc", "notes": "n"}),
        ),
        on("register_computers", &[], fleet),
        plain("list_computers", "?hostname=pc&offset=1&limit=1"),
        plain("list_computers", ""),
        on("show_computer", &["1"], Value::Null),
        on("show_computer", &["2"], Value::Null),
        on("change_computer", &["1"], json!({"force_update": true})),
        on("list_events", &["1"], Value::Null),
        example("list_events", &["1"], "?limit=1", Value::Null),
        on("list_passwords", &["1"], Value::Null),
        plain("search_software", "?name=bash&version=5"),
        on("create_deployment", &[], deployment),
        on(
            "create_deployment",
            &[],
            json!({"name": "d", "packages": [1], "computers": [1]}),
        ),
        on("show_deployment", &["1"], Value::Null),
        on("show_deployment", &["2"], Value::Null),
        plain(
            "list_jobs",
            "?computer=1&container=2&state=pending&offset=0&limit=9",
        ),
        plain("list_jobs", ""),
        on(
            "create_group",
            &["computers"],
            json!({"name": "lab", "parent": null}),
        ),
        on("create_group", &["packages"], json!({"name": "base"})),
        on(
            "create_group",
            &["packages"],
            json!({"name": "more", "parent": 1}),
        ),
        on("list_groups", &["packages"], Value::Null),
        on("add_member", &["computers", "1", "1"], Value::Null),
        on("add_member", &["packages", "1", "1"], Value::Null),
        on("list_members", &["computers", "1"], Value::Null),
        on("replace_policies", &[], policies.clone()),
        plain("show_policies", ""),
        on("replace_group_policies", &["1"], policies),
        on("show_group_policies", &["1"], Value::Null),
        on(
            "create_deployment_rule",
            &[],
            json!({"name": "r", "notes": "n", "computer_group": 1, "package_group": 1,
            "enabled": true, "priority": -1, "sequence_mode": 1, "post_action_timeout": 9}),
        ),
        plain("list_deployment_rules", ""),
        plain("list_jobs", ""),
        on("change_deployment_rule", &["1"], json!({"enabled": false})),
        on(
            "create_event_rule",
            &[],
            json!({"log": "journalctl", "query": "{}"}),
        ),
        plain("list_event_rules", ""),
        on(
            "create_password_rule",
            &[],
            json!({"username": "root", "alphabet": "ab", "length": 9, "valid_for": 60,
            "computer_group": 1, "history": 3}),
        ),
        plain("list_password_rules", ""),
        on(
            "create_user",
            &[],
            json!({"name": "eve", "password": "p", "role": "viewer", "computer_groups": [1]}),
        ),
        plain("list_users", ""),
        on(
            "change_user",
            &["2"],
            json!({"password": "q", "role": "operator", "computer_groups": []}),
        ),
        on(
            "change_settings",
            &[],
            json!({"update_interval": 60, "self_registration": false}),
        ),
        plain("show_settings", ""),
        on("create_fault", &[], fault),
        on("show_fault", &["1"], Value::Null),
        plain("list_faults", ""),
        plain("show_conformance", ""),
        plain("list_findings", "?rule=data.type&hostname=pc-1&limit=1"),
        plain("list_findings", ""),
        plain("show_stats", ""),
        plain("reset_conformance", ""),
        on("remove_fault", &["1"], Value::Null),
        on("remove_user", &["2"], Value::Null),
        on("remove_member", &["computers", "1", "1"], Value::Null),
        on("remove_deployment_rule", &["1"], Value::Null),
        on("remove_event_rule", &["1"], Value::Null),
        on("remove_password_rule", &["2"], Value::Null),
        on("remove_group", &["computers", "1"], Value::Null),
        on("remove_computer", &["2"], Value::Null),
        on("remove_package", &["1"], Value::Null),
    ]
}

/// The last example of each operation.
pub(crate) fn last_examples(document: &Document) -> Vec<(Operation<'_>, Example)> {
    let mut examples = examples();
    let last = document
        .operations()
        .into_iter()
        .filter(|operation| !operation.is_open())
        .map(|operation| {
            let position = examples
                .iter()
                .rposition(|example| example.operation == operation.id());
            (operation, examples.remove(position.unwrap()))
        });
    last.collect()
}

/// One fault of each kind, and of each way in which delays are distributed.
pub(crate) fn faults() -> Vec<Value> {
    vec![
        json!({"kind": "delay", "distribution": "fixed", "ms": 1}),
        json!({"kind": "delay", "distribution": "uniform", "min": 1, "max": 2}),
        json!({"kind": "delay", "distribution": "log-normal", "median": 1.5, "sigma": 0.5}),
        json!({"kind": "bandwidth", "bytes_per_second": 1000}),
        json!({"kind": "dribble", "bytes": 40, "every_ms": 20}),
        json!({"kind": "status", "code": 503, "reason": "Later", "retry_after": 7, "body": "later"}),
        json!({"kind": "reset", "at": "in"}),
        json!({"kind": "idle", "at": "after", "for_ms": 300}),
        json!({"kind": "refuse", "for_ms": 700}),
        json!({"kind": "restart", "for_ms": 200}),
        json!({"kind": "json", "is": "garbage", "signed": true}),
        json!({"kind": "content-type", "value": "text/html"}),
        json!({"kind": "oversized", "bytes": 3_000_000, "signed": true}),
        json!({"kind": "signature", "is": "other-agent"}),
        json!({"kind": "timestamp", "is": "replayed"}),
        json!({"kind": "key-change", "keys": "both"}),
        json!({"kind": "unknown-job-fields"}),
        json!({"kind": "duplicate-jobs"}),
        json!({"kind": "foreign-job"}),
        json!({"kind": "package", "is": "zip-bomb"}),
    ]
}

/// A server with a computer that has reported whatever a computer can, and something that is against the protocol.
pub(crate) async fn filled() -> TestServer {
    let server = TestServer::start().await;
    let rule = json!({"username": "admin", "alphabet": "ab", "length": 9});
    server.create("/password-rules", rule).await;
    let mut agent = TestAgent::registered(&server, "pc-1").await;
    let login = json!({"guid": null, "display_name": "", "username": "u", "console": "tty1", "timestamp": "2026-01-01 00:00:00"});
    let inventory = json!({"hostname": "pc-1", "os": "Debian", "os_version": "12", "ram": "wrong", "networks": [],
        "software": [{"name": "bash", "version": "5", "description": "shell"}], "logins": [login]});
    agent.ask(&server, "update", inventory).await;
    let event = json!({"log": "l", "provider": "p", "event_id": 4, "level": "4", "timestamp": "2026-01-01 00:00:00", "data": {"a": 1}});
    agent.ask(&server, "events", json!({"events": [event]})).await;
    let password = json!({"passwords": [{"username": "admin", "password": "s3cret"}]});
    agent.ask(&server, "passwords", password).await;
    agent.hello(&server).await;
    server
}
