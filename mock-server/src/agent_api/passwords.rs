//! `oco.agent.passwords`: rotated passwords, and revocations of those that could not be set.

use super::{MAX_ITEMS, Request};
use crate::error::Refusal;
use crate::store::passwords::{PasswordChange, PasswordOutcome, StorePasswords};
use axum::response::Response;
use oco_protocol::Key;
use oco_protocol::lenient::{self, Success};
use oco_protocol::password::EncryptedPassword;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct PasswordsData {
    passwords: Vec<ReportedPassword>,
}

#[derive(Deserialize)]
struct ReportedPassword {
    username: String,
    password: ReportedSecret,
    #[serde(default, deserialize_with = "lenient::flag")]
    revoke: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReportedSecret {
    Encrypted(EncryptedPassword),
    /// Accepted by real servers.
    Plain(Key),
}

/// Serves passwords. As on the real server, `success` is the id of the last one stored, as a text.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let sender = request.sender().await?;
    let data: PasswordsData = request.envelope.params.data()?;
    if data.passwords.len() > MAX_ITEMS {
        return Err(Refusal::InvalidJson);
    }
    let changes: Result<Vec<_>, Refusal> = data
        .passwords
        .into_iter()
        .map(|password| change(password, &sender.agent_key))
        .collect();
    let groups = sender.computer.state().groups.clone();
    let write = StorePasswords {
        rules: request.state.rules().passwords_for(&groups),
        computer: sender.computer,
        changes: changes?,
        now: request.state.now(),
    };
    let php = request.state.php;
    let success = match request.state.store.write(write).await? {
        PasswordOutcome::Ignored => Value::Bool(false),
        PasswordOutcome::Revoked => Value::Bool(true),
        PasswordOutcome::Stored(id) => php.insert_id(id),
    };
    request.answer(&sender.seal, Success(success), php.empty_object())
}

fn change(reported: ReportedPassword, agent_key: &Key) -> Result<PasswordChange, Refusal> {
    let password = match reported.password {
        ReportedSecret::Plain(password) => password,
        ReportedSecret::Encrypted(password) => {
            let clear = password
                .decrypt(agent_key)
                .map_err(|_| Refusal::InvalidPassword)?;
            Key::new(clear.as_str())
        }
    };
    Ok(PasswordChange {
        username: reported.username,
        password,
        revoke: reported.revoke,
    })
}
