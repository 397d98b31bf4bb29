//! `oco.agent.events`: events that the server asked for.

use super::{MAX_ITEMS, Request, digest, is_date_time};
use crate::error::Refusal;
use crate::store::events::{EventRow, StoreEvents};
use axum::response::Response;
use oco_protocol::lenient::Success;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct EventsData {
    events: Vec<Value>,
}

/// Serves events. As on the real server, `success` is the id of the last one that was new, as a text, or true.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let sender = request.sender().await?;
    let data: EventsData = request.envelope.params.data()?;
    if data.events.len() > MAX_ITEMS {
        return Err(Refusal::InvalidJson);
    }
    let mut events = Vec::with_capacity(data.events.len());
    for event in &data.events {
        events.extend(row(event)?);
    }
    let write = StoreEvents {
        computer: sender.computer,
        events,
    };
    let last = request.state.store.write(write).await?;
    let php = request.state.php;
    let success = last.map_or(Value::Bool(true), |id| php.insert_id(id));
    request.answer(&sender.seal, Success(success), php.empty_object())
}

/// An event as stored; none where it is to be skipped.
fn row(event: &Value) -> Result<Option<EventRow>, Refusal> {
    let (Some(log), Some(timestamp)) = (text(&event["log"]), text(&event["timestamp"])) else {
        return Ok(None);
    };
    if log.is_empty() || !is_date_time(&timestamp) {
        return Ok(None);
    }
    let event_id = text(&event["event_id"])
        .and_then(|id| id.trim().parse().ok())
        .ok_or(Refusal::Conflict("an event id is no number"))?;
    let provider = text(&event["provider"]).unwrap_or_default();
    let level = text(&event["level"]).unwrap_or_default();
    let data = if event["data"].is_object() {
        event["data"].to_string()
    } else {
        "{}".into()
    };
    let id = i64::to_le_bytes(event_id);
    let digest = digest(&[
        log.as_bytes(),
        provider.as_bytes(),
        &id,
        level.as_bytes(),
        timestamp.as_bytes(),
        data.as_bytes(),
    ]);
    Ok(Some(EventRow {
        log,
        provider,
        event_id,
        level,
        timestamp,
        data,
        digest,
    }))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(change: Value) -> Value {
        let mut event = json!({"log": "l", "provider": "p", "event_id": "4", "level": 3,
            "timestamp": "2026-01-01 00:00:00", "data": {"a": 1}});
        if let (Value::Object(event), Value::Object(change)) = (&mut event, change) {
            event.extend(change);
        }
        event
    }

    #[test]
    fn items_without_log_or_time_are_skipped_and_others_stored() {
        assert_eq!(row(&event(json!({}))).unwrap().unwrap().event_id, 4);
        for change in [
            json!({"log": null}),
            json!({"log": ""}),
            json!({"timestamp": "2026-01-01"}),
            json!({"timestamp": 5}),
        ] {
            assert!(row(&event(change)).unwrap().is_none());
        }
        assert!(row(&json!(7)).unwrap().is_none());
    }

    #[test]
    fn an_event_id_must_look_like_a_number() {
        for id in [json!("four"), json!(null), json!([])] {
            assert!(row(&event(json!({ "event_id": id }))).is_err());
        }
    }

    #[test]
    fn the_same_event_has_the_same_digest() {
        let digest = |change| row(&event(change)).unwrap().unwrap().digest;
        assert_eq!(digest(json!({})), digest(json!({"event_id": 4})));
        assert_ne!(digest(json!({})), digest(json!({"data": {}})));
    }
}
