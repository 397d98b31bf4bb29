//! Users of a directory, or of Entra ID on Windows: people whose accounts are not on the machine, but who log in there.

use super::hardware::Form;
use super::names::Person;
use super::profile::Release;
use super::{Draw, Profile, Topic};

/// A user of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryUser {
    /// Login name, without the domain.
    pub name: String,
    /// Full name.
    pub full_name: String,
    /// The directory's UUID of the user.
    pub uuid: String,
    /// User number.
    pub number: u32,
}

/// Longest name that a log of logins takes, bytes.
const LONGEST_NAME: usize = 32;

impl DirectoryUser {
    /// The security id that Windows makes of a user of Entra ID: the UUID as four numbers.
    pub fn entra_sid(&self) -> String {
        let digits = self.uuid.replace('-', "");
        let number = |from: usize, to: usize| {
            let part = digits.get(from..to).unwrap_or_default();
            u32::from_str_radix(part, 16).unwrap_or_default()
        };
        let parts = [
            number(0, 8),
            number(12, 16) << 16 | number(8, 12),
            number(16, 24).swap_bytes(),
            number(24, 32).swap_bytes(),
        ];
        format!("S-1-12-1-{}", parts.map(|part| part.to_string()).join("-"))
    }

    /// Folder of the profile on Windows.
    pub fn windows_home(&self) -> String {
        format!(r"C:\Users\{}", self.name)
    }
}

impl Profile {
    /// Those who have logged in here; none where the machine is in no directory.
    pub fn directory_users(&self) -> Vec<DirectoryUser> {
        let mut draw = Draw::new(self.machine, Topic::Directory, 0);
        let is_member = match self.release {
            Release::Linux(_) => self.domain.is_some() && self.model.form != Form::Board,
            Release::MacOs(_) => false,
            // Joined to Entra ID: for Windows, such a machine is in no domain.
            Release::Windows(release) => {
                self.domain.is_none() && release.major.is_some() && !release.is_server()
            }
        };
        if !is_member || !draw.permille(400) {
            return Vec::new();
        }
        let count = draw.between(1, 4);
        let users = (0..count).map(|number| {
            let person = Person::draw(self.language.locale, &mut draw);
            let mut uuid = [0; 16];
            draw.fill(&mut uuid);
            DirectoryUser {
                // Unlike any local name, and unlike each other's.
                name: format!("{}.{}", person.login(0), number + 1),
                full_name: person.full_name(),
                uuid: super::identity::format_uuid(uuid),
                number: 1_163_600_000 + draw.below(100_000),
            }
        });
        users.collect()
    }

    /// How a user of the directory is called when logging in: with the domain on some machines.
    pub fn directory_login(&self, user: &DirectoryUser) -> String {
        let Some(domain) = self.domain else {
            return user.name.clone();
        };
        let qualified = format!("{}@{domain}", user.name);
        let with_domain = Draw::new(self.machine, Topic::Directory, 1).permille(400);
        if with_domain && qualified.len() <= LONGEST_NAME {
            qualified
        } else {
            user.name.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Machine;
    use oco_agent::host::Os;

    #[test]
    fn the_security_id_of_a_user_of_entra_id_is_the_uuid() {
        let user = DirectoryUser {
            name: "ada.1".into(),
            full_name: "Ada".into(),
            uuid: "73d664e4-0886-4a73-b745-c694da45ddb4".into(),
            number: 0,
        };
        assert_eq!(
            user.entra_sid(),
            "S-1-12-1-1943430372-1249052806-2496021943-3034400218"
        );
    }

    #[test]
    fn some_clients_with_windows_are_joined_to_entra_id_and_their_users_have_profiles() {
        let profiles = (0..200).map(|index| {
            Profile::draw(Machine {
                seed: 1,
                index,
                os: Os::Windows,
            })
        });
        let joined: Vec<Profile> = profiles
            .filter(|profile| !profile.directory_users().is_empty())
            .collect();
        assert!((5..100).contains(&joined.len()), "{}", joined.len());
        for profile in &joined {
            assert_eq!(profile.domain, None);
            for user in profile.directory_users() {
                assert_eq!(profile.sid_of_home(&user.windows_home()), Some(user.entra_sid()));
                assert_eq!(profile.directory_login(&user), user.name);
            }
        }
    }
}
