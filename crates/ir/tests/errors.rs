//! What is wrong with a text, and how that is shown.

use kilngrad_ir::text::{Limits, MAX_ERRORS, ParseOptions, no_arrays, parse};
use kilngrad_ir::{Program, Source};

/// What parsing `text` says; it must go wrong.
fn render(text: &str, options: &ParseOptions<'_>) -> String {
    match parse(text, options, &mut no_arrays) {
        Ok(program) => panic!("expected errors, found\n{program}"),
        Err(errors) => errors.render(&Source { file: options.file, text }),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let rendered = render(text, &ParseOptions::new("model.kg"));
    assert_eq!(rendered, expected.trim_matches('\n'), "\n{rendered}\n");
}

/// The same for the statements of an entry over `%x: f32[n,8]` and `%w: f32[9,16]`.
#[track_caller]
fn check_body(body: &str, expected: &str) {
    check(
        &format!("{HEADER}entry @run(%x: f32[n,8], %w: f32[9,16]) eval {{\n{body}\n}}\n"),
        expected,
    );
}

const HEADER: &str = "kilngrad 1\nprogram \"p\"\n";

/// Of no elements nothing can be picked; by no indices nothing is. That there are none must be
/// known, as it is once symbols are bound.
#[test]
fn nothing_is_picked_along_an_empty_axis() {
    let text = |indices: &str, op: &str| {
        let arguments = format!("%x: f32[0,4], %i: i64[{indices}], %y: f32[{indices},4]");
        format!("{HEADER}entry @run({arguments}) eval {{\n  {op}\n}}\n")
    };
    let gather = |indices: &str| format!("%0: f32[{indices},4] = gather %x, %i axis=0");
    let scatter = |_: &str| "%0: f32[0,4] = scatter_add %x, %i, %y axis=0".to_owned();
    let options = ParseOptions::new("model.kg");
    for (rule, op) in [("gather_c3", &gather as &dyn Fn(&str) -> String), ("scatter_c3", &scatter)]
    {
        for indices in ["1", "3", "m"] {
            let rendered = render(&text(indices, &op(indices)), &options);
            let expected = format!(
                "error[{rule}]: expected a non-empty axis or no indices, found axis 0 of f32[0,4]"
            );
            assert!(rendered.starts_with(&expected), "{rendered}");
        }
        assert!(parse(&text("0", &op("0")), &options, &mut no_arrays).is_ok(), "{rule}");
    }
}

#[test]
fn a_broken_type_rule_shows_the_operands() {
    check_body(
        "  %4: f32[n,16] = dot %x, %w contract=[1]x[0]  @src/mlp.rs:14:20",
        r"
error[dot_c5]: expected contracted axes of equal length, found axis 1 of f32[n,8] and axis 0 of f32[9,16]
  --> model.kg:4:19
   |
 4 |   %4: f32[n,16] = dot %x, %w contract=[1]x[0]  @src/mlp.rs:14:20
   |                   ^^^
   = operand %x is f32[n,8], from model.kg:3:12
   = operand %w is f32[9,16], from model.kg:3:26
",
    );
    check_body(
        "  %4: f32[n,9] = relu %x",
        r"
error[type_c1]: expected result type f32[n,8], found f32[n,9]
  --> model.kg:4:18
   |
 4 |   %4: f32[n,9] = relu %x
   |                  ^^^^
   = operand %x is f32[n,8], from model.kg:3:12
",
    );
    check_body(
        "  %0: f32[n,8], %1: f32[n,8] = kernel @k(%0 = %x) map {\n    yield %0\n  }",
        r"
error[graph_v3]: expected results of types f32[n,8] from kernel
  --> model.kg:4:32
   |
 4 |   %0: f32[n,8], %1: f32[n,8] = kernel @k(%0 = %x) map {
   |                                ^^^^^^
   = operand %x is f32[n,8], from model.kg:3:12
",
    );
}

/// Each rule of `custom_gradient` with the text that breaks it.
#[test]
fn custom_gradients() {
    let of = |head: &str, results: &str| {
        let cotangent = "    %1: f32[] = constant 1.0\n    %2: i64[] = constant 1";
        format!("  %0: f32[n,8] = custom_gradient{head} {{\n{cotangent}\n{results}  }}\n")
    };
    let rule = |body: &str, expected: &str| {
        let text = format!(
            "kilngrad 1\nprogram \"p\"\nentry @e(%x: f32[n,8], %k: i64[n,8]) eval {{\n{body}}}\n"
        );
        let errors = Program::parse(&text, &Limits::default());
        let found = errors.as_ref().map_or_else(|errors| errors.diagnostics()[0].rule, |_| "none");
        assert_eq!(found, expected, "{text}\n{errors:?}");
    };
    let fine = "(%d of %v = %x) wrt (%a = %x)";
    rule(&of(fine, "    yield %d\n"), "none");
    rule(&of(&format!("{fine} with (%r = %k)"), "    yield %a\n"), "none");
    rule(&of("() wrt (%a = %x)", "    yield %a\n"), "custom_gradient_c1");
    rule(&of(fine, ""), "custom_gradient_c1");
    rule(&of(fine, "    yield %d, %d\n"), "custom_gradient_c1");
    rule(&of("(%d of %v = %x) wrt (%a = %k)", "    yield %a\n"), "custom_gradient_c2");
    rule(&of("(%d of %v = %k) wrt (%a = %x)", "    yield %a\n"), "custom_gradient_c2");
    rule(&of(fine, "    yield %1\n"), "custom_gradient_c4");
    rule(&of(fine, "    yield %2\n"), "custom_gradient_c4");
    rule(&of("(%d of %v = %x) wrt (%d = %x)", "    yield %d\n"), "graph_v1");
    rule(&of("(%d = %x) wrt (%a = %x)", "    yield %d\n"), "text_t1");
    rule(&of("(%d of %v = %x)", "    yield %d\n"), "text_t1");
    rule(&of(fine, "    %3: f32[n,8] = gradient %1 wrt (%d)\n    yield %3\n"), "graph_v6");
    rule(&of("(%d of %v = %x) wrt (%a = %x)", "    yield %x\n"), "graph_v2");
}

#[test]
fn one_mistake_is_one_error_and_the_next_line_is_read() {
    check_body(
        "  %0: f32[n,8] = rely %x
  %1: f32[n,8] = relu %0
  %2: f33[n,8] = relu %1
  %3: f32[n,8] = relu %2
  %4: f32[n,8] = add %3, %nothing
  return y = %4, z = %5",
        r"
error[text_t1]: expected an operation, found `rely`
  --> model.kg:4:18
   |
 4 |   %0: f32[n,8] = rely %x
   |                  ^^^^

error[text_t1]: expected a dtype (f32, f64, i32, i64, u8, bool), found `f33`
  --> model.kg:6:7
   |
 6 |   %2: f33[n,8] = relu %1
   |       ^^^

error[graph_v2]: expected a value that is defined before its use, found %nothing
  --> model.kg:8:26
   |
 8 |   %4: f32[n,8] = add %3, %nothing
   |                          ^^^^^^^^

error[graph_v2]: expected a value that is defined before its use, found %5
  --> model.kg:9:22
   |
 9 |   return y = %4, z = %5
   |                      ^^
",
    );
}

/// The uses of a value whose type could not be read are not reported.
#[test]
fn what_follows_from_an_error_is_not_reported() {
    let rendered = render(
        &format!("{HEADER}entry @e() eval {{\n  %0: f32[ = constant 0.0\n  return x = %0\n}}\n"),
        &ParseOptions::new("model.kg"),
    );
    assert_eq!(rendered.matches("error[").count(), 1, "{rendered}");
    // A header that cannot be read takes its region along.
    let rendered = render(
        &format!(
            "{HEADER}entry @e(%x: f32[]) eval {{
  %0: f32[] = kernel @k(%0 = %x) mop {{
    %1: f32[] = kernel @inner(%0 = %0) map {{
      yield %0
    }}
    yield %1
  }}
  return x = %0
}}
entry @f(%x: f32[]) eval {{
  return x = %y
}}
"
        ),
        &ParseOptions::new("model.kg"),
    );
    assert_eq!(
        rendered,
        "error[text_t1]: expected `map`, `reduce`, `contraction` or `indexed`, found `mop`
  --> model.kg:4:34
   |
 4 |   %0: f32[] = kernel @k(%0 = %x) mop {
   |                                  ^^^

error[graph_v2]: expected a value that is defined before its use, found %y
  --> model.kg:13:14
   |
13 |   return x = %y
   |              ^^"
    );
}

#[test]
fn structure() {
    check(
        "",
        r"
error[text_t1]: expected `kilngrad` and a version, found the end of the text
  --> model.kg:1:1
",
    );
    check(
        "kilngrad 2\nwhatever this is",
        r"
error[text_t2]: expected version 1 of the text form, found 2
  --> model.kg:1:10
   |
 1 | kilngrad 2
   |          ^
",
    );
    check(
        "kilngrad 1\nprogram digits\n",
        r"
error[text_t1]: expected the program's name in quotes, found `digits`
  --> model.kg:2:9
   |
 2 | program digits
   |         ^^^^^^
",
    );
    // A brace that is missing is found where the next entry begins.
    check(
        "kilngrad 1\nprogram \"p\"\nentry @a() eval {\n\nentry @b() eval {\n}\n",
        r"
error[text_t1]: expected `}`, found `entry`
  --> model.kg:5:1
   |
 5 | entry @b() eval {
   | ^^^^^
",
    );
    check_body(
        "  return x = %x\n  return x = %x",
        r"
error[text_t1]: expected `}` after `return`, found `return`
  --> model.kg:5:3
   |
 5 |   return x = %x
   |   ^^^^^^
",
    );
    check_body(
        "  %0: f32[n,8] =\n  return x = %x %w",
        r"
error[text_t1]: expected an operation, found the end of the line
  --> model.kg:4:17
   |
 4 |   %0: f32[n,8] =
   |                 ^

error[text_t1]: expected the end of the line, found `%w`
  --> model.kg:5:17
   |
 5 |   return x = %x %w
   |                 ^^
",
    );
}

/// Lines go on within brackets, and a bracket that is not closed ends where a statement begins.
#[test]
fn brackets() {
    check_body(
        "  %0: i32[3] = constant [1,
    2,
    x]
  %1: i32[2] = constant [1, 2
  %2: i32[2] = constant [1, 2]
  return y = %z",
        r"
error[text_t1]: expected a whole number, found `x`
  --> model.kg:6:5
   |
 6 |     x]
   |     ^

error[text_t1]: expected `,` or `]`, found `%2`
  --> model.kg:8:3
   |
 8 |   %2: i32[2] = constant [1, 2]
   |   ^^

error[graph_v2]: expected a value that is defined before its use, found %z
  --> model.kg:9:14
   |
 9 |   return y = %z
   |              ^^
",
    );
}

#[test]
fn names() {
    check_body(
        "  %x: f32[n,8] = relu %x\n  %1a: f32[n,8] = relu %x\n  %4294967295: f32[n,8] = relu %x",
        r"
error[graph_v1]: expected unique names, found %x twice
  --> model.kg:4:3
   |
 4 |   %x: f32[n,8] = relu %x
   |   ^^
   = %x is defined first, from model.kg:3:12

error[text_t1]: expected a name of a value: `%` with a word or a number below 2³¹, found `%1a`
  --> model.kg:5:3
   |
 5 |   %1a: f32[n,8] = relu %x
   |   ^^^

error[text_t1]: expected a name of a value: `%` with a word or a number below 2³¹, found `%4294967295`
  --> model.kg:6:3
   |
 6 |   %4294967295: f32[n,8] = relu %x
   |   ^^^^^^^^^^^
",
    );
    // Names are escaped wherever they are shown: here an escape of terminals and a change of the
    // writing direction.
    check_body(
        "  %0: f32[] = state \"\u{1b}[31m\u{202e}\"\n  %1: \u{202e}",
        "
error[graph_v5]: expected a state of the program, found \"\\u{1b}[31m\\u{202e}\"
  --> model.kg:4:21
   |
 4 |   %0: f32[] = state \"\\u{1b}[31m\\u{202e}\"
   |                     ^^^^^^^^^^^^^^^^^^^^

error[text_t1]: expected a dtype (f32, f64, i32, i64, u8, bool), found `\\u{202e}`
  --> model.kg:5:7
   |
 5 |   %1: \\u{202e}
   |       ^^^^^^^^
",
    );
}

#[test]
fn numbers() {
    check_body(
        "  %0: u8[2] = constant [255, 256]
  %1: i32[] = constant 1.5
  %2: f32[] = constant 1e39
  %3: f32[] = constant nan(0x7f800000)
  %4: bool[] = constant 1
  %5: f32[99999999999999999999] = constant 0.0
  %6: f32[-1] = constant 0.0
  %7: f32[2305843009213693952] = constant 0.0
  %8: f32[9223372036854775807*n + 9223372036854775807*n] = constant 0.0
  %9: f64[] = constant -nan
  %10: i32[] = dimension n*9223372036854775807*2",
        r"
error[text_t4]: expected a number of dtype u8, found `256`
  --> model.kg:4:30
   |
 4 |   %0: u8[2] = constant [255, 256]
   |                              ^^^

error[text_t4]: expected a number of dtype i32, found `1.5`
  --> model.kg:5:24
   |
 5 |   %1: i32[] = constant 1.5
   |                        ^^^

error[text_t4]: expected a number of dtype f32, found `1e39`
  --> model.kg:6:24
   |
 6 |   %2: f32[] = constant 1e39
   |                        ^^^^

error[text_t4]: expected the bits of a NaN of dtype f32, found `0x7f800000`
  --> model.kg:7:28
   |
 7 |   %3: f32[] = constant nan(0x7f800000)
   |                            ^^^^^^^^^^

error[text_t1]: expected `true` or `false`, found `1`
  --> model.kg:8:25
   |
 8 |   %4: bool[] = constant 1
   |                         ^

error[text_t1]: expected a length, a whole number that fits 64 bits, found `99999999999999999999`
  --> model.kg:9:11
   |
 9 |   %5: f32[99999999999999999999] = constant 0.0
   |           ^^^^^^^^^^^^^^^^^^^^

error[graph_v4]: expected a size that fits memory, found f32[-1]
  --> model.kg:10:7
   |
10 |   %6: f32[-1] = constant 0.0
   |       ^^^^^^^

error[graph_v4]: expected a size that fits memory, found f32[2305843009213693952]
  --> model.kg:11:7
   |
11 |   %7: f32[2305843009213693952] = constant 0.0
   |       ^^^^^^^^^^^^^^^^^^^^^^^^

error[text_t4]: expected coefficients that fit 64 bits, found `9223372036854775807*n + 9223372036854775…`
  --> model.kg:12:11
   |
12 |   %8: f32[9223372036854775807*n + 9223372036854775807*n] = constant 0.0
   |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error[text_t1]: expected a number, `inf` or `nan`, found `nan`
  --> model.kg:13:25
   |
13 |   %9: f64[] = constant -nan
   |                         ^^^

error[text_t4]: expected coefficients that fit 64 bits, found `n*9223372036854775807*2`
  --> model.kg:14:26
   |
14 |   %10: i32[] = dimension n*9223372036854775807*2
   |                          ^^^^^^^^^^^^^^^^^^^^^^^
",
    );
}

/// Rules about the whole program are the verifier's; they too are found in the text.
#[test]
fn rules_of_the_verifier_are_located() {
    check(
        "kilngrad 1\nprogram \"p\"\nstate \"a\": f32[] = 0.0 buffer\nstate \"a\": f32[] = 0.0 buffer\n",
        r#"
error[program_v1]: expected unique paths, found "a" twice
  --> model.kg:4:7
   |
 4 | state "a": f32[] = 0.0 buffer
   |       ^^^
"#,
    );
    check(
        "kilngrad 1\nprogram \"p\"\nstate \"a\": i32[2] = uniform(0.0, 1.0, stream=1) buffer\n",
        r#"
error[program_v3]: expected an initialiser for i32[2] of "a"
  --> model.kg:3:7
   |
 3 | state "a": i32[2] = uniform(0.0, 1.0, stream=1) buffer
   |       ^^^
"#,
    );
    check(
        "kilngrad 1\nprogram \"p\"\nentry @a() eval {\n}\nentry @a() eval {\n}\n",
        r#"
error[program_v4]: expected a word that names no other entry, found "a"
  --> model.kg:5:8
   |
 5 | entry @a() eval {
   |        ^
"#,
    );
    check(
        "kilngrad 1\nprogram \"p\"\nentry @a(%0: f32[]) eval {\n}\n",
        r"
error[entry_v1]: expected an argument that is called by a word, found %0
  --> model.kg:3:10
   |
 3 | entry @a(%0: f32[]) eval {
   |          ^^
",
    );
    check(
        "kilngrad 1\nprogram \"p\"\nstate \"a\": f32[] = 0.0 buffer\nentry @e(%x: f32[2]) eval {\n  update \"a\" := %x\n}\n",
        r#"
error[entry_v4]: expected an update of "a" of type f32[]
  --> model.kg:4:10
   |
 4 | entry @e(%x: f32[2]) eval {
   |          ^^
"#,
    );
    check(
        "kilngrad 1\nprogram \"p\"\nentry @e(%x: f32[2]) eval {\n  return a = %x, a = %x\n}\n",
        r#"
error[entry_v2]: expected a unique name for each output, found ["a", "a"]
  --> model.kg:3:8
   |
 3 | entry @e(%x: f32[2]) eval {
   |        ^
"#,
    );
    check(
        "kilngrad 1\nprogram \"p\"\nstate \"a\": f32[] = 0.0 buffer\nentry @e(%x: f32[]) eval {\n  %0: f32[] = kernel @k(%0 = %x) map {\n    %1: f32[] = state \"a\"\n    yield %1\n  }\n}\n",
        r#"
error[graph_v6]: expected a region without states and gradient requests
  --> model.kg:6:17
   |
 6 |     %1: f32[] = state "a"
   |                 ^^^^^
"#,
    );
    check(
        "kilngrad 1\nprogram \"p\"\nstate \"a\": f32[2] = 0.0 buffer\nentry @e() eval {\n  %0: f32[] = state \"a\"\n}\n",
        r#"
error[graph_v5]: expected f32[2] of "a", found f32[]
  --> model.kg:5:3
   |
 5 |   %0: f32[] = state "a"
   |   ^^
"#,
    );
}

#[test]
fn errors_end_after_some() {
    let lines = "  %0: f33[] = constant 0.0\n".repeat(1000);
    let text = format!("{HEADER}entry @e() eval {{\n{lines}}}\n");
    let errors = parse(&text, &ParseOptions::new("model.kg"), &mut no_arrays);
    assert_eq!(errors.map_err(|errors| errors.diagnostics().len()), Err(MAX_ERRORS));
}

#[test]
fn limits_are_kept() {
    let check = |text: &str, limits: Limits, expected: &str| {
        let options = ParseOptions { limits, ..ParseOptions::new("model.kg") };
        let rendered = render(&format!("{HEADER}{text}"), &options);
        assert_eq!(rendered.lines().next(), Some(expected), "{rendered}");
    };
    let default = Limits::default();
    check(
        "",
        Limits { bytes: 10, ..default },
        "error[text_t3]: expected a text of at most 10 bytes, found 23",
    );
    let array = "entry @e() eval {\n  %0: u8[3] = constant [1, 2, 3]\n}\n";
    check(
        array,
        Limits { elements: 2, ..default },
        "error[text_t3]: expected arrays of at most 2 elements together",
    );
    check(
        "state \"a\": f32[1000000,1000000] = uniform(0.0, 1.0, stream=0x1) parameter\n",
        default,
        "error[text_t3]: expected arrays of at most 268435456 elements together",
    );
    let values =
        "state \"a\": f32[] = 0.0 buffer\nentry @e(%x: f32[]) eval {\n  %0: f32[] = neg %x\n}\n";
    check(
        values,
        Limits { values: 2, ..default },
        "error[text_t3]: expected at most 2 values and states",
    );
    let nested = "entry @e(%x: f32[]) eval {\n  %0: f32[] = kernel @k(%0 = %x) map {\n    yield %0\n  }\n}\n";
    check(
        nested,
        Limits { nesting: 0, ..default },
        "error[text_t3]: expected regions at most 0 deep",
    );
}
