//! What each rewriting pass makes of a text: input and expected output, case by case.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{bindings, parse};
use kilngrad_ir::{Machine, Program};
use kilngrad_passes::bind::Bind;
use kilngrad_passes::cse::Cse;
use kilngrad_passes::dce::Dce;
use kilngrad_passes::fold::Fold;
use kilngrad_passes::simplify::Simplify;
use kilngrad_passes::stabilise::Stabilise;
use kilngrad_passes::strength::Strength;
use kilngrad_passes::{Context, Pass, PassError, Pipeline, run_pass};

fn apply(pass: &dyn Pass, program: &Program) -> Result<Program, PassError> {
    let bound = bindings(&[("n", 3), ("m", 2)]);
    let mut context = Context::new(&Machine::BASELINE, &bound);
    pass.run(&mut context, program)
}

/// Lines without types, origins and indentation.
fn lines(text: &str) -> String {
    let line = |line: &str| {
        let line = line.split('@').next().unwrap().trim().to_owned();
        match line.split_once(": ").zip(line.split_once(" = ")) {
            Some(((name, _), (_, op))) if line.starts_with('%') => format!("{name} = {op}"),
            _ => line,
        }
    };
    text.lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The body of the only entry, without dead nodes.
fn body(program: &Program) -> String {
    let text = apply(&Dce, program).unwrap().to_string();
    let inside = text.split_once(") eval {\n").unwrap().1;
    lines(inside.trim_end().trim_end_matches('}'))
}

#[track_caller]
fn check(pass: &dyn Pass, arguments: &str, input: &str, expected: &str) {
    let text = format!("entry @e({arguments}) eval {{\n{input}\n}}\n");
    let found = body(&apply(pass, &parse(&text)).unwrap());
    assert_eq!(found, lines(expected), "{input}");
}

#[test]
fn binding_evaluates_lengths() {
    check(
        &Bind,
        "%x: f32[2*n,m]",
        "%0: i64[] = dimension n*m
         %1: f32[n,m] = slice %x ranges=[0:n, 0:m]
         return a = %0, b = %1",
        "%0 = constant 6
         %1 = slice %x ranges=[0:3, 0:2]
         return a = %0, b = %1",
    );
}

#[test]
fn binding_reaches_into_kernels() {
    check(
        &Bind,
        "%x: f32[n]",
        "%y: f32[n] = kernel @k(%0 = %x) map {
           %1: f32[] = dimension n
           %2: f32[n] = broadcast %1 dims=[]
           %3: f32[n] = mul %0, %2
           yield %3
         }
         return a = %y",
        "%y = kernel @k(%0 = %x) map {
           %1 = constant 3.0
           %2 = broadcast %1 dims=[]
           %3 = mul %0, %2
           yield %3
         }
         return a = %y",
    );
    binding_fails(
        "%x: f32[n]",
        "%y: f32[] = kernel @k(%0 = %x) map {
           %1: f32[] = dot %0, %0 contract=[0]x[0]
           yield %1
         }  @src/user.rs:7:3
         return a = %y",
        "kernel k of entry e breaks the contract of kernels: expected no such dot in a map, found \
         %1, built at src/user.rs:7:3",
    );
}

#[track_caller]
fn binding_fails(arguments: &str, body: &str, message: &str) {
    let text = format!("entry @e({arguments}) eval {{\n{body}\n}}\n");
    let error = apply(&Bind, &parse(&text)).unwrap_err().to_string();
    assert_eq!(error, message);
}

#[test]
fn binding_names_what_does_not_fit() {
    binding_fails("%x: f32[k]", "return a = %x", "expected a length for symbol k, which %x has");
    binding_fails(
        "%x: f32[n - 4]",
        "return a = %x",
        "expected a length of at least 0 that fits 64 bits, found n - 4 = -1 in %x",
    );
    binding_fails(
        "%x: f32[n]",
        "%0: f32[n,4611686018427387904] = broadcast %x dims=[0]
         return a = %0",
        "expected a size that fits memory, found f32[3,4611686018427387904] for %0",
    );
    binding_fails(
        "%x: f32[n]",
        "%0: f32[m + 2] = slice %x ranges=[0:m + 2]
         return a = %0",
        "expected 0 ≤ start ≤ limit ≤ 3 on axis 0 of f32[3], found 0:4 (slice_c3) at %0 in entry e",
    );
}

#[test]
fn identities_hold_for_every_float() {
    // x + 0 is not x for −0, x − x and 0·x are not 0 for infinity.
    check(
        &Simplify,
        "%x: f32[3]",
        "%z: f32[3] = constant 0.0
         %n: f32[3] = constant -0.0
         %1: f32[3] = add %x, %z
         %2: f32[3] = add %x, %n
         %3: f32[3] = sub %x, %z
         %4: f32[3] = mul %x, %z
         %5: f32[3] = sub %x, %x
         return a = %1, b = %2, c = %3, d = %4, e = %5",
        "%z = constant 0.0
         %1 = add %x, %z
         %4 = mul %x, %z
         %5 = sub %x, %x
         return a = %1, b = %x, c = %x, d = %4, e = %5",
    );
    check(
        &Simplify,
        "%x: f32[3], %y: f32[3]",
        "%n: f32[3] = neg %y
         %1: f32[3] = add %x, %n
         %2: f32[3] = add %n, %x
         %3: f32[3] = neg %n
         %8: f32[3] = constant 8.0
         %4: f32[3] = div %x, %8
         %6: f32[3] = constant 6.0
         %5: f32[3] = div %x, %6
         return a = %1, b = %2, c = %3, d = %4, e = %5",
        "%1 = sub %x, %y
         %2 = sub %x, %y
         %13 = constant 0.125
         %4 = mul %x, %13
         %6 = constant 6.0
         %5 = div %x, %6
         return a = %1, b = %2, c = %y, d = %4, e = %5",
    );
}

#[test]
fn comparisons_negate_where_they_are_total() {
    check(
        &Simplify,
        "%x: f32[3], %i: i32[3]",
        "%0: bool[3] = lt %x, %x
         %1: bool[3] = not %0
         %2: bool[3] = lt %i, %i
         %3: bool[3] = not %2
         %4: bool[3] = eq %x, %x
         %5: bool[3] = not %4
         return a = %1, b = %3, c = %5",
        "%0 = lt %x, %x
         %1 = not %0
         %3 = ge %i, %i
         %5 = ne %x, %x
         return a = %1, b = %3, c = %5",
    );
}

#[test]
fn casts_compose_where_nothing_is_lost() {
    check(
        &Simplify,
        "%i: i32[3], %x: f64[3]",
        "%0: f64[3] = cast %i
         %1: f32[3] = cast %0
         %2: u8[3] = cast %0
         %3: f32[3] = cast %x
         %4: f64[3] = cast %3
         return a = %1, b = %2, c = %4",
        "%0 = cast %i
         %1 = cast %i
         %2 = cast %0
         %3 = cast %x
         %4 = cast %3
         return a = %1, b = %2, c = %4",
    );
}

#[test]
fn windows_of_single_elements_are_the_elements() {
    check(
        &Simplify,
        "%x: f32[2,3,4]",
        "%0: f32[2,3,4,1,1] = windows %x axes=[1,2] sizes=[1,1]
         %1: f32[2,3,2,1] = windows %x axes=[2] sizes=[1] strides=[2]
         %2: f32[2,3,4] = constant 0.5
         %3: f32[2,2,4,2] = windows %2 axes=[1] sizes=[2]
         return a = %0, b = %1, c = %3",
        "%0 = reshape %x
         %1 = windows %x axes=[2] sizes=[1] strides=[2]
         %7 = constant 0.5
         return a = %0, b = %1, c = %7",
    );
    check(
        &Fold,
        "",
        "%0: f32[4] = constant [1.0, 2.0, 3.0, 4.0]
         %1: f32[2,2] = windows %0 axes=[0] sizes=[2] dilations=[2]
         return a = %1",
        "%1 = constant [1.0, 3.0, 2.0, 4.0]
         return a = %1",
    );
}

#[test]
fn movements_compose_and_cancel() {
    check(
        &Simplify,
        "%x: f32[2,3,4]",
        "%0: f32[4,2,3] = transpose %x permutation=[2,0,1]
         %1: f32[2,3,4] = transpose %0 permutation=[1,2,0]
         %2: f32[24] = reshape %0
         %3: f32[6,4] = reshape %2
         %4: f32[2,2,3] = slice %x ranges=[0:2, 1:3, 0:3]
         %5: f32[1,2,2] = slice %4 ranges=[1:2, 0:2, 0:3:2]
         return a = %1, b = %3, c = %5",
        "%0 = transpose %x permutation=[2,0,1]
         %3 = reshape %0
         %5 = slice %x ranges=[1:2, 1:3, 0:3:2]
         return a = %x, b = %3, c = %5",
    );
    check(
        &Simplify,
        "%x: f32[3], %y: f32[3,1]",
        "%0: f32[3,1] = reshape %x
         %1: f32[3,1,2] = broadcast %0 dims=[0,1]
         %2: f32[2,3,1] = transpose %1 permutation=[2,0,1]
         %3: f32[1,3] = transpose %y permutation=[1,0]
         %4: f32[2,1,2] = slice %1 ranges=[1:3, 0:1, 0:2]
         return a = %2, b = %3, c = %4",
        "%2 = broadcast %x dims=[1]
         %3 = reshape %y
         %9 = slice %x ranges=[1:3]
         %4 = broadcast %9 dims=[0]
         return a = %2, b = %3, c = %4",
    );
}

#[test]
fn concatenations_are_flattened_where_nothing_else_reads_them() {
    check(
        &Simplify,
        "%x: f32[3], %y: f32[2]",
        "%0: f32[5] = concat %x, %y axis=0
         %1: f32[8] = concat %0, %x axis=0
         %2: f32[16] = concat %1, %1 axis=0
         return a = %2",
        "%1 = concat %x, %y, %x axis=0
         %2 = concat %1, %1 axis=0
         return a = %2",
    );
}

#[test]
fn movements_sink_below_elementwise_operations() {
    check(
        &Simplify,
        "%x: f32[2,3], %b: f32[3]",
        "%0: f32[3,2] = transpose %x permutation=[1,0]
         %2: f32[3,2] = constant 2.0
         %1: f32[3,2] = mul %0, %2
         %3: f32[3,2] = tanh %1
         %4: f32[2,3] = broadcast %b dims=[1]
         %5: f32[2,3] = exp %4
         return a = %3, b = %5",
        "%8 = constant 2.0
         %9 = mul %x, %8
         %11 = tanh %9
         %3 = transpose %11 permutation=[1,0]
         %14 = exp %b
         %5 = broadcast %14 dims=[1]
         return a = %3, b = %5",
    );
}

#[test]
fn contractions_absorb_transposes() {
    check(
        &Simplify,
        "%x: f32[2,3], %y: f32[4,3]",
        "%0: f32[3,4] = transpose %y permutation=[1,0]
         %1: f32[2,4] = dot %x, %0 contract=[1]x[0]
         %2: f32[4,2] = transpose %1 permutation=[1,0]
         return a = %2",
        "%2 = dot %y, %x contract=[1]x[1]
         return a = %2",
    );
    // The free axes of the left operand change their order, which the result would show.
    check(
        &Simplify,
        "%x: f32[2,5,3], %y: f32[3]",
        "%0: f32[5,2,3] = transpose %x permutation=[1,0,2]
         %1: f32[5,2] = dot %0, %y contract=[2]x[0]
         return a = %1",
        "%0 = transpose %x permutation=[1,0,2]
         %1 = dot %0, %y contract=[2]x[0]
         return a = %1",
    );
}

#[test]
fn reductions_drop_axes_of_length_one() {
    check(
        &Simplify,
        "%x: f32[2,1,3]",
        "%0: f32[2] = reduce_max %x axes=[1,2]
         %1: f32[2,3] = reduce_sum %x axes=[1]
         return a = %0, b = %1",
        "%2 = reshape %x
         %0 = reduce_max %2 axes=[1]
         %1 = reduce_sum %x axes=[1]
         return a = %0, b = %1",
    );
}

#[test]
fn requests_pin_what_they_differentiate_by() {
    // %w equals %x and %0 equals %1, but the derivative is by %w, along %1.
    let input = "%zero: f32[3] = constant -0.0
         %w: f32[3] = add %x, %zero
         %0: f32[3] = tanh %x
         %1: f32[3] = tanh %w
         %2: f32[3] = mul %0, %1
         %loss: f32[] = reduce_sum %2 axes=[0]
         %g: f32[3] = gradient %loss wrt (%w)
         return a = %g";
    check(&Simplify, "%x: f32[3]", input, input);
    check(&Cse, "%x: f32[3]", input, input);
    check(
        &Cse,
        "%x: f32[3]",
        "%w: f32[3] = tanh %x
         %0: f32[3] = tanh %x
         %1: f32[3] = tanh %x
         %2: f32[3] = mul %0, %1
         %3: f32[3] = mul %2, %w
         %loss: f32[] = reduce_sum %3 axes=[0]
         %g: f32[3] = gradient %loss wrt (%w)
         return a = %g",
        "%w = tanh %x
         %0 = tanh %x
         %2 = mul %0, %0
         %3 = mul %2, %w
         %loss = reduce_sum %3 axes=[0]
         %g = gradient %loss wrt (%w)
         return a = %g",
    );
}

#[test]
fn equal_nodes_merge_whatever_their_order() {
    check(
        &Cse,
        "%x: f32[3], %y: f32[3], %s: i64[]",
        "%0: f32[3] = add %x, %y
         %1: f32[3] = add %y, %x
         %2: f32[3] = max %x, %y
         %3: f32[3] = max %y, %x
         %4: f32[3] = random %s, %s stream=1
         %5: f32[3] = random %s, %s stream=1
         %6: f32[3] = random %s, %s stream=2
         return a = %0, b = %1, c = %2, d = %3, e = %4, f = %5, g = %6",
        "%0 = add %x, %y
         %2 = max %x, %y
         %3 = max %y, %x
         %4 = random %s, %s stream=0x1
         %6 = random %s, %s stream=0x2
         return a = %0, b = %0, c = %2, d = %3, e = %4, f = %4, g = %6",
    );
}

#[test]
fn constants_fold_through_the_rows() {
    check(
        &Fold,
        "%x: f32[2]",
        "%0: i32[2] = constant [7, -7]
         %1: i32[2] = constant [0, 2]
         %2: i32[2] = div %0, %1
         %3: i32[] = reduce_sum %2 axes=[0]
         %4: f64[] = constant 2.0
         %5: f64[] = sqrt %4
         %6: i32[2,2] = constant [1, 2, 3, 4]
         %7: i32[2,2] = transpose %6 permutation=[1,0]
         %8: f32[0] = slice %x ranges=[0:0]
         %9: f32[] = reduce_max %8 axes=[0]
         return a = %2, b = %3, c = %5, d = %7, e = %9",
        "%2 = constant [-1, -3]
         %3 = constant -4
         %5 = constant 1.4142135623730951
         %7 = constant [1, 3, 2, 4]
         %8 = slice %x ranges=[0:0]
         %9 = reduce_max %8 axes=[0]
         return a = %2, b = %3, c = %5, d = %7, e = %9",
    );
}

#[test]
fn naive_formulas_become_stable() {
    check(
        &Stabilise,
        "%x: f32[2,3]",
        "%e: f32[2,3] = exp %x
         %s: f32[2] = reduce_sum %e axes=[1]
         %b: f32[2,3] = broadcast %s dims=[0]
         %p: f32[2,3] = div %e, %b
         %l: f32[2,3] = log %p
         return a = %l",
        "%3 = reduce_max %x axes=[1]
         %4 = abs %3
         %5 = constant inf
         %6 = lt %4, %5
         %7 = constant 0.0
         %8 = select %6, %3, %7
         %9 = stop_gradient %8
         %10 = broadcast %9 dims=[0]
         %11 = sub %x, %10
         %12 = exp %11
         %13 = reduce_sum %12 axes=[1]
         %16 = log %13
         %17 = broadcast %16 dims=[0]
         %l = sub %11, %17
         return a = %l",
    );
}

#[test]
fn strength_is_reduced_within_rounding() {
    check(
        &Strength,
        "%x: f32[3], %y: f32[2,3]",
        "%2: f32[3] = constant 2.0
         %0: f32[3] = pow %x, %2
         %3: f32[3] = constant 3.0
         %1: f32[3] = div %x, %3
         %b: f32[4,3] = broadcast %x dims=[1]
         %s: f32[3] = reduce_sum %b axes=[0]
         return a = %0, b = %1, c = %s",
        "%0 = mul %x, %x
         %3 = constant 3.0
         %1 = div %x, %3
         %9 = constant 4.0
         %10 = mul %x, %9
         %s = broadcast %10 dims=[0]
         return a = %0, b = %1, c = %s",
    );
}

#[test]
fn disjoint_pads_become_one_concatenation() {
    let pads = |second: &str| {
        format!(
            "%z: f32[] = constant 0.0
             %0: f32[2,6] = pad %x, %z amounts=[0:0, 1:3]
             %1: f32[2,6] = pad %y, %z amounts=[0:0, {second}]
             %2: f32[2,6] = add %0, %1
             return a = %2"
        )
    };
    let arguments = "%x: f32[2,2], %y: f32[2,2]";
    check(
        &Strength,
        arguments,
        &pads("3:1"),
        "%6 = constant 0.0
         %7 = constant 0.0
         %2 = concat %6, %x, %y, %7 axis=1
         return a = %2",
    );
    // The second column of %x and the first of %y are added.
    check(&Strength, arguments, &pads("2:2"), &pads("2:2"));
}

/// Each formula at arguments where it overflows, cancels or loses digits as it is written.
#[test]
fn stable_formulas_have_the_right_values() {
    let value = |formula: &str, x: f64, stabilised: bool| {
        let text = format!(
            "entry @e(%x: f64[]) eval {{
               %one: f64[] = constant 1.0
               {formula}
               return a = %y
             }}"
        );
        let program = parse(&text);
        let program = if stabilised { apply(&Stabilise, &program).unwrap() } else { program };
        let states = kilngrad_interp::States::initial(&program, 0).unwrap();
        let input = kilngrad_interp::Array::splat(kilngrad_ir::Literal::from_f64(F64, x), &[]);
        let entry = &program.entries[0];
        let outcome = kilngrad_interp::eval_entry(&program, entry, &[input], &states).unwrap();
        outcome.outputs[0].to_f64_vec()[0]
    };
    const F64: kilngrad_ir::DType = kilngrad_ir::DType::F64;
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let cases: [(&str, f64, f64); 9] = [
        ("%a: f64[] = add %one, %x\n%y: f64[] = log %a", 1e-18, 1e-18),
        ("%a: f64[] = sub %one, %x\n%y: f64[] = log %a", 1e-18, -1e-18),
        ("%a: f64[] = exp %x\n%y: f64[] = sub %a, %one", 1e-18, 1e-18),
        ("%a: f64[] = exp %x\n%y: f64[] = log %a", 1000.0, 1000.0),
        ("%a: f64[] = exp %x\n%b: f64[] = add %a, %one\n%y: f64[] = log %b", 1000.0, 1000.0),
        ("%a: f64[] = sigmoid %x\n%y: f64[] = log %a", -1000.0, -1000.0),
        ("%a: f64[] = sigmoid %x\n%b: f64[] = sub %one, %a\n%y: f64[] = log %b", 1000.0, -1000.0),
        ("%a: f64[] = exp %x\n%b: f64[] = add %one, %a\n%y: f64[] = div %a, %b", 1000.0, 1.0),
        ("%a: f64[] = exp %x\n%y: f64[] = log1p %a", -50.0, softplus(-50.0)),
    ];
    for (formula, x, expected) in cases {
        let found = value(formula, x, true);
        assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{formula}: {found}");
        // Where nothing is lost both are the same function.
        for x in [-1.5, -0.25, 0.5, 0.75] {
            let (naive, stable) = (value(formula, x, false), value(formula, x, true));
            let near = (naive - stable).abs() <= 1e-13 * naive.abs().max(1.0);
            let close = near || (naive.is_nan() && stable.is_nan());
            assert!(close, "{formula} at {x}: {naive} and {stable}");
        }
    }
}

/// exp(x)/−0 is −inf, of which there is no logarithm; x − log(−0) is inf.
#[test]
fn logarithms_of_quotients_by_anything_stay() {
    let input = "%e: f32[3] = exp %x
         %q: f32[3] = div %e, %y
         %l: f32[3] = log %q
         return a = %l";
    check(&Stabilise, "%x: f32[3], %y: f32[3]", input, input);
}

/// What simplify does with movements hides no formula from stabilise.
#[test]
fn moved_formulas_become_stable() {
    let value = |arguments: &str, formula: &str, length: usize, from: f64, whole: bool| {
        let text = format!("entry @e({arguments}) eval {{\n{formula}\nreturn a = %y\n}}");
        let bound = bindings(&[("n", length)]);
        let mut context = Context::new(&Machine::BASELINE, &bound);
        let program = run_pass(&Bind, &parse(&text), &mut context, &mut |_| {}).unwrap();
        let program = match whole {
            true => Pipeline::before_gradients().run(program, &mut context, &mut |_| {}).unwrap(),
            false => program,
        };
        let states = kilngrad_interp::States::initial(&program, 0).unwrap();
        let entry = &program.entries[0];
        let ty = entry.graph.ty(entry.graph.arguments()[0]);
        let literal = |at| kilngrad_ir::Literal::from_f64(ty.dtype, from + 0.25 * at as f64);
        let count = ty.element_count().unwrap();
        let dense = kilngrad_ir::Dense::new(ty.dtype, (0..count).map(literal)).unwrap();
        let shape = ty.shape.as_constant().unwrap();
        let input = kilngrad_interp::Array::from_dense(&dense, &shape).unwrap();
        let outcome = kilngrad_interp::eval_entry(&program, entry, &[input], &states).unwrap();
        outcome.outputs[0].to_f64_vec()
    };
    let softmax = "%0: f64[2,n] = exp %l
         %1: f64[2] = reduce_sum %0 axes=[1]
         %2: f64[2,n] = broadcast %1 dims=[0]
         %y: f64[2,n] = div %0, %2";
    let kept = "%0: f64[2,n] = exp %l
         %1: f64[2] = reduce_sum %0 axes=[1]
         %2: f64[2,1] = reshape %1
         %3: f64[2] = reshape %2
         %4: f64[2,n] = broadcast %3 dims=[0]
         %5: f64[2,n] = div %0, %4
         %y: f64[2,n] = log %5";
    let log_sum = "%0: f64[2,n] = exp %l
         %1: f64[2] = reduce_sum %0 axes=[1]
         %2: f64[2,1] = reshape %1
         %y: f64[2,1] = log %2";
    let logits = [
        ("%l: f64[2,n]", ""),
        ("%x: f64[2*n]", "%l: f64[2,n] = reshape %x\n"),
        ("%x: f64[n,2]", "%l: f64[2,n] = transpose %x permutation=[1,0]\n"),
        ("%x: f64[n]", "%l: f64[2,n] = broadcast %x dims=[1]\n"),
        (
            "%x: f64[n,1,2]",
            "%t: f64[2,1,n] = transpose %x permutation=[2,1,0]
             %l: f64[2,n] = reshape %t\n",
        ),
    ];
    for formula in [softmax, kept, log_sum] {
        for (arguments, moved) in logits {
            for length in [1, 3] {
                let formula = format!("{moved}{formula}");
                let values = |from, whole| value(arguments, &formula, length, from, whole);
                let large = values(1000.0, true);
                assert!(large.iter().all(|y| y.is_finite()), "{formula} of {length}: {large:?}");
                for (naive, stable) in values(0.5, false).iter().zip(values(0.5, true)) {
                    assert!((naive - stable).abs() <= 1e-14, "{formula}: {naive} and {stable}");
                }
            }
        }
    }
}

#[test]
fn checks_that_always_hold_are_dropped_and_others_kept() {
    check(
        &Dce,
        "%x: i64[]",
        "%t: bool[] = constant true
         %f: bool[] = constant false
         %0: bool[] = eq %x, %x
         check %t, \"nothing\"
         check %0, \"a number\"
         check %f, \"what is not\"
         return a = %x",
        "%f = constant false
         %0 = eq %x, %x
         check %0, \"a number\"
         check %f, \"what is not\"
         return a = %x",
    );
}
