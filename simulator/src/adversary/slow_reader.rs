//! An adversary that asks a lot on one connection and hardly reads the answers, so that they pile up at the server.

use crate::event::Attempt;
use crate::scenario::AdversaryKind;
use bytes::Bytes;
use oco_protocol::rpc::CONTENT_TYPE;
use oco_protocol::signature::AGENT_SIGNATURE_HEADER;
use reqwest::Url;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Requests on one connection.
const REQUESTS: usize = 200;
/// Between two bytes that are read.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a connection is held.
const HOLD: Duration = Duration::from_secs(5);
/// Bytes of a status line up to its code: `HTTP/1.1 401`.
const STATUS: usize = 12;

/// Asks for the same again and again on one connection.
pub(super) async fn attempt(url: &Url, body: &Bytes, signature: &str) -> Attempt {
    let Some((host, port)) = url.host_str().zip(url.port_or_known_default()) else {
        return Attempt::Unanswered;
    };
    let connect = tokio::time::timeout(HOLD, TcpStream::connect((host, port)));
    let Ok(Ok(connection)) = connect.await else {
        return Attempt::Unanswered;
    };
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: {CONTENT_TYPE}\r\n{AGENT_SIGNATURE_HEADER}: {signature}\r\n\
         content-length: {}\r\n\r\n",
        url.path(),
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    let (mut reader, mut writer) = connection.into_split();
    let ask = async {
        for _ in 0..REQUESTS {
            // A server that takes no more has had enough of it.
            if writer.write_all(&request).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ask => Attempt::Unanswered,
        read = read_slowly(&mut reader) => judge(read.as_deref()),
    }
}

/// Reads byte by byte until the connection is closed or was held long enough: the beginning of the first answer, which is
/// shorter than [`STATUS`] if there was no more until then. A connection that is closed before is an error.
async fn read_slowly(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let end = Instant::now() + HOLD;
    let mut beginning = Vec::with_capacity(STATUS);
    let mut byte = [0; 1];
    while Instant::now() < end {
        let Ok(read) = tokio::time::timeout_at(end, reader.read(&mut byte)).await else {
            break;
        };
        match read {
            Ok(1) if beginning.len() < STATUS => beginning.extend(byte),
            Ok(1) => {}
            // Once it was answered, a closed connection is only the end of it.
            Ok(_) | Err(_) if beginning.len() == STATUS => break,
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(beginning)
}

fn judge(beginning: Result<&[u8], &io::Error>) -> Attempt {
    let beginning = match beginning {
        Ok(beginning) if beginning.len() == STATUS => beginning,
        Ok(_) => return Attempt::Unanswered,
        Err(_) => return Attempt::CutOff,
    };
    let status = std::str::from_utf8(beginning)
        .ok()
        .and_then(|text| text.strip_prefix("HTTP/1.1 "))
        .and_then(|code| code.parse::<u16>().ok());
    match status {
        Some(200..300) => Attempt::Accepted,
        Some(status) if AdversaryKind::SlowReader.refusals().contains(&status) => Attempt::Refused(status),
        Some(status) => Attempt::Otherwise(status),
        None => Attempt::Otherwise(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_read_byte_by_byte_and_judged_by_their_status() {
        for (answer, attempt) in [
            (&b"HTTP/1.1 401 Unauthorized\r\n\r\n"[..], Attempt::Refused(401)),
            (b"HTTP/1.1 200 OK\r\n\r\n", Attempt::Accepted),
            (b"HTTP/1.1 500 Oops\r\n\r\n", Attempt::Otherwise(500)),
            (b"HTTP", Attempt::CutOff),
            (b"", Attempt::CutOff),
        ] {
            let started = Instant::now();
            let mut reader = answer;
            let read = read_slowly(&mut reader).await;
            assert_eq!(judge(read.as_deref()), attempt);
            assert!(started.elapsed() >= PAUSE * u32::try_from(answer.len()).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_not_said_all_of_its_status_has_not_answered() {
        let (mut server, mut client) = tokio::io::duplex(64);
        server.write_all(b"HTTP/1.1 4").await.unwrap();
        let started = Instant::now();
        let read = read_slowly(&mut client).await;
        assert_eq!(judge(read.as_deref()), Attempt::Unanswered);
        assert_eq!(started.elapsed(), HOLD);
    }
}
