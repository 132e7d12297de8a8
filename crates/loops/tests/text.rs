//! The text form: what prints parses back, and what is wrong is named by line and column.
#![allow(clippy::unwrap_used)]

use kilngrad_loops::{parse_kernel, parse_program};

/// One of everything, as it prints.
const EVERYTHING: &str = "\
kernel @everything chunks=4 {
  buffer x: f32[1024] read
  buffer w: f64[64] scratch
  buffer y: f32[1024] write
  buffer n: u8[4] readwrite
  unused %29: mask64x2
  %0: f32x4 = const 0x3f800000 // 1.0
  %1: f32 = const 0x7fc00000 // NaN
  %2: f64x2 = const 0x8000000000000000 // -0.0
  %3: i32 = const 0xffffffff // -1
  %4: i64 = index 256*i0 - 1
  %5: i64x2 = index -i0 - 9223372036854775808 step -1
  %6: mask8 = const 0x1
  %7: u8 = convert %6
  %8: f32x4 = splat %1
  %9: f32 = lane %8 3
  %10: f32x4 = nearest %8
  %11: f32x4 = min_select %10, %0
  %12: f32x4 = fma %11, %0, %8
  %13: mask32x4 = le %12, %0
  %14: mask32x4 = mask_not %13
  %15: mask32x4 = mask_xor %14, %13
  %16: f32x4 = select %15, %12, %0
  %17: i32x4 = bitcast %16
  %18: f32x4, %19: i64 = for i1 in 0..64 carry (%20 = %16, %21 = %4) {
    %22: f32x4 = load x[256*i0 + 4*i1]
    store y[256*i0 + 4*i1] = %22
    for i3 in 0..0 {
      store n[i0] = %7
    }
    %23: i64 = for i2 in 0..2 carry (%24 = %21) {
      next %24
    }
    next %22, %23
  }
  %25: i32 = convert %19
  %26: i32 = shr_s %25, %3
  tile f64 6x8 unfused rows=2 cols=3 depth=4 w[0; 8, 1] += w[3*i0 + 7; -1, 6] * w[16; 8, 1]
  tile f32 6x16 fma rows=6 cols=16 depth=256 y[i0; 16, 1] = x[0; 1, 0] * x[2; 16, 1]
  apply tanh count=256 y[256*i0]
  %27: mask8 = const 0x0
  %28: u8 = const 0xff // 255
  %30: f32x4 = interleave_low %8, %10
  %31: f32x4 = interleave_high %8, %10
}
";

#[test]
fn everything_round_trips() {
    let kernel = parse_kernel(EVERYTHING).unwrap();
    assert_eq!(kernel.to_string(), EVERYTHING);
    assert_eq!(parse_kernel(&kernel.to_string()).unwrap(), kernel);
}

#[test]
fn any_name_round_trips() {
    let names = ["x", "x", "read", "a.b", "", "two words", "quote\" \\ \n\u{202e}é\0", "i1", "7"];
    let mut kernel = parse_kernel(
        "kernel @k chunks=1 { buffer a: u8[1] readwrite %0: u8 = load a[0] store a[0] = %0 }",
    )
    .unwrap();
    let decl = kernel.buffers[0].clone();
    for (at, name) in names.into_iter().enumerate() {
        kernel.name = name.to_owned();
        kernel.buffers.push(kilngrad_loops::BufferDecl { name: name.to_owned(), ..decl.clone() });
        if let kilngrad_loops::Stmt::Store { buffer, .. } = &mut kernel.body[1] {
            *buffer = kilngrad_loops::Buffer(at as u32 + 1);
        }
        let text = kernel.to_string();
        assert!(text.is_ascii(), "{text}");
        assert_eq!(parse_kernel(&text).unwrap(), kernel, "{text}");
    }
}

#[test]
fn programs_round_trip() {
    let text = "\
program @\"the step\" arena=4096 externals=3 {
  buffer x: f32[8] external 0 readonly
  buffer h: f32[8] arena 64
  buffer h: f32[8] external 2
  kernel @copy chunks=1 {
    buffer a: f32[8] read
    buffer b: f32[8] write
    %0: f32 = load a[7]
    store b[0] = %0
  }
  kernel @nothing chunks=3 {
  }
  call copy(x, #1)
  call nothing()
  call copy(#1, #2)
}
";
    let program = parse_program(text).unwrap();
    assert_eq!(program.to_string(), text);
    assert_eq!(parse_program(&program.to_string()).unwrap(), program);
}

#[test]
fn blocks_round_trip() {
    let text = "\
program @blocks arena=64 externals=1 {
  buffer c: u8[1] external 0
  buffer \"the other\": u8[1] arena 0
  kernel @k chunks=1 {
  }
  while {
    call k()
    while {
    } test #1 {
      call k()
    }
  } test c {
    repeat 3 {
      branch c {
        call k()
      } else {
        branch #1 {
        } else {
          call k()
        }
        call k()
      }
    }
    branch c {
    }
  }
  gate (c)
  branch #1 {
    call k()
  }
}
";
    let program = parse_program(text).unwrap();
    assert_eq!(program.to_string(), text);
    assert_eq!(program.calls().len(), 6);
    // An empty `else` is none.
    let braces =
        "program @p arena=0 externals=1 { buffer c: u8[1] external 0 branch c { } else { } }";
    let program = parse_program(braces).unwrap();
    assert_eq!(parse_program(&program.to_string()).unwrap(), program);
    for (items, expected) in [
        ("branch { }", "expected a name, found `{`"),
        ("branch d { }", "expected a buffer, found no \"d\""),
        ("branch #1 { }", "expected one of 1 positions, found 1"),
        ("branch c call", "expected `{`, found `call`"),
        ("else { }", "expected `}`, found `else`"),
        ("branch c { } else branch c { }", "expected `{`, found `branch`"),
        ("while { } { }", "expected `test`, found `{`"),
        ("while { } test { }", "expected a name, found `{`"),
        ("while { } test c }", "expected `{`, found `}`"),
        ("while { gate (c) } test c { }", "expected `}`, found `gate`"),
    ] {
        let text =
            format!("program @p arena=0 externals=1 {{ buffer c: u8[1] external 0 {items} }}");
        assert_eq!(parse_program(&text).unwrap_err().problem(), expected, "{items}");
    }
}

/// Expects the error of a kernel's text, as `line:column: problem`.
fn refuse(text: &str, expected: &str) {
    assert_eq!(parse_kernel(text).unwrap_err().to_string(), expected, "{text}");
}

#[test]
fn errors_name_line_and_column() {
    for (text, expected) in [
        ("", "1:1: expected `kernel`, found the end of the text"),
        ("kernel k", "1:8: expected `@`, found `k`"),
        ("kernel @k chunks=-1 {}", "1:19: expected a count, found `1`"),
        ("kernel @k chunks=1 {} x", "1:23: expected the end of the text, found `x`"),
        (
            "kernel @k chunks=1 {\n  buffer a: f16[1] read\n}",
            "2:13: expected a scalar type, found `f16`",
        ),
        (
            "kernel @k chunks=1 {\n  %0: f32 = sine %1\n}",
            "2:13: expected an instruction, found `sine`",
        ),
        (
            "kernel @k chunks=1 {\n  %0: f32 = load a[0]\n}",
            "2:18: expected a buffer, found no \"a\"",
        ),
        (
            "kernel @k chunks=1 {\n  %0: f32 = load #1[0]\n}",
            "2:18: expected one of 0 positions, found 1",
        ),
        (
            "kernel @k chunks=1 {\n  %1: u8 = const 1\n}",
            "1:8: expected a definition of every register, found none of %0",
        ),
        (
            "kernel @k chunks=1 {\n  unused %0: u8\n  %0: u8 = const 1\n}",
            "3:3: expected one definition of %0, found another",
        ),
        ("kernel @k chunks=1 { for i1 in 1..2 {} }", "1:32: expected a loop that begins at 0"),
        (
            "kernel @k chunks=1 { for i01 in 0..2 {} }",
            "1:26: expected a loop variable, found `i01`",
        ),
        ("kernel @k chunks=1 { ? }", "1:22: expected a token, found `?`"),
        (
            "kernel @\"é\\q\" chunks=1 {}",
            "1:9: expected an escape of n, r, t, quotes or u{…} in a string",
        ),
        ("kernel @\"a", "1:9: expected a closing quote in a string"),
        ("kernel @k chunks=99999999999999999999 {}", "1:18: expected a number of at most 64 bits"),
        (
            "kernel @k chunks=1 { %0: i64 = index 9223372036854775807*i0 + i0 }",
            "1:38: expected factors that fit i64, found 9223372036854775808",
        ),
        (
            "kernel @k chunks=1 { buffer a: u8[1] read buffer a: u8[1] read %0: u8 = load a[0] }",
            "1:78: expected a buffer, found a name that several have",
        ),
    ] {
        refuse(text, expected);
    }
}

#[test]
fn nesting_is_bounded() {
    let nest = |depth: usize| {
        let open: String = (1..=depth).map(|i| format!("for i{i} in 0..2 {{ ")).collect();
        format!("kernel @k chunks=1 {{ {open}{} }}", "}".repeat(depth))
    };
    let deepest = kilngrad_loops::MAX_NESTING;
    parse_kernel(&nest(deepest)).unwrap();
    for depth in [deepest + 1, 100_000] {
        let error = parse_kernel(&nest(depth)).unwrap_err();
        assert_eq!(error.problem(), format!("expected at most {deepest} nested loops"));
    }
}

#[test]
fn numbers_in_a_text_do_not_allocate() {
    let text = "kernel @k chunks=18446744073709551615 {
      buffer a: f64[18446744073709551615] scratch
      for i4294967295 in 0..18446744073709551615 { store a[i4294967295] = %4294967295 }
    }";
    let kernel = parse_kernel(text).unwrap();
    kilngrad_loops::verify_kernel(&kernel).unwrap_err();
    assert_eq!(parse_kernel(&kernel.to_string()).unwrap(), kernel);
}
