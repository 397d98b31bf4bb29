//! Makers of monitors by their PNP id, the three letters that an EDID has for them.

/// The usual name of a maker, if it is one of those that are seen in practice.
pub(super) fn name(id: &str) -> Option<&'static str> {
    let index = VENDORS.binary_search_by_key(&id, |(known, _)| known).ok()?;
    VENDORS.get(index).map(|(_, name)| *name)
}

/// Sorted by id.
static VENDORS: &[(&str, &str)] = &[
    ("AAC", "AcerView"),
    ("ACI", "Asus"),
    ("ACR", "Acer"),
    ("ACT", "Targa"),
    ("ADI", "ADI"),
    ("AIC", "AG Neovo"),
    ("AOC", "AOC"),
    ("API", "Acer"),
    ("APP", "Apple"),
    ("ART", "ArtMedia"),
    ("AST", "AST Research"),
    ("AUO", "AU Optronics"),
    ("AUS", "Asus"),
    ("BEL", "Beltronic"),
    ("BNQ", "BenQ"),
    ("BOE", "BOE"),
    ("CMN", "Chimei Innolux"),
    ("CMO", "Chi Mei Optoelectronics"),
    ("CPL", "Compal"),
    ("CPQ", "Compaq"),
    ("CPT", "Chunghwa Picture Tubes"),
    ("CSO", "CSOT"),
    ("CTX", "CTX"),
    ("DEC", "DEC"),
    ("DEL", "Dell"),
    ("DPC", "Delta"),
    ("DWE", "Daewoo"),
    ("ECS", "Elitegroup"),
    ("EIZ", "Eizo"),
    ("ELO", "Elo Touch"),
    ("ENC", "Eizo"),
    ("EPI", "Envision"),
    ("EPS", "Epson"),
    ("FCM", "Funai"),
    ("FUJ", "Fujitsu"),
    ("FUS", "Fujitsu Siemens"),
    ("GBT", "Gigabyte"),
    ("GSM", "LG"),
    ("GWY", "Gateway"),
    ("HAR", "Haier"),
    ("HEI", "Hyundai"),
    ("HIT", "Hitachi"),
    ("HPN", "HP"),
    ("HSD", "HannStar"),
    ("HSL", "Hansol"),
    ("HTC", "Hitachi"),
    ("HWP", "HP"),
    ("HWV", "Huawei"),
    ("IBM", "IBM"),
    ("ICL", "Fujitsu ICL"),
    ("IFS", "InFocus"),
    ("INL", "InnoLux"),
    ("IQT", "Hyundai"),
    ("IVM", "Iiyama"),
    ("IVO", "InfoVision"),
    ("JDI", "Japan Display"),
    ("KDS", "KDS"),
    ("LEN", "Lenovo"),
    ("LGD", "LG Display"),
    ("LPL", "LG Philips"),
    ("MAX", "Belinea"),
    ("MED", "Medion"),
    ("MEI", "Panasonic"),
    ("MEL", "Mitsubishi"),
    ("MSI", "MSI"),
    ("NAN", "Nanao"),
    ("NEC", "NEC"),
    ("NOK", "Nokia"),
    ("NVD", "Nvidia"),
    ("OPT", "Optoma"),
    ("OQI", "Optiquest"),
    ("PBN", "Packard Bell"),
    ("PHL", "Philips"),
    ("PIO", "Pioneer"),
    ("PNR", "Planar"),
    ("PRI", "Princeton"),
    ("QDS", "Quanta Display"),
    ("RHT", "Red Hat"),
    ("SAM", "Samsung"),
    ("SAN", "Sanyo"),
    ("SDC", "Samsung Display"),
    ("SEC", "Samsung"),
    ("SHP", "Sharp"),
    ("SII", "Silicon Image"),
    ("SNY", "Sony"),
    ("SYN", "Synaptics"),
    ("TAT", "Tatung"),
    ("TOS", "Toshiba"),
    ("TSB", "Toshiba"),
    ("VES", "Vestel"),
    ("VIZ", "Vizio"),
    ("VSC", "ViewSonic"),
    ("WAC", "Wacom"),
    ("WDE", "Westinghouse"),
    ("XMI", "Xiaomi"),
    ("ZCM", "Zenith"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_the_table_is_found() {
        for (id, vendor) in VENDORS {
            assert_eq!(name(id), Some(*vendor), "the table is not sorted at {id}");
        }
        assert_eq!(name("ZZZ"), None);
    }
}
