//! Convolutions and pools where PyTorch's cases do not look: ties, uneven windows, padding that is
//! asked for in words, several threads.

#![allow(clippy::unwrap_used)]

use kilngrad::prelude::*;
use kilngrad::random;
use ndarray::{ArrayD, Dimension, IxDyn};

/// What `function` gives for `x`, and the gradient of its elements weighted by 1, 2, 3, …
fn pulled(
    x: &ArrayD<f64>,
    function: impl for<'b> Fn(Tensor<'b>) -> Tensor<'b>,
) -> (ArrayD<f64>, ArrayD<f64>) {
    let b = Builder::new("pulled");
    let e = b.entry("run", Mode::Train);
    let input = e.input("x", F64, x.shape());
    let y = function(input);
    let weights = e.arange(F64, y.flatten(0, -1).length(0)) + 1;
    let [gradient] = (y.flatten(0, -1) * weights).sum(..).gradient([input]);
    e.output("y", y);
    e.output("gradient", gradient);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let outputs = exe.call("run").feed("x", x).run().unwrap();
    (
        outputs.view::<f64>("y").unwrap().to_owned(),
        outputs.view::<f64>("gradient").unwrap().to_owned(),
    )
}

fn array(shape: &[usize], elements: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), elements.to_vec()).unwrap()
}

#[test]
fn of_equal_elements_the_first_is_the_largest() {
    let x = array(&[1, 1, 3, 4], &[0., 0., 1., 0., 0., 0., 0., 1., 2., 2., 2., 2.]);
    let (y, gradient) = pulled(&x, |x| x.max_pool2d(2, Pool::new()));
    assert_eq!(y, array(&[1, 1, 1, 2], &[0., 1.]));
    let expected = [1., 0., 2., 0., 0., 0., 0., 0., 0., 0., 0., 0.];
    assert_eq!(gradient, array(&[1, 1, 3, 4], &expected));
    // Windows that overlap: an element may be the first of several.
    let x = array(&[1, 1, 4], &[3., 3., 1., 3.]);
    let (y, gradient) = pulled(&x, |x| x.max_pool1d(3, Pool::new().stride(1).padding(1)));
    assert_eq!(y, array(&[1, 1, 4], &[3., 3., 3., 3.]));
    assert_eq!(gradient, array(&[1, 1, 4], &[3., 3., 0., 4.]));
}

#[test]
fn padding_is_below_every_number() {
    let x = array(&[1, 1, 2, 2], &[-5., -3., -4., f64::NEG_INFINITY]);
    let (y, gradient) = pulled(&x, |x| x.max_pool2d(2, Pool::new().stride(1).padding(1)));
    let lowest = f64::NEG_INFINITY;
    assert_eq!(y, array(&[1, 1, 3, 3], &[-5., -3., -3., -4., -3., -3., -4., -4., lowest]));
    // The last window is padding but for its first element, which equals it.
    assert_eq!(gradient, array(&[1, 1, 2, 2], &[1., 2. + 3. + 5. + 6., 4. + 7. + 8., 9.]));
}

#[test]
fn adaptive_windows_differ_by_one_where_they_must() {
    let x = array(&[1, 1, 5], &[1., 5., 2., 2., 4.]);
    let (y, gradient) = pulled(&x, |x| x.adaptive_max_pool1d(3));
    // From 0 to below 2, from 1 to below 4, from 3 to below 5.
    assert_eq!(y, array(&[1, 1, 3], &[5., 5., 4.]));
    assert_eq!(gradient, array(&[1, 1, 5], &[0., 3., 0., 0., 3.]));
    let (y, gradient) = pulled(&x, |x| x.adaptive_avg_pool1d(3));
    assert!(y.iter().all(|mean| (mean - 3.).abs() < 1e-15));
    let third = 2. / 3.;
    let expected = array(&[1, 1, 5], &[0.5, 0.5 + third, third, third + 1.5, 1.5]);
    assert!((gradient - expected).iter().all(|error| error.abs() < 1e-15));
}

/// Derivatives of convolutions and transposed convolutions of every geometry are the interpreter's,
/// which folds where compiled code may contract windows.
#[test]
fn derivatives_of_any_geometry_are_the_interpreters() {
    let draw = |stream: u64, shape: &[usize]| {
        let key = random::key(5, stream, 0);
        let count = shape.iter().product::<usize>() as u64;
        let elements = (0..count).map(|at| random::element(key, at, F64).to_f64() - 0.5);
        ArrayD::from_shape_vec(IxDyn(shape), elements.collect()).unwrap()
    };
    for (stream, stride, padding, dilation, groups) in [
        (1, [1, 1], [0, 0], [1, 1], 1),
        (2, [1, 1], [1, 2], [1, 1], 1),
        (3, [1, 1], [2, 0], [2, 1], 2),
        (4, [2, 1], [1, 1], [1, 1], 1),
        (5, [1, 1], [3, 3], [1, 2], 4),
        (6, [3, 2], [2, 1], [1, 3], 2),
    ] {
        let b = Builder::new("geometry");
        let e = b.entry("run", Mode::Train);
        let (x, w) = (draw(stream, &[3, 4, 9, 11]), draw(stream + 10, &[8, 4 / groups, 3, 2]));
        let (xs, ws) = (e.input("x", F64, x.shape()), e.input("w", F64, w.shape()));
        let options = Conv::new().stride(stride).padding(padding).dilation(dilation).groups(groups);
        let maps = xs.conv2d(ws, options);
        let back = ConvTranspose::new().stride(stride).padding(padding).dilation(dilation);
        let loss = (maps.tanh().conv_transpose2d(ws, back.groups(groups)).square()).sum(..);
        let [by_x, by_w] = loss.gradient([xs, ws]);
        e.output("x", by_x);
        e.output("w", by_w);
        let program = b.finish().unwrap();
        let mut slow = program.clone().interpret(&Options::new()).unwrap();
        let mut exe = program.compile(&Options::new()).unwrap();
        let expected = slow.call("run").feed("x", &x).feed("w", &w).run().unwrap();
        let found = exe.call("run").feed("x", &x).feed("w", &w).run().unwrap();
        for name in ["x", "w"] {
            let (found, expected) =
                (found.view::<f64>(name).unwrap(), expected.array(name).unwrap());
            let pairs = found.iter().zip(expected.to_f64_vec());
            for (found, expected) in pairs {
                assert!((found - expected).abs() < 1e-9, "{stream} {name}: {expected}, {found}");
            }
        }
    }
}

#[test]
fn same_padding_keeps_lengths() {
    let lengths = |stride: usize, length: usize, size: usize, dilation: usize| {
        let b = Builder::new("same");
        let e = b.entry("run", Mode::Eval);
        let (x, w) = (e.input("x", F32, (1, 1, length)), e.input("w", F32, (1, 1, size)));
        let y = x.conv1d(w, Conv::new().same().stride(stride).dilation(dilation));
        y.ty().unwrap().shape.as_constant().unwrap()[2]
    };
    for length in 1..9usize {
        for size in 1..5 {
            for dilation in 1..3 {
                assert_eq!(lengths(1, length, size, dilation), length);
                assert_eq!(lengths(3, length, size, dilation), length.div_ceil(3));
            }
        }
    }
    // The odd zero is behind.
    let x = array(&[1, 1, 3], &[1., 2., 3.]);
    let (y, _) =
        pulled(&x, |x| x.conv1d(x.entry().constant((1, 1, 2), &[1f64, 10.]), Conv::new().same()));
    assert_eq!(y, array(&[1, 1, 3], &[21., 32., 3.]));
}

#[test]
fn a_network_gives_the_same_bits_at_any_number_of_threads() {
    let declare = || {
        let b = Builder::new("network");
        let s = b.scope("net");
        let conv = Conv2d::new(&s, "conv", 3, 8, 3, Conv::new().padding(1).stride(2));
        let depthwise = Conv2d::new(&s, "depthwise", 8, 8, 3, Conv::new().same().groups(8));
        let up = ConvTranspose2d::new(&s, "up", 8, 3, 4, ConvTranspose::new().stride(2).padding(1));
        let e = b.entry("step", Mode::Train);
        let x = e.input("x", F32, (b.dim("n"), 3, 32, 32));
        let h = depthwise.forward(conv.forward(x).relu()).relu();
        let h = h.max_pool2d(3, Pool::new().stride(1).padding(1));
        let loss = up.forward(h).mse_loss(x);
        e.minimize(loss, b.params("net"), Adam::new(1e-2));
        e.output("loss", loss);
        b.finish().unwrap()
    };
    let key = random::key(1, 2, 3);
    let x = ArrayD::from_shape_fn(IxDyn(&[4, 3, 32, 32]), |index| {
        let at = index.slice().iter().fold(0, |at, i| at * 32 + i) as u64;
        random::element(key, at, F32).to_f64() as f32
    });
    let run = |threads: usize| {
        let mut exe = declare().compile(&Options::new().threads(threads)).unwrap();
        let step = |_| {
            let loss: f32 = exe.call("step").feed("x", &x).run().unwrap().scalar("loss").unwrap();
            loss
        };
        let losses: Vec<f32> = (0..10).map(step).collect();
        assert!(losses[9] < losses[0], "{losses:?}");
        losses.iter().map(|loss| loss.to_bits()).collect::<Vec<u32>>()
    };
    assert_eq!(run(1), run(2));
}
