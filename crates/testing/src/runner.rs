//! Running a property on random cases.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// Asks a property of so many random cases, the same ones in every run unless `PROPTEST_RNG_SEED`
/// is set; `PROPTEST_CASES` sets another number.
///
/// # Panics
///
/// If the property fails, with the smallest case that was found.
pub fn check<S>(strategy: S, cases: u32, mut property: impl FnMut(S::Value) -> Result<(), String>)
where
    S: Strategy,
    S::Value: Debug,
{
    let number = |name: &str| {
        std::env::var(name).ok().map(|text| {
            text.parse().unwrap_or_else(|_| panic!("expected a number for {name}, found {text:?}"))
        })
    };
    let config = Config {
        cases: number("PROPTEST_CASES").map_or(cases, |cases| cases as u32),
        rng_seed: RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1)),
        failure_persistence: None,
        max_shrink_time: 20_000,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let property = RefCell::new(&mut property);
    let result = TestRunner::new(config).run(&strategy, |case| {
        caught(|| (property.borrow_mut())(case)).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nthe recipe is\n{case:?}"),
        Err(TestError::Abort(reason)) => panic!("no verdict: {reason}"),
    }
}

/// The result of a property, where a panic is a failure: a defect of the compiler may be either.
///
/// # Errors
///
/// The property's error, or the message of its panic.
pub fn caught<T>(property: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(property)).unwrap_or_else(|panic| Err(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("of another kind"))
}
