//! Values that are not as described.

use super::document::{Document, Operation};
use serde_json::{Value, json};

/// Bodies that the description does not allow.
pub(crate) fn wrong_bodies(document: &Document, operation: Operation<'_>, body: &Value) -> Vec<Value> {
    let with = |name: &str, value: Value| with_entry(body, name, value);
    let mut wrong = vec![json!("text"), json!([]), with("nonsense", json!(1))];
    for (name, schema) in operation.properties().unwrap() {
        let schema = document.resolve(schema);
        let is_flag = schema["type"] == "boolean" || schema["type"] == json!(["boolean", "null"]);
        let other = if is_flag { json!("text") } else { json!(true) };
        wrong.push(with(name, other));
        wrong.extend(beyond(schema).into_iter().map(|value| with(name, value)));
    }
    let required = document.resolve(operation.body().unwrap())["required"].as_array();
    for name in required.into_iter().flatten() {
        let mut without = body.clone();
        without.as_object_mut().unwrap().remove(name.as_str().unwrap());
        wrong.push(without);
    }
    wrong
}

/// Values just out of the bounds of a schema.
pub(crate) fn beyond(schema: &Value) -> Vec<Value> {
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

/// An object with another entry.
pub(crate) fn with_entry(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[name] = value;
    changed
}
