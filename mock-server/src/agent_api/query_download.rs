//! Downloads of the keyed generation: a GET request with everything in its query.

use super::download;
use crate::access_log::Label;
use crate::error::Refusal;
use crate::generation::{Generation, ServerGeneration};
use crate::keys;
use crate::state::ServerState;
use axum::extract::Query;
use axum::http::{Method, Uri};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

/// What the counters call it.
pub(super) const LABEL: Label = Label("keyed download");

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Wanted {
    hostname: String,
    agent_key: String,
    /// The package.
    id: String,
}

/// The parameters of a download; none where the request is something else.
pub(super) fn parameters(method: &Method, uri: &Uri) -> Option<Wanted> {
    uri.query().filter(|_| method == Method::GET)?;
    Query::try_from_uri(uri).ok().map(|Query(wanted)| wanted)
}

/// Serves an archive.
pub(super) async fn handle(state: &Arc<ServerState>, wanted: &Wanted) -> Result<Response, Refusal> {
    let computer = state
        .computer(&wanted.hostname)
        .await?
        .ok_or(Refusal::UnknownPackage)?;
    let (own_key, generation) = {
        let computer = computer.state();
        (computer.agent_key.clone(), computer.generation())
    };
    let signs = state.generation == ServerGeneration::Current && generation == Some(Generation::Signed);
    let authentic = own_key.is_some_and(|key| keys::same(&key, &wanted.agent_key));
    if signs || !authentic {
        return Err(Refusal::KeyMismatch);
    }
    let package = wanted.id.parse().map_err(|_| Refusal::UnknownPackage)?;
    download::serve(state, computer.id, package).await
}
