//! Findings about what agents send.

use super::{Query, page};
use crate::conformance::Rule;
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Agents that the summary names.
const AGENTS: usize = 100;

/// Shows how many exchanges were checked, all rules with their counts, and the agents with most findings.
pub(crate) async fn summary(State(state): State<Arc<ServerState>>) -> Json<Value> {
    let conformance = &state.instruments.conformance;
    let rules = conformance.rules();
    Json(json!({
        "strict": conformance.is_strict(),
        "checked": conformance.checked(),
        "findings": rules.iter().map(|rule| rule.count).sum::<u64>(),
        "rules": rules,
        "agents": conformance.agents(AGENTS),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    rule: Option<String>,
    hostname: Option<String>,
    limit: Option<i64>,
}

/// Lists kept findings with their exchanges, latest first.
pub(crate) async fn findings(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, ApiError> {
    let (_, limit) = page(None, filter.limit)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let rule = filter.rule.as_deref().map(|id| {
        Rule::from_id(id)
            .ok_or_else(|| ApiError::Invalid(format!("{id:?} is no rule: see /mock/v1/conformance")))
    });
    let findings = state
        .instruments
        .conformance
        .list(rule.transpose()?, filter.hostname.as_deref(), limit);
    Ok(Json(json!({ "findings": findings })))
}

/// Forgets all findings.
pub(crate) async fn reset(State(state): State<Arc<ServerState>>) -> Json<Value> {
    state.instruments.conformance.reset();
    summary(State(state)).await
}
