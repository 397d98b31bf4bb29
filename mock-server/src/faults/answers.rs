//! What faults make of an answer: before it is signed, so that it is genuine, or after, so that it is not.

use super::archives;
use super::rule::{Fault, Json, KeyChange, OperatingSystem, PackageFault, SignatureFault, TimestampFault};
use crate::connection::{Cut, CutAt, Ending};
use crate::hooks::{Answer, Exchange, Signing};
use axum::http::header::{CONTENT_TYPE, RANGE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use oco_protocol::signature::SERVER_SIGNATURE_HEADER;
use serde_json::{Value, json};
use std::time::Duration;

/// How far a backward timestamp is back, s.
const BACKWARD: f64 = 3600.0;
const GARBAGE: &[u8] = b"\x00\xff<html>{\"id\":1,\"result\":[[[nonsense";

/// An answer of this status, as proxies and broken servers give it.
pub(super) fn status(code: u16, reason: Option<&str>, retry_after: Option<u64>, body: &str) -> Answer {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = Answer::new(code, body.to_owned());
    answer.reason = reason.map(str::to_owned);
    answer
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    if let Some(seconds) = retry_after {
        answer.headers.insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// Changes an answer that is then signed; whether there was something to change.
pub(super) fn alter(fault: &Fault, answer: &mut Value, last: Option<&Answer>, os: &Option<String>) -> bool {
    match fault {
        Fault::Timestamp { is } => timestamp(*is, answer, last),
        Fault::KeyChange { keys } => {
            let params = &mut answer["result"]["params"];
            if !params.is_object() {
                return false;
            }
            if *keys != KeyChange::Server {
                params["agent-key"] = json!("unaskedagentkey0000000000000000");
            }
            if *keys != KeyChange::Agent {
                params["server-key"] = json!("unaskedserverkey000000000000000");
            }
            true
        }
        Fault::UnknownJobFields {} => jobs(answer, |jobs| {
            for job in jobs {
                job["unknown-flag"] = json!(true);
                job["unknown-object"] = json!({"nested": [1, null, "two"]});
                job["procedure-v2"] = json!("exit 99");
            }
        }),
        Fault::DuplicateJobs {} => jobs(answer, |jobs| {
            *jobs = jobs.iter().flat_map(|job| [job.clone(), job.clone()]).collect();
        }),
        Fault::ForeignJob {} => {
            let own = os.as_deref().map_or(OperatingSystem::Linux, OperatingSystem::of);
            let procedure = match own {
                OperatingSystem::Windows => "apt-get install --yes no-such-package-of-another-system",
                _ => r#"msiexec.exe /i "C:\no-such-package-of-another-system.msi" /qn"#,
            };
            jobs(answer, |jobs| {
                jobs.iter_mut()
                    .for_each(|job| job["procedure"] = json!(procedure));
            })
        }
        _ => false,
    }
}

/// Changes the jobs of an answer; whether there are any.
fn jobs(answer: &mut Value, change: impl FnOnce(&mut Vec<Value>)) -> bool {
    match answer["result"]["params"]["software-jobs"].as_array_mut() {
        Some(jobs) if !jobs.is_empty() => {
            change(jobs);
            true
        }
        _ => false,
    }
}

fn timestamp(is: TimestampFault, answer: &mut Value, last: Option<&Answer>) -> bool {
    let result = &mut answer["result"];
    let Some(now) = result["timestamp"].as_f64() else {
        return false;
    };
    match is {
        TimestampFault::Equal => {
            let last = last.and_then(|last| serde_json::from_slice::<Value>(&last.body).ok());
            let Some(last) = last
                .map(|mut last| last["result"]["timestamp"].take())
                .filter(Value::is_number)
            else {
                return false;
            };
            result["timestamp"] = last;
        }
        TimestampFault::Backward => result["timestamp"] = json!(now - BACKWARD),
        TimestampFault::Absent => {
            result.as_object_mut().map(|result| result.remove("timestamp"));
        }
        TimestampFault::Replayed => return false,
    }
    true
}

/// Changes an answer as it is sent; whether there was something to change.
pub(super) fn break_answer(fault: &Fault, exchange: &Exchange, answer: &mut Answer) -> bool {
    match fault {
        Fault::Json { is, signed } => {
            if answer.status != StatusCode::OK {
                return false;
            }
            answer.body = match is {
                Json::Truncated => answer.body.slice(..answer.body.len() / 2),
                Json::Garbage => GARBAGE.into(),
            };
            sign(answer, *signed);
        }
        Fault::ContentType { value } => {
            let Ok(value) = HeaderValue::from_str(value) else {
                return false;
            };
            answer.headers.insert(CONTENT_TYPE, value);
        }
        Fault::Oversized { bytes, signed } => {
            let length = usize::try_from(*bytes).unwrap_or(usize::MAX);
            let mut body = answer.body.to_vec();
            if body.len() >= length {
                return false;
            }
            body.resize(length, b' ');
            answer.body = body.into();
            sign(answer, *signed);
        }
        Fault::Signature { is } => return signature(*is, answer),
        Fault::Package { is } => return package(*is, exchange, answer),
        _ => return false,
    }
    true
}

fn sign(answer: &mut Answer, signed: bool) {
    if signed {
        answer.signing = Signing::Again;
    }
}

fn signature(is: SignatureFault, answer: &mut Answer) -> bool {
    if !answer.headers.contains_key(SERVER_SIGNATURE_HEADER) {
        return false;
    }
    match is {
        SignatureFault::Missing => {
            answer.headers.remove(SERVER_SIGNATURE_HEADER);
        }
        SignatureFault::OtherAgent => answer.signing = Signing::AsAnother,
        SignatureFault::Wrong => {
            const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
            answer
                .headers
                .insert(SERVER_SIGNATURE_HEADER, HeaderValue::from_static(NOTHING));
        }
    }
    true
}

fn package(is: PackageFault, exchange: &Exchange, answer: &mut Answer) -> bool {
    if answer.status != StatusCode::OK {
        return false;
    }
    let length = answer.body.len();
    match is {
        PackageFault::Truncated => answer.body = answer.body.slice(..length / 2),
        PackageFault::WrongLength => {
            // As long as announced, but no more than the package is sent of it.
            let mut body = answer.body.to_vec();
            body.resize(2 * length + 1, 0);
            answer.body = body.into();
            answer.delivery.cut = Some(Cut {
                at: CutAt::Body(length as u64),
                ending: Ending::Idle(Duration::ZERO),
            });
        }
        PackageFault::Corrupt => {
            let mut body = answer.body.to_vec();
            // All of the middle, so that headers, data or directory are hit whatever the archive's shape.
            let middle = length / 4..length * 3 / 4;
            body[middle].iter_mut().for_each(|byte| *byte ^= 0x5a);
            answer.body = body.into();
        }
        PackageFault::RangeIgnored => {
            // The whole archive is what the server answers with anyway.
            return exchange.headers.contains_key(RANGE);
        }
        PackageFault::ZipBomb => match super::bomb::archive() {
            Ok(archive) => answer.body = archive,
            Err(error) => return not_made(&error),
        },
        PackageFault::ParentEntry | PackageFault::AbsoluteEntry | PackageFault::LinkEntry => {
            match archives::hostile(is) {
                Ok(archive) => answer.body = archive,
                Err(error) => return not_made(&error),
            }
        }
    }
    true
}

fn not_made(error: &dyn std::error::Error) -> bool {
    tracing::warn!(
        error = crate::error::chain(error),
        "the archive of a fault cannot be made"
    );
    false
}
