//! What is fused, copied, ordered and placed, case by case.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{evaluate, parse};
use kilngrad_ir::op::{Kernel, KernelKind};
use kilngrad_ir::{Bindings, Entry, Machine, Op, Place, Program};
use kilngrad_passes::copies::Copies;
use kilngrad_passes::fuse::{Fuse, check_kernel, fuse_entry};
use kilngrad_passes::plan::PlanMemory;
use kilngrad_passes::schedule::Schedule;
use kilngrad_passes::{Context, Pipeline};

/// A program of states, then one entry.
fn program(states: &str, arguments: &str, body: &str) -> Program {
    parse(&format!("{states}\nentry @e({arguments}) train {{\n{body}\n}}\n"))
}

fn run(pipeline: &Pipeline, program: &Program) -> Program {
    let bound = Bindings::new();
    let mut context = Context::new(&Machine::BASELINE, &bound);
    let after = pipeline.run(program.clone(), &mut context, &mut |_| {});
    after.unwrap_or_else(|error| panic!("{error}\n{program}"))
}

fn planned(program: &Program) -> Program {
    let passes = Pipeline::new().then(Fuse).then(Copies).then(Schedule).then(PlanMemory);
    let after = run(&passes, program);
    let (expected, found) = (outcome(program), outcome(&after));
    assert_eq!(expected, found, "{after}");
    after
}

fn outcome(program: &Program) -> kilngrad_interp::Outcome {
    evaluate(program, &program.entries[0], 1, false)
}

fn kernels(entry: &Entry) -> Vec<&Kernel> {
    let nodes = entry.graph.nodes();
    nodes
        .filter_map(|(_, node)| if let Op::Kernel(k) = &node.op { Some(&**k) } else { None })
        .collect()
}

/// `reduce 1 -> 2: reduce_max broadcast sub`, a line a kernel.
fn summary(entry: &Entry) -> String {
    let line = |kernel: &&Kernel| {
        let body = &kernel.body;
        let ops: Vec<&str> = body.nodes().map(|(_, node)| node.op.name()).collect();
        let (from, to) = (body.arguments().len(), body.results().len());
        format!("{} {from} -> {to}: {}", kernel.kind.name(), ops.join(" "))
    };
    kernels(entry).iter().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_fused(states: &str, arguments: &str, body: &str, expected: &str) {
    let program = program(states, arguments, body);
    let fused = planned(&program);
    let trimmed: Vec<&str> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(summary(&fused.entries[0]), trimmed.join("\n"), "{body}");
}

#[test]
fn elementwise_chains_with_broadcasts_are_one_map() {
    check_fused(
        "",
        "%x: f32[4,8], %b: f32[8]",
        "%0: f32[4,8] = broadcast %b dims=[1]
         %1: f32[4,8] = add %x, %0
         %2: f32[4,8] = tanh %1
         %3: f32[4,8] = exp %1
         return a = %2, b = %3",
        "map 2 -> 2: broadcast add tanh exp",
    );
}

#[test]
fn softmax_is_one_reduction() {
    check_fused(
        "",
        "%x: f32[4,8]",
        "%0: f32[4] = reduce_max %x axes=[1]
         %1: f32[4,8] = broadcast %0 dims=[0]
         %2: f32[4,8] = sub %x, %1
         %3: f32[4,8] = exp %2
         %4: f32[4] = reduce_sum %3 axes=[1]
         %5: f32[4,8] = broadcast %4 dims=[0]
         %6: f32[4,8] = div %3, %5
         return a = %6",
        "reduce 1 -> 1: reduce_max broadcast sub exp reduce_sum broadcast div",
    );
}

/// A value spread along other axes than the kept ones needs every reduction to be done first.
#[test]
fn a_reduction_is_read_in_its_own_row_only() {
    check_fused(
        "",
        "%x: f32[4,4]",
        "%0: f32[4] = reduce_max %x axes=[1]
         %1: f32[4,4] = broadcast %0 dims=[1]
         %2: f32[4,4] = sub %x, %1
         return a = %2",
        "reduce 1 -> 1: reduce_max
         map 2 -> 1: broadcast sub",
    );
}

#[test]
fn sibling_reductions_read_their_operand_once() {
    check_fused(
        "",
        "%g: f32[4,8], %x: f32[4,8]",
        "%0: f32[8] = reduce_sum %g axes=[0]
         %1: f32[4,8] = mul %g, %x
         %2: f32[8] = reduce_sum %1 axes=[0]
         return a = %0, b = %2",
        "reduce 2 -> 2: reduce_sum mul reduce_sum",
    );
}

#[test]
fn reductions_over_different_axes_stay_apart() {
    check_fused(
        "",
        "%g: f32[4,8]",
        "%e: f32[4,8] = exp %g
         %0: f32[8] = reduce_sum %e axes=[0]
         %1: f32[4] = reduce_sum %e axes=[1]
         return a = %0, b = %1",
        "reduce 1 -> 2: exp reduce_sum
         reduce 1 -> 1: reduce_sum",
    );
}

#[test]
fn optimizer_updates_are_epilogues_of_the_gradient() {
    check_fused(
        "state \"w\": f32[8,4] = 0.5 parameter\nstate \"m\": f32[8,4] = 0.0 optimizer",
        "%x: f32[2,8], %g: f32[2,4]",
        "%w: f32[8,4] = state \"w\"
         %m: f32[8,4] = state \"m\"
         %0: f32[8,4] = dot %x, %g contract=[0]x[0]
         %1: f32[8,4] = constant 0.9
         %2: f32[8,4] = mul %m, %1
         %3: f32[8,4] = add %2, %0
         %4: f32[8,4] = sub %w, %3
         %y: f32[2,4] = dot %x, %w contract=[1]x[0]
         update \"w\" := %4
         update \"m\" := %3
         return a = %y",
        "contraction 2 -> 1: dot
         contraction 4 -> 2: dot constant mul add sub",
    );
}

#[test]
fn operands_of_a_contraction_lie_in_memory() {
    check_fused(
        "",
        "%x: f32[4,4], %w: f32[4,4]",
        "%0: f32[4,4] = tanh %x
         %1: f32[4,4] = dot %0, %w contract=[1]x[0]
         %2: f32[4,4] = add %0, %1
         return a = %2",
        "map 1 -> 1: tanh
         contraction 2 -> 1: dot add",
    );
}

#[test]
fn cheap_values_are_computed_again_from_what_lies_in_memory() {
    // The mask costs less than reading it; the activation lies in memory for the contraction.
    check_fused(
        "",
        "%x: f32[16,16], %w: f32[16,16]",
        "%0: f32[16,16] = dot %x, %w contract=[1]x[0]
         %1: f32[16,16] = relu %0
         %z: f32[16,16] = constant 0.0
         %o: f32[16,16] = constant 1.0
         %m: bool[16,16] = gt %1, %z
         %k: f32[16,16] = select %m, %o, %z
         %2: f32[16,16] = dot %1, %w contract=[1]x[0]
         %3: f32[16,16] = mul %2, %k
         return a = %3",
        "contraction 2 -> 1: dot relu
         contraction 2 -> 1: constant constant gt select dot mul",
    );
}

#[test]
fn maps_over_other_spaces_are_computed_where_they_are_read() {
    check_fused(
        "",
        "%x: f32[4,8], %s: f32[]",
        "%0: f32[] = exp %s
         %1: f32[4,8] = broadcast %0 dims=[]
         %t: f32[4,8] = tanh %x
         %u: f32[8,4] = transpose %t permutation=[1,0]
         %v: f32[8,4] = exp %u
         %2: f32[4,8] = mul %x, %1
         return a = %2, b = %v",
        "map 1 -> 1: tanh transpose exp
         map 2 -> 1: exp broadcast mul",
    );
}

#[test]
fn pieces_are_computed_in_place() {
    check_fused(
        "",
        "%x: f32[4,8], %y: f32[4,2]",
        "%0: f32[4,8] = tanh %x
         %1: f32[4,2] = exp %y
         %2: f32[4,10] = concat %0, %1 axis=1
         %3: f32[4,10] = neg %2
         return a = %3",
        "map 2 -> 1: tanh exp concat
         map 1 -> 1: neg",
    );
}

/// Merging the first and the last node would make a kernel wait for itself.
#[test]
fn cycles_are_refused_and_reported() {
    let program = program(
        "",
        "%x: f32[4,4], %w: f32[4,4]",
        "%0: f32[4,4] = exp %x
         %1: f32[4,4] = dot %0, %w contract=[1]x[0]
         %2: f32[4,4] = tanh %1
         %3: f32[4,4] = dot %2, %w contract=[1]x[0]
         %4: f32[4,4] = add %3, %2
         %5: f32[4,4] = mul %4, %0
         return a = %5",
    );
    let (_, report) = fuse_entry(&program.entries[0], &Machine::BASELINE).unwrap();
    let reasons: Vec<String> =
        report.kernels.iter().flat_map(|k| &k.rejected).map(ToString::to_string).collect();
    assert!(
        reasons.contains(&"%0 into %5: would create a cycle through %2".to_owned()),
        "{reasons:#?}"
    );
    assert!(
        reasons.contains(&"%0 into %1: the consumer reads its operand from memory".to_owned()),
        "{reasons:#?}"
    );
    planned(&program);
}

#[test]
fn roots_that_nothing_computes_are_copied() {
    let program = program(
        "state \"a\": f32[4] = 1.0 buffer\nstate \"b\": f32[4] = 2.0 buffer",
        "%x: f32[4]",
        "%a: f32[4] = state \"a\"
         %b: f32[4] = state \"b\"
         %c: f32[4] = constant [1.0, 2.0, 3.0, 4.0]
         %e: f32[4] = exp %x
         %r: f32[2,2] = reshape %e
         update \"a\" := %a
         update \"b\" := %e
         return x = %x, c = %c, s = %b, e = %e, r = %r, again = %e",
    );
    let after = planned(&program);
    let entry = &after.entries[0];
    // A state that keeps its value is not written; all roots but the first of %e are copies.
    assert_eq!(kernels(entry).len(), 1 + 6);
}

#[test]
fn states_swap() {
    let program = program(
        "state \"a\": f32[4] = 1.0 buffer\nstate \"b\": f32[4] = 2.0 buffer",
        "",
        "%a: f32[4] = state \"a\"
         %b: f32[4] = state \"b\"
         update \"a\" := %b
         update \"b\" := %a",
    );
    // A copy each, and one more that moves the second to its place.
    assert_eq!(kernels(&planned(&program).entries[0]).len(), 3);
}

/// The new value is needed to compute something from the old one, so it waits in the arena.
#[test]
fn a_state_is_written_after_its_last_read() {
    let program = program(
        "state \"w\": f32[4] = 1.0 parameter",
        "%g: f32[4]",
        "%w: f32[4] = state \"w\"
         %n: f32[4] = sub %w, %g
         %t: f32[] = dot %n, %w contract=[0]x[0]
         update \"w\" := %n
         return t = %t",
    );
    let after = planned(&program);
    let entry = &after.entries[0];
    assert_eq!(summary(entry), "map 2 -> 1: sub\ncontraction 2 -> 1: dot\nmap 1 -> 1: ");
    let arena = entry.graph.values().filter(|(_, v)| matches!(v.place, Some(Place::Arena(_))));
    assert_eq!(arena.count(), 1);
}

#[test]
fn a_state_is_updated_where_it_lives() {
    let program = program(
        "state \"w\": f32[4] = 1.0 parameter",
        "%g: f32[4]",
        "%w: f32[4] = state \"w\"
         %n: f32[4] = sub %w, %g
         %t: f32[] = dot %g, %w contract=[0]x[0]
         update \"w\" := %n
         return t = %t",
    );
    let after = planned(&program);
    let entry = &after.entries[0];
    assert_eq!(summary(entry), "contraction 2 -> 1: dot\nmap 2 -> 1: sub");
    assert_eq!(entry.plan.unwrap().arena_bytes, 0);
}

#[test]
fn dying_operands_are_written_over() {
    let program = program(
        "",
        "%x: f32[64], %w: f32[64,64]",
        "%0: f32[64] = dot %x, %w contract=[0]x[0]
         %1: f32[64] = dot %0, %w contract=[0]x[0]
         %2: f32[64] = dot %1, %w contract=[0]x[0]
         %3: f32[64] = add %2, %1
         %4: f32[64] = dot %3, %w contract=[0]x[0]
         return a = %4",
    );
    // %1 is an operand of the contraction that is added to it, so %3 lies beside; then %3 may
    // take the place of %0.
    let entry = &planned(&program).entries[0];
    let plan = entry.plan.unwrap();
    assert_eq!((plan.arena_bytes, plan.lower_bound_bytes), (512, 512));
}

#[test]
fn the_contract_refuses_wrong_kernels() {
    let body = |text: &str, arguments: &str| program("", arguments, text).entries.remove(0).graph;
    let cases = [
        (
            KernelKind::Map,
            "%x: f32[2,3]",
            "%0: f32[3,2] = transpose %x permutation=[1,0]
             return a = %x, b = %0",
        ),
        (KernelKind::Map, "%x: f32[2,3]", "%0: f32[6] = reshape %x\nreturn a = %0"),
        (KernelKind::Map, "%x: f32[2]", "%0: f32[] = reduce_sum %x axes=[0]\nreturn a = %0"),
        (
            KernelKind::Map,
            "%x: f32[2]",
            "%0: f32[4] = concat %x, %x axis=0\n%1: f32[4] = neg %0\nreturn a = %1",
        ),
        (KernelKind::Reduce, "%x: f32[2]", "return a = %x"),
        (
            KernelKind::Reduce,
            "%x: f32[2,2]",
            "%0: f32[2] = reduce_sum %x axes=[0]
             %1: f32[2] = reduce_sum %x axes=[1]
             return a = %0, b = %1",
        ),
        (
            KernelKind::Reduce,
            "%x: f32[2,2]",
            "%0: f32[2] = reduce_sum %x axes=[0]
             %1: f32[2,2] = broadcast %0 dims=[0]
             return a = %1",
        ),
        (
            KernelKind::Contraction,
            "%x: f32[2,2]",
            "%0: f32[2,2] = neg %x
             %1: f32[2,2] = dot %0, %x contract=[1]x[0]
             return a = %1",
        ),
        (
            KernelKind::Contraction,
            "%x: f32[2,2]",
            "%1: f32[2,2] = dot %x, %x contract=[1]x[0]
             %2: f32[2,2] = transpose %1 permutation=[1,0]
             return a = %2",
        ),
    ];
    for (kind, arguments, text) in cases {
        assert!(check_kernel(kind, &body(text, arguments)).is_err(), "{text}");
    }
}

/// A kernel that decides a check, or computes what does, does not write a state: the new value is
/// copied once the checks are decided.
#[test]
fn checks_are_decided_before_states_are_written() {
    let states = "state \"w\": f32[8] = 1.0 parameter\nstate \"ok\": bool[] = true buffer";
    let body = |check: &str| {
        format!(
            "%w: f32[8] = state \"w\"
             %0: f32[8] = add %w, %x
             %1: f32[] = reduce_max %0 axes=[0]
             %2: f32[] = constant 1e30
             %3: bool[] = lt %1, %2
             {check}
             update \"w\" := %0
             update \"ok\" := %3"
        )
    };
    let writers = |check: &str| {
        let planned = planned(&program(states, "%x: f32[8]", &body(check)));
        let entry = &planned.entries[0];
        let decided = entry.decided_after();
        let writes = entry.graph.nodes().filter(|(_, node)| {
            let written = |value| matches!(entry.graph.value(value).place, Some(Place::State(_)));
            matches!(node.op, Op::Kernel(_)) && node.results.iter().copied().any(written)
        });
        let writes: Vec<_> = writes.map(|(id, _)| id).collect();
        (decided, writes, kernels(entry).len())
    };
    let (none, writes, unchecked) = writers("");
    assert_eq!((none, writes.len()), (None, 2));
    let (decided, writes, checked) = writers("check %3, \"small numbers\"");
    assert_eq!((writes.len(), checked), (2, unchecked + 2), "each update is a copy");
    assert!(writes.iter().all(|write| Some(*write) > decided));
    let always = writers("%t: bool[] = constant true\n check %t, \"nothing\"");
    assert_eq!((always.0, always.2), (None, unchecked), "what always holds is not computed");
}

/// How many evaluations one element of a kernel's result takes where nothing is computed once for
/// two indices: the most ways from a result back to any one value.
fn ways(kernel: &Kernel) -> u64 {
    let mut ways = vec![0u64; kernel.body.value_count()];
    for result in kernel.body.results() {
        ways[result.index()] += 1;
    }
    for (_, node) in kernel.body.nodes().rev() {
        for operand in &node.operands {
            ways[operand.index()] =
                ways[operand.index()].saturating_add(ways[node.result().index()]);
        }
    }
    ways.into_iter().max().unwrap_or(0)
}

#[test]
fn what_is_computed_where_it_is_read_does_not_multiply() {
    let mut body = String::new();
    for level in 0..30 {
        let (from, to) = (64 - level, 63 - level);
        let x = if level == 0 { "x".to_owned() } else { format!("m{}", level - 1) };
        body += &format!(
            "%l{level}: f32[{to}] = slice %{x} ranges=[0:{to}]
             %r{level}: f32[{to}] = slice %{x} ranges=[1:{from}]
             %m{level}: f32[{to}] = max %l{level}, %r{level}\n"
        );
    }
    let program = program("", "%x: f32[64]", &format!("{body}return a = %m29"));
    let fused = planned(&program);
    let kernels = kernels(&fused.entries[0]);
    let most = kernels.iter().map(|kernel| ways(kernel)).max().unwrap();
    assert!((4..=64).contains(&most) && kernels.len() < 30, "{most} in {}", kernels.len());
}
