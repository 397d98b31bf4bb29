//! The client API: users, what they may do and see, and what calls bring about.

use crate::support::{API_KEY, TestAgent, TestServer, send};
use oco_mock_server::PhpQuirks;
use serde_json::{Value, json};

const ADMIN: &str = "admin:admin";
const INVALID: Result<Value, i64> = Err(-32001);
const DENIED: Result<Value, i64> = Err(-32002);
const NOT_FOUND: Result<Value, i64> = Err(-32003);

async fn user(server: &TestServer, name: &str, role: &str, groups: &[i64]) -> String {
    let user = json!({"name": name, "password": "secret", "role": role, "computer_groups": groups});
    server.create("/users", user).await;
    format!("{name}:secret")
}

fn names(list: &Value) -> Vec<&str> {
    let names = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["hostname"].as_str().unwrap());
    names.collect()
}

#[tokio::test]
async fn a_viewer_looks_an_operator_deploys_and_only_an_administrator_sees_keys() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    server.package("p", "0").await;
    let (viewer, operator) = (
        user(&server, "v", "viewer", &[]).await,
        user(&server, "o", "operator", &[]).await,
    );
    let deployment = json!({"name": "d", "computer_ids": [1], "package_ids": ["1"]});
    assert_eq!(
        server
            .client(&viewer, "oco.job_container.deploy", deployment.clone())
            .await,
        DENIED
    );
    let made = server
        .client(&operator, "oco.job_container.deploy", deployment)
        .await;
    assert_eq!(made, Ok(json!({"id": "1"})));
    assert_eq!(agent.jobs(&server).await, [1]);
    for (who, sees) in [(viewer.as_str(), false), (&operator, false), (ADMIN, true)] {
        let list = server.client(who, "oco.computer.list", json!({})).await.unwrap();
        assert_eq!(
            list["computers"][0]["agent_key"] == agent.agent_key.as_str(),
            sees,
            "{who}"
        );
    }
    for method in [
        "oco.computer.create",
        "oco.package.create",
        "oco.package.remove",
        "oco.computer.remove",
    ] {
        assert_eq!(
            server.client(&viewer, method, json!({"id": 1})).await,
            DENIED,
            "{method}"
        );
    }
    let containers = server
        .client(&viewer, "oco.job_container.list", json!({}))
        .await
        .unwrap();
    assert_eq!(containers[0]["created_by_system_user_username"], "o");
}

#[tokio::test]
async fn a_limited_user_sees_and_changes_only_computers_of_its_groups() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "inside").await;
    TestAgent::registered(&server, "outside").await;
    server.package("p", "0").await;
    let parent = server.group("computers", "parent", None, &[]).await;
    let child = server.group("computers", "child", Some(parent), &[1]).await;
    let other = server.group("computers", "other", None, &[2]).await;
    let limited = user(&server, "l", "operator", &[parent]).await;
    let call = async |method: &str, data: Value| server.client(&limited, method, data).await;
    assert_eq!(
        names(&call("oco.computer.list", json!({})).await.unwrap()["computers"]),
        ["inside"]
    );
    let list = call("oco.computer.list", json!({"computer_group_id": child}))
        .await
        .unwrap();
    assert_eq!(
        (list["name"].as_str(), names(&list["computers"])),
        (Some("child"), vec!["inside"])
    );
    assert_eq!(
        call("oco.computer.list", json!({"computer_group_id": other})).await,
        DENIED
    );
    assert_eq!(call("oco.computer.get", json!({"id": 2})).await, DENIED);
    assert!(call("oco.computer.get", json!({"id": 1})).await.is_ok());
    assert_eq!(call("oco.computer.remove", json!({"id": 2})).await, DENIED);
    assert_eq!(
        call("oco.computer.create", json!({"hostname": "x"})).await,
        DENIED
    );
    assert_eq!(call("oco.report.execute", json!({"id": 1})).await, DENIED);
    let join = json!({"computer_id": 1, "computer_group_id": other});
    assert_eq!(call("oco.computer.add_to_group", join).await, DENIED);
    let deploy = |ids: Value| json!({"name": "d", "computer_ids": ids, "package_ids": [1]});
    assert_eq!(
        call("oco.job_container.deploy", deploy(json!([1, 2]))).await,
        DENIED
    );
    assert!(
        server
            .client(ADMIN, "oco.job_container.deploy", deploy(json!([2])))
            .await
            .is_ok()
    );
    assert!(call("oco.job_container.deploy", deploy(json!([1]))).await.is_ok());
    let containers = call("oco.job_container.list", json!({})).await.unwrap();
    assert_eq!(containers.as_array().unwrap().len(), 1);
    assert_eq!(call("oco.job_container.remove", json!({"id": 1})).await, DENIED);
    assert_eq!(
        call("oco.job_container.job.remove", json!({"id": 1})).await,
        DENIED
    );
    assert_eq!(agent.jobs(&server).await, [2]);
    assert_eq!(
        call("oco.job_container.remove", json!({"id": 2})).await,
        Ok(json!([]))
    );
}

#[tokio::test]
async fn a_changed_password_and_role_hold_at_once() {
    let server = TestServer::start().await;
    let before = user(&server, "U", "viewer", &[]).await;
    assert!(server.client(&before, "oco.info", json!({})).await.is_ok());
    assert!(
        server.client("u:secret", "oco.info", json!({})).await.is_ok(),
        "names have no case"
    );
    server
        .change(
            "PUT",
            "/users/2",
            Some(json!({"password": "other", "role": "operator"})),
        )
        .await;
    let basic = |user: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user))
    };
    let old = basic("u:secret");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", old.as_str()),
    ];
    let refused = send(server.addr, "POST", "/api-client.php", &headers, b"{}").await;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (401, "HTTP Basic Auth: Login failed")
    );
    let created = server
        .client("u:other", "oco.computer.create", json!({"hostname": "x"}))
        .await;
    assert_eq!(created, Ok(json!({"id": "1"})));
    let users = server.get("/users").await;
    assert_eq!(
        users["users"][1],
        json!({"id": 2, "name": "U", "role": "operator", "computer_groups": []})
    );
    server.change("DELETE", "/users/2", None).await;
    let other = basic("u:other");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", other.as_str()),
    ];
    assert_eq!(
        send(server.addr, "POST", "/api-client.php", &headers, b"{}")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn the_last_administrator_stays_and_bad_users_are_refused() {
    let server = TestServer::start().await;
    for (method, path, body, status) in [
        ("DELETE", "/users/1", None, 409),
        ("PUT", "/users/1", Some(json!({"role": "viewer"})), 409),
        ("PUT", "/users/9", Some(json!({"role": "viewer"})), 404),
        ("DELETE", "/users/9", None, 404),
        (
            "POST",
            "/users",
            Some(json!({"name": "ADMIN", "password": "x", "role": "viewer"})),
            409,
        ),
        (
            "POST",
            "/users",
            Some(json!({"name": "a:b", "password": "x", "role": "viewer"})),
            400,
        ),
        (
            "POST",
            "/users",
            Some(json!({"name": "a", "password": "", "role": "viewer"})),
            400,
        ),
        (
            "POST",
            "/users",
            Some(json!({"name": "a", "password": "x", "role": "root"})),
            422,
        ),
        (
            "POST",
            "/users",
            Some(json!({"name": "a", "password": "x", "role": "viewer", "computer_groups": [9]})),
            404,
        ),
    ] {
        let (answered, answer) = server.rest(method, path, body).await;
        assert_eq!(answered, status, "{method} {path}: {answer}");
    }
    user(&server, "second", "administrator", &[]).await;
    server.change("DELETE", "/users/1", None).await;
}

#[tokio::test]
async fn a_group_that_limits_a_user_stays_so_that_the_limit_does() {
    let server = TestServer::start().await;
    let parent = server.group("computers", "parent", None, &[]).await;
    let child = server.group("computers", "child", Some(parent), &[]).await;
    user(&server, "l", "operator", &[child]).await;
    for group in [parent, child] {
        let path = format!("/groups/computers/{group}");
        assert_eq!(server.rest("DELETE", &path, None).await.0, 409);
    }
    server
        .change("PUT", "/users/2", Some(json!({"computer_groups": []})))
        .await;
    server
        .change("DELETE", &format!("/groups/computers/{parent}"), None)
        .await;
    assert_eq!(server.get("/groups/computers").await["groups"], json!([]));
}

#[tokio::test]
async fn a_body_is_not_read_before_it_is_known_who_sends_it() {
    let server = TestServer::start_with(|config| config.limits.body = 1000).await;
    let headers = [("content-type", "application/json")];
    let large = [b' '; 2000];
    let stranger = send(server.addr, "POST", "/api-client.php", &headers, &large).await;
    assert_eq!(stranger.status, 401);
    let headers = [headers[0], ("authorization", "Basic YWRtaW46YWRtaW4=")];
    let known = send(server.addr, "POST", "/api-client.php", &headers, &large).await;
    assert_eq!(known.status, 413);
}

#[tokio::test]
async fn the_first_administrator_is_made_once_with_the_password_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("oco.db").display());
    let start = async |password: &'static str| {
        TestServer::start_with(|config| {
            config.database.clone_from(&url);
            config.admin_password = Some(oco_protocol::Key::new(password));
        })
        .await
    };
    let server = start("first").await;
    assert!(server.client("admin:first", "oco.info", json!({})).await.is_ok());
    server.stop().await;
    let server = start("second").await;
    assert!(server.client("admin:first", "oco.info", json!({})).await.is_ok());
    assert_eq!(server.get("/users").await["users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn groups_and_reports_are_targets_of_a_deployment_and_each_computer_counts_once() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c"] {
        TestAgent::registered(&server, name).await;
    }
    let (first, second) = (server.package("p", "0").await, server.package("q", "0").await);
    let computers = server.group("computers", "g", None, &[2, 3]).await;
    let packages = server.group("packages", "g", None, &[second, first]).await;
    let data = json!({"name": "d", "computer_ids": ["3"], "computer_group_ids": [computers],
        "package_group_ids": [packages], "computer_report_ids": [], "sequence_mode": 1});
    let container = server
        .client(ADMIN, "oco.job_container.deploy", data)
        .await
        .unwrap();
    let jobs = server
        .client(ADMIN, "oco.job_container.job.list", container)
        .await
        .unwrap();
    let pairs: Vec<_> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| {
            (
                job["computer_id"].as_i64().unwrap(),
                job["package_id"].as_i64().unwrap(),
                job["sequence"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        pairs,
        [(2, second, 1), (3, second, 1), (2, first, 2), (3, first, 2)]
    );
    let data = json!({"name": "d", "computer_report_ids": [1], "package_report_ids": [3]});
    let container = server
        .client(ADMIN, "oco.job_container.deploy", data)
        .await
        .unwrap();
    let jobs = server
        .client(ADMIN, "oco.job_container.job.list", container)
        .await
        .unwrap();
    assert_eq!(jobs.as_array().unwrap().len(), 6);
    for unknown in [
        json!({"computer_group_ids": [99]}),
        json!({"computer_ids": [99]}),
        json!({"computer_report_ids": [99]}),
    ] {
        let mut data = json!({"name": "d", "package_ids": [first]});
        data.as_object_mut()
            .unwrap()
            .extend(unknown.as_object().unwrap().clone());
        assert_eq!(
            server.client(ADMIN, "oco.job_container.deploy", data).await,
            NOT_FOUND,
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn what_is_installed_can_be_uninstalled_forgotten_and_is_not_installed_twice() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = json!({"package_family_name": "tool", "version": "1", "install_procedure": "install",
        "uninstall_procedure": "remove", "download_for_uninstall": 1, "uninstall_procedure_post_action": 1,
        "files": [{"name": "a.sh", "content": "ZWNobw=="}]});
    let package = server.client(ADMIN, "oco.package.create", package).await.unwrap()["id"].clone();
    let deploy = json!({"name": "d", "computer_ids": [1], "package_ids": [package]});
    server
        .client(ADMIN, "oco.job_container.deploy", deploy.clone())
        .await
        .unwrap();
    assert!(agent.report(&server, &json!(1), 3, Some(0)).await);
    server
        .client(ADMIN, "oco.job_container.deploy", deploy)
        .await
        .unwrap();
    let states = server
        .client(ADMIN, "oco.job_container.job.list", json!({"id": 2}))
        .await
        .unwrap();
    assert_eq!(states[0]["state"], -5);
    let unforced = json!({"id": package, "force": 0});
    assert_eq!(
        server.client(ADMIN, "oco.package.remove", unforced).await,
        INVALID
    );
    let shown = server
        .client(ADMIN, "oco.package.get", json!({"id": package}))
        .await
        .unwrap();
    let installation = shown["installations"][0]["id"].clone();
    assert_eq!(
        shown["installations"][0]["installed_by_system_user_username"],
        "admin"
    );
    let data = json!({"name": "u", "installation_ids": [installation, 99], "restart_timeout": 9});
    server
        .client(ADMIN, "oco.job_container.uninstall", data)
        .await
        .unwrap();
    let job = agent.hello(&server).await["software-jobs"][0].clone();
    assert_eq!(
        (&job["procedure"], &job["download"], &job["restart"]),
        (&json!("remove"), &json!(true), &json!(9))
    );
    assert_eq!(agent.download(&server, 1).await.status, 200);
    assert!(agent.report(&server, &job["id"], 3, Some(0)).await);
    let computer = server
        .client(ADMIN, "oco.computer.get", json!({"id": 1}))
        .await
        .unwrap();
    assert_eq!(computer["installed_packages"], json!([]));
    assert_eq!(
        server
            .client(
                ADMIN,
                "oco.remove_installation_assignment",
                json!({"id": installation})
            )
            .await,
        NOT_FOUND
    );
}

#[tokio::test]
async fn an_installation_that_is_forgotten_is_made_again_by_its_rule() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    let (computers, packages) = (
        server.group("computers", "g", None, &[1]).await,
        server.group("packages", "g", None, &[package]).await,
    );
    let rule = json!({"name": "r", "computer_group": computers, "package_group": packages});
    server.create("/deployment-rules", rule).await;
    assert!(agent.report(&server, &json!("dynamic-1"), 3, Some(0)).await);
    assert!(agent.jobs(&server).await.is_empty());
    let forgotten = server
        .client(ADMIN, "oco.remove_installation_assignment", json!({"id": 1}))
        .await;
    assert_eq!(forgotten, Ok(json!([])));
    assert_eq!(agent.jobs(&server).await, ["dynamic-2"]);
}

#[tokio::test]
async fn wrong_values_and_unknown_ids_have_their_codes() {
    let server = TestServer::start().await;
    TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    for (method, data, answer) in [
        ("oco.computer.get", json!({}), INVALID),
        ("oco.computer.get", json!({"id": "x"}), INVALID),
        (
            "oco.computer.create",
            json!({"hostname": "x".repeat(201)}),
            INVALID,
        ),
        ("oco.computer.list", json!({"computer_group_id": 9}), NOT_FOUND),
        ("oco.computer.remove", json!({"id": 9}), NOT_FOUND),
        (
            "oco.computer.add_to_group",
            json!({"computer_id": 1, "computer_group_id": 9}),
            NOT_FOUND,
        ),
        ("oco.computer.wol", json!({"id": 1}), INVALID),
        ("oco.package.get", json!({"id": 9}), NOT_FOUND),
        ("oco.package.list", json!({"package_family_id": 9}), NOT_FOUND),
        (
            "oco.package.create",
            json!({"package_family_name": "a", "version": "1", "upgrade_behavior": 7}),
            INVALID,
        ),
        (
            "oco.package.create",
            json!({"package_family_name": "a", "version": "1", "files": [{"name": "../x", "content": ""}]}),
            INVALID,
        ),
        ("oco.package.remove", json!({"id": 9}), NOT_FOUND),
        ("oco.job_container.job.list", json!({"id": 9}), NOT_FOUND),
        ("oco.job_container.remove", json!({"id": 9}), NOT_FOUND),
        ("oco.job_container.job.remove", json!({"id": 9}), NOT_FOUND),
        (
            "oco.job_container.deploy",
            json!({"name": "d", "computer_ids": [1], "package_ids": [package], "date_start": "soon"}),
            INVALID,
        ),
        (
            "oco.job_container.deploy",
            json!({"name": "d", "computer_ids": [1], "package_ids": [package], "sequence_mode": 2}),
            INVALID,
        ),
        (
            "oco.job_container.deploy",
            json!({"name": "d", "computer_ids": "all", "package_ids": [package]}),
            INVALID,
        ),
        ("oco.deployment_rule.job.list", json!({"id": 9}), NOT_FOUND),
        ("oco.report.list", json!({"report_group_id": 9}), NOT_FOUND),
    ] {
        let outcome = server.client(ADMIN, method, data.clone()).await;
        assert_eq!(outcome.map(|_| Value::Null), answer, "{method} {data}");
    }
}

#[tokio::test]
async fn every_report_runs_and_times_are_dates() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent
        .ask(
            &server,
            "update",
            json!({"os": "x", "software": [{"name": "n", "version": "1"}]}),
        )
        .await;
    let reports = server.client(ADMIN, "oco.report.list", json!({})).await.unwrap();
    for report in reports["reports"].as_array().unwrap() {
        let rows = server
            .client(ADMIN, "oco.report.execute", json!({"id": report["id"]}))
            .await;
        assert!(rows.unwrap().is_array(), "{report}");
    }
    let all = server
        .client(ADMIN, "oco.report.execute", json!({"id": 1}))
        .await
        .unwrap();
    assert_eq!(
        all,
        json!([{"computer_id": 1, "hostname": "pc", "os": "x", "os_version": null,
        "last_ping": "2027-01-15 08:00:00"}])
    );
    let missing = async || {
        server
            .client(ADMIN, "oco.report.execute", json!({"id": 8}))
            .await
            .unwrap()
    };
    assert_eq!(missing().await, json!([]));
    server.clock.forward(8 * 86_400);
    assert_eq!(missing().await[0]["hostname"], "pc");
}

#[tokio::test]
async fn shapes_follow_the_php_that_is_imitated() {
    for (quirks, id, list_id, nothing) in [
        (PhpQuirks::Php8, json!("1"), json!(1), json!([])),
        (PhpQuirks::Php7, json!("1"), json!("1"), json!([])),
        (PhpQuirks::Off, json!(1), json!(1), json!({})),
    ] {
        let server = TestServer::start_with(|config| config.php_quirks = quirks).await;
        let created = server
            .client(ADMIN, "oco.computer.create", json!({"hostname": "x"}))
            .await
            .unwrap();
        assert_eq!(created["id"], id, "{quirks:?}");
        let list = server
            .client(ADMIN, "oco.computer.list", json!({}))
            .await
            .unwrap();
        assert_eq!(list["computers"][0]["id"], list_id, "{quirks:?}");
        assert_eq!(
            server
                .client(ADMIN, "oco.computer.remove", json!({"id": 1}))
                .await,
            Ok(nothing)
        );
    }
}

#[tokio::test]
async fn calls_are_counted_by_method_and_secrets_are_not_shown() {
    let server = TestServer::start().await;
    server.client(ADMIN, "oco.info", json!({})).await.unwrap();
    let stats = server.get("/stats").await.to_string();
    assert!(stats.contains("oco.info") && !stats.contains(API_KEY));
    assert_eq!(
        send(server.addr, "GET", "/api-client.php", &[], b"").await.status,
        405
    );
}
