use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::StateDescriptor;
use crate::format::StateMeta;
use crate::row::{ReadBack, RowEvolution};
use crate::{Expiry, Result, StateBackend, StateKey, StateKind, TimeDomain, TimerToken};

/// Describes timers: a set of times per key and namespace, which fire in the order of time.
///
/// Timers of event time and of processing time are separate states with different names.
pub struct TimerDescriptor<N = ()> {
    name: String,
    domain: TimeDomain,
    namespace: PhantomData<fn() -> N>,
}

impl TimerDescriptor {
    /// Timers that fire as the watermark advances.
    pub fn event_time(name: impl Into<String>) -> Self {
        Self { name: name.into(), domain: TimeDomain::Event, namespace: PhantomData }
    }

    /// Timers that fire as the clock advances.
    pub fn processing_time(name: impl Into<String>) -> Self {
        Self { name: name.into(), domain: TimeDomain::Processing, namespace: PhantomData }
    }
}

impl<N> TimerDescriptor<N> {
    /// The state's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the times of the timers are compared with.
    pub fn domain(&self) -> TimeDomain {
        self.domain
    }

    /// The same timers, separated by namespaces of type `M`.
    pub fn namespaced<M: StateKey>(self) -> TimerDescriptor<M> {
        TimerDescriptor { name: self.name, domain: self.domain, namespace: PhantomData }
    }
}

impl<N: StateKey> StateDescriptor for TimerDescriptor<N> {
    type Token = TimerToken<N>;

    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
        backend.register_timers(self)
    }

    fn meta(&self) -> Result<StateMeta> {
        N::check_type().map_err(|error| error.in_state(&self.name))?;
        Ok(StateMeta {
            name: self.name.clone(),
            kind: StateKind::Timer,
            namespace_schema: N::schema(),
            codecs: Vec::new(),
            table_seed: 0,
            options: BTreeMap::new(),
        }
        .with_time_domain(self.domain))
    }

    fn read_back<K: StateKey>(&self) -> ReadBack {
        ReadBack::timers::<K, N>()
    }

    fn expiry(&self) -> Option<&Expiry> {
        None
    }

    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
        old.check_keys(&self.meta()?).map(|()| None)
    }
}
