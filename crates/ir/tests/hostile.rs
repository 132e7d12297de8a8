//! Files from anywhere: whatever they say, parsing ends soon, with a program or with errors.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::time::{Duration, Instant};

use kilngrad_ir::text::{Limits, ParseErrors};
use kilngrad_ir::{MAX_CONTROL, MAX_NESTING, Program};

const EVERYTHING: &str = include_str!("everything.kg");
const HEADER: &str = "kilngrad 1\nprogram \"p\"\n";

fn parse(text: &str) -> Result<Program, ParseErrors> {
    Program::parse(text, &Limits::default())
}

fn first_error(text: &str) -> String {
    parse(text).unwrap_err().diagnostics()[0].to_string()
}

/// The text cut anywhere, and with each byte replaced by ones that mean something, is refused or
/// read, and what is read survives printing.
#[test]
fn cut_and_changed_text_never_panics() {
    let mut kept = 0;
    for end in 0..EVERYTHING.len() {
        if let Ok(program) = parse(&EVERYTHING[..end]) {
            assert_eq!(parse(&program.to_string()), Ok(program));
            kept += 1;
        }
    }
    assert!(kept > 0, "the header alone is a program");
    let mut changed = EVERYTHING.as_bytes().to_vec();
    for (at, byte) in b"%\"[](){}=:@9\n-,ex".iter().cycle().enumerate().take(changed.len()) {
        let before = std::mem::replace(&mut changed[at], *byte);
        if let Ok(program) = parse(std::str::from_utf8(&changed).unwrap()) {
            assert_eq!(parse(&program.to_string()), Ok(program));
            kept += 1;
        }
        changed[at] = before;
    }
    assert!(kept > 100, "some changes are harmless: {kept}");
}

/// Each line and each word of a line left out, one at a time.
#[test]
fn text_with_parts_left_out_never_panics() {
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    for skipped in 0..lines.len() {
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            if index != skipped {
                writeln!(text, "{line}").unwrap();
            }
        }
        if let Ok(program) = parse(&text) {
            assert_eq!(parse(&program.to_string()), Ok(program));
        }
        let words: Vec<&str> = lines[skipped].split(' ').collect();
        for word in 0..words.len() {
            let mut line = words.clone();
            line.remove(word);
            let mut changed = lines.clone();
            let line = line.join(" ");
            changed[skipped] = &line;
            if let Ok(program) = parse(&changed.join("\n")) {
                assert_eq!(parse(&program.to_string()), Ok(program));
            }
        }
    }
}

/// A chain of operations as long as any model's, on the smallest stack that threads usually have.
#[test]
fn long_chains_need_neither_stack_nor_time() {
    const NODES: usize = 100_000;
    let mut text = format!("{HEADER}\nentry @e(%x: f32[n,8]) eval {{\n");
    let mut last = "%x".to_owned();
    for node in 0..NODES {
        writeln!(text, "  %{node}: f32[n,8] = tanh {last}  @src/model.rs:{node}:5 in \"net\"")
            .unwrap();
        last = format!("%{node}");
    }
    writeln!(text, "  return y = {last}\n}}").unwrap();
    let run = move || {
        let start = Instant::now();
        let program = parse(&text).unwrap();
        let parsed = start.elapsed();
        assert_eq!(program.entries[0].graph.node_count(), NODES);
        assert_eq!(program.to_string(), text);
        let shorter = text.replacen("tanh %x", "relu %x", 1);
        assert_ne!(parse(&shorter).unwrap(), program);
        parsed
    };
    let parsed = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    let parsed = parsed.join().unwrap();
    // A tenth of this is usual; a parser that is quadratic needs minutes.
    assert!(parsed < Duration::from_secs(5), "parsing took {parsed:?}");
}

fn nested(depth: usize) -> String {
    let mut text = format!("{HEADER}entry @e(%x: f32[]) eval {{\n");
    for level in 0..depth {
        writeln!(text, "%0: f32[] = kernel @k{level}(%x = %x) map {{").unwrap();
    }
    for _ in 0..depth {
        text.push_str("yield %x\n}\n");
    }
    text.push_str("return y = %0\n}\n");
    text
}

fn nested_custom(depth: usize) -> String {
    let mut text = format!("{HEADER}entry @e(%x: f32[]) eval {{\n");
    for _ in 0..depth {
        text.push_str("%0: f32[] = custom_gradient(%d of %v = %x) wrt (%x = %x) {\n");
    }
    for _ in 0..depth {
        text.push_str("yield %d\n}\n");
    }
    text.push_str("return y = %0\n}\n");
    text
}

fn nested_scans(depth: usize) -> String {
    let mut text = format!("{HEADER}entry @e(%x: f32[]) eval {{\n");
    for _ in 0..depth {
        text.push_str("%0: f32[] = scan() carry (%x = %x) length=2 {\n");
    }
    text.push_str("yield %x\n}\n");
    for _ in 1..depth {
        text.push_str("yield %0\n}\n");
    }
    text.push_str("return y = %0\n}\n");
    text
}

#[test]
fn regions_nest_so_deep_and_no_deeper() {
    let run = || {
        for depth in [MAX_NESTING, MAX_NESTING + 1] {
            let text = nested_custom(depth);
            assert_eq!(parse(&text).is_ok(), depth == MAX_NESTING, "{depth}");
        }
        let deepest = parse(&nested(MAX_NESTING)).unwrap();
        assert_eq!(parse(&deepest.to_string()), Ok(deepest));
        let deeper = first_error(&nested(MAX_NESTING + 1));
        assert!(
            deeper.starts_with("error[graph_v6]: expected regions at most 16 deep"),
            "{deeper}"
        );
        assert!(first_error(&nested(100_000)).starts_with("error[graph_v6]"));
        let deepest = parse(&nested_scans(MAX_CONTROL)).unwrap();
        assert_eq!(parse(&deepest.to_string()), Ok(deepest));
        let deeper = first_error(&nested_scans(MAX_CONTROL + 1));
        assert!(
            deeper.starts_with("error[graph_v6]: expected control flow at most 8 deep"),
            "{deeper}"
        );
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

/// Brackets of which nothing comes of.
#[test]
fn open_brackets() {
    for open in ["[", "(", "{", "\"", "%", "@", "kernel @k(", "f32["] {
        for before in ["", HEADER, "kilngrad 1\nprogram \"p\"\nentry @e() eval {\n%0: f32[] = "] {
            assert!(parse(&format!("{before}{}", open.repeat(10_000))).is_err());
        }
    }
}

/// What a file says of sizes is not believed, nor computed with where it could overflow or take
/// long.
#[test]
fn sizes_that_lie() {
    let entry = |body: &str| format!("{HEADER}entry @e(%x: f32[n,m]) eval {{\n{body}\n}}\n");
    let cases = [
        (format!("{HEADER}state \"a\": f32[4294967296,4294967296] = 0.0 buffer\n"), "graph_v4"),
        (format!("{HEADER}state \"a\": f32[0,9223372036854775807] = 0.0 buffer\n"), "graph_v4"),
        (format!("{HEADER}state \"a\": f32[n] = 0.0 buffer\n"), "program_v2"),
        (format!("{HEADER}state \"a\": f32[99999999] = [1.0] buffer\n"), "program_v3"),
        (entry("%0: f32[99999999] = constant [1.0]"), "constant_c2"),
        (
            entry("%0: f32[n,m] = slice %x ranges=[-9223372036854775808:9223372036854775807, 0:m]"),
            "slice_c3",
        ),
        (
            entry(
                "%0: f32[n,m] = slice %x ranges=[0:n, 9223372036854775807*m:-9223372036854775807*m]",
            ),
            "slice_c3",
        ),
        (entry("%0: f32[n,m] = slice %x ranges=[0:n, 0:m:0]"), "slice_c2"),
        (
            entry(
                "%0: f32[] = constant 0.0\n%1: f32[n,m] = pad %x, %0 amounts=[9223372036854775807:9223372036854775807, 0:0]",
            ),
            "pad_c4",
        ),
        (
            entry(
                "%0: f32[9223372036854775807*n,2] = constant 0.0\n%1: f32[9223372036854775807*n,3] = reshape %0",
            ),
            "reshape_c2",
        ),
        (
            entry(
                "%0: f32[9223372036854775807*n] = constant 0.0\n%1: f32[n] = concat %0, %0 axis=0",
            ),
            "concat_c4",
        ),
        (entry("%0: f32[m,n] = transpose %x permutation=[1,18446744073709551615]"), "transpose_c1"),
        (entry("%0: f32[n] = reduce_sum %x axes=[2]"), "reduce_c2"),
        (entry("%0: f32[n] = dot %x, %x contract=[7]x[1]"), "dot_c3"),
        (entry("%0: f32[n,m] = broadcast %x dims=[0,99]"), "broadcast_c2"),
        (entry(&format!("%0: f32[{}] = constant 0.0", ["1"; 33].join(","))), "text_t3"),
        (entry(&format!("%0: f32[{}] = constant 0.0", ["n+m"; 9].join(","))), "text_t3"),
        (entry(&format!("%0: f32[{}] = constant 0.0", ["n"; 33].join("*"))), "text_t3"),
        (entry(&format!("%0: f32[{}] = constant 0.0", ["n*n*n*n"; 9].join(","))), "text_t3"),
        (entry(&format!("%0: f32[n] = reduce_sum %x axes=[{}]", ["0"; 100].join(","))), "text_t3"),
        (
            entry(&format!(
                "%0: i64[] = dimension {}",
                (0..300).map(|i| format!("n{i}")).collect::<Vec<_>>().join("+")
            )),
            "text_t3",
        ),
    ];
    for (text, rule) in cases {
        let error = first_error(&text);
        assert!(error.starts_with(&format!("error[{rule}]")), "{text}\n{error}");
    }
}

/// Many operands with symbols of their own: the sum of their lengths is computed once.
#[test]
fn a_sum_of_many_symbols() {
    let mut text = format!("{HEADER}entry @e(");
    for i in 0..5000 {
        writeln!(text, "%x{i}: f32[s{i}],").unwrap();
    }
    text.push_str("%y: f32[]) eval {\n%0: f32[n] = concat %y");
    text = text.replace("%y: f32[]", "%y: f32[t]");
    for i in 0..5000 {
        write!(text, ", %x{i}").unwrap();
    }
    text.push_str(" axis=0\n}\n");
    let start = Instant::now();
    assert!(first_error(&text).starts_with("error[type_c1]"));
    assert!(start.elapsed() < Duration::from_secs(5));
}
