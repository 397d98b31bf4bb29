//! Hellos, updates and first updates, in rounds that the bare handler and the mock server take in turn.

use crate::Options;
use crate::figures::{Figures, Row};
use crate::fleet::check_conformance;
use crate::lane::{Computer, Lane, Outcomes, Request};
use crate::message::{Message, package};
use anyhow::{Context, Result};
use futures::future::try_join_all;
use oco_benches::process::cpu_time;
use oco_benches::programs::Server;
use oco_benches::stats::{median, percentile};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Cores that the targets are about.
const CORES: f64 = 2.0;

/// A server under load.
struct Side<'a> {
    server: &'a Server,
    address: SocketAddr,
    lanes: Vec<Lane>,
}

/// What the rounds of one side came to.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Answers a second.
    rates: Vec<f64>,
    /// CPU time of the server for each, µs.
    cpu: Vec<f64>,
    /// CPU time of the generator for each, µs.
    generator: Vec<f64>,
    /// Answers a second that the cores would allow were nothing else on them.
    possible: Vec<f64>,
    /// Milliseconds to the answers.
    latencies: Vec<f64>,
    refusals: Vec<String>,
    verified: usize,
}

impl<'a> Side<'a> {
    async fn open(server: &'a Server, options: &Options) -> Result<Self> {
        let address = address(server)?;
        let per_lane = options.computers / options.connections;
        let lanes = (0..options.connections).map(|lane| {
            let computers = (0..per_lane).map(|index| {
                let name = format!("load-{lane:03}-{index:03}");
                let software = (0..options.packages).map(|number| package(number, 1)).collect();
                Computer::new(&name, Message::update(&name, software))
            });
            Lane::open(address, computers.collect())
        });
        let lanes = try_join_all(lanes).await?;
        Ok(Self {
            server,
            address,
            lanes,
        })
    }

    async fn round(&mut self, request: Request, length: Duration, measured: &mut Measured) -> Result<()> {
        let until = Instant::now() + length;
        let runs = self.lanes.iter_mut().map(|lane| lane.run(request, until));
        measured.take(self.server, try_join_all(runs)).await
    }

    /// New computers with software that nobody else has, all at once.
    async fn first_updates(&self, round: usize, options: &Options, measured: &mut Measured) -> Result<()> {
        let lanes = (0..options.parallel).map(|index| {
            let name = format!("first-{round:03}-{index:03}");
            let edition = 1000 * (round + 1) + index;
            let software = (0..options.packages).map(|number| package(number, edition));
            let update = Message::update(&name, software.collect());
            Lane::open(self.address, vec![Computer::new(&name, update)])
        });
        let mut lanes = try_join_all(lanes).await?;
        let runs = lanes.iter_mut().map(|lane| lane.run_once(Request::Update));
        measured.take(self.server, try_join_all(runs)).await
    }
}

impl Measured {
    /// Runs it, and takes the time of all that take part.
    async fn take(
        &mut self,
        server: &Server,
        run: impl Future<Output = Result<Vec<Outcomes>>>,
    ) -> Result<()> {
        let (pid, own) = (server.pid(), cpu_time("self")?);
        let (started, before) = (Instant::now(), cpu_time(&pid)?);
        let outcomes = run.await?;
        let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_time(&pid)? - before);
        let requests: usize = outcomes.iter().map(|outcome| outcome.latencies.len()).sum();
        let requests = f64::from(u32::try_from(requests)?);
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / requests;
        let (cpu, generator) = (each(cpu), each(cpu_time("self")? - own));
        self.rates.push(requests / elapsed);
        self.cpu.push(cpu);
        self.generator.push(generator);
        self.possible.push(CORES * 1e6 / (cpu + generator));
        for outcome in outcomes {
            let latencies = outcome.latencies.iter();
            self.latencies
                .extend(latencies.map(|latency| latency.as_secs_f64() * 1e3));
            self.refusals.extend(outcome.refusals);
            self.verified += outcome.verified;
        }
        Ok(())
    }
}

/// Where a server listens.
pub(crate) fn address(server: &Server) -> Result<SocketAddr> {
    let authority = server
        .url
        .split('/')
        .nth(2)
        .and_then(|authority| authority.parse().ok());
    authority.with_context(|| format!("{} has no address", server.url))
}

/// Measures both sides.
pub(crate) async fn measure(options: &Options, mock: &Server, bare: &Server) -> Result<Figures> {
    let length = Duration::from_secs_f64(options.seconds);
    let mut sides = [Side::open(bare, options).await?, Side::open(mock, options).await?];
    let mut figures = Figures::default();
    for (request, name, target) in [
        (Request::Hello, "hellos", 26_000.0),
        (Request::Update, "updates", 560.0),
    ] {
        let mut measured = [Measured::default(), Measured::default()];
        for side in &mut sides {
            // The first inventory is no repetition of one before, and caches are cold.
            let runs = side.lanes.iter_mut().map(|lane| lane.run_once(request));
            try_join_all(runs).await?;
        }
        for _ in 0..options.rounds {
            for (side, measured) in sides.iter_mut().zip(&mut measured) {
                side.round(request, length, measured).await?;
            }
        }
        figures.add_rounds(name, Some(target), measured);
    }
    let mut measured = [Measured::default(), Measured::default()];
    for round in 0..options.rounds {
        for (side, measured) in sides.iter_mut().zip(&mut measured) {
            side.first_updates(round, options, measured).await?;
        }
    }
    figures.add_rounds("first updates, parallel", None, measured);
    check_conformance(mock).await?;
    Ok(figures)
}

impl Figures {
    fn add_rounds(&mut self, name: &str, target: Option<f64>, [bare, mock]: [Measured; 2]) {
        type Values = fn(&Measured) -> &Vec<f64>;
        let middle = |values: &Vec<f64>| median(values.iter().copied());
        let row = |what: &str, unit, values: Values| {
            Row::new(format!("{name}{what}"), unit, middle(values(&mock))).beside(middle(values(&bare)))
        };
        let rate = row("", "/s", |side| &side.rates);
        let slowest = |side: &Measured| percentile(side.latencies.iter().copied(), 99);
        self.rows.extend([
            match target {
                Some(target) => rate.at_least(target).at_least_half(),
                None => rate,
            },
            row(", CPU of the server for each", "µs", |side| &side.cpu),
            row(", CPU of the generator for each", "µs", |side| &side.generator),
            row(", possible by that CPU time", "/s", |side| &side.possible),
            row(", median", "ms", |side| &side.latencies),
            Row::new(format!("{name}, 99th percentile"), "ms", slowest(&mock)).beside(slowest(&bare)),
        ]);
        self.verified += bare.verified + mock.verified;
        self.refusals
            .extend(mock.refusals.into_iter().chain(bare.refusals));
    }
}
