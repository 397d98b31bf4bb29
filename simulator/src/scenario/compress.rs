//! The same scenario in less time, to try out a long one: everything happens so many times sooner and faster. What is
//! judged by stays as it is.

use super::values::{Compression, Interval, Moment};
use super::{Pacing, Scenario, Wave};
use crate::duration::Span;
use oco_mock_server::faults::Fault;
use toml::Spanned;

/// Agents tell a restart that has happened from one to come by more than this.
const SHORTEST_RESTART: Span = Span::from_secs(6);
/// Servers count these in seconds.
const SECOND: Span = Span::from_secs(1);

impl Scenario {
    /// Makes all times shorter but those that are limits. A machine still takes some seconds to restart.
    pub fn compress(&mut self, by: Compression) {
        self.run.duration = by.of(self.run.duration);
        let Pacing {
            ramp,
            interval,
            warm_up,
            ..
        } = &mut self.pacing;
        (*ramp, *warm_up) = (by.of(*ramp), by.of(*warm_up));
        *interval = shorter(*interval, by);
        self.compress_jobs(by);
        for offline in &mut self.offline {
            (offline.from, offline.lasts) = (by.of(offline.from), by.of(offline.lasts));
            offline.every = offline
                .every
                .take()
                .map(|every| respanned(&every, by.of(*every.get_ref())));
        }
        let churn = &mut self.churn;
        let waves = [
            &mut churn.join,
            &mut churn.leave,
            &mut churn.rename,
            &mut churn.clone,
        ];
        for wave in waves.into_iter().flatten() {
            *wave = Wave {
                from: by.of(wave.from),
                over: by.of(wave.over),
                ..*wave
            };
        }
        for adversary in &mut self.adversary {
            adversary.every = shorter(adversary.every, by);
            adversary.from = by.of(adversary.from);
            adversary.lasts = adversary.lasts.map(|lasts| by.of(lasts));
        }
        self.compress_admin(by);
    }

    fn compress_jobs(&mut self, by: Compression) {
        let jobs = &mut self.jobs;
        jobs.shortest = by.of(jobs.shortest);
        jobs.longest = respanned(&jobs.longest, by.of(*jobs.longest.get_ref()));
        jobs.restart_takes = by.of(jobs.restart_takes).max(SHORTEST_RESTART);
        jobs.shutdown_takes = by.of(jobs.shutdown_takes).max(SHORTEST_RESTART);
        for package in &mut self.admin.packages {
            let jobs = &mut package.jobs;
            jobs.shortest = jobs.shortest.map(|shortest| by.of(shortest));
            jobs.longest = jobs
                .longest
                .take()
                .map(|longest| respanned(&longest, by.of(*longest.get_ref())));
        }
    }

    fn compress_admin(&mut self, by: Compression) {
        let admin = &mut self.admin;
        let interval = &mut admin.settings.update_interval;
        *interval = interval.map(|interval| by.of(interval).max(SECOND));
        for rule in &mut admin.password_rules {
            rule.valid_for = Interval(by.of(rule.valid_for.0).max(SECOND));
        }
        let deployments = admin.deployments.iter_mut().map(|one| &mut one.at);
        let policies = admin.policies.iter_mut().map(|one| &mut one.at);
        let passwords = admin.password_rules.iter_mut().map(|one| &mut one.at);
        let events = admin.event_rules.iter_mut().map(|one| &mut one.at);
        let faults = self.fault.iter_mut().map(|fault| {
            fault.lasts = fault.lasts.map(|lasts| by.of(lasts));
            match &mut fault.fault {
                Fault::Idle { for_ms, .. } | Fault::Refuse { for_ms } | Fault::Restart { for_ms } => {
                    *for_ms = by.of_ms(*for_ms);
                }
                _ => {}
            }
            &mut fault.at
        });
        let moments = deployments
            .chain(policies)
            .chain(passwords)
            .chain(events)
            .chain(faults);
        for moment in moments {
            if let Moment::After(span) = moment {
                *span = by.of(*span);
            }
        }
    }
}

/// Never 0.
fn shorter(interval: Interval, by: Compression) -> Interval {
    Interval(by.of(interval.0).max(Span(std::time::Duration::from_millis(1))))
}

fn respanned(old: &Spanned<Span>, new: Span) -> Spanned<Span> {
    Spanned::new(old.span(), new)
}
