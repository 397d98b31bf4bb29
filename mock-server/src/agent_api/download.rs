//! `oco.agent.download`: the archive of a package, for computers that have a job for it.

use super::Request;
use crate::error::Refusal;
use crate::state::ServerState;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;

/// Serves an archive, whole and unsigned, whatever range is asked for.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let sender = request.sender().await?;
    let package = request
        .envelope
        .params
        .package_id
        .as_ref()
        .and_then(id)
        .ok_or(Refusal::UnknownPackage)?;
    serve(request.state, sender.computer.id, package).await
}

/// The archive of a package, where the computer has a job for it.
pub(super) async fn serve(
    state: &Arc<ServerState>,
    computer: i64,
    package: i64,
) -> Result<Response, Refusal> {
    if !state.store.has_archive(package).await? {
        return Err(Refusal::UnknownPackage);
    }
    if !state.store.has_due_job(computer, package, state.now()).await? {
        return Err(Refusal::NoActiveJob);
    }
    let archive = state.archive(package).await?.ok_or(Refusal::UnknownPackage)?;
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{package}.zip\""))
        .map_err(|_| Refusal::UnknownPackage)?;
    let mut response = Response::new(Body::from(archive));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

fn id(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
