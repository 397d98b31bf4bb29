//! Host names, and names of people in the languages that a fleet speaks.

use super::hardware::Form;
use super::traits::Alias;
use super::{Draw, Profile, Topic};
use fake::Fake;
use fake::faker::name::raw::{FirstName, LastName};
use fake::locales::{AR_SA, DE_DE, EN, FR_FR, IT_IT, JA_JP, PT_BR, TR_TR, ZH_CN};
use oco_agent::host::Os;

const SITES: [&str; 8] = ["ber", "muc", "ham", "par", "lon", "nyc", "tyo", "ist"];
const ROLES: [&str; 8] = ["web", "db", "app", "mail", "file", "build", "proxy", "node"];

impl Profile {
    /// The kernel's host name, with its domain on some Linux servers and always on Macs. It holds the index, so it is
    /// unique in a fleet, and it fits the 15 characters that Windows allows.
    pub fn hostname(&self) -> String {
        let mut draw = Draw::new(self.machine, Topic::Name, 0);
        let index = self.machine.index;
        match self.alias {
            Some(Alias::Renamed) => return format!("renamed-{index}"),
            Some(Alias::Copy(number)) => return format!("copy-{number}"),
            None => {}
        }
        let (site, role) = (draw.pick(&SITES), draw.pick(&ROLES));
        match (self.machine.os, self.model.form) {
            (Os::Linux, Form::Server | Form::Virtual) => match self.domain {
                Some(domain) if draw.permille(500) => format!("{role}{index}.{site}.{domain}"),
                _ => format!("{role}{index}"),
            },
            (Os::Linux, Form::Board) => format!("raspberrypi-{index}"),
            (Os::Linux, _) => format!("{site}-lx{index}"),
            (Os::MacOs, form) => {
                let owner: &str = FirstName(EN).fake_with_rng(draw.rng());
                let kind = if form == Form::Laptop { "MacBook" } else { "Mac" };
                format!("{owner}s-{kind}-{index}.local")
            }
            (Os::Windows, Form::Server) => format!("SRV-{}{index}", role.to_uppercase()),
            (Os::Windows, Form::Virtual) => format!("VM-{}{index}", role.to_uppercase()),
            (Os::Windows, _) if draw.permille(400) => windows_setup_name(index, self.machine.seed),
            (Os::Windows, form) => {
                let kind = if form == Form::Laptop { "NB" } else { "PC" };
                format!("{}-{kind}{index}", site.to_uppercase())
            }
        }
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// First name, in its own script.
    pub first: String,
    /// Last name, in its own script.
    pub last: String,
}

impl Person {
    /// A person who speaks the language of `locale`.
    pub fn draw(locale: &str, draw: &mut Draw) -> Self {
        let rng = draw.rng();
        let (first, last): (&str, &str) = match locale {
            "de_DE" => (
                FirstName(DE_DE).fake_with_rng(rng),
                LastName(DE_DE).fake_with_rng(rng),
            ),
            "fr_FR" => (
                FirstName(FR_FR).fake_with_rng(rng),
                LastName(FR_FR).fake_with_rng(rng),
            ),
            "it_IT" => (
                FirstName(IT_IT).fake_with_rng(rng),
                LastName(IT_IT).fake_with_rng(rng),
            ),
            "pt_BR" => (
                FirstName(PT_BR).fake_with_rng(rng),
                LastName(PT_BR).fake_with_rng(rng),
            ),
            "tr_TR" => (
                FirstName(TR_TR).fake_with_rng(rng),
                LastName(TR_TR).fake_with_rng(rng),
            ),
            "ja_JP" => (
                FirstName(JA_JP).fake_with_rng(rng),
                LastName(JA_JP).fake_with_rng(rng),
            ),
            "zh_CN" => (
                FirstName(ZH_CN).fake_with_rng(rng),
                LastName(ZH_CN).fake_with_rng(rng),
            ),
            "ar_SA" => (
                FirstName(AR_SA).fake_with_rng(rng),
                LastName(AR_SA).fake_with_rng(rng),
            ),
            _ => (FirstName(EN).fake_with_rng(rng), LastName(EN).fake_with_rng(rng)),
        };
        // Signs that separate fields in passwd.
        let plain = |name: &str| name.replace([':', ','], " ").trim().to_owned();
        Self {
            first: plain(first),
            last: plain(last),
        }
    }

    /// First and last name.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first, self.last)
    }

    /// A login name that every system accepts, ASCII only; people whose script has no letters of it get a number.
    pub fn login(&self, number: usize) -> String {
        let (first, last) = (ascii(&self.first), ascii(&self.last));
        match (first.chars().next(), last.is_empty()) {
            (Some(initial), false) => format!("{initial}{last}"),
            (Some(_), true) => first,
            (None, false) => last,
            (None, true) => format!("user{number}"),
        }
    }
}

/// The name that Windows' own setup gives: `DESKTOP-` and seven letters and digits.
fn windows_setup_name(index: u64, seed: u64) -> String {
    const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const NAMES: u64 = 36u64.pow(7);
    // The factor shares no divisor with the number of names, so each index has its own.
    let mut rest = (index % NAMES)
        .wrapping_mul(48_271_385_317)
        .wrapping_add(seed % NAMES)
        % NAMES;
    let mut name = String::from("DESKTOP-");
    for _ in 0..7 {
        name.push(char::from(ALPHABET[usize::try_from(rest % 36).unwrap_or(0)]));
        rest /= 36;
    }
    name
}

fn ascii(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => text.push(c),
            'ä' | 'æ' => text.push_str("ae"),
            'ö' => text.push_str("oe"),
            'ü' => text.push_str("ue"),
            'ß' => text.push_str("ss"),
            'à' | 'á' | 'â' | 'ã' => text.push('a'),
            'ç' => text.push('c'),
            'è' | 'é' | 'ê' | 'ë' => text.push('e'),
            'ı' | 'ì' | 'í' | 'î' | 'ï' => text.push('i'),
            'ğ' => text.push('g'),
            'ş' => text.push('s'),
            'ò' | 'ó' | 'ô' | 'õ' => text.push('o'),
            'ù' | 'ú' | 'û' => text.push('u'),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Machine;

    #[test]
    fn logins_are_made_of_ascii_letters_and_digits() {
        for locale in ["de_DE", "fr_FR", "tr_TR", "ja_JP", "zh_CN", "ar_SA", "en_US"] {
            let mut draw = Draw::new(
                Machine {
                    seed: 1,
                    index: 1,
                    os: Os::Linux,
                },
                Topic::User,
                0,
            );
            for number in 0..50 {
                let login = Person::draw(locale, &mut draw).login(number);
                assert!(
                    !login.is_empty()
                        && login
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                    "{login:?}"
                );
            }
        }
        let person = Person {
            first: "Jürgen".into(),
            last: "Groß".into(),
        };
        assert_eq!(person.login(1), "jgross");
    }

    #[test]
    fn setup_names_of_windows_never_repeat() {
        let names: std::collections::BTreeSet<_> =
            (0..20_000).map(|index| windows_setup_name(index, 9)).collect();
        assert_eq!(names.len(), 20_000);
        assert!(names.iter().all(|name| name.len() == 15));
    }
}
