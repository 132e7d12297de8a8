//! The checker of memory plans: plans that hold, and each rule broken once.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use kilngrad_ir::text::{Limits, ParseOptions, no_arrays, parse};
use kilngrad_ir::{Place, Program, Value};
use kilngrad_passes::check::{CheckError, check};

const STATES: &str = r#"kilngrad 1
program "p"

state "w": f32[32] = 0.0 parameter
state "v": f32[32] = 0.0 optimizer
"#;

/// A program with one entry behind the states `w` and `v`.
fn program(entry: &str) -> Program {
    let text = format!("{STATES}\n{entry}");
    Program::parse(&text, &Limits::default()).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn checked(entry: &str) -> Result<(), CheckError> {
    let program = program(entry);
    check(&program, &program.entries[0])
}

#[track_caller]
fn holds(entry: &str) {
    if let Err(error) = checked(entry) {
        panic!("expected a plan that holds, found {error}");
    }
}

/// The plan breaks `rule`, and the message holds `part`.
#[track_caller]
fn breaks(entry: &str, rule: &str, part: &str) {
    let error = checked(entry).expect_err(&format!("expected {rule} to be broken"));
    assert!(error.rule == rule && error.message.contains(part), "found {error}");
}

/// Text with one part of it replaced, which must be there once.
#[track_caller]
fn with(text: &str, part: &str, replacement: &str) -> String {
    assert_eq!(text.matches(part).count(), 1, "{part} in\n{text}");
    text.replace(part, replacement)
}

/// Everything that a plan may do at once: a constant, views, memory used again, a result in place of
/// an operand, an update in place of the old value and one that is written after its last read.
const STEP: &str = r#"entry @step(%x: f32[4,8] at argument 0) train arena=384 bound=384 {
  %w: f32[32] at state "w" = state "w"
  %v: f32[32] at state "v" = state "v"
  %c: f32[3] at constants+64 = constant [1.0, 2.0, 3.0]
  %d: i64[1] at constants+80 = constant [7]
  %m: f32[4,8] at state "w" = reshape %w
  %0: f32[4,8] at arena+0, %1: f32[4,8] at arena+128 = kernel @k0(%0 = %x, %1 = %m) map {
    %2: f32[4,8] = add %0, %1
    %3: f32[4,8] = mul %0, %1
    yield %2, %3
  }
  %2: f32[4] at arena+256 = kernel @k1(%0 = %0) reduce {
    %1: f32[4] = reduce_sum %0 axes=[1]
    yield %1
  }
  %3: f32[4,8] at arena+128 = kernel @k2(%0 = %1, %1 = %2) map {
    %2: f32[4,8] = broadcast %1 dims=[0]
    %3: f32[4,8] = div %0, %2
    yield %3
  }
  %4: f32[32] at arena+128 = reshape %3
  %5: f32[32] at state "w", %6: f32[32] at arena+256 = kernel @k3(%0 = %w, %1 = %4, %2 = %v) map {
    %3: f32[32] = sub %0, %1
    %4: f32[32] = mul %1, %2
    yield %3, %4
  }
  %7: f32[32] at state "v" = kernel @k4(%0 = %6) map {
    yield %0
  }
  %8: f32[8,4] at output 0 = kernel @k5(%0 = %0) map {
    %1: f32[8,4] = transpose %0 permutation=[1,0]
    yield %1
  }
  %9: f32[32] at output 0 = reshape %8
  %10: f32[1] at output 1 = kernel @k6(%0 = %c, %1 = %5) map {
    %2: f32[1] = slice %0 ranges=[1:2]
    %3: f32[1] = slice %1 ranges=[0:1]
    %4: f32[1] = add %2, %3
    yield %4
  }
  update "w" := %5
  update "v" := %7
  return y = %9, z = %10
}
"#;

/// `STEP` with one part of it replaced breaks a rule.
#[track_caller]
fn step_breaks(part: &str, replacement: &str, rule: &str, message: &str) {
    breaks(&with(STEP, part, replacement), rule, message);
}

#[test]
fn a_plan_that_uses_every_liberty_holds() {
    holds(STEP);
}

#[test]
fn c1_planned() {
    step_breaks(" arena=384 bound=384", "", "plan_c1", "expected a plan, found none");
    let place = "%8: f32[8,4] at output 0";
    step_breaks(place, "%8: f32[8,4]", "plan_c1", "expected a place, found none");
    let symbolic = "entry @run(%x: f32[n] at argument 0) eval arena=0 bound=0 {\n}\n";
    breaks(symbolic, "plan_c1", "expected a size without symbols, found f32[n]");
}

#[test]
fn c2_kernels_and_views_only() {
    let bare = "entry @run(%x: f32[4] at argument 0) eval arena=0 bound=0 {
  %0: f32[4] at output 0 = relu %x
  return y = %0
}
";
    breaks(bare, "plan_c2", "found relu");
    let elements = "constant [1.0, 2.0, 3.0]";
    step_breaks(elements, "constant 1.0", "plan_c2", "found constant");
}

#[test]
fn c3_arguments() {
    let place = "%x: f32[4,8] at argument 0";
    let message = "expected an argument at argument 0, found";
    step_breaks(place, "%x: f32[4,8] at argument 1", "plan_c3", message);
    step_breaks(place, "%x: f32[4,8] at arena+0", "plan_c3", message);
}

#[test]
fn c4_states() {
    let place = "%w: f32[32] at state \"w\"";
    let message = "expected a read state at state \"w\", found";
    step_breaks(place, "%w: f32[32] at state \"v\"", "plan_c4", message);
    step_breaks(place, "%w: f32[32] at arena+0", "plan_c4", message);
}

#[test]
fn c5_constants() {
    let place = "constants+80";
    step_breaks(place, "arena+0", "plan_c5", "expected a place among the constants");
    step_breaks(place, "constants+84", "plan_c5", "expected an offset that 8 divides, found 84");
    step_breaks(place, "constants+72", "plan_c5", "found two that overlap");
    step_breaks(place, "constants+64", "plan_c5", "found two that overlap");
    holds(&with(STEP, place, "constants+56"));
    step_breaks(place, "constants+18446744073709551608", "plan_c5", "expected an offset");
}

#[test]
fn c6_views() {
    let message = "expected a view at arena+128, found";
    let place = "%4: f32[32] at arena+128";
    step_breaks(place, "%4: f32[32] at arena+192", "plan_c6", message);
    step_breaks(place, "%4: f32[32] at output 0", "plan_c6", message);
}

#[test]
fn c7_read_only_places() {
    let place = "%0: f32[4,8] at arena+0";
    let message = "expected a result where writing is allowed, found";
    step_breaks(place, "%0: f32[4,8] at argument 0", "plan_c7", message);
    step_breaks(place, "%0: f32[4,8] at constants+128", "plan_c7", message);
}

#[test]
fn c8_the_arena() {
    let place = "%6: f32[32] at arena+256";
    let small = "%2: f32[4] at arena+256";
    step_breaks(small, "%2: f32[4] at arena+260", "plan_c8", "found arena+260");
    step_breaks(place, "%6: f32[32] at arena+320", "plan_c8", "128 bytes within the arena's 384");
    step_breaks(place, "%6: f32[32] at arena+18446744073709551552", "plan_c8", "within the arena");
    step_breaks("arena=384 bound=384", "arena=383 bound=383", "plan_c8", "the arena's 383");
    holds(&with(STEP, "arena=384 bound=384", "arena=384 bound=0"));
}

#[test]
fn c9_operands_are_in_memory() {
    // `%0` is read again by @k5.
    let place = "%6: f32[32] at arena+256";
    let message = "found %0 under %6 when %8 is computed from it";
    step_breaks(place, "%6: f32[32] at arena+0", "plan_c9", message);
    // Over a part of `%1`, which the next kernel reads.
    let place = "%2: f32[4] at arena+256";
    step_breaks(place, "%2: f32[4] at arena+192", "plan_c9", "found %1 under %2");
}

#[test]
fn c9_an_operand_that_is_written_over_in_place_is_gone() {
    let text = with(STEP, "@k4(%0 = %6)", "@k4(%0 = %4)");
    holds(&text);
    let gone = with(&text, "%6: f32[32] at arena+256", "%6: f32[32] at arena+128");
    breaks(&gone, "plan_c9", "found %4 under %6 when %7 is computed from it");
    // Through the view's operand it is the same bytes.
    let viewed = with(
        &gone,
        "@k4(%0 = %4) map {\n    yield %0",
        "@k4(%0 = %3, %1 = %9) map {\n    yield %1",
    );
    let viewed = with(
        &viewed,
        "  %7: f32[32] at",
        "  %9: f32[32] at arena+128 = reshape %3\n  %7: f32[32] at",
    );
    let viewed = with(
        &viewed,
        "%9: f32[32] at output 0 = reshape %8",
        "%11: f32[32] at output 0 = reshape %8",
    );
    let viewed = with(&viewed, "y = %9", "y = %11");
    breaks(&viewed, "plan_c9", "found %3 under %6 when %7 is computed from it");
}

#[test]
fn c10_results_of_one_kernel() {
    let message = "expected results in bytes of their own, found two that overlap";
    let place = "%1: f32[4,8] at arena+128";
    step_breaks(place, "%1: f32[4,8] at arena+0", "plan_c10", message);
    step_breaks(place, "%1: f32[4,8] at arena+64", "plan_c10", message);
}

/// A kernel of one result over operands that lie in the arena one after the other, 256 bytes each.
fn over(types: &[&str], kernel: &str, result: &str) -> String {
    let mut text = format!("entry @run() eval arena={} bound=0 {{\n", 256 * types.len());
    for (number, ty) in types.iter().enumerate() {
        let body = if ty.starts_with("bool") { "true" } else { "1.0" };
        let body = if ty.starts_with('i') { "1" } else { body };
        let offset = 256 * number;
        writeln!(text, "  %{number}: {ty} at arena+{offset} = kernel @fill{number}() map {{")
            .unwrap();
        writeln!(text, "    %0: {ty} = constant {body}\n    yield %0\n  }}").unwrap();
    }
    writeln!(text, "  %r: {result} = kernel {kernel}\n}}").unwrap();
    text
}

#[test]
fn c10_in_place_by_elementwise_operations() {
    let add = "@k(%0 = %0, %1 = %1) map {
    %2: f32[4,8] = add %0, %1
    %3: f32[4,8] = tanh %2
    yield %3
  }";
    let types = ["f32[4,8]", "f32[4,8]"];
    holds(&over(&types, add, "f32[4,8] at arena+0"));
    holds(&over(&types, add, "f32[4,8] at arena+256"));
    breaks(
        &over(&types, add, "f32[4,8] at arena+64"),
        "plan_c10",
        "overlaps %0, which begins elsewhere",
    );
    // A part of each operand.
    let moved = over(&types, add, "f32[4,8] at arena+192");
    breaks(&moved, "plan_c10", "overlaps %1, which begins elsewhere");
    // Dtypes may differ, sizes may not.
    let cast = "@k(%0 = %0) map {
    %1: i32[4,8] = cast %0
    yield %1
  }";
    holds(&over(&["f32[4,8]"], cast, "i32[4,8] at arena+0"));
    let widened = over(&["f32[4,8]"], &cast.replace("i32", "f64"), "f64[4,8] at arena+0");
    breaks(&widened, "plan_c10", "whose elements have another size");
    let select = "@k(%0 = %0, %1 = %1) map {
    %2: f32[4,8] = select %0, %1, %1
    yield %2
  }";
    holds(&over(&["bool[4,8]", "f32[4,8]"], select, "f32[4,8] at arena+256"));
    let narrow = over(&["bool[4,8]", "f32[4,8]"], select, "f32[4,8] at arena+0");
    breaks(&narrow, "plan_c10", "whose elements have another size");
}

#[test]
fn c10_in_place_of_what_is_read_at_other_indices() {
    let other = "which is read by an operation that is not elementwise";
    let types = ["f32[4,4]"];
    // Elementwise first, and at its own index besides.
    let moved = "@k(%0 = %0) map {
    %1: f32[4,4] = exp %0
    %2: f32[4,4] = transpose %1 permutation=[1,0]
    %3: f32[4,4] = add %0, %2
    yield %3
  }";
    breaks(&over(&types, moved, "f32[4,4] at arena+0"), "plan_c10", other);
    let padded = "@k(%0 = %0) map {
    %1: f32[] = constant 0.0
    %2: f32[4,4] = pad %0, %1 amounts=[0:0, 0:0]
    yield %2
  }";
    breaks(&over(&types, padded, "f32[4,4] at arena+0"), "plan_c10", other);
    let joined = "@k(%0 = %0) map {
    %1: f32[8,4] = concat %0, %0 axis=0
    yield %1
  }";
    let joined = over(&types, joined, "f32[8,4] at arena+0");
    breaks(&joined, "plan_c10", "which has another shape");
    // One element for all.
    let spread = "@k(%0 = %0, %1 = %1) map {
    %2: f32[4,4] = broadcast %0 dims=[1]
    %3: f32[4,4] = mul %1, %2
    yield %3
  }";
    let spread = over(&["f32[4]", "f32[4,4]"], spread, "f32[4,4] at arena+0");
    breaks(&spread, "plan_c10", "overlaps %0, which has another shape");
    // The same bytes, read at two indices under two names.
    let twice = "@k(%0 = %0, %1 = %0) map {
    %2: f32[4,4] = transpose %1 permutation=[1,0]
    %3: f32[4,4] = add %0, %2
    yield %3
  }";
    breaks(&over(&types, twice, "f32[4,4] at arena+0"), "plan_c10", other);
}

#[test]
fn c10_in_place_of_a_view() {
    let text = |shape: &str| {
        format!(
            "entry @run() eval arena=128 bound=0 {{
  %0: f32[4,8] at arena+0 = kernel @k0() map {{
    %0: f32[4,8] = constant 1.0
    yield %0
  }}
  %1: f32[32] at arena+0 = reshape %0
  %r: {shape} at arena+0 = kernel @k1(%0 = %1) map {{
    %1: f32[32] = neg %0
    yield %1
  }}
}}
"
        )
    };
    holds(&text("f32[32]"));
    let both = with(
        &text("f32[32]"),
        "@k1(%0 = %1) map {\n    %1:",
        "@k1(%0 = %1, %2 = %0) map {\n    %1:",
    );
    breaks(&both, "plan_c10", "overlaps %0, which has another shape");
}

#[test]
fn c10_in_place_of_a_contraction_or_reduction() {
    let dot = "@k(%0 = %0, %1 = %1, %2 = %2) contraction {
    %3: f32[4,4] = dot %0, %1 contract=[1]x[0]
    %4: f32[4,4] = add %3, %2
    yield %4
  }";
    let types = ["f32[4,4]", "f32[4,4]", "f32[4,4]"];
    let other = "which is read by an operation that is not elementwise";
    holds(&over(&types, dot, "f32[4,4] at arena+512"));
    breaks(&over(&types, dot, "f32[4,4] at arena+0"), "plan_c10", other);
    breaks(&over(&types, dot, "f32[4,4] at arena+256"), "plan_c10", other);
    let softmax = "@k(%0 = %0, %1 = %1) reduce {
    %2: f32[4] = reduce_sum %0 axes=[1]
    %3: f32[4,4] = broadcast %2 dims=[0]
    %4: f32[4,4] = sub %1, %3
    yield %4
  }";
    let types = ["f32[4,4]", "f32[4,4]"];
    let reduction = "which a reduction reads more than once";
    breaks(&over(&types, softmax, "f32[4,4] at arena+0"), "plan_c10", reduction);
    breaks(&over(&types, softmax, "f32[4,4] at arena+256"), "plan_c10", reduction);
}

#[test]
fn c11_outputs() {
    let message = "expected %10 to be written to output 1, found %6";
    step_breaks("%6: f32[32] at arena+256", "%6: f32[32] at output 1", "plan_c11", message);
    let message = "expected no value to be written to output 2, found %6";
    step_breaks("%6: f32[32] at arena+256", "%6: f32[32] at output 2", "plan_c11", message);
    let place = "%10: f32[1] at output 1";
    let message = "expected an output at output 1, found arena+0";
    step_breaks(place, "%10: f32[1] at arena+0", "plan_c11", message);
    step_breaks("z = %10", "z = %9", "plan_c11", "expected %9 to be written to output 1");
    step_breaks("z = %10", "z = %c", "plan_c11", "expected %c to be written to output 1");
    step_breaks("y = %9", "y = %x", "plan_c11", "expected %x to be written to output 0");
}

#[test]
fn c11_what_no_kernel_writes_is_no_output() {
    let text = "entry @run(%x: f32[4] at argument 0) eval arena=0 bound=0 {
  return y = %x
}
";
    breaks(text, "plan_c11", "expected an output at output 0, found argument 0");
}

#[test]
fn c12_updates() {
    let place = "%7: f32[32] at state \"v\"";
    let message = "expected an update at state \"v\", found arena+128";
    step_breaks(place, "%7: f32[32] at arena+128", "plan_c12", message);
    let message = "expected %5 to be written to state \"w\", found %7";
    step_breaks(place, "%7: f32[32] at state \"w\"", "plan_c12", message);
    let message = "expected %7 to be written to state \"v\", found %6";
    step_breaks("%6: f32[32] at arena+256", "%6: f32[32] at state \"v\"", "plan_c12", message);
}

#[test]
fn c12_reads_of_the_old_value_come_first() {
    let read = "@k6(%0 = %c, %1 = %5)";
    let message = "found %w under %5 when %10 is computed from it";
    step_breaks(read, "@k6(%0 = %c, %1 = %w)", "plan_c12", message);
    // A read that stands behind the write is of the old value as well.
    let late = "  %late: f32[32] at state \"w\" = state \"w\"\n  %10: f32[1] at";
    let text = with(STEP, "  %10: f32[1] at", late);
    holds(&text);
    let text = with(&text, read, "@k6(%0 = %c, %1 = %late)");
    breaks(&text, "plan_c12", "found %late under %5 when %10 is computed from it");
}

#[test]
fn c12_old_values_in_place() {
    let text = |body: &str| {
        format!(
            "entry @run() train arena=0 bound=0 {{
  %w: f32[32] at state \"w\" = state \"w\"
  %v: f32[32] at state \"v\" = state \"v\"
  %0: f32[32] at state \"w\", %1: f32[32] at state \"v\" = kernel @k(%0 = %w, %1 = %v) map {{
{body}  }}
  update \"w\" := %0
  update \"v\" := %1
}}
"
        )
    };
    holds(&text("    yield %1, %0\n"));
    let reversed = "    %2: f32[] = constant 0.0
    %3: f32[31] = slice %0 ranges=[1:32]
    %4: f32[32] = pad %3, %2 amounts=[0:1]
    yield %1, %4
";
    breaks(&text(reversed), "plan_c10", "overlaps %w, which is read by an operation");
}

#[test]
fn c12_a_state_that_is_updated_by_itself_or_another() {
    let text = |update: &str| {
        format!(
            "entry @run() train arena=0 bound=0 {{
  %w: f32[32] at state \"w\" = state \"w\"
  update {update} := %w
}}
"
        )
    };
    holds(&text("\"w\""));
    let message = "expected an update at state \"v\", found state \"w\"";
    breaks(&text("\"v\""), "plan_c12", message);
}

#[test]
fn c13_states_without_updates() {
    let update = "  update \"v\" := %7\n";
    step_breaks(update, "", "plan_c13", "expected no writing to state \"v\", which has no update");
}

#[test]
fn c14_the_lower_bound() {
    let message = "expected a lower bound of at most the arena's 384 bytes, found 385";
    step_breaks("bound=384", "bound=385", "plan_c14", message);
}

#[test]
fn values_of_no_bytes_overlap_nothing() {
    let text = "entry @run(%x: f32[0,4] at argument 0) eval arena=64 bound=0 {
  %0: f32[2] at arena+0 = kernel @k0() map {
    %0: f32[2] = constant 1.0
    yield %0
  }
  %1: f32[0,4] at arena+64, %2: f32[0,4] at arena+0 = kernel @k1(%0 = %x, %1 = %0) map {
    yield %0, %0
  }
  %c: f32[0] at constants+0 = constant []
  %d: f32[1] at constants+0 = constant [1.0]
  %3: f32[2] at output 0 = kernel @k2(%0 = %0) map {
    yield %0
  }
  %4: f32[0,4] at output 1 = kernel @k3(%0 = %2, %1 = %1) map {
    yield %1
  }
  return y = %3, z = %4
}
";
    holds(text);
}

#[test]
fn errors_name_rule_values_entry_and_line() {
    let text = with(STEP, "%6: f32[32] at arena+256", "%6: f32[32] at arena+0");
    let text = with(
        &text,
        "permutation=[1,0]\n    yield %1\n  }",
        "permutation=[1,0]\n    yield %1\n  }  @src/mlp.rs:14:20",
    );
    assert_eq!(
        checked(&text).unwrap_err().to_string(),
        "expected an operand that is still in memory, found %0 under %6 when %8 is computed from it \
         (plan_c9) at %8, %0, %6 in entry step, built at src/mlp.rs:14:20"
    );
    let options = ParseOptions { sites: true, ..ParseOptions::new("model.kg") };
    let text = format!("{STATES}{}", with(STEP, "at constants+80", "at constants+84"));
    let program = parse(&text, &options, &mut no_arrays).unwrap();
    let error = check(&program, &program.entries[0]).unwrap_err();
    assert!(error.to_string().ends_with("at %d in entry step, built at model.kg:10:3"), "{error}");
}

/// Kernels in a row, each of two operands of which one is old, in memory that goes round.
fn chain(count: usize) -> Program {
    let mut text =
        format!("{STATES}entry @run(%x: f32[16] at argument 0) eval arena=4096 bound=0 {{\n");
    for number in 0..count {
        let (last, old) = (number.saturating_sub(1), number.saturating_sub(60));
        let place = format!("arena+{}", number % 64 * 64);
        writeln!(
            text,
            "  %{number}: f32[16] at {place} = kernel @k{number}(%0 = {}, %1 = {}) map {{
    %2: f32[16] = sub %0, %1
    yield %2
  }}",
            if number == 0 { "%x".to_owned() } else { format!("%{last}") },
            if number == 0 { "%x".to_owned() } else { format!("%{old}") },
        )
        .unwrap();
    }
    text.push_str("}\n");
    Program::parse(&text, &Limits::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_hundred_thousand_kernels_are_checked() {
    let mut program = chain(100_000);
    let start = std::time::Instant::now();
    assert_eq!(check(&program, &program.entries[0]), Ok(()));
    println!("100,000 kernels: {:?}", start.elapsed());
    // The last but one, over the operand of the last.
    let graph = &mut program.entries[0].graph;
    let writer = Value::from_index(99_999);
    graph.set_place(writer, Some(Place::Arena(99_939 % 64 * 64)));
    assert_eq!(check(&program, &program.entries[0]).unwrap_err().rule, "plan_c9");
}

/// A step whose update depends on nothing but the input, and a check of the input.
const CHECKED: &str = r#"entry @step(%x: f32[32] at argument 0) train arena=192 bound=192 {
  %w: f32[32] at state "w" = state "w"
  %0: bool[] at arena+0 = kernel @k0(%0 = %x) reduce {
    %1: f32[] = reduce_min %0 axes=[0]
    %2: f32[] = constant 0.0
    %3: bool[] = ge %1, %2
    yield %3
  }
  %1: f32[32] at arena+64 = kernel @k1(%0 = %x) map {
    %1: f32[32] = exp %0
    yield %1
  }
  %2: bool[] at output 0 = kernel @k2(%0 = %1) reduce {
    %1: f32[] = reduce_max %0 axes=[0]
    %2: f32[] = constant inf
    %3: bool[] = lt %1, %2
    yield %3
  }
  %3: f32[32] at state "w" = kernel @k3(%0 = %w, %1 = %1) map {
    %2: f32[32] = add %0, %1
    yield %2
  }
  check %0, "no negative number"
  check %2, "no overflow"
  update "w" := %3
  return finite = %2
}
"#;

#[test]
fn c15_checks_are_decided_before_the_first_write() {
    holds(CHECKED);
    // The first condition is not there any more when the second is decided.
    let over = with(CHECKED, "%1: f32[32] at arena+64", "%1: f32[32] at arena+0");
    breaks(&over, "plan_c15", "found it under %1");
    // Of the conditions one is decided after the write.
    let early = with(
        &with(CHECKED, "%2: bool[] at output 0", "%late: bool[] at output 0"),
        "check %2",
        "check %late",
    );
    let early = with(&early, "finite = %2", "finite = %late");
    let begin = early.find("  %late").unwrap();
    let (write, end) = (early.find("  %3: f32[32]").unwrap(), early.find("  check %0").unwrap());
    let (late, write) = (&early[begin..write], &early[write..end]);
    let swapped = format!("{}{write}{late}{}", &early[..begin], &early[end..]);
    breaks(&swapped, "plan_c15", "expected checks to be decided before a state is written");
}

/// A loop with every liberty: a carry that takes turns with a second buffer, one that is written in
/// place, slices in and out, memory of an iteration's own, a result in the arena.
const LOOP: &str = r#"entry @loop(%xs: f32[3,4] at argument 0, %m: f32[4,4] at argument 1, %h0: f32[4] at argument 2) eval arena=448 bound=448 {
  %s: f32[4] at arena+256 = kernel @k0(%0 = %h0) map {
    yield %0
  }
  %last: f32[4] at output 0, %sum: f32[4] at arena+384, %all: f32[3,4] at output 1 = scan(%a at argument 0 = %m) carry (%h at arena+0 = %s, %t at output 1 = %h0) over (%x at argument 3 = %xs) length=3 workspace=192 at arena+0 {
    %0: f32[4] at arena+64 = kernel @s0.k0(%0 = %h, %1 = %a) contraction {
      %2: f32[4] = dot %0, %1 contract=[0]x[0]
      yield %2
    }
    %1: f32[4] at output 0, %2: f32[4] at output 1, %3: f32[4] at output 2 = kernel @s0.k1(%0 = %0, %1 = %x, %2 = %t) map {
      %3: f32[4] = add %0, %1
      %4: f32[4] = add %2, %3
      yield %3, %4, %3
    }
    yield %1, %2, %3
  }
  %r: f32[4] at output 2 = kernel @k1(%0 = %sum) map {
    yield %0
  }
  return last = %last, all = %all, sum = %r
}
"#;

/// `LOOP` with one part of it replaced breaks a rule.
#[track_caller]
fn loop_breaks(part: &str, replacement: &str, rule: &str, message: &str) {
    breaks(&with(LOOP, part, replacement), rule, message);
}

#[test]
fn a_loop_that_uses_every_liberty_holds() {
    holds(LOOP);
    // A carry may be written over once it is read for the last time.
    holds(&with(LOOP, "%h at arena+0", "%h at output 0"));
}

#[test]
fn c16_workspaces() {
    let workspace = "workspace=192 at arena+0";
    loop_breaks(workspace, "", "plan_c16", "expected a workspace in the arena, found none");
    let beside = "expected results beside the workspace";
    loop_breaks("%sum: f32[4] at arena+384", "%sum: f32[4] at arena+128", "plan_c16", beside);
    let over = "expected a scan to write over none of its operands";
    loop_breaks(workspace, "workspace=192 at arena+192", "plan_c16", over);
    loop_breaks("%sum: f32[4] at arena+384", "%sum: f32[4] at arena+256", "plan_c16", over);
    let outside = "expected an offset that 64 divides and 192 bytes within the arena's 448";
    loop_breaks(workspace, "workspace=192 at arena+320", "plan_c8", outside);
}

#[test]
fn c17_carries() {
    let written = "expected nothing to be written over a carry";
    loop_breaks("%h at arena+0 =", "%h at arena+64 =", "plan_c17", written);
    loop_breaks("%t at output 1", "%t at output 0", "plan_c17", "expected a carry at output 1");
    loop_breaks("%t at output 1", "%t at argument 2", "plan_c17", "expected a carry at output 1");
    let both = "carry (%h at arena+0 = %s, %t at output 1 = %h0)";
    let twice = "carry (%h at arena+0 = %s, %t at arena+0 = %h0)";
    loop_breaks(both, twice, "plan_c17", "expected carries in bytes of their own");
}

/// What holds of an entry holds of an iteration.
#[test]
fn regions_are_replayed() {
    let outside = "expected an offset that 64 divides and 16 bytes within the arena's 192";
    loop_breaks("%0: f32[4] at arena+64", "%0: f32[4] at arena+192", "plan_c8", outside);
    loop_breaks("%3: f32[4] at output 2", "%3: f32[4] at output 0", "plan_c11", "output 0");
    loop_breaks("%x at argument 3", "%x at argument 0", "plan_c3", "expected an argument at");
    // A carry that is written in place and read afterwards.
    let late = with(LOOP, "%h at arena+0", "%h at output 0");
    let first = "%0: f32[4] at arena+64 = kernel @s0.k0(%0 = %h,";
    let other = "%0: f32[4] at output 0 = kernel @s0.k0(%0 = %h,";
    breaks(&with(&late, first, other), "plan_c11", "output 0");
    let adds = "%4: f32[4] = add %2, %3\n";
    let moves = "%5: f32[3] = slice %2 ranges=[1:4]\n      %6: f32[] = constant 0.0\n      \
                 %4: f32[4] = pad %5, %6 amounts=[0:1]\n";
    breaks(&with(LOOP, adds, moves), "plan_c10", "not elementwise");
    let stated = format!("%9: f32[2] at constants+0 = constant [1.0, 2.0]\n      {KERNEL_OF_LOOP}");
    breaks(&with(LOOP, KERNEL_OF_LOOP, &stated), "plan_c2", "expected no constant in a region");
}

/// The first kernel of the region of [`LOOP`], as it begins.
const KERNEL_OF_LOOP: &str = "%0: f32[4] at arena+64 = kernel @s0.k0(%0 = %h,";

/// A branch, then a loop, then the write of a state that either reads.
const CHOICE: &str = r#"entry @choice(%p: bool[] at argument 0, %x: f32[32] at argument 1) train arena=576 bound=576 {
  %w: f32[32] at state "w" = state "w"
  %y: f32[32] at arena+256 = cond %p (%a at argument 0 = %x) workspace=128 at arena+0 {
    %0: f32[32] at arena+0 = kernel @t.k0(%0 = %a) map {
      %1: f32[32] = exp %0
      yield %1
    }
    %1: f32[32] at output 0 = kernel @t.k1(%0 = %0) map {
      %1: f32[32] = neg %0
      yield %1
    }
    yield %1
  } else (%a at argument 0 = %x, %b at argument 1 = %w) {
    %0: f32[32] at output 0 = kernel @f.k0(%0 = %a, %1 = %b) map {
      %2: f32[32] = add %0, %1
      yield %2
    }
    yield %0
  }
  %n: i64[] at arena+384 = kernel @k0() map {
    %0: i64[] = constant 4
    yield %0
  }
  %z: i64[] at arena+448 = kernel @k1() map {
    %0: i64[] = constant 0
    yield %0
  }
  %i: i64[] at arena+512, %h: f32[32] at output 0 = while (%n at argument 0 = %n) carry (%i at argument 1 = %z, %h at argument 2 = %y) workspace=256 at arena+0 {
    %more: bool[] at output 0 = kernel @c.k0(%0 = %i, %1 = %n) map {
      %2: bool[] = lt %0, %1
      yield %2
    }
    yield %more
  } do (%w at argument 0 = %w) carry (%i at argument 1, %h at argument 2) {
    %1: i64[] at output 0, %2: f32[32] at output 1 = kernel @b.k0(%0 = %i, %1 = %h, %2 = %w) map {
      %3: i64[] = constant 1
      %4: i64[] = add %0, %3
      %5: f32[32] = add %1, %2
      yield %4, %5
    }
    yield %1, %2
  }
  %next: f32[32] at state "w" = kernel @k2(%0 = %w, %1 = %x) map {
    %2: f32[32] = add %0, %1
    yield %2
  }
  update "w" := %next
  return h = %h
}
"#;

/// `CHOICE` with one part of it replaced breaks a rule.
#[track_caller]
fn choice_breaks(part: &str, replacement: &str, rule: &str, message: &str) {
    breaks(&with(CHOICE, part, replacement), rule, message);
}

#[test]
fn branches_and_whiles_hold_in_their_workspaces() {
    holds(CHOICE);
    let (branch, repeat) = ("workspace=128 at arena+0", "workspace=256 at arena+0");
    let none = "expected a workspace in the arena, found none";
    choice_breaks(&format!(" {branch}"), "", "plan_c16", none);
    choice_breaks(&format!(" {repeat}"), "", "plan_c16", none);
    // The one region of the branch that has values of its own.
    let outside = "expected an offset that 64 divides and 128 bytes within the arena's 0";
    choice_breaks(branch, "workspace=0 at arena+0", "plan_c8", outside);
    let beside = "expected results beside the workspace";
    choice_breaks(branch, "workspace=128 at arena+256", "plan_c16", beside);
    choice_breaks(repeat, "workspace=256 at arena+384", "plan_c8", "within the arena's 576");
    // A loop goes on reading what it begins with.
    let over = "expected a while to write over none of its operands";
    choice_breaks("%i: i64[] at arena+512", "%i: i64[] at arena+384", "plan_c16", over);
    choice_breaks(repeat, "workspace=256 at arena+256", "plan_c16", over);
    let room = "expected a workspace with room for the results of the regions, found 192 bytes";
    choice_breaks(repeat, "workspace=192 at arena+0", "plan_c16", room);
}

#[test]
fn both_regions_of_a_branch_and_of_a_while_are_replayed() {
    let place = "expected an argument at";
    choice_breaks("(%a at argument 0 = %x) work", "(%a at argument 1 = %x) work", "plan_c3", place);
    choice_breaks("%b at argument 1", "%b at argument 0", "plan_c3", place);
    choice_breaks("(%n at argument 0 =", "(%n at argument 1 =", "plan_c3", place);
    choice_breaks("%h at argument 2)", "%h at argument 1)", "plan_c3", place);
    choice_breaks("%1: f32[32] at output 0", "%1: f32[32] at output 1", "plan_c11", "output 1");
}

#[test]
fn c18_nothing_that_may_be_cancelled_follows_a_write() {
    let (begin, end) = (CHOICE.find("  %next").unwrap(), CHOICE.find("  update").unwrap());
    let write = &CHOICE[begin..end];
    let early = format!("{}{}", &CHOICE[..begin], &CHOICE[end..]);
    let early = with(&early, "  %n: i64[]", &format!("{write}  %n: i64[]"));
    // Nothing of the loop reads the state, so that only the order is wrong.
    let early = with(&early, "do (%w at argument 0 = %w)", "do (%w at argument 0 = %x)");
    let message = "expected what a caller may cancel before a state is written";
    breaks(&early, "plan_c18", message);
    // Nor may the loop write the state itself, as it is written from the first iteration on.
    let own = format!("{}{}", &CHOICE[..begin], &CHOICE[end..]);
    let results = "%i: i64[] at output 0, %h: f32[32] at state \"w\" = while";
    let own = with(&own, "%i: i64[] at arena+512, %h: f32[32] at output 0 = while", results);
    let own = with(&own, "do (%w at argument 0 = %w)", "do (%w at argument 0 = %x)");
    let own =
        with(&own, "update \"w\" := %next\n  return h = %h", "update \"w\" := %h\n  return i = %i");
    breaks(&own, "plan_c18", message);
}
