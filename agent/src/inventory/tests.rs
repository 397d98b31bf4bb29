//! Complete inventories: of the recorded machines in `fixtures/`, and of the machine that runs the tests.

use super::*;
use crate::host::recorded::{RecordedCommand, RecordedHost, Recording};
use crate::host::system::{self, SystemHost};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// `expected.json` of a recorded machine.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Expected {
    uid: String,
    inventory: Value,
}

fn options(os: Os) -> Options {
    Options {
        agent_version: "2.0.0".to_owned(),
        local_users: if os == Os::MacOs {
            500..=65534
        } else {
            1000..=65534
        },
        logins_since: Some("2026-11-21 00:00:00".to_owned()),
        ..Options::default()
    }
}

fn recorded_machines(os: Os) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(os.as_str());
    let mut machines: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    machines.sort();
    machines
}

fn recorded_machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn collected(folder: &Path) -> Expected {
    let host = RecordedHost::load(folder).unwrap();
    let options = options(host.os());
    let inventory = collect(&host, &options);
    let identity = identity(&host, &options).unwrap();
    assert_eq!(inventory.hostname.as_ref(), Some(&identity.hostname));
    Expected {
        uid: identity.uid,
        inventory: serde_json::to_value(inventory).unwrap(),
    }
}

/// Set `OCO_UPDATE_FIXTURES` to write what is collected, and read the difference before it is committed.
fn check(os: Os, at_least: usize) {
    let machines = recorded_machines(os);
    assert!(
        machines.len() >= at_least,
        "recorded machines are missing: {machines:?}"
    );
    for folder in machines {
        let (path, collected) = (folder.join("expected.json"), collected(&folder));
        let json = serde_json::to_string_pretty(&collected).unwrap();
        if std::env::var_os("OCO_UPDATE_FIXTURES").is_some() {
            fs::write(&path, json.clone() + "\n").unwrap();
        }
        let expected: Expected = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(
            collected == expected,
            "{} is expected, collected was {json}",
            path.display()
        );
    }
}

#[test]
#[cfg_attr(
    windows,
    ignore = "a name has a backslash in it, which separates the parts of a path there"
)]
fn recorded_linux_machines_have_the_expected_inventories() {
    check(Os::Linux, 9);
}

#[test]
fn recorded_macs_have_the_expected_inventories() {
    check(Os::MacOs, 2);
}

#[test]
fn recorded_windows_machines_have_the_expected_inventories() {
    check(Os::Windows, 3);
}

/// What stands in the way of a file's reader.
enum Fault {
    /// It never comes back, until the test is over.
    Hangs(Mutex<Receiver<()>>),
    /// The collector has a defect.
    Panics,
}

/// The recorded laptop, with one file that cannot be read in an orderly way; and what ends a wait for it.
fn laptop_with(path: &str, hangs: bool) -> (Arc<dyn Host>, Sender<()>) {
    let (end, ended) = channel();
    let fault = if hangs {
        Fault::Hangs(Mutex::new(ended))
    } else {
        Fault::Panics
    };
    let host = RecordedHost::load(&recorded_machine("linux/debian-laptop-luks")).unwrap();
    let host = host.with_obstacle(path, move || match &fault {
        Fault::Hangs(ended) => drop(ended.lock().unwrap().recv()),
        Fault::Panics => panic!("a defect"),
    });
    (Arc::new(host), end)
}

#[test]
fn a_collector_that_hangs_or_panics_costs_only_its_own_field() {
    let whole = collected(&recorded_machine("linux/debian-laptop-luks")).inventory;
    for (path, field) in [
        ("/sys/class/drm/card0-eDP-1/edid", "screens"),
        ("/proc/self/mountinfo", "partitions"),
        ("/sys/bus/usb/devices/1-9/idVendor", "devices"),
    ] {
        for hangs in [true, false] {
            let (host, end) = laptop_with(path, hangs);
            let limit = Duration::from_millis(if hangs { 300 } else { 60_000 });
            let inventory = collect_within(limit, &host, &options(Os::Linux), &UnderWay::default());
            let mut expected = whole.clone();
            expected.as_object_mut().unwrap().remove(field).unwrap();
            assert_eq!(serde_json::to_value(inventory).unwrap(), expected, "{path}");
            drop(end);
        }
    }
}

/// Reads a file that the test has put an obstacle before.
static OBSTRUCTED: Part = part("none", |host, _| {
    put(host.read_file(Path::new("/obstacle")), |_, _: Vec<u8>| ())
});

/// Collects the laptop's inventory with one part's collector in the place of another's.
fn laptop_with_broken_part(
    index: usize,
    limit: Duration,
    obstacle: impl Fn() + Send + Sync + 'static,
) -> Value {
    let laptop = RecordedHost::load(&recorded_machine("linux/debian-laptop-luks")).unwrap();
    let host: Arc<dyn Host> = Arc::new(laptop.with_obstacle("/obstacle", obstacle));
    let mut parts = all_parts(Os::Linux);
    parts[index] = &OBSTRUCTED;
    let options = options(Os::Linux);
    let mut inventory = prepared(&options);
    let under_way = UnderWay::default();
    parts::collect_within(limit, &parts, &host, &options, &under_way, &mut inventory);
    serde_json::to_value(inventory).unwrap()
}

#[test]
fn every_part_in_turn_may_hang_panic_or_fail_and_costs_only_its_own_fields() {
    let parts = all_parts(Os::Linux);
    let whole = collected(&recorded_machine("linux/debian-laptop-luks")).inventory;
    let fields: Vec<_> = parts.iter().flat_map(|part| part.name.split(", ")).collect();
    // All fields belong to one of the parts.
    for field in whole.as_object().unwrap().keys() {
        assert!(
            field == "agent_version" || fields.contains(&field.as_str()),
            "{field}"
        );
    }
    std::thread::scope(|scope| {
        for (index, part) in parts.iter().enumerate() {
            let mut expected = whole.clone();
            let kept = expected.as_object_mut().unwrap();
            part.name.split(", ").for_each(|field| drop(kept.remove(field)));
            scope.spawn(move || {
                let long = Duration::from_secs(60);
                // The file is not there: an error.
                assert_eq!(
                    laptop_with_broken_part(index, long, || ()),
                    expected,
                    "{} fails",
                    part.name
                );
                let panicking = laptop_with_broken_part(index, long, || panic!("a defect"));
                assert_eq!(panicking, expected, "{} panics", part.name);
                // The others have time enough, even where many tests run.
                let (end, ended) = channel::<()>();
                let ended = Mutex::new(ended);
                let hanging = laptop_with_broken_part(index, Duration::from_secs(4), move || {
                    let _ = ended.lock().unwrap().recv();
                });
                assert_eq!(hanging, expected, "{} hangs", part.name);
                drop(end);
            });
        }
    });
}

/// The fields that may be lost with a file of a Linux machine.
fn fields_of_file(path: &str) -> &'static [&'static str] {
    let by_path: [(&str, &[&str]); 16] = [
        (
            "/etc/os-release",
            &["os", "os_version", "os_license", "os_language"],
        ),
        ("/etc/passwd", &["users", "logins"]),
        ("/etc/shadow", &["users"]),
        ("/etc/hosts", &["domain"]),
        ("/etc/cups", &["printers"]),
        ("/proc/cpuinfo", &["cpu"]),
        ("/proc/meminfo", &["ram"]),
        ("/proc/self/mountinfo", &["partitions"]),
        ("/sys/class/block", &["partitions"]),
        (
            "/sys/class/dmi/id",
            &["serial", "manufacturer", "model", "bios_version"],
        ),
        ("/sys/class/drm", &["screens"]),
        ("/sys/class/power_supply", &["battery_level", "battery_status"]),
        ("/sys/firmware/efi", &["secure_boot"]),
        ("/sys/bus/pci", &["gpu"]),
        ("/sys/bus/usb", &["devices"]),
        ("/usr/share", &["gpu", "devices"]),
    ];
    let found = by_path.into_iter().find(|(start, _)| path.starts_with(start));
    found.map_or(&["software", "logins"], |(_, fields)| fields)
}

#[test]
fn every_file_in_turn_may_be_unreadable_and_costs_only_its_own_fields() {
    for machine in ["linux/debian-laptop-luks", "linux/debian-13-desktop-sssd"] {
        let recording = Recording::load(&recorded_machine(machine)).unwrap();
        let collected = |recording: &Recording| {
            let inventory = collect(&RecordedHost::new(recording.clone()), &options(Os::Linux));
            serde_json::to_value(inventory).unwrap()
        };
        let whole = collected(&recording);
        for path in recording.files.keys() {
            let mut broken = recording.clone();
            broken.machine.unreadable.push(path.clone());
            let inventory = collected(&broken);
            let lost = whole.as_object().unwrap().iter();
            for (field, _) in lost.filter(|(field, value)| inventory.get(field.as_str()) != Some(value)) {
                assert!(
                    fields_of_file(path).contains(&field.as_str()),
                    "{field} is lost with {path}"
                );
            }
        }
    }
}

#[test]
fn a_part_that_still_hangs_is_not_asked_again_until_it_has_answered() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (asked, (end, hanging)) = (Arc::new(AtomicUsize::new(0)), channel::<()>());
    let hanging = Mutex::new(hanging);
    let laptop = RecordedHost::load(&recorded_machine("linux/debian-laptop-luks")).unwrap();
    let counted = asked.clone();
    let host: Arc<dyn Host> = Arc::new(laptop.with_obstacle("/obstacle", move || {
        counted.fetch_add(1, Ordering::SeqCst);
        // Ends with the sender.
        let _ = hanging.lock().unwrap().recv();
    }));
    let (parts, under_way) = ([&OBSTRUCTED], UnderWay::default());
    let collect = |limit| {
        let mut inventory = prepared(&options(Os::Linux));
        parts::collect_within(
            limit,
            &parts,
            &host,
            &options(Os::Linux),
            &under_way,
            &mut inventory,
        );
        asked.load(Ordering::SeqCst)
    };
    let short = Duration::from_millis(300);
    assert_eq!([collect(short), collect(short), collect(short)], [1, 1, 1]);
    drop(end);
    while collect(PART_TIME_LIMIT) == 1 {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_holds_the_machine_after_its_inventory() {
    let host: Arc<dyn Host> =
        Arc::new(RecordedHost::load(&recorded_machine("linux/raspberry-pi-4")).unwrap());
    let inventory = collect_within(PART_TIME_LIMIT, &host, &options(Os::Linux), &UnderWay::default());
    assert_eq!(inventory, collect(host.as_ref(), &options(Os::Linux)));
    assert_eq!(Arc::strong_count(&host), 1);
}

#[test]
fn a_failing_package_manager_of_the_system_costs_the_list_and_one_of_applications_does_not() {
    let software = |machine: &str| {
        let mut recording = Recording::load(&recorded_machine(machine)).unwrap();
        recording.commands.clear();
        collect(&RecordedHost::new(recording), &options(Os::Linux)).software
    };
    assert_eq!(software("linux/rocky-9-server"), None);
    let laptop = software("linux/debian-laptop-luks").unwrap();
    let has = |name: &str| laptop.iter().any(|item| item.name == name);
    assert!(has("bash") && has("firefox") && !has("org.gimp.GIMP"));
}

#[test]
fn every_file_that_is_missing_costs_only_its_own_field() {
    for folder in Os::ALL.into_iter().flat_map(recorded_machines) {
        let mut recording = Recording::load(&folder).unwrap();
        recording.files.clear();
        recording.links.clear();
        recording.commands.clear();
        recording.registry.clear();
        recording.wmi.clear();
        let host = RecordedHost::new(recording);
        let inventory = collect(&host, &options(host.os()));
        assert!(inventory.hostname.is_some() && inventory.networks.is_some() && inventory.uptime.is_some());
        assert!(inventory.software.is_none() && inventory.partitions.is_none() && inventory.users.is_none());
        let identity = identity(&host, &options(host.os()));
        if host.os() == Os::Windows {
            assert!(identity.is_err(), "WMI is being repaired, and the uid comes back");
            continue;
        }
        let identity = identity.unwrap();
        assert_eq!(
            identity.uid, identity.hostname,
            "without hardware to ask, the name has to do"
        );
    }
}

#[test]
fn the_configuration_decides_about_domain_and_uid() {
    let host = RecordedHost::load(&recorded_machine("linux/debian-sid-vm-without-dmi")).unwrap();
    let options = Options {
        hostname_remove_domain: false,
        machine_uid: Some("my-uid".to_owned()),
        ..Options::default()
    };
    let expected = Identity {
        uid: "my-uid".to_owned(),
        hostname: "build7.ci.example".to_owned(),
    };
    assert_eq!(identity(&host, &options).unwrap(), expected);
}

#[test]
fn users_of_logins_have_their_domain_where_the_configuration_says_so() {
    let host = RecordedHost::load(&recorded_machine("windows/windows-11-pro")).unwrap();
    let users = |username_with_domain| {
        let options = Options {
            username_with_domain,
            ..options(Os::Windows)
        };
        let logins = collect(&host, &options).logins.unwrap();
        logins.into_iter().map(|login| login.username).collect::<Vec<_>>()
    };
    assert_eq!(users(false), ["jörg", "m&m.müller", "AdaLovelace"]);
    assert_eq!(
        users(true),
        ["DESKTOP-Ä1B2C\\jörg", "CORP\\m&m.müller", "AzureAD\\AdaLovelace"]
    );
}

#[test]
fn a_mac_that_does_not_answer_is_not_taken_for_another_one() {
    let mut recording = Recording::load(&recorded_machines(Os::MacOs)[0]).unwrap();
    let ioreg = "ioreg -a -r -d 1 -c IOPlatformExpertDevice";
    for (code, stdout) in [
        (Some(1), &b""[..]),
        (None, b""),
        (Some(0), b"<plist><arr"),
        (Some(0), b"<plist><array/></plist>"),
    ] {
        recording.commands.insert(
            ioreg.to_owned(),
            RecordedCommand {
                code,
                stdout: stdout.to_vec(),
            },
        );
        let host = RecordedHost::new(recording.clone());
        let error = identity(&host, &Options::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot find the UUID of the hardware");
        let overridden = Options {
            machine_uid: Some("my-uid".to_owned()),
            ..Options::default()
        };
        assert_eq!(identity(&host, &overridden).unwrap().uid, "my-uid");
    }
}

#[test]
fn a_uuid_that_the_manufacturer_never_set_is_none() {
    assert!(is_assigned_uuid("4c4c4544-0042-3510-8052-b4c04f4d3432"));
    assert!(!is_assigned_uuid("00000000-0000-0000-0000-000000000000"));
    assert!(!is_assigned_uuid("FFFFFFFF-FFFF-ffff-FFFF-FFFFFFFFFFFF"));
    assert!(!is_assigned_uuid(""));
}

#[test]
fn this_machine_has_an_inventory() {
    let staging = tempfile::tempdir().unwrap();
    let host = SystemHost::new(staging.path());
    let inventory = collect(&host, &Options::default());
    let text = |field: &Option<String>| field.clone().unwrap();
    for field in [
        &inventory.hostname,
        &inventory.os,
        &inventory.kernel_version,
        &inventory.cpu,
    ] {
        assert!(!text(field).is_empty(), "{inventory:?}");
    }
    assert_eq!(text(&inventory.agent_version), env!("CARGO_PKG_VERSION"));
    let architecture = match (system::OS, std::env::consts::ARCH) {
        (Os::Windows, "x86_64") => "AMD64",
        (Os::Windows, "aarch64") => "ARM64",
        (_, architecture) => architecture,
    };
    assert_eq!(text(&inventory.architecture), architecture);
    let boot_type = text(&inventory.boot_type);
    // Wine has no tool that tells.
    let unknown = system::OS == Os::Windows && boot_type == "?";
    assert!(unknown || ["UEFI", "Legacy"].contains(&boot_type.as_str()));
    assert!(inventory.ram.unwrap() > 64 << 20);
    assert!(inventory.uptime.unwrap() > 0.0);
    assert!(
        inventory
            .networks
            .unwrap()
            .iter()
            .all(|network| network.addr != "127.0.0.1")
    );
    if system::OS == Os::Linux {
        let has_dpkg = host.exists(Path::new("/var/lib/dpkg/status"));
        assert_eq!(
            inventory.software.is_some_and(|software| !software.is_empty()),
            has_dpkg
        );
    }
    let identity = identity(&host, &Options::default()).unwrap();
    assert_eq!(Some(identity.hostname), inventory.hostname);
    assert!(!identity.uid.is_empty());
}
