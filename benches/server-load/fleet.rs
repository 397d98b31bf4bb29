//! A fleet with software that computers share in part: what it takes of memory, and how fast a search goes through it.

use crate::Options;
use crate::client::Connection;
use crate::figures::{Figures, Row};
use crate::lane::{Computer, Lane, Request};
use crate::message::{Message, package, package_name};
use crate::rounds::address;
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use oco_benches::process::{field, status};
use oco_benches::programs::Server;
use oco_benches::stats::{median, percentile};
use oco_protocol::inventory::Software;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Instant;

/// Packages of a computer: one of each group of three, in one of its editions.
const PACKAGES: usize = 1000;
const GROUP: usize = 3;
const EDITIONS: usize = 8;
/// Computers that one connection registers before it is closed: those of all are in memory here meanwhile.
const BATCH: usize = 16;

#[derive(Deserialize)]
struct Found {
    computers: Vec<serde::de::IgnoredAny>,
}

/// Registers a fleet with inventories, looks at the memory of the server and searches.
pub(crate) async fn measure(options: &Options, server: &Server, figures: &mut Figures) -> Result<()> {
    let address = address(server)?;
    register(options, address, figures).await?;
    let status = status(&server.pid())?;
    let mebibytes = |name| Ok::<_, anyhow::Error>(f64::from(u32::try_from(field(&status, name)?)?) / 1024.0);
    let name = |what| format!("{} computers with inventories: {what}", options.fleet);
    figures
        .rows
        .push(Row::new(name("resident"), "MiB", mebibytes("VmRSS")?).below(100.0));
    figures
        .rows
        .push(Row::new(name("resident at most"), "MiB", mebibytes("VmHWM")?));
    let mut connection = Connection::open(address).await?;
    for (what, edition) in [("search by name", None), ("search by name and version", Some(0))] {
        let times = search(options, server, &mut connection, edition).await?;
        let (middle, slowest) = (
            median(times.iter().copied()),
            percentile(times.iter().copied(), 99),
        );
        figures
            .rows
            .push(Row::new(name(what), "ms, median", middle).below(100.0));
        figures
            .rows
            .push(Row::new(name(what), "ms, 99th percentile", slowest).below(100.0));
    }
    check_conformance(server).await
}

async fn register(options: &Options, address: SocketAddr, figures: &mut Figures) -> Result<()> {
    let computers: Vec<usize> = (0..options.fleet).collect();
    for batch in computers.chunks(options.connections * BATCH) {
        let per_lane = batch.len().div_ceil(options.connections);
        let lanes = batch.chunks(per_lane).map(async |numbers| {
            let computers = numbers.iter().map(|number| {
                let name = format!("fleet-{number:05}");
                let software = (0..PACKAGES).map(|group| software(*number, group)).collect();
                Computer::new(&name, Message::update(&name, software))
            });
            let mut lane = Lane::open(address, computers.collect()).await?;
            lane.run_once(Request::Update).await
        });
        for outcomes in try_join_all(lanes).await? {
            figures.refusals.extend(outcomes.refusals);
            figures.verified += outcomes.verified;
        }
    }
    Ok(())
}

/// What a computer has of a group of packages.
fn software(computer: usize, group: usize) -> Software {
    // A multiplicative hash spreads both choices without a table of them.
    let drawn = (computer * 1009 + group).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    package(group * GROUP + drawn % GROUP, drawn / GROUP % EDITIONS)
}

/// Milliseconds of each search for the first package of a group, whose computers are counted.
async fn search(
    options: &Options,
    server: &Server,
    connection: &mut Connection,
    edition: Option<usize>,
) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(options.searches);
    for turn in 0..options.searches {
        let group = turn * 7 % PACKAGES;
        let wanted = package(group * GROUP, edition.unwrap_or_default());
        let version = edition.map_or_else(String::new, |_| format!("&version={}", wanted.version));
        let name = package_name(group * GROUP);
        let started = Instant::now();
        let found = get(
            server,
            connection,
            &format!("/software/computers?name={name}{version}"),
        )
        .await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        let has =
            |software: Software| software.name == wanted.name && (edition.is_none() || software == wanted);
        let expected = (0..options.fleet)
            .filter(|computer| has(software(*computer, group)))
            .count();
        let found: Found = serde_json::from_slice(found).context("what a search finds cannot be read")?;
        ensure!(
            found.computers.len() == expected,
            "{name}: found {}, of {expected}",
            found.computers.len()
        );
    }
    Ok(times)
}

/// The load has to be one that agents make: the server finds nothing about it.
pub(crate) async fn check_conformance(server: &Server) -> Result<()> {
    #[derive(Deserialize)]
    struct Conformance {
        findings: u64,
    }
    let mut connection = Connection::open(address(server)?).await?;
    let body = get(server, &mut connection, "/conformance").await?;
    let conformance: Conformance = serde_json::from_slice(body).context("the findings cannot be read")?;
    ensure!(
        conformance.findings == 0,
        "against the protocol: {}",
        String::from_utf8_lossy(body)
    );
    Ok(())
}

async fn get<'a>(server: &Server, connection: &'a mut Connection, path: &str) -> Result<&'a [u8]> {
    let (url, key) = &server.rest;
    let base = url.splitn(4, '/').nth(3).unwrap_or_default();
    let request =
        format!("GET /{base}{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    let answer = connection.call(request.as_bytes()).await?;
    ensure!(
        answer.status == 200,
        "{path}: {}",
        String::from_utf8_lossy(answer.body)
    );
    Ok(answer.body)
}
