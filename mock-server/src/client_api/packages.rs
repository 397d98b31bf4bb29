//! Packages and their families.

use super::Call;
use super::computers::{change_membership, removed};
use super::containers::job;
use super::fault::Fault;
use crate::package_files::{self, NewFile};
use crate::store::client_views::{InstallationRow, Owner, PackageRow, Packages};
use crate::store::groups::{Group, GroupKind};
use crate::store::packages::{AddPackage, Procedure, RemovePackage};
use crate::store::{date_text, timestamp};
use serde_json::{Value, json};

/// Lists families.
pub(super) async fn families(call: &Call) -> Result<Value, Fault> {
    let families = call.state.store.families().await?;
    let date = |micros: Option<i64>| micros.map(|micros| date_text(timestamp(micros)));
    let shown = families.iter().map(|family| {
        json!({
            "id": family.id,
            "name": family.name,
            "license_count": null,
            "notes": family.notes,
            "icon": null,
            "package_count": family.package_count,
            "install_count": family.install_count,
            "newest_package_created": date(family.newest),
            "oldest_package_created": date(family.oldest),
        })
    });
    Ok(shown.collect())
}

/// Lists the packages of a family or of a group.
pub(super) async fn list(call: &Call) -> Result<Value, Fault> {
    let store = &call.state.store;
    let groups = store.groups(GroupKind::Packages).await?;
    let group = call.data.integer("package_group_id")?;
    let (name, which) = match (call.data.integer("package_family_id")?, group) {
        (Some(id), _) => {
            let families = store.families().await?;
            let family = families.into_iter().find(|family| family.id == id);
            (family.ok_or(Fault::NotFound)?.name, Packages::OfFamily(id))
        }
        (None, Some(id)) => {
            let group = groups.iter().find(|group| group.id == id);
            (group.ok_or(Fault::NotFound)?.name.clone(), Packages::OfGroup(id))
        }
        (None, None) => {
            let message = "A package family or a package group is required";
            return Err(Fault::Invalid(message.into()));
        }
    };
    let packages = store.listed_packages(which).await?;
    let below = groups.iter().filter(|other| match which {
        Packages::OfGroup(id) => other.parent_id == Some(id),
        _ => other.parent_id.is_none(),
    });
    Ok(json!({
        "name": name,
        "packages": packages.iter().map(general).collect::<Vec<_>>(),
        "groups": below.map(group_of_packages).collect::<Vec<_>>(),
    }))
}

fn group_of_packages(group: &Group) -> Value {
    json!({"id": group.id, "parent_package_group_id": group.parent_id, "name": group.name})
}

/// Shows a package, with the installations and jobs on computers that the user sees.
pub(super) async fn get(call: &Call) -> Result<Value, Fault> {
    let store = &call.state.store;
    let id = call.data.id("id")?;
    let found = store.listed_packages(Packages::One(id)).await?;
    let mut shown = general(found.first().ok_or(Fault::NotFound)?);
    shown["updated_by_system_user_username"] = Value::Null;
    let groups = store.groups_of_package(id).await?;
    let installations = store.installations(Owner::Package(id)).await?;
    let installations = installations
        .iter()
        .filter(|row| call.caller.sees(row.computer_id));
    let jobs = store.listed_jobs(Owner::Package(id)).await?;
    let jobs = jobs.iter().filter(|job| call.caller.sees(job.computer_id));
    Ok(json!({
        "general": shown,
        "groups": groups.iter().map(group_of_packages).collect::<Vec<_>>(),
        "installations": installations.map(installation).collect::<Vec<_>>(),
        "pending_jobs": jobs.map(job).collect::<Vec<_>>(),
    }))
}

/// What lists show of a package.
fn general(row: &PackageRow) -> Value {
    json!({
        "id": row.id,
        "version": row.version,
        "notes": row.notes,
        "install_procedure": row.install_procedure,
        "install_procedure_success_return_codes": row.success_codes,
        "install_procedure_post_action": row.post_action,
        "upgrade_behavior": row.upgrade_behavior,
        "uninstall_procedure": row.uninstall_procedure,
        "uninstall_procedure_success_return_codes": row.uninstall_success_codes,
        "download_for_uninstall": row.download_for_uninstall,
        "uninstall_procedure_post_action": row.uninstall_post_action,
        "line_endings": row.line_endings,
        "compatible_os": row.compatible_os,
        "compatible_os_version": row.compatible_os_version,
        "compatible_architecture": row.compatible_architecture,
        "license_count": row.license_count,
        "created": date_text(timestamp(row.created_at)),
        "created_by_system_user_id": row.created_by,
        "updated": null,
        "updated_by_system_user_id": null,
        "package_group_member_sequence": row.position,
        "package_family_id": row.family_id,
        "package_family_name": row.family_name,
        "package_family_icon": null,
        "created_by_system_user_username": row.created_by_name,
        "install_count": row.install_count,
    })
}

/// What lists show of an installation.
pub(super) fn installation(row: &InstallationRow) -> Value {
    json!({
        "id": row.id,
        "computer_id": row.computer_id,
        "package_id": row.package_id,
        "installed_procedure": row.run_procedure,
        "installed_by_system_user_id": row.installed_by,
        "installed_by_domain_user_id": null,
        "installed": date_text(timestamp(row.installed_at)),
        "computer_hostname": row.hostname,
        "package_family_id": row.family_id,
        "package_family_name": row.family_name,
        "package_version": row.version,
        "installed_by_system_user_username": row.installed_by_name,
        "installed_by_domain_user_username": null,
    })
}

/// Adds a package.
pub(super) async fn create(call: &Call) -> Result<Value, Fault> {
    const REQUIRED: &str = "Please fill the required fields";
    let data = &call.data;
    let procedure = |name: &str| -> Result<Procedure, Fault> {
        Ok(Procedure {
            command: data.text(name)?,
            success_codes: data.text_or(&format!("{name}_success_return_codes"), "0")?,
            post_action: data.integer(&format!("{name}_post_action"))?.unwrap_or(0),
        })
    };
    let mut package = AddPackage {
        name: data.required("package_family_name", REQUIRED)?,
        version: data.required("version", REQUIRED)?,
        notes: data.text("description")?,
        license_count: data.integer("license_count")?,
        install: procedure("install_procedure")?,
        upgrade_behavior: data.integer("upgrade_behavior")?.unwrap_or(0),
        uninstall: procedure("uninstall_procedure")?,
        download_for_uninstall: data.flag("download_for_uninstall", false)?,
        compatible_os: data.text("compatible_os")?,
        compatible_os_version: data.text("compatible_os_version")?,
        compatible_architecture: data.text("compatible_architecture")?,
        line_endings: Some(data.text("line_endings")?).filter(|text| !text.is_empty()),
        archive: None,
        created_by: Some(call.caller.id()),
        now: call.state.now(),
    };
    package_files::check(&package).map_err(Fault::Invalid)?;
    let files: Vec<NewFile> = data.list("files")?;
    package.archive = package_files::archive_off_thread(files)
        .await
        .map_err(|error| Fault::Invalid(format!("Payload corrupt: {error}")))?;
    let id = call.state.store.write(package).await?;
    id.map(|id| call.created(id))
        .ok_or_else(|| Fault::Invalid("There is a package of this name and version already".into()))
}

/// Removes a package.
pub(super) async fn remove(call: &Call) -> Result<Value, Fault> {
    // What has expired keeps nothing.
    call.state.store.settle_expired(call.state.now()).await?;
    let write = RemovePackage {
        cache: call.state.store.cache.clone(),
        id: call.data.id("id")?,
        force: call.data.flag("force", true)?,
    };
    removed(call, call.state.store.write(write).await?)
}

/// Puts a package into a group or takes it out.
pub(super) async fn change_group(call: &Call, belongs: bool) -> Result<Value, Fault> {
    let (member, group) = (call.data.id("package_id")?, call.data.id("package_group_id")?);
    change_membership(call, GroupKind::Packages, group, member, belongs).await
}
