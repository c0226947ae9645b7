//! The suite on our own backends, in one program: they share much of their code, and so the time to compile it.

use conformance_tests::family::{Bytes, Fs, Memory};
use conformance_tests::suite;

suite!(memory, Memory);
suite!(fs, Fs<false>);
suite!(fs_incremental, Fs<true>);
suite!(bytes, Bytes);
