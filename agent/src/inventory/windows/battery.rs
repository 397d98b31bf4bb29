//! The battery, as WMI's `Win32_Battery` has it. An uninterruptible power supply on the USB port is one, too.

use super::wmi;
use crate::host::{Host, WmiRow};
use crate::inventory::Battery;
use crate::inventory::field::Result;

/// `Availability` of a bay without a battery in it.
const NOT_INSTALLED: u64 = 11;

/// Values of `BatteryStatus` of a battery that is used: discharging, low, critical.
const DISCHARGING: [u64; 3] = [1, 4, 5];

/// Several batteries count as one.
pub(super) fn collect(host: &dyn Host) -> Result<Option<Option<Battery>>> {
    let query = "SELECT Availability, BatteryStatus, EstimatedChargeRemaining FROM Win32_Battery";
    Ok(Some(combine(&wmi::rows(host, query)?)))
}

/// Their mean charge: few drivers tell the capacities that could weigh them.
fn combine(rows: &[WmiRow]) -> Option<Battery> {
    let present = rows
        .iter()
        .filter(|row| wmi::number(row, "Availability") != Some(NOT_INSTALLED));
    let (mut sum, mut count, mut discharging) = (0.0, 0.0, false);
    for row in present {
        let Some(percent) = wmi::number(row, "EstimatedChargeRemaining") else {
            continue;
        };
        // Worn batteries claim more than they hold.
        sum += f64::from(u8::try_from(percent.min(100)).unwrap_or(100)) / 100.0;
        count += 1.0;
        discharging |= wmi::number(row, "BatteryStatus").is_some_and(|status| DISCHARGING.contains(&status));
    }
    (count > 0.0).then(|| Battery {
        level: (sum / count * 1e4_f64).round() / 1e4,
        plugged: !discharging,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn battery(json: &str) -> Option<Battery> {
        combine(&serde_json::from_str::<Vec<WmiRow>>(json).unwrap())
    }

    fn at(level: f64, plugged: bool) -> Option<Battery> {
        Some(Battery { level, plugged })
    }

    #[test]
    fn a_machine_without_a_battery_has_none() {
        assert_eq!(battery("[]"), None);
        let empty_bay = r#"[{"Availability": 11, "BatteryStatus": 10, "EstimatedChargeRemaining": 0}]"#;
        assert_eq!(battery(empty_bay), None);
        assert_eq!(
            battery(r#"[{"BatteryStatus": 2, "EstimatedChargeRemaining": null}]"#),
            None
        );
    }

    #[test]
    fn the_status_tells_whether_it_is_used() {
        for (status, plugged) in [
            (1, false),
            (2, true),
            (3, true),
            (4, false),
            (5, false),
            (6, true),
            (11, true),
        ] {
            let json = format!(r#"[{{"BatteryStatus": {status}, "EstimatedChargeRemaining": 87}}]"#);
            assert_eq!(battery(&json), at(0.87, plugged), "{status}");
        }
    }

    #[test]
    fn two_batteries_count_as_one_and_a_worn_one_is_full() {
        let two = r#"[{"BatteryStatus": 2, "EstimatedChargeRemaining": 40},
                      {"BatteryStatus": 1, "EstimatedChargeRemaining": 105}]"#;
        assert_eq!(battery(two), at(0.7, false));
    }

    proptest! {
        #[test]
        fn levels_stay_between_zero_and_one(
            rows in proptest::collection::vec((any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>()), 0..4),
        ) {
            let row = |(availability, status, charge): &(Option<u64>, Option<u64>, Option<u64>)| {
                serde_json::json!({"Availability": availability, "BatteryStatus": status, "EstimatedChargeRemaining": charge})
            };
            let json = serde_json::Value::from_iter(rows.iter().map(row)).to_string();
            if let Some(battery) = battery(&json) {
                prop_assert!((0.0..=1.0).contains(&battery.level));
            }
        }
    }
}
