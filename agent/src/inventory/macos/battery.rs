//! The battery, from pmset(1).

use crate::host::Host;
use crate::inventory::Battery;
use crate::inventory::field::{CollectError, Result, command_output, lossy};

pub(super) fn collect(host: &dyn Host) -> Result<Option<Option<Battery>>> {
    let output = lossy(command_output(host, "pmset", &["-g", "batt"])?);
    let battery = parse(&output)
        .ok_or_else(|| CollectError::malformed("the output of pmset", "it does not name the power source"))?;
    Ok(Some(battery))
}

/// First the source (`Now drawing from 'AC Power'`), then a line for each battery of the Mac and for each
/// uninterruptible power supply, which is left out: ` -InternalBattery-0 (id=4325475) 87%; discharging; 5:12 remaining
/// present: true`.
fn parse(output: &str) -> Option<Option<Battery>> {
    let mut lines = output.lines();
    let source = lines.find_map(|line| line.trim().strip_prefix("Now drawing from '"))?;
    let levels: Vec<f64> = lines.filter_map(level).collect();
    if levels.is_empty() {
        return Some(None);
    }
    let mean = levels.iter().sum::<f64>() / f64::from(u32::try_from(levels.len()).ok()?);
    Some(Some(Battery {
        level: (mean * 1e4).round() / 1e4,
        plugged: !source.starts_with("Battery Power"),
    }))
}

/// 0 to 1.
fn level(line: &str) -> Option<f64> {
    let rest = line.trim().strip_prefix("-InternalBattery-")?;
    if rest.contains("present: false") {
        return None;
    }
    let (before, _) = rest.split_once('%')?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    let percent: u8 = digits.parse().ok()?;
    Some(f64::from(percent.min(100)) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_notebook_has_a_battery_and_a_desktop_has_none() {
        let at = |level, plugged| Some(Some(Battery { level, plugged }));
        let used = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=4325475)\t87%; discharging; 5:12 remaining present: true\n";
        assert_eq!(parse(used), at(0.87, false));
        let full = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining present: true\n";
        assert_eq!(parse(full), at(1.0, true));
        let warned = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t61%; AC attached; not charging present: true\n\t\tBattery Warning: Early\n";
        assert_eq!(parse(warned), at(0.61, true));
        assert_eq!(parse("Now drawing from 'AC Power'\n"), Some(None));
    }

    #[test]
    fn power_supplies_outside_and_missing_batteries_do_not_count() {
        let ups = "Now drawing from 'UPS Power'\n -Back-UPS ES 700 (id=20)\t55%; discharging; 0:20 remaining present: true\n";
        assert_eq!(parse(ups), Some(None));
        let gone = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t0%; (removed) present: false\n";
        assert_eq!(parse(gone), Some(None));
        assert_eq!(parse("pmset: error\n"), None);
        assert_eq!(parse(""), None);
    }

    proptest! {
        #[test]
        fn levels_stay_between_zero_and_one(
            lines in "(Now drawing from '|Battery Power'|\n| -InternalBattery-0 \\(id=1\\)\t|[0-9]{1,4}%;|present: (true|false)|\\PC)*",
        ) {
            if let Some(Some(battery)) = parse(&format!("Now drawing from 'AC Power'\n{lines}")) {
                prop_assert!((0.0..=1.0).contains(&battery.level));
            }
        }
    }
}
