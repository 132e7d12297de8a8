//! Rules of a program.

use kilngrad_loops::{
    Branch, Item, MAX_REPEATS, Repeat, Slot, While, parse_kernel, parse_program, verify_kernel,
    verify_program,
};

/// Judges a program of one kernel, given as its settings, buffers, kernel's body and calls.
fn check_program(cases: &[(&str, &str, &str, &str, &str)]) {
    for &(expected, settings, buffers, kernel, calls) in cases {
        let text = format!("program @p {settings} {{ {buffers} kernel @k {kernel} {calls} }}");
        let program = parse_program(&text).unwrap();
        let found = verify_program(&program);
        let label = found.as_ref().map_or_else(|error| error.rule().label(), |()| "ok");
        assert_eq!(label, expected, "{program}\n{found:?}");
    }
}

#[test]
fn p1_memory() {
    let settings = "arena=128 externals=1";
    let idle = "chunks=1 {}";
    check_program(&[
        ("ok", settings, "buffer a: f32[16] arena 64", idle, ""),
        ("program_p1", settings, "buffer a: f32[17] arena 64", idle, ""),
        ("program_p1", settings, "buffer a: f32[1] arena 32", idle, ""),
        ("program_p1", settings, "buffer a: f32[1] arena 64 readonly", idle, ""),
        ("program_p1", settings, "buffer a: f32[1] arena 18446744073709551552", idle, ""),
        ("program_p1", settings, "buffer a: f32[4611686018427387904] external 0", idle, ""),
        ("program_p1", settings, "buffer a: f32[1] external 1", idle, ""),
        ("program_p1", "arena=18446744073709551615 externals=0", "", idle, ""),
        ("ok", settings, "buffer a: f32[1] external 0 buffer b: i32[1] external 0", idle, ""),
        (
            "program_p1",
            settings,
            "buffer a: f32[1] external 0 buffer b: f32[1] external 0 readonly",
            idle,
            "",
        ),
        ("program_p1", "arena=0 externals=2", "buffer a: f32[1] external 0", idle, ""),
        ("kernel_k1", "arena=0 externals=0", "", "chunks=0 {}", ""),
        ("kernel_k1", "arena=0 externals=0", "", "chunks=4294967296 {}", ""),
    ]);
}

#[test]
fn p2_p3_arguments() {
    let settings = "arena=128 externals=2";
    let kernel =
        "chunks=1 { buffer s: f32[1] scratch buffer x: f32[4] read buffer y: f32[4] write }";
    let buffers = "buffer a: f32[4] external 0 readonly buffer b: f32[4] arena 0 \
                   buffer i: i32[4] arena 0 buffer l: f32[8] arena 0";
    check_program(&[
        ("ok", settings, buffers, kernel, "call k(a, b)"),
        ("program_p2", settings, buffers, kernel, "call k(a)"),
        ("program_p2", settings, buffers, kernel, "call k(a, b, b)"),
        ("program_p2", settings, buffers, kernel, "call k(a, i)"),
        ("program_p2", settings, buffers, kernel, "call k(l, b)"),
        ("program_p3", settings, buffers, kernel, "call k(b, a)"),
    ]);
    let mut program = parse_program(&format!(
        "program @p {settings} {{ {buffers} kernel @k {kernel} call k(a, b) }}"
    ))
    .unwrap();
    let Item::Call(call) = &mut program.body[0] else { panic!("expected a call") };
    call.args[1].0 = 9;
    assert_eq!(verify_program(&program).unwrap_err().rule().label(), "program_p2");
    let Item::Call(call) = &mut program.body[0] else { panic!("expected a call") };
    call.kernel.0 = 1;
    assert_eq!(verify_program(&program).unwrap_err().rule().label(), "program_p2");
}

#[test]
fn p5_gate() {
    let settings = "arena=128 externals=2";
    let kernel = "chunks=1 { buffer x: f32[4] read buffer y: u8[1] write }";
    let buffers = "buffer a: f32[4] external 0 readonly buffer b: u8[1] arena 0 \
                   buffer long: u8[2] arena 64 buffer i: i32[1] arena 64";
    check_program(&[
        ("ok", settings, buffers, kernel, "call k(a, b) gate (b)"),
        ("ok", settings, buffers, kernel, "gate (b, b) call k(a, b)"),
        ("program_p5", settings, buffers, kernel, "gate ()"),
        ("program_p5", settings, buffers, kernel, "gate (b, long)"),
        ("program_p5", settings, buffers, kernel, "gate (i)"),
    ]);
    let text = format!("program @p {settings} {{ {buffers} kernel @k {kernel} gate (b) }}");
    let mut program = parse_program(&text).unwrap();
    assert_eq!(parse_program(&program.to_string()).unwrap(), program);
    let gate = program.gate.as_mut().unwrap();
    gate.after = 1;
    assert_eq!(verify_program(&program).unwrap_err().rule().label(), "program_p5");
    program.gate.as_mut().unwrap().after = 0;
    program.gate.as_mut().unwrap().conditions[0].0 = 9;
    assert_eq!(verify_program(&program).unwrap_err().rule().label(), "program_p5");
}

#[test]
fn p4_overlap() {
    let settings = "arena=256 externals=2";
    let buffers = "buffer a: f32[16] arena 0 buffer b: f32[16] arena 64 buffer long: f32[32] arena 0 \
         buffer i: i32[16] arena 0 buffer x: f32[16] external 0 buffer x2: f32[16] external 0 \
         buffer e: f32[0] arena 0";
    let params = |list: &str| format!("chunks=1 {{ {list} }}");
    let read_write = params("buffer p: f32[16] read buffer q: f32[16] write");
    let reads = params("buffer p: f32[16] read buffer q: f32[16] read");
    let writes = params("buffer p: f32[16] write buffer q: f32[16] write");
    let updates = params("buffer p: f32[16] read buffer q: f32[16] readwrite");
    let long = params("buffer p: f32[32] read buffer q: f32[16] write");
    let cast = params("buffer p: i32[16] read buffer q: f32[16] write");
    let empty = params("buffer p: f32[0] write buffer q: f32[16] write");
    check_program(&[
        ("ok", settings, buffers, &read_write, "call k(a, b) call k(a, a) call k(x, x2)"),
        ("ok", settings, buffers, &reads, "call k(a, a)"),
        ("program_p4", settings, buffers, &writes, "call k(a, a)"),
        ("program_p4", settings, buffers, &writes, "call k(x, x2)"),
        ("ok", settings, buffers, &writes, "call k(a, b) call k(a, x)"),
        ("program_p4", settings, buffers, &updates, "call k(a, a)"),
        ("program_p4", settings, buffers, &long, "call k(long, a)"),
        ("program_p4", settings, buffers, &long, "call k(long, b)"),
        ("ok", settings, buffers, &long, "call k(long, x)"),
        ("ok", settings, buffers, &cast, "call k(i, a)"),
        ("ok", settings, buffers, &empty, "call k(e, a)"),
    ]);
}

#[test]
fn p4_chunks_and_tiles_in_place() {
    let settings = "arena=256 externals=0";
    let buffers = "buffer a: f32[16] arena 0 buffer b: f32[16] arena 64";
    let params = "buffer p: f32[16] read buffer q: f32[16] write";
    let kernel = |chunks: usize, body: &str| format!("chunks={chunks} {{ {params} {body} }}");
    let same = kernel(4, "for i1 in 0..4 { %0: f32 = load p[4*i0 + i1] store q[4*i0 + i1] = %0 }");
    let ahead =
        kernel(3, "for i1 in 0..4 { %0: f32 = load p[4*i0 + i1 + 4] store q[4*i0 + i1] = %0 }");
    let tile =
        kernel(1, "tile f32 4x4 fma rows=2 cols=2 depth=2 q[0; 2, 1] = p[0; 2, 1] * p[8; 2, 1]");
    check_program(&[
        ("ok", settings, buffers, &same, "call k(a, a)"),
        ("ok", settings, buffers, &ahead, "call k(a, b)"),
        ("program_p4", settings, buffers, &ahead, "call k(a, b) call k(a, a)"),
        ("ok", settings, buffers, &tile, "call k(a, b)"),
        ("program_p4", settings, buffers, &tile, "call k(a, a)"),
    ]);
}

#[test]
fn what_picks_an_iteration_is_an_index() {
    let text = |index: &str, at: &str| {
        format!(
            "kernel @k chunks=2 {{
               buffer i: i64[1] read
               buffer j: i32[1] read
               buffer x: f32[16] readwrite
               %0: i64 = load i[0]
               %1: i32 = load j[0]
               %2: f32 = const 0x0
               for i1 at {index} in 0..8 {{ store x[{at}] = %2 }}
             }}"
        )
    };
    let label = |index: &str, at: &str| {
        let kernel = parse_kernel(&text(index, at)).unwrap();
        assert_eq!(parse_kernel(&kernel.to_string()).unwrap(), kernel);
        verify_kernel(&kernel).map_err(|error| error.rule().label())
    };
    assert_eq!(label("%0", "8*i0 + i1"), Ok(()));
    assert_eq!(label("%0", "2*i1 + i0"), Ok(()));
    assert_eq!(label("%1", "8*i0 + i1"), Err("kernel_k5"));
    assert_eq!(label("%3", "8*i0 + i1"), Err("kernel_k3"));
    // Whatever the index is, the address is in the buffer, and in the chunk's part of it.
    assert_eq!(label("%0", "8*i0 + i1 + 1"), Err("kernel_k9"));
    assert_eq!(label("%0", "7*i0 + i1"), Err("kernel_k13"));
}

#[test]
fn p6_repeats() {
    let settings = "arena=128 externals=2";
    let buffers = "buffer xs: f32[12] external 0 readonly buffer ys: f32[12] external 1
        buffer a: f32[4] arena 0 buffer b: f32[4] arena 64
        buffer x: f32[4] part #0 first 0 step 4 level 0 readonly
        buffer y: f32[4] part #1 first 8 step -4 level 0
        buffer z: f32[4] part #1 first 0 step 4 level 0
        buffer s: f32[4] part #1 first 2 step 4 level 0
        buffer t: f32[4] turn #2 #3 level 0 buffer u: f32[4] turn #3 #2 level 0
        buffer v: f32[4] part #0 first 0 step 4 level 1 readonly";
    let kernel = "chunks=1 { buffer x: f32[4] read buffer y: f32[4] write
        %0: f32x4 = load x[0] store y[0] = %0 }";
    check_program(&[
        ("ok", settings, buffers, kernel, "repeat 3 { call k(x, y) call k(t, u) call k(x, t) }"),
        ("ok", settings, buffers, kernel, "repeat 2 { repeat 3 { call k(v, t) } call k(x, z) }"),
        // What never runs needs no memory.
        ("ok", settings, buffers, kernel, "repeat 0 { call k(x, y) }"),
        // One part after the other leaves the whole.
        ("program_p6", settings, buffers, kernel, "repeat 4 { call k(x, a) }"),
        ("program_p6", settings, buffers, kernel, "repeat 4 { call k(a, y) }"),
        // There is no such repeat around the call.
        ("program_p6", settings, buffers, kernel, "call k(x, a)"),
        ("program_p6", settings, buffers, kernel, "call k(t, a)"),
        ("program_p6", settings, buffers, kernel, "repeat 3 { call k(v, a) }"),
        ("program_p3", settings, buffers, kernel, "repeat 3 { call k(a, x) }"),
        // The same part is the same elements; two that meet in some iteration are not.
        ("ok", settings, buffers, kernel, "repeat 3 { call k(y, y) call k(t, t) }"),
        ("program_p4", settings, buffers, kernel, "repeat 3 { call k(y, z) }"),
        ("program_p4", settings, buffers, kernel, "repeat 2 { call k(s, z) }"),
        ("ok", settings, buffers, kernel, "repeat 1 { call k(y, z) call k(u, a) }"),
    ]);
    // A part of what is read whole.
    let of_whole = "chunks=1 { buffer x: f32[12] read buffer y: f32[4] write
        %0: f32x4 = load x[8] store y[0] = %0 }";
    check_program(&[
        ("ok", settings, buffers, of_whole, "repeat 2 { call k(xs, z) }"),
        ("program_p4", settings, buffers, of_whole, "repeat 2 { call k(ys, z) }"),
    ]);
    let part = |text: &str| {
        format!("buffer a: f32[8] arena 0 buffer c: f64[8] arena 64 buffer p: f32[4] {text}")
    };
    for (label, place) in [
        ("ok", "part #0 first 4 step 0 level 0"),
        ("program_p6", "part #2 first 0 step 0 level 0"),
        ("program_p6", "part #7 first 0 step 0 level 0"),
        ("program_p6", "part #1 first 0 step 0 level 0"),
        ("program_p6", "part #0 first 0 step 0 level 0 readonly"),
        ("program_p6", "turn #0 #0 level 0"),
    ] {
        let kernel = "chunks=1 { buffer x: f32[4] read }";
        check_program(&[(label, settings, &part(place), kernel, "repeat 2 { call k(p) }")]);
    }
    let nested = |depth: usize, open: &str, close: &str| {
        let text = format!(
            "program @p {settings} {{ {buffers} buffer c: u8[1] arena 64 kernel @k {kernel}
               {} call k(a, b) {} }}",
            open.repeat(depth),
            close.repeat(depth)
        );
        parse_program(&text).map(|program| verify_program(&program).is_ok())
    };
    for (open, close) in [
        ("repeat 1 { ", "} "),
        ("branch c { ", "} "),
        ("branch c { } else { ", "} "),
        ("while { ", "} test c { } "),
        ("while { } test c { ", "} "),
    ] {
        assert_eq!(nested(MAX_REPEATS, open, close), Ok(true), "{open}");
        for depth in [MAX_REPEATS + 1, 50_000] {
            let error = nested(depth, open, close).unwrap_err();
            assert_eq!(error.problem(), format!("expected at most {MAX_REPEATS} nested blocks"));
        }
    }
    // All kinds count together, and the verifier counts for itself.
    let both = "repeat 1 { branch c { ";
    assert_eq!(nested(MAX_REPEATS / 2, both, "} } "), Ok(true));
    assert!(nested(MAX_REPEATS / 2 + 1, both, "} } ").is_err());
    let inner = "branch c { while { } test c { repeat 1 { } } }";
    let text = format!("program @p {settings} {{ {buffers} buffer c: u8[1] arena 64 {inner} }}");
    let mut program = parse_program(&text).unwrap();
    for depth in 4..=MAX_REPEATS + 1 {
        let body = std::mem::take(&mut program.body);
        program.body = match depth % 3 {
            0 => vec![Item::Repeat(Repeat { count: 1, body })],
            1 => vec![Item::Branch(Branch { condition: Slot(11), then: vec![], otherwise: body })],
            _ => vec![Item::While(While { test: body, condition: Slot(11), body: vec![] })],
        };
        let label = verify_program(&program).map_err(|error| error.rule().label());
        assert_eq!(label, if depth <= MAX_REPEATS { Ok(()) } else { Err("program_p6") });
    }
}

#[test]
fn p6_p7_conditions() {
    let settings = "arena=192 externals=2";
    let kernel = "chunks=1 { buffer x: f32[4] read }";
    let buffers = "buffer a: f32[4] arena 0 buffer c: u8[1] arena 64 buffer d: u8[1] external 0 readonly
        buffer long: u8[3] external 1 buffer none: u8[0] arena 64 buffer i: i32[1] arena 128
        buffer p: u8[1] part #3 first 0 step 1 level 0 buffer q: u8[1] part #3 first 2 step -1 level 1
        buffer e: u8[1] arena 128 buffer t: u8[1] turn #1 #8 level 0";
    let mut cases = Vec::new();
    for (label, condition) in [
        ("ok", "c"),
        ("ok", "d"),
        ("program_p7", "a"),
        ("program_p7", "long"),
        ("program_p7", "none"),
        ("program_p7", "i"),
        ("program_p6", "p"),
        ("program_p6", "t"),
    ] {
        cases.push((label, format!("branch {condition} {{ }}")));
        cases.push((label, format!("while {{ }} test {condition} {{ }}")));
        let inside = format!("branch c {{ }} else {{ branch {condition} {{ call k(a) }} }}");
        cases.push((label, format!("call k(a) while {{ {inside} }} test c {{ }}")));
    }
    for (label, around) in [
        // In as many iterations as the whole has parts, and in the repeat that is meant.
        ("ok", "repeat 3 { BLOCK }"),
        ("program_p6", "repeat 4 { BLOCK }"),
        ("ok", "repeat 3 { repeat 9 { BLOCK } }"),
        ("program_p6", "repeat 4 { repeat 3 { BLOCK } }"),
        // Blocks that do not repeat are no level.
        ("ok", "while { } test c { branch c { repeat 3 { branch c { BLOCK } } } }"),
        ("program_p6", "while { BLOCK } test c { }"),
        ("program_p6", "branch c { BLOCK }"),
        ("ok", "repeat 0 { BLOCK }"),
    ] {
        for block in ["branch p { }", "while { } test p { }"] {
            cases.push((label, around.replace("BLOCK", block)));
        }
    }
    for (label, items) in [
        ("ok", "repeat 2 { branch t { repeat 3 { branch q { } } } }"),
        ("program_p6", "repeat 2 { branch t { repeat 4 { branch q { } } } }"),
        ("program_p6", "repeat 2 { branch q { repeat 3 { } } }"),
        // What never runs is in its repeats all the same.
        ("program_p6", "repeat 0 { branch q { } }"),
        ("program_p2", "branch c { call k(c) }"),
        ("program_p2", "branch c { } else { call k(c) }"),
        ("program_p2", "while { call k(c) } test c { }"),
        ("program_p2", "while { } test c { call k(c) }"),
    ] {
        cases.push((label, items.to_owned()));
    }
    for (label, items) in &cases {
        check_program(&[(label, settings, buffers, kernel, items)]);
    }
    let text = format!(
        "program @p {settings} {{ {buffers} kernel @k {kernel} call k(a) branch c {{ }} while {{ }} test c {{ }} }}"
    );
    let good = parse_program(&text).unwrap();
    for at in [1, 2] {
        let mut program = good.clone();
        match &mut program.body[at] {
            Item::Branch(Branch { condition, .. }) | Item::While(While { condition, .. }) => {
                *condition = Slot(10);
            }
            Item::Call(_) | Item::Repeat(_) => panic!("expected a branch or while"),
        }
        let error = verify_program(&program).unwrap_err();
        let what = ["call", "branch", "while"][at];
        let expected = format!(
            "program_p7: in @p: {what} before call 1: expected one of 10 buffers, found number 10"
        );
        assert_eq!(error.to_string(), expected);
    }
}

/// Numbers that no memory bounds are refused or do no harm where nothing runs.
#[test]
fn huge_numbers_in_repeats() {
    let text = |level: u64, outer: usize| {
        format!(
            "program @p arena=0 externals=1 {{
               buffer xs: f64[4] external 0
               buffer x: f64[1] part #0 first 0 step 9223372036854775807 level {level}
               buffer y: f64[1] part #0 first 0 step -9223372036854775808 level 1
               kernel @k chunks=1 {{ buffer x: f64[1] read buffer y: f64[1] write }}
               repeat {outer} {{ repeat 18446744073709551615 {{ call k(x, y) }} }}
             }}"
        )
    };
    let label = |level, outer| {
        verify_program(&parse_program(&text(level, outer)).unwrap()).map_err(|e| e.rule().label())
    };
    assert_eq!(label(1, 0), Ok(()));
    assert_eq!(label(1, 1), Err("program_p6"));
    assert_eq!(label(u64::MAX, 0), Err("program_p6"));
    assert_eq!(label(u64::MAX, 1), Err("program_p6"));
}
