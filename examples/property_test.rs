//! How to test the gradients of a layer of your own: over random shapes and values, by properties.
//!
//! `cargo run --release --example property_test`. In a project of your own, the two properties are
//! the bodies of `#[test]` functions.

use kilngrad::check::{GradientCheck, check_gradients};
use kilngrad::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// `x·w` with weights that are rounded to multiples of ¼ on the way forward, and a length that is
/// stable where the squares of its elements are 0.
struct Quantised {
    weight: Param,
}

impl Quantised {
    fn new(scope: &Scope, inputs: usize, outputs: usize) -> Quantised {
        Quantised { weight: scope.param("w", (inputs, outputs), Init::Xavier) }
    }

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let weight = x.entry().read(self.weight);
        let rounded = weight.custom_gradient(|w| (w * 4.0).round() / 4.0, |_, _, dw| dw);
        x.matmul(rounded)
    }

    /// The length of each row, whose derivative at 0 is 0.
    fn lengths<'b>(&self, y: Tensor<'b>) -> Tensor<'b> {
        y.custom_gradient(
            |y| y.square().sum(-1).sqrt(),
            |y, length, d| {
                let zero = length.eq(0.0);
                let scale = zero.select(0.0, d / zero.select(1.0, length));
                y * scale.unsqueeze(-1)
            },
        )
    }
}

/// The derivatives of what is smooth are difference quotients, whatever the shapes and values.
/// Rounding is not smooth, on purpose: its derivative is left out.
fn lengths_are_differentiated(rows: usize, columns: usize, size: f64, seed: i64) -> Result<()> {
    let b = Builder::new("lengths").with_float(F64);
    let layer = Quantised::new(&b.scope("layer"), columns, 3);
    let run = b.entry("run", Mode::Train);
    let x = run.input("x", F32, (b.dim("n"), columns));
    run.output("length", layer.lengths(layer.forward(x)));
    // Away from 0, near which a length bends much, and in steps that are small against it.
    let check = GradientCheck::new().bind("n", rows).seed(seed).wrt(&["x"]).second_order(true);
    let check = check.range(0.5 * size, 1.5 * size).step(1e-3 * size);
    let report = check_gradients(&b.finish()?, "run", &check)?;
    match report.passed() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Gradient, report.to_string())),
    }
}

/// The straight-through estimator hands on what it is given: the weight's derivative is that of the
/// layer without rounding.
fn rounding_is_passed_through(rows: usize, seed: i64) -> Result<()> {
    let b = Builder::new("rounding");
    let layer = Quantised::new(&b.scope("layer"), 2, 3);
    let run = b.entry("run", Mode::Train);
    let x = run.input("x", F32, (rows, 2));
    let weight = run.read(layer.weight);
    let [rounded] = layer.forward(x).sum(..).gradient([weight]);
    let [plain] = x.matmul(weight).sum(..).gradient([weight]);
    run.output("apart", (rounded - plain).abs().sum(..));
    let mut exe = b.finish()?.compile(&Options::new().seed(seed))?;
    let x = ndarray::Array2::from_shape_fn((rows, 2), |(row, column)| (row + column) as f32);
    let apart: f32 = exe.call("run").feed("x", &x).run()?.scalar("apart")?;
    match apart == 0.0 {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Gradient, format!("expected 0, found {apart}"))),
    }
}

fn main() {
    let said = |error: Error| TestCaseError::fail(error.to_string());
    // The same cases each time; `TestRunner::default()` draws new ones.
    let config = Config { cases: 32, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let shapes = (1..5usize, 1..5usize, 0.1..3.0, any::<i64>());
    let lengths = runner.run(&shapes, |(rows, columns, size, seed)| {
        lengths_are_differentiated(rows, columns, size, seed).map_err(said)
    });
    report("lengths are differentiated", lengths.map_err(|error| error.to_string()));
    let rounding = runner.run(&(0..5usize, any::<i64>()), |(rows, seed)| {
        rounding_is_passed_through(rows, seed).map_err(said)
    });
    report("rounding is passed through", rounding.map_err(|error| error.to_string()));
}

/// A failing property is shrunk to a small case, and the report says where it differs.
fn report(property: &str, result: Result<(), String>) {
    match result {
        Ok(()) => println!("{property}: holds"),
        Err(error) => {
            eprintln!("{property}: {error}");
            std::process::exit(1);
        }
    }
}
