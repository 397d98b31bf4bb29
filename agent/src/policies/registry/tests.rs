use super::super::settings::covering;
use super::super::{Policies, Summary, apply};
use super::*;
use crate::host::recorded::{RecordedHost, Recording};
use serde_json::json;

const STATE: &str = r"C:\Program Files\OCO Agent\policies.json";
const SID: &str = "S-1-5-21-1-2-3-1001";
const GUID: &str = "{5F1C0A3E-7B2D-4C55-9E21-0123456789AB}";

/// A computer with one user of a directory, who is logged on or not.
fn computer(logged_on: bool) -> RecordedHost {
    let machine = json!({
        "os": "windows", "hostname": "pc", "kernel": {"release": "10.0.22631", "machine": "AMD64"},
        "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
    });
    let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
    let profile = RegistryKey::machine(format!(r"{PROFILES}\{SID}"));
    for (name, value) in [
        ("Guid", GUID.to_ascii_lowercase()),
        ("ProfileImagePath", r"%SystemDrive%\Users\ada".to_owned()),
    ] {
        host.set_registry_value(&profile, name, &RegistryValue::Text(value))
            .unwrap();
    }
    let windows = RegistryKey::machine(WINDOWS);
    host.set_registry_value(&windows, "SystemRoot", &RegistryValue::Text(r"D:\Windows".into()))
        .unwrap();
    host.add_hive_file(Path::new(r"D:\Users\ada\NTUSER.DAT"));
    if logged_on {
        host.set_registry_value(&user_key("Environment"), "TEMP", &RegistryValue::Text("x".into()))
            .unwrap();
    }
    host
}

fn user_key(path: &str) -> RegistryKey {
    RegistryKey {
        hive: Hive::Users,
        view: RegistryView::Native,
        path: format!(r"{SID}\{path}"),
    }
}

fn follow(host: &RecordedHost, scope: &str, policies: &[(&str, Value)]) -> Summary {
    let policies = policies
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let answer = Policies(BTreeMap::from([(scope.to_owned(), policies.collect())]));
    apply(host, Path::new(STATE), "mark", &answer).unwrap()
}

fn values(host: &RecordedHost, key: &RegistryKey) -> Option<BTreeMap<String, RegistryValue>> {
    host.registry_values(key).ok()
}

fn text_value(text: &str) -> RegistryValue {
    RegistryValue::Text(text.to_owned())
}

#[test]
fn each_kind_of_value_has_its_form_in_the_registry() {
    let target = SettingTarget {
        path: "Software\\X".into(),
        name: "N".into(),
    };
    let of = |value: Value| entries(&target, &value);
    let one = |path: &str, name: &str, value| BTreeMap::from([((path.to_owned(), name.to_owned()), value)]);
    assert_eq!(of(json!(7)), Ok(one("Software\\X", "N", RegistryValue::Dword(7))));
    assert_eq!(
        of(json!(true)),
        Ok(one("Software\\X", "N", RegistryValue::Dword(1)))
    );
    assert_eq!(of(json!("007")), Ok(one("Software\\X", "N", text_value("007"))));
    let mut list = one("Software\\X\\N", "1", text_value("a"));
    list.extend(one("Software\\X\\N", "2", RegistryValue::Dword(5)));
    assert_eq!(of(json!(["a", 5])), Ok(list));
    assert_eq!(
        of(json!({"k": "v"})),
        Ok(one("Software\\X\\N", "k", text_value("v")))
    );
    assert_eq!(of(json!([])), Ok(BTreeMap::new()));
    for (wrong, error) in [
        (json!(-1), ValueError::Number),
        (json!(4_294_967_296_u64), ValueError::Number),
        (json!(1.5), ValueError::Kind),
        (json!(null), ValueError::Kind),
        (json!([[1]]), ValueError::Kind),
    ] {
        assert_eq!(of(wrong.clone()), Err(error), "{wrong}");
    }
    let unnamed = SettingTarget {
        path: "Software".into(),
        name: String::new(),
    };
    assert_eq!(entries(&unnamed, &json!([1])), Err(ValueError::Unnamed));
}

#[test]
fn policies_of_the_computer_come_and_go_without_a_trace() {
    let host = computer(false);
    let theirs = RegistryKey::machine(r"Software\Policies\Theirs");
    host.set_registry_value(&theirs, "kept", &RegistryValue::Dword(1))
        .unwrap();
    let policies = [
        (
            r"REGISTRY:Software\Policies\X\Y:Homepage",
            json!("https://example.org"),
        ),
        (r"REGISTRY:Software\Policies\X:Blocked", json!(["a", "b", "c"])),
        (r"REGISTRY:Software\Policies\Theirs:ours", json!(5)),
        (r"REGISTRY:Software\Policies\X:Wrong", json!(1.5)),
    ];
    let summary = follow(&host, MACHINE_SCOPE, &policies);
    assert_eq!((summary.in_force, summary.failed), (3, 1));
    let blocked = RegistryKey::machine(r"Software\Policies\X\Blocked");
    assert_eq!(values(&host, &blocked).unwrap().len(), 3);
    assert_eq!(values(&host, &theirs).unwrap()["ours"], RegistryValue::Dword(5));

    let fewer = [(r"REGISTRY:Software\Policies\X:Blocked", json!(["b"]))];
    let summary = follow(&host, MACHINE_SCOPE, &fewer);
    assert_eq!((summary.in_force, summary.removed), (1, 2));
    assert_eq!(
        values(&host, &blocked),
        Some(BTreeMap::from([("1".to_owned(), text_value("b"))]))
    );
    assert_eq!(
        values(&host, &RegistryKey::machine(r"Software\Policies\X\Y")),
        None
    );

    assert_eq!(follow(&host, MACHINE_SCOPE, &[]).removed, 1);
    assert_eq!(values(&host, &RegistryKey::machine(r"Software\Policies\X")), None);
    assert_eq!(
        values(&host, &theirs),
        Some(BTreeMap::from([("kept".to_owned(), RegistryValue::Dword(1))]))
    );
    let state: Value = serde_json::from_slice(&host.read_file(Path::new(STATE)).unwrap()).unwrap();
    assert_eq!(state["machine"], json!({}));
    assert_eq!(state["oco-agent"]["created"], json!({}));
}

#[test]
fn a_user_who_is_logged_on_has_them_in_his_own_hive() {
    let host = computer(true);
    let policy = [(r"REGISTRY:Software\X:V", json!("on"))];
    assert_eq!(follow(&host, GUID, &policy).in_force, 1);
    assert_eq!(
        values(&host, &user_key(r"Software\X")).unwrap()["V"],
        text_value("on")
    );
    assert_eq!(host.hives(), (0, 0), "nothing was loaded");
    // A scope that the server does not send at all any longer is one with nothing in it.
    assert_eq!(follow(&host, MACHINE_SCOPE, &[]).removed, 1);
    assert_eq!(values(&host, &user_key(r"Software\X")), None);
}

#[test]
fn the_hive_of_a_user_who_is_away_is_loaded_and_unloaded() {
    let host = computer(false);
    let policy = [
        (r"REGISTRY:Software\X:V", json!(1)),
        (r"REGISTRY:Software\X:W", json!(-1)),
    ];
    let summary = follow(&host, GUID.to_ascii_lowercase().trim_matches(['{', '}']), &policy);
    assert_eq!((summary.in_force, summary.failed), (1, 1));
    assert_eq!(host.hives(), (1, 0), "loaded once, and none is left");
    assert_eq!(
        host.hive_file_values(Path::new(r"D:\Users\ada\NTUSER.DAT"), r"Software\X"),
        Some(BTreeMap::from([("V".to_owned(), RegistryValue::Dword(1))]))
    );
}

#[test]
fn policies_of_a_user_without_a_profile_wait_and_are_forgotten() {
    let host = computer(false);
    let policy = [(r"REGISTRY:Software\X:V", json!(1))];
    let summary = follow(&host, "{00000000-0000-0000-0000-000000000000}", &policy);
    assert_eq!(summary, Summary::default());
    assert_eq!(follow(&host, MACHINE_SCOPE, &[]), Summary::default());
}

#[test]
fn what_a_crash_may_leave_is_on_record() {
    assert_eq!(covering(&json!([1, 2, 3]), &json!([4])), json!([1, 2, 3]));
    assert_eq!(
        covering(&json!({"a": 1}), &json!({"b": 2})),
        json!({"a": 1, "b": 2})
    );
    assert_eq!(covering(&json!(1), &json!("x")), json!("x"));
}
