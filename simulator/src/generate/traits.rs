//! What all machines of one system in a fleet have in common beyond what their system is found with: the hardware and
//! software that a scenario wants, and how fast they change.

use super::hardware::Form;
use super::profile::Profile;
use super::{Draw, Topic};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Streams of draws for programs of a catalogue's own: far from those of the built-in entries.
const OWN_STREAMS: u64 = 1 << 32;

/// Of one system. The default is what that system is found with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// Kinds of machines with their weights; none: as common as they are.
    pub forms: Vec<(Form, u32)>,
    /// Software; none: the built-in catalogue.
    pub catalogue: Option<Arc<Catalogue>>,
    /// How fast software changes; none: by itself.
    pub changes: Option<Changes>,
}

/// Software of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// How common the built-in entries are, in thousandths of what they are by themselves.
    pub popularity: u32,
    /// Programs beside those.
    pub own: Vec<Program>,
}

/// A program that the built-in catalogue does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name.
    pub name: String,
    /// Version before any update.
    pub version: String,
    /// Who makes it.
    pub publisher: String,
    /// On how many of a million machines it is.
    pub share: u32,
}

/// How fast software changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// From this time of the machine on.
    pub from: SystemTime,
    /// In each such time
    pub interval: Duration,
    /// so many of a million items get a new version.
    pub share: u32,
}

impl Changes {
    /// Milliseconds since the beginning, and between two updates of a machine with that many items.
    pub(super) fn pace(self, items: u64, now: SystemTime) -> (u64, u64) {
        let since = now.duration_since(self.from).unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let each = millis(self.interval).saturating_mul(1_000_000) / (u64::from(self.share) * items).max(1);
        (millis(since), each.max(1))
    }
}

/// A name that is not the machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// Somebody has renamed it.
    Renamed,
    /// It is a copy of another machine, made as this agent.
    Copy(u64),
}

impl Profile {
    /// The machine under another name.
    #[must_use]
    pub fn with_alias(mut self, alias: Alias) -> Self {
        self.alias = Some(alias);
        self
    }

    /// How common an entry of the built-in catalogue is in this fleet, in thousandths. What every machine has stays.
    pub(super) fn popularity(&self, share: u32) -> u32 {
        match &self.catalogue {
            Some(catalogue) if share < 1000 => (share * catalogue.popularity / 1000).min(1000),
            _ => share,
        }
    }

    /// So many things, as many more or fewer as entries of the built-in catalogue are more or less common.
    pub(super) fn popularity_of(&self, count: u64) -> u64 {
        self.catalogue
            .as_ref()
            .map_or(count, |catalogue| count * u64::from(catalogue.popularity) / 1000)
    }

    /// The programs of the fleet's own catalogue that are on this machine, with their places in it.
    pub(super) fn own_programs(&self) -> impl Iterator<Item = (u64, &Program)> {
        let own = self.catalogue.iter().flat_map(|catalogue| &catalogue.own);
        (0..).zip(own).filter(|(place, program)| {
            let mut draw = Draw::new(self.machine, Topic::Software, OWN_STREAMS + place);
            draw.below(1_000_000) < program.share
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::software::debian;
    use crate::generate::{Machine, macos, windows};
    use oco_agent::host::Os;
    use std::collections::BTreeMap;
    use std::time::UNIX_EPOCH;

    const NOW: SystemTime = UNIX_EPOCH;

    fn profile(os: Os, index: u64, traits: &Traits) -> Profile {
        Profile::of(Machine { seed: 3, index, os }, traits)
    }

    fn own(popularity: u32) -> Traits {
        let program = |name: &str, share| Program {
            name: name.into(),
            version: "1.5".into(),
            publisher: "Example".into(),
            share,
        };
        Traits {
            catalogue: Some(Arc::new(Catalogue {
                popularity,
                own: vec![program("Everywhere Tool", 1_000_000), program("Nowhere", 0)],
            })),
            ..Traits::default()
        }
    }

    #[test]
    fn machines_are_of_the_kinds_that_a_fleet_wants() {
        for (os, form) in [
            (Os::Linux, Form::Board),
            (Os::Linux, Form::Laptop),
            (Os::MacOs, Form::Desktop),
            (Os::Windows, Form::Server),
            (Os::Windows, Form::Virtual),
        ] {
            let traits = Traits {
                forms: vec![(form, 1)],
                ..Traits::default()
            };
            assert!(
                (0..100).all(|index| profile(os, index, &traits).model.form == form),
                "{os} {form:?}"
            );
        }
    }

    #[test]
    fn what_a_fleet_says_nothing_about_is_as_it_was() {
        for os in Os::ALL {
            let machine = Machine {
                seed: 3,
                index: 5,
                os,
            };
            assert_eq!(Profile::of(machine, &Traits::default()), Profile::draw(machine));
        }
    }

    fn packages(profile: &Profile, now: SystemTime) -> BTreeMap<String, String> {
        let mut packages = BTreeMap::new();
        debian::each_package(profile, "+deb12u", now, |package| {
            packages.insert(package.name.to_owned(), package.version.to_owned());
        });
        packages
    }

    #[test]
    fn own_programs_are_where_they_belong_and_the_others_as_common_as_wanted() {
        let linux = profile(Os::Linux, 1, &own(1000));
        let usual = packages(&linux, NOW);
        assert_eq!(usual.get("everywhere-tool").map(String::as_str), Some("1.5"));
        assert!(!usual.contains_key("nowhere"));
        let few = packages(&profile(Os::Linux, 1, &own(100)), NOW);
        assert!(
            few.len() < usual.len() && few.contains_key("everywhere-tool"),
            "{}",
            few.len()
        );
        let mac = profile(Os::MacOs, 1, &own(1000));
        let applications = macos::list_folder(&mac, "/Applications", NOW).unwrap();
        assert!(
            applications.contains(&"Everywhere Tool.app".to_owned()),
            "{applications:?}"
        );
        let path = "/Applications/Everywhere Tool.app/Contents/Info.plist";
        assert!(macos::read_file(&mac, path, NOW).is_ok());
        let pc = profile(Os::Windows, 1, &own(1000));
        let uninstall =
            oco_agent::host::RegistryKey::machine(r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall");
        let keys = windows::registry_subkeys(&pc, &uninstall).unwrap();
        assert!(keys.contains(&"Everywhere Tool".to_owned()), "{keys:?}");
        assert!(windows::registry_values(&pc, &uninstall.subkey("Everywhere Tool"), NOW).is_ok());
    }

    #[test]
    fn the_wanted_share_of_software_changes_in_each_interval() {
        let interval = Duration::from_secs(60);
        let traits = Traits {
            changes: Some(Changes {
                from: NOW,
                interval,
                share: 50_000,
            }),
            ..Traits::default()
        };
        let profile = profile(Os::Linux, 2, &traits);
        let before = packages(&profile, NOW + interval * 3);
        let after = packages(&profile, NOW + interval * 4);
        let changed = before
            .iter()
            .filter(|(name, version)| after.get(*name) != Some(version))
            .count();
        let share = changed as f64 / before.len() as f64;
        assert!((0.03..0.07).contains(&share), "{share}");
    }

    #[test]
    fn a_copy_has_all_of_the_other_machine_but_the_name() {
        let original = profile(Os::Windows, 7, &Traits::default());
        let copy = original.clone().with_alias(Alias::Copy(9));
        assert_eq!(copy.uuid(), original.uuid());
        assert_ne!(copy.hostname(), original.hostname());
        assert_ne!(
            original.clone().with_alias(Alias::Renamed).hostname(),
            original.hostname()
        );
    }
}
