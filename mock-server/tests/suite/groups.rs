//! What groups bring about: jobs of deployment rules, inherited policies, password rules.

use crate::support::{TestAgent, TestServer};
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

#[tokio::test]
async fn a_deployment_rule_gives_each_computer_of_its_group_the_packages_it_lacks() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut other = TestAgent::registered(&server, "other").await;
    let (first, second) = (server.package("a", "0").await, server.package("b", "0").await);
    let computers = server.group("computers", "g", None, &[1]).await;
    let packages = server.group("packages", "g", None, &[second, first]).await;
    server
        .deploy(&[first], json!({"computers": [1], "priority": 99}))
        .await;
    let rule = json!({"name": "r", "computer_group": computers, "package_group": packages, "priority": 7});
    let rule = server.create("/deployment-rules", rule).await["id"]
        .as_i64()
        .unwrap();
    let hello = agent.hello(&server).await;
    let jobs = hello["software-jobs"].as_array().unwrap();
    let ids: Vec<_> = jobs.iter().map(|job| job["id"].clone()).collect();
    assert_eq!(ids, [json!("dynamic-2"), json!("dynamic-3"), json!(1)]);
    assert_eq!(jobs[0]["container-id"], format!("deployment_rule::{rule}"));
    assert_eq!(
        (&jobs[0]["package-id"], &jobs[1]["package-id"]),
        (&json!(second), &json!(first))
    );
    assert_eq!(other.jobs(&server).await, NONE);
    assert!(agent.report(&server, &json!("dynamic-2"), 3, Some(0)).await);
    let unknown = json!({"job-id": 3, "state": 3, "return-code": 0, "message": ""});
    assert_eq!(agent.call(&server, "update_job_state", unknown).await.status, 400);
    assert_eq!(agent.jobs(&server).await, [json!("dynamic-3"), json!(1)]);
    server
        .change(
            "PUT",
            &format!("/deployment-rules/{rule}"),
            Some(json!({"enabled": false})),
        )
        .await;
    assert_eq!(agent.jobs(&server).await, [1]);
    // Who joins gets its jobs once the rule is enabled again.
    server
        .change("PUT", &format!("/groups/computers/{computers}/members/2"), None)
        .await;
    assert_eq!(other.jobs(&server).await, NONE);
    server
        .change(
            "PUT",
            &format!("/deployment-rules/{rule}"),
            Some(json!({"enabled": true})),
        )
        .await;
    // Not every database numbers without gaps.
    let jobs = other.jobs(&server).await;
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert!(
        jobs.iter().all(|job| job.as_str().unwrap() > "dynamic-3"),
        "{jobs:?}"
    );
    let twin =
        json!({"name": "twin", "computer_group": computers, "package_group": packages, "enabled": true});
    let twin = server.create("/deployment-rules", twin).await["id"].clone();
    assert_eq!(other.jobs(&server).await.len(), 4);
    server
        .change("DELETE", &format!("/deployment-rules/{twin}"), None)
        .await;
    assert_eq!(other.jobs(&server).await, jobs, "a rule's jobs go with it");
    server
        .change("DELETE", &format!("/groups/computers/{computers}"), None)
        .await;
    assert_eq!(other.jobs(&server).await, NONE);
}

#[tokio::test]
async fn memberships_rules_and_their_jobs_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("oco.db").display());
    let server = TestServer::start_with(|config| config.database.clone_from(&url)).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("a", "0").await;
    let computers = server.group("computers", "g", None, &[1]).await;
    let packages = server.group("packages", "g", None, &[package]).await;
    let rule = json!({"name": "r", "computer_group": computers, "package_group": packages});
    server.create("/deployment-rules", rule).await;
    let policies = json!({"machine": {"JSON:/x:k": 1}});
    server
        .change(
            "PUT",
            &format!("/groups/computers/{computers}/policies"),
            Some(policies),
        )
        .await;
    server.stop().await;
    let server = TestServer::start_with(|config| config.database = url).await;
    assert_eq!(agent.jobs(&server).await, ["dynamic-1"]);
    agent.ask(&server, "update", json!({"os": "x"})).await;
    let second = agent.ask(&server, "update", json!({"os": "x"})).await;
    assert_eq!(second["policies"], json!({"machine": {"JSON:/x:k": 1}}));
}

#[tokio::test]
async fn policies_are_inherited_down_the_groups_and_reach_users_by_their_guid() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut other = TestAgent::registered(&server, "other").await;
    let parent = server.group("computers", "parent", None, &[]).await;
    let child = server.group("computers", "child", Some(parent), &[1]).await;
    let all = json!({"machine": {"JSON:/x:a": 0, "JSON:/x:b": 0}, "users": {"*": {"JSON:/u:a": 0}}});
    server.change("PUT", "/policies", Some(all)).await;
    for (group, policies) in [
        (parent, json!({"machine": {"JSON:/x:b": 1, "JSON:/x:c": 1}})),
        (
            child,
            json!({"machine": {"JSON:/x:c": [2]}, "users": {"G-1": {"JSON:/u:b": 2}}}),
        ),
    ] {
        server
            .change(
                "PUT",
                &format!("/groups/computers/{group}/policies"),
                Some(policies),
            )
            .await;
    }
    let inventory = json!({"os": "x", "logins": [
        {"username": "a", "guid": "G-1", "timestamp": "2026-01-01 00:00:00"},
        {"username": "local", "guid": null, "timestamp": "2026-01-01 00:00:00"}]});
    let first = agent.ask(&server, "update", inventory.clone()).await;
    assert_eq!(first["policies"], json!({"machine": []}));
    let second = agent.ask(&server, "update", inventory.clone()).await;
    assert_eq!(
        second["policies"],
        json!({"machine": {"JSON:/x:a": 0, "JSON:/x:b": 1, "JSON:/x:c": [2]},
            "G-1": {"JSON:/u:a": 0, "JSON:/u:b": 2}})
    );
    other.ask(&server, "update", json!({"os": "x"})).await;
    let outside = other.ask(&server, "update", json!({"os": "x"})).await;
    assert_eq!(
        outside["policies"],
        json!({"machine": {"JSON:/x:a": 0, "JSON:/x:b": 0}})
    );
    server
        .change("DELETE", &format!("/groups/computers/{child}"), None)
        .await;
    let left = agent.ask(&server, "update", inventory).await;
    assert_eq!(
        left["policies"]["machine"],
        json!({"JSON:/x:a": 0, "JSON:/x:b": 0})
    );
}

#[tokio::test]
async fn password_rules_of_a_group_hold_inside_it_and_keep_their_history() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut other = TestAgent::registered(&server, "other").await;
    let parent = server.group("computers", "parent", None, &[]).await;
    server.group("computers", "child", Some(parent), &[1]).await;
    let rule =
        json!({"username": "root", "alphabet": "ab", "length": 8, "computer_group": parent, "history": 1});
    server.create("/password-rules", rule.clone()).await;
    assert_eq!(server.rest("POST", "/password-rules", Some(rule)).await.0, 409);
    assert_eq!(
        agent.hello(&server).await["update-passwords"][0]["username"],
        "root"
    );
    assert_eq!(other.hello(&server).await["update-passwords"], json!([]));
    for (agent, stored) in [(&mut agent, true), (&mut other, false)] {
        for password in ["one", "two", "three"] {
            let data = json!({"passwords": [{"username": "root", "password": password}]});
            let answer = agent.call(&server, "passwords", data).await.json();
            assert_eq!(answer["result"]["success"].is_string(), stored);
        }
    }
    let kept = server.get("/computers/1/passwords").await["passwords"].clone();
    let kept: Vec<_> = kept
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["password"].clone())
        .collect();
    assert_eq!(kept, ["three", "two"]);
    // A revocation takes away the latest one, so the one before is current again.
    let revoke = json!({"passwords": [{"username": "root", "password": "three", "revoke": true}]});
    agent.ask(&server, "passwords", revoke).await;
    assert_eq!(
        server.get("/computers/1/passwords").await["passwords"][0]["password"],
        "two"
    );
    server.clock.forward(301);
    let late = json!({"passwords": [{"username": "root", "password": "two", "revoke": true}]});
    let late = agent.call(&server, "passwords", late).await.json();
    assert_eq!(late["result"]["success"], false);
}

#[tokio::test]
async fn what_groups_do_not_have_is_refused() {
    let server = TestServer::start().await;
    for (method, path, body) in [
        (
            "POST",
            "/groups/computers",
            Some(json!({"name": "x", "parent": 9})),
        ),
        ("PUT", "/groups/computers/9/members/1", None),
        (
            "PUT",
            "/groups/computers/9/policies",
            Some(json!({"machine": {}})),
        ),
        ("DELETE", "/groups/packages/9", None),
        (
            "POST",
            "/deployment-rules",
            Some(json!({"name": "r", "computer_group": 1, "package_group": 1})),
        ),
        ("DELETE", "/deployment-rules/9", None),
        ("PUT", "/deployment-rules/9", Some(json!({"enabled": true}))),
        ("DELETE", "/computers/9", None),
        ("DELETE", "/packages/9", None),
    ] {
        assert_eq!(server.rest(method, path, body).await.0, 404, "{method} {path}");
    }
    assert_eq!(server.rest("GET", "/groups/nonsense", None).await.0, 400);
}

#[tokio::test]
async fn a_computer_that_is_removed_is_unknown_and_may_register_again() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    server.package("p", "0").await;
    server.deploy(&[1], json!({})).await;
    server.change("DELETE", "/computers/1", None).await;
    assert_eq!(server.get("/jobs").await["total"], 0);
    assert_eq!(
        agent.call(&server, "update", json!({"os": "x"})).await.status,
        401
    );
    let mut again = TestAgent::new("pc");
    assert_eq!(again.jobs(&server).await, NONE);
    assert_eq!(server.get("/computers").await["computers"][0]["id"], 2);
}
