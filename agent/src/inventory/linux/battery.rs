//! The battery, from the kernel's power supplies (`/sys/class/power_supply`, see its ABI documentation).

use super::attributes::{attribute, names};
use crate::host::Host;
use crate::inventory::Battery;
use crate::inventory::field::Result;

const POWER_SUPPLIES: &str = "/sys/class/power_supply";

/// Several batteries count as one.
pub(super) fn collect(host: &dyn Host) -> Result<Option<Option<Battery>>> {
    let mut supplies = Vec::new();
    for name in names(host, POWER_SUPPLIES)? {
        let folder = format!("{POWER_SUPPLIES}/{name}");
        supplies.extend(supply(|name| attribute(host, &folder, name)));
    }
    Ok(Some(combine(&supplies)))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Supply {
    Battery {
        /// Charge and capacity in the same unit, whichever the driver knows.
        charge: Option<(f64, f64)>,
        /// 0 to 1.
        level: f64,
        discharging: bool,
    },
    /// A power supply unit or a USB source.
    External { mains: bool, online: bool },
}

/// One power supply of the machine itself. Batteries of mice, headsets and the like have the scope `Device`.
fn supply(attribute: impl Fn(&str) -> Option<String>) -> Option<Supply> {
    if attribute("scope").as_deref() == Some("Device") {
        return None;
    }
    let number = |name: &str| {
        attribute(name)?
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    let kind = attribute("type")?;
    if kind == "Battery" {
        if attribute("present").as_deref() == Some("0") {
            return None;
        }
        let pair = |now: &str, full: &str| Some((number(now)?, number(full).filter(|full| *full > 0.0)?));
        let charge = pair("energy_now", "energy_full").or_else(|| pair("charge_now", "charge_full"));
        let level = match (charge, number("capacity")) {
            (Some((now, full)), _) => now / full,
            (None, Some(percent)) => percent / 100.0,
            (None, None) => return None,
        };
        let discharging = attribute("status").as_deref() == Some("Discharging");
        return Some(Supply::Battery {
            charge,
            level,
            discharging,
        });
    }
    (kind == "Mains" || kind.starts_with("USB")).then(|| Supply::External {
        mains: kind == "Mains",
        online: number("online").is_some_and(|online| online > 0.0),
    })
}

fn combine(supplies: &[Supply]) -> Option<Battery> {
    let (mut charges, mut levels, mut any_discharging) = (Vec::new(), Vec::new(), false);
    for supply in supplies {
        if let Supply::Battery {
            charge,
            level,
            discharging,
        } = supply
        {
            charges.extend(*charge);
            levels.push(*level);
            any_discharging |= *discharging;
        }
    }
    if levels.is_empty() {
        return None;
    }
    let mean = levels.iter().sum::<f64>() / f64::from(u32::try_from(levels.len()).ok()?);
    let (now, full) = charges
        .iter()
        .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let level = if charges.len() == levels.len() {
        now / full
    } else {
        mean
    };
    Some(Battery {
        // Four digits are more than any battery knows, and keep the report short.
        level: (level.clamp(0.0, 1.0) * 1e4).round() / 1e4,
        plugged: plugged(supplies).unwrap_or(!any_discharging),
    })
}

/// Whether an external source feeds the machine; unknown if there is none to ask. USB ports that could feed it count
/// only where it has no other way in.
fn plugged(supplies: &[Supply]) -> Option<bool> {
    let online = |wanted: bool| {
        let states = supplies.iter().filter_map(|supply| match supply {
            Supply::External { mains, online } if *mains == wanted => Some(*online),
            _ => None,
        });
        states.reduce(|one, other| one || other)
    };
    online(true).or_else(|| online(false).filter(|online| *online))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(attributes: &[(&str, &str)]) -> Option<Supply> {
        supply(|name| {
            let found = attributes.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const MAINS_OFF: &[(&str, &str)] = &[("type", "Mains"), ("online", "0")];
    const MAINS_ON: &[(&str, &str)] = &[("type", "Mains"), ("online", "1")];
    const HALF: &[(&str, &str)] = &[
        ("type", "Battery"),
        ("present", "1"),
        ("status", "Discharging"),
        ("energy_now", "25000000"),
        ("energy_full", "50000000"),
    ];

    fn combined(supplies: &[&[(&str, &str)]]) -> Option<Battery> {
        let supplies: Vec<_> = supplies
            .iter()
            .filter_map(|attributes| read(attributes))
            .collect();
        combine(&supplies)
    }

    #[test]
    fn a_machine_without_a_battery_has_none() {
        assert_eq!(combined(&[]), None);
        assert_eq!(combined(&[MAINS_ON]), None);
        assert_eq!(
            combined(&[&[("type", "Battery"), ("present", "0"), ("capacity", "0")]]),
            None
        );
        assert_eq!(
            combined(&[&[("type", "Battery"), ("scope", "Device"), ("capacity", "80")]]),
            None
        );
    }

    #[test]
    fn the_power_supply_unit_decides_whether_it_is_plugged_in() {
        let battery = |plugged| Some(Battery { level: 0.5, plugged });
        assert_eq!(combined(&[MAINS_OFF, HALF]), battery(false));
        assert_eq!(combined(&[HALF, MAINS_ON]), battery(true));
        assert_eq!(
            combined(&[HALF, MAINS_OFF, &[("type", "USB"), ("online", "1")]]),
            battery(false)
        );
        assert_eq!(
            combined(&[HALF, &[("type", "USB"), ("online", "1")]]),
            battery(true)
        );
        assert_eq!(combined(&[HALF]), battery(false));
    }

    #[test]
    fn two_batteries_count_by_their_size() {
        let small = &[
            ("type", "Battery"),
            ("status", "Not charging"),
            ("energy_now", "10000000"),
            ("energy_full", "10000000"),
        ];
        let level = combined(&[HALF, small]).unwrap().level;
        assert!((level - 35.0 / 60.0).abs() < 1e-4);
        let only_percent = &[("type", "Battery"), ("status", "Full"), ("capacity", "100")];
        let level = combined(&[HALF, only_percent]).unwrap().level;
        assert!((level - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_battery_that_claims_more_than_it_holds_is_full() {
        let worn = &[
            ("type", "Battery"),
            ("charge_now", "5100"),
            ("charge_full", "5000"),
        ];
        assert_eq!(
            combined(&[worn]),
            Some(Battery {
                level: 1.0,
                plugged: true
            })
        );
    }

    proptest! {
        #[test]
        fn levels_stay_between_zero_and_one(
            batteries in proptest::collection::vec(("-?[0-9]{1,20}|NaN|inf", "-?[0-9]{1,20}|nan|", "-?[0-9]{0,4}"), 1..4),
        ) {
            let attributes: Vec<[(&str, &str); 4]> = batteries
                .iter()
                .map(|(now, full, percent)| [
                    ("type", "Battery"), ("energy_now", now.as_str()), ("energy_full", full.as_str()), ("capacity", percent.as_str()),
                ])
                .collect();
            let attributes: Vec<&[(&str, &str)]> = attributes.iter().map(<[_; 4]>::as_slice).collect();
            if let Some(battery) = combined(&attributes) {
                prop_assert!((0.0..=1.0).contains(&battery.level), "{:?}", battery);
            }
        }
    }
}
