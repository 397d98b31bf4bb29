//! Reports, and what the server says of itself.

use super::Call;
use super::fault::Fault;
use crate::store::reports::{REPORTS, Report};
use serde_json::{Map, Value, json};

/// The only group of reports.
const PREDEFINED: i64 = 1;

/// Says what the server is.
pub(super) async fn info(call: &Call) -> Result<Value, Fault> {
    let program = concat!("oco-mock-server/", env!("CARGO_PKG_VERSION"));
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "wol_satellites": null,
        "extensions": [],
        "license_computers": 0,
        "license_company": "NOT REGISTERED",
        "license_expiration": 0,
        "webserver": program,
        "database": call.state.store.database_version().await?,
        "php": "none",
    }))
}

/// Lists the reports of a group, or the groups and all reports.
pub(super) fn list(call: &Call) -> Result<Value, Fault> {
    let group = call.data.integer("report_group_id")?;
    if group.is_some_and(|group| group != PREDEFINED) {
        return Err(Fault::NotFound);
    }
    let reports = REPORTS.iter().map(|report| {
        json!({"id": report.id, "report_group_id": PREDEFINED, "name": report.name, "notes": "",
            "query": report.query})
    });
    let groups = match group {
        Some(_) => json!([]),
        None => json!([{"id": PREDEFINED, "parent_report_group_id": null, "name": "Predefined"}]),
    };
    Ok(json!({"reports": reports.collect::<Vec<_>>(), "groups": groups}))
}

/// Runs a report.
pub(super) async fn execute(call: &Call) -> Result<Value, Fault> {
    let rows = rows(call, call.data.id("id")?).await?;
    Ok(rows.into_iter().map(Value::Object).collect())
}

/// The ids in a column of a report.
pub(super) async fn ids_of_report(call: &Call, report: i64, column: &str) -> Result<Vec<i64>, Fault> {
    let rows = rows(call, report).await?;
    Ok(rows.iter().filter_map(|row| row.get(column)?.as_i64()).collect())
}

/// The rows of a report, which is about all computers: nothing for limited users.
async fn rows(call: &Call, id: i64) -> Result<Vec<Map<String, Value>>, Fault> {
    let report = REPORTS
        .iter()
        .find(|report: &&Report| report.id == id)
        .ok_or(Fault::NotFound)?;
    if call.caller.is_limited() {
        return Err(Fault::Denied);
    }
    Ok(call.state.store.run_report(report, call.state.now()).await?)
}
