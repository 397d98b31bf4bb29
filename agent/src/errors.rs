//! How errors are told: in logs and to the server, in one line.

/// An error with all its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostError;

    #[test]
    fn causes_follow_and_are_not_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Same(#[from] HostError);
        let error = Same(HostError::new("read", "/x", std::io::Error::other("broken")));
        assert_eq!(with_causes(&error), "cannot read /x: broken");
    }
}
