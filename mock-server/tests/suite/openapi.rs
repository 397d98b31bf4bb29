//! The description of the REST surface, held against a running server.

mod document;
mod examples;
mod wrong;

use crate::support::{API_KEY, TestServer, send};
use document::Document;
use examples::{Example, examples, faults, filled, last_examples};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wrong::{beyond, with_entry, wrong_bodies};

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
        for wrong in wrong_bodies(&document, operation, &body) {
            assert!(
                !operation.takes(&wrong),
                "{} is described as taking {wrong}",
                operation.id()
            );
            let (status, answer) = operation.send(&server, &path, Some(&wrong)).await;
            assert!(
                [400, 422].contains(&status),
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
    let variants = described["oneOf"].as_array().unwrap();
    assert_eq!(variants.len(), kinds.len());
    for variant in variants
        .iter()
        .filter(|variant| variant["properties"].is_object())
    {
        assert_eq!(variant["additionalProperties"], false, "{variant}");
    }
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
