//! Rules of a kernel.

use kilngrad_loops::{
    Access, Affine, Kernel, KernelBuilder, LoopVar, MAX_LOOP_VARS, MAX_NESTING, Scalar,
    parse_kernel, verify_kernel,
};

/// The label of the rule that a kernel breaks, or `ok`.
fn judge(kernel: &Kernel) -> &'static str {
    verify_kernel(kernel).map_or_else(|error| error.rule().label(), |()| "ok")
}

/// Judges kernels given as `chunks`, buffers and statements.
fn check(cases: &[(&str, usize, &str)]) {
    for &(expected, chunks, text) in cases {
        let kernel = parse_kernel(&format!("kernel @k chunks={chunks} {{ {text} }}")).unwrap();
        let found = verify_kernel(&kernel);
        assert_eq!(judge(&kernel), expected, "{kernel}\n{found:?}");
    }
}

#[test]
fn k1_sizes() {
    let huge = usize::MAX / 8;
    check(&[
        ("ok", 1, ""),
        ("kernel_k1", 0, ""),
        ("kernel_k1", usize::MAX, ""),
        ("ok", 1, &format!("buffer x: u8[{}] read", isize::MAX)),
        ("kernel_k1", 1, &format!("buffer x: u8[{}] read", isize::MAX as usize + 1)),
        ("kernel_k1", 1, &format!("buffer x: f64[{huge}] read")),
        // Each fits alone; scratch is one area.
        ("ok", 1, &format!("buffer x: f32[{0}] read buffer y: f32[{0}] read", huge / 2)),
        ("ok", 1, &format!("buffer x: f32[{}] scratch", huge / 2)),
        (
            "kernel_k1",
            1,
            &format!(
                "buffer x: f32[{0}] scratch buffer y: f32[{0}] scratch buffer z: f32[{0}] scratch",
                huge / 2
            ),
        ),
        ("kernel_k1", 1, &format!("for i1 in 0..{} {{}}", usize::MAX)),
    ]);
}

#[test]
fn k2_register_types() {
    for ty in ["f32", "f64", "i32", "i64", "u8", "f32x4", "f64x2", "i32x4", "i64x2"] {
        check(&[("ok", 1, &format!("unused %0: {ty}"))]);
    }
    for ty in ["mask8", "mask32x4", "mask64x2"] {
        check(&[("ok", 1, &format!("unused %0: {ty}"))]);
    }
    for ty in ["f32x2", "f64x4", "u8x16", "u8x4", "f32x0", "mask8x4", "mask32", "mask64x4", "mask0"]
    {
        check(&[("kernel_k2", 1, &format!("unused %0: {ty}"))]);
    }
}

#[test]
fn k3_definitions() {
    // The parser refuses both, so the kernels are made by hand.
    let mut kernel =
        parse_kernel("kernel @k chunks=1 { %0: u8 = const 1 %1: u8 = not %0 }").unwrap();
    kernel.body.push(kernel.body[1].clone());
    assert_eq!(judge(&kernel), "kernel_k3");
    kernel.body.pop();
    assert_eq!(judge(&kernel), "ok");
    kernel.registers.pop();
    assert_eq!(judge(&kernel), "kernel_k3");
}

#[test]
fn k4_scope() {
    check(&[
        ("kernel_k4", 1, "%0: u8 = not %1 %1: u8 = const 1"),
        ("kernel_k4", 1, "%0: u8 = not %0"),
        ("kernel_k4", 1, "for i1 in 0..2 { %0: u8 = const 1 } %1: u8 = not %0"),
        ("kernel_k4", 1, "for i1 in 0..2 { %0: u8 = const 1 } for i2 in 0..2 { %1: u8 = not %0 }"),
        ("ok", 1, "%0: u8 = const 1 for i1 in 0..2 { %1: u8 = not %0 }"),
        (
            "ok",
            1,
            "%0: u8 = const 1 %1: u8 = for i1 in 0..2 carry (%2 = %0) { next %2 } %3: u8 = not %1",
        ),
        // The parameter is of the body, the result is not.
        (
            "kernel_k4",
            1,
            "%0: u8 = const 1 %1: u8 = for i1 in 0..2 carry (%2 = %0) { next %2 } %3: u8 = not %2",
        ),
        ("kernel_k4", 1, "%0: u8 = const 1 %1: u8 = for i1 in 0..2 carry (%2 = %0) { next %1 }"),
        ("kernel_k4", 1, "%0: u8 = for i1 in 0..2 carry (%1 = %2) { %2: u8 = const 1 next %2 }"),
        (
            "kernel_k4",
            1,
            "%0: u8 = const 1 %1: u8 = for i1 in 0..2 carry (%2 = %0) { for i2 in 0..1 { %3: u8 = const 0 } next %3 }",
        ),
        ("kernel_k4", 1, "buffer x: u8[1] write unused %0: u8 store x[0] = %0"),
    ]);
}

#[test]
fn k5_types() {
    let operands = "%0: f32 = const 0 %1: f32x4 = const 0 %2: i32 = const 0 %3: i32x4 = const 0 \
         %4: i64 = const 0 %5: i64x2 = const 0 %6: f64x2 = const 0 %7: u8 = const 0 \
         %8: mask8 = const 0 %9: mask32x4 = const 1 %10: mask64x2 = const 0 %11: f64 = const 0";
    let judge_all = |expected: &str, list: &[&str]| {
        for inst in list {
            check(&[(expected, 1, &format!("{operands} %12: {inst}"))]);
        }
    };
    judge_all(
        "ok",
        &[
            "f32x4 = splat %0",
            "mask32x4 = splat %8",
            "f32 = lane %1 3",
            "u8 = neg %7",
            "i64x2 = abs %5",
            "f64x2 = sqrt %6",
            "i32x4 = not %3",
            "i32 = rem %2, %2",
            "f64x2 = div %6, %6",
            "u8 = max_select %7, %7",
            "i32x4 = mul %3, %3",
            "f32x4 = fma %1, %1, %1",
            "mask8 = lt %7, %7",
            "mask32x4 = eq %3, %3",
            "mask64x2 = eq %6, %6",
            "mask8 = mask_or %8, %8",
            "mask64x2 = mask_not %10",
            "f32x4 = select %9, %1, %1",
            "i32 = select %8, %2, %2",
            "mask32x4 = select %9, %9, %9",
            "f64 = convert %7",
            "f32x4 = convert %3",
            "u8 = convert %8",
            "i32 = bitcast %0",
            "f64x2 = bitcast %1",
            "f32x4 = interleave_low %1, %1",
            "i64x2 = interleave_high %5, %5",
            "i32x4 = index 3 step 1",
            "i32 = index 3",
        ],
    );
    judge_all(
        "kernel_k5",
        &[
            "mask8 = const 2",
            "f32 = splat %0",
            "f32x4 = splat %1",
            "i32x4 = splat %0",
            "f32 = lane %1 4",
            "f32 = lane %0 0",
            "f32x4 = lane %1 0",
            "mask8 = lane %9 0",
            "f32 = neg %1",
            "mask8 = neg %8",
            "u8 = abs %7",
            "i32 = sqrt %2",
            "f32 = not %0",
            "i32x4 = div %3, %3",
            "f32 = rem %0, %0",
            "f32 = and %0, %0",
            "mask8 = add %8, %8",
            "f32 = add %0, %11",
            "f32 = shl %0, %0",
            "i32 = fma %2, %2, %2",
            "f32x4 = fma %1, %0, %1",
            "mask8 = lt %1, %1",
            "mask8 = lt %0, %2",
            "mask8 = lt %8, %8",
            "u8 = lt %7, %7",
            "u8 = mask_or %7, %7",
            "f32 = mask_not %0",
            "mask8 = mask_and %8, %9",
            "f32x4 = select %8, %1, %1",
            "f32 = select %7, %0, %0",
            "f32 = select %8, %0, %2",
            "f32 = convert %0",
            "f64x2 = convert %5",
            "i32 = convert %8",
            "u8 = convert %9",
            "mask8 = convert %7",
            "i64 = bitcast %0",
            "mask8 = bitcast %7",
            "f32 = interleave_low %0, %0",
            "mask32x4 = interleave_low %9, %9",
            "f32x4 = interleave_high %1, %3",
            "f32 = index 3",
            "u8 = index 3",
            "mask8 = index 3",
        ],
    );
    check(&[
        ("kernel_k5", 1, "buffer x: f32[4] read %0: f64 = load x[0]"),
        ("kernel_k5", 1, "buffer x: u8[4] read %0: mask8 = load x[0]"),
        ("kernel_k5", 1, "buffer x: f32[4] write %0: i32 = const 0 store x[0] = %0"),
        ("kernel_k5", 1, "buffer x: u8[4] write %0: mask8 = const 0 store x[0] = %0"),
        ("kernel_k5", 1, "%0: u8 = const 1 %1: i32 = for i1 in 0..2 carry (%2 = %0) { next %2 }"),
        (
            "kernel_k5",
            1,
            "%0: u8 = const 1 %3: i32 = const 1 %1: u8 = for i1 in 0..2 carry (%2 = %0) { next %3 }",
        ),
        // A body that never runs is typed all the same.
        ("kernel_k5", 1, "%0: u8 = const 1 for i1 in 0..0 { %1: i32 = not %0 }"),
    ]);
}

#[test]
fn k6_vector_shifts() {
    check(&[
        ("ok", 1, "%0: i32x4 = const 1 %1: i32x4 = shl %0, %0"),
        (
            "ok",
            1,
            "%0: i32x4 = const 1 %1: i32 = index 3 %2: i32x4 = splat %1 %3: i32x4 = shr_s %0, %2",
        ),
        ("kernel_k6", 1, "%0: i32x4 = index 0 step 1 %1: i32x4 = shl %0, %0"),
        ("ok", 1, "%0: i32 = index 0 %1: i32 = shl %0, %0"),
    ]);
}

#[test]
fn k7_variables() {
    check(&[
        ("kernel_k7", 1, "for i0 in 0..2 {}"),
        ("kernel_k7", 1, "for i1 in 0..2 {} for i1 in 0..2 {}"),
        ("kernel_k7", 1, "for i1 in 0..2 { for i1 in 0..2 {} }"),
        ("kernel_k7", 1, &format!("for i{MAX_LOOP_VARS} in 0..2 {{}}")),
        ("ok", 1, &format!("for i{} in 0..2 {{}}", MAX_LOOP_VARS - 1)),
        ("kernel_k7", 1, "%0: i64 = index i1"),
        ("kernel_k7", 1, "for i1 in 0..2 {} %0: i64 = index i1"),
        ("kernel_k7", 1, "buffer x: f32[4] read %0: f32 = load x[i7]"),
        (
            "kernel_k7",
            1,
            "buffer x: f32[4] readwrite buffer y: f32[4] read tile f32 1x1 fma rows=1 cols=1 depth=0 x[0; 1, 1] = y[i1; 1, 1] * y[0; 1, 1]",
        ),
    ]);
    for terms in [&[(2, 1), (1, 1)][..], &[(1, 1), (1, 1)], &[(1, 0)]] {
        let mut b = KernelBuilder::new("k", 1);
        let mut at = Affine::constant(0);
        at.terms.extend(terms.iter().map(|&(var, factor)| (LoopVar(var), factor)));
        b.for_(1, |b, _| b.for_(1, |b, _| b.index(Scalar::I64, 1, at, 0)));
        assert_eq!(judge(&b.finish()), "kernel_k7", "{terms:?}");
    }
}

#[test]
fn k8_nesting() {
    fn nest(b: &mut KernelBuilder, depth: usize) {
        if depth > 0 {
            b.for_(1, |b, _| nest(b, depth - 1));
        }
    }
    for (depth, expected) in [(MAX_NESTING, "ok"), (MAX_NESTING + 1, "kernel_k8")] {
        let mut b = KernelBuilder::new("k", 1);
        nest(&mut b, depth);
        assert_eq!(judge(&b.finish()), expected, "{depth}");
    }
}

#[test]
fn k9_addresses() {
    let load = |chunks, extent: usize, ty: &str, at: &str| {
        let text =
            format!("buffer x: f32[16] read for i1 in 0..{extent} {{ %0: {ty} = load x[{at}] }}");
        let kernel = parse_kernel(&format!("kernel @k chunks={chunks} {{ {text} }}")).unwrap();
        judge(&kernel)
    };
    assert_eq!(load(1, 16, "f32", "i1"), "ok");
    assert_eq!(load(1, 17, "f32", "i1"), "kernel_k9");
    assert_eq!(load(1, 4, "f32x4", "4*i1"), "ok");
    assert_eq!(load(1, 4, "f32x4", "4*i1 + 1"), "kernel_k9");
    assert_eq!(load(1, 16, "f32", "-i1 + 15"), "ok");
    assert_eq!(load(1, 16, "f32", "-i1 + 14"), "kernel_k9");
    assert_eq!(load(4, 4, "f32", "4*i0 + i1"), "ok");
    assert_eq!(load(5, 4, "f32", "4*i0 + i1"), "kernel_k9");
    // Never run, whatever the address.
    assert_eq!(load(1, 0, "f32", "99*i1 - 1"), "ok");
    let far = i64::MAX;
    assert_eq!(
        load(u32::MAX as usize, far as usize, "f32", &format!("{far}*i0 - {far}*i1")),
        "kernel_k9"
    );
    // Many large terms overflow even 128 bits.
    let open: String = (1..=8).map(|i| format!("for i{i} in 0..{far} {{ ")).collect();
    let sum: Vec<String> = (1..=8).map(|i| format!("{far}*i{i}")).collect();
    let text = format!(
        "buffer x: f32[1] read {open} %0: f32 = load x[{}] {}",
        sum.join(" + "),
        "}".repeat(8)
    );
    check(&[("kernel_k9", 1, &text)]);
}

#[test]
fn k9_addresses_of_tiles() {
    let tile = |rows: u8, cols: u8, depth: usize, a: &str, b: &str, c: &str| {
        let kernel = parse_kernel(&format!(
            "kernel @k chunks=1 {{
               buffer a: f32[24] read buffer b: f32[24] read buffer c: f32[24] write
               tile f32 6x8 fma rows={rows} cols={cols} depth={depth} c[{c}] = a[{a}] * b[{b}]
             }}"
        ))
        .unwrap();
        judge(&kernel)
    };
    assert_eq!(tile(6, 4, 4, "0; 4, 1", "0; 4, 1", "0; 4, 1"), "ok");
    assert_eq!(tile(6, 4, 4, "1; 4, 1", "0; 4, 1", "0; 4, 1"), "kernel_k9");
    assert_eq!(tile(6, 4, 4, "0; 4, 1", "9; 4, 1", "0; 4, 1"), "kernel_k9");
    assert_eq!(tile(6, 4, 4, "0; 4, 1", "8; 4, 1", "0; 4, 1"), "ok");
    assert_eq!(tile(6, 4, 4, "0; 4, 1", "0; 4, 1", "1; 4, 1"), "kernel_k9");
    assert_eq!(tile(6, 4, 4, "0; 1, 6", "0; 0, 1", "20; -4, 1"), "ok");
    assert_eq!(tile(6, 4, 4, "0; -1, 6", "0; 0, 1", "0; 4, 1"), "kernel_k9");
    assert_eq!(tile(6, 4, 5, "0; 1, 6", "0; 0, 1", "0; 4, 1"), "kernel_k9");
    assert_eq!(tile(6, 4, 0, "99; 1, 6", "-1; 0, 1", "0; 4, 1"), "ok");
}

#[test]
fn k10_access() {
    check(&[
        ("kernel_k10", 1, "buffer x: u8[1] read %0: u8 = const 1 store x[0] = %0"),
        (
            "kernel_k10",
            1,
            "buffer x: u8[1] read %0: u8 = const 1 for i1 in 0..0 { store x[0] = %0 }",
        ),
        ("ok", 1, "buffer x: u8[1] write %0: u8 = load x[0] store x[0] = %0"),
        ("ok", 1, "buffer x: u8[1] scratch %0: u8 = load x[0] store x[0] = %0"),
        (
            "kernel_k10",
            1,
            "buffer x: f32[1] read buffer y: f32[1] read tile f32 1x1 fma rows=1 cols=1 depth=1 x[0; 1, 1] = y[0; 1, 1] * y[0; 1, 1]",
        ),
    ]);
    let mut b = KernelBuilder::new("k", 1);
    let x = b.buffer("x", Scalar::U8, 1, Access::Read);
    b.load(x, Affine::constant(0), 1);
    let mut kernel = b.finish();
    kernel.buffers.clear();
    assert_eq!(judge(&kernel), "kernel_k10");
}

#[test]
fn k11_tiles() {
    let judge_tile = |scalars: [&str; 4], call: &str| {
        let [shape, a, b, c] = scalars;
        let kernel = parse_kernel(&format!(
            "kernel @k chunks=1 {{
               buffer a: {a}[64] read buffer b: {b}[64] read buffer c: {c}[64] readwrite
               tile {shape} 4x8 fma {call}
             }}"
        ))
        .unwrap();
        judge(&kernel)
    };
    let plain = "rows=4 cols=8 depth=1 c[0; 8, 1] = a[0; 1, 4] * b[0; 8, 1]";
    assert_eq!(judge_tile(["f64"; 4], plain), "ok");
    assert_eq!(judge_tile(["i32"; 4], plain), "kernel_k11");
    assert_eq!(judge_tile(["f32", "f32", "f64", "f32"], plain), "kernel_k11");
    for refused in [
        "rows=5 cols=8 depth=1 c[0; 8, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=0 cols=8 depth=1 c[0; 8, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=9 depth=1 c[0; 9, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=0 depth=1 c[0; 8, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=8 depth=18446744073709551615 c[0; 8, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=8 depth=1 c[0; 8, 2] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=8 depth=1 c[0; 8, 1] = a[0; 1, 4] * b[0; 8, 2]",
        "rows=4 cols=8 depth=1 c[0; 7, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=8 depth=1 c[40; -7, 1] = a[0; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=8 depth=1 c[0; 8, 1] = c[32; 1, 4] * b[0; 8, 1]",
        "rows=4 cols=8 depth=1 c[0; 8, 1] = a[0; 1, 4] * c[32; 8, 1]",
    ] {
        assert_eq!(judge_tile(["f32"; 4], refused), "kernel_k11", "{refused}");
    }
    // One row may have any stride.
    assert_eq!(
        judge_tile(["f32"; 4], "rows=1 cols=8 depth=1 c[0; 0, 1] += a[0; 1, 4] * b[0; 8, 1]"),
        "ok"
    );
}

#[test]
fn k12_indices() {
    let far = i64::MAX;
    check(&[
        ("kernel_k12", 1, "%0: i64 = index 0 step 1"),
        ("ok", 1, &format!("for i1 in 0..2 {{ %0: i64 = index {}*i1 }}", far)),
        ("kernel_k12", 1, &format!("for i1 in 0..3 {{ %0: i64 = index {}*i1 }}", far)),
        ("kernel_k12", 1, &format!("%0: i32x4 = index {far} step 1")),
        ("ok", 1, &format!("%0: i32x4 = index {far} step -1")),
    ]);
}

/// Judges a store of four floats in the middle of three loops of extent 2, 3 and 4 over rows of
/// 64 elements.
fn judge_store(chunks: usize, stores: &[&str]) -> &'static str {
    let stores: String = stores.iter().map(|at| format!("store y[{at}] = %0 ")).collect();
    let kernel = parse_kernel(&format!(
        "kernel @k chunks={chunks} {{
           buffer y: f32[4096] write
           %0: f32x4 = const 0
           for i1 in 0..2 {{ for i2 in 0..3 {{ for i3 in 0..4 {{ {stores} }} }} }}
         }}"
    ))
    .unwrap();
    judge(&kernel)
}

#[test]
fn k13_chunks() {
    // Blocks.
    assert_eq!(judge_store(4, &["16*i0 + 4*i3"]), "ok");
    assert_eq!(judge_store(4, &["15*i0 + 4*i3"]), "kernel_k13");
    assert_eq!(judge_store(1, &["15*i0 + 4*i3"]), "ok");
    assert_eq!(judge_store(4, &["-16*i0 + 4*i3 + 48"]), "ok");
    assert_eq!(judge_store(4, &["-15*i0 + 4*i3 + 48"]), "kernel_k13");
    assert_eq!(judge_store(4, &["16*i0 - 4*i3 + 12"]), "ok");
    assert_eq!(judge_store(4, &["96*i0 + 48*i1 + 16*i2 + 4*i3"]), "ok");
    assert_eq!(judge_store(4, &["95*i0 + 48*i1 + 16*i2 + 4*i3"]), "kernel_k13");
    assert_eq!(judge_store(4, &["4*i3"]), "kernel_k13");
    // Columns of rows are split; also in the middle of three dimensions.
    assert_eq!(judge_store(4, &["64*i2 + 16*i0 + 4*i3"]), "ok");
    assert_eq!(judge_store(4, &["192*i1 + 64*i2 + 16*i0 + 4*i3"]), "ok");
    assert_eq!(judge_store(5, &["64*i2 + 16*i0 + 4*i3"]), "kernel_k13");
    assert_eq!(judge_store(4, &["1024*i1 + 192*i0 + 64*i2 + 4*i3"]), "ok");
    assert_eq!(judge_store(4, &["-64*i2 + 16*i0 + 4*i3 + 128"]), "ok");
    assert_eq!(judge_store(4, &["63*i2 + 16*i0 + 4*i3"]), "kernel_k13");
    // Chunks that interleave.
    assert_eq!(judge_store(4, &["16*i3 + 4*i0"]), "ok");
    assert_eq!(judge_store(4, &["16*i3 + 4*i0", "16*i3 + 4*i0 + 64"]), "ok");
    assert_eq!(judge_store(4, &["16*i3 + 4*i0", "16*i3 + 4*i0 + 65"]), "kernel_k13");
    // Unrolled columns, rows, and rows of a loop over blocks of rows.
    assert_eq!(judge_store(4, &["16*i0 + 4*i2", "16*i0 + 12"]), "ok");
    assert_eq!(judge_store(4, &["16*i0 + 4*i3", "16*i0 + 4*i3 + 64"]), "ok");
    assert_eq!(judge_store(4, &["128*i1 + 16*i0 + 4*i3", "128*i1 + 16*i0 + 4*i3 + 64"]), "ok");
    assert_eq!(
        judge_store(4, &["128*i1 + 16*i0 + 4*i3", "128*i1 + 16*i0 + 4*i3 + 68"]),
        "kernel_k13"
    );
    // Rows of one element unrolled by two, of another by four and begun in the middle.
    let first = ["96*i3 + 12*i0", "96*i3 + 12*i0 + 24"];
    assert_eq!(judge_store(2, &[first[0], first[1], "192*i3 + 12*i0 + 104"]), "ok");
    assert_eq!(judge_store(2, &[first[0], first[1], "192*i3 + 12*i0 + 105"]), "kernel_k13");
    // Stores that disagree.
    assert_eq!(judge_store(4, &["16*i0", "32*i0"]), "kernel_k13");
    assert_eq!(judge_store(4, &["16*i0", "16*i0 + 16"]), "kernel_k13");
}

#[test]
fn k13_chunks_and_loads() {
    check(&[
        ("ok", 2, "buffer y: u8[4] readwrite %0: u8 = load y[2*i0 + 1] store y[2*i0] = %0"),
        ("kernel_k13", 2, "buffer y: u8[4] readwrite %0: u8 = load y[0] store y[2*i0] = %0"),
        ("kernel_k13", 2, "buffer y: u8[6] readwrite %0: u8 = load y[2*i0 + 2] store y[2*i0] = %0"),
        ("ok", 2, "buffer y: u8[4] readwrite %0: u8 = load y[0]"),
        (
            "ok",
            2,
            "buffer y: u8[4] readwrite for i1 in 0..0 { %0: u8 = load y[0] store y[0] = %0 }",
        ),
        ("ok", 2, "buffer s: u8[4] scratch %0: u8 = load s[0] store s[0] = %0"),
        // A tile's block counts.
        (
            "ok",
            4,
            "buffer a: f32[8] read buffer c: f32[128] write tile f32 4x8 fma rows=4 cols=8 depth=1 c[8*i0; 32, 1] = a[0; 1, 4] * a[0; 8, 1]",
        ),
        (
            "kernel_k13",
            4,
            "buffer a: f32[8] read buffer c: f32[128] write tile f32 4x8 fma rows=4 cols=8 depth=1 c[7*i0; 32, 1] = a[0; 1, 4] * a[0; 8, 1]",
        ),
    ]);
}

#[test]
fn k14_functions() {
    let x = |scalar: &str| format!("buffer x: {scalar}[8] readwrite");
    for (expected, chunks, buffer, apply) in [
        ("ok", 1, x("f32"), "apply exp count=8 x[0]"),
        ("ok", 1, x("f64"), "apply sin count=8 x[0]"),
        ("kernel_k14", 1, x("i32"), "apply exp count=8 x[0]"),
        ("ok", 1, x("f64"), "apply exp count=0 x[9]"),
        ("kernel_k9", 1, x("f64"), "apply exp count=8 x[1]"),
        ("kernel_k9", 1, x("f64"), "apply exp count=1 x[-1]"),
        ("kernel_k7", 1, x("f64"), "apply exp count=1 x[i1]"),
        ("ok", 1, x("f32"), "for i1 in 0..2 { apply exp count=4 x[4*i1] }"),
        ("kernel_k9", 1, x("f32"), "for i1 in 0..2 { apply exp count=5 x[4*i1] }"),
        ("ok", 2, x("f32"), "apply exp count=4 x[4*i0]"),
        ("kernel_k13", 2, x("f32"), "apply exp count=5 x[3*i0]"),
        ("kernel_k13", 2, x("f32"), "apply exp count=4 x[0]"),
        ("kernel_k10", 1, "buffer x: f32[8] read".to_owned(), "apply exp count=8 x[0]"),
    ] {
        check(&[(expected, chunks, &format!("{buffer} {apply}"))]);
    }
}

#[test]
fn errors_name_kernel_and_statement() {
    let kernel = parse_kernel(
        "kernel @edge chunks=1 { buffer x: f32[16] read for i1 in 0..5 { %0: f32x4 = load x[4*i1] } }",
    )
    .unwrap();
    assert_eq!(
        verify_kernel(&kernel).unwrap_err().to_string(),
        "kernel_k9: in @edge: `%0: f32x4 = load x[4*i1]`: expected elements of x below 16, found 0 to 19"
    );
}
