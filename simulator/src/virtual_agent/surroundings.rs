//! What a scenario says about the machines of one system, as those machines take it.

use crate::generate::Traits;
use crate::generate::traits::{Catalogue, Changes, Program};
use crate::scenario::{Jobs, PackageJobs, Scenario, Share, Software, System};
use crate::simulated_host::{ProcedureBehaviour, Surroundings};
use oco_agent::host::Os;
use std::sync::Arc;

/// The surroundings of the machines of a system.
pub(super) fn of(scenario: &Scenario, os: Os) -> Surroundings {
    let packages = scenario.admin.packages.iter();
    let special = packages.filter(|package| package.jobs != PackageJobs::default());
    let special = special.map(|package| {
        let jobs = scenario.jobs.of_package(&package.jobs);
        (package.procedure.get_ref().clone(), procedures(&jobs))
    });
    Surroundings {
        traits: traits(scenario, os),
        procedures: procedures(&scenario.jobs),
        special_procedures: special.collect(),
        ..Surroundings::installed(os)
    }
}

fn traits(scenario: &Scenario, os: Os) -> Traits {
    let fleet = &scenario.fleet;
    let hardware = fleet.hardware.as_ref();
    let changes = (fleet.changes.0 > 0.0).then(|| Changes {
        from: fleet.start.0,
        interval: scenario.pacing.interval.0.0,
        share: millionths(fleet.changes),
    });
    Traits {
        forms: hardware.map_or_else(Vec::new, |hardware| hardware.get_ref().kinds(os)),
        catalogue: catalogue(&fleet.software, os),
        changes,
    }
}

/// None: the built-in catalogue as it is.
fn catalogue(software: &Software, os: Os) -> Option<Arc<Catalogue>> {
    let own = software.packages.iter();
    let own = own.filter(|package| package.os.0.iter().any(|system: &System| Os::from(*system) == os));
    let own: Vec<_> = own
        .map(|package| Program {
            name: package.name.get_ref().clone(),
            version: package.version.clone(),
            publisher: package.publisher.clone(),
            share: millionths(package.share),
        })
        .collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 10
    let popularity = (software.popularity.0 * 1000.0).round() as u32;
    (popularity != 1000 || !own.is_empty()).then(|| Arc::new(Catalogue { popularity, own }))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 1
fn millionths(share: Share) -> u32 {
    (share.0 * 1e6).round() as u32
}

fn procedures(jobs: &Jobs) -> ProcedureBehaviour {
    ProcedureBehaviour {
        shortest: jobs.shortest.0,
        longest: jobs.longest.get_ref().0,
        most_output: jobs.most_output.0 as usize,
        failure_share: jobs.failure_share.0,
        failure_codes: jobs.failure_codes.0.clone(),
    }
}
