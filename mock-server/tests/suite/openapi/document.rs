//! The description as a test reads it: operations, and what fits their schemas.

use crate::support::{API_KEY, Response, TestServer, send};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The description of a running server.
pub(crate) struct Document(Value);

/// One operation of it.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    document: &'a Document,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) item: &'a Value,
}

impl Document {
    pub(crate) async fn of(server: &TestServer) -> Self {
        let response = send(server.addr, "GET", "/mock/v1/openapi.json", &[], b"").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("application/json"));
        let mut document = response.json();
        close(&mut document);
        Self(document)
    }

    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, item)| Operation {
                    document: self,
                    method,
                    path,
                    item,
                })
        });
        operations.collect()
    }

    pub(crate) fn operation(&self, id: &str) -> Operation<'_> {
        let found = self
            .operations()
            .into_iter()
            .find(|operation| operation.id() == id);
        found.unwrap_or_else(|| panic!("{id} is not described"))
    }

    /// What `schema` refers to, or itself.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// What is wrong with `value`, if anything.
    pub(crate) fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut root = schema.clone();
        root["components"] = self.0["components"].clone();
        let validator = jsonschema::draft202012::new(&root).unwrap();
        validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }
}

impl<'a> Operation<'a> {
    pub(crate) fn id(self) -> &'a str {
        self.item["operationId"].as_str().unwrap()
    }

    pub(crate) fn is_open(self) -> bool {
        self.item["security"] == json!([{}])
    }

    pub(crate) fn statuses(self) -> BTreeSet<u16> {
        let responses = self.item["responses"].as_object().unwrap();
        responses.keys().map(|status| status.parse().unwrap()).collect()
    }

    pub(crate) fn parameters(self, place: &str) -> Vec<&'a Value> {
        let parameters = self.item["parameters"].as_array();
        let all = parameters.into_iter().flatten();
        all.filter(|parameter| parameter["in"] == place).collect()
    }

    /// The schema of its request body.
    pub(crate) fn body(self) -> Option<&'a Value> {
        self.item.pointer("/requestBody/content/application~1json/schema")
    }

    /// The properties of its request body by name.
    pub(crate) fn properties(self) -> Option<&'a Map<String, Value>> {
        self.document.resolve(self.body()?)["properties"].as_object()
    }

    /// What the description has against a request body.
    pub(crate) fn complaints(self, body: &Value) -> Vec<String> {
        self.document.errors(self.body().unwrap(), body)
    }

    pub(crate) fn takes(self, body: &Value) -> bool {
        self.complaints(body).is_empty()
    }

    /// Its path with `values` for the parameters in it, in their order.
    pub(crate) fn path_with(self, values: &[&str]) -> String {
        let mut values = values.iter();
        let parts = self.path.split('/').map(|part| match part.starts_with('{') {
            true => *values
                .next()
                .unwrap_or_else(|| panic!("too few values for {}", self.path)),
            false => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        assert!(values.next().is_none(), "too many values for {}", self.path);
        path
    }

    /// Sends a request with the API key; what comes back must be as described.
    pub(crate) async fn send(self, server: &TestServer, path: &str, body: Option<&Value>) -> (u16, Value) {
        let authorization = format!("Bearer {API_KEY}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let headers = if self.body().is_some() {
            &headers[..]
        } else {
            &headers[..1]
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = send(
            server.addr,
            &self.method.to_uppercase(),
            path,
            headers,
            body.as_bytes(),
        )
        .await;
        (response.status, self.check(&response))
    }

    /// Fails unless a response is one of those described; its body.
    pub(crate) fn check(self, response: &Response) -> Value {
        let (id, status) = (self.id(), response.status);
        let described = &self.item["responses"][status.to_string()];
        assert!(
            described.is_object(),
            "{id}: {status} is not described: {}",
            response.text()
        );
        let Some(schema) = described.pointer("/content/application~1json/schema") else {
            assert!(
                response.body.is_empty(),
                "{id}: {status} with {}",
                response.text()
            );
            return Value::Null;
        };
        assert_eq!(
            response.header("content-type"),
            Some("application/json"),
            "{id}: {status}"
        );
        let body = response.json();
        let errors = self.document.errors(schema, &body);
        assert!(
            errors.is_empty(),
            "{id}: {status} {body} is not as described: {errors:#?}"
        );
        body
    }
}

/// Has schemas refuse properties that they do not name: the description is open to new ones, the tests are not.
fn close(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries.iter_mut() {
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => properties.values_mut().for_each(shut),
                    ("items" | "additionalProperties" | "schema", value) if value.is_object() => shut(value),
                    (_, value) => close(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Closes the schema of a value; not those that it is composed of, which see only a part of the value.
fn shut(schema: &mut Value) {
    close(schema);
    // An object of whatever, or any value at all.
    let is_free = schema.get("additionalProperties").is_some()
        || ["properties", "$ref", "allOf", "oneOf"]
            .iter()
            .all(|key| schema.get(key).is_none());
    if !is_free {
        schema["unevaluatedProperties"] = false.into();
    }
}
