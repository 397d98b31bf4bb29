//! The whole suite on the databases of servers, in containers. `ci/database-tests` makes their images and runs these.

use crate::databases::VARIABLE;
use std::process::Command;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage};

const TAG: &str = "12";

/// Why there is no container; none: there can be one.
fn missing(image: &str) -> Option<String> {
    let docker = |arguments: &[&str]| Command::new("docker").args(arguments).output();
    if !docker(&["info"]).is_ok_and(|output| output.status.success()) {
        return Some("Docker is missing or does not run".into());
    }
    // Nothing is pulled: the images are this project's own.
    let inspected = docker(&["image", "inspect", &format!("{image}:{TAG}")]);
    let present = inspected.is_ok_and(|output| output.status.success());
    (!present).then(|| format!("there is no image {image}:{TAG}: ci/database-tests makes it"))
}

/// Runs this program's other tests on a database server in a container.
async fn run_suite(image: &str, scheme: &str, port: u16, ready: &str) {
    if let Some(reason) = missing(image) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let container = start(image, port, ready).await;
    let port = container.get_host_port_ipv4(port.tcp()).await.unwrap();
    let url = format!("{scheme}://oco:oco@127.0.0.1:{port}/oco");
    let suite = std::env::current_exe().unwrap();
    let status = tokio::task::spawn_blocking(move || Command::new(suite).env(VARIABLE, url).status());
    let status = status.await.unwrap().unwrap();
    container.rm().await.unwrap();
    assert!(status.success(), "the suite fails on {image}");
}

async fn start(image: &str, port: u16, ready: &str) -> ContainerAsync<GenericImage> {
    GenericImage::new(image, TAG)
        .with_exposed_port(port.tcp())
        .with_wait_for(WaitFor::message_on_stderr(ready))
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker: ci/database-tests"]
async fn the_suite_holds_on_postgres() {
    run_suite(
        "oco-test-postgres",
        "postgres",
        5432,
        "database system is ready to accept connections",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker: ci/database-tests"]
async fn the_suite_holds_on_mariadb() {
    // It says so again where it listens, after its first statements have run.
    run_suite("oco-test-mariadb", "mariadb", 3306, "port: 3306").await;
}
