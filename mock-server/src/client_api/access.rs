//! Who calls: HTTP Basic authentication, and what the user may do and see.

use super::Access;
use super::fault::Fault;
use crate::caller::Caller;
use crate::state::ServerState;
use crate::store::StoreError;
use crate::users::Role;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A request without a user.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthenticationError {
    #[error("HTTP Basic Auth: The user name cannot be empty")]
    NoUser,
    #[error("HTTP Basic Auth: Login failed")]
    Failed,
    #[error("the database does not answer")]
    Unavailable,
}

impl From<StoreError> for AuthenticationError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = crate::error::chain(&error), "nobody can sign in");
        Self::Unavailable
    }
}

impl IntoResponse for AuthenticationError {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "text/html; charset=UTF-8")];
        let status = match self {
            Self::NoUser | Self::Failed => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, content_type, self.to_string()).into_response()
    }
}

/// Finds the user whose name and password a request has.
pub(super) async fn authenticate(
    state: &ServerState,
    headers: &HeaderMap,
) -> Result<Caller, AuthenticationError> {
    let (name, password) = credentials(headers).ok_or(AuthenticationError::NoUser)?;
    Caller::sign_in(state, &name, &password)
        .await?
        .ok_or(AuthenticationError::Failed)
}

/// Name and password of `Authorization: Basic ...`.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    (!name.is_empty()).then(|| (name.to_owned(), password.to_owned()))
}

impl Caller {
    /// Refuses what the user's role does not allow.
    pub(super) fn check(&self, access: Access) -> Result<(), Fault> {
        let allowed = match access {
            Access::Look => true,
            Access::Operate => self.role() >= Role::Operator,
            Access::OperateEverywhere => self.role() >= Role::Operator && !self.is_limited(),
        };
        allowed.then_some(()).ok_or(Fault::Denied)
    }

    /// Refuses computers that the user does not see.
    pub(super) fn check_computers(&self, computers: &[i64]) -> Result<(), Fault> {
        match computers.iter().all(|computer| self.sees(*computer)) {
            true => Ok(()),
            false => Err(Fault::Denied),
        }
    }

    /// Refuses a computer group that the user does not see.
    pub(super) fn check_group(&self, group: i64) -> Result<(), Fault> {
        self.sees_group(group).then_some(()).ok_or(Fault::Denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<(String, String)> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        credentials(&headers)
    }

    #[test]
    fn credentials_are_a_name_and_a_password_that_may_have_colons() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(of(&basic("admin:a:b")), Some(("admin".into(), "a:b".into())));
        assert_eq!(of(&basic("admin:")), Some(("admin".into(), String::new())));
        for none in [
            basic(":x"),
            basic("admin"),
            "Bearer x".into(),
            "Basic %".into(),
            "Basic".into(),
        ] {
            assert_eq!(of(&none), None, "{none}");
        }
    }
}
