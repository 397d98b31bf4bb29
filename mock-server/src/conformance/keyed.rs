//! What only requests of the keyed generation have: a key in them, downloads by query, refusals in reason phrases.

use super::rules::Rule;
use super::walk::{Notes, Values};
use super::{MIN_KEY, is_member};
use crate::generation::ServerGeneration;
use crate::hooks::{Answer, Exchange};
use axum::extract::Query;
use oco_protocol::Key;
use oco_protocol::signature::AGENT_SIGNATURE_HEADER;
use serde::Deserialize;
use std::borrow::Cow;

const KEY_IN_QUERY: &str = "agent-key=";

/// The part of a request that names the key.
#[derive(Deserialize)]
struct Presented<'a> {
    #[serde(borrow)]
    params: PresentedParams<'a>,
}

#[derive(Deserialize)]
struct PresentedParams<'a> {
    #[serde(borrow, rename = "agent-key")]
    agent_key: Cow<'a, str>,
}

/// Whether a request is of the keyed generation: it carries its key instead of a signature, or goes to a server that knows
/// no signatures.
pub(super) fn is_keyed(exchange: &Exchange, server: ServerGeneration) -> bool {
    !exchange.headers.contains_key(AGENT_SIGNATURE_HEADER)
        && (server == ServerGeneration::September2022
            || is_member(&exchange.body, r#""agent-key""#)
            || has_key_in_query(exchange))
}

/// Whether the query carries a key.
pub(super) fn has_key_in_query(exchange: &Exchange) -> bool {
    exchange
        .uri
        .query()
        .is_some_and(|query| query.contains(KEY_IN_QUERY))
}

/// Compares the query of a download with what it has to have.
pub(super) fn check_query(exchange: &Exchange, notes: &mut Notes) -> Values {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&exchange.uri);
    let pairs = query.map_or_else(|_| Vec::new(), |Query(pairs)| pairs);
    let mut values = Values::default();
    for name in ["hostname", "agent-key", "id"] {
        match pairs.iter().find(|(key, _)| key == name) {
            None => notes.add(Rule::Missing, || format!("{name} of the query")),
            Some((_, value)) if value.is_empty() => {
                notes.add(Rule::Format, || format!("{name} of the query: nothing"));
            }
            Some((_, id)) if name == "id" => {
                if !id.bytes().all(|byte| byte.is_ascii_digit()) {
                    notes.add(Rule::Format, || "id of the query: no digits".into());
                }
                values.package = Some(id.chars().take(64).collect());
            }
            Some(_) => {}
        }
    }
    let known = |name: &str| ["hostname", "agent-key", "id"].contains(&name);
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !known(name)) {
        notes.add(Rule::Unknown, || format!("{name} of the query"));
    }
    values
}

/// Looks for secrets beside the key that the request is made with. `keys` are all of the computer.
pub(super) fn check_secrets(exchange: &Exchange, keys: &[Key], notes: &mut Notes) {
    if is_member(&exchange.body, r#""server-key""#) {
        notes.add(Rule::SecretKey, || r#"a member "server-key""#.into());
    }
    let used = presented(&exchange.body);
    let spilled = keys
        .iter()
        .filter(|key| key.expose().len() >= MIN_KEY && used.as_deref() != Some(key.expose()))
        .any(|key| memchr::memmem::find(&exchange.body, key.expose().as_bytes()).is_some());
    let again = used.is_some_and(|used| {
        used.len() >= MIN_KEY && memchr::memmem::find_iter(&exchange.body, used.as_bytes()).count() > 1
    });
    // In what is no JSON places cannot be told apart. That it is none is found by itself.
    let has_places = || serde_json::from_slice::<serde::de::IgnoredAny>(&exchange.body).is_ok();
    if again || (spilled && has_places()) {
        notes.add(Rule::SecretKey, || "the value of a key in another place".into());
    }
}

/// What a refusal in the reason phrase says about the request. `keys` are all of the computer, the one to register with
/// first.
pub(super) fn refused(exchange: &Exchange, answer: &Answer, keys: &[Key]) -> Option<Rule> {
    match (answer.status.as_u16(), answer.reason.as_deref()?) {
        (400, "Unknown Method") if super::shapes::of(&exchange.method, true).is_none() => {
            Some(Rule::UnknownMethod)
        }
        // These words are also those for whom nobody has registered where they may not do so themselves.
        (401, "Client Not Authorized") => {
            let right = match (keys, presented(&exchange.body)) {
                ([registration], Some(used)) => exchange.method == "hello" && used == registration.expose(),
                _ => false,
            };
            (!right).then_some(Rule::KeyWrong)
        }
        (status, phrase) => Rule::of_phrase(status, phrase),
    }
}

fn presented(body: &[u8]) -> Option<Cow<'_, str>> {
    let request: Presented<'_> = serde_json::from_slice(body).ok()?;
    Some(request.params.agent_key)
}
