//! Use from several threads: frozen programs, sessions, forks.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Barrier;
use std::thread;

use kilngrad::prelude::*;
use kilngrad::{Call, Report};
use kilngrad_testing::features;
use ndarray::{Array1, Array2, ArrayView1, arr0, arr1};

const INPUTS: usize = 24;
const CLASSES: usize = 5;

/// A classifier of two layers. The width of the hidden one is no multiple of a tile's, its weights
/// are stored transposed and scaled when they are used, and the head's are.
fn program() -> Program {
    let b = Builder::new("classifier");
    let n = b.dim("n");
    let scope = b.scope("net");
    let hidden = scope.param("hidden", (67, INPUTS), Init::Xavier);
    let head = Dense::new(&scope, "head", 67, CLASSES);

    let train = b.entry("train", Mode::Train);
    let x = train.input("x", F32, (n, INPUTS));
    let loss = forward(x, train.read(hidden), &head).cross_entropy(train.input("y", I64, (n,)));
    train.minimize(loss, b.params("net"), Adam::new(1e-2));
    train.output("loss", loss);
    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, INPUTS));
    predict.output("probs", forward(x, predict.read(hidden), &head).softmax(-1));
    b.finish().unwrap()
}

fn forward<'b>(x: Tensor<'b>, hidden: Tensor<'b>, head: &Dense) -> Tensor<'b> {
    head.forward(x.matmul(hidden.transpose([1, 0]) * 0.5).relu())
}

fn options() -> Options {
    Options::new().features(features()).seed(5)
}

fn executable() -> Executable {
    program().compile(&options()).unwrap()
}

fn rows(count: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((count, INPUTS), |(i, j)| ((seed * 997 + i * 31 + j) as f32 * 0.7).sin())
}

fn train(exe: &mut Executable, steps: usize) -> f32 {
    let x = rows(16, 1);
    let y = Array1::from_shape_fn(16, |row| row as i64 % CLASSES as i64);
    let mut loss = 0.0;
    for _ in 0..steps {
        let outputs = exe.call("train").feed("x", &x).feed("y", &y).run().unwrap();
        loss = outputs.scalar("loss").unwrap();
    }
    loss
}

fn predict(session: &mut Session, x: &Array2<f32>) -> Vec<u32> {
    let outputs = session.call("predict").feed("x", x).run().unwrap();
    outputs.view::<f32>("probs").unwrap().iter().map(|p| p.to_bits()).collect()
}

/// Who may be shared and who may move is part of the interface.
#[test]
fn handles_are_shared_and_sessions_move() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn moved<T: Send + 'static>() {}
    shared::<Frozen>();
    moved::<Session>();
    moved::<Executable>();
}

/// More lengths than are kept, from many threads at once: every bit as from one thread.
#[test]
fn many_threads_give_the_bits_of_one() {
    const THREADS: usize = 8;
    const CALLS: usize = 1000;
    let length = |call: usize| [1, 2, 3, 7, 16, 33, 1, 64][call % 8] + (call % 101 == 100) as usize;
    let mut exe = executable();
    train(&mut exe, 5);
    let model = exe.freeze().unwrap();
    let inputs: Vec<Array2<f32>> = (0..66).map(|count| rows(count, count)).collect();
    let mut alone = model.session();
    let expected: Vec<Vec<u32>> = inputs.iter().map(|x| predict(&mut alone, x)).collect();

    // A handle that has compiled nothing, so that threads meet while compiling too.
    let model = exe.freeze().unwrap();
    let together = Barrier::new(THREADS);
    thread::scope(|scope| {
        for worker in 0..THREADS {
            let (model, inputs, expected, together) = (&model, &inputs, &expected, &together);
            scope.spawn(move || {
                let mut session = model.session();
                together.wait();
                for call in 0..CALLS {
                    let length = length(call + worker * 3);
                    let found = predict(&mut session, &inputs[length]);
                    assert!(found == expected[length], "worker {worker}, call {call}");
                }
            });
        }
    });
}

/// A frozen program computes what its executable computes, and is not affected by it any more.
#[test]
fn freezing_takes_the_states_as_they_are() {
    let mut exe = executable();
    train(&mut exe, 3);
    let model = exe.freeze().unwrap();
    let mut session = model.session();
    for count in [0, 1, 5, 32, 70] {
        let x = rows(count, 2);
        let outputs = exe.call("predict").feed("x", &x).run().unwrap();
        let expected = outputs.view::<f32>("probs").unwrap().to_owned();
        let found = session.call("predict").feed("x", &x).run().unwrap();
        let found = found.view::<f32>("probs").unwrap();
        for (expected, found) in expected.iter().zip(found) {
            assert!((expected - found).abs() <= 1e-6, "{count} rows: {expected} and {found}");
        }
    }
    let x = rows(9, 3);
    let before = predict(&mut session, &x);
    train(&mut exe, 3);
    assert_eq!(predict(&mut session, &x), before);
    assert_ne!(predict(&mut exe.freeze().unwrap().session(), &x), before);
}

/// Weights that are transposed and scaled are a state of the frozen program, and each packing is
/// one for all lengths.
#[test]
fn what_depends_on_weights_alone_is_computed_once() {
    let model = executable().freeze().unwrap();
    let prepared = model.program().find_state("prepared.0").expect("the scaled weights");
    assert_eq!(model.program().state(prepared).ty.to_string(), "f32[24,67]");
    for count in [1, 33] {
        let stages = model.stages("predict", &[("n", count)]).unwrap();
        let text = |name: &str| &stages.iter().find(|stage| stage.name == name).unwrap().text;
        assert!(!text("fuse").contains("transpose"), "{}", text("fuse"));
        assert!(!text("loops").contains("packed.rhs"), "{}", text("loops"));
        assert_eq!(stages.iter().filter(|stage| stage.name == "pack").count(), 1);
    }
}

#[test]
fn an_entry_that_updates_states_is_refused() {
    let model = executable().freeze().unwrap();
    let mut session = model.session();
    let (x, y) = (rows(4, 0), Array1::<i64>::zeros(4));
    let error = session.call("train").feed("x", &x).feed("y", &y).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for word in ["frozen", "\"train\"", "net.", "executable"] {
        assert!(error.to_string().contains(word), "expected {word:?} in: {error}");
    }
    assert_eq!(model.specialise("train", &[("n", 4)]).unwrap_err().kind(), error.kind());
    assert_eq!(model.specialise("predict", &[]).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(model.specialise("stop", &[]).unwrap_err().kind(), ErrorKind::Name);
    model.specialise("predict", &[("n", 4)]).unwrap();
}

#[test]
fn a_failed_call_leaves_the_session_usable() {
    let model = executable().freeze().unwrap();
    let mut session = model.session();
    let x = rows(6, 1);
    let expected = predict(&mut session, &x);
    let (wide, double) = (Array2::<f32>::zeros((6, INPUTS + 1)), Array2::<f64>::zeros((6, INPUTS)));
    for _ in 0..3 {
        let call = session.call("predict").feed("x", &wide);
        assert_eq!(call.run().unwrap_err().kind(), ErrorKind::Shape);
        let call = session.call("predict").feed("x", &double);
        assert_eq!(call.run().unwrap_err().kind(), ErrorKind::DType);
        assert_eq!(session.call("predict").run().unwrap_err().kind(), ErrorKind::Name);
        let call = session.call("predict").bind("n", usize::MAX / 8).run();
        assert!(call.is_err());
        assert_eq!(predict(&mut session, &x), expected);
    }
}

#[test]
fn sessions_outlive_their_handle() {
    let exe = executable();
    let model = exe.freeze().unwrap();
    let (mut known, mut new) = (model.session(), model.clone().session());
    let x = rows(8, 1);
    let expected = predict(&mut known, &x);
    drop((exe, model));
    assert_eq!(predict(&mut known, &x), expected);
    // The second one has not met any code before.
    let found = thread::spawn(move || predict(&mut new, &rows(8, 1))).join().unwrap();
    assert_eq!(found, expected);
}

/// Several threads a session: the same bits, and each session has its own.
#[test]
fn sessions_of_several_threads_give_the_same_bits() {
    let x = rows(400, 1);
    let bits = |threads: usize| {
        let exe = program().compile(&options().threads(threads)).unwrap();
        let model = exe.freeze().unwrap();
        thread::scope(|scope| {
            let run = || scope.spawn(|| predict(&mut model.session(), &x));
            [run(), run()].map(|thread| thread.join().unwrap())
        })
    };
    let [one, other] = bits(1);
    assert_eq!(one, other);
    assert!(bits(3).iter().all(|found| *found == one));
}

#[test]
fn forks_train_on_independently() {
    let mut exe = executable();
    train(&mut exe, 4);
    let mut fork = exe.fork().unwrap();
    let states = |exe: &Executable| -> Vec<(String, Vec<u8>)> {
        exe.state_bytes().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect()
    };
    let before = states(&exe);
    assert_eq!(states(&fork), before);
    let ahead = train(&mut exe, 4);
    assert_eq!(states(&fork), before, "the fork has memory of its own");
    assert_ne!(states(&exe), before);
    assert_eq!(train(&mut fork, 4).to_bits(), ahead.to_bits());
    assert_eq!(states(&fork), states(&exe));
    drop(exe);
    assert!(train(&mut fork, 4) < ahead);
}

/// Rows of a table that a call looks up; its indices, its factor and the table itself are checked.
fn lookup() -> Program {
    let b = Builder::new("lookup");
    let n = b.dim("n");
    let table = b.scope("net").param("table", (6, 4), Init::Xavier);
    let look_up = b.entry("look_up", Mode::Eval);
    let (index, factor) = (look_up.input("index", I64, (n,)), look_up.input("factor", F32, ()));
    let weights = look_up.read(table);
    look_up.check(factor.gt(0.0), "a positive factor");
    look_up.check(weights.lt(10.0), "small weights");
    let rows = weights.tanh().index_select(0, index).named("rows");
    look_up.output("sums", (rows * factor).log().sum(1));
    b.finish().unwrap()
}

/// Who can be called.
trait Called {
    fn begin<'a>(&'a mut self, entry: &'a str) -> Call<'a, Report>;
}

impl Called for Executable {
    fn begin<'a>(&'a mut self, entry: &'a str) -> Call<'a, Report> {
        self.call(entry)
    }
}

impl Called for Session {
    fn begin<'a>(&'a mut self, entry: &'a str) -> Call<'a, Report> {
        self.call(entry)
    }
}

/// The bits of what a call returns, or why it failed.
fn look_up(called: &mut impl Called, index: &[i64], factor: f32) -> Result<Vec<u32>> {
    fetching(called, index, factor, &[])
}

fn fetching(
    called: &mut impl Called,
    index: &[i64],
    factor: f32,
    names: &[&str],
) -> Result<Vec<u32>> {
    let (index, factor) = (ArrayView1::from(index), arr0(factor));
    let call = called.begin("look_up").feed("index", &index).feed("factor", &factor);
    let outputs = names.iter().fold(call, |call, name| call.fetch(name)).run()?;
    Ok(outputs.view::<f32>("sums")?.iter().map(|sum| sum.to_bits()).collect())
}

#[test]
fn checks_hold_in_sessions_as_in_executables() {
    for threads in [1, 2] {
        let mut exe = lookup().compile(&options().threads(threads)).unwrap();
        let model = exe.freeze().unwrap();
        let (mut session, mut other) = (model.session(), model.session());
        let expected = look_up(&mut session, &[0, 5, 3], 2.0).unwrap();
        for (index, factor, message) in [
            ([0, 6, 3], 2.0, "expected indices"),
            ([0, 1, i64::MIN], 2.0, "expected indices"),
            ([0, 5, 3], -1.0, "expected a positive factor in entry look_up"),
            ([0, 5, 3], f32::NAN, "expected a positive factor in entry look_up"),
        ] {
            let error = look_up(&mut session, &index, factor).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Check);
            assert!(error.to_string().starts_with(message), "{error}");
            let meant = look_up(&mut exe, &index, factor).unwrap_err();
            assert_eq!(error.to_string(), meant.to_string());
            // What is fetched is computed before a check is decided; the call fails all the same.
            let error = fetching(&mut session, &index, factor, &["rows"]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Check);
            for session in [&mut session, &mut other] {
                assert_eq!(look_up(session, &[0, 5, 3], 2.0).unwrap(), expected);
            }
        }
        // A check of weights alone is one of every call.
        exe.set_state("net.table", &Array2::<f32>::from_elem((6, 4), 11.0)).unwrap();
        let mut large = exe.freeze().unwrap().session();
        let error = look_up(&mut large, &[0], 1.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Check);
        assert!(error.to_string().starts_with("expected small weights"), "{error}");
        assert_eq!(look_up(&mut session, &[0, 5, 3], 2.0).unwrap(), expected);
    }
}

/// As from an executable, without a change of a bit of the outputs.
#[test]
fn sessions_fetch_what_is_inside_an_entry() {
    let mut exe = lookup().compile(&options()).unwrap();
    let model = exe.freeze().unwrap();
    let expected = look_up(&mut model.session(), &[4, 0], 3.0).unwrap();
    let (index, factor) = (arr1(&[4i64, 0]), arr0(3f32));
    let call = exe.call("look_up").feed("index", &index).feed("factor", &factor);
    let meant = call.fetch("rows").run().unwrap().view::<f32>("rows").unwrap().to_owned();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut session = model.session();
                for _ in 0..50 {
                    let call = session.call("look_up").feed("index", &index);
                    let outputs = call.feed("factor", &factor).fetch("rows").run().unwrap();
                    assert_eq!(outputs.names().collect::<Vec<_>>(), ["sums", "rows"]);
                    let sums = outputs.view::<f32>("sums").unwrap();
                    let bits: Vec<u32> = sums.iter().map(|sum| sum.to_bits()).collect();
                    assert_eq!(bits, expected);
                    let rows = outputs.view::<f32>("rows").unwrap();
                    assert!(rows.iter().zip(&meant).all(|(row, meant)| (row - meant).abs() < 1e-6));
                }
                let error = fetching(&mut session, &[0], 1.0, &["row"]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Name);
                assert!(error.to_string().contains("\"rows\""), "{error}");
                assert_eq!(look_up(&mut session, &[4, 0], 3.0).unwrap(), expected);
            });
        }
    });
}

#[test]
fn sessions_are_watched_for_what_is_not_finite() {
    let mut exe = lookup().compile(&options().check_nan(true)).unwrap();
    let positive = Array2::from_shape_fn((6, 4), |(i, j)| (i + j) as f32 / 10.0 + 0.1);
    exe.set_state("net.table", &positive).unwrap();
    let mut session = exe.freeze().unwrap().session();
    let expected = look_up(&mut session, &[1, 2], 2.0).unwrap();
    let error = look_up(&mut session, &[1, 2], f32::INFINITY).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    assert!(error.to_string().contains("inf in input %factor"), "{error}");
    assert_eq!(look_up(&mut session, &[1, 2], 2.0).unwrap(), expected);
    // Weights are told apart from what a call computes of them.
    let mut negative = positive;
    negative[[2, 1]] = -0.5;
    exe.set_state("net.table", &negative).unwrap();
    let mut session = exe.freeze().unwrap().session();
    let error = look_up(&mut session, &[1, 2], 2.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    assert!(error.to_string().contains("= log"), "{error}");
    look_up(&mut session, &[1, 3], 2.0).unwrap();
}
