//! URLs as they may be shown: without what is only meant for the server.

use reqwest::Url;

/// The URL without user, password, query and fragment.
pub(crate) fn redacted(url: &Url) -> Url {
    let mut url = url.clone();
    // URLs with a host take both calls; others have neither.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// The same for a text that was meant to be a URL.
pub(crate) fn redacted_text(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let Some((before, host)) = text.rsplit_once('@') else {
        return text.to_owned();
    };
    let scheme = before.split_once("://").map(|(scheme, _)| scheme);
    scheme.map_or_else(|| host.to_owned(), |scheme| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_queries_are_not_shown() {
        let url = "https://user:secret@oco.example:8443/api?key=secret#secret";
        assert_eq!(
            redacted(&url.parse().unwrap()).as_str(),
            "https://oco.example:8443/api"
        );
        assert_eq!(redacted_text(url), "https://oco.example:8443/api");
        assert_eq!(redacted_text("user:secret@host"), "host");
        assert_eq!(redacted_text("ftp://host"), "ftp://host");
    }
}
