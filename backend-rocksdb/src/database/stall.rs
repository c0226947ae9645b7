//! Writes and flushes that do not wait without end.
//!
//! RocksDB stops writes while flushes and compactions lag behind. After an error of a compaction, such as a full disk, it
//! keeps them stopped until the disk has room again (64 MiB, or what the next compaction needs), which may never be. So
//! no call waits inside RocksDB: it is tried again here, and given up once background work has failed.

use std::error::Error as _;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use backend_api::{Error, ErrorKind, Result};
use rocksdb::{DB, WriteOptions, properties};

use super::{Database, Family};
use crate::error::failed;
use crate::ffi;

/// How long a call waits for background work that has failed before.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shortest and longest pause between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The options of all writes: without a log, and failing rather than waiting.
pub(super) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options.set_no_slowdown(true);
    options
}

impl Database {
    /// Writes about `bytes` bytes by `attempt`, which is called again while RocksDB asks writers to slow down.
    ///
    /// # Errors
    /// Errors of `attempt`; [`Io`](ErrorKind::Io) if writes stay stopped after background work has failed.
    pub fn write(
        &self,
        bytes: usize,
        mut attempt: impl FnMut(&DB, &WriteOptions) -> Result<()>,
    ) -> Result<()> {
        match attempt(&self.db, &self.writes) {
            Err(error) if is_stall(&error) => self.write_stalled(bytes, attempt),
            result => result,
        }
    }

    #[cold]
    fn write_stalled(
        &self,
        bytes: usize,
        mut attempt: impl FnMut(&DB, &WriteOptions) -> Result<()>,
    ) -> Result<()> {
        let mut waiting = Waiting::default();
        loop {
            // Each refused try costs the time that the bytes take at the rate that RocksDB allows now, and the next one
            // needs as much again. The rate is 0 while writes are stopped.
            let rate = self.property(properties::ACTUAL_DELAYED_WRITE_RATE);
            match (2_000_000 * bytes as u64).checked_div(rate) {
                Some(micros) => thread::sleep(PAUSE_MIN + Duration::from_micros(micros)),
                None => waiting.pause(self)?,
            }
            match attempt(&self.db, &self.writes) {
                Err(error) if is_stall(&error) => {}
                result => return result,
            }
        }
    }

    /// Flushes all write buffers. There must be no writes at the same time.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if they cannot be flushed; [`Closed`](ErrorKind::Closed) once the database is closed.
    pub fn flush(&self) -> Result<()> {
        let mut waiting = Waiting::default();
        loop {
            for family in Family::ALL {
                while !ffi::start_flush(&self.db, self.family(family)?)? {
                    waiting.pause(self)?;
                }
            }
            if self.sum(properties::NUM_ENTRIES_ACTIVE_MEM_TABLE)? == 0 {
                break;
            }
            waiting.pause(self)?;
        }
        while self.sum(properties::NUM_IMMUTABLE_MEM_TABLE)? > 0 {
            waiting.pause(self)?;
        }
        Ok(())
    }

    /// The sum of a property of all column families.
    fn sum(&self, name: &properties::PropName) -> Result<u64> {
        Family::ALL.into_iter().try_fold(0, |sum, family| {
            let value = self.db.property_int_value_cf(self.family(family)?, name).map_err(failed)?;
            Ok(sum + value.unwrap_or_default())
        })
    }

    fn property(&self, name: &properties::PropName) -> u64 {
        self.db.property_int_value(name).ok().flatten().unwrap_or_default()
    }
}

/// A wait for background work.
#[derive(Default)]
struct Waiting {
    next: Duration,
    /// Time waited since background work was seen to have failed.
    after_failure: Duration,
}

impl Waiting {
    /// Waits a little.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) if background work has ended; [`Io`](ErrorKind::Io) if it has failed and the wait
    /// was too long.
    fn pause(&mut self, database: &Database) -> Result<()> {
        if database.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the backend of the snapshot is closed"));
        }
        if database.property(properties::BACKGROUND_ERRORS) > 0 {
            if self.after_failure >= PATIENCE {
                let message = "RocksDB has stopped writing after a flush or compaction failed; if the disk is full, \
                               it goes on when 64 MiB, or what the next compaction needs, are free";
                return Err(Error::new(ErrorKind::Io, message));
            }
            self.after_failure += self.next;
        }
        thread::sleep(self.next);
        self.next = (self.next * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        Ok(())
    }
}

fn is_stall(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<rocksdb::Error>());
    source.is_some_and(|error| {
        error.kind() == rocksdb::ErrorKind::Incomplete && error.as_ref().contains("Write stall")
    })
}
