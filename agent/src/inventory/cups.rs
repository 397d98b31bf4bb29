//! Printers, from the files of CUPS: printers.conf(5), and the PPD file that a queue with a classic driver has.

use super::field::{Result, lossy, optional, read_text};
use crate::host::Host;
use oco_protocol::inventory::{Printer, UNKNOWN};
use std::path::Path;

const FOLDER: &str = "/etc/cups";

/// The queues of this machine; none where there is no CUPS.
pub(super) fn collect(host: &dyn Host) -> Result<Vec<Printer>> {
    let config = optional(read_text(host, format!("{FOLDER}/printers.conf")))?.unwrap_or_default();
    let mut printers = parse_printers(&config);
    for printer in &mut printers {
        // Queues without a driver of their own have no such file, and it may be for the spooler alone.
        let path = format!("{FOLDER}/ppd/{}.ppd", printer.name);
        if !printer.name.contains('/')
            && let Ok(ppd) = host.read_file(Path::new(&path))
        {
            complete(printer, &parse_ppd(&lossy(ppd)));
        }
    }
    Ok(printers)
}

/// Printers as the configuration has them.
pub(super) fn parse_printers(config: &str) -> Vec<Printer> {
    let mut printers = Vec::new();
    let mut open: Option<Queue<'_>> = None;
    for line in config.lines().map(str::trim) {
        if let Some(name) = opened(line) {
            open = Some(Queue {
                name,
                accepting: true,
                ..Queue::default()
            });
        } else if line == "</Printer>" || line == "</DefaultPrinter>" {
            printers.extend(open.take().map(Queue::printer));
        } else if let Some(queue) = &mut open {
            queue.read(line);
        }
    }
    printers
}

/// The name of the queue that this line begins.
fn opened(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('<')?.strip_suffix('>')?;
    let name = inside
        .strip_prefix("Printer ")
        .or_else(|| inside.strip_prefix("DefaultPrinter "))?;
    Some(name.trim()).filter(|name| !name.is_empty())
}

/// One section of the configuration.
#[derive(Default)]
struct Queue<'a> {
    name: &'a str,
    model: &'a str,
    uri: &'a str,
    state: &'a str,
    message: &'a str,
    accepting: bool,
    paper: Option<&'a str>,
    resolution: Option<&'a str>,
}

impl<'a> Queue<'a> {
    fn read(&mut self, line: &'a str) {
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        match key {
            "MakeModel" => self.model = value,
            "DeviceURI" => self.uri = value,
            "State" => self.state = value,
            "StateMessage" => self.message = value,
            "Accepting" => self.accepting = !value.eq_ignore_ascii_case("no"),
            // Defaults that an administrator has set for this queue.
            "Option" => match value.split_once(char::is_whitespace) {
                Some(("media" | "PageSize", paper)) => self.paper = Some(paper.trim()),
                Some(("printer-resolution" | "Resolution", dpi)) => self.resolution = Some(dpi.trim()),
                _ => {}
            },
            _ => {}
        }
    }

    fn printer(self) -> Printer {
        Printer {
            status: self.status(),
            name: self.name.to_owned(),
            driver: or_unknown(self.model),
            paper: or_unknown(self.paper.unwrap_or_default()),
            dpi: dots(self.resolution.unwrap_or_default()),
            uri: without_credentials(self.uri),
        }
    }

    /// `Idle`, `Stopped (out of paper)`, `Idle (rejects jobs)`. While it prints, the message tells of the job.
    fn status(&self) -> String {
        let note = match (self.state, self.message, self.accepting) {
            ("Stopped", message, _) if !message.is_empty() => message,
            (_, _, false) => "rejects jobs",
            _ => return or_unknown(self.state),
        };
        format!("{} ({note})", or_unknown(self.state))
    }
}

/// What the driver's file says about the printer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ppd {
    name: Option<String>,
    paper: Option<String>,
    resolution: Option<String>,
}

/// Reads `*Keyword: value` lines; values of keywords that matter are on one line.
pub(super) fn parse_ppd(ppd: &str) -> Ppd {
    let mut found = Ppd::default();
    for line in ppd.lines() {
        let Some((keyword, value)) = line.strip_prefix('*').and_then(|line| line.split_once(':')) else {
            continue;
        };
        let slot = match keyword.trim() {
            "NickName" => &mut found.name,
            "DefaultPageSize" => &mut found.paper,
            "DefaultResolution" => &mut found.resolution,
            _ => continue,
        };
        let value = value.trim().trim_matches('"').trim();
        if slot.is_none() && !value.is_empty() {
            *slot = Some(value.to_owned());
        }
    }
    found
}

/// What an administrator has set for the queue counts more than what the driver's file has.
fn complete(printer: &mut Printer, ppd: &Ppd) {
    let fill = |field: &mut String, value: Option<String>| {
        if field == UNKNOWN
            && let Some(value) = value
        {
            *field = value;
        }
    };
    fill(&mut printer.driver, ppd.name.clone());
    fill(&mut printer.paper, ppd.paper.clone());
    fill(&mut printer.dpi, ppd.resolution.as_deref().map(dots));
}

/// `600x1200dpi` without its unit.
fn dots(resolution: &str) -> String {
    or_unknown(resolution.strip_suffix("dpi").unwrap_or(resolution).trim())
}

fn or_unknown(value: &str) -> String {
    if value.is_empty() { UNKNOWN } else { value }.to_owned()
}

/// Queues of file servers have the name and password to print with in their URI: those stay here.
fn without_credentials(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return or_unknown(uri);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold these characters unescaped, so the last @ before a query counts.
    let query = rest.find('?').unwrap_or(rest.len());
    let at = rest.get(..query.max(end)).and_then(|part| part.rfind('@'));
    match at {
        Some(at) => format!("{scheme}://{}", rest.get(at + 1..).unwrap_or_default()),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: &str = "# Printer configuration file for CUPS v2.4.2\n# Written by cupsd\nNextPrinterId 3\n\
<DefaultPrinter Office>\nPrinterId 1\nUUID urn:uuid:0b5a\nInfo Office, 2nd floor\nLocation 2.14\n\
MakeModel HP LaserJet 400 M401dn Postscript (recommended)\nDeviceURI socket://192.0.2.40:9100\nState Idle\n\
StateTime 1700000000\nAccepting Yes\nShared No\nOption PageSize A5\n</DefaultPrinter>\n\
<Printer labels>\nDeviceURI smb://print:s3cr/et@server.example/labels\nState Stopped\nStateMessage Out of paper\n\
Accepting No\n</Printer>\n<Printer cut\nState Idle\n";

    #[test]
    fn queues_are_reported_with_driver_and_state() {
        let printers = parse_printers(CONFIG);
        assert_eq!(printers.len(), 2);
        assert_eq!(printers[0].name, "Office");
        assert_eq!(
            printers[0].driver,
            "HP LaserJet 400 M401dn Postscript (recommended)"
        );
        assert_eq!(
            (printers[0].paper.as_str(), printers[0].dpi.as_str()),
            ("A5", "-")
        );
        assert_eq!(
            (printers[0].uri.as_str(), printers[0].status.as_str()),
            ("socket://192.0.2.40:9100", "Idle")
        );
        assert_eq!(printers[1].driver, "-");
        assert_eq!(printers[1].status, "Stopped (Out of paper)");
    }

    #[test]
    fn passwords_of_print_servers_stay_on_the_machine() {
        assert_eq!(parse_printers(CONFIG)[1].uri, "smb://server.example/labels");
        assert_eq!(without_credentials("ipp://user@host/p"), "ipp://host/p");
        assert_eq!(
            without_credentials("usb://HP/LaserJet?serial=a@b"),
            "usb://HP/LaserJet?serial=a@b"
        );
        assert_eq!(without_credentials("file:/dev/null"), "file:/dev/null");
        assert_eq!(without_credentials(""), "-");
    }

    #[test]
    fn the_drivers_file_fills_what_the_queue_leaves_open() {
        let ppd = parse_ppd(
            "*PPD-Adobe: \"4.3\"\n*% a comment\n*NickName: \"Brother HL-L2350DW, driverless\"\n*DefaultPageSize: A4\n\
             *PageSize A4/A4: \"<</PageSize[595 842]>>setpagedevice\"\n*DefaultResolution: 600x1200dpi\n",
        );
        let mut printers = parse_printers(CONFIG);
        complete(&mut printers[0], &ppd);
        complete(&mut printers[1], &ppd);
        assert_eq!(
            (printers[0].paper.as_str(), printers[0].dpi.as_str()),
            ("A5", "600x1200")
        );
        assert_eq!(
            (printers[1].paper.as_str(), printers[1].driver.as_str()),
            ("A4", "Brother HL-L2350DW, driverless")
        );
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "(<(Default)?Printer \\PC{0,5}>\n|</Printer>\n|(State|DeviceURI|Option) \\PC{0,9}\n|\\PC|\n)*") {
            parse_printers(&text);
            parse_ppd(&text);
        }

        #[test]
        fn no_password_leaves_the_machine(password in "[a-z0-9/:@#%]{1,12}", host in "[a-z]{1,8}", queue in "[a-z]{0,8}") {
            let uri = without_credentials(&format!("smb://user:{password}@{host}/{queue}"));
            prop_assert_eq!(uri, format!("smb://{host}/{queue}"));
        }

        #[test]
        fn every_queue_is_found_again(names in proptest::collection::vec("[A-Za-z0-9_-]{1,20}", 0..5)) {
            let config: String = names.iter().map(|name| format!("<Printer {name}>\nState Idle\n</Printer>\n")).collect();
            let found: Vec<_> = parse_printers(&config).into_iter().map(|printer| printer.name).collect();
            prop_assert_eq!(found, names);
        }
    }
}
