//! Fetching a job's package: download with progress, then unpacking.

use super::{JobEngine, JobError, blocking, report, unpack};
use crate::host::Staging;
use oco_protocol::job::{Job, JobState, PROGRESS_UNPACKING};
use oco_protocol::lenient::Id;
use std::io::Write;

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
        let mut archive = staging.write_archive()?;
        let (mut received, mut announced) = (0u64, None);
        let (progress, mut reports) = tokio::sync::mpsc::channel::<f64>(1);
        let transfer = {
            let (archive, received, announced) = (&mut archive, &mut received, &mut announced);
            let mut next_report = self.settings.progress_step;
            self.client.download(package, move |chunk, length| {
                archive.write_all(chunk).map_err(JobError::Archive)?;
                *received += chunk.len() as u64;
                *announced = length;
                if let Some(length) = length.filter(|_| *received >= next_report) {
                    next_report = received.saturating_add(self.settings.progress_step);
                    // A report that still waits to be sent is as good as this one: the download goes on meanwhile.
                    let _ = progress.try_send(percent(*received, length));
                }
                Ok::<(), JobError>(())
            })
        };
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
        tokio::join!(transfer, reporter).0?;
        archive.flush().map_err(JobError::Archive)?;
        match announced {
            Some(announced) if announced != received => Err(JobError::WrongLength { received, announced }),
            _ => Ok(()),
        }
    }
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
