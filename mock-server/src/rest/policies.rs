//! Policies: those for all computers, and those of a computer group.

use super::openapi::NotFound;
use super::{Body, Path, text};
use crate::error::ApiError;
use crate::policies::ScopedPolicies;
use crate::state::ServerState;
use crate::store::groups::GroupKind;
use crate::store::policies::ReplacePolicies;
use axum::Json;
use axum::extract::State;
use oco_protocol::policy::{MACHINE_SCOPE, ScopePolicies};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest key, characters.
const MAX_KEY: usize = 1024;
/// Longest GUID, characters.
const MAX_SCOPE: usize = 64;

/// `MODULE:path:key` (1 to 1024 characters) -> value, for the machine and for users.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicySet {
    #[schema(value_type = BTreeMap<String, Value>)]
    machine: ScopePolicies,
    /// By GUID of 1 to 64 characters; `*` stands for every user that has one.
    #[serde(default, skip_serializing_if = "ScopedPolicies::is_empty")]
    #[schema(value_type = BTreeMap<String, BTreeMap<String, Value>>)]
    users: ScopedPolicies,
}

impl PolicySet {
    fn from_scopes(mut scopes: ScopedPolicies) -> Self {
        Self {
            machine: scopes.remove(MACHINE_SCOPE).unwrap_or_default(),
            users: scopes,
        }
    }

    fn into_scopes(self) -> Result<ScopedPolicies, ApiError> {
        let mut scopes = ScopedPolicies::from([(MACHINE_SCOPE.to_owned(), self.machine)]);
        for (guid, policies) in self.users {
            let guid = text("a user's GUID", &guid, MAX_SCOPE)?;
            if guid == MACHINE_SCOPE {
                return Err(ApiError::Invalid(format!(
                    "{MACHINE_SCOPE:?} is no GUID of a user"
                )));
            }
            scopes.insert(guid, policies);
        }
        for key in scopes.values().flat_map(ScopePolicies::keys) {
            text("a policy's key", key, MAX_KEY)?;
        }
        Ok(scopes)
    }
}

/// Shows the policies for all computers.
#[utoipa::path(get, path = "/policies", operation_id = "show_policies", tag = "policies",
    responses((status = 200, description = "The policies", body = PolicySet)))]
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Json<PolicySet> {
    Json(PolicySet::from_scopes(state.rules().policies.of(None)))
}

/// Replaces the policies for all computers.
#[utoipa::path(put, path = "/policies", operation_id = "replace_policies", tag = "policies", request_body = PolicySet,
    responses((status = 200, description = "The policies as they are now", body = PolicySet)))]
pub(crate) async fn replace(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<PolicySet>,
) -> Result<Json<PolicySet>, ApiError> {
    store(&state, None, new).await
}

/// Shows the policies of a group, without those it inherits.
#[utoipa::path(get, path = "/groups/computers/{id}/policies", operation_id = "show_group_policies", tag = "policies",
    responses((status = 200, description = "The policies", body = PolicySet), NotFound))]
pub(crate) async fn show_group(
    State(state): State<Arc<ServerState>>,
    Path(group): Path<i64>,
) -> Result<Json<PolicySet>, ApiError> {
    check_group(&state, group).await?;
    Ok(Json(PolicySet::from_scopes(
        state.rules().policies.of(Some(group)),
    )))
}

/// Replaces the policies of a group.
#[utoipa::path(put, path = "/groups/computers/{id}/policies", operation_id = "replace_group_policies", tag = "policies", request_body = PolicySet,
    responses((status = 200, description = "The policies as they are now", body = PolicySet), NotFound))]
pub(crate) async fn replace_group(
    State(state): State<Arc<ServerState>>,
    Path(group): Path<i64>,
    Body(new): Body<PolicySet>,
) -> Result<Json<PolicySet>, ApiError> {
    check_group(&state, group).await?;
    store(&state, Some(group), new).await
}

async fn check_group(state: &ServerState, group: i64) -> Result<(), ApiError> {
    let groups = state.store.groups(GroupKind::Computers).await?;
    match groups.iter().any(|known| known.id == group) {
        true => Ok(()),
        false => Err(ApiError::NotFound(format!("computer group {group}"))),
    }
}

async fn store(state: &ServerState, group: Option<i64>, new: PolicySet) -> Result<Json<PolicySet>, ApiError> {
    let policies = new.into_scopes()?;
    state.store.write(ReplacePolicies { group, policies }).await?;
    state.reload_rules().await?;
    Ok(Json(PolicySet::from_scopes(state.rules().policies.of(group))))
}
