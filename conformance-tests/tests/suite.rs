//! The suite on the backends of the family.

use std::process::ExitCode;

use conformance_tests::family::FAMILY;
use conformance_tests::run_tests;

fn main() -> ExitCode {
    // The library has compiled the cases for each backend already.
    run_tests(FAMILY.iter().map(|member| (member.name, (member.cases)())))
}
