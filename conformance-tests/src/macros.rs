//! Turns the lists of cases into tests.

/// Makes a module `$module` with one `#[test]` per case, for backends of `$factory`, in a module per group.
#[macro_export]
macro_rules! suite {
    ($module:ident, $factory:ty) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may be named by a whole path")]
            use super::*;
            $crate::for_each_group! { tests! $factory; }
        }
    };
}

/// Passes the cases of each group to the macro `$expand`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_group {
    ($expand:ident! $($args:tt)*) => {
        $crate::values_cases! { $expand! $($args)* }
        $crate::lists_cases! { $expand! $($args)* }
        $crate::maps_cases! { $expand! $($args)* }
        $crate::reducing_cases! { $expand! $($args)* }
        $crate::aggregating_cases! { $expand! $($args)* }
        $crate::namespaces_cases! { $expand! $($args)* }
        $crate::key_context_cases! { $expand! $($args)* }
        $crate::operator_cases! { $expand! $($args)* }
        $crate::raw_cases! { $expand! $($args)* }
        $crate::isolation_cases! { $expand! $($args)* }
        $crate::restore_cases! { $expand! $($args)* }
        $crate::incremental_cases! { $expand! $($args)* }
        $crate::savepoints_cases! { $expand! $($args)* }
        $crate::limits_cases! { $expand! $($args)* }
        $crate::lifecycle_cases! { $expand! $($args)* }
        $crate::ttl_cases! { $expand! $($args)* }
        $crate::timers_cases! { $expand! $($args)* }
        $crate::types_cases! { $expand! $($args)* }
        $crate::evolution_cases! { $expand! $($args)* }
        $crate::faults_cases! { $expand! $($args)* }
        $crate::model_cases! { $expand! $($args)* }
    };
}

/// The tests of one group.
#[doc(hidden)]
#[macro_export]
macro_rules! tests {
    ($factory:ty; $group:ident $($case:ident)+) => {
        mod $group {
            #[allow(unused_imports, reason = "the factory may be named by a whole path")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::cases::$group::$case::<$factory>();
                }
            )+
        }
    };
}

/// Adds a group's name with the names of its cases to a vector.
#[doc(hidden)]
#[macro_export]
macro_rules! names {
    ($groups:ident; $group:ident $($case:ident)+) => {
        $groups.extend([(stringify!($group), vec![$(stringify!($case)),+])]);
    };
}

/// Adds the cases of one group to a vector.
#[doc(hidden)]
#[macro_export]
macro_rules! listed {
    ($factory:ty, $cases:ident; $group:ident $($case:ident)+) => {
        $cases.extend([$($crate::Case {
            group: stringify!($group),
            name: stringify!($case),
            run: $crate::cases::$group::$case::<$factory>,
        }),+]);
    };
}

/// All cases, in the order of their groups, to be run on the backends of `F`.
pub fn all_cases<F: crate::Factory>() -> Vec<crate::Case> {
    let mut cases = Vec::new();
    crate::for_each_group! { listed! F, cases; }
    cases
}
