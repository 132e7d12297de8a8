//! Branches and whiles, alone, in each other and in repeats, against the loop evaluator; and how a
//! host cancels.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Random, check, run_native, try_native};
use kilngrad_codegen::{CodegenOptions, Host, KernelFn, Stopped, compile};
use kilngrad_loops::{Memory, Program, bytes_of, parse_program, run_program, values_of};
use kilngrad_tiles::Features;

/// `mark1` to `mark4` append a digit to what `t` has in base 5, so that it tells what ran in which
/// order; `two` appends 0, and in its second chunk multiplies the other element. `set0` to `set3` set a counter. `less` says whether
/// it was above 0, and takes 1 away.
fn kernels() -> String {
    let mut text = String::new();
    for digit in 1..=4 {
        text += &format!(
            "kernel @mark{digit} chunks=1 {{
               buffer t: i64[2] readwrite
               %0: i64 = load t[0]
               %1: i64 = const 5
               %2: i64 = mul %0, %1
               %3: i64 = const {digit}
               %4: i64 = add %2, %3
               store t[0] = %4
             }}\n"
        );
    }
    for count in 0..=3 {
        text += &format!(
            "kernel @set{count} chunks=1 {{
               buffer n: i64[1] write
               %0: i64 = const {count}
               store n[0] = %0
             }}\n"
        );
    }
    text + "kernel @two chunks=2 {
              buffer t: i64[2] readwrite
              %0: i64 = load t[i0]
              %1: i64 = const 5
              %2: i64 = mul %0, %1
              store t[i0] = %2
            }
            kernel @less chunks=1 {
              buffer n: i64[1] readwrite
              buffer c: u8[1] write
              %0: i64 = load n[0]
              %1: i64 = const 0
              %2: mask8 = gt %0, %1
              %3: u8 = convert %2
              store c[0] = %3
              %4: i64 = const 1
              %5: i64 = sub %0, %4
              store n[0] = %5
            }
            kernel @odd chunks=1 {
              buffer t: i64[2] read
              buffer c: u8[1] write
              %0: i64 = load t[0]
              %1: i64 = const 1
              %2: i64 = and %0, %1
              %3: u8 = convert %2
              store c[0] = %3
            }
            kernel @not chunks=1 {
              buffer c: u8[1] readwrite
              %0: u8 = load c[0]
              %1: u8 = const 0
              %2: mask8 = eq %0, %1
              %3: u8 = convert %2
              store c[0] = %3
            }\n"
}

/// A program that runs `items`. It has the trace `t`, conditions `c` and `d`, a counter `n` and its
/// condition `m`, and inside repeats, conditions that move: `p` and `q` are parts of `cs` in the
/// outermost repeat and the next, `r` is `c` and `d` in turn in the outermost.
fn program(items: &str) -> Program {
    program_with(0, items)
}

/// As [`program`], with so many more counters `n0`, `n1`, … and their conditions `m0`, `m1`, ….
fn program_with(counters: usize, items: &str) -> Program {
    let more: String = (0..counters)
        .map(|at| {
            let (n, m) = (128 + 128 * at, 192 + 128 * at);
            format!("buffer n{at}: i64[1] arena {n} buffer m{at}: u8[1] arena {m} ")
        })
        .collect();
    parse_program(&format!(
        "program @blocks arena={arena} externals=5 {{
           buffer t: i64[2] external 0
           buffer c: u8[1] external 1
           buffer d: u8[1] external 2
           buffer n: i64[1] external 3
           buffer m: u8[1] arena 64
           buffer cs: u8[4] external 4
           buffer p: u8[1] part #5 first 0 step 1 level 0
           buffer q: u8[1] part #5 first 3 step -1 level 1
           buffer r: u8[1] turn #1 #2 level 0
           {more}
           {kernels}
           {items}
         }}",
        arena = 128 + 128 * counters,
        kernels = kernels()
    ))
    .unwrap()
}

/// Memory with these conditions and this counter.
fn memory(program: &Program, c: u8, d: u8, n: i64) -> Memory {
    let mut memory = Memory::zeroed(program);
    memory.externals[0] = bytes_of(&[0i64, 1]);
    memory.externals[1] = vec![c];
    memory.externals[2] = vec![d];
    memory.externals[3] = bytes_of(&[n]);
    memory.externals[4] = vec![1, 0, 7, 0];
    memory
}

/// Checks a program natively, and the digits of its trace in the evaluator.
fn traces(items: &str, c: u8, d: u8, n: i64, expected: &str) {
    let program = program(items);
    let memory = memory(&program, c, d, n);
    check(&program, &memory);
    let mut evaluated = memory;
    run_program(&program, &mut evaluated).unwrap();
    assert_eq!(trace(&evaluated), expected, "{items}");
}

fn trace(memory: &Memory) -> String {
    let mut rest = values_of::<i64>(&memory.externals[0])[0];
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(char::from(b'0' + (rest % 5) as u8));
        rest /= 5;
    }
    digits.iter().rev().collect()
}

#[test]
fn branches_choose_a_list() {
    let both = "branch c { call mark1(t) call mark2(t) } else { call mark3(t) } call mark4(t)";
    for c in [1, 2, 128, 255] {
        traces(both, c, 0, 0, "124");
    }
    traces(both, 0, 0, 0, "34");
    let one = "branch c { } else { call mark3(t) }";
    traces(one, 1, 0, 0, "");
    traces(one, 0, 0, 0, "3");
    traces("branch c { call mark1(t) }", 1, 0, 0, "1");
    traces("branch c { call mark1(t) }", 0, 0, 0, "");
    let nested = "branch c { branch d { call mark1(t) } else { call mark2(t) } }
                  else { branch d { call mark3(t) } call two(t) call mark4(t) }";
    for (c, d, expected) in [(1, 1, "1"), (1, 0, "2"), (0, 1, "304"), (0, 0, "4")] {
        traces(nested, c, d, 0, expected);
    }
    // A condition that a list changes chose already.
    traces("branch c { call not(c) call mark1(t) } else { call mark2(t) }", 1, 0, 0, "1");
    // What a condition is made of comes right before.
    traces("call mark3(t) call odd(t, c) branch c { call mark4(t) }", 0, 0, 0, "34");
}

#[test]
fn branches_in_repeats_look_at_what_moves() {
    traces("repeat 3 { branch p { call mark1(t) } else { call mark2(t) } }", 0, 0, 0, "121");
    traces("repeat 4 { branch r { call mark1(t) } else { call mark2(t) } }", 1, 0, 0, "1212");
    traces(
        "repeat 2 { repeat 4 { branch q { branch r { call mark1(t) } else { call mark2(t) } } } }",
        0,
        1,
        0,
        "2211",
    );
    // A branch is no level: the repeat in it is at the next one.
    traces(
        "repeat 3 { branch p { repeat 2 { branch q { call mark4(t) } else { call mark3(t) } } } }",
        0,
        0,
        0,
        "3434",
    );
    traces(
        "branch c { repeat 4 { branch p { call mark1(t) } else { call mark2(t) } } }",
        1,
        0,
        0,
        "1212",
    );
}

#[test]
fn whiles_run_as_long_as_their_condition_holds() {
    let count = "while { call less(n, m) } test m { call mark1(t) } call mark2(t)";
    for (n, expected) in [(-3, "2"), (0, "2"), (1, "12"), (2, "112"), (9, "1111111112")] {
        traces(count, 0, 0, n, expected);
    }
    traces("while { call mark3(t) call less(n, m) } test m { call mark1(t) }", 0, 0, 2, "31313");
    // The test alone, the body alone, and neither.
    traces("while { call mark3(t) call less(n, m) } test m { }", 0, 0, 2, "333");
    traces("while { } test c { call mark1(t) call not(c) }", 1, 0, 0, "1");
    traces("while { } test c { }", 0, 0, 0, "");
    traces("call mark1(t) while { } test c { } call mark2(t)", 0, 0, 0, "12");
    let many = 100_000i64;
    let program = program("while { call less(n, m) } test m { }");
    check(&program, &memory(&program, 0, 0, many));
}

#[test]
fn whiles_nest() {
    let count = "while { call less(n, m) } test m";
    traces(
        &format!("repeat 3 {{ call set2(n) {count} {{ call mark1(t) }} call mark2(t) }}"),
        0,
        0,
        0,
        "112112112",
    );
    traces(
        &format!("{count} {{ branch c {{ call mark1(t) }} else {{ call mark2(t) }} call not(c) }}"),
        0,
        0,
        4,
        "2121",
    );
    traces(
        &format!(
            "{count} {{ repeat 2 {{ branch r {{ call mark1(t) }} else {{ call mark2(t) }} }} }}"
        ),
        1,
        0,
        3,
        "121212",
    );
    traces(&format!("branch c {{ {count} {{ call mark1(t) }} }}"), 1, 0, 2, "11");
    traces(
        &format!("while {{ }} test c {{ call set2(n) {count} {{ call mark3(t) }} call not(c) }}"),
        1,
        0,
        0,
        "33",
    );
    // The condition is a part that the repeat around chooses.
    traces(
        "repeat 3 { while { } test p { call mark1(t) call not(p) } call mark2(t) }",
        0,
        0,
        0,
        "12212",
    );
}

/// Lists so long that they are several functions, on both sides of a branch and in a while.
#[test]
fn lists_of_any_length() {
    for calls in [255, 256, 257, 600] {
        let list = |digit: usize| {
            format!("call mark{digit}(t) call two(t) ").repeat(calls / 2) + "call mark4(t)"
        };
        let (one, other) = (list(1), list(2));
        let program = program(&format!(
            "branch c {{ {one} }} else {{ {other} }} while {{ {one} call less(n, m) }} test m {{ {other} }}"
        ));
        for c in [0, 1] {
            check(&program, &memory(&program, c, 0, 2));
        }
    }
}

#[test]
fn gates_and_blocks() {
    let options = CodegenOptions::new(Features::detect());
    let program = program(
        "branch c { call mark1(t) } gate (d) while { call less(n, m) } test m { call mark2(t) }",
    );
    let module = compile(&program, &options).unwrap();
    for (d, expected) in [(1, "122"), (0, "1")] {
        let memory = memory(&program, 1, d, 2);
        let mut evaluated = memory.clone();
        assert_eq!(run_program(&program, &mut evaluated).is_ok(), d == 1);
        let (found, ran) = try_native(&module, &program, &memory, &Host::sequential());
        assert_eq!(ran, if d == 1 { Ok(()) } else { Err(Stopped::Gate(0)) });
        assert_eq!(trace(&found), expected);
        assert_eq!(found, evaluated);
    }
}

/// Items at random: blocks in blocks, each while with a counter of its own and few iterations.
struct Drawn {
    random: Random,
    items: String,
    /// Repeats around.
    level: usize,
    whiles: usize,
}

impl Drawn {
    fn list(&mut self, depth: usize) {
        for _ in 0..self.random.below(4) {
            match self.random.below(if depth == 0 { 2 } else { 7 }) {
                0 => self.items += &format!("call mark{}(t) ", 1 + self.random.below(4)),
                1 => {
                    self.items +=
                        self.random.pick(&["call not(c) ", "call odd(t, d) ", "call two(t) "])
                }
                2 | 3 => {
                    let condition = self.condition();
                    self.items += &format!("branch {condition} {{ ");
                    self.list(depth - 1);
                    self.items += "} else { ";
                    self.list(depth - 1);
                    self.items += "} ";
                }
                4 => {
                    self.items += &format!("repeat {} {{ ", self.random.below(4));
                    self.level += 1;
                    self.list(depth - 1);
                    self.level -= 1;
                    self.items += "} ";
                }
                _ => {
                    let at = self.whiles;
                    self.whiles += 1;
                    self.items += &format!("call set{}(n{at}) while {{ ", self.random.below(4));
                    self.list(depth - 1);
                    self.items += &format!("call less(n{at}, m{at}) }} test m{at} {{ ");
                    self.list(depth - 1);
                    self.items += "} ";
                }
            }
        }
    }

    fn condition(&mut self) -> &'static str {
        match self.level {
            0 => self.random.pick(&["c", "d"]),
            1 => self.random.pick(&["c", "d", "p", "r"]),
            _ => self.random.pick(&["c", "d", "p", "q", "r"]),
        }
    }
}

#[test]
fn drawn_blocks() {
    let options = CodegenOptions::new(Features::detect());
    let mut blocks = [0; 3];
    for seed in 0..300 {
        let mut drawn = Drawn { random: Random(seed), items: String::new(), level: 0, whiles: 0 };
        drawn.list(4);
        let program = program_with(drawn.whiles, &drawn.items);
        let again = parse_program(&program.to_string());
        assert_eq!(again.as_ref(), Ok(&program), "seed {seed}");
        for (count, word) in blocks.iter_mut().zip(["branch", "repeat", "while"]) {
            *count += drawn.items.matches(word).count();
        }
        let module = compile(&program, &options).unwrap();
        for (c, d) in [(0, 1), (1, 0)] {
            let memory = memory(&program, c, d, 0);
            let mut expected = memory.clone();
            run_program(&program, &mut expected).unwrap();
            let found = run_native(&module, &program, &memory, &Host::sequential());
            assert_eq!(found, expected, "seed {seed}: {}", drawn.items);
        }
    }
    assert!(blocks.iter().all(|count| *count > 200), "{blocks:?}");
}

/// A flag that is set before the call ends the first while before its test.
#[test]
fn a_cancelled_while_does_not_begin() {
    let options = CodegenOptions::new(Features::detect());
    let set = AtomicBool::new(true);
    let host = Host { cancel: &set, ..Host::sequential() };
    for (items, expected) in [
        ("while { call mark1(t) } test c { call mark2(t) }", ""),
        ("call mark3(t) while { call mark1(t) } test c { call mark2(t) } call mark4(t)", "3"),
        ("repeat 3 { call mark3(t) while { } test c { } call mark4(t) } call mark4(t)", "3"),
        ("branch d { call mark3(t) while { } test c { } call mark4(t) } call mark4(t)", "3"),
        ("branch c { } else { call mark3(t) while { } test d { } call mark4(t) }", "3"),
        ("repeat 2 { branch d { repeat 2 { call mark3(t) while { } test c { } } } }", "3"),
        ("while { while { } test c { } call mark1(t) } test c { }", ""),
    ] {
        let program = program(items);
        let module = compile(&program, &options).unwrap();
        let (found, ran) = try_native(&module, &program, &memory(&program, 0, 1, 0), &host);
        assert_eq!((ran, trace(&found).as_str()), (Err(Stopped::Cancelled), expected), "{items}");
    }
    // Who has no while does not look.
    let program = program("repeat 2 { branch d { call mark1(t) } }");
    let module = compile(&program, &options).unwrap();
    let (found, ran) = try_native(&module, &program, &memory(&program, 0, 1, 0), &host);
    assert_eq!((ran, trace(&found).as_str()), (Ok(()), "11"));
}

/// A host that cancels after some kernels of several chunks.
struct Patience {
    kernels: AtomicUsize,
    cancel: AtomicBool,
}

unsafe extern "C" fn run_and_count(
    host: *const Host,
    kernel: KernelFn,
    args: *const *mut u8,
    scratch: *mut u8,
    chunks: usize,
) {
    // SAFETY: the context of this test's host is its patience, which outlives the call.
    let patience = unsafe { &*(*host).context.cast::<Patience>() };
    for chunk in 0..chunks {
        // SAFETY: the arguments are the entry's, and each chunk runs once, none beside another.
        unsafe { kernel(args, scratch, chunk) }
    }
    if patience.kernels.fetch_sub(1, Ordering::Relaxed) == 1 {
        patience.cancel.store(true, Ordering::Relaxed);
    }
}

/// The iteration that runs ends, and nothing comes after it, however deep the while is.
#[test]
fn an_endless_while_ends_at_the_next_test() {
    let options = CodegenOptions::new(Features::detect());
    let endless = "while { call mark1(t) } test c { call two(t) call mark2(t) } call mark3(t)";
    for items in [
        endless.to_owned(),
        format!("repeat 2 {{ {endless} }} call mark3(t)"),
        format!("branch c {{ {endless} }} call mark3(t)"),
        format!("branch d {{ }} else {{ {endless} }} call mark3(t)"),
        format!("while {{ {endless} }} test c {{ call mark3(t) }} call mark3(t)"),
        format!("while {{ }} test c {{ {endless} }} call mark3(t)"),
        format!(
            "repeat 2 {{ branch c {{ while {{ }} test c {{ repeat 2 {{ {endless} }} }} }} call mark3(t) }}"
        ),
    ] {
        let program = program(&items);
        let module = compile(&program, &options).unwrap();
        let patience = Patience { kernels: AtomicUsize::new(3), cancel: AtomicBool::new(false) };
        let context = (&raw const patience).cast::<c_void>();
        let host = Host { run_chunks: run_and_count, context, cancel: &patience.cancel };
        let (found, ran) = try_native(&module, &program, &memory(&program, 1, 0, 0), &host);
        let expected = (Err(Stopped::Cancelled), "102102102");
        assert_eq!((ran, trace(&found).as_str()), expected, "{items}");
    }
}

/// More iterations than an `i64` counts.
#[test]
fn a_repeat_of_any_count_is_cancelled() {
    let program = program("repeat 18446744073709551615 { call two(t) while { } test d { } }");
    let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
    let patience = Patience { kernels: AtomicUsize::new(3), cancel: AtomicBool::new(false) };
    let context = (&raw const patience).cast::<c_void>();
    let host = Host { run_chunks: run_and_count, context, cancel: &patience.cancel };
    let (found, ran) = try_native(&module, &program, &memory(&program, 0, 0, 0), &host);
    assert_eq!(ran, Err(Stopped::Cancelled));
    assert_eq!(values_of::<i64>(&found.externals[0]), [0, 125]);
}

#[test]
fn another_thread_ends_an_endless_while() {
    let program = program("while { } test c { call mark1(t) }");
    let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
    let memory = memory(&program, 1, 0, 0);
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            cancel.store(true, Ordering::Relaxed);
        });
        let host = Host { cancel: &cancel, ..Host::sequential() };
        let (found, ran) = try_native(&module, &program, &memory, &host);
        assert_eq!(ran, Err(Stopped::Cancelled));
        assert_ne!(found.externals[0], memory.externals[0], "it had begun");
    });
}
