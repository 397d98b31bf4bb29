//! The mock server as a process, driven over its REST API.

use super::{REGISTRATION_KEY, program, wait_for};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A running mock server with a database of its own; killed on drop.
pub(crate) struct MockServer {
    /// URL of the agent API.
    pub(crate) agent_url: String,
    rest_url: String,
    process: Child,
    folder: TempDir,
}

impl MockServer {
    /// Key of its REST API.
    pub(crate) const API_KEY: &str = "rest-key-of-the-tests";

    /// Starts a server on a free port.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server on a free port with more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), arguments, None)
    }

    /// Starts a server that logs all it ever would.
    pub(crate) fn start_talkative() -> Self {
        let folder = TempDir::new().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        Self::start_in(folder, &[], Some(log))
    }

    /// The log of a talkative server.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn start_in(folder: TempDir, arguments: &[&str], log: Option<File>) -> Self {
        let command = command(
            &Self::database_in(&folder),
            "127.0.0.1:0",
            folder.path(),
            arguments,
        );
        let (process, agent_url, rest_url) = await_start(command, log);
        Self {
            agent_url,
            rest_url,
            process,
            folder,
        }
    }

    /// The server that `command` starts, with REST calls going to `address` instead of where it says it listens.
    pub(crate) fn started_by(command: Command, address: impl FnOnce() -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let (process, agent_url, rest_url) = await_start(command, None);
        let listens = rest_url.split('/').nth(2).unwrap().to_owned();
        Self {
            agent_url,
            rest_url: rest_url.replace(&listens, &address()),
            process,
            folder,
        }
    }

    /// Kills it without warning and starts it again on the same port and database.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let address = self.rest_url.split('/').nth(2).unwrap().to_owned();
        let command = command(
            &Self::database_in(&self.folder),
            &address,
            self.folder.path(),
            &[],
        );
        (self.process, self.agent_url, self.rest_url) = await_start(command, None);
    }

    /// Asks it to stop; the exit code.
    #[cfg(unix)]
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        super::signal(&self.process, "TERM");
        self.process.wait().unwrap().code()
    }

    /// The database and the files beside it that hold parts of it.
    #[cfg(unix)]
    pub(crate) fn database_files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files: Vec<_> = files
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| ["oco.db", "oco.db-wal"].iter().any(|file| name == *file))
            })
            .collect();
        assert_eq!(files.len(), 2, "{files:?}");
        files
    }

    /// The certificate of the authority that signed its own, with `--tls`.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.folder.path().join("oco-mock-server-ca.pem")
    }

    /// Has it commit a fault; the id of the rule.
    pub(crate) fn commit(&self, rule: &Value) -> u64 {
        self.post("faults", rule)["id"].as_u64().unwrap()
    }

    /// How often a rule's fault was committed.
    pub(crate) fn committed(&self, rule: u64) -> u64 {
        self.get(&format!("faults/{rule}"))["committed"].as_u64().unwrap()
    }

    /// Removes the rule of a fault.
    pub(crate) fn behave(&self, rule: u64) {
        self.call("DELETE", &format!("faults/{rule}"), None);
    }

    /// Ids of the rules of the protocol that agents have broken.
    pub(crate) fn findings(&self) -> Vec<String> {
        let summary = self.get("conformance");
        let broken = summary["rules"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rule| rule["count"] != 0);
        broken
            .map(|rule| rule["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until it accepts connections.
    pub(crate) fn wait_until_up(&self) {
        wait_for("the server", || std::net::TcpStream::connect(self.address()).ok());
    }

    /// Address and port it listens on.
    pub(crate) fn address(&self) -> &str {
        self.rest_url.split('/').nth(2).unwrap()
    }

    /// A REST call that must succeed.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    /// A REST call that must succeed.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, Some(body))
    }

    /// A REST call that must succeed.
    pub(crate) fn put(&self, path: &str, body: &Value) -> Value {
        self.call("PUT", path, Some(body))
    }

    /// Creates a package of these files, as they would be packed on Unix: `.sh` files are executable.
    pub(crate) fn package(
        &self,
        name: &str,
        procedure: &str,
        success_codes: &str,
        files: &[(&str, &[u8])],
    ) -> i64 {
        let archive = (!files.is_empty()).then(|| archive(files));
        self.package_of_archive(name, procedure, success_codes, archive.as_deref())
    }

    /// Creates a package of an archive that is uploaded as it is.
    pub(crate) fn package_of_archive(
        &self,
        name: &str,
        procedure: &str,
        success_codes: &str,
        archive: Option<&[u8]>,
    ) -> i64 {
        let files: Vec<_> = archive
            .iter()
            .map(|bytes| json!({"name": "package.zip", "content": STANDARD.encode(bytes)}))
            .collect();
        let created = self.post(
            "packages",
            &json!({"name": name, "version": "1.0", "procedure": procedure, "success_codes": success_codes, "files": files}),
        );
        created["id"].as_i64().unwrap()
    }

    /// Creates a package without files that wants something done after its success: 1 restart, 2 shutdown, 3 the agent
    /// exits.
    pub(crate) fn package_with_post_action(&self, name: &str, procedure: &str, post_action: i64) -> i64 {
        let created = self.post(
            "packages",
            &json!({"name": name, "version": "1.0", "procedure": procedure, "success_codes": "0", "post_action": post_action}),
        );
        created["id"].as_i64().unwrap()
    }

    /// Deploys packages to all computers; the id of the deployment.
    pub(crate) fn deploy(&self, packages: &[i64], sequence_mode: u8) -> i64 {
        let body = json!({"name": "a deployment", "packages": packages, "computers": "all", "sequence_mode": sequence_mode});
        self.post("deployments", &body)["id"].as_i64().unwrap()
    }

    /// The jobs of a deployment in their order.
    pub(crate) fn jobs(&self, deployment: i64) -> Vec<Value> {
        self.get(&format!("jobs?container={deployment}"))["jobs"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// Waits until the only job of a deployment is as `condition` wants it.
    pub(crate) fn wait_for_job(&self, deployment: i64, condition: impl Fn(&Value) -> bool) -> Value {
        wait_for("the job", || self.jobs(deployment).into_iter().find(&condition))
    }

    fn call(&self, verb: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/{path}", self.rest_url);
        let request = async {
            let client = reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()
                .unwrap();
            let request = client
                .request(verb.parse().unwrap(), &url)
                .bearer_auth(Self::API_KEY)
                .header("content-type", "application/json")
                .body(body.map(Value::to_string).unwrap_or_default());
            let response = request.send().await.unwrap();
            (response.status(), response.text().await.unwrap())
        };
        // The library wants a TLS provider even where no TLS is spoken; installing it twice is no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (status, answer) = runtime.block_on(request);
        assert!(status.is_success(), "{verb} {url}: {status} {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    fn database_in(folder: &TempDir) -> PathBuf {
        folder.path().join("oco.db")
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(database: &Path, listen: &str, folder: &Path, arguments: &[&str]) -> Command {
    let config = folder.join("server.toml");
    std::fs::write(
        &config,
        format!(
            "agent-key = \"{REGISTRATION_KEY}\"\napi-key = \"{}\"\n",
            MockServer::API_KEY
        ),
    )
    .unwrap();
    let mut command = Command::new(program("oco-mock-server"));
    command
        .args([
            "--listen",
            listen,
            "--database",
            &format!("sqlite:{}", database.display()),
            "--config",
        ])
        .arg(&config)
        .args(arguments);
    command
}

fn await_start(mut command: Command, log: Option<File>) -> (Child, String, String) {
    if log.is_some() {
        command.env("RUST_LOG", "trace");
    }
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(log.map_or_else(Stdio::null, Stdio::from))
        .spawn()
        .unwrap();
    let (mut agent_url, mut rest_url) = (String::new(), String::new());
    for line in BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        if let Some((name, value)) = line.split_once(": ") {
            match name {
                "agent API URL" => value.trim().clone_into(&mut agent_url),
                "REST base URL" => value.trim().clone_into(&mut rest_url),
                _ => {}
            }
        }
        if line.starts_with("database") {
            break;
        }
    }
    assert!(
        !agent_url.is_empty() && !rest_url.is_empty(),
        "the server did not start"
    );
    (process, agent_url, rest_url)
}

/// A ZIP archive of these files.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
        writer
            .start_file(*name, SimpleFileOptions::default().unix_permissions(mode))
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
