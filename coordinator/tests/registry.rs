//! The registry of shared files: users, and files to delete.

use backend_api::{ErrorKind, StateData, StateFile};
use coordinator::SharedStateRegistry;

/// A shared file of checkpoint `created_by`.
fn shared(name: &str, created_by: u64) -> StateFile {
    let data = StateData::File { path: format!("job/shared/{name}"), length: 1 };
    StateFile { name: name.to_owned(), format: "test".to_owned(), created_by, shared: true, data }
}

fn files(registry: &SharedStateRegistry) -> Vec<&str> {
    registry.files().collect()
}

/// L168: a file that two checkpoints use is dead when the second is released, and not before.
#[test]
fn a_file_lives_as_long_as_it_has_users() {
    let mut registry = SharedStateRegistry::new();
    registry.register(1, &vec![shared("a", 1), shared("b", 1)]).unwrap();
    registry.register(2, &vec![shared("a", 1), shared("c", 2)]).unwrap();
    assert_eq!(registry.release(1), ["job/shared/b"]);
    assert!(registry.is_used("job/shared/a") && !registry.is_used("job/shared/b"));
    assert_eq!(registry.release(2), ["job/shared/a", "job/shared/c"]);
    assert_eq!(files(&registry), [""; 0]);
}

/// L168: the handles of several subtasks of one checkpoint are released together.
#[test]
fn all_handles_of_a_checkpoint_are_released_together() {
    let mut registry = SharedStateRegistry::new();
    registry.register(1, &vec![shared("a", 1)]).unwrap();
    registry.register(1, &vec![shared("b", 1)]).unwrap();
    assert_eq!(registry.release(1), ["job/shared/a", "job/shared/b"]);
}

/// L169: a reference to an unregistered file of an earlier checkpoint is refused, and nothing of that handle
/// is registered.
#[test]
fn an_unknown_reference_registers_nothing() {
    let mut registry = SharedStateRegistry::new();
    let error = registry.register(2, &vec![shared("own", 2), shared("old", 1)]).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::IllegalState, Some("old")));
    assert!(error.message().contains('1') && error.message().contains('2'), "{error}");
    assert_eq!(files(&registry), [""; 0]);
    // The file of a retained checkpoint is known to exist.
    registry.register_restored(2, &vec![shared("own", 2), shared("old", 1)]).unwrap();
    registry.register(3, &vec![shared("old", 1)]).unwrap();
    assert_eq!(registry.release(2), ["job/shared/own"]);
}

/// L172: registering a handle again changes nothing.
#[test]
fn registering_twice_counts_once() {
    let mut registry = SharedStateRegistry::new();
    let first = vec![shared("a", 1)];
    registry.register(1, &first).unwrap();
    registry.register(1, &first.clone()).unwrap();
    registry.register_restored(1, &first).unwrap();
    assert_eq!(registry.release(1), ["job/shared/a"]);
    assert_eq!(registry.release(1), [""; 0]);
}

/// L173: a closed registry refuses handles and still releases files.
#[test]
fn a_closed_registry_only_releases() {
    let mut registry = SharedStateRegistry::new();
    let first = vec![shared("a", 1)];
    registry.register(1, &first).unwrap();
    registry.close();
    assert_eq!(registry.register(1, &first).unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(registry.register_restored(2, &[]).unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(registry.release(1), ["job/shared/a"]);
}

/// L174: a registry rebuilt from the retained checkpoints releases each file once.
#[test]
fn a_rebuilt_registry_releases_each_file_once() {
    let mut registry = SharedStateRegistry::new();
    for id in 1..=3 {
        let files: Vec<_> =
            (1..=id).map(|created_by| shared(&format!("f{created_by}"), created_by)).collect();
        registry.register_restored(id, &files).unwrap();
    }
    let mut dead = Vec::new();
    for id in 1..=3 {
        dead.extend(registry.release(id));
    }
    assert_eq!(dead, ["job/shared/f1", "job/shared/f2", "job/shared/f3"]);
}

/// L175: files last used below an id are released, and later ones stay. Unknown ids return nothing.
#[test]
fn files_unused_since_an_id_are_released() {
    let mut registry = SharedStateRegistry::new();
    registry.register(2, &vec![shared("two", 2), shared("both", 2)]).unwrap();
    registry.register(3, &vec![shared("three", 3), shared("both", 2)]).unwrap();
    assert_eq!(registry.unregister_unused(0), [""; 0]);
    assert_eq!(registry.unregister_unused(2), [""; 0]);
    assert_eq!(registry.unregister_unused(3), ["job/shared/two"]);
    assert_eq!(registry.release(77), [""; 0]);
    assert_eq!(files(&registry), ["job/shared/both", "job/shared/three"]);
    assert_eq!(registry.unregister_unused(u64::MAX), ["job/shared/both", "job/shared/three"]);
}

/// The registry ignores private files and inline state.
#[test]
fn only_shared_files_are_counted() {
    let mut registry = SharedStateRegistry::new();
    let private = StateFile { shared: false, ..shared("private", 1) };
    let inline = StateFile { data: StateData::Inline(vec![1]), ..shared("inline", 1) };
    registry.register(2, &vec![private, inline]).unwrap();
    assert_eq!(files(&registry), [""; 0]);
    assert_eq!(registry.release(2), [""; 0]);
}
