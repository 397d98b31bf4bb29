//! Findings about what agents send.

use super::{Query, page};
use crate::conformance::{AgentCount, Finding, Rule, RuleCount};
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Agents that the summary names.
const AGENTS: usize = 100;

/// What was found since the start or the last reset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConformanceSummary {
    /// Whether requests against the protocol are refused.
    strict: bool,
    /// Exchanges.
    checked: u64,
    findings: u64,
    rules: Vec<RuleCount>,
    /// Those with most findings, at most 100.
    agents: Vec<AgentCount>,
}

/// Shows how many exchanges were checked, all rules with their counts, and the agents with most findings.
#[utoipa::path(get, path = "/conformance", operation_id = "show_conformance", tag = "conformance",
    responses((status = 200, description = "The counts", body = ConformanceSummary)))]
pub(crate) async fn summary(State(state): State<Arc<ServerState>>) -> Json<ConformanceSummary> {
    let conformance = &state.instruments.conformance;
    let rules = conformance.rules();
    Json(ConformanceSummary {
        strict: conformance.is_strict(),
        checked: conformance.checked(),
        findings: rules.iter().map(|rule| rule.count).sum(),
        rules,
        agents: conformance.agents(AGENTS),
    })
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// The id of one of the rules that `/mock/v1/conformance` names.
    rule: Option<String>,
    /// The whole host name.
    hostname: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

/// Findings, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Findings {
    findings: Vec<Finding>,
}

/// Lists kept findings with their exchanges, latest first.
#[utoipa::path(get, path = "/conformance/findings", operation_id = "list_findings", tag = "conformance", params(Filter),
    responses((status = 200, description = "Findings", body = Findings)))]
pub(crate) async fn findings(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Findings>, ApiError> {
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
    Ok(Json(Findings { findings }))
}

/// Forgets all findings.
#[utoipa::path(delete, path = "/conformance", operation_id = "reset_conformance", tag = "conformance",
    responses((status = 200, description = "The counts after it", body = ConformanceSummary)))]
pub(crate) async fn reset(State(state): State<Arc<ServerState>>) -> Json<ConformanceSummary> {
    state.instruments.conformance.reset();
    summary(State(state)).await
}
