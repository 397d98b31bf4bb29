//! The rules of the protocol that requests are checked against.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Real servers take it, but it is not what an agent should send.
    Warning,
    /// Against the protocol; refused in strict mode.
    Error,
}

/// One rule.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[schema(as = ConformanceRule)]
pub(crate) struct RuleText {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) text: &'static str,
}

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident $text:literal;)*) => {
        /// All rules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Rule { $($name),* }

        impl Rule {
            /// In the order of their definition, which is that of their numbers.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it says.
            pub(crate) const fn text(self) -> RuleText {
                match self {
                    $(Self::$name => RuleText { id: $id, severity: Severity::$severity, text: $text },)*
                }
            }
        }
    };
}

rules! {
    ContentType "http.content-type" Error "The content type is application/json, to the letter.";
    HeaderCase "http.header-case" Error "Names of x-oco headers are lower-case on the wire.";
    HttpMethod "http.method" Error "Methods are called by POST; downloads also by GET or PUT.";
    Encoding "http.encoding" Error "Request bodies are not compressed.";
    Json "envelope.json" Error "The body is a JSON-RPC 2.0 request with an id and a non-empty params object.";
    UnknownMethod "envelope.method" Error "The method is one of the protocol.";
    SignatureMissing "signature.missing" Error "Requests are signed once the computer has said hello as a signing agent.";
    SignatureForm "signature.form" Error "The signature is 64 lower-case hexadecimal digits.";
    SignatureWrong "signature.wrong" Error "The signature fits the body and the computer's key.";
    KeyWrong "key.wrong" Error "The key in a request of the keyed generation is that of the computer.";
    TimestampMissing "timestamp.missing" Error "Every signed request has a numeric timestamp.";
    TimestampDecimals "timestamp.decimals" Warning "Timestamps have at most 4 decimals.";
    TimestampNotNewer "timestamp.not-newer" Error "Timestamps of a computer only grow.";
    TimestampFuture "timestamp.future" Warning "Timestamps are not more than a day ahead: until then, later ones would be refused.";
    Missing "data.missing" Error "Required fields are there.";
    Type "data.type" Error "Values have the type of their field.";
    Range "data.range" Error "Numbers are within the range of their field.";
    Format "data.format" Error "Texts have the format of their field.";
    Date "data.date" Error "Dates are YYYY-MM-DD HH:MM:SS and exist.";
    Unknown "data.unknown" Warning "There are no fields but those of the protocol.";
    Size "data.size" Error "Texts and lists are not longer than servers take them.";
    SecretKey "secret.key" Error "Keys are in no request; of the keyed generation, only its own key in its place.";
    SecretPassword "secret.password" Error "Passwords are encrypted.";
    ComputerUnknown "order.hello-first" Error "A computer says hello before anything else.";
    UpdateNotAsked "update.not-asked" Error "Inventories are sent when the answer to the last hello asks for one.";
    UpdateRefused "update.too-often" Error "Inventories are not sent again right after a forced one.";
    DownloadNotOrdered "download.not-ordered" Error "Only packages that the last hello's jobs want are downloaded.";
    DownloadRefused "download.refused" Error "Only packages of active jobs are downloaded.";
    JobUnknown "job.unknown" Error "Reports are about jobs of this computer.";
    JobBackwards "job.backwards" Error "A job whose procedure has begun is not downloaded again.";
    JobReopened "job.reopened" Error "A job that has ended is not begun again.";
    JobEndedTwice "job.ended-twice" Error "A job that has ended does not end otherwise.";
    JobOutcome "job.outcome" Error "A return code comes with the end of a job and only then; -9999 is that of agent errors.";
    PasswordRefused "passwords.refused" Error "Passwords are encrypted with the computer's key.";
}

impl Rule {
    /// The rule of this id.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.text().id == id)
    }

    /// What a refusal of the server says about the request.
    pub(super) fn of_refusal(status: u16, text: &str) -> Option<Self> {
        Some(match (status, text) {
            (400, "Content type mismatch") => Self::ContentType,
            (400, "Invalid JSON data") => Self::Json,
            (400, "Unknown method") => Self::UnknownMethod,
            (401, "Signature header missing") => Self::SignatureMissing,
            (401, "Invalid agent signature") => Self::SignatureWrong,
            (401, "Agent key mismatch" | "Agent registration key mismatch") => Self::KeyWrong,
            (401, "Agent timestamp too old") => Self::TimestampNotNewer,
            (401, "Computer not found") => Self::ComputerUnknown,
            (400, "Update refused (too often or invalid data)") => Self::UpdateRefused,
            (400, "No active job for this package" | "Package not found") => Self::DownloadRefused,
            (400, "Invalid password data") => Self::PasswordRefused,
            (400 | 401, text) if text.contains(" job »") || text.starts_with("Job »") => Self::JobUnknown,
            _ => return None,
        })
    }

    /// What a refusal in the reason phrase, as servers of 2022 give them, says about a keyed request. That it does not know
    /// a method is how an agent finds out which of two names a server knows.
    pub(super) fn of_phrase(status: u16, phrase: &str) -> Option<Self> {
        Some(match (status, phrase) {
            (400, "Content Type Mismatch") => Self::ContentType,
            (400, "Payload Corrupt" | "Parameter Mismatch") => Self::Json,
            (400, "Update Not Necessary") => Self::UpdateNotAsked,
            (401, "No Active Job") | (404, "Not Found") => Self::DownloadRefused,
            (404, "Computer Not Found") => Self::ComputerUnknown,
            (403, "Forbidden") | (404, "Job Not Found") => Self::JobUnknown,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_numbers_are_positions() {
        for (index, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(*rule as usize, index);
            assert_eq!(Rule::from_id(rule.text().id), Some(*rule));
        }
    }
}
