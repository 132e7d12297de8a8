//! Operations against PyTorch's, one test a case: interpreted and natively, in `f64` and `f32`.
//!
//! A case is run in `f64` with its gradient and the derivative of that along a direction
//! (Hessian-vector product), and in `f32` with its gradient. It fails when it is wrong, never
//! because of its name: what is skipped is an operation that `ops` has no row for, which none of the
//! project's own cases is.

#![allow(missing_docs, clippy::unwrap_used)]

mod case;
mod ops;

use std::collections::BTreeSet;
use std::sync::Arc;

use kilngrad_testing::reference::Reference;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value as Json;

fn main() {
    let arguments = Arguments::from_args();
    let reference = Arc::new(Reference::open("ops"));
    let (mut trials, mut missing) = (Vec::new(), BTreeSet::new());
    let all = cases(&reference.json);
    for (index, json) in all.iter().enumerate() {
        let op = json["op"].as_str().unwrap();
        let Some(build) = ops::find(op) else {
            missing.insert(op);
            continue;
        };
        let reference = Arc::clone(&reference);
        let run = move || case::run(&reference, &cases(&reference.json)[index], build);
        trials.push(Trial::test(json["name"].as_str().unwrap(), run));
    }
    if !arguments.list {
        println!("reference: {} of {} cases", trials.len(), all.len());
        if !missing.is_empty() {
            let names: Vec<&str> = missing.into_iter().collect();
            println!("not there: {}", names.join(", "));
        }
    }
    trials.push(Trial::test("every_operation_of_the_own_cases_is_there", none_is_missing));
    libtest_mimic::run(&arguments, trials).exit();
}

fn cases(json: &Json) -> &[Json] {
    json["cases"].as_array().unwrap()
}

/// Of the project's own cases, wherever the others come from.
fn none_is_missing() -> Result<(), Failed> {
    let reference = Reference::own("ops");
    let ops = cases(&reference.json).iter().map(|json| json["op"].as_str().unwrap());
    let missing: BTreeSet<&str> = ops.filter(|op| ops::find(op).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("missing: {missing:?}").into()) }
}
