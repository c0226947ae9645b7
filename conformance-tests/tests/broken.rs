//! The suite can fail: cases named here detect backends with deliberate faults, and pass without the fault.

mod faulty;

use conformance_tests::cases::{incremental, isolation, key_context, lifecycle, namespaces, restore, values};
use conformance_tests::family::Fs;
use faulty::{
    FORGOTTEN_CLEAR, FORGOTTEN_HANDLE, HALF_AN_UPDATE, HASTY_CONFIRMATION, KEYS_OF_ALL_NAMESPACES,
    NEVER_CLOSED, NEVER_FULL, NONE, UNSTOPPABLE_SNAPSHOT, WithFault,
};

macro_rules! caught {
    ($($test:ident: $fault:ident by $group:ident::$case:ident;)+) => {$(
        #[test]
        fn $test() {
            $group::$case::<WithFault<Fs<true>, NONE>>();
            let run = || $group::$case::<WithFault<Fs<true>, $fault>>();
            assert!(std::panic::catch_unwind(run).is_err(), "the fault was not noticed");
        }
    )+};
}

caught! {
    keys_of_all_namespaces: KEYS_OF_ALL_NAMESPACES by namespaces::f78_keys_are_listed_by_namespace;
    a_forgotten_clear: FORGOTTEN_CLEAR by values::a05_clear_restores_the_default_and_drops_the_entry;
    a_forgotten_clear_of_an_increment: FORGOTTEN_CLEAR by incremental::l171_removed_entries_do_not_return;
    a_forgotten_clear_while_visiting: FORGOTTEN_CLEAR by key_context::g93_an_error_ends_the_visit_of_all_keys;
    half_an_update: HALF_AN_UPDATE by values::a10_a_failed_update_changes_nothing;
    a_forgotten_handle: FORGOTTEN_HANDLE by restore::k145_a_rescaled_operator_finds_every_key_once;
    a_forgotten_handle_of_other_states:
        FORGOTTEN_HANDLE by restore::k146_states_that_only_some_subtasks_have_are_found;
    a_hasty_confirmation: HASTY_CONFIRMATION by incremental::l163_an_unconfirmed_checkpoint_is_not_built_on;
    a_hasty_confirmation_of_an_aborted_one:
        HASTY_CONFIRMATION by incremental::l164_an_aborted_checkpoint_is_not_built_on_and_loses_nothing;
    a_backend_that_is_never_closed: NEVER_CLOSED by lifecycle::p232_a_closed_backend_returns_closed;
    a_checkpoint_that_is_never_full: NEVER_FULL by incremental::l161_the_first_checkpoint_and_a_full_one_need_no_other;
    a_snapshot_that_cannot_be_stopped: UNSTOPPABLE_SNAPSHOT by lifecycle::p236_a_cancelled_snapshot_leaves_no_file;
    a_snapshot_that_does_not_wait_to_be_run:
        UNSTOPPABLE_SNAPSHOT by isolation::j142_a_task_that_is_dropped_leaves_nothing;
}
