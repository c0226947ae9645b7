//! Versions of a state's values, and the functions that lead from one version to the next.

use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::codec::ReadOld;
use crate::error::catch_panic;
use crate::ttl::{StampedCodec, stamp_of, unstamped};
use crate::{BoxError, Clock, Codec, Error, ErrorKind, Expiry, Result, Stamped, Ttl, ValueSchema};

/// Option of a state's metadata: the version in decimal digits. Absent for the first one.
const OPTION: &str = "version";

/// The version of a state that names none.
const FIRST: u32 = 1;

/// The version in the options of a state's metadata.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if it is no number.
pub(crate) fn version_in(options: &BTreeMap<String, Vec<u8>>) -> Result<u32> {
    let Some(bytes) = options.get(OPTION) else { return Ok(FIRST) };
    let number = str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the version of the state is no number"))
}

/// The version of a state's contents `V`, and the migrations that lead to it from earlier versions.
pub struct Versions<V> {
    present: u32,
    /// By the version that they read.
    migrations: BTreeMap<u32, Migration>,
    /// A version for which two migrations were given.
    repeated: Option<u32>,
    contents: PhantomData<fn() -> V>,
}

/// Reads the contents of one version and returns those of a later one.
struct Migration {
    old: Type,
    new: Type,
    open: Box<Open>,
    apply: Arc<Apply>,
}

#[derive(Clone, Copy)]
struct Type {
    id: TypeId,
    name: &'static str,
}

impl Type {
    fn of<T: 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }
}

/// Returns a reader of what codecs with these ids have written.
type Open = dyn Fn(&[&str]) -> Result<ReadOld<Box<dyn Any>>> + Send + Sync;
type Apply = dyn Fn(Box<dyn Any>) -> Result<Box<dyn Any>> + Send + Sync;

impl<V> Versions<V> {
    /// The first version, without migrations.
    pub fn new() -> Self {
        Self { present: FIRST, migrations: BTreeMap::new(), repeated: None, contents: PhantomData }
    }

    /// The present version.
    pub fn present(&self) -> u32 {
        self.present
    }

    /// Sets the present version.
    pub fn set(&mut self, version: u32) {
        self.present = version;
    }

    /// Adds the migration from version `from` to that of the next migration, or to the present version if there is no
    /// later migration. `open` returns a reader of what codecs with the given ids have written.
    pub fn migrate<Old: 'static, New: 'static>(
        &mut self,
        from: u32,
        open: impl Fn(&[&str]) -> Result<ReadOld<Old>> + Send + Sync + 'static,
        migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
    ) {
        let open = move |ids: &[&str]| -> Result<ReadOld<Box<dyn Any>>> {
            let read = open(ids)?;
            Ok(Box::new(move |bytes| Ok(Box::new(read(bytes)?))))
        };
        let apply = move |old: Box<dyn Any>| -> Result<Box<dyn Any>> {
            match migrate(*old.downcast::<Old>().map_err(|_| mistyped())?) {
                Ok(new) => Ok(Box::new(new)),
                Err(cause) => {
                    let message = format!("the migration from version {from} failed: {cause}");
                    Err(Error::new(ErrorKind::Function, message).with_source(cause))
                }
            }
        };
        let (old, new) = (Type::of::<Old>(), Type::of::<New>());
        let migration = Migration { old, new, open: Box::new(open), apply: Arc::new(apply) };
        if self.migrations.insert(from, migration).is_some() {
            self.repeated = Some(from);
        }
    }

    /// Checks that the migrations fit each other and the present version.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument), naming the version.
    pub fn check(&self) -> Result<()>
    where
        V: 'static,
    {
        let fault = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if self.present == 0 || self.migrations.contains_key(&0) {
            return fault("versions are counted from 1".to_owned());
        }
        if let Some(version) = self.repeated {
            return fault(format!("there are two migrations from version {version}"));
        }
        if let Some((from, _)) = self.migrations.range(self.present..).next() {
            let present = self.present;
            return fault(format!(
                "there is a migration from version {from}, and the state has version {present}"
            ));
        }
        let later = self.migrations.iter().skip(1).map(|(from, next)| (*from, next.old));
        let targets = later.chain([(self.present, Type::of::<V>())]);
        for ((from, Migration { new, .. }), (to, expected)) in self.migrations.iter().zip(targets) {
            if new.id != expected.id {
                let (new, expected) = (new.name, expected.name);
                return fault(format!(
                    "the migration from version {from} returns {new}, and version {to} has {expected}"
                ));
            }
        }
        Ok(())
    }

    /// The options that a state's metadata has for the version.
    pub fn options(&self) -> BTreeMap<String, Vec<u8>> {
        let option = || (OPTION.to_owned(), self.present.to_string().into_bytes());
        (self.present != FIRST).then(option).into_iter().collect()
    }

    /// A reader of the contents that codecs with these ids have written, if a state with these options has another
    /// version than the present one. A panic of user code is an error of the reader.
    ///
    /// # Errors
    /// [`Migration`](ErrorKind::Migration) if it has a newer version, or one without a migration, or the migration
    /// cannot read these codecs. [`Corrupt`](ErrorKind::Corrupt) for options without a number.
    pub fn read_old(&self, options: &BTreeMap<String, Vec<u8>>, ids: &[&str]) -> Result<Option<ReadOld<V>>>
    where
        V: 'static,
    {
        let (old, present) = (version_in(options)?, self.present);
        if old == present {
            return Ok(None);
        }
        let Some(first) = self.migrations.get(&old) else {
            let reason = match old > present {
                true => "a program with an older version cannot read a newer one",
                false => "there is no migration from that version",
            };
            let message = format!("restored with version {old}, registered with version {present}: {reason}");
            return Err(Error::new(ErrorKind::Migration, message));
        };
        let read = (first.open)(ids)?;
        let steps: Vec<_> = self.migrations.range(old..).map(|(_, step)| Arc::clone(&step.apply)).collect();
        Ok(Some(Box::new(move |bytes| {
            let value = catch_panic(ErrorKind::Function, "a value was migrated", || {
                steps.iter().try_fold(read(bytes)?, |value, step| step(value))
            })?;
            value.downcast().map(|value| *value).map_err(|_| mistyped())
        })))
    }
}

impl<V> Default for Versions<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// [`Versions::check`] finds this before.
#[cold]
fn mistyped() -> Error {
    Error::new(ErrorKind::InvalidArgument, "a migration returns another type than the next one takes")
}

/// The codec of a state's values, and their [versions](Versions).
pub struct VersionedCodec<V> {
    codec: Arc<dyn Codec<V>>,
    versions: Versions<V>,
    ttl: Option<StampedValues<V>>,
}

/// What stamped values have in addition.
struct StampedValues<V> {
    expiry: Expiry,
    /// Checks the migrations of the values.
    check: Box<dyn Fn() -> Result<()> + Send + Sync>,
    /// [`VersionedCodec::read_old`].
    read_old: Box<ReadOldStamped<V>>,
}

type Options = BTreeMap<String, Vec<u8>>;
type ReadOldStamped<V> = dyn Fn(&Options, &str) -> Result<Option<ReadOld<V>>> + Send + Sync;

impl<V> VersionedCodec<V> {
    /// The first version of values of `codec`.
    pub fn new(codec: Arc<dyn Codec<V>>) -> Self {
        Self { codec, versions: Versions::new(), ttl: None }
    }

    /// The codec.
    pub fn codec(&self) -> &Arc<dyn Codec<V>> {
        &self.codec
    }

    /// The present version.
    pub fn version(&self) -> u32 {
        self.versions.present()
    }

    /// Sets the present version.
    pub fn set_version(&mut self, version: u32) {
        self.versions.set(version);
    }

    /// Adds a [migration](Versions::migrate) that reads values of version `from` through serde, whichever codec with a
    /// known shape has written them.
    pub fn migrate<Old: DeserializeOwned + 'static, New: 'static>(
        &mut self,
        from: u32,
        migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
    ) {
        self.versions.migrate(from, |ids| read_serde::<Old>(last(ids)), migrate);
    }

    /// Adds a [migration](Versions::migrate) that reads values of version `from` by their codec.
    pub fn migrate_with<Old: 'static, New: 'static>(
        &mut self,
        from: u32,
        codec: Arc<dyn Codec<Old>>,
        migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
    ) {
        self.versions.migrate(from, move |ids| read_codec(&codec, last(ids)), migrate);
    }

    /// Checks that the codec can carry the type, and that the migrations fit.
    ///
    /// # Errors
    /// As [`Codec::check_type`] and [`Versions::check`].
    pub fn check(&self) -> Result<()>
    where
        V: 'static,
    {
        self.versions.check()?;
        if let Some(ttl) = &self.ttl {
            (ttl.check)()?;
        }
        self.codec.check_type()
    }

    /// The same values with stamps.
    pub(crate) fn stamped(self, ttl: Ttl, clock: &Clock) -> VersionedCodec<Stamped<V>>
    where
        V: 'static,
    {
        let mut versions = Versions::new();
        versions.set(self.versions.present());
        let codec = Arc::new(StampedCodec::new(Arc::clone(&self.codec)));
        let (values, read) = (Arc::new(self), clock.clone());
        let checked = Arc::clone(&values);
        let ttl = StampedValues {
            expiry: ttl.expiry(clock),
            check: Box::new(move || checked.versions.check()),
            read_old: Box::new(move |options, written| values.read_old_stamped(options, written, &read)),
        };
        VersionedCodec { codec, versions, ttl: Some(ttl) }
    }

    /// Which values have expired, if they have stamps.
    pub(crate) fn expiry(&self) -> Option<&Expiry> {
        self.ttl.as_ref().map(|ttl| &ttl.expiry)
    }

    /// [`read_old`](Self::read_old) for the stamped values. Values without a stamp get the present time.
    fn read_old_stamped(
        &self,
        options: &Options,
        written: &str,
        clock: &Clock,
    ) -> Result<Option<ReadOld<Stamped<V>>>>
    where
        V: 'static,
    {
        if let Some(written) = unstamped(written) {
            let Some(read) = self.read_old(options, written)? else { return Ok(None) };
            return Ok(Some(Box::new(move |bytes| {
                let (at, value) = stamp_of(bytes)?;
                Ok(Stamped { at, value: read(value)? })
            })));
        }
        let (read, clock) = (self.read_any(options, written)?, clock.clone());
        Ok(Some(Box::new(move |bytes| {
            let at = clock.now().unwrap_or(i64::MIN);
            Ok(Stamped { at, value: read(bytes)? })
        })))
    }

    /// A reader of values that are as this codec writes them, or older.
    fn read_any(&self, options: &Options, written: &str) -> Result<ReadOld<V>>
    where
        V: 'static,
    {
        let codec = Arc::clone(&self.codec);
        let read = self.read_old(options, written)?;
        Ok(read.unwrap_or_else(|| Box::new(move |bytes| codec.decode(bytes))))
    }

    /// As [`Versions::options`].
    pub fn options(&self) -> BTreeMap<String, Vec<u8>> {
        self.versions.options()
    }

    /// A reader of the values of a state with these options, which a codec with the id `written` has written. `None` if
    /// they are as this codec writes them.
    ///
    /// # Errors
    /// As [`Versions::read_old`] and [`Codec::evolve`].
    pub fn read_old(&self, options: &BTreeMap<String, Vec<u8>>, written: &str) -> Result<Option<ReadOld<V>>>
    where
        V: 'static,
    {
        if let Some(ttl) = &self.ttl {
            return (ttl.read_old)(options, written);
        }
        if let Some(written) = unstamped(written) {
            let read = self.read_any(options, written)?;
            return Ok(Some(Box::new(move |bytes| read(stamp_of(bytes)?.1))));
        }
        if let Some(read) = self.versions.read_old(options, &[written])? {
            return Ok(Some(read));
        }
        if written == self.codec.id() {
            return Ok(None);
        }
        let read = self.codec.evolve(written)?;
        let done = "a value of an older type was read";
        Ok(Some(Box::new(move |bytes| catch_panic(ErrorKind::Codec, done, || read(bytes)))))
    }

    /// [`read_old`](Self::read_old), or a reader of the values that this codec writes.
    ///
    /// # Errors
    /// As [`read_old`](Self::read_old).
    pub fn reader(&self, options: &BTreeMap<String, Vec<u8>>, written: &str) -> Result<ReadOld<V>>
    where
        V: 'static,
    {
        let codec = Arc::clone(&self.codec);
        let read = self.read_old(options, written)?;
        Ok(read.unwrap_or_else(|| Box::new(move |bytes| codec.decode(bytes))))
    }
}

fn last<'i>(ids: &[&'i str]) -> &'i str {
    ids.last().copied().unwrap_or_default()
}

/// A reader of values that a codec with the id `written` has written, for a migration that names their type.
///
/// # Errors
/// [`Migration`](ErrorKind::Migration) if the type cannot read all of them, or a user's codec has written them.
pub fn read_serde<Old: DeserializeOwned + 'static>(written: &str) -> Result<ReadOld<Old>> {
    let schema = ValueSchema::parse(written).map_err(|_| {
        let message = format!(
            "values of the codec {written:?} can be migrated only if that codec is given (migrate_with)"
        );
        Error::new(ErrorKind::Migration, message)
    })?;
    schema.check::<Old>()?;
    Ok(Box::new(move |bytes| schema.read(bytes)))
}

/// A reader of values that a codec with the id `written` has written, by `codec`.
///
/// # Errors
/// As [`Codec::evolve`], if another codec has written them.
pub fn read_codec<Old: 'static>(codec: &Arc<dyn Codec<Old>>, written: &str) -> Result<ReadOld<Old>> {
    if codec.id() != written {
        return codec.evolve(written);
    }
    let codec = Arc::clone(codec);
    Ok(Box::new(move |bytes| codec.decode(bytes)))
}
