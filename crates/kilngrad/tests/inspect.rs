//! What an executable tells of itself: stages, plan, kernels, and what became of a value.

#![allow(clippy::unwrap_used)]

use kilngrad::prelude::*;
use kilngrad::{Features, Reason, Why};
use ndarray::{Array1, Array2};

fn declare() -> Program {
    let b = Builder::new("inspected");
    let n = b.dim("n");
    let net = b.scope("net");
    let (hidden, head) = (Dense::new(&net, "hidden", 6, 8), Dense::new(&net, "head", 8, 4));
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 6)), train.input("y", I64, (n,)));
    let h = hidden.forward(x).relu().named("h");
    let scale = (h.mean(..) * 0.0).named("scale");
    let loss = head.forward(h).cross_entropy(y) + scale * 1.0;
    let _ = (loss + 1.0).named("unused");
    train.minimize(loss, b.params("net"), Sgd::new(0.1).momentum(0.9));
    train.output("loss", loss);
    let predict = b.entry("predict", Mode::Eval);
    predict.output("probs", head.forward(predict.input("h", F32, (n, 8))).softmax(-1));
    b.finish().unwrap()
}

fn executable() -> Executable {
    let options = Options::new().features(Features::baseline());
    let mut exe = declare().compile(&options).unwrap();
    exe.specialise("train", &[("n", 16)]).unwrap();
    exe
}

#[test]
fn an_entry_is_known_once_it_is_compiled() {
    let exe = executable();
    assert_eq!(exe.report("train").unwrap().bindings.values().collect::<Vec<_>>(), [&16]);
    let error = exe.plan("predict").unwrap_err().to_string();
    assert!(error.contains("\"predict\"") && error.contains("specialise"), "{error}");
    let error = exe.kernels("prodict").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Name);
    assert!(error.to_string().contains("\"predict\""), "{error}");
    let error = exe.stage("train", "fusion").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Name, "{error}");
    assert_eq!(exe.why("train", "loos").unwrap_err().kind(), ErrorKind::Name);
}

#[test]
fn stages_are_programs_and_fusion_needs_less_memory() {
    let exe = executable();
    let stages = exe.stages("train").unwrap();
    let peak = |name: &str| stages.iter().rfind(|stage| stage.name == name).unwrap().peak_bytes;
    assert!(peak("fuse") < peak("cse"), "{} and {}", peak("fuse"), peak("cse"));
    assert_eq!(peak("loops"), exe.report("train").unwrap().arena_bytes);
    let mut exe = exe;
    let (x, y) = (Array2::<f32>::from_elem((16, 6), 0.5), Array1::<i64>::zeros(16));
    for stage in stages.iter().filter(|stage| stage.name == "cse" || stage.name == "fuse") {
        let program = Program::parse(&stage.text, &Default::default()).unwrap();
        let mut interpreted = program.interpret(&Options::new()).unwrap();
        interpreted.copy_state(&exe).unwrap();
        let slow = interpreted.call("train").feed("x", &x).feed("y", &y).run().unwrap();
        let mut fresh = declare().compile(&Options::new()).unwrap();
        for (path, _) in exe.state_bytes() {
            fresh.set_state(path, &exe.state::<f32>(path).unwrap()).unwrap();
        }
        let native = fresh.call("train").feed("x", &x).feed("y", &y).run().unwrap();
        let native = f64::from(native.scalar::<f32>("loss").unwrap());
        assert!((native - slow.number("loss").unwrap()).abs() < 1e-5, "{}", stage.name);
    }
    exe.call("train").feed("x", &x).feed("y", &y).run().unwrap();
    assert_eq!(exe.stage("train", "plan").unwrap().text, {
        stages.iter().find(|stage| stage.name == "plan").unwrap().text.clone()
    });
}

#[test]
fn the_plan_and_the_kernels_add_up() {
    let exe = executable();
    let (plan, report) = (exe.plan("train").unwrap(), exe.report("train").unwrap());
    assert!(plan.lower_bound_bytes <= plan.peak_bytes && plan.peak_bytes <= report.arena_bytes);
    let live: usize = plan.at_peak.iter().map(|value| value.bytes.next_multiple_of(64)).sum();
    assert_eq!(live, plan.lower_bound_bytes);
    let kernels = exe.kernels("train").unwrap();
    assert!(kernels.iter().all(|kernel| kernel.bytes_read + kernel.bytes_written > 0));
    // What is computed twice is counted twice.
    assert!(kernels.iter().map(|kernel| kernel.flops).sum::<u64>() >= report.flops);
    let contraction = kernels.iter().find(|kernel| kernel.operations.contains(&"dot")).unwrap();
    assert_eq!(contraction.kind, "contraction");
    // x, w and b go in; h comes out.
    assert_eq!(contraction.bytes_read, 4 * (16 * 6 + 6 * 8 + 8), "{contraction}");
    assert_eq!(contraction.bytes_written, 4 * 16 * 8, "{contraction}");
    assert!(contraction.origins.iter().any(|origin| origin.contains("inspect.rs")));
    let reasons = kernels.iter().flat_map(|kernel| &kernel.rejected).map(|r| &r.reason);
    assert!(reasons.into_iter().any(|reason| *reason == Reason::Memory), "{kernels:?}");
}

/// The stages in which something happened, with the text of the last.
fn story(why: &Why) -> (Vec<&'static str>, &str) {
    let stages = why.steps.iter().map(|step| step.stage).collect();
    (stages, why.steps.last().map_or("", |step| &step.text))
}

#[test]
fn every_value_has_a_story() {
    let exe = executable();
    let why = |name: &str| exe.why("train", name).unwrap();
    let loss = why("loss");
    assert!(loss.to_string().contains("inspect.rs"), "{loss}");
    let (_, end) = story(&loss);
    assert_eq!(end, "is written as output \"loss\", 4 B", "{loss}");

    let h = why("%h");
    assert!(h.to_string().contains("computed by @k0_dot"), "{h}");
    assert!(story(&h).1.starts_with("lies at arena+"), "{h}");

    let unused = why("unused");
    assert_eq!(story(&unused), (vec!["dce"], "dropped: nothing that is left reads it"), "{unused}");

    let state = why("net.head.w.next");
    assert_eq!(story(&state).1, "lies in the memory of state \"net.head.w\", 128 B", "{state}");
    assert_eq!(story(&why("x")).1, "is read where it is fed, 384 B");

    // Every value that is declared has an end, whichever way it went.
    let program = exe.program();
    let graph = &program.entry("train").unwrap().graph;
    for (_, data) in graph.values() {
        let why = why(&data.name.to_string());
        let (_, end) = story(&why);
        let ends = ["dropped", "lies", "is ", "computed in"];
        assert!(ends.iter().any(|begin| end.starts_with(begin)), "{why}");
    }
}

#[test]
fn lengths_of_what_is_no_symbol_are_refused() {
    let b = Builder::new("line");
    let e = b.entry("run", Mode::Eval);
    e.output("y", e.input("x", F32, (b.dim("n"),)) * 2.0);
    let options = Options::new().specialise("run", &[4]);
    let error = b.finish().unwrap().compile(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Name);
    let message = "expected a symbol of the program (\"n\"), found \"run\"";
    assert_eq!(error.to_string(), message);
}

/// Short arrays are part of a dump, large ones are not.
#[test]
fn dumps_begin_as_the_program_declares_them() {
    let b = Builder::new("declared");
    let w = b.param("w", (2,), Init::Values(vec![1.0, 2.0]));
    let large = b.param("large", (65,), Init::Values(vec![3.0; 65]));
    let e = b.entry("run", Mode::Eval);
    e.output("y", e.read(w).sum(..) + e.read(large).sum(..));
    let exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    for stage in exe.stages("run").unwrap() {
        if let Ok(program) = Program::parse(&stage.text, &Limits::default()) {
            let text = program.to_string();
            assert!(text.contains("state \"w\": f32[2] = [1.0, 2.0] parameter"), "{text}");
            assert!(text.contains("state \"large\": f32[65] = 0.0 parameter"), "{text}");
        }
    }
}
