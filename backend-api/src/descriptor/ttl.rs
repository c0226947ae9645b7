//! Descriptors of states with a time to live.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{
    AggregatingDescriptor, ListDescriptor, MapDescriptor, ReducingDescriptor, StateDescriptor,
    ValueDescriptor,
};
use crate::format::StateMeta;
use crate::row::{ReadBack, RowEvolution};
use crate::ttl::{Clock, Expiry, Stamped, Ttl, TtlAggregate, stamped_reduce};
use crate::{
    Aggregate, AggregatingToken, Error, ErrorKind, ListToken, MapToken, ReducingToken, Result, StateBackend,
    StateKey, StateToken, StateValue, ValueToken,
};

/// A descriptor with a time to live, as the methods `ttl` of the descriptors return. `D` describes the stamped form.
///
/// The backend must know the time before the state is registered: call
/// [`advance_to`](crate::StateBackend::advance_to) first. Contents that were written without a time to live start
/// theirs then.
pub struct Expiring<D> {
    stamped: D,
    ttl: Ttl,
    clock: Clock,
}

impl<D> Expiring<D> {
    fn new(ttl: Ttl, stamp: impl FnOnce(&Clock) -> D) -> Self {
        let clock = Clock::unbound();
        Self { stamped: stamp(&clock), ttl, clock }
    }
}

impl<V: StateValue, N> ValueDescriptor<V, N> {
    /// Sets a time to live of the values. A [default value](Self::default_value) does not apply then.
    pub fn ttl(self, ttl: Ttl) -> Expiring<ValueDescriptor<Stamped<V>, N>> {
        Expiring::new(ttl, |clock| ValueDescriptor {
            name: self.name,
            values: self.values.stamped(ttl, clock),
            default: None,
            namespace: PhantomData,
        })
    }
}

impl<T: StateValue, N> ListDescriptor<T, N> {
    /// Sets a time to live of each element.
    pub fn ttl(self, ttl: Ttl) -> Expiring<ListDescriptor<Stamped<T>, N>> {
        Expiring::new(ttl, |clock| ListDescriptor {
            name: self.name,
            values: self.values.stamped(ttl, clock),
            namespace: PhantomData,
        })
    }
}

impl<MK: StateKey, MV: StateValue, N> MapDescriptor<MK, MV, N> {
    /// Sets a time to live of each entry.
    pub fn ttl(self, ttl: Ttl) -> Expiring<MapDescriptor<MK, Stamped<MV>, N>> {
        Expiring::new(ttl, |clock| MapDescriptor {
            name: self.name,
            values: self.values.stamped(ttl, clock),
            types: PhantomData,
        })
    }
}

impl<T: StateValue, N> ReducingDescriptor<T, N> {
    /// Sets a time to live of the accumulated value, which each added value renews.
    pub fn ttl(self, ttl: Ttl) -> Expiring<ReducingDescriptor<Stamped<T>, N>> {
        Expiring::new(ttl, |clock| ReducingDescriptor {
            name: self.name,
            values: self.values.stamped(ttl, clock),
            reduce: Arc::new(stamped_reduce(self.reduce, ttl, clock.clone())),
            namespace: PhantomData,
        })
    }
}

impl<A: Aggregate, N> AggregatingDescriptor<A, N> {
    /// Sets a time to live of the accumulator, which each added input renews.
    pub fn ttl(self, ttl: Ttl) -> Expiring<AggregatingDescriptor<TtlAggregate<A>, N>> {
        Expiring::new(ttl, |clock| AggregatingDescriptor {
            name: self.name,
            values: self.values.stamped(ttl, clock),
            aggregate: Arc::new(TtlAggregate::new(self.aggregate, ttl, clock.clone())),
            namespace: PhantomData,
        })
    }
}

macro_rules! expiring {
    ([$($p:ident: $bound:ident),+] $stamped:ty, $token:ident[$($t:ident),+], $register:ident) => {
        impl<$($p: $bound,)+ N: StateKey> StateDescriptor for Expiring<$stamped> {
            type Token = $token<$($t,)+ N>;

            fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
                let clock = backend.lifecycle().clock();
                if clock.now().is_none() {
                    return Err(no_time().in_state(self.stamped.name()));
                }
                self.clock.bind(clock);
                let name = self.stamped.name().to_owned();
                let token = backend.$register(self.stamped)?;
                let noted = backend.lifecycle_mut().set_ttl(token, self.ttl);
                noted.map_err(|error| error.in_state(&name))?;
                Ok($token::expiring(token.backend(), token.index() as u32))
            }

            fn meta(&self) -> Result<StateMeta> {
                self.stamped.meta()
            }

            fn read_back<K: StateKey>(&self) -> ReadBack {
                self.stamped.read_back::<K>()
            }

            fn expiry(&self) -> Option<&Expiry> {
                self.stamped.expiry()
            }

            fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
                self.stamped.evolution::<K>(old)
            }
        }
    };
}

expiring!([V: StateValue] ValueDescriptor<Stamped<V>, N>, ValueToken[V], register_value);
expiring!([T: StateValue] ListDescriptor<Stamped<T>, N>, ListToken[T], register_list);
expiring!([MK: StateKey, MV: StateValue] MapDescriptor<MK, Stamped<MV>, N>, MapToken[MK, MV], register_map);
expiring!([T: StateValue] ReducingDescriptor<Stamped<T>, N>, ReducingToken[T], register_reducing);
expiring!([A: Aggregate] AggregatingDescriptor<TtlAggregate<A>, N>, AggregatingToken[A], register_aggregating);

#[cold]
fn no_time() -> Error {
    let message = "the state has a time to live, and the backend does not know the time: call advance_to before registering it";
    Error::new(ErrorKind::IllegalState, message)
}
