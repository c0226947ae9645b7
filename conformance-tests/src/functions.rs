//! User codecs and functions, some of which fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{Aggregate, BoxError, Codec, Error, ErrorKind, Result, default_codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The default codec of `T` with its own id. Counts encodings, and can refuse values.
pub struct TestCodec<T> {
    id: String,
    inner: Arc<dyn Codec<T>>,
    refuses: fn(&T) -> bool,
    encoded: AtomicU64,
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> TestCodec<T> {
    /// A codec with that id.
    pub fn new(id: &str) -> Arc<Self> {
        Self::refusing(id, |_| false)
    }

    /// A codec with that id that cannot encode the values for which `refuses` is true.
    pub fn refusing(id: &str, refuses: fn(&T) -> bool) -> Arc<Self> {
        Arc::new(Self { id: id.to_owned(), inner: default_codec(), refuses, encoded: AtomicU64::new(0) })
    }

    /// Number of encodings.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::SeqCst)
    }
}

impl<T: Send + Sync + 'static> Codec<T> for TestCodec<T> {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        self.encoded.fetch_add(1, Ordering::SeqCst);
        if (self.refuses)(value) {
            return Err(Error::new(ErrorKind::Codec, "the test's codec refuses this value"));
        }
        self.inner.encode(value, out)
    }

    fn decode(&self, input: &[u8]) -> Result<T> {
        self.inner.decode(input)
    }

    fn heap_size(&self, value: &T) -> usize {
        self.inner.heap_size(value)
    }
}

/// An input for which [`Mean`] and [`Sum`] fail.
pub const FAIL: i64 = -1;

/// An input for which they panic.
pub const PANIC: i64 = -2;

/// Fails or panics for these inputs. Called after the accumulator has changed.
fn trip(input: i64) -> Result<(), BoxError> {
    match input {
        FAIL => Err("the test's function fails".into()),
        PANIC => panic!("the test's function panics"),
        _ => Ok(()),
    }
}

/// The mean of the inputs. Changes its accumulator (sum, count) in place.
#[derive(Debug)]
pub struct Mean;

impl Aggregate for Mean {
    type Input = i64;
    type Accumulator = (i64, u64);
    type Output = f64;

    fn create(&self) -> (i64, u64) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (i64, u64), input: i64) -> Result<(), BoxError> {
        accumulator.0 += input;
        accumulator.1 += 1;
        trip(input)
    }

    fn result(&self, (sum, count): &(i64, u64)) -> f64 {
        *sum as f64 / *count as f64
    }

    fn merge(&self, into: &mut (i64, u64), other: &(i64, u64)) -> Result<(), BoxError> {
        *into = (into.0 + other.0, into.1 + other.1);
        Ok(())
    }
}

/// The sum of the inputs. Replaces its accumulator, and counts created ones.
#[derive(Debug, Default)]
pub struct Sum {
    created: Arc<AtomicU64>,
}

impl Sum {
    /// The number of accumulators created by all clones of the function.
    pub fn created(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.created)
    }
}

impl Aggregate for Sum {
    type Input = i64;
    type Accumulator = i64;
    type Output = i64;

    fn create(&self) -> i64 {
        self.created.fetch_add(1, Ordering::SeqCst);
        0
    }

    fn add(&self, accumulator: &mut i64, input: i64) -> Result<(), BoxError> {
        *accumulator += input;
        trip(input)
    }

    fn result(&self, sum: &i64) -> i64 {
        *sum
    }

    fn merge(&self, into: &mut i64, other: &i64) -> Result<(), BoxError> {
        *into += other;
        Ok(())
    }
}
