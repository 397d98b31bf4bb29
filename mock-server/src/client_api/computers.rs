//! Computers.

use super::containers::job;
use super::fault::Fault;
use super::{Call, packages};
use crate::store::client_views::{ComputerRow, Owner};
use crate::store::computers::{PreRegister, RemoveComputer};
use crate::store::groups::{ChangeMembership, Group, GroupKind};
use crate::store::packages::Removal;
use crate::store::{date_text, timestamp};
use serde_json::{Map, Value, json};

/// Longest host name, characters.
const MAX_HOSTNAME: usize = 200;

/// Fields of the inventory that lists show, by their names there.
const FACTS: [(&str, &str); 14] = [
    ("os_license", "os_license"),
    ("os_locale", "os_language"),
    ("kernel_version", "kernel_version"),
    ("architecture", "architecture"),
    ("cpu", "cpu"),
    ("gpu", "gpu"),
    ("ram", "ram"),
    ("serial", "serial"),
    ("manufacturer", "manufacturer"),
    ("model", "model"),
    ("bios_version", "bios_version"),
    ("boot_type", "boot_type"),
    ("domain", "domain"),
    ("secure_boot", "secure_boot"),
];

/// Lists the computers of a group, or all of them, and the groups below.
pub(super) async fn list(call: &Call) -> Result<Value, Fault> {
    let store = &call.state.store;
    let group = call.data.integer("computer_group_id")?;
    let groups = store.groups(GroupKind::Computers).await?;
    let mut answer = Map::new();
    if let Some(id) = group {
        let group = groups
            .iter()
            .find(|group| group.id == id)
            .ok_or(Fault::NotFound)?;
        call.caller.check_group(id)?;
        answer.insert("name".into(), group.name.as_str().into());
    }
    let computers = store.listed_computers(group).await?;
    let shown = computers.iter().filter(|computer| call.caller.sees(computer.id));
    answer.insert(
        "computers".into(),
        shown.map(|computer| general(call, computer)).collect(),
    );
    let below = groups.iter().filter(|other| other.parent_id == group);
    let below = below.filter(|group| call.caller.sees_group(group.id));
    answer.insert("groups".into(), below.map(group_of_computers).collect());
    Ok(answer.into())
}

fn group_of_computers(group: &Group) -> Value {
    json!({"id": group.id, "parent_computer_group_id": group.parent_id, "name": group.name})
}

/// Shows a computer with its inventory.
pub(super) async fn get(call: &Call) -> Result<Value, Fault> {
    let store = &call.state.store;
    let id = call.data.id("id")?;
    let computer = find(call, id).await?;
    let memberships = store.groups_of_computer(id).await?;
    let groups = store.groups(GroupKind::Computers).await?;
    let groups = groups.iter().filter(|group| memberships.contains(&group.id));
    let inventory = store.inventory(id).await?;
    let section = |name: &str| {
        inventory
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let jobs = store.listed_jobs(Owner::Computer(id)).await?;
    let installations = store.installations(Owner::Computer(id)).await?;
    Ok(json!({
        "general": general(call, &computer),
        "groups": groups.map(group_of_computers).collect::<Vec<_>>(),
        "logins": logins(call, id).await?,
        "networks": numbered(id, &section("networks"), network),
        "screens": numbered(id, &section("screens"), same_fields),
        "printers": numbered(id, &section("printers"), same_fields),
        "filesystems": numbered(id, &section("partitions"), file_system),
        "recognised_software": software(call, id).await?,
        "installed_packages": installations.iter().map(packages::installation).collect::<Vec<_>>(),
        "pending_jobs": jobs.iter().map(job).collect::<Vec<_>>(),
    }))
}

async fn find(call: &Call, id: i64) -> Result<ComputerRow, Fault> {
    let computer = call
        .state
        .store
        .listed_computer(id)
        .await?
        .ok_or(Fault::NotFound)?;
    call.caller.check_computers(&[id])?;
    Ok(computer)
}

/// What lists show of a computer.
fn general(call: &Call, row: &ComputerRow) -> Value {
    let facts: Map<String, Value> = row
        .facts
        .as_deref()
        .and_then(|facts| serde_json::from_str(facts).ok())
        .unwrap_or_default();
    let date = |micros: Option<i64>| micros.map(|micros| date_text(timestamp(micros)));
    let key = |key: &Option<String>| {
        key.clone()
            .filter(|_| call.caller.sees_keys())
            .unwrap_or_default()
    };
    #[allow(clippy::cast_possible_truncation)] // of a fraction of a second
    let uptime = row.uptime.unwrap_or(0.0) as i64;
    let mut shown = json!({
        "id": row.id,
        "uid": row.uid,
        "hostname": row.hostname,
        "os": row.os.as_deref().unwrap_or_default(),
        "os_version": row.os_version.as_deref().unwrap_or_default(),
        "agent_version": row.agent_version.as_deref().unwrap_or_default(),
        "remote_address": row.remote_address.as_deref().unwrap_or_default(),
        "battery_level": row.battery_level,
        "battery_status": row.battery_status,
        "uptime": uptime,
        "last_ping": date(row.seen_at),
        "last_update": date(row.updated_at),
        "force_update": row.force_update,
        "notes": row.notes,
        "agent_key": key(&row.agent_key),
        "server_key": key(&row.server_key),
        "created": date(Some(row.created_at)),
        "created_by_system_user_id": row.created_by,
        "software_id": null,
        "software_name": null,
        "software_version": null,
        "computer_network_mac": null,
        "created_by_system_user_username": null,
        "agent_timestamp": timestamp(row.agent_timestamp.unwrap_or(0)),
    });
    for (name, fact) in FACTS {
        shown[name] = text(facts.get(fact)).into();
    }
    shown
}

/// A field as a text column of the real database has it.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Items of an inventory section, numbered as rows of a table would be.
fn numbered(
    computer: i64,
    items: &[Value],
    fields: impl Fn(usize, &Value) -> Map<String, Value>,
) -> Vec<Value> {
    let rows = items.iter().enumerate().map(|(index, item)| {
        let mut row = fields(index, item);
        row.insert("id".into(), (index + 1).into());
        row.insert("computer_id".into(), computer.into());
        Value::Object(row)
    });
    rows.collect()
}

fn same_fields(_: usize, item: &Value) -> Map<String, Value> {
    item.as_object().cloned().unwrap_or_default()
}

fn network(index: usize, item: &Value) -> Map<String, Value> {
    let mut row = Map::from_iter([("nic_number".to_owned(), index.into())]);
    for (name, field) in [
        ("address", "addr"),
        ("netmask", "netmask"),
        ("broadcast", "broadcast"),
        ("mac", "mac"),
        ("interface", "interface"),
    ] {
        row.insert(name.into(), text(item.get(field)).into());
    }
    row
}

fn file_system(_: usize, item: &Value) -> Map<String, Value> {
    let mut row = Map::new();
    for name in ["device", "mountpoint", "filesystem", "name", "uuid"] {
        row.insert(name.into(), text(item.get(name)).into());
    }
    for name in ["size", "free"] {
        row.insert(
            name.into(),
            item.get(name).and_then(Value::as_i64).unwrap_or(0).into(),
        );
    }
    let encrypted = item
        .get("encrypted")
        .is_some_and(|flag| oco_protocol::lenient::flag(flag).unwrap_or(false));
    row.insert("encrypted".into(), u8::from(encrypted).into());
    row
}

async fn logins(call: &Call, computer: i64) -> Result<Vec<Value>, Fault> {
    let users = call.state.store.login_counts(computer).await?;
    let shown = (1_i64..).zip(users).map(|(number, user)| {
        json!({
            "id": null,
            "computer_id": null,
            "domain_user_id": number,
            "console": null,
            "timestamp": user.latest,
            "logon_amount": user.logins,
            "computer_hostname": null,
            "domain_user_username": user.username,
            "domain_user_display_name": user.display_name,
            "domain_user_uid": user.guid,
        })
    });
    Ok(shown.collect())
}

async fn software(call: &Call, computer: i64) -> Result<Vec<Value>, Fault> {
    let software = call.state.store.software_of(computer).await?;
    let shown = (1_i64..).zip(software).map(|(number, item)| {
        json!({
            "id": number,
            "computer_id": null,
            "software_id": item.id,
            "installed": null,
            "software_name": item.name,
            "software_version": item.version,
            "software_description": item.description,
        })
    });
    Ok(shown.collect())
}

/// Pre-registers a computer.
pub(super) async fn create(call: &Call) -> Result<Value, Fault> {
    let hostname = call.data.required("hostname", "The host name cannot be empty")?;
    if hostname.chars().count() > MAX_HOSTNAME {
        return Err(Fault::Invalid(format!(
            "The host name cannot be longer than {MAX_HOSTNAME} characters"
        )));
    }
    let write = PreRegister {
        cache: call.state.store.cache.clone(),
        hostname,
        notes: call.data.text("notes")?,
        created_by: Some(call.caller.id()),
        now: call.state.now(),
    };
    let id = call.state.store.write(write).await?;
    id.map(|id| call.created(id))
        .ok_or_else(|| Fault::Invalid("This hostname already exists".into()))
}

/// Removes a computer.
pub(super) async fn remove(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    find(call, id).await?;
    // What has expired keeps nothing.
    call.state.store.settle_expired(call.state.now()).await?;
    let write = RemoveComputer {
        cache: call.state.store.cache.clone(),
        id,
        force: call.data.flag("force", true)?,
    };
    removed(call, call.state.store.write(write).await?)
}

/// The answer to something removed.
pub(super) fn removed(call: &Call, removal: Removal) -> Result<Value, Fault> {
    match removal {
        Removal::Done => Ok(call.nothing()),
        Removal::NotFound => Err(Fault::NotFound),
        Removal::InUse => Err(Fault::Invalid("There are jobs or installations for it".into())),
    }
}

/// Puts a computer into a group or takes it out.
pub(super) async fn change_group(call: &Call, belongs: bool) -> Result<Value, Fault> {
    let (member, group) = (call.data.id("computer_id")?, call.data.id("computer_group_id")?);
    find(call, member).await?;
    call.caller.check_group(group)?;
    change_membership(call, GroupKind::Computers, group, member, belongs).await
}

/// Puts something into a group or takes it out.
pub(super) async fn change_membership(
    call: &Call,
    kind: GroupKind,
    group: i64,
    member: i64,
    belongs: bool,
) -> Result<Value, Fault> {
    let write = ChangeMembership {
        kind,
        cache: call.state.store.cache.clone(),
        group,
        member,
        belongs,
        now: call.state.now(),
    };
    match call.state.store.write(write).await? {
        true => Ok(call.nothing()),
        false => Err(Fault::NotFound),
    }
}

/// Wakes a computer: checked as on the real server, but nothing is sent, because the addresses of simulated machines may
/// be those of real ones.
pub(super) async fn wake(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    find(call, id).await?;
    let inventory = call.state.store.inventory(id).await?;
    let networks = inventory.get("networks").and_then(Value::as_array);
    let has_mac = networks.is_some_and(|networks| {
        let mut macs = networks.iter().map(|network| text(network.get("mac")));
        macs.any(|mac| mac.contains(':'))
    });
    match has_mac {
        true => Ok(call.nothing()),
        false => Err(Fault::Invalid("The computer has no MAC address".into())),
    }
}
