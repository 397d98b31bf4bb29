//! A machine's profile: hardware, release and defects that fit together, drawn once for each host that is built.

use super::hardware::{ARM_MODELS, Form, MAC_MODELS, Model, PC_MODELS};
use super::traits::{Alias, Catalogue, Changes, Traits};
use super::{Draw, Machine, Topic, release};
use oco_agent::host::{Kernel, Os};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The operating system's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// A Linux distribution.
    Linux(&'static release::Linux),
    /// macOS.
    MacOs(&'static release::MacOs),
    /// Windows.
    Windows(&'static release::Windows),
}

/// Where the people at a machine are from.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// How common it is.
    pub weight: u32,
    /// As macOS writes it.
    pub locale: &'static str,
    /// As Windows writes it.
    pub lcid: &'static str,
}

/// What is wrong with a machine, or unusual about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent defects")]
pub struct Defects {
    /// No DMI tables: ARM boards, containers, some virtual machines.
    pub no_dmi: bool,
    /// What only root may read cannot be read.
    pub unprivileged: bool,
    /// WMI refuses to answer: its permissions are wrong, and will stay so.
    pub no_wmi: bool,
    /// No BitLocker, so no WMI namespace for it.
    pub no_bitlocker: bool,
    /// `bcdedit` fails; in images of virtual machines it is missing.
    pub no_bcdedit: bool,
    /// The user that the agent runs as has no locale (macOS).
    pub no_locale: bool,
    /// No `HostName` is set (macOS).
    pub no_host_name: bool,
    /// A local account's name is in a legacy encoding (Linux).
    pub legacy_encoding: bool,
}

/// What a machine is. Cheap to draw and to copy: strings are made when somebody asks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whose profile it is.
    pub machine: Machine,
    /// Hardware model.
    pub model: &'static Model,
    /// Processor.
    pub cpu: &'static str,
    /// Processors, each in a socket.
    pub sockets: u8,
    /// Memory that the system sees, bytes.
    pub ram: u64,
    /// Display adapter.
    pub gpu: Option<&'static str>,
    /// Operating system.
    pub release: Release,
    /// Language.
    pub language: &'static Language,
    /// DNS domain, also the directory's; none: a workgroup.
    pub domain: Option<&'static str>,
    /// Booted by UEFI.
    pub uefi: bool,
    /// Secure Boot; none: the firmware doesn't know it.
    pub secure_boot: Option<bool>,
    /// Windows is activated.
    pub activated: bool,
    /// The system volume is encrypted.
    pub encrypted: bool,
    /// Seconds between two restarts.
    restart_every: u64,
    /// Seconds by which restarts are shifted.
    restart_phase: u64,
    /// What is wrong with it.
    pub defects: Defects,
    /// The fleet's software; none: the built-in catalogue.
    pub(super) catalogue: Option<Arc<Catalogue>>,
    /// How fast its software changes; none: by itself.
    pub(super) changes: Option<Changes>,
    /// A name that is not its own.
    pub(super) alias: Option<Alias>,
}

static LANGUAGES: &[Language] = &[
    Language {
        weight: 40,
        locale: "de_DE",
        lcid: "0407",
    },
    Language {
        weight: 20,
        locale: "en_US",
        lcid: "0409",
    },
    Language {
        weight: 8,
        locale: "en_GB",
        lcid: "0809",
    },
    Language {
        weight: 8,
        locale: "fr_FR",
        lcid: "040c",
    },
    Language {
        weight: 5,
        locale: "it_IT",
        lcid: "0410",
    },
    Language {
        weight: 4,
        locale: "pt_BR",
        lcid: "0416",
    },
    Language {
        weight: 4,
        locale: "tr_TR",
        lcid: "041f",
    },
    Language {
        weight: 3,
        locale: "ja_JP",
        lcid: "0411",
    },
    Language {
        weight: 3,
        locale: "zh_CN",
        lcid: "0804",
    },
    Language {
        weight: 2,
        locale: "ar_SA",
        lcid: "0401",
    },
];

const DOMAINS: [Option<&str>; 4] = [
    Some("corp.example"),
    Some("ad.example.org"),
    Some("lan.example.net"),
    None,
];

const DAY: u64 = 24 * 3600;
const MIB: u64 = 1 << 20;

impl Profile {
    /// The profile of `machine` in a fleet that says nothing about its machines.
    pub fn draw(machine: Machine) -> Self {
        Self::of(machine, &Traits::default())
    }

    /// The profile of `machine` in a fleet with such machines.
    pub fn of(machine: Machine, traits: &Traits) -> Self {
        let mut draw = Draw::new(machine, Topic::Profile, 0);
        // A stream of its own: what a fleet says about its hardware leaves all else as it was.
        let form = Draw::new(machine, Topic::Profile, 1)
            .weighted(&traits.forms, |(_, weight)| *weight)
            .map(|(form, _)| *form);
        let (release, model) = match machine.os {
            Os::Linux => linux(form, &mut draw),
            Os::MacOs => macos(form, &mut draw),
            Os::Windows => windows(form, &mut draw),
        };
        let cpu = draw.pick_or(model.cpus, "");
        let sockets = 1 + u8::try_from(draw.below(u32::from(model.sockets))).unwrap_or(0);
        let ram = ram(
            machine.os,
            u64::from(draw.pick_or(model.ram_mib, 1024)) * MIB,
            &mut draw,
        );
        let gpu = (!model.gpus.is_empty()).then(|| draw.pick_or(model.gpus, ""));
        let language = draw
            .weighted(LANGUAGES, |language| language.weight)
            .unwrap_or(&LANGUAGES[0]);
        let uefi =
            model.form != Form::Board && draw.permille(if model.form == Form::Virtual { 400 } else { 900 });
        Self {
            machine,
            model,
            cpu,
            sockets,
            ram,
            gpu,
            release,
            language,
            domain: draw.pick(&DOMAINS),
            uefi,
            secure_boot: (uefi && draw.permille(950)).then(|| draw.permille(700)),
            activated: draw.permille(930),
            encrypted: draw.permille(if model.form == Form::Laptop { 700 } else { 150 }),
            restart_every: draw.between(DAY, 45 * DAY),
            restart_phase: draw.between(0, 45 * DAY),
            defects: defects(model, &release, &mut draw),
            catalogue: traits.catalogue.clone(),
            changes: traits.changes,
            alias: None,
        }
    }

    /// Seconds since 1970 on this machine's clock.
    pub(super) fn seconds(now: SystemTime) -> u64 {
        now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Time since the last restart; machines are restarted regularly, each in its own rhythm.
    pub fn uptime(&self, now: SystemTime) -> Duration {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = (since.as_secs() + self.restart_phase) % self.restart_every;
        Duration::new(seconds, since.subsec_nanos())
    }

    /// What `uname` says.
    pub fn kernel(&self) -> Kernel {
        let machine = self.architecture().to_owned();
        let release = match self.release {
            Release::Linux(linux) if linux.kernel_has_arch => {
                let architecture = match (linux.id, self.is_arm()) {
                    ("debian", true) => "arm64",
                    ("debian", false) => "amd64",
                    (_, true) => "aarch64",
                    (_, false) => "x86_64",
                };
                format!("{}{architecture}", linux.kernel)
            }
            Release::Linux(linux) => linux.kernel.to_owned(),
            Release::MacOs(macos) => macos.kernel.to_owned(),
            Release::Windows(windows) => windows.version(),
        };
        Kernel { release, machine }
    }

    /// The machine's architecture as its system spells it.
    pub fn architecture(&self) -> &'static str {
        match (self.machine.os, self.is_arm()) {
            (Os::Linux, true) => "aarch64",
            (Os::MacOs, true) => "arm64",
            (Os::Linux | Os::MacOs, false) => "x86_64",
            (Os::Windows, _) => "AMD64",
        }
    }

    /// Whether its processor is an ARM.
    pub fn is_arm(&self) -> bool {
        ["Cortex", "Neoverse", "Apple"]
            .iter()
            .any(|maker| self.cpu.starts_with(maker))
    }
}

/// A model of that form, or of whichever; the first one where there is none.
fn model(models: &'static [Model], form: Option<Form>, draw: &mut Draw) -> &'static Model {
    let weight = |model: &Model| match form {
        Some(form) if model.form != form => 0,
        _ => model.weight,
    };
    draw.weighted(models, weight).unwrap_or(&PC_MODELS[0])
}

fn linux(form: Option<Form>, draw: &mut Draw) -> (Release, &'static Model) {
    let arm = draw.permille(80);
    let models = match form {
        Some(Form::Board) => ARM_MODELS,
        Some(Form::Laptop | Form::Desktop | Form::Server) => PC_MODELS,
        Some(Form::Virtual) | None if arm => ARM_MODELS,
        Some(Form::Virtual) | None => PC_MODELS,
    };
    let release = draw
        .weighted(release::LINUX, |release| release.weight)
        .unwrap_or(&release::LINUX[0]);
    (Release::Linux(release), model(models, form, draw))
}

fn macos(form: Option<Form>, draw: &mut Draw) -> (Release, &'static Model) {
    let model = model(MAC_MODELS, form, draw);
    // No Mac runs a system that is older than itself.
    let oldest = match model.name {
        "Mac15,6" => 3,
        "Mac14,7" => 1,
        _ => 0,
    };
    let releases = &release::MACOS[oldest..];
    (
        Release::MacOs(
            draw.weighted(releases, |release| release.weight)
                .unwrap_or(&release::MACOS[0]),
        ),
        model,
    )
}

fn windows(form: Option<Form>, draw: &mut Draw) -> (Release, &'static Model) {
    let fits = |release: &release::Windows| match form {
        Some(Form::Laptop | Form::Desktop) => !release.is_server(),
        Some(Form::Server) => release.is_server(),
        Some(Form::Virtual | Form::Board) | None => true,
    };
    let weight = |release: &release::Windows| if fits(release) { release.weight } else { 0 };
    let release = draw
        .weighted(release::WINDOWS, weight)
        .unwrap_or(&release::WINDOWS[0]);
    let weight = |model: &Model| match (release.is_server(), model.form) {
        _ if form.is_some_and(|form| form != model.form) => 0,
        (true, Form::Laptop | Form::Desktop) => 0,
        (false, Form::Server) => 0,
        (false, Form::Virtual) => model.weight / 3,
        _ => model.weight,
    };
    (
        Release::Windows(release),
        draw.weighted(PC_MODELS, weight).unwrap_or(&PC_MODELS[0]),
    )
}

/// The memory that a system sees of what is built in: firmware and graphics take their part, but not on a Mac.
fn ram(os: Os, built_in: u64, draw: &mut Draw) -> u64 {
    let reserved = draw.between(30 * 256, 600 * 256) * 4096;
    match os {
        Os::MacOs => built_in,
        Os::Linux | Os::Windows => built_in - reserved.min(built_in / 4),
    }
}

fn defects(model: &Model, release: &Release, draw: &mut Draw) -> Defects {
    let no_bitlocker = draw.permille(50);
    let has_no_bitlocker = match release {
        Release::Windows(windows) => windows.is_server() || windows.edition == "Core",
        _ => false,
    };
    Defects {
        no_dmi: draw.permille(30) || model.form == Form::Board,
        unprivileged: draw.permille(20),
        no_wmi: draw.permille(10),
        no_bitlocker: no_bitlocker || has_no_bitlocker,
        no_bcdedit: draw.permille(30),
        no_host_name: draw.permille(400),
        legacy_encoding: draw.permille(20),
        no_locale: draw.permille(150),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn profile(os: Os, index: u64) -> Profile {
        Profile::draw(Machine { seed: 42, index, os })
    }

    #[test]
    fn uuids_and_host_names_are_unique_by_index() {
        for os in Os::ALL {
            let uuids: BTreeSet<String> = (0..5000).map(|index| profile(os, index).uuid()).collect();
            assert_eq!(uuids.len(), 5000);
            let names: BTreeSet<String> = (0..5000)
                .map(|index| profile(os, index).hostname().to_lowercase())
                .collect();
            assert_eq!(names.len(), 5000, "{os}");
        }
    }

    #[test]
    fn every_model_and_release_occurs_in_a_fleet() {
        let profiles = || {
            Os::ALL
                .into_iter()
                .flat_map(|os| (0..3000).map(move |index| profile(os, index)))
        };
        let models: BTreeSet<&str> = profiles().map(|profile| profile.model.name).collect();
        for model in PC_MODELS.iter().chain(ARM_MODELS).chain(MAC_MODELS) {
            assert!(models.contains(model.name), "{}", model.name);
        }
        let releases: BTreeSet<String> = profiles()
            .map(|profile| format!("{:?}", profile.release))
            .collect();
        assert_eq!(
            releases.len(),
            release::LINUX.len() + release::MACOS.len() + release::WINDOWS.len()
        );
    }

    #[test]
    fn uptime_grows_with_the_clock_until_the_next_restart() {
        let profile = profile(Os::Linux, 3);
        let at = |seconds| profile.uptime(UNIX_EPOCH + Duration::from_secs(seconds));
        let boot = 1_800_000_000 - at(1_800_000_000).as_secs();
        assert_eq!(at(boot), Duration::ZERO);
        assert_eq!(at(boot + 3600), Duration::from_secs(3600));
    }

    #[test]
    fn servers_run_windows_server_and_laptops_do_not() {
        for index in 0..500 {
            let profile = profile(Os::Windows, index);
            let Release::Windows(release) = profile.release else {
                panic!("{profile:?}")
            };
            assert!(
                !(release.is_server() && profile.model.form == Form::Laptop),
                "{profile:?}"
            );
            assert!(
                release.is_server() || profile.model.form != Form::Server,
                "{profile:?}"
            );
        }
    }
}
