//! Freezing: what is prepared, what is not, and that the two parts compute what the whole did.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Draw, parse};
use kilngrad_interp::{Array, States, eval_entry};
use kilngrad_ir::{Program, verify};
use kilngrad_passes::freeze::{Frozen, PREPARE, freeze};

/// Freezes, verifies, and compares every entry with what it computed before, to the bit. Gives the
/// types of what is prepared.
fn check(program: &Program) -> Vec<String> {
    let Frozen { program: frozen, prepare } = freeze(program);
    verify(&frozen).unwrap_or_else(|error| panic!("{error}\n{frozen}"));
    let mut draw = Draw(3);
    let values: Vec<Array> =
        program.states.iter().map(|state| draw.array(&state.ty, false)).collect();
    let states = States::new(program, values.clone()).unwrap();
    let mut prepared = Vec::new();
    if let Some(prepare) = &prepare {
        verify(prepare).unwrap_or_else(|error| panic!("{error}\n{prepare}"));
        assert_eq!(prepare.states, program.states);
        let [entry] = prepare.entries.as_slice() else { panic!("expected one entry\n{prepare}") };
        assert_eq!(&*entry.name, PREPARE);
        let paths = frozen.states[program.states.len()..].iter().map(|state| &state.path);
        assert!(paths.eq(&entry.outputs), "{prepare}");
        prepared = eval_entry(prepare, entry, &[], &states).unwrap().outputs;
    }
    let all = States::new(&frozen, values.into_iter().chain(prepared.clone()).collect()).unwrap();
    for (before, after) in program.entries.iter().zip(&frozen.entries) {
        if !before.updates.is_empty() {
            assert_eq!(before, after);
            continue;
        }
        let types = before.graph.arguments().iter().map(|value| before.graph.ty(*value));
        let inputs: Vec<Array> = types.map(|ty| draw.array(ty, false)).collect();
        let expected = eval_entry(program, before, &inputs, &states);
        let found = eval_entry(&frozen, after, &inputs, &all);
        match (expected, found) {
            (Ok(expected), Ok(found)) => {
                for (expected, found) in expected.outputs.iter().zip(&found.outputs) {
                    assert!(expected.first_difference(found).is_none(), "{frozen}");
                }
            }
            // A check fails on both.
            (expected, found) => {
                assert_eq!(found.unwrap_err().to_string(), expected.unwrap_err().to_string());
            }
        }
    }
    prepared.iter().map(|array| array.ty().to_string()).collect()
}

/// What is prepared of a program with weights `w`, `v`, `b` and these entries.
fn prepared(entries: &str) -> Vec<String> {
    let states = r#"state "w": f32[6,4] = 0.0 parameter
state "v": f32[4,6] = 0.0 parameter
state "b": f32[4] = 0.0 parameter
"#;
    check(&parse(&format!("{states}{entries}")))
}

/// The same of one entry that reads `w`, `v`, `b`.
fn prepared_of(arguments: &str, body: &str) -> Vec<String> {
    prepared(&format!(
        r#"entry @e({arguments}) eval {{
             %w: f32[6,4] = state "w"
             %v: f32[4,6] = state "v"
             %b: f32[4] = state "b"
             {body}
           }}"#
    ))
}

#[test]
fn work_on_weights_alone_is_prepared() {
    let transposed_and_scaled = "%t: f32[4,6] = transpose %w permutation=[1,0]
         %two: f32[4,6] = constant 2.0
         %s: f32[4,6] = mul %t, %two
         %y: f32[3,6] = dot %x, %s contract=[1]x[0]
         return y = %y";
    assert_eq!(prepared_of("%x: f32[3,4]", transposed_and_scaled), ["f32[4,6]"]);
    let reduced = "%n: f32[6] = reduce_sum %w axes=[1]
         %y: f32[6] = mul %x, %n
         return y = %y, n = %n";
    assert_eq!(prepared_of("%x: f32[6]", reduced), ["f32[6]"]);
}

#[test]
fn contractions_of_weights_are_prepared_though_they_grow() {
    let merged = "%m: f32[6,6] = dot %w, %v contract=[1]x[0]
         %y: f32[3,6] = dot %x, %m contract=[1]x[0]
         return y = %y";
    assert_eq!(prepared_of("%x: f32[3,6]", merged), ["f32[6,6]"]);
}

#[test]
fn what_would_read_more_is_computed() {
    let outer = "%r: f32[4,4] = broadcast %b dims=[0]
         %c: f32[4,4] = broadcast %b dims=[1]
         %o: f32[4,4] = mul %r, %c
         %y: f32[4,4] = add %x, %o
         return y = %y";
    assert_eq!(prepared_of("%x: f32[4,4]", outer), [""; 0]);
    // What is repeated is prepared in place of its repetition.
    let repeated = "%e: f32[4] = exp %b
         %r: f32[9,4] = broadcast %e dims=[1]
         %y: f32[9,4] = add %x, %r
         return y = %y";
    assert_eq!(prepared_of("%x: f32[9,4]", repeated), ["f32[4]"]);
}

#[test]
fn what_a_call_binds_is_not_prepared() {
    let sliced = "%s: f32[2,4] = slice %w ranges=[n:n + 2, 0:4]
         %e: f32[2,4] = exp %s
         %k: i64[] = dimension n
         %y: f32[n,2] = dot %x, %e contract=[1]x[1]
         return y = %y, k = %k";
    let program = format!(
        r#"state "w": f32[6,4] = 0.0 parameter
           entry @e(%x: f32[n,4]) eval {{
             %w: f32[6,4] = state "w"
             {sliced}
           }}"#
    );
    assert!(freeze(&parse(&program)).prepare.is_none());
}

#[test]
fn entries_share_what_they_prepare_alike() {
    let entry = |name: &str, then: &str| {
        format!(
            r#"entry @{name}(%x: f32[6,4]) eval {{
                 %w: f32[6,4] = state "w"
                 %e: f32[6,4] = exp %w
                 %y: f32[6,4] = {then} %x, %e
                 return y = %y
               }}
            "#
        )
    };
    let entries = entry("first", "add") + &entry("second", "mul");
    assert_eq!(prepared(&entries), ["f32[6,4]"]);
}

#[test]
fn entries_that_update_states_stay() {
    let entries = r#"entry @step(%x: f32[4]) train {
          %b: f32[4] = state "b"
          %e: f32[4] = exp %b
          %s: f32[4] = add %e, %x
          update "b" := %s
          return s = %s
        }"#;
    assert_eq!(prepared(entries), [""; 0]);
}

/// The path from what is differentiated by stays whole.
#[test]
fn gradients_by_weights_keep_their_paths() {
    let program = parse(
        r#"state "w": f32[4] = 0.0 parameter
           entry @e(%x: f32[4]) eval {
             %w: f32[4] = state "w"
             %e: f32[4] = exp %w
             %y: f32[] = dot %x, %e contract=[0]x[0]
             %g: f32[4] = gradient %y wrt (%w)
             return g = %g
           }"#,
    );
    let frozen = freeze(&program);
    assert!(frozen.prepare.is_none());
    assert_eq!(frozen.program, program);
}

#[test]
fn prepared_paths_avoid_those_that_are_taken() {
    let program = parse(
        r#"state "prepared.0": f32[4] = 0.0 parameter
           entry @e(%x: f32[4]) eval {
             %w: f32[4] = state "prepared.0"
             %e: f32[4] = exp %w
             %y: f32[4] = add %x, %e
             return y = %y
           }"#,
    );
    let frozen = freeze(&program).program;
    assert_eq!(&*frozen.states[1].path, "prepared.0_");
    check(&program);
}

/// What a check of weights needs is prepared; the check itself is one of every call.
#[test]
fn checks_stay_with_calls() {
    for limit in ["1e30", "-1e30"] {
        let body = format!(
            "%m: f32[] = reduce_max %w axes=[0,1]
             %t: f32[] = constant {limit}
             %c: bool[] = lt %m, %t
             check %c, \"weights below {limit}\"
             %y: f32[4] = add %x, %b
             return y = %y"
        );
        let program = parse(&format!(
            r#"state "w": f32[6,4] = 0.0 parameter
               state "b": f32[4] = 0.0 parameter
               entry @e(%x: f32[4]) eval {{
                 %w: f32[6,4] = state "w"
                 %b: f32[4] = state "b"
                 {body}
               }}"#
        ));
        assert_eq!(check(&program), ["bool[]"]);
        let frozen = freeze(&program);
        assert_eq!(frozen.program.entries[0].checks.len(), 1);
        assert!(frozen.prepare.unwrap().entries[0].checks.is_empty());
    }
}

/// Weights that are rounded with a derivative of their own are prepared through it, unless it has
/// lengths that a call binds.
#[test]
fn functions_with_a_derivative_of_their_own_are_looked_through() {
    let rounded = |rows: &str, region: &str| {
        let body = format!(
            "%r: f32[6,4] = round %w
             %q: f32[6,4] = custom_gradient(%dy of %v = %r) wrt (%a = %w) {{
               {region}
             }}
             %t: f32[4,6] = transpose %q permutation=[1,0]
             %y: f32[{rows},6] = dot %x, %t contract=[1]x[0]
             return y = %y"
        );
        parse(&format!(
            r#"state "w": f32[6,4] = 0.0 parameter
               entry @e(%x: f32[{rows},4]) eval {{
                 %w: f32[6,4] = state "w"
                 {body}
               }}"#
        ))
    };
    assert_eq!(check(&rounded("3", "yield %dy")), ["f32[4,6]"]);
    let by_rows = "%k: i64[] = dimension n
         %f: f32[] = cast %k
         %s: f32[6,4] = broadcast %f dims=[]
         %d: f32[6,4] = mul %dy, %s
         yield %d";
    for (region, prepared) in [("yield %dy", "f32[4,6]"), (by_rows, "f32[6,4]")] {
        let program = freeze(&rounded("n", region)).program;
        assert_eq!(program.states[1].ty.to_string(), prepared, "{program}");
    }
    // Of its operands a call reads the first alone, which has less than what is computed of it.
    let repeated = "%r: f32[4,4] = broadcast %b dims=[0]
         %q: f32[4,4] = custom_gradient(%dy of %v = %r) wrt (%a = %w) {
           %0: f32[6,4] = constant 0.0
           yield %0
         }
         %c: f32[4,4] = broadcast %b dims=[1]
         %o: f32[4,4] = mul %q, %c
         %y: f32[4,4] = add %x, %o
         return y = %y";
    assert_eq!(prepared_of("%x: f32[4,4]", repeated), [""; 0]);
}
