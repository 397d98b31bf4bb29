//! The description of the REST surface, held against a running server.

mod document;

use crate::support::{API_KEY, TestAgent, TestServer, send};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Document, Operation};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A request that succeeds after those before it.
struct Example {
    operation: &'static str,
    /// For the parameters in its path.
    path: &'static [&'static str],
    query: &'static str,
    body: Option<Value>,
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
fn examples() -> Vec<Example> {
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
        on("remove_group", &["computers", "1"], Value::Null),
        on("remove_computer", &["2"], Value::Null),
        on("remove_package", &["1"], Value::Null),
    ]
}

/// A server with a computer that has reported whatever a computer can, and something that is against the protocol.
async fn filled() -> TestServer {
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

#[tokio::test]
async fn every_operation_answers_as_it_is_described() {
    let server = filled().await;
    let document = Document::of(&server).await;
    let mut tried = BTreeSet::new();
    for Example {
        operation: id,
        path,
        query,
        body,
    } in examples()
    {
        let operation = document.operation(id);
        if let Some(body) = &body {
            let errors = operation.complaints(body);
            assert!(
                errors.is_empty(),
                "{id}: the description refuses {body}: {errors:#?}"
            );
        }
        let parameters = operation.parameters("query");
        for pair in query
            .trim_start_matches('?')
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let name = pair.split('=').next().unwrap();
            assert!(
                parameters.iter().any(|parameter| parameter["name"] == name),
                "{id}: {name}"
            );
        }
        let path = operation.path_with(path) + query;
        let (status, answer) = operation.send(&server, &path, body.as_ref()).await;
        assert!((200..300).contains(&status), "{id}: {status} {answer}");
        let lists = answer
            .as_object()
            .filter(|_| operation.method == "get" && query.is_empty());
        for (name, list) in lists.into_iter().flatten() {
            let is_empty = list.as_array().is_some_and(Vec::is_empty);
            assert!(!is_empty, "{id}: without any {name} its description is not tried");
        }
        tried.insert(id);
    }
    let described: BTreeSet<_> = document
        .operations()
        .iter()
        .map(|operation| operation.id())
        .collect();
    assert_eq!(tried, described);
}

#[tokio::test]
async fn every_operation_says_what_it_is() {
    let server = TestServer::start().await;
    let document = Document::of(&server).await;
    let mut ids = BTreeSet::new();
    for operation in document.operations() {
        let id = operation.id();
        assert!(ids.insert(id), "{id} is there twice");
        assert!(operation.path.starts_with("/mock/v1/"), "{id}");
        assert!(
            operation.item["summary"]
                .as_str()
                .is_some_and(|text| text.ends_with('.')),
            "{id}"
        );
        assert_eq!(operation.item["tags"].as_array().map(Vec::len), Some(1), "{id}");
        let in_path = operation.path.matches('{').count();
        assert_eq!(operation.parameters("path").len(), in_path, "{id}");
        for status in operation.statuses().range(400..) {
            let content = &operation.item["responses"][status.to_string()]["content"];
            let schema = &content["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Error", "{id}: {status}");
        }
        assert_eq!(operation.is_open(), id == "show_description");
    }
}

#[tokio::test]
async fn every_schema_that_is_referred_to_is_there() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").and_then(Value::as_str));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&oco_mock_server::openapi()).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let schema = reference
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer));
        assert!(schema.is_some_and(Value::is_object), "{reference}");
    }
}

#[tokio::test]
async fn without_the_key_every_operation_is_refused_as_described() {
    let server = TestServer::start().await;
    let document = Document::of(&server).await;
    for operation in document
        .operations()
        .into_iter()
        .filter(|operation| !operation.is_open())
    {
        let method = operation.method.to_uppercase();
        for headers in [&[][..], &[("authorization", "Bearer wrong")]] {
            let response = send(server.addr, &method, operation.path, headers, b"").await;
            assert_eq!(response.status, 401, "{}", operation.id());
            operation.check(&response);
        }
    }
}

/// The last example of each operation.
fn last_examples(document: &Document) -> Vec<(Operation<'_>, Example)> {
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

#[tokio::test]
async fn what_is_not_there_is_refused_as_described() {
    let server = TestServer::start().await;
    let document = Document::of(&server).await;
    for (operation, example) in last_examples(&document) {
        let numbers = |number: &'static str| -> Vec<&str> {
            let value = |one: &&'static str| if one.parse::<i64>().is_ok() { number } else { *one };
            example.path.iter().map(value).collect()
        };
        if numbers("") == *example.path {
            continue;
        }
        let body = example.body.as_ref();
        let (status, answer) = operation
            .send(&server, &operation.path_with(&numbers("999")), body)
            .await;
        match operation.statuses().contains(&404) {
            true => assert_eq!(status, 404, "{}: {answer}", operation.id()),
            false => assert_eq!(status, 200, "{}: {answer}", operation.id()),
        }
        let (status, answer) = operation
            .send(&server, &operation.path_with(&numbers("x")), body)
            .await;
        assert_eq!(status, 400, "{}: {answer}", operation.id());
    }
    for path in ["nonsense", "Computers"] {
        let operation = document.operation("list_groups");
        let (status, _) = operation.send(&server, &operation.path_with(&[path]), None).await;
        assert_eq!(status, 400);
    }
}

#[tokio::test]
async fn bodies_that_are_not_as_described_are_refused() {
    let server = TestServer::start().await;
    let document = Document::of(&server).await;
    for (operation, example) in last_examples(&document) {
        let Some(body) = example.body else { continue };
        let path = operation.path_with(example.path);
        for (wrong, statuses) in wrong_bodies(&document, operation, &body) {
            assert!(
                !operation.takes(&wrong),
                "{} is described as taking {wrong}",
                operation.id()
            );
            let (status, answer) = operation.send(&server, &path, Some(&wrong)).await;
            assert!(
                statuses.contains(&status),
                "{}: {wrong}: {status} {answer}",
                operation.id()
            );
        }
        let authorization = format!("Bearer {API_KEY}");
        let authorization = ("authorization", authorization.as_str());
        let method = operation.method.to_uppercase();
        for (content_type, text, expected) in [("application/json", "{", 400), ("text/plain", "{}", 415)] {
            let headers = [authorization, ("content-type", content_type)];
            let response = send(server.addr, &method, &path, &headers, text.as_bytes()).await;
            assert_eq!(response.status, expected, "{}", operation.id());
            operation.check(&response);
        }
    }
}

/// Bodies that the description does not allow, each with the statuses that it may be refused with.
fn wrong_bodies(document: &Document, operation: Operation<'_>, body: &Value) -> Vec<(Value, &'static [u16])> {
    // A value where JSON could not have one of its type is called a syntax error.
    const TYPE: &[u16] = &[400, 422];
    // Names in the path are looked up before bounds are checked.
    const BOUNDS: &[u16] = &[400, 404, 422];
    let with = |name: &str, value: Value| with_entry(body, name, value);
    let mut wrong = vec![
        (json!("text"), TYPE),
        (json!([]), TYPE),
        (with("nonsense", json!(1)), TYPE),
    ];
    for (name, schema) in operation.properties().unwrap() {
        let schema = document.resolve(schema);
        let is_flag = schema["type"] == "boolean" || schema["type"] == json!(["boolean", "null"]);
        let other = if is_flag { json!("text") } else { json!(true) };
        wrong.push((with(name, other), TYPE));
        wrong.extend(
            beyond(schema)
                .into_iter()
                .map(|value| (with(name, value), BOUNDS)),
        );
    }
    let required = document.resolve(operation.body().unwrap())["required"].as_array();
    for name in required.into_iter().flatten() {
        let mut without = body.clone();
        without.as_object_mut().unwrap().remove(name.as_str().unwrap());
        wrong.push((without, TYPE));
    }
    wrong
}

/// Values just out of the bounds of a schema.
fn beyond(schema: &Value) -> Vec<Value> {
    let number = |name: &str| schema[name].as_f64();
    #[allow(clippy::cast_possible_truncation)] // bounds are small
    let whole = |value: f64| json!(value as i64);
    let length = |name: &str| {
        schema[name]
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
    };
    let mut values = Vec::new();
    values.extend(number("minimum").map(|minimum| whole(minimum - 1.0)));
    values.extend(number("maximum").map(|maximum| whole(maximum + 1.0)));
    values.extend(
        length("minLength")
            .filter(|length| *length > 0)
            .map(|_| json!("")),
    );
    values.extend(length("maxLength").map(|length| json!("x".repeat(length + 1))));
    values.extend(
        schema["pattern"]
            .is_string()
            .then(|| json!(" : "))
            .filter(|_| schema["pattern"] != r"\S"),
    );
    values.extend((schema["pattern"] == r"\S").then(|| json!(" \t")));
    values.extend(length("minItems").map(|_| json!([])));
    values.extend(schema["enum"].is_array().then(|| json!("nonsense")));
    values
}

#[tokio::test]
async fn queries_that_are_not_as_described_are_refused() {
    let server = filled().await;
    let document = Document::of(&server).await;
    for (operation, example) in last_examples(&document) {
        let parameters = operation.parameters("query");
        if parameters.is_empty() {
            continue;
        }
        let mut wrong = vec!["?nonsense=1".to_owned()];
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            for value in beyond(document.resolve(&parameter["schema"])) {
                wrong.push(format!(
                    "?{name}={}",
                    value.as_str().map_or(value.to_string(), str::to_owned)
                ));
            }
        }
        for query in wrong {
            let path = operation.path_with(example.path) + &query;
            let (status, answer) = operation.send(&server, &path, None).await;
            assert_eq!(status, 400, "{} {query}: {answer}", operation.id());
        }
    }
}

/// One fault of each kind, and of each way in which delays are distributed.
fn faults() -> Vec<Value> {
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

#[tokio::test]
async fn every_kind_of_fault_fits_its_description() {
    let server = TestServer::start().await;
    let document = Document::of(&server).await;
    let (create, show) = (
        document.operation("create_fault"),
        document.operation("show_fault"),
    );
    for fault in faults() {
        let body = json!({ "fault": fault });
        assert!(create.takes(&body), "{fault}");
        let (status, created) = create.send(&server, create.path, Some(&body)).await;
        assert_eq!(status, 201, "{fault}: {created}");
        let (_, shown) = show
            .send(&server, &show.path_with(&[&created["id"].to_string()]), None)
            .await;
        assert_eq!(shown["fault"], fault);
        for wrong in [
            with_entry(&fault, "kind", json!("none")),
            with_entry(&fault, "nonsense", json!(1)),
        ] {
            let body = json!({ "fault": wrong });
            assert!(!create.takes(&body), "{wrong}");
            assert_eq!(
                create.send(&server, create.path, Some(&body)).await.0,
                422,
                "{wrong}"
            );
        }
    }
    let described = document.resolve(&document.operation("create_fault").properties().unwrap()["fault"]);
    let kinds: BTreeSet<_> = faults().iter().map(|fault| fault["kind"].to_string()).collect();
    assert_eq!(described["oneOf"].as_array().unwrap().len(), kinds.len());
}

fn with_entry(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[name] = value;
    changed
}

#[tokio::test]
async fn the_program_prints_what_a_server_serves() {
    let server = TestServer::start().await;
    let served = send(server.addr, "GET", "/mock/v1/openapi.json", &[], b"")
        .await
        .json();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_oco-mock-server"));
    let printed = program.arg("openapi").output().unwrap();
    assert!(printed.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), served);
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
}
