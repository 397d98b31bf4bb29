//! What a client may cost.

use crate::support::{API_KEY, TestAgent, TestServer, receive, send};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let server = TestServer::start_with(|config| {
        config.limits.body = 1000;
        config.limits.agent_body = 1000;
    })
    .await;
    let headers = [("content-type", "application/json")];
    let response = send(server.addr, "POST", "/api-agent.php", &headers, &[b' '; 1001]).await;
    assert_eq!(response.status, 413);
    assert_eq!(
        send(server.addr, "POST", "/api-agent.php", &headers, &[b' '; 1000])
            .await
            .status,
        400
    );
    assert_eq!(
        server
            .rest("POST", "/packages", Some("x".repeat(1001).into()))
            .await
            .0,
        413
    );
}

#[tokio::test]
async fn a_body_of_the_other_surfaces_has_to_come_in_time_whole_and_within_the_limit() {
    let server = TestServer::start_with(|config| {
        config.limits.body = 1000;
        config.limits.body_timeout = Duration::from_millis(200);
    })
    .await;
    let basic = format!("Basic {}", STANDARD.encode("admin:admin"));
    let bearer = format!("Bearer {API_KEY}");
    let large = format!("content-length: 1001\r\n\r\n{:1001}", "");
    for (path, authorization) in [("/api-client.php", basic), ("/mock/v1/packages", bearer)] {
        for (rest, status) in [
            ("content-length: 9\r\n\r\n{", 408),
            (large.as_str(), 413),
            ("transfer-encoding: chunked\r\n\r\nnonsense\r\n", 400),
        ] {
            let mut stream = TcpStream::connect(server.addr).await.unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 authorization: {authorization}\r\n{rest}"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(receive(&mut stream).await.status, status, "{path}: {rest}");
        }
    }
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_do_not_stop_others() {
    let server = TestServer::start_with(|config| {
        config.limits.header_timeout = Duration::from_millis(200);
        config.limits.body_timeout = Duration::from_millis(200);
        config.limits.connections = 3;
    })
    .await;
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    let mut half_a_head = TcpStream::connect(server.addr).await.unwrap();
    half_a_head
        .write_all(b"POST /api-agent.php HTTP/1.1\r\nhost")
        .await
        .unwrap();
    let mut half_a_body = TcpStream::connect(server.addr).await.unwrap();
    half_a_body
        .write_all(b"POST /api-agent.php HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        .await
        .unwrap();
    // All connections are taken; this one is served as soon as one of them is cut off.
    TestAgent::registered(&server, "pc").await;
    assert_eq!(receive(&mut half_a_body).await.status, 408);
    let mut rest = Vec::new();
    drop(silent.read_to_end(&mut rest).await);
    drop(half_a_head.read_to_end(&mut rest).await);
    server.stop().await;
}

#[tokio::test]
async fn many_slow_and_hostile_clients_do_not_hold_up_an_agent() {
    let server = TestServer::start().await;
    let mut hostile = Vec::new();
    for beginning in [
        "",
        "POST /api-agent.php HTTP/1.1\r\nhost",
        "POST /api-agent.php HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{",
        "GET /mock/v1/stats HTTP/1.1\r\nhost: x\r\n\r\nGET /mock/v1/stats HTTP/1.1\r\nhost: x\r\n\r\n",
        "\u{16}\u{3}\u{1} rubbish\r\n\r\n",
    ] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(server.addr).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            hostile.push(stream);
        }
    }
    let check_ins = async {
        let mut agent = TestAgent::registered(&server, "pc").await;
        for _ in 0..20 {
            agent.hello(&server).await;
        }
        let update = json!({"hostname": "pc", "os": "x".repeat(100_000)});
        agent.ask(&server, "update", update).await;
    };
    tokio::time::timeout(Duration::from_secs(10), check_ins)
        .await
        .unwrap();
    drop(hostile);
    server.stop().await;
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nlong: {}\r\n",
        "x".repeat(100_000)
    );
    drop(stream.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_kept_alive_connection_serves_many_requests_and_idle_ones_do_not_delay_the_end() {
    let server = TestServer::start().await;
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    for _ in 0..3 {
        idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 4096];
        let mut length = 0;
        while !answer[..length].ends_with(b"ok\n") {
            length += idle.read(&mut answer[length..]).await.unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    tokio::time::timeout(Duration::from_secs(3), server.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_before_the_end() {
    let server = TestServer::start().await;
    let mut begun = TcpStream::connect(server.addr).await.unwrap();
    let head = b"POST /api-agent.php HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
    begun.write_all(head).await.unwrap();
    // The server says that it is waiting for the body, so the request has begun.
    let mut interim = [0; 25];
    begun.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    let stopping = tokio::spawn(server.stop());
    begun.write_all(b"{}").await.unwrap();
    assert_eq!(receive(&mut begun).await.status, 400);
    stopping.await.unwrap();
}

/// Registers a computer that may fetch an archive of `size` bytes, and begins to fetch it without reading the answer.
async fn begin_download(server: &TestServer, size: usize) -> TcpStream {
    let mut agent = TestAgent::registered(server, "pc").await;
    let archive = [&b"PK\x03\x04"[..], &vec![7; size - 4]].concat();
    let content = STANDARD.encode(archive);
    let package = json!({"name": "p", "version": "1", "files": [{"name": "a.zip", "content": content}]});
    server.create("/packages", package).await;
    server
        .create(
            "/deployments",
            json!({"name": "d", "packages": [1], "computers": "all"}),
        )
        .await;
    let mut body = agent.body("download", Value::Null);
    body["params"].as_object_mut().unwrap().remove("data");
    body["params"]["package-id"] = 1.into();
    let body = body.to_string();
    let signature =
        oco_protocol::signature::sign(&oco_protocol::Key::new(&*agent.agent_key), body.as_bytes());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.addr).await.unwrap();
    let request = format!(
        "GET /api-agent.php HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         x-oco-agent-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// More than the buffers between two sockets hold.
const LARGE: usize = 12 << 20;

async fn rest_of(mut stream: TcpStream) -> usize {
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    rest.len()
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let server = TestServer::start_with(|config| {
        config.limits.write_timeout = Duration::from_millis(200);
        config.limits.connections = 1;
    })
    .await;
    let stream = begin_download(&server, LARGE).await;
    // There is one connection, so this is served as soon as the first one is cut off.
    server.get("/stats").await;
    assert!(rest_of(stream).await < LARGE);
}

#[tokio::test]
async fn what_has_not_ended_in_time_is_cut_off_at_the_end() {
    let server =
        TestServer::start_with(|config| config.limits.drain_timeout = Duration::from_millis(100)).await;
    let stream = begin_download(&server, LARGE).await;
    server.stop().await;
    assert!(rest_of(stream).await < LARGE);
}

#[tokio::test]
async fn large_bodies_wait_for_memory_and_hellos_do_not() {
    let server = TestServer::start_with(|config| config.limits.body_memory = 40_000).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let holder = send_part(&server, 30_000, &[b' '; 20_000]).await;
    agent.hello(&server).await;
    let mut waiting = agent.clone();
    let large = json!({"os": "Debian", "text": "x".repeat(20_000)});
    let update = waiting.call(&server, "update", large);
    tokio::pin!(update);
    // As long as the first body is not all there, the second one waits; what is small passes.
    for _ in 0..3 {
        tokio::select! {
            biased;
            _ = &mut update => panic!("there was no memory for it"),
            _ = agent.hello(&server) => {}
        }
    }
    drop(holder);
    assert_eq!(update.await.status, 200);
}

/// Sends the head of a request with a body of `size` bytes, and `part` of that body.
async fn send_part(server: &TestServer, size: usize, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "POST /api-agent.php HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         x-oco-agent-signature: 00\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    stream.write_all(part).await.unwrap();
    stream
}

#[tokio::test]
async fn a_large_body_without_a_signature_is_not_read() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = b"POST /api-agent.php HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 70000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let response = receive(&mut stream).await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (401, "Signature header missing")
    );
}

#[tokio::test]
async fn a_broken_body_is_not_called_too_large() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let request = b"POST /api-agent.php HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(receive(&mut stream).await.status, 400);
}
