//! Fetching a job's package: download with progress, then unpacking. Disks may be slow: they are written to beside the
//! runtime.

use super::{JobEngine, JobError, blocking, report, unpack};
use crate::host::Staging;
use bytes::Bytes;
use oco_protocol::job::{Job, JobState, PROGRESS_UNPACKING};
use oco_protocol::lenient::Id;
use std::io::Write;
use tokio::sync::mpsc;

/// Pieces of a download that wait to be written, at most.
const PIECES: usize = 16;

impl JobEngine {
    /// Downloads and unpacks the job's package. What is left of it after a failure is in `place`, too.
    pub(super) async fn fetch<'a>(
        &self,
        job: &Job,
        place: &'a mut Option<Box<dyn Staging>>,
    ) -> Result<&'a mut Box<dyn Staging>, JobError> {
        let downloading = |progress| report(job, JobState::Downloading, None, Some(progress), String::new());
        let package = job.package_id.as_ref().ok_or(JobError::NoPackage)?;
        self.report_progress(&downloading(0.0)).await;
        let staging = place.insert(self.stage().await?);
        self.download(job, package, staging.as_mut()).await?;
        self.report_progress(&downloading(PROGRESS_UNPACKING)).await;
        let limits = self.settings.limits;
        let Some(mut staging) = place.take() else {
            return Err(JobError::Interrupted("unpacking"));
        };
        let unpacked = blocking("unpacking", move || {
            unpack::unpack(staging.as_mut(), limits).map(|()| staging)
        });
        Ok(place.insert(unpacked.await??))
    }

    async fn download(&self, job: &Job, package: &Id, staging: &mut dyn Staging) -> Result<(), JobError> {
        let archive = staging.write_archive()?;
        let (pieces, received) = mpsc::channel(PIECES);
        let (progress, mut reports) = mpsc::channel::<f64>(1);
        let step = self.settings.progress_step;
        let writer = blocking("writing the package", move || {
            write(archive, received, &progress, step)
        });
        let reporter = async {
            while let Some(percent) = reports.recv().await {
                self.report_progress(&report(
                    job,
                    JobState::Downloading,
                    None,
                    Some(percent),
                    String::new(),
                ))
                .await;
            }
        };
        let transfer = self.client.download(package, pieces);
        let (transferred, written, ()) = tokio::join!(transfer, writer, reporter);
        // A disk that is full ends the transfer, and not the other way round.
        let (received, announced) = written??;
        transferred?;
        match announced {
            Some(announced) if announced != received => Err(JobError::WrongLength { received, announced }),
            _ => Ok(()),
        }
    }
}

/// Writes the pieces of a download; how many bytes came, and how many were announced.
fn write(
    mut archive: Box<dyn Write + Send>,
    mut pieces: mpsc::Receiver<(Bytes, Option<u64>)>,
    progress: &mpsc::Sender<f64>,
    step: u64,
) -> Result<(u64, Option<u64>), JobError> {
    let (mut received, mut announced, mut next_report) = (0, None, step);
    while let Some((piece, length)) = pieces.blocking_recv() {
        archive.write_all(&piece).map_err(JobError::Archive)?;
        received += piece.len() as u64;
        announced = length;
        if let Some(length) = length.filter(|_| received >= next_report) {
            next_report = received.saturating_add(step);
            // A report that still waits to be sent is as good as this one: the download goes on meanwhile.
            let _ = progress.try_send(percent(received, length));
        }
    }
    archive.flush().map_err(JobError::Archive)?;
    Ok((received, announced))
}

/// Whole percent of a transfer.
#[allow(clippy::cast_precision_loss)] // a hundredth is more than anyone needs
fn percent(received: u64, length: u64) -> f64 {
    if length == 0 {
        100.0
    } else {
        (received as f64 / length as f64 * 100.0).floor().min(100.0)
    }
}
