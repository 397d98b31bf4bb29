//! Service checks that administrators have set up: programs in a folder, with what they print.

use super::{Draw, Profile, Topic};
use oco_agent::host::{CommandOutput, Os};
use std::io;
use std::time::SystemTime;

/// How many of a thousand machines have some.
const SHARE: u32 = 60;
const HOUR: u64 = 3600;

/// Streams of draws.
const FILES: u64 = 0;

/// What happens when a file in the folder is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Usage of a disk, a metric with thresholds.
    Disk,
    /// A plain check without metrics.
    Plain,
    /// Several services, and lines that are none.
    Chatty,
    /// It fails after what it had to say.
    Failing,
    /// It prints in the code page of a console.
    CodePage,
    /// Notes, which nobody can run.
    Notes,
    /// It waits for something that never comes.
    Hanging,
    /// Its interpreter is not there.
    Broken,
}

#[rustfmt::skip]
static FILES_OF_UNIX: [(&str, Kind); 8] = [
    ("10-disk.sh", Kind::Disk), ("README", Kind::Notes), ("backup.py", Kind::Failing), ("cluster", Kind::Chatty), ("cron", Kind::Plain),
    ("legacy.pl", Kind::CodePage), ("nfs-mounts", Kind::Hanging), ("php-fpm.php", Kind::Broken),
];
#[rustfmt::skip]
static FILES_OF_WINDOWS: [(&str, Kind); 8] = [
    ("backup.cmd", Kind::Failing), ("cluster.exe", Kind::Chatty), ("disk.exe", Kind::Disk), ("drucker.bat", Kind::CodePage),
    ("liesmich.txt", Kind::Notes), ("spooler.cmd", Kind::Plain), ("vb.vbs", Kind::Broken), ("wsus.exe", Kind::Hanging),
];

/// A service as a check reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// `0` to `3`, or `P`.
    pub status: &'static str,
    /// Its name.
    pub name: String,
    /// Its metrics, or `-`.
    pub metrics: String,
    /// The rest of the line.
    pub details: String,
}

impl Profile {
    /// The files in the folder of service checks, sorted; none: there is no such folder.
    pub fn service_check_files(&self) -> Option<Vec<&'static str>> {
        let checks = self.checks()?;
        Some(checks.into_iter().map(|(name, _)| name).collect())
    }

    /// Runs a file in that folder.
    pub fn run_service_check(&self, name: &str, now: SystemTime) -> io::Result<CommandOutput> {
        let checks = self.checks().unwrap_or_default();
        let (_, kind) = checks
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or(io::ErrorKind::NotFound)?;
        let output = |code: i32, stdout: Vec<u8>| CommandOutput {
            code: Some(code),
            stdout,
        };
        let lines = self.lines(kind, now);
        match kind {
            Kind::Disk | Kind::Plain => Ok(output(0, lines.into_bytes())),
            Kind::Chatty => {
                let noise = "Warning: deprecated option\n\n9 Wrong - status\n0 \"open - quote\n";
                Ok(output(0, format!("{noise}{lines}").into_bytes()))
            }
            Kind::Failing => Ok(output(2, lines.into_bytes())),
            // `ü` in code page 850.
            Kind::CodePage => Ok(output(0, [b"0 Br\x81cke - offen\r\n", lines.as_bytes()].concat())),
            Kind::Notes => Err(io::ErrorKind::PermissionDenied.into()),
            Kind::Hanging => Err(io::ErrorKind::TimedOut.into()),
            Kind::Broken => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The services that the checks report, in the order of their files.
    pub fn services(&self, now: SystemTime) -> Vec<Reported> {
        let checks = self.checks().unwrap_or_default();
        let reported = checks.into_iter().flat_map(|(_, kind)| {
            let of_code_page = (kind == Kind::CodePage).then(|| reported("0", "Br\u{fffd}cke", "-", "offen"));
            of_code_page.into_iter().chain(self.reported(kind, now))
        });
        reported.collect()
    }

    fn checks(&self) -> Option<Vec<(&'static str, Kind)>> {
        let mut draw = Draw::new(self.machine, Topic::ServiceChecks, FILES);
        if !draw.permille(SHARE) {
            return None;
        }
        let files = match self.machine.os {
            Os::Linux | Os::MacOs => &FILES_OF_UNIX,
            Os::Windows => &FILES_OF_WINDOWS,
        };
        Some(files.iter().filter(|_| draw.permille(450)).copied().collect())
    }

    fn lines(&self, kind: Kind, now: SystemTime) -> String {
        let line = |service: Reported| {
            let name = if service.name.contains(' ') {
                format!("\"{}\"", service.name)
            } else {
                service.name
            };
            format!(
                "{} {name} {} {}\n",
                service.status, service.metrics, service.details
            )
        };
        self.reported(kind, now).into_iter().map(line).collect()
    }

    /// Figures and states change from hour to hour.
    fn reported(&self, kind: Kind, now: SystemTime) -> Vec<Reported> {
        let hour = Self::seconds(now) / HOUR;
        let mut draw = Draw::new(self.machine, Topic::ServiceChecks, 1 + hour);
        let percent = draw.between(5, 99);
        let status = match percent {
            0..=79 => "0",
            80..=94 => "1",
            _ => "2",
        };
        match kind {
            Kind::Disk => {
                let metrics = format!("used={percent}%;80;95;0;100");
                vec![reported(
                    status,
                    "Disk usage",
                    &metrics,
                    &format!("{percent} % used, größte Datei: /var/log"),
                )]
            }
            Kind::Plain => vec![reported("0", "Scheduler", "-", "runs")],
            Kind::Chatty => vec![
                reported(
                    "P",
                    "Load_average",
                    &format!("load1={};5;10|load5=2", percent / 10),
                    "1 minute",
                ),
                reported("3", "Knoten 2", "-", "no answer from node 2"),
                reported("0", "quorum", "votes=3", ""),
            ],
            Kind::Failing => vec![reported(
                "2",
                "Nightly backup",
                "age=93600;86400",
                "no backup since yesterday!",
            )],
            Kind::CodePage | Kind::Notes | Kind::Hanging | Kind::Broken => Vec::new(),
        }
    }
}

fn reported(status: &'static str, name: &str, metrics: &str, details: &str) -> Reported {
    Reported {
        status,
        name: name.to_owned(),
        metrics: metrics.to_owned(),
        details: details.to_owned(),
    }
}
