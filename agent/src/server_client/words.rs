//! Refusals and clocks in words: what an administrator needs to know to mend them.

use crate::config::Protocol;
use oco_protocol::Timestamp;
use std::time::Duration;

/// How a server refuses a timestamp that is not newer than the last one it has accepted.
pub(super) const TOO_OLD: &str = "Agent timestamp too old";

/// Clocks that differ by less than this agree, as far as anyone needs to know.
const AGREEMENT: Duration = Duration::from_secs(60);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// What both sides' clocks say at the time of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// This computer's clock.
    pub(super) own: Timestamp,
    /// The server's, where its answer says.
    pub(super) server: Option<Timestamp>,
}

impl Clocks {
    /// The difference: `this computer's clock is 3 h behind the server's`.
    pub(super) fn difference(self) -> String {
        let Some(server) = self.server else {
            return "the server does not say what time it is there".to_owned();
        };
        let apart = Duration::from_micros(self.own.as_micros().abs_diff(server.as_micros()));
        if apart < AGREEMENT {
            return "this computer's clock agrees with the server's".to_owned();
        }
        let side = if self.own < server { "behind" } else { "ahead of" };
        format!("this computer's clock is {} {side} the server's", span(apart))
    }

    /// Whether they are further apart than `tolerance`.
    pub(super) fn differ_by(self, tolerance: Duration) -> bool {
        let apart = |server: Timestamp| self.own.as_micros().abs_diff(server.as_micros());
        self.server
            .is_some_and(|server| u128::from(apart(server)) > tolerance.as_micros())
    }
}

impl std::fmt::Display for Clocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "this computer's clock says {}; {}",
            moment(self.own),
            self.difference()
        )
    }
}

/// What to do about a timestamp that was refused: `stamp` is that of the request.
pub(super) fn too_old(stamp: Timestamp, clocks: Clocks) -> String {
    format!(
        " (the request was stamped {stamp}, {}, the latest this computer has sent; {clocks}. The server has accepted a \
         later one from this computer: set the clocks right, and if this computer's clock was ahead once and its state was \
         lost since, reset this computer on the server)",
        moment(stamp)
    )
}

/// What to do about any other refusal.
pub(super) fn hint(reason: &str, protocol: Protocol) -> &'static str {
    match (reason, protocol) {
        ("Signature header missing", Protocol::Signed) => {
            " (the server did not see the signature: PHP-FPM behind a proxy may change the letter case of header names)"
        }
        ("Signature header missing", Protocol::Keyed) => {
            " (to this server the computer is one of the signed generation: remove [server] protocol = keyed)"
        }
        ("Invalid agent signature", _) => {
            " ([agent] agent-key is not the one the server expects; if this computer is to register anew, let the server \
             forget it and set agent-key to the registration key)"
        }
        ("Agent key mismatch" | "Agent registration key mismatch" | "Client Not Authorized", _) => {
            " ([agent] agent-key is not the one the server expects; if this computer is to register anew, let the server \
             forget it and set agent-key to the registration key)"
        }
        ("Parameter Mismatch", Protocol::Signed) => {
            " (a server of 2022 or before, it seems, which only the keyed generation can talk to: [server] protocol = keyed. \
             It sends the agent key along: use it over https only)"
        }
        ("Client self-registration is disabled" | "Computer Not Found", _) => {
            " (create the computer on the server first)"
        }
        _ => "",
    }
}

/// What to do about TLS that fails.
pub(super) fn tls_hint(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError, Error};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            " (nobody whom this computer trusts has issued the server's certificate: set [server] ca-file to the PEM file of \
             its authority, or have the server send its intermediate certificates)"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => " (use a name in [server] api-url that the server's certificate is for)",
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => " (renew the server's certificate, or set this computer's clock, if that is wrong)",
        Error::InvalidMessage(_) => {
            " (what answers there does not speak TLS: check the port of [server] api-url, or use http:// if that is meant)"
        }
        _ => " (see what `oco-agent check` says of the server's certificate)",
    }
}

/// A moment as people write it, UTC.
pub(super) fn moment(timestamp: Timestamp) -> String {
    let seconds = i64::try_from(timestamp.as_micros() / 1_000_000).ok();
    let moment = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "no date".to_owned(), |moment| moment.to_string())
}

/// The value of a `Date` header.
pub(super) fn date(header: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(header)
        .ok()?;
    let micros = u64::try_from(parsed.as_microsecond()).ok()?;
    Some(Timestamp::from_micros(micros))
}

/// A span of time, rounded to one unit.
fn span(span: Duration) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_millis() >= 500);
    let rounded = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", rounded(MINUTE)),
        _ if seconds < 2 * DAY => format!("{} h", rounded(HOUR)),
        _ if seconds < 2 * YEAR => format!("{} days", rounded(DAY)),
        _ => format!("{} years", rounded(YEAR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        date(text).unwrap()
    }

    #[test]
    fn tls_that_fails_says_what_to_do() {
        use rustls::{CertificateError, Error, InvalidMessage};
        for (error, words) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "set [server] ca-file",
            ),
            (Error::InvalidCertificate(CertificateError::Expired), "clock"),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                "api-url",
            ),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "port"),
            (Error::DecryptError, "oco-agent check"),
        ] {
            let hint = tls_hint(&error);
            assert!(
                hint.contains(words) && hint.starts_with(" (") && hint.ends_with(')'),
                "{hint}"
            );
        }
    }

    #[test]
    fn differences_are_told_in_one_unit_and_with_their_side() {
        let noon = "Wed, 25 Nov 2026 12:00:00 GMT";
        for (own, words) in [
            (
                "Wed, 25 Nov 2026 09:00:01 GMT",
                "clock is 3 h behind the server's",
            ),
            (
                "Wed, 25 Nov 2026 12:05:00 GMT",
                "clock is 5 min ahead of the server's",
            ),
            (
                "Wed, 25 Nov 2026 12:01:30 GMT",
                "clock is 90 s ahead of the server's",
            ),
            (
                "Sat, 28 Nov 2026 12:00:00 GMT",
                "clock is 3 days ahead of the server's",
            ),
            (
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "clock is 57 years behind the server's",
            ),
            ("Wed, 25 Nov 2026 12:00:59 GMT", "clock agrees with the server's"),
        ] {
            let clocks = Clocks {
                own: at(own),
                server: Some(at(noon)),
            };
            assert!(
                clocks.difference().contains(words),
                "{own}: {}",
                clocks.difference()
            );
        }
        let unknown = Clocks {
            own: at(noon),
            server: None,
        };
        assert!(
            unknown
                .to_string()
                .starts_with("this computer's clock says 2026-11-25T12:00:00Z; ")
        );
        assert!(!unknown.differ_by(Duration::ZERO));
    }

    #[test]
    fn a_refused_timestamp_names_clock_stamp_and_difference() {
        let own = at("Wed, 25 Nov 2026 09:00:00 GMT");
        let clocks = Clocks {
            own,
            server: Some(at("Wed, 25 Nov 2026 12:00:00 GMT")),
        };
        let text = too_old(own, clocks);
        for part in [
            "stamped 1795597200, 2026-11-25T09:00:00Z",
            "clock says 2026-11-25T09:00:00Z",
            "3 h behind the server's",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_header_that_is_no_date_says_nothing() {
        for header in ["", "soon", "Wed, 99 Nov 2026 12:00:00 GMT"] {
            assert_eq!(date(header), None, "{header}");
        }
        assert_eq!(moment(Timestamp::from_micros(u64::MAX)), "no date");
    }
}
