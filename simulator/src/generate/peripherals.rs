//! What is built in beside processor and memory or plugged in: display adapters, screens, USB devices, printers, batteries.

use super::hardware::Form;
use super::{Draw, Profile, Topic};
use std::time::SystemTime;

/// A PCI display adapter.
#[derive(Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Vendor and device number.
    pub ids: (u16, u16),
    /// The vendor's name in `pci.ids`.
    pub vendor: &'static str,
    /// The device's name in `pci.ids`; none: the list is older than the device.
    pub name: Option<&'static str>,
}

/// A model of a monitor or panel.
#[derive(Debug, PartialEq, Eq)]
pub struct Monitor {
    /// The maker's PNP id.
    pub pnp_id: &'static str,
    /// What the agent calls the maker.
    pub maker: &'static str,
    /// Product code.
    pub product: u16,
    /// Name, or the maker's designation of a panel.
    pub name: &'static str,
    /// Width and height, pixels.
    pub pixels: (u16, u16),
    /// Width and height, cm; zero: a projector.
    pub centimetres: (u8, u8),
    /// Digital, or analogue.
    pub digital: bool,
}

/// A monitor that is connected.
#[derive(Debug, PartialEq, Eq)]
pub struct Screen {
    /// Where: `eDP-1`.
    pub connector: &'static str,
    /// What.
    pub monitor: &'static Monitor,
    /// Serial number; panels have none.
    pub serial: Option<String>,
    /// Week of manufacture; 0: unknown.
    pub week: u8,
    /// Year of manufacture.
    pub year: u16,
}

/// A USB device.
#[derive(Debug, PartialEq, Eq)]
pub struct UsbDevice {
    /// Vendor and product number.
    pub ids: (u16, u16),
    /// Its own name; some have none.
    pub name: &'static str,
    /// Whether each one has a serial number.
    pub has_serial: bool,
}

/// A print queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Printer {
    /// Name of the queue.
    pub name: &'static str,
    /// Make and model of its driver.
    pub driver: &'static str,
    /// Its address.
    pub uri: &'static str,
    /// Its paper, if anything tells.
    pub paper: Option<&'static str>,
    /// How it is.
    pub mood: Mood,
}

/// How a printer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It waits for jobs.
    Idle,
    /// It has stopped: there is no paper.
    NoPaper,
    /// Its queue takes no jobs. What it is and has is in its driver's file only.
    Rejecting,
    /// It is switched off, as label printers are until somebody needs a label.
    Off,
}

/// What the kernel's driver of a battery tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatteryDriver {
    /// Energy, and there is a power supply unit.
    Energy,
    /// Charge, and there are a wireless mouse's battery and an empty bay, too.
    Charge,
    /// Percent, and a USB port feeds it.
    Percent,
    /// Nothing: its contacts are dirty.
    Mute,
}

impl Screen {
    /// Whether Windows' driver has lost its EDID, or most of it.
    pub fn driver_has_no_edid(&self) -> bool {
        self.week % 8 == 5 || self.is_behind_an_adapter()
    }

    /// Whether an adapter passes on only a part of its EDID.
    pub fn is_behind_an_adapter(&self) -> bool {
        self.week % 8 == 6
    }

    /// Whether the checksum of its EDID is wrong, as that of many monitors which work.
    pub fn has_wrong_checksum(&self) -> bool {
        self.week % 8 == 3
    }
}

impl Printer {
    /// The port that it is on in Windows.
    pub fn port(&self) -> &'static str {
        match self.uri.split(':').next() {
            Some("socket") => "IP_192.0.2.40",
            Some("usb") => "USB001",
            Some("smb") => r"\\server.corp.example\queue",
            _ => "WSD-3d8f2a10-5e7b-4c61-9c3a-0a1b2c3d4e5f.0032",
        }
    }

    /// Its address without the password that is in it.
    pub fn public_uri(&self) -> String {
        self.uri.replace("print:geheim@", "")
    }

    /// Dots an inch, across and down.
    pub fn dots(&self) -> (u16, u16) {
        match self.mood {
            Mood::NoPaper => (600, 1200),
            Mood::Rejecting => (300, 300),
            Mood::Idle | Mood::Off => (600, 600),
        }
    }
}

/// State of a battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Ten-thousandths of its capacity.
    pub level: u16,
    /// Whether it is being charged.
    pub plugged: bool,
}

const fn adapter(
    windows: &'static str,
    ids: (u16, u16),
    vendor: &'static str,
    name: Option<&'static str>,
) -> (&'static str, Adapter) {
    (windows, Adapter { ids, vendor, name })
}

const INTEL: &str = "Intel Corporation";
const AMD: &str = "Advanced Micro Devices, Inc. [AMD/ATI]";

/// By the name that the hardware tables have for it.
#[rustfmt::skip]
static ADAPTERS: &[(&str, Adapter)] = &[
    adapter("Intel(R) Iris(R) Xe Graphics", (0x8086, 0xa7a1), INTEL, Some("Raptor Lake-P [Iris Xe Graphics]")),
    adapter("Intel(R) UHD Graphics", (0x8086, 0x46a3), INTEL, None),
    adapter("Intel(R) HD Graphics 630", (0x8086, 0x5912), INTEL, Some("HD Graphics 630")),
    adapter("Intel(R) UHD Graphics 620", (0x8086, 0x3ea0), INTEL, Some("WhiskeyLake-U GT2 [UHD Graphics 620]")),
    adapter("AMD Radeon(TM) Graphics", (0x1002, 0x1638), AMD, Some("Cezanne [Radeon Vega Series / Radeon Vega Mobile Series]")),
    adapter("NVIDIA GeForce GTX 1060 6GB", (0x10de, 0x1c03), "NVIDIA Corporation", Some("GP106 [GeForce GTX 1060 6GB]")),
    adapter("NVIDIA GeForce RTX 3070", (0x10de, 0x2484), "NVIDIA Corporation", Some("GA104 [GeForce RTX 3070]")),
    adapter("Matrox G200eW3 (Nuvoton) WDDM 2.0", (0x102b, 0x0536), "Matrox Electronics Systems Ltd.", Some("Integrated Matrox G200eW3 Graphics Controller")),
    adapter("ASPEED Graphics Family(WDDM)", (0x1a03, 0x2000), "ASPEED Technology, Inc.", Some("ASPEED Graphics Family")),
    adapter("VMware SVGA 3D", (0x15ad, 0x0405), "VMware", Some("SVGA II Adapter")),
    adapter("Red Hat QXL controller", (0x1b36, 0x0100), "Red Hat, Inc.", Some("QXL paravirtual graphic card")),
    adapter("Microsoft Basic Display Adapter", (0x1234, 0x1111), "Technical Corp.", None),
    adapter("VirtualBox Graphics Adapter (WDDM)", (0x80ee, 0xbeef), "InnoTek Systemberatung GmbH", Some("VirtualBox Graphics Adapter")),
];

#[rustfmt::skip]
static PANELS: [Monitor; 3] = [
    Monitor { pnp_id: "AUO", maker: "AU Optronics", product: 0x573d, name: "B140HAN05.7", pixels: (1920, 1080), centimetres: (31, 17), digital: true },
    Monitor { pnp_id: "BOE", maker: "BOE", product: 0x0a1d, name: "NV140WUM-N41", pixels: (1920, 1200), centimetres: (30, 19), digital: true },
    Monitor { pnp_id: "LGD", maker: "LG Display", product: 0x06b3, name: "LP140QH2-SPB1", pixels: (2560, 1440), centimetres: (31, 17), digital: true },
];

#[rustfmt::skip]
static MONITORS: [Monitor; 6] = [
    Monitor { pnp_id: "DEL", maker: "Dell", product: 0xa0c4, name: "DELL U2417H", pixels: (1920, 1080), centimetres: (53, 30), digital: true },
    Monitor { pnp_id: "DEL", maker: "Dell", product: 0x4136, name: "DELL P2719H", pixels: (1920, 1080), centimetres: (60, 34), digital: true },
    Monitor { pnp_id: "GSM", maker: "LG", product: 0x7706, name: "LG ULTRAWIDE", pixels: (3440, 1440), centimetres: (80, 34), digital: true },
    Monitor { pnp_id: "EIZ", maker: "Eizo", product: 0x2390, name: "EV2455", pixels: (1920, 1200), centimetres: (52, 33), digital: true },
    Monitor { pnp_id: "SAM", maker: "Samsung", product: 0x0561, name: "SyncMaster", pixels: (1680, 1050), centimetres: (47, 30), digital: false },
    Monitor { pnp_id: "XYP", maker: "Unknown (XYP)", product: 0x0001, name: "HD PROJECTOR", pixels: (1280, 800), centimetres: (0, 0), digital: true },
];

static USB_DEVICES: [UsbDevice; 7] = [
    UsbDevice {
        ids: (0x046d, 0xc52b),
        name: "USB Receiver",
        has_serial: false,
    },
    UsbDevice {
        ids: (0x413c, 0x2113),
        name: "Dell KB216 Wired Keyboard",
        has_serial: false,
    },
    UsbDevice {
        ids: (0x045e, 0x0040),
        name: "Microsoft 3-Button Mouse with IntelliEye(TM)",
        has_serial: false,
    },
    UsbDevice {
        ids: (0x0781, 0x5581),
        name: "Ultra",
        has_serial: true,
    },
    UsbDevice {
        ids: (0x1050, 0x0407),
        name: "YubiKey OTP+FIDO+CCID",
        has_serial: false,
    },
    UsbDevice {
        ids: (0x06cb, 0x00bd),
        name: "",
        has_serial: true,
    },
    UsbDevice {
        ids: (0x04f2, 0xb6be),
        name: "Integrated Camera",
        has_serial: true,
    },
];

static PRINTERS: [Printer; 5] = [
    Printer {
        name: "Office_3",
        driver: "HP Color LaserJet MFP M480 Postscript (recommended)",
        uri: "socket://192.0.2.40:9100",
        paper: Some("A4"),
        mood: Mood::Idle,
    },
    Printer {
        name: "labels",
        driver: "Zebra ZPL Label Printer",
        uri: "usb://Zebra/ZD420?serial=50J1",
        paper: Some("w288h432"),
        mood: Mood::Off,
    },
    Printer {
        name: "Brother_HL-L2350DW",
        driver: "Brother HL-L2350DW series, driverless, cups-filters 1.28.17",
        uri: "ipps://Brother%20HL-L2350DW._ipps._tcp.local/",
        paper: None,
        mood: Mood::Idle,
    },
    Printer {
        name: "Plotter",
        driver: "HP DesignJet T650 Postscript",
        uri: "socket://192.0.2.41:9100",
        paper: None,
        mood: Mood::NoPaper,
    },
    Printer {
        name: "Kanzlei",
        driver: "KONICA MINOLTA bizhub C258",
        uri: "smb://print:geheim@server.corp.example/queue",
        paper: Some("Letter"),
        mood: Mood::Rejecting,
    },
];

/// Outputs of a display adapter, the notebook's own panel first.
const CONNECTORS: [&str; 4] = ["eDP-1", "DP-1", "DP-2", "HDMI-A-1"];

/// Topic's items: one stream for each kind of thing.
const SCREENS: u64 = 0;
const DEVICES: u64 = 1;
const QUEUES: u64 = 2;
const BATTERY: u64 = 3;
const LISTS: u64 = 4;
const DRIVER: u64 = 5;

impl Charge {
    /// As systems say it that know no fractions of a percent.
    pub fn percent(self) -> u16 {
        self.level / 100
    }
}

impl Profile {
    /// Display adapters on the PCI bus; boards have none there.
    pub fn adapter(&self) -> Option<&'static Adapter> {
        let (_, adapter) = ADAPTERS.iter().find(|(name, _)| Some(*name) == self.gpu)?;
        Some(adapter)
    }

    /// Whether the list of PCI names is installed.
    pub fn has_pci_names(&self) -> bool {
        Draw::new(self.machine, Topic::Peripherals, LISTS).permille(850)
    }

    /// Connected screens.
    pub fn screens(&self) -> Vec<Screen> {
        let mut draw = Draw::new(self.machine, Topic::Peripherals, SCREENS);
        let mut connectors = CONNECTORS.into_iter();
        let panel = connectors.next().filter(|_| self.model.form == Form::Laptop);
        let most = match self.model.form {
            Form::Laptop | Form::Desktop => 3,
            Form::Server | Form::Virtual | Form::Board => 0,
        };
        let mut screens = Vec::new();
        if let Some(connector) = panel {
            let (monitor, year) = (draw.index(PANELS.len()), 2015 + draw.below(9));
            screens.extend(PANELS.get(monitor).map(|monitor| Screen {
                connector,
                monitor,
                serial: None,
                week: 0,
                year: u16::try_from(year).unwrap_or(2015),
            }));
        }
        for connector in connectors.take(draw.index(most + 1).min(most)) {
            let (monitor, year) = (draw.index(MONITORS.len()), 2012 + draw.below(13));
            let week = u8::try_from(1 + draw.below(52)).unwrap_or(1);
            let mut serial = String::new();
            draw.text(b"0123456789ABCDEFGHJKLMNPRTVWXYZ", 12, &mut serial);
            screens.extend(MONITORS.get(monitor).map(|monitor| Screen {
                connector,
                monitor,
                serial: Some(serial),
                week,
                year: u16::try_from(year).unwrap_or(2012),
            }));
        }
        screens
    }

    /// USB devices that are plugged in, each with its serial number if it has one.
    pub fn usb_devices(&self) -> Vec<(&'static UsbDevice, Option<String>)> {
        let mut draw = Draw::new(self.machine, Topic::Peripherals, DEVICES);
        let share = match self.model.form {
            Form::Laptop | Form::Desktop => 350,
            Form::Server | Form::Board => 80,
            Form::Virtual => 0,
        };
        let drawn = USB_DEVICES.iter().map(|device| {
            let (there, serial) = (draw.permille(share), draw.next_u64());
            let serial = device.has_serial.then(|| format!("{serial:016X}"));
            there.then_some((device, serial))
        });
        drawn.flatten().collect()
    }

    /// Print queues.
    pub fn printers(&self) -> Vec<&'static Printer> {
        let mut draw = Draw::new(self.machine, Topic::Peripherals, QUEUES);
        let share = if matches!(self.model.form, Form::Laptop | Form::Desktop) {
            300
        } else {
            0
        };
        PRINTERS.iter().filter(|_| draw.permille(share)).collect()
    }

    /// What a notebook's battery tells; other machines have none.
    pub fn battery_driver(&self) -> Option<BatteryDriver> {
        let kind = Draw::new(self.machine, Topic::Peripherals, DRIVER).below(1000);
        (self.model.form == Form::Laptop).then_some(match kind {
            0..=599 => BatteryDriver::Energy,
            600..=799 => BatteryDriver::Charge,
            800..=949 => BatteryDriver::Percent,
            _ => BatteryDriver::Mute,
        })
    }

    /// The battery of a notebook, as far as it tells: charged for five of eight hours, used in the others.
    pub fn charge(&self, now: SystemTime) -> Option<Charge> {
        const HOUR: u64 = 3600;
        if self
            .battery_driver()
            .is_none_or(|driver| driver == BatteryDriver::Mute)
        {
            return None;
        }
        let phase = Draw::new(self.machine, Topic::Peripherals, BATTERY).between(0, 8 * HOUR);
        let at = (Self::seconds(now) + phase) % (8 * HOUR);
        let plugged = at < 5 * HOUR;
        let level = if plugged {
            4000 + at
        } else {
            10_000 - (at - 5 * HOUR) / 2
        };
        Some(Charge {
            level: u16::try_from(level.min(10_000)).unwrap_or(10_000),
            plugged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::hardware::PC_MODELS;
    use super::*;

    #[test]
    fn every_display_adapter_of_the_hardware_tables_but_hyper_vs_is_on_the_bus() {
        for gpu in PC_MODELS.iter().flat_map(|model| model.gpus) {
            // That one is on a bus of its own.
            let known = ADAPTERS.iter().any(|(name, _)| name == gpu);
            assert_eq!(known, *gpu != "Microsoft Hyper-V Video", "{gpu}");
        }
    }
}
