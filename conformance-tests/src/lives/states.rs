//! The states of the job, and a plain account of their content.

use std::collections::BTreeMap;

use backend_api::{
    MapDescriptor, MapState, MapToken, ReducingDescriptor, ReducingState, ReducingToken, Result,
    StateBackend, StateKind, StateToken,
};

use crate::access::Access;
use crate::kinds::{Change, Content, KEYS, Kinds};

/// Namespaces of the states that have namespaces.
const NAMESPACES: std::ops::Range<u8> = 0..3;

/// The state to change: one of its kind, or one namespace.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Kind(StateKind),
    Panes(u8),
    Tables(u8),
}

impl Target {
    /// Every state and namespace.
    pub fn all() -> Vec<Self> {
        let kinds = Kinds::ALL.map(Self::Kind).into_iter();
        kinds.chain(NAMESPACES.map(Self::Panes)).chain(NAMESPACES.map(Self::Tables)).collect()
    }
}

/// A change of one state. All others stay the same.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub target: Target,
    /// The key, or `None` for all keys.
    pub key: Option<u8>,
    pub change: Change,
}

/// Tokens of one state of each kind, and of two states with namespaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct States {
    kinds: Kinds,
    panes: ReducingToken<i64, u8>,
    tables: MapToken<i32, String, u8>,
}

/// The content of all states.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Account {
    kinds: Content,
    panes: BTreeMap<(i32, u8), i64>,
    tables: BTreeMap<(i32, u8), BTreeMap<i32, String>>,
}

impl Account {
    /// Adds the content of another subtask. No key may be in both.
    pub fn join(&mut self, other: Self) {
        self.kinds.join(other.kinds);
        self.panes.extend(other.panes);
        self.tables.extend(other.tables);
    }
}

impl States {
    /// Registers the states.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn register<B: StateBackend<Key = i32>>(backend: &mut B) -> Result<Self> {
        Ok(Self {
            kinds: Kinds::register(backend)?,
            panes: backend.register(ReducingDescriptor::new("panes", |a, b| a + b).namespaced())?,
            tables: backend.register(MapDescriptor::new("tables").namespaced())?,
        })
    }

    /// Changes all kinds of state at some keys, and the account.
    pub fn change<B: StateBackend<Key = i32>>(self, backend: &mut B, account: &mut Account, round: i32) {
        self.kinds.change(backend, &mut account.kinds, round);
    }

    /// Changes one state at one key or at all keys, and the account.
    pub fn write<B: StateBackend<Key = i32>>(
        self,
        backend: &mut B,
        account: &mut Account,
        round: i32,
        Write { target, key, change }: Write,
    ) {
        for at in KEYS.filter(|at| key.is_none_or(|key| i32::from(key) == *at)) {
            if backend.key(&at).is_err() {
                continue;
            }
            match target {
                Target::Kind(kind) => {
                    self.kinds.apply_to(kind, change, backend, round, at);
                    account.kinds.apply_to(kind, change, round, at);
                }
                Target::Panes(namespace) => self.write_pane(backend, account, round, (at, namespace), change),
                Target::Tables(namespace) => {
                    self.write_table(backend, account, round, (at, namespace), change);
                }
            }
        }
    }

    /// [`Change::Alter`] merges the pane before this one into it.
    fn write_pane<B: StateBackend<Key = i32>>(
        self,
        backend: &mut B,
        account: &mut Account,
        round: i32,
        at: (i32, u8),
        change: Change,
    ) {
        let (key, namespace) = at;
        let mut pane = backend.within(self.panes, &key, &namespace);
        match change {
            Change::Write => {
                pane.add(round.into()).unwrap();
                *account.panes.entry(at).or_default() += i64::from(round);
            }
            Change::Alter => {
                let source = namespace.checked_sub(1).unwrap_or(NAMESPACES.end - 1);
                pane.merge_from(&[source]).unwrap();
                if let Some(merged) = account.panes.remove(&(key, source)) {
                    *account.panes.entry(at).or_default() += merged;
                }
            }
            Change::Clear => {
                pane.clear().unwrap();
                account.panes.remove(&at);
            }
        }
    }

    /// [`Change::Alter`] removes an entry.
    fn write_table<B: StateBackend<Key = i32>>(
        self,
        backend: &mut B,
        account: &mut Account,
        round: i32,
        at: (i32, u8),
        change: Change,
    ) {
        let (key, namespace) = at;
        let mut table = backend.within(self.tables, &key, &namespace);
        let entry = round % 4;
        match change {
            Change::Write => {
                table.put(entry, format!("{round}")).unwrap();
                account.tables.entry(at).or_default().insert(entry, format!("{round}"));
            }
            Change::Alter => {
                table.remove(&entry).unwrap();
                if let Some(left) = account.tables.get_mut(&at) {
                    left.remove(&entry);
                }
                account.tables.retain(|_, table| !table.is_empty());
            }
            Change::Clear => {
                table.clear().unwrap();
                account.tables.remove(&at);
            }
        }
    }

    /// Reads the content of all states.
    pub fn read<B: StateBackend<Key = i32>>(self, backend: &mut B) -> Account {
        let mut account = Account { kinds: self.kinds.read(backend), ..Account::default() };
        for (key, namespace) in listed(backend, self.panes) {
            let pane = backend.within(self.panes, &key, &namespace).get().unwrap();
            account.panes.insert((key, namespace), pane.unwrap());
        }
        for (key, namespace) in listed(backend, self.tables) {
            let mut table = backend.within(self.tables, &key, &namespace);
            let entries = table.iter().unwrap().map(|entry| {
                let (key, value) = entry.unwrap();
                (key.into_owned(), value.into_owned())
            });
            account.tables.insert((key, namespace), entries.collect());
        }
        account
    }
}

fn listed<B: StateBackend<Key = i32>>(
    backend: &mut B,
    token: impl StateToken<Namespace = u8>,
) -> Vec<(i32, u8)> {
    backend.keys_and_namespaces(token).unwrap().collect::<Result<_>>().unwrap()
}
