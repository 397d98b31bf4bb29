//! Local accounts: those of the system, those of people, disabled and left-over ones.

use super::hardware::Form;
use super::names::Person;
use super::{Draw, Profile, Topic};
use oco_agent::host::Os;
use std::time::SystemTime;

/// A person's account on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Full name; empty on some.
    pub full_name: String,
    /// User number: the uid, or the last part of a SID.
    pub number: u32,
    /// Home folder; on Windows none before the first login.
    pub home: Option<String>,
    /// Login shell.
    pub shell: &'static str,
    /// Logging in is disabled.
    pub disabled: bool,
    /// UUID of the account.
    pub uuid: String,
}

impl Profile {
    /// The accounts of people, by number.
    pub fn accounts(&self) -> Vec<Account> {
        let mut draw = Draw::new(self.machine, Topic::User, 0);
        let count = match self.model.form {
            Form::Laptop => draw.between(1, 3),
            Form::Desktop => draw.between(1, 5),
            Form::Server | Form::Virtual => draw.between(0, 4),
            Form::Board => 1,
        };
        let mut accounts: Vec<Account> = Vec::with_capacity(5);
        for number in 0..usize::try_from(count).unwrap_or(0) {
            let account = self.account(number, &accounts, &mut draw);
            accounts.push(account);
        }
        accounts
    }

    /// Whether there is a local account of that name.
    pub fn has_account(&self, name: &str) -> bool {
        let administrator = match self.machine.os {
            Os::Linux | Os::MacOs => "root",
            Os::Windows => "Administrator",
        };
        name == administrator || self.accounts().iter().any(|account| account.name == name)
    }

    /// The part of Windows' SIDs that is the machine's own.
    pub fn machine_sid(&self) -> String {
        let mut draw = Draw::new(self.machine, Topic::User, 1);
        let mut part = || draw.between(100_000_000, 4_000_000_000);
        format!("S-1-5-21-{}-{}-{}", part(), part(), part())
    }

    /// The directory's UUID that Windows keeps with a profile; those of local accounts have none.
    pub fn profile_guid(&self, account: &Account) -> Option<String> {
        let known = self.domain.is_some() && account.home.is_some() && account.number.is_multiple_of(2);
        known.then(|| account.uuid.clone())
    }

    /// The security id of whom a profile's folder belongs to.
    pub fn sid_of_home(&self, folder: &str) -> Option<String> {
        let is_his = |account: &Account| {
            account
                .home
                .as_ref()
                .is_some_and(|home| home.eq_ignore_ascii_case(folder))
        };
        if let Some(account) = self.accounts().into_iter().find(is_his) {
            return Some(format!("{}-{}", self.machine_sid(), account.number));
        }
        let users = self.directory_users().into_iter();
        let mut his = users.filter(|user| user.windows_home().eq_ignore_ascii_case(folder));
        his.next().map(|user| user.entra_sid())
    }

    /// Whether the registry of that security id is loaded: that of a service, or of somebody who is logged in.
    pub fn has_loaded_hive(&self, sid: &str, now: SystemTime) -> bool {
        let of_services = ["S-1-5-18", "S-1-5-19", "S-1-5-20"];
        if of_services
            .iter()
            .any(|service| service.eq_ignore_ascii_case(sid))
        {
            return true;
        }
        let machine = self.machine_sid();
        let present = self.present_users(now);
        let accounts = self
            .accounts()
            .into_iter()
            .filter(|account| present.contains(&account.name));
        let directory = self
            .directory_users()
            .into_iter()
            .filter(|user| present.contains(&user.name));
        accounts
            .map(|account| format!("{machine}-{}", account.number))
            .chain(directory.map(|user| user.entra_sid()))
            .any(|present| present.eq_ignore_ascii_case(sid))
    }

    fn account(&self, number: usize, others: &[Account], draw: &mut Draw) -> Account {
        let person = Person::draw(self.language.locale, draw);
        let mut name = if self.machine.os == Os::Windows && draw.permille(150) {
            // Windows takes any letters.
            format!("{}.{}", person.first, person.last)
        } else {
            person.login(number)
        };
        if others.iter().any(|other| other.name == name) {
            name.push_str(&(number + 1).to_string());
        }
        let mut uuid = [0; 16];
        draw.fill(&mut uuid);
        let offset = u32::try_from(number).unwrap_or(0);
        Account {
            full_name: if draw.permille(100) {
                String::new()
            } else {
                person.full_name()
            },
            number: offset
                + match self.machine.os {
                    Os::Linux => 1000,
                    // Accounts of a directory have numbers of their own.
                    Os::MacOs if draw.permille(300) => 1001,
                    Os::MacOs => 501,
                    Os::Windows => 1001,
                },
            home: match self.machine.os {
                Os::Linux => Some(format!("/home/{name}")),
                Os::MacOs => Some(format!("/Users/{name}")),
                Os::Windows => draw.permille(800).then(|| format!(r"C:\Users\{name}")),
            },
            shell: match self.machine.os {
                Os::Linux => draw.pick(&["/bin/bash", "/bin/bash", "/bin/bash", "/usr/bin/zsh", "/bin/sh"]),
                Os::MacOs => draw.pick(&["/bin/zsh", "/bin/zsh", "/bin/bash"]),
                Os::Windows => "",
            },
            disabled: draw.permille(100),
            uuid: super::identity::format_uuid(uuid),
            name,
        }
    }
}
