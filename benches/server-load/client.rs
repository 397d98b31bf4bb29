//! A connection that is kept alive, with one request on it at a time. It knows of HTTP what the servers here answer.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers of an answer.
const MAX_HEADERS: usize = 32;

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) signature: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// Where the parts of an answer are.
struct Head {
    size: usize,
    body: usize,
    status: u16,
    signature: Option<std::ops::Range<usize>>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        Ok(Self {
            stream,
            input: Vec::with_capacity(4096),
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream
            .write_all(request)
            .await
            .context("cannot send a request")?;
        self.input.clear();
        let head = loop {
            self.read().await?;
            if let Some(head) = Head::parse(&self.input)? {
                break head;
            }
        };
        while self.input.len() < head.size + head.body {
            self.read().await?;
        }
        Ok(Answer {
            status: head.status,
            signature: head
                .signature
                .and_then(|at| std::str::from_utf8(self.input.get(at)?).ok()),
            body: &self.input[head.size..head.size + head.body],
        })
    }

    async fn read(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => bail!("the server has closed the connection"),
            read => read.map(drop).context("cannot read an answer"),
        }
    }
}

impl Head {
    /// None: it is not complete.
    fn parse(input: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(size) = response.parse(input).context("an answer is no HTTP")? else {
            return Ok(None);
        };
        let value = |name: &str| {
            let mut headers = response.headers.iter();
            headers.find_map(|header| header.name.eq_ignore_ascii_case(name).then_some(header.value))
        };
        let length =
            value("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
        let signature = value(oco_protocol::signature::SERVER_SIGNATURE_HEADER).map(|value| {
            let start = value.as_ptr().addr() - input.as_ptr().addr();
            start..start + value.len()
        });
        Ok(Some(Self {
            size,
            body: length.context("an answer has no length")?,
            status: response.code.context("an answer has no status")?,
            signature,
        }))
    }
}
