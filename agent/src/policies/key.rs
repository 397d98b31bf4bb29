//! Keys of policies: `MODULE:path:key`.

use crate::host::Os;

/// A policy of the module `JSON`: a file and where in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JsonTarget {
    /// The file, absolute.
    pub(super) path: String,
    /// Names of members, from the outermost one.
    pub(super) members: Vec<String>,
}

/// A policy of the module `REGISTRY`: a key below the scope's root and a name in it. Or one of the module `DEFAULTS`: a
/// domain and a key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SettingTarget {
    /// The key, its parts separated by backslashes; or the domain, which may be the absolute path of a property list.
    pub(super) path: String,
    /// Name of the value, or of the registry's key with the values of a list or an object.
    pub(super) name: String,
}

/// What a key says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PolicyKey {
    /// For this computer.
    Json(JsonTarget),
    /// For the registry or the settings, whichever of them this system has.
    Setting(SettingTarget),
    /// For another system.
    OtherSystem,
}

/// A key that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("the module is unknown: expected JSON:/path/file.json:key\\path")]
    Module,
    #[error("the path of the file is not absolute")]
    RelativePath,
    #[error("the key is missing or has an empty part: expected JSON:/path/file.json:key\\path")]
    Members,
    #[error(r"the key of the registry is missing or has an empty part: expected REGISTRY:Software\Key:name")]
    RegistryPath,
    #[error("the domain or its key is missing or cannot be: expected DEFAULTS:com.example.program:key")]
    Domain,
}

impl PolicyKey {
    /// Takes a key of the scope `machine` apart.
    pub(super) fn parse(key: &str, os: Os) -> Result<Self, KeyError> {
        let (module, rest) = key.split_once(':').ok_or(KeyError::Module)?;
        match module {
            "JSON" => {}
            "REGISTRY" if os == Os::Windows => return registry(rest).map(Self::Setting),
            "DEFAULTS" if os == Os::MacOs => return defaults(rest).map(Self::Setting),
            "REGISTRY" | "DEFAULTS" => return Ok(Self::OtherSystem),
            _ => return Err(KeyError::Module),
        }
        let drive = os == Os::Windows && matches!(rest.as_bytes(), [b'A'..=b'Z' | b'a'..=b'z', b':', ..]);
        let skipped = if drive { 2 } else { 0 };
        let end = rest[skipped..].find(':').ok_or(KeyError::Members)? + skipped;
        let (path, members) = (&rest[..end], &rest[end + 1..]);
        let absolute = if os == Os::Windows {
            drive && path[skipped..].starts_with(['\\', '/'])
        } else {
            path.starts_with('/')
        };
        if !absolute || path.ends_with('/') || path.contains('\0') {
            return Err(KeyError::RelativePath);
        }
        let members: Vec<String> = members.split('\\').map(str::to_owned).collect();
        if members.iter().any(String::is_empty) {
            return Err(KeyError::Members);
        }
        Ok(Self::Json(JsonTarget {
            path: path.to_owned(),
            members,
        }))
    }
}

/// A name, or the path of a property list, and a key. Neither may look like an option to the system's tool, and no path may
/// lead up.
fn defaults(rest: &str) -> Result<SettingTarget, KeyError> {
    let (domain, key) = rest.split_once(':').ok_or(KeyError::Domain)?;
    let option = |text: &str| text.is_empty() || text.starts_with('-');
    let path = domain.strip_prefix('/');
    let parts = path.unwrap_or(domain).split('/');
    let wrong =
        path.is_none() && domain.contains('/') || { parts }.any(|part| matches!(part, "" | "." | ".."));
    if option(domain) || option(key) || wrong || rest.contains('\0') {
        return Err(KeyError::Domain);
    }
    Ok(SettingTarget {
        path: domain.to_owned(),
        name: key.to_owned(),
    })
}

fn registry(rest: &str) -> Result<SettingTarget, KeyError> {
    let (path, name) = rest.split_once(':').ok_or(KeyError::RegistryPath)?;
    if path.split('\\').any(str::is_empty) || rest.contains('\0') {
        return Err(KeyError::RegistryPath);
    }
    Ok(SettingTarget {
        path: path.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(key: &str, os: Os) -> (String, Vec<String>) {
        match PolicyKey::parse(key, os) {
            Ok(PolicyKey::Json(target)) => (target.path, target.members),
            other => panic!("{key}: {other:?}"),
        }
    }

    #[test]
    fn file_and_members_are_taken_apart() {
        let expected = |path: &str, members: &[&str]| {
            (
                path.to_owned(),
                members.iter().map(|&m| m.to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            json(r"JSON:/p/f.json:policies\Limits\Max", Os::Linux),
            expected("/p/f.json", &["policies", "Limits", "Max"])
        );
        assert_eq!(
            json("JSON:/p/f.json:https://example.org", Os::Linux),
            expected("/p/f.json", &["https://example.org"])
        );
        assert_eq!(
            json(r"JSON:C:\p\f.json:a\b", Os::Windows),
            expected(r"C:\p\f.json", &["a", "b"])
        );
    }

    #[test]
    fn keys_that_make_no_sense_are_refused() {
        for (key, error) in [
            ("JSON", KeyError::Module),
            ("XML:/p:a", KeyError::Module),
            ("JSON:/p/f.json", KeyError::Members),
            ("JSON:/p/f.json:", KeyError::Members),
            (r"JSON:/p/f.json:a\\b", KeyError::Members),
            ("JSON:p/f.json:a", KeyError::RelativePath),
            ("JSON:~/f.json:a", KeyError::RelativePath),
            ("JSON:/p/:a", KeyError::RelativePath),
        ] {
            assert_eq!(PolicyKey::parse(key, Os::Linux), Err(error), "{key}");
        }
        assert_eq!(
            PolicyKey::parse(r"REGISTRY:Software\X:L", Os::Linux),
            Ok(PolicyKey::OtherSystem)
        );
    }

    #[test]
    fn keys_of_the_registry_are_taken_apart_on_windows() {
        let target = SettingTarget {
            path: r"Software\Policies\X".into(),
            name: "a:b".into(),
        };
        let key = r"REGISTRY:Software\Policies\X:a:b";
        assert_eq!(PolicyKey::parse(key, Os::Windows), Ok(PolicyKey::Setting(target)));
        for wrong in [
            "REGISTRY:Software",
            "REGISTRY::n",
            r"REGISTRY:\Software:n",
            r"REGISTRY:a\\b:n",
        ] {
            assert_eq!(
                PolicyKey::parse(wrong, Os::Windows),
                Err(KeyError::RegistryPath),
                "{wrong}"
            );
        }
    }

    #[test]
    fn domains_are_taken_apart_on_macos() {
        let parse = |key: &str| PolicyKey::parse(key, Os::MacOs);
        for (domain, name) in [
            ("com.apple.loginwindow", "DisableFDEAutoLogin"),
            ("/Library/Preferences/com.google.Chrome", "Home:Page"),
            ("NSGlobalDomain", "AppleLocale"),
        ] {
            let target = SettingTarget {
                path: domain.into(),
                name: name.into(),
            };
            assert_eq!(
                parse(&format!("DEFAULTS:{domain}:{name}")),
                Ok(PolicyKey::Setting(target))
            );
        }
        for wrong in [
            "com.x",
            "com.x:",
            ":k",
            "-g:k",
            "d:-int",
            "a/b:k",
            "/:k",
            "/a//b:k",
            "/a/../b:k",
            "../a:k",
            "a\0:k",
        ] {
            assert_eq!(
                parse(&format!("DEFAULTS:{wrong}")),
                Err(KeyError::Domain),
                "{wrong}"
            );
        }
        assert_eq!(
            PolicyKey::parse("DEFAULTS:com.x:k", Os::Linux),
            Ok(PolicyKey::OtherSystem)
        );
    }

    proptest! {
        #[test]
        fn any_key_is_taken_apart_without_panic(key in "(JSON:|REGISTRY:|DEFAULTS:)?\\PC{0,60}") {
            for os in Os::ALL {
                let _ = PolicyKey::parse(&key, os);
            }
        }
    }
}
