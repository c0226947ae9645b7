//! The contract of every storage, on a store in memory.

use std::sync::Arc;

use backend_api::Storage;
use conformance_tests::storage_contract;
use storage_object::object_store::memory::InMemory;
use storage_object::{ObjectOptions, ObjectStorage};

fn storage() -> (Arc<dyn Storage>, ()) {
    // Parts of the smallest size, so that long files have several.
    let options = ObjectOptions::default().with_part_bytes(5 << 20).expect("a part size");
    (Arc::new(ObjectStorage::new(InMemory::new(), "team/jobs", options).expect("a storage")), ())
}

// All but `a_name_is_a_file_or_a_folder`: an object store has no folders.
storage_contract!(storage();
    a_finished_file_is_read_back,
    a_long_file_is_read_back,
    an_empty_file_is_a_file,
    reading_beyond_the_end_is_an_error,
    a_file_appears_when_it_is_finished,
    a_dropped_writer_leaves_nothing,
    a_cancelled_writer_leaves_nothing,
    a_finished_file_is_never_replaced,
    an_open_file_outlives_its_name,
    the_first_to_finish_has_the_name,
    a_swept_writer_does_not_harm_a_later_one,
    files_are_listed_by_folder_in_order,
    deleting_twice_is_no_error,
    a_folder_is_deleted_with_all_in_it,
    the_root_can_be_emptied,
    deleting_a_folder_ends_its_writers,
    a_sweep_removes_unfinished_files_alone,
    paths_stay_within_the_storage,
    writers_and_deletions_do_not_disturb_each_other,
    small_states_are_kept_inline,
    a_spilling_sink_leaves_nothing_behind,
);
