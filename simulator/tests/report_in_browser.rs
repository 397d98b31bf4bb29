//! The HTML report in a real browser: a page that is as wide as its window, with plots and tables that can be read, on a
//! desk, on a telephone and on paper. Skipped where there is no browser; `ci/setup browser` installs one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_simulator::progress::Progress;
use oco_simulator::report::html;
use oco_simulator::run::{Options, ServerChoice, run};
use oco_simulator::scenario::Scenario;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Names of browsers that understand these options, in the order of preference.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Measures the report in a frame of a window's width and writes down what it finds.
const PROBE: &str = r#"<!DOCTYPE html><iframe id="frame" src="report.html" style="width:WIDTHpx;height:4000px;border:0"></iframe>
<pre id="found"></pre><script>
frame.onload = () => {
  const page = frame.contentDocument, all = selector => [...page.querySelectorAll(selector)];
  const cut = element => element.scrollWidth > element.clientWidth + 1;
  found.textContent = JSON.stringify({
    width: page.documentElement.scrollWidth,
    plots: all("figure svg").map(plot => plot.getBoundingClientRect().width),
    smallest: Math.min(...all("p, td, th, dd, dt, li, figcaption").map(element => parseFloat(frame.contentWindow.getComputedStyle(element).fontSize))),
    cut: all("h1, h2, p, dd, figcaption, .legend").filter(cut).map(element => element.textContent),
    scrolling: all(".table").filter(cut).length,
    rows: all("tbody tr").length,
  });
};
</script>"#;

fn browser() -> Option<&'static str> {
    let runs = |name: &&&str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let found = BROWSERS.iter().find(runs).copied();
    if found.is_none() {
        eprintln!("SKIPPED: there is no browser (ci/setup browser)");
    }
    found
}

/// Output of the browser, which shows `page` and is told `action`.
fn browse(browser: &str, folder: &Path, page: &str, action: &str) -> String {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
        ])
        .args([
            "--virtual-time-budget=10000",
            "--no-pdf-header-footer",
            &profile,
            action,
        ])
        .arg(format!("file://{}", folder.join(page).display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the probe finds in a window of that width.
fn measured(browser: &str, folder: &Path, width: u32) -> Value {
    std::fs::write(
        folder.join("probe.html"),
        PROBE.replace("WIDTH", &width.to_string()),
    )
    .unwrap();
    let page = browse(browser, folder, "probe.html", "--dump-dom");
    let (_, found) = page.split_once("<pre id=\"found\">").unwrap();
    let (found, _) = found.split_once("</pre>").unwrap();
    serde_json::from_str(found).unwrap_or_else(|error| panic!("{error}: {page}"))
}

async fn report() -> String {
    let text = include_str!("small.toml").replace("GOAL", "succeeded");
    let scenario = Scenario::parse("small", "small.toml", &text).unwrap();
    #[allow(clippy::disallowed_methods)] // a test stands where `main` does
    let options = Options::new(scenario, ServerChoice::Embedded, SystemTime::now());
    let outcome = run(options, Progress::Silent, std::future::pending())
        .await
        .unwrap();
    html::render(&outcome.report).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_fits_desks_telephones_and_paper() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("report.html"), report().await).unwrap();
    for (width, scrolling) in [(1280, 0), (400, 2)] {
        let found = measured(browser, folder.path(), width);
        assert_eq!(found["width"], width, "{found}");
        assert_eq!(found["cut"], serde_json::json!([]), "{found}");
        assert!(found["rows"].as_u64().unwrap() > 8, "{found}");
        assert!(found["smallest"].as_f64().unwrap() >= 12.0, "{found}");
        // Only tables with more columns than fit scroll by themselves.
        assert!(found["scrolling"].as_u64().unwrap() <= scrolling, "{found}");
        let plots = found["plots"].as_array().unwrap();
        assert!(
            plots.len() >= 4 && plots.iter().all(|plot| plot.as_f64().unwrap() >= 340.0),
            "{found}"
        );
    }
    let paper = folder.path().join("report.pdf");
    browse(
        browser,
        folder.path(),
        "report.html",
        &format!("--print-to-pdf={}", paper.display()),
    );
    let paper = std::fs::read(paper).unwrap();
    let pages = paper
        .windows(12)
        .filter(|bytes| bytes.starts_with(b"/Type /Page\n"))
        .count();
    assert!(
        paper.starts_with(b"%PDF") && (1..=4).contains(&pages),
        "{pages} pages"
    );
}
