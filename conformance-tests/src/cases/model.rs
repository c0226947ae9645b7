//! Random programs compared with a plain model, and programs that found a fault.

use crate::{Factory, lives, model};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! model_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* model
            y01_random_programs_match_the_model
            y02_scripts_match_the_model
            y03_every_completed_checkpoint_restores_over_whole_lives_of_jobs
        }
    };
}

/// Scripts that every backend runs, including random ones that found a fault.
const SCRIPTS: [(&str, &str); 5] = [
    ("basic", include_str!("../../flink/scripts/basic.txt")),
    ("emptied", include_str!("../../flink/scripts/emptied.txt")),
    ("namespaces", include_str!("../../flink/scripts/namespaces.txt")),
    ("snapshots", include_str!("../../flink/scripts/snapshots.txt")),
    ("timers", include_str!("../../flink/scripts/timers.txt")),
];

/// Y1: random programs over random schemas, with overlapping and cancelled snapshots, crashes, restores and
/// rescaling, match a plain model.
pub fn y01_random_programs_match_the_model<F: Factory>() {
    model::check_random::<F>();
}

/// Y2: scripts with known answers of Flink, and programs that found a fault, match the model.
pub fn y02_scripts_match_the_model<F: Factory>() {
    for (name, script) in SCRIPTS {
        model::check::<F>(name, script);
    }
}

/// Y3: over whole lives of jobs, in which states change together or alone, with overlapping attempts, late
/// tasks, lost, late and repeated notifications, full checkpoints, two coordinators and a full disk, every completed checkpoint restores
/// exactly, a restorable one always exists, and no file stays that no checkpoint names.
pub fn y03_every_completed_checkpoint_restores_over_whole_lives_of_jobs<F: Factory>() {
    lives::check_random::<F>();
}
