//! Users of a directory: people whose accounts are not on the machine, but who log in there.

use super::hardware::Form;
use super::names::Person;
use super::{Draw, Profile, Topic};
use oco_agent::host::Os;

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

impl Profile {
    /// Those who have logged in here; none where the machine is in no directory.
    pub fn directory_users(&self) -> Vec<DirectoryUser> {
        let mut draw = Draw::new(self.machine, Topic::Directory, 0);
        let is_member =
            self.machine.os == Os::Linux && self.domain.is_some() && self.model.form != Form::Board;
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
        let domain = self.domain.unwrap_or_default();
        let qualified = format!("{}@{domain}", user.name);
        let with_domain = Draw::new(self.machine, Topic::Directory, 1).permille(400);
        if with_domain && qualified.len() <= LONGEST_NAME {
            qualified
        } else {
            user.name.clone()
        }
    }
}
