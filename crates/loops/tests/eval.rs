//! What instructions, loops, tiles and programs compute.
#![allow(clippy::unwrap_used)]

use kilngrad_loops::{
    ChunkOrder, Element, EvalError, Kernel, Memory, SCRATCH_FILL, bytes_of, parse_kernel,
    parse_program, run_kernel, run_program, run_program_in_order, values_of,
};

/// Evaluates `inst`, which may name `%0`, `%1` and `%2` of type `from`, on each triple and expects
/// a register of type `to`; results are compared bit for bit.
fn check<T: Element, U: Element>(from: &str, to: &str, inst: &str, cases: &[([T; 3], U)]) {
    let kernel = parse_kernel(&format!(
        "kernel @case chunks={count} {{
           buffer x: {from}[{loads}] read
           buffer y: {to}[{count}] write
           %0: {from} = load x[3*i0]
           %1: {from} = load x[3*i0 + 1]
           %2: {from} = load x[3*i0 + 2]
           %3: {to} = {inst}
           store y[i0] = %3
         }}",
        count = cases.len(),
        loads = 3 * cases.len(),
    ))
    .unwrap();
    let inputs: Vec<T> = cases.iter().flat_map(|case| case.0).collect();
    let expected: Vec<U> = cases.iter().map(|case| case.1).collect();
    let found = run(&kernel, &[bytes_of(&inputs)], expected.len() * size_of::<U>());
    assert_eq!(found, bytes_of(&expected), "{inst} from {from} to {to}");
}

/// Runs a kernel whose last parameter is the result, in both orders; they must agree.
fn run(kernel: &Kernel, inputs: &[Vec<u8>], result: usize) -> Vec<u8> {
    let results = [ChunkOrder::Ascending, ChunkOrder::Descending].map(|order| {
        let mut params = inputs.to_vec();
        params.push(vec![0; result]);
        run_kernel(kernel, &mut params, order).unwrap();
        params.pop().unwrap()
    });
    assert_eq!(results[0], results[1]);
    results[0].clone()
}

fn f32_cases(cases: &[(f32, f32, f32)]) -> Vec<([f32; 3], f32)> {
    cases.iter().map(|&(a, b, r)| ([a, b, 0.0], r)).collect()
}

#[test]
fn float_unary_follows_ieee() {
    let cases =
        |list: &[(f32, f32)]| list.iter().map(|&(x, y)| ([x, 0.0, 0.0], y)).collect::<Vec<_>>();
    let inf = f32::INFINITY;
    check("f32", "f32", "neg %0", &cases(&[(0.0, -0.0), (-inf, inf), (1e-45, -1e-45)]));
    check("f32", "f32", "abs %0", &cases(&[(-0.0, 0.0), (-inf, inf), (-1e-45, 1e-45)]));
    check("f32", "f32", "sqrt %0", &cases(&[(-0.0, -0.0), (2.0, std::f32::consts::SQRT_2)]));
    check("f32", "f32", "floor %0", &cases(&[(-0.5, -1.0), (0.5, 0.0), (-0.0, -0.0)]));
    check("f32", "f32", "ceil %0", &cases(&[(-0.5, -0.0), (0.5, 1.0), (1e9, 1e9)]));
    check("f32", "f32", "trunc %0", &cases(&[(-1.5, -1.0), (1.5, 1.0), (-0.5, -0.0)]));
    check("f32", "f32", "nearest %0", &cases(&[(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, -0.0)]));
}

#[test]
fn float_binary_follows_ieee() {
    let inf = f32::INFINITY;
    check("f32", "f32", "add %0, %1", &f32_cases(&[(1.0, 1e-9, 1.0), (-0.0, 0.0, 0.0)]));
    check("f32", "f32", "sub %0, %1", &f32_cases(&[(1.0, 1.0, 0.0), (inf, 1.0, inf)]));
    check("f32", "f32", "mul %0, %1", &f32_cases(&[(1e-30, 1e-15, 1e-45), (2.0, -0.0, -0.0)]));
    check("f32", "f32", "div %0, %1", &f32_cases(&[(1.0, 0.0, inf), (1.0, 3.0, 1.0 / 3.0)]));
}

#[test]
fn selecting_minimum_takes_the_second_where_nothing_is_less() {
    let nan = f32::NAN;
    let min = [(1.0, 2.0, 1.0), (nan, 2.0, 2.0), (0.0, -0.0, -0.0), (-0.0, 0.0, 0.0)];
    let max = [(1.0, 2.0, 2.0), (nan, 2.0, 2.0), (0.0, -0.0, -0.0), (-0.0, 0.0, 0.0)];
    check("f32", "f32", "min_select %0, %1", &f32_cases(&min));
    check("f32", "f32", "max_select %0, %1", &f32_cases(&max));
    // The second is a NaN, with its payload.
    check("f32", "f32", "min_select %0, %1", &f32_cases(&[(1.0, nan, nan)]));
    check("f32", "f32", "max_select %0, %1", &f32_cases(&[(1.0, nan, nan)]));
    check("u8", "u8", "min_select %0, %1", &[([200u8, 100, 0], 100u8)]);
}

#[test]
fn fused_multiply_add_rounds_once() {
    // (1 + ε)² = 1 + 2ε + ε², of which a product rounded by itself loses the last term.
    let (x, y) = (1.0 + f32::EPSILON, -1.0 - 2.0 * f32::EPSILON);
    check("f32", "f32", "fma %0, %1, %2", &[([x, x, y], f32::EPSILON * f32::EPSILON)]);
    let (x, y) = (1.0 + f64::EPSILON, -1.0 - 2.0 * f64::EPSILON);
    check("f64", "f64", "fma %0, %1, %2", &[([x, x, y], f64::EPSILON * f64::EPSILON)]);
}

#[test]
fn integers_wrap_and_division_is_total() {
    let i32s =
        |list: &[(i32, i32, i32)]| list.iter().map(|&(a, b, r)| ([a, b, 0], r)).collect::<Vec<_>>();
    let (min, max) = (i32::MIN, i32::MAX);
    check("i32", "i32", "add %0, %1", &i32s(&[(max, 1, min)]));
    check("i32", "i32", "sub %0, %1", &i32s(&[(min, 1, max)]));
    check("i32", "i32", "mul %0, %1", &i32s(&[(min, -1, min), (65536, 65536, 0)]));
    check(
        "i32",
        "i32",
        "div %0, %1",
        &i32s(&[(-7, 2, -3), (5, 0, -1), (0, 0, -1), (min, -1, min)]),
    );
    check("i32", "i32", "rem %0, %1", &i32s(&[(-7, 2, -1), (7, -2, 1), (5, 0, 5), (min, -1, 0)]));
    check("i32", "i32", "neg %0", &i32s(&[(min, 0, min), (3, 0, -3)]));
    check("i32", "i32", "abs %0", &i32s(&[(min, 0, min), (-3, 0, 3)]));
    check("i32", "i32", "not %0", &i32s(&[(0, 0, -1)]));
    check("u8", "u8", "div %0, %1", &[([5u8, 0, 0], 255u8), ([200, 7, 0], 28)]);
    check("u8", "u8", "rem %0, %1", &[([5u8, 0, 0], 5u8), ([200, 7, 0], 4)]);
    check("u8", "u8", "neg %0", &[([1u8, 0, 0], 255u8)]);
    check("i64", "i64", "div %0, %1", &[([i64::MIN, -1, 0], i64::MIN), ([1, 0, 0], -1)]);
}

#[test]
fn shifts_take_amounts_modulo_the_width() {
    check("i32", "i32", "shl %0, %1", &[([1, 33, 0], 2), ([1, -1, 0], i32::MIN)]);
    check("i32", "i32", "shr_u %0, %1", &[([-1, 28, 0], 15), ([-1, 32, 0], -1)]);
    check("i32", "i32", "shr_s %0, %1", &[([-8, 1, 0], -4), ([-8, 65, 0], -4)]);
    check("i64", "i64", "shl %0, %1", &[([1i64, 64, 0], 1i64), ([1, 63, 0], i64::MIN)]);
    check("u8", "u8", "shl %0, %1", &[([3u8, 7, 0], 128u8), ([3, 9, 0], 6)]);
    check("u8", "u8", "shr_s %0, %1", &[([128u8, 7, 0], 1u8)]);
}

#[test]
fn conversions_saturate_wrap_and_round() {
    let one = |x: f32| [x, 0.0, 0.0];
    let nan = f32::NAN;
    check("f32", "i32", "convert %0", &[(one(nan), 0), (one(1e10), i32::MAX), (one(-1.9), -1)]);
    check("f32", "i64", "convert %0", &[(one(nan), 0i64), (one(-1e30), i64::MIN)]);
    check("f32", "u8", "convert %0", &[(one(-1.0), 0u8), (one(255.9), 255), (one(1e9), 255)]);
    check("i64", "f32", "convert %0", &[([16_777_217i64, 0, 0], 16_777_216.0f32)]);
    check("i64", "i32", "convert %0", &[([1i64 << 32 | 7, 0, 0], 7i32)]);
    check("i32", "u8", "convert %0", &[([-1, 0, 0], 255u8)]);
    check("i32", "i64", "convert %0", &[([-1, 0, 0], -1i64)]);
    check("u8", "i64", "convert %0", &[([255u8, 0, 0], 255i64)]);
    check(
        "f64",
        "f32",
        "convert %0",
        &[([1e300, 0.0, 0.0], f32::INFINITY), ([0.1, 0.0, 0.0], 0.1)],
    );
    check("f32", "i32", "bitcast %0", &[(one(1.0), 0x3f80_0000)]);
}

#[test]
fn comparisons_with_nan_are_false_but_for_unequal() {
    for (op, less, equal, nan) in [
        ("eq", 0, 1, 0),
        ("ne", 1, 0, 1),
        ("lt", 1, 0, 0),
        ("le", 1, 1, 0),
        ("gt", 0, 0, 0),
        ("ge", 0, 1, 0),
    ] {
        let kernel = parse_kernel(&format!(
            "kernel @compare chunks=3 {{
               buffer x: f32[6] read
               buffer y: u8[3] write
               %0: f32 = load x[2*i0]
               %1: f32 = load x[2*i0 + 1]
               %2: mask8 = {op} %0, %1
               %3: u8 = convert %2
               store y[i0] = %3
             }}"
        ))
        .unwrap();
        let x = bytes_of(&[1.0f32, 2.0, -0.0, 0.0, f32::NAN, 1.0]);
        assert_eq!(run(&kernel, &[x], 3), [less, equal, nan], "{op}");
    }
}

#[test]
fn vectors_masks_and_lanes() {
    let kernel = parse_kernel(
        "kernel @vectors chunks=1 {
           buffer x: f32[4] read
           buffer y: f32[12] write
           %0: f32x4 = load x[0]
           %1: f32 = const 0x40000000 // 2.0
           %2: f32x4 = splat %1
           %3: mask32x4 = lt %0, %2
           %4: mask32x4 = mask_not %3
           %5: mask8 = const 1
           %6: mask32x4 = splat %5
           %7: mask32x4 = mask_xor %6, %4
           %8: mask32x4 = mask_and %7, %3
           %9: f32x4 = select %8, %0, %2
           store y[0] = %9
           %10: i32x4 = index 10 step -3
           %11: f32x4 = convert %10
           store y[4] = %11
           %12: f32 = lane %11 2
           store y[8] = %12
           %13: mask32x4 = mask_or %8, %4
           %14: mask32x4 = select %13, %3, %4
           %15: f32x4 = select %14, %11, %2
           %16: f32 = lane %15 3
           store y[9] = %16
           %17: f64x2 = const 0x3ff0000000000000 // 1.0
           %18: i32x4 = bitcast %17
           %19: i32 = lane %18 1
           %20: f32 = convert %19
           store y[10] = %20
           %21: i32 = index 7
           %22: f32 = convert %21
           store y[11] = %22
         }",
    )
    .unwrap();
    let found = values_of::<f32>(&run(&kernel, &[bytes_of(&[1.0f32, 3.0, 0.5, 2.0])], 48));
    let high_word = 0x3ff0_0000 as f32;
    let expected = [1.0, 2.0, 0.5, 2.0, 10.0, 7.0, 4.0, 1.0, 4.0, 2.0, high_word, 7.0];
    assert_eq!(found, expected);
}

#[test]
fn interleaving_takes_lanes_of_halves_in_turn() {
    for (ty, len, low, high) in
        [("f32x4", 4, vec![0, 4, 1, 5], vec![2, 6, 3, 7]), ("f64x2", 2, vec![0, 2], vec![1, 3])]
    {
        let scalar = ty.split('x').next().unwrap();
        let kernel = parse_kernel(&format!(
            "kernel @interleave chunks=1 {{
               buffer x: {scalar}[{}] read
               buffer y: {scalar}[{}] write
               %0: {ty} = load x[0]
               %1: {ty} = load x[{len}]
               %2: {ty} = interleave_low %0, %1
               %3: {ty} = interleave_high %0, %1
               store y[0] = %2
               store y[{len}] = %3
             }}",
            2 * len,
            2 * len
        ))
        .unwrap();
        let expected: Vec<i32> = [low, high].concat();
        let found: Vec<i32> = if scalar == "f32" {
            let x: Vec<f32> = (0..8).map(|number| number as f32).collect();
            let found = run(&kernel, &[bytes_of(&x)], 32);
            values_of::<f32>(&found).iter().map(|value| *value as i32).collect()
        } else {
            let x: Vec<f64> = (0..4).map(f64::from).collect();
            let found = run(&kernel, &[bytes_of(&x)], 32);
            values_of::<f64>(&found).iter().map(|value| *value as i32).collect()
        };
        assert_eq!(found, expected, "{ty}");
    }
}

#[test]
fn carries_move_together() {
    // A Fibonacci pair: each carry's next is the other's parameter or the sum.
    let kernel = parse_kernel(
        "kernel @fibonacci chunks=1 {
           buffer y: i64[6] write
           unused %5: i64
           %0: i64 = const 0
           %1: i64 = const 1
           %6: i64, %7: i64 = for i1 in 0..10 carry (%2 = %0, %3 = %1) {
             %4: i64 = add %2, %3
             next %3, %4
           }
           store y[0] = %6
           store y[1] = %7
           %8: i64, %9: i64 = for i2 in 0..0 carry (%10 = %6, %11 = %0) {
             next %11, %10
           }
           store y[2] = %8
           store y[3] = %9
           %12: i64, %13: i64 = for i3 in 0..3 carry (%14 = %6, %15 = %7) {
             next %15, %14
           }
           store y[4] = %12
           store y[5] = %13
         }",
    )
    .unwrap();
    assert_eq!(values_of::<i64>(&run(&kernel, &[], 48)), [55, 89, 55, 0, 89, 55]);
}

#[test]
fn tiles_add_in_order_and_round_as_they_say() {
    for (multiply, assign) in [("fma", "="), ("fma", "+="), ("unfused", "="), ("unfused", "+=")] {
        let kernel = parse_kernel(&format!(
            "kernel @tile chunks=2 {{
               buffer a: f32[64] read
               buffer b: f32[64] read
               buffer c: f32[40] readwrite
               tile f32 4x8 {multiply} rows=3 cols=5 depth=7 \
                 c[20*i0; 6, 1] {assign} a[2*i0; 1, 4] * b[i0; 9, 1]
             }}"
        ))
        .unwrap();
        let value = |seed: usize| ((seed * 2_654_435_761) % 1009) as f32 / 313.0 - 1.5;
        let a: Vec<f32> = (0..64).map(value).collect();
        let b: Vec<f32> = (100..164).map(value).collect();
        let c: Vec<f32> = (200..240).map(value).collect();
        let mut expected = c.clone();
        for chunk in 0..2 {
            for (row, col) in (0..15).map(|at| (at / 5, at % 5)) {
                let place = &mut expected[20 * chunk + 6 * row + col];
                let mut sum = if assign == "=" { 0.0 } else { *place };
                for k in 0..7 {
                    let (x, y) = (a[2 * chunk + row + 4 * k], b[chunk + 9 * k + col]);
                    sum = if multiply == "fma" { x.mul_add(y, sum) } else { sum + x * y };
                }
                *place = sum;
            }
        }
        let mut params = [bytes_of(&a), bytes_of(&b), bytes_of(&c)];
        run_kernel(&kernel, &mut params, ChunkOrder::Descending).unwrap();
        assert_eq!(params[2], bytes_of(&expected), "{multiply} {assign}");
    }
}

#[test]
fn functions_are_applied_in_place() {
    let kernel = parse_kernel(
        "kernel @apply chunks=2 {
           buffer x: f32[8] readwrite
           buffer y: f64[3] readwrite
           apply exp2 count=2 x[4*i0 + 1]
           apply log2 count=1 y[i0]
           apply erf count=0 y[2]
         }",
    )
    .unwrap();
    let mut params = [bytes_of(&[3.0f32; 8]), bytes_of(&[8.0f64, 0.5, 7.0])];
    run_kernel(&kernel, &mut params, ChunkOrder::Descending).unwrap();
    assert_eq!(values_of::<f32>(&params[0]), [3.0, 8.0, 8.0, 3.0, 3.0, 8.0, 8.0, 3.0]);
    assert_eq!(values_of::<f64>(&params[1]), [3.0, -1.0, 7.0]);
}

#[test]
fn an_empty_tile_writes_zeros_or_nothing() {
    for (assign, expected) in [("=", 0.0), ("+=", 9.0)] {
        let kernel = parse_kernel(&format!(
            "kernel @empty chunks=1 {{
               buffer a: f64[0] read
               buffer c: f64[2] readwrite
               tile f64 4x4 fma rows=1 cols=2 depth=0 c[0; 2, 1] {assign} a[0; 1, 1] * a[0; 1, 1]
             }}"
        ))
        .unwrap();
        let mut params = [vec![], bytes_of(&[9.0f64, 9.0])];
        run_kernel(&kernel, &mut params, ChunkOrder::Ascending).unwrap();
        assert_eq!(values_of::<f64>(&params[1]), [expected; 2]);
    }
}

#[test]
fn scratch_is_filled_before_each_chunk() {
    let kernel = parse_kernel(
        "kernel @scratch chunks=2 {
           buffer s: u8[3] scratch
           buffer t: u8[1] scratch
           buffer y: u8[4] write
           %0: u8 = load s[2]
           %1: u8 = load t[0]
           store y[2*i0] = %0
           store y[2*i0 + 1] = %1
           %2: u8 = const 7
           store s[2] = %2
           store t[0] = %2
         }",
    )
    .unwrap();
    assert_eq!(run(&kernel, &[], 4), [SCRATCH_FILL; 4]);
}

const IN_PLACE: &str = "program @p arena=128 externals=2 {
  buffer x: f32[4] external 0 readonly
  buffer h: f32[4] arena 64
  buffer y: f32[4] external 1
  kernel @double chunks=1 {
    buffer a: f32[4] read
    buffer c: f32[4] write
    %0: f32x4 = load a[0]
    %1: f32x4 = add %0, %0
    store c[0] = %1
  }
  call double(x, h)
  call double(h, h)
  call double(h, y)
}
";

#[test]
fn programs_call_in_order_and_may_work_in_place() {
    let program = parse_program(IN_PLACE).unwrap();
    assert_eq!(program.to_string(), IN_PLACE);
    for order in [ChunkOrder::Ascending, ChunkOrder::Descending] {
        let mut memory = Memory::zeroed(&program);
        memory.externals[0] = bytes_of(&[1.0f32, 2.0, 3.0, 4.0]);
        run_program_in_order(&program, &mut memory, order).unwrap();
        assert_eq!(values_of::<f32>(&memory.externals[1]), [8.0, 16.0, 24.0, 32.0]);
    }
}

/// What a program leaves in `t`, which each call of `mark` multiplies by 10 and adds `x` to.
fn marks(c: &[u8], items: &str) -> i64 {
    let program = parse_program(&format!(
        "program @marks arena=64 externals=4 {{
           buffer t: i64[1] external 0
           buffer one: i64[1] external 1 readonly
           buffer two: i64[1] external 2 readonly
           buffer cs: u8[3] external 3
           buffer c: u8[1] part #3 first 0 step 0 level 0
           buffer d: u8[1] external 3
           buffer p: u8[1] part #3 first 0 step 1 level 0
           kernel @mark chunks=1 {{
             buffer x: i64[1] read
             buffer t: i64[1] readwrite
             %0: i64 = load t[0]
             %1: i64 = const 10
             %2: i64 = mul %0, %1
             %3: i64 = load x[0]
             %4: i64 = add %2, %3
             store t[0] = %4
           }}
           kernel @less chunks=1 {{
             buffer c: u8[1] readwrite
             %0: u8 = load c[0]
             %1: u8 = const 1
             %2: u8 = sub %0, %1
             store c[0] = %2
           }}
           {items}
         }}"
    ))
    .unwrap();
    let mut memory = Memory::zeroed(&program);
    memory.externals[1] = bytes_of(&[1i64]);
    memory.externals[2] = bytes_of(&[2i64]);
    memory.externals[3] = c.to_vec();
    run_program(&program, &mut memory).unwrap();
    values_of::<i64>(&memory.externals[0])[0]
}

#[test]
fn branches_run_one_list() {
    let both = "branch d { call mark(one, t) call mark(one, t) } else { call mark(two, t) }";
    for (byte, expected) in [(0, 2), (1, 11), (2, 11), (128, 11), (255, 11)] {
        assert_eq!(marks(&[byte, 0, 0], both), expected);
    }
    assert_eq!(marks(&[0, 0, 0], "branch d { call mark(one, t) } call mark(two, t)"), 2);
    let moves = "repeat 3 { branch p { call mark(one, t) } else { call mark(two, t) } }";
    assert_eq!(marks(&[0, 3, 0], moves), 212);
    // The list is chosen once.
    assert_eq!(
        marks(&[1, 0, 0], "branch d { call less(d) call mark(one, t) } else { call mark(two, t) }"),
        1
    );
}

#[test]
fn whiles_test_first() {
    let body = "while { call mark(one, t) } test d { call less(d) call mark(two, t) }";
    for (count, expected) in [(0, 1), (1, 121), (2, 12121), (4, 121212121)] {
        assert_eq!(marks(&[count, 0, 0], body), expected);
    }
    assert_eq!(marks(&[3, 0, 0], "while { call less(d) } test d { call mark(two, t) }"), 22);
    assert_eq!(marks(&[0, 0, 0], "while { } test d { } call mark(two, t)"), 2);
    let moves =
        "repeat 3 { while { } test p { call less(p) call mark(one, t) } call mark(two, t) }";
    assert_eq!(marks(&[2, 0, 1], moves), 112212);
    let nested = "while { } test d { branch d { call mark(one, t) } repeat 2 { call less(c) } }";
    assert_eq!(marks(&[4, 0, 0], nested), 11);
}

#[test]
fn memory_that_does_not_fit_is_refused() {
    let program = parse_program(IN_PLACE).unwrap();
    let spoil = |spoil: fn(&mut Memory)| {
        let mut memory = Memory::zeroed(&program);
        spoil(&mut memory);
        run_program(&program, &mut memory).unwrap_err()
    };
    assert!(matches!(spoil(|memory| memory.arena.truncate(127)), EvalError::Size { .. }));
    assert!(matches!(spoil(|memory| memory.externals[1].truncate(15)), EvalError::Size { .. }));
    assert!(matches!(spoil(|memory| memory.externals.truncate(1)), EvalError::Count { .. }));
    let kernel = &program.kernels[0];
    let error = run_kernel(kernel, &mut [vec![0; 16]], ChunkOrder::Ascending).unwrap_err();
    assert_eq!(error, EvalError::Count { expected: 2, found: 1 });
}
