//! What a test may rely on when it uses a recorded machine.

use super::*;
use proptest::prelude::*;
use std::io::{Read, Seek, SeekFrom, Write};

fn machine(os: Os) -> Machine {
    Machine {
        os,
        hostname: "pc".to_owned(),
        kernel: Kernel {
            release: "6.1.0".to_owned(),
            machine: "x86_64".to_owned(),
        },
        uptime_s: 12.5,
        now: "2026-11-21T08:15:00Z".to_owned(),
        interfaces: Vec::new(),
        spaces: BTreeMap::new(),
        unreadable: vec!["/etc/shadow".to_owned()],
    }
}

fn recording(os: Os) -> Recording {
    let mut recording = Recording::new(machine(os));
    recording
        .files
        .insert("/etc/hosts".to_owned(), b"127.0.0.1 localhost\n".to_vec());
    recording.files.insert("/etc/a/b".to_owned(), vec![0, 255]);
    recording
        .files
        .insert("/C/data/x.ini".to_owned(), b"[a]".to_vec());
    recording.links.insert(
        "/dev/disk/by-label/My\\x20Disk".to_owned(),
        "../../sda1".to_owned(),
    );
    for (line, stdout) in [("mount", &b"text"[..]), ("diskutil list", &[0xff, 0xfe])] {
        recording.commands.insert(
            line.to_owned(),
            RecordedCommand {
                code: Some(1),
                stdout: stdout.to_vec(),
            },
        );
    }
    let registry = r#"{"HKLM":{"native":{"SOFTWARE\\A\\One":{"x":{"sz":"1"}},"software\\a\\Two\\Deep":{}}}}"#;
    recording.registry = serde_json::from_str(registry).unwrap();
    let wmi = r#"{"root\\cimv2":{"Win32_BIOS":[{"SerialNumber":"S1","Manufacturer":"M"}]}}"#;
    recording.wmi = serde_json::from_str(wmi).unwrap();
    recording
}

#[test]
fn a_saved_recording_is_loaded_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for original in [recording(Os::Linux), Recording::new(machine(Os::MacOs))] {
        let folder = folder.path().join(original.machine.os.as_str());
        original.save(&folder).unwrap();
        assert_eq!(Recording::load(&folder).unwrap(), original);
    }
}

#[test]
fn a_broken_recording_is_refused_with_the_name_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let load = || RecordedHost::load(folder.path()).unwrap_err().to_string();
    assert!(load().contains("host.json"));
    recording(Os::Linux).save(folder.path()).unwrap();
    std::fs::write(folder.path().join("wmi.json"), "[]").unwrap();
    assert!(load().contains("wmi.json"));
    let mut timeless = recording(Os::Linux);
    timeless.machine.now = "yesterday".to_owned();
    timeless.save(folder.path()).unwrap();
    assert!(load().contains("2026-11-21T08:15:00Z"));
}

#[test]
#[cfg_attr(
    windows,
    ignore = "a name has a backslash in it, which separates the parts of a path there"
)]
fn files_links_and_folders_are_answered() {
    let host = RecordedHost::new(recording(Os::Linux));
    assert_eq!(host.read_file(Path::new("/etc/a/b")).unwrap(), [0, 255]);
    assert_eq!(host.list_folder(Path::new("/etc")).unwrap(), ["a", "hosts"]);
    assert_eq!(
        host.list_folder(Path::new("/dev/disk/by-label/")).unwrap(),
        ["My\\x20Disk"]
    );
    assert_eq!(
        host.read_link(Path::new("/dev/disk/by-label/My\\x20Disk"))
            .unwrap(),
        Path::new("../../sda1")
    );
    assert!(host.exists(Path::new("/etc/a")) && !host.exists(Path::new("/et")));
    assert!(host.list_folder(Path::new("/et")).unwrap_err().is_not_found());
    let denied = host.read_file(Path::new("/etc/shadow")).unwrap_err();
    assert_eq!(denied.source.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn windows_paths_are_found_below_their_drive() {
    let host = RecordedHost::new(recording(Os::Windows));
    assert_eq!(host.read_file(Path::new(r"C:\data\x.ini")).unwrap(), b"[a]");
    assert_eq!(host.list_folder(Path::new(r"C:\data")).unwrap(), ["x.ini"]);
}

#[test]
fn what_is_written_is_read_and_what_is_removed_is_gone() {
    let host = RecordedHost::new(recording(Os::Linux));
    let (state, hosts) = (Path::new("/etc/state"), Path::new("/etc/hosts"));
    host.write_file(state, b"1", Visibility::Private).unwrap();
    assert_eq!(
        (host.read_file(state).unwrap(), host.written(state)),
        (b"1".to_vec(), Some(Visibility::Private))
    );
    host.remove_file(hosts).unwrap();
    host.remove_file(Path::new("/never/there")).unwrap();
    assert!(host.read_file(hosts).unwrap_err().is_not_found());
    assert_eq!(host.list_folder(Path::new("/etc")).unwrap(), ["a", "state"]);
    assert_eq!((host.written(hosts), host.exists(hosts)), (None, false));
}

#[test]
fn registry_and_wmi_have_no_case() {
    let host = RecordedHost::new(recording(Os::Windows));
    let key = RegistryKey::machine(r"software\A");
    assert_eq!(host.registry_subkeys(&key).unwrap(), ["One", "Two"]);
    assert_eq!(host.registry_values(&key.subkey("one")).unwrap().len(), 1);
    assert!(
        host.registry_subkeys(&key.subkey("none"))
            .unwrap_err()
            .is_not_found()
    );
    let rows = host
        .wmi(r"ROOT\CIMV2", "select SerialNumber from win32_bios")
        .unwrap();
    assert_eq!(
        serde_json::to_string(&rows).unwrap(),
        r#"[{"SerialNumber":"S1"}]"#
    );
    assert!(
        host.wmi(r"root\other", "select * from win32_bios")
            .unwrap_err()
            .is_not_found()
    );
    assert!(
        host.wmi(r"root\cimv2", "select * from Win32_Other")
            .unwrap_err()
            .is_not_found()
    );
    assert!(host.wmi(r"root\cimv2", "nonsense").is_err());
}

#[test]
fn the_clock_stands_still_until_it_is_set() {
    let host = RecordedHost::new(recording(Os::Linux));
    let recorded = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_248_900);
    assert_eq!(host.now(), recorded);
    host.set_now(recorded + Duration::from_secs(60));
    assert_eq!(host.now(), recorded + Duration::from_secs(60));
    assert_eq!(host.uptime().unwrap(), Duration::from_millis(12_500));
}

#[test]
fn a_staged_package_can_be_looked_at_after_it_is_gone() {
    let host = RecordedHost::new(recording(Os::Linux));
    let mut staging = host.create_staging().unwrap();
    assert!(staging.read_archive().err().unwrap().is_not_found());
    staging.write_archive().unwrap().write_all(b"PK zip").unwrap();
    let (mut archive, mut rest) = (staging.read_archive().unwrap(), String::new());
    archive.seek(SeekFrom::Start(3)).unwrap();
    archive.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "zip");
    staging
        .create_file(Path::new("bin/run"), true)
        .unwrap()
        .write_all(b"#!")
        .unwrap();
    for (path, what) in [
        ("bin/run", "a file twice"),
        ("bin", "a file over a folder"),
        ("bin/run/x", "below a file"),
    ] {
        assert!(staging.create_file(Path::new(path), false).is_err(), "{what}");
    }
    assert!(staging.create_folder(Path::new("bin/run")).is_err());
    assert!(!host.staged()[0].removed);
    drop(staging);
    let package = &host.staged()[0];
    assert!(package.removed && package.folders.contains(Path::new("bin")));
    let expected = StagedFile {
        content: b"#!".to_vec(),
        executable: true,
    };
    assert_eq!(package.files[Path::new("bin/run")], expected);
}

#[tokio::test]
async fn procedures_do_what_the_script_says() {
    let refusing = RecordedHost::new(recording(Os::Linux));
    let procedure = Procedure {
        command: "install".to_owned(),
        folder: None,
        time_limit: None,
    };
    assert!(refusing.start_procedure(&procedure).is_err());

    let host = refusing.with_script(|procedure| match procedure.command.as_str() {
        "install" => ScriptedRun::exit("done", 3),
        _ => ScriptedRun {
            output: Vec::new(),
            ending: Ending::Hang,
        },
    });
    let mut running = host.start_procedure(&procedure).unwrap();
    assert_eq!(running.next_output().await.unwrap().unwrap(), "done");
    assert_eq!(
        (
            running.next_output().await.unwrap(),
            running.wait().await.unwrap()
        ),
        (None, 3)
    );

    let hanging = Procedure {
        command: "hang".to_owned(),
        folder: None,
        time_limit: None,
    };
    let mut running = host.start_procedure(&hanging).unwrap();
    running.kill().await.unwrap();
    assert_eq!(
        (
            running.next_output().await.unwrap(),
            running.wait().await.unwrap()
        ),
        (None, 137)
    );
    assert_eq!(host.procedures(), [procedure, hanging]);
}

proptest! {
    #[test]
    fn every_command_output_survives_saving(stdout: Vec<u8>, code: Option<i32>) {
        let folder = tempfile::tempdir().unwrap();
        let mut original = Recording::new(machine(Os::MacOs));
        original.commands.insert("x -a \"b\"".to_owned(), RecordedCommand { code, stdout });
        original.save(folder.path()).unwrap();
        prop_assert_eq!(Recording::load(folder.path()).unwrap(), original);
    }
}
