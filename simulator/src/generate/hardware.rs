//! Hardware models: vendors, processors, memory, serial numbers and firmware that belong together.

/// What kind of machine a model is; decides its names, networks and disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Portable.
    Laptop,
    /// Under a desk.
    Desktop,
    /// In a rack.
    Server,
    /// A virtual machine.
    Virtual,
    /// A single-board computer without DMI.
    Board,
}

/// How a vendor writes serial numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// Prefix and that many letters and digits.
    Code(&'static str, usize),
    /// `VMware-56 4d ...`, from the UUID.
    VmWare,
    /// `0000-0004-...`: groups of digits.
    Groups,
    /// What the vendor forgot to fill in.
    Same(&'static str),
}

/// How a vendor writes firmware versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// `1.17.2`.
    Dotted,
    /// Prefix, then `1.43 )`, as Lenovo does.
    Coded(&'static str),
    /// Prefix, then ` Ver. 01.16.00`.
    Ver(&'static str),
    /// The same on each one.
    Same(&'static str),
}

/// A hardware model.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// How common it is.
    pub weight: u32,
    /// What it is.
    pub form: Form,
    /// System manufacturer.
    pub vendor: &'static str,
    /// Product name.
    pub name: &'static str,
    /// Processors it comes with.
    pub cpus: &'static [&'static str],
    /// Most processor sockets.
    pub sockets: u8,
    /// Cores a socket.
    pub cores: u8,
    /// Memory it comes with, MiB.
    pub ram_mib: &'static [u32],
    /// Display adapters it comes with.
    pub gpus: &'static [&'static str],
    /// Serial numbers.
    pub serial: Serial,
    /// Firmware versions.
    pub firmware: Firmware,
    /// First three bytes of its network interfaces' addresses.
    pub ouis: &'static [[u8; 3]],
}

const I5: &[&str] = &[
    "13th Gen Intel(R) Core(TM) i5-1345U",
    "12th Gen Intel(R) Core(TM) i5-1245U",
    "11th Gen Intel(R) Core(TM) i5-1145G7 @ 2.60GHz",
];
const OLD_I5: &[&str] = &[
    "Intel(R) Core(TM) i5-7500 CPU @ 3.40GHz",
    "Intel(R) Core(TM) i5-8265U CPU @ 1.60GHz",
    "Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz",
];
const RYZEN: &[&str] = &[
    "AMD Ryzen 5 PRO 5650U with Radeon Graphics",
    "AMD Ryzen 7 PRO 7840U w/ Radeon 780M Graphics",
];
const XEON: &[&str] = &[
    "Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz",
    "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
    "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz",
];
const EPYC: &[&str] = &[
    "AMD EPYC 7543 32-Core Processor",
    "AMD EPYC 9354P 32-Core Processor",
];
const IRIS: &[&str] = &["Intel(R) Iris(R) Xe Graphics", "Intel(R) UHD Graphics"];
const OLD_INTEL: &[&str] = &["Intel(R) HD Graphics 630", "Intel(R) UHD Graphics 620"];
const RADEON: &[&str] = &["AMD Radeon(TM) Graphics"];
const MATROX: &[&str] = &[
    "Matrox G200eW3 (Nuvoton) WDDM 2.0",
    "ASPEED Graphics Family(WDDM)",
];
const OFFICE_RAM: &[u32] = &[8 << 10, 16 << 10, 16 << 10, 32 << 10];
const SERVER_RAM: &[u32] = &[64 << 10, 128 << 10, 256 << 10, 512 << 10];
const VM_RAM: &[u32] = &[1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10];

/// Machines that run Linux or Windows.
#[rustfmt::skip]
pub static PC_MODELS: &[Model] = &[
    Model { weight: 14, form: Form::Laptop, vendor: "LENOVO", name: "ThinkPad T14 Gen 3", cpus: I5, sockets: 1, cores: 10, ram_mib: OFFICE_RAM, gpus: IRIS, serial: Serial::Code("PF", 6), firmware: Firmware::Coded("N3MET1"), ouis: &[[0x88, 0xa4, 0xc2], [0x6c, 0x24, 0x08]] },
    Model { weight: 8, form: Form::Laptop, vendor: "LENOVO", name: "21HESDXH00", cpus: RYZEN, sockets: 1, cores: 6, ram_mib: OFFICE_RAM, gpus: RADEON, serial: Serial::Code("PF", 6), firmware: Firmware::Coded("R23ET7"), ouis: &[[0x88, 0xa4, 0xc2]] },
    Model { weight: 14, form: Form::Laptop, vendor: "Dell Inc.", name: "Latitude 5540", cpus: I5, sockets: 1, cores: 10, ram_mib: OFFICE_RAM, gpus: IRIS, serial: Serial::Code("", 7), firmware: Firmware::Dotted, ouis: &[[0xac, 0x91, 0xa1], [0xb0, 0x7b, 0x25]] },
    Model { weight: 10, form: Form::Desktop, vendor: "Dell Inc.", name: "OptiPlex 7050", cpus: OLD_I5, sockets: 1, cores: 4, ram_mib: OFFICE_RAM, gpus: OLD_INTEL, serial: Serial::Code("", 7), firmware: Firmware::Dotted, ouis: &[[0xd8, 0x9e, 0xf3], [0x48, 0x4d, 0x7e]] },
    Model { weight: 10, form: Form::Laptop, vendor: "HP", name: "HP EliteBook 840 14 inch G9 Notebook PC", cpus: I5, sockets: 1, cores: 10, ram_mib: OFFICE_RAM, gpus: IRIS, serial: Serial::Code("5CG", 7), firmware: Firmware::Ver("U70"), ouis: &[[0x64, 0x4e, 0xd7], [0xc8, 0x5a, 0xcf]] },
    Model { weight: 8, form: Form::Desktop, vendor: "HP", name: "HP ProDesk 600 G3 SFF", cpus: OLD_I5, sockets: 1, cores: 4, ram_mib: OFFICE_RAM, gpus: OLD_INTEL, serial: Serial::Code("CZC", 7), firmware: Firmware::Ver("P07"), ouis: &[[0xf4, 0x30, 0xb9]] },
    Model { weight: 5, form: Form::Desktop, vendor: "FUJITSU", name: "ESPRIMO D7011", cpus: I5, sockets: 1, cores: 6, ram_mib: OFFICE_RAM, gpus: IRIS, serial: Serial::Code("YMBW", 6), firmware: Firmware::Same("V5.0.0.14 R1.21.0 for D3822-A1x"), ouis: &[[0x4c, 0x52, 0x62]] },
    Model { weight: 4, form: Form::Desktop, vendor: "System manufacturer", name: "System Product Name", cpus: OLD_I5, sockets: 1, cores: 4, ram_mib: &[8 << 10, 32 << 10, 64 << 10], gpus: &["NVIDIA GeForce GTX 1060 6GB", "NVIDIA GeForce RTX 3070"], serial: Serial::Same("System Serial Number"), firmware: Firmware::Same("5220"), ouis: &[[0x04, 0xd4, 0xc4]] },
    Model { weight: 2, form: Form::Desktop, vendor: "To Be Filled By O.E.M.", name: "To Be Filled By O.E.M.", cpus: RYZEN, sockets: 1, cores: 6, ram_mib: OFFICE_RAM, gpus: RADEON, serial: Serial::Same("To Be Filled By O.E.M."), firmware: Firmware::Same("P3.30"), ouis: &[[0x70, 0x85, 0xc2]] },
    Model { weight: 6, form: Form::Server, vendor: "Dell Inc.", name: "PowerEdge R650", cpus: XEON, sockets: 2, cores: 16, ram_mib: SERVER_RAM, gpus: MATROX, serial: Serial::Code("", 7), firmware: Firmware::Dotted, ouis: &[[0xb4, 0x45, 0x06]] },
    Model { weight: 4, form: Form::Server, vendor: "HPE", name: "ProLiant DL385 Gen10 Plus", cpus: EPYC, sockets: 2, cores: 32, ram_mib: SERVER_RAM, gpus: MATROX, serial: Serial::Code("CZ2", 7), firmware: Firmware::Same("A42"), ouis: &[[0x94, 0x40, 0xc9]] },
    Model { weight: 3, form: Form::Server, vendor: "Supermicro", name: "Super Server", cpus: EPYC, sockets: 1, cores: 32, ram_mib: SERVER_RAM, gpus: MATROX, serial: Serial::Same("0123456789"), firmware: Firmware::Same("2.4"), ouis: &[[0x3c, 0xec, 0xef]] },
    Model { weight: 10, form: Form::Virtual, vendor: "VMware, Inc.", name: "VMware Virtual Platform", cpus: XEON, sockets: 2, cores: 2, ram_mib: VM_RAM, gpus: &["VMware SVGA 3D"], serial: Serial::VmWare, firmware: Firmware::Same("6.00"), ouis: &[[0x00, 0x50, 0x56], [0x00, 0x0c, 0x29]] },
    Model { weight: 8, form: Form::Virtual, vendor: "QEMU", name: "Standard PC (Q35 + ICH9, 2009)", cpus: &["QEMU Virtual CPU version 2.5+", "Intel Xeon Processor (Skylake, IBRS)", "Common KVM processor"], sockets: 4, cores: 1, ram_mib: VM_RAM, gpus: &["Red Hat QXL controller", "Microsoft Basic Display Adapter"], serial: Serial::Same(""), firmware: Firmware::Same("1.16.2-debian-1.16.2-1"), ouis: &[[0x52, 0x54, 0x00], [0xbc, 0x24, 0x11]] },
    Model { weight: 5, form: Form::Virtual, vendor: "Microsoft Corporation", name: "Virtual Machine", cpus: XEON, sockets: 1, cores: 4, ram_mib: VM_RAM, gpus: &["Microsoft Hyper-V Video"], serial: Serial::Groups, firmware: Firmware::Same("Hyper-V UEFI Release v4.1"), ouis: &[[0x00, 0x15, 0x5d]] },
    Model { weight: 3, form: Form::Virtual, vendor: "innotek GmbH", name: "VirtualBox", cpus: OLD_I5, sockets: 1, cores: 2, ram_mib: VM_RAM, gpus: &["VirtualBox Graphics Adapter (WDDM)"], serial: Serial::Same("0"), firmware: Firmware::Same("VirtualBox"), ouis: &[[0x08, 0x00, 0x27]] },
];

/// Single-board computers and ARM servers, Linux only.
#[rustfmt::skip]
pub static ARM_MODELS: &[Model] = &[
    Model { weight: 5, form: Form::Board, vendor: "", name: "Raspberry Pi 4 Model B Rev 1.4", cpus: &["Cortex-A72"], sockets: 1, cores: 4, ram_mib: &[2 << 10, 4 << 10, 8 << 10], gpus: &[], serial: Serial::Same(""), firmware: Firmware::Same(""), ouis: &[[0xdc, 0xa6, 0x32], [0xe4, 0x5f, 0x01]] },
    Model { weight: 2, form: Form::Virtual, vendor: "Amazon EC2", name: "t4g.medium", cpus: &["Neoverse N1"], sockets: 1, cores: 2, ram_mib: &[4 << 10], gpus: &[], serial: Serial::Code("ec2", 8), firmware: Firmware::Same("1.0"), ouis: &[[0x06, 0x1d, 0x5c]] },
];

const APPLE: &str = "Apple Inc.";
const APPLE_OUIS: &[[u8; 3]] = &[[0xf0, 0x18, 0x98], [0x3c, 0x22, 0xfb], [0xa4, 0x83, 0xe7]];

/// Macs. Those with a processor of Apple's own are `arm64`.
#[rustfmt::skip]
pub static MAC_MODELS: &[Model] = &[
    Model { weight: 8, form: Form::Laptop, vendor: APPLE, name: "MacBookAir10,1", cpus: &["Apple M1"], sockets: 1, cores: 8, ram_mib: &[8 << 10, 16 << 10], gpus: &["Apple M1"], serial: Serial::Code("C02", 9), firmware: Firmware::Same("10151.140.19"), ouis: APPLE_OUIS },
    Model { weight: 8, form: Form::Laptop, vendor: APPLE, name: "Mac14,7", cpus: &["Apple M2"], sockets: 1, cores: 8, ram_mib: &[8 << 10, 16 << 10, 24 << 10], gpus: &["Apple M2"], serial: Serial::Code("", 10), firmware: Firmware::Same("11881.41.5"), ouis: APPLE_OUIS },
    Model { weight: 6, form: Form::Laptop, vendor: APPLE, name: "Mac15,6", cpus: &["Apple M3 Pro"], sockets: 1, cores: 11, ram_mib: &[18 << 10, 36 << 10], gpus: &["Apple M3 Pro"], serial: Serial::Code("", 10), firmware: Firmware::Same("11881.41.5"), ouis: APPLE_OUIS },
    Model { weight: 3, form: Form::Desktop, vendor: APPLE, name: "Macmini9,1", cpus: &["Apple M1"], sockets: 1, cores: 8, ram_mib: &[8 << 10, 16 << 10], gpus: &["Apple M1"], serial: Serial::Code("C07", 9), firmware: Firmware::Same("8422.141.2"), ouis: APPLE_OUIS },
    Model { weight: 4, form: Form::Laptop, vendor: APPLE, name: "MacBookPro16,1", cpus: &["Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", "Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz"], sockets: 1, cores: 8, ram_mib: &[16 << 10, 32 << 10], gpus: &["AMD Radeon Pro 5300M"], serial: Serial::Code("C02", 9), firmware: Firmware::Same("2020.41.1.0.0 (iBridge: 21.16.4206.0.0,0)"), ouis: APPLE_OUIS },
    Model { weight: 2, form: Form::Desktop, vendor: APPLE, name: "iMac19,1", cpus: &["Intel(R) Core(TM) i5-9600K CPU @ 3.70GHz"], sockets: 1, cores: 6, ram_mib: &[8 << 10, 40 << 10], gpus: &["AMD Radeon Pro 580X"], serial: Serial::Code("C02", 9), firmware: Firmware::Same("1968.140.7.0.0"), ouis: APPLE_OUIS },
];
