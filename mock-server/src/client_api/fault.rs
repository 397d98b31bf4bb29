//! Why a call fails: a code that clients act on, and a message.

use crate::error::chain;
use crate::store::StoreError;

/// A call that failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// A missing, wrong or duplicate value, or nothing to do.
    Invalid(String),
    /// A wrong API key, or a user who may not do that.
    Denied,
    NotFound,
    Other(String),
    Store(StoreError),
}

impl Fault {
    pub(super) const fn code(&self) -> i64 {
        match self {
            Self::Other(_) | Self::Store(_) => -32000,
            Self::Invalid(_) => -32001,
            Self::Denied => -32002,
            Self::NotFound => -32003,
        }
    }

    pub(super) fn message(self) -> String {
        match self {
            Self::Invalid(message) | Self::Other(message) => message,
            Self::Denied => "Permission denied".into(),
            Self::NotFound => "Not found".into(),
            Self::Store(error) => {
                tracing::warn!(error = chain(&error), "client API request failed");
                "Internal error".into()
            }
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
