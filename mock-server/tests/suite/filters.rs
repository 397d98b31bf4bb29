//! Filters of who embeds the server: what they see, in which order, and what comes of what they decide.

use crate::support::{TestAgent, TestServer, hello_data};
use axum::http::StatusCode;
use oco_mock_server::hooks::{Answer, Exchange, Filter, Flow};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

type Seen = Arc<Mutex<Vec<String>>>;

/// Notes what it sees, and has each hello's answer ask for an inventory. One called `closed` answers all by itself.
#[derive(Debug)]
struct Witness {
    name: &'static str,
    seen: Seen,
}

impl Witness {
    fn note(&self, what: &str) {
        self.seen.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Filter for Witness {
    fn request(&self, exchange: &mut Exchange) -> Flow {
        self.note(&format!("request {} of {}", exchange.method, exchange.hostname));
        match self.name {
            "closed" => Flow::Answer(Box::new(Answer::new(StatusCode::GONE, "closed"))),
            _ => Flow::Serve,
        }
    }

    fn alters(&self, exchange: &Exchange) -> bool {
        exchange.method == "hello"
    }

    fn unsigned(&self, _exchange: &Exchange, answer: &mut Value) {
        let params = &mut answer["result"]["params"];
        self.note(&format!("unsigned {}", params["marks"]));
        params["marks"] = json!(params["marks"].as_u64().unwrap_or(0) + 1);
    }

    fn response(&self, _exchange: &Exchange, answer: &mut Answer) {
        let is_json = serde_json::from_slice::<Value>(&answer.body).is_ok();
        self.note(&format!("response {} {is_json}", answer.status.as_u16()));
    }
}

/// A server with these filters, and what they note.
async fn with_filters(names: &[&'static str]) -> (TestServer, Seen) {
    let seen = Seen::default();
    let server = TestServer::start_with(|config| {
        for name in names {
            let seen = seen.clone();
            config.filters.push(Arc::new(Witness { name, seen }));
        }
    })
    .await;
    (server, seen)
}

fn taken(seen: &Seen) -> Vec<String> {
    std::mem::take(&mut *seen.lock().unwrap())
}

#[tokio::test]
async fn requests_and_answers_pass_the_filters_in_the_order_of_their_list() {
    let (server, seen) = with_filters(&["first", "second"]).await;
    let mut agent = TestAgent::new("pc");
    // The agent checks the signature: what filters make of an answer is signed.
    let params = agent.ask(&server, "hello", hello_data()).await;
    assert_eq!(params["marks"], 2);
    assert_eq!(
        taken(&seen),
        [
            "first request hello of pc",
            "second request hello of pc",
            "first unsigned null",
            "second unsigned 1",
            "first response 200 true",
            "second response 200 true",
        ]
    );
    agent.ask(&server, "update", json!({"os": "Debian"})).await;
    assert_eq!(
        taken(&seen),
        [
            "first request update of pc",
            "second request update of pc",
            "first response 200 true",
            "second response 200 true",
        ]
    );
}

#[tokio::test]
async fn faults_come_before_the_filters_of_who_embeds_the_server() {
    let (server, seen) = with_filters(&["own"]).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    taken(&seen);
    for fault in [
        json!({"kind": "json", "is": "garbage"}),
        json!({"kind": "status", "code": 503}),
    ] {
        let rule = json!({"select": {"first": 1}, "fault": fault});
        server.create("/faults", rule).await;
        agent.call(&server, "hello", hello_data()).await;
    }
    assert_eq!(
        taken(&seen),
        [
            "own request hello of pc",
            "own unsigned null",
            "own response 200 false"
        ],
        "what a fault answered by itself is not seen"
    );
}

#[tokio::test]
async fn a_filter_that_answers_keeps_the_request_from_the_next_and_from_the_server() {
    let (server, seen) = with_filters(&["closed", "next"]).await;
    let answer = TestAgent::new("pc").call(&server, "hello", hello_data()).await;
    assert_eq!((answer.status, answer.text().as_str()), (410, "closed"));
    assert_eq!(taken(&seen), ["closed request hello of pc"]);
    assert_eq!(server.get("/computers").await["total"], 0);
}
