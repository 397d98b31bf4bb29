//! Fetching a package's archive, in both generations.

use super::transport::{Incoming, Outgoing, failed};
use super::{Answered, ExchangeError, Manner, ServerClient, keyed, signed, unwritable};
use bytes::Bytes;
use oco_protocol::Key;
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Archives larger than this are not downloaded.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;
/// A download may take this long, and a second more for each [`SLOWEST_DOWNLOAD`] bytes it has brought.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(600);
/// Bytes a second below which a download is given up once its patience is used up.
const SLOWEST_DOWNLOAD: u64 = 1024;
impl ServerClient {
    /// Fetches a package's archive and hands it on piece by piece, with its whole length where the server tells it. It ends
    /// early, and without an error, where nobody takes the pieces any more.
    pub async fn download(
        &self,
        package_id: &Id,
        pieces: mpsc::Sender<(Bytes, Option<u64>)>,
    ) -> Result<(), ExchangeError> {
        let method = Method::Download;
        let limit = self.exchange_limit;
        let request = self.archive_request(package_id).await;
        let started = Instant::now();
        let result = async {
            let head = tokio::time::timeout(limit, self.open_archive(request?)).await;
            let mut response = head.unwrap_or(Err(ExchangeError::TimedOut { method, limit }))?;
            let length = response.content_length();
            let mut received = 0;
            while let Some(chunk) = response.chunk().await.map_err(|e| failed(method, e))? {
                received += chunk.len() as u64;
                bound_download(length, received, started.elapsed())?;
                if pieces.send((chunk, length)).await.is_err() {
                    break;
                }
            }
            Ok(())
        }
        .await;
        self.observe(method, started, started.elapsed(), &result);
        result
    }

    /// The request, how it is made, and what must not be logged. The session is not held while the archive comes: other
    /// exchanges go on meanwhile.
    async fn archive_request(&self, package_id: &Id) -> Result<(Outgoing, Manner, [Key; 2]), ExchangeError> {
        let method = Method::Download;
        let session = self.session.lock().await;
        let manner = self.manner(method, None).await?;
        let (url, sender, key) = (&self.url, &self.sender, &session.agent_key);
        let request = match manner {
            Manner::Signed(stamp) => signed::download(url, sender, stamp, package_id, key)
                .map_err(|error| unwritable(method, &error))?,
            Manner::Keyed => keyed::download(url, sender, package_id, key),
        };
        Ok((request, manner, session.keys().map(Key::clone)))
    }

    /// Asks for an archive; what comes back is one.
    async fn open_archive(
        &self,
        (request, manner, keys): (Outgoing, Manner, [Key; 2]),
    ) -> Result<reqwest::Response, ExchangeError> {
        let method = Method::Download;
        let keys = [&keys[0], &keys[1]];
        let response = request.send(&self.http, &keys).await?;
        if response.status() == reqwest::StatusCode::OK {
            tracing::debug!(%method, status = 200, bytes = response.content_length(), "response: an archive");
            return Ok(response);
        }
        let response = Incoming::read(method, response, &keys).await?;
        let answered = Answered {
            method,
            response,
            manner,
        };
        Err(self.refusal(&answered, &keys))
    }
}

/// Gives up a download that is too large, or so slow that it would block the jobs behind it.
fn bound_download(length: Option<u64>, received: u64, elapsed: Duration) -> Result<(), ExchangeError> {
    let method = Method::Download;
    if length.unwrap_or(0).max(received) > MAX_ARCHIVE_BYTES {
        let reason = format!("the archive is longer than {MAX_ARCHIVE_BYTES} bytes");
        return Err(ExchangeError::Malformed { method, reason });
    }
    let limit = DOWNLOAD_PATIENCE + Duration::from_secs(received / SLOWEST_DOWNLOAD);
    if elapsed > limit {
        return Err(ExchangeError::TimedOut { method, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_that_are_endless_or_next_to_still_are_given_up() {
        let second = Duration::from_secs(1);
        assert!(bound_download(None, 10, 600 * second).is_ok());
        assert!(bound_download(None, 10, 601 * second).is_err());
        assert!(bound_download(None, 1 << 30, 100_000 * second).is_ok());
        assert!(bound_download(Some(MAX_ARCHIVE_BYTES + 1), 10, second).is_err());
        assert!(bound_download(None, MAX_ARCHIVE_BYTES + 1, second).is_err());
    }
}
