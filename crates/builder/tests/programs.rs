//! Whole programs: what they contain, that they verify, and that their text reads back.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad_builder::*;
use kilngrad_ir::text::Limits;
use kilngrad_ir::{Init as StateInit, Op, Role, random::stream_of};

struct Mlp {
    hidden: Dense,
    head: Dense,
}

impl Mlp {
    fn new(s: &Scope) -> Self {
        Mlp { hidden: Dense::new(s, "hidden", 64, 64), head: Dense::new(s, "head", 64, 10) }
    }

    const FORWARD: u32 = line!() + 3;

    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.head.forward(self.hidden.forward(x).relu().dropout("drop", 0.1))
    }
}

fn mlp() -> Program {
    let b = Builder::new("digits");
    let n = b.dim("n");
    let net = Mlp::new(&b.scope("net"));
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 64)), train.input("y", I64, (n,)));
    let loss = net.forward(x).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);
    let predict = b.entry("predict", Mode::Eval);
    predict.output("probs", net.forward(predict.input("x", F32, (n, 64))).softmax(-1));
    b.finish().unwrap()
}

#[track_caller]
fn check_text(program: &Program) {
    let text = program.to_string();
    let parsed = Program::parse(&text, &Limits::default()).unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(&parsed, program);
}

fn paths(program: &Program, role: Role) -> Vec<&str> {
    program.states.iter().filter(|s| s.role == role).map(|s| &*s.path).collect()
}

#[test]
fn mlp_has_its_states_and_entries() {
    let program = mlp();
    let parameters = ["net.hidden.w", "net.hidden.b", "net.head.w", "net.head.b"];
    assert_eq!(paths(&program, Role::Parameter), parameters);
    assert_eq!(paths(&program, Role::Random), ["random.seed", "random.counter"]);
    assert_eq!(
        paths(&program, Role::Optimizer)[..3],
        ["net.hidden.w.adam.step", "net.hidden.w.adam.m", "net.hidden.w.adam.v"]
    );
    let stream = stream_of("net.hidden.w");
    let init = StateInit::Uniform { low: -0.125, high: 0.125, stream };
    assert_eq!(program.states[0].init, init);
    let train = program.entry("train").unwrap();
    // Four parameters with two moments each, the step, the counter of random numbers.
    assert_eq!(train.updates.len(), 4 * 3 + 2);
    let is_gradient = |op: &Op| matches!(op, Op::Gradient { .. });
    assert_eq!(train.graph.nodes().filter(|(_, node)| is_gradient(&node.op)).count(), 1);
    let predict = program.entry("predict").unwrap();
    assert!(predict.updates.is_empty());
    assert!(predict.graph.nodes().all(|(_, node)| !matches!(node.op, Op::Random { .. })));
    check_text(&program);
}

#[test]
fn values_carry_sites_scopes_and_names() {
    let program = mlp();
    let text = program.entry("train").unwrap().graph.clone();
    let dot = text.nodes().find(|(_, node)| matches!(node.op, Op::Dot(_))).unwrap().1;
    assert_eq!(dot.origin.scope(), "net.hidden");
    let site = dot.origin.site().unwrap();
    assert!(site.file.ends_with("programs.rs"));
    assert_eq!(site.line, Mlp::FORWARD);
    let scopes: Vec<&str> = text.nodes().map(|(_, node)| node.origin.scope()).collect();
    assert!(scopes.contains(&"cross_entropy.log_softmax"));
    assert!(scopes.contains(&"minimize"));
    let printed = program.to_string();
    assert!(printed.contains("%net.hidden.w: f32[64,64] = state \"net.hidden.w\""), "{printed}");
    assert!(printed.contains("%loss"), "{printed}");
    assert!(printed.contains("%net.hidden.w.next"), "{printed}");
}

#[test]
fn the_same_calls_give_the_same_program() {
    let differs = mlp().to_string() != mlp().to_string();
    assert!(!differs);
}

#[test]
fn gan_updates_each_network_in_its_entry() {
    struct Net {
        fc: Dense,
        out: Dense,
    }
    impl Net {
        fn new(s: &Scope, i: usize, o: usize) -> Self {
            Net { fc: Dense::new(s, "fc", i, 128), out: Dense::new(s, "out", 128, o) }
        }
        fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
            self.out.forward(self.fc.forward(x).leaky_relu(0.2))
        }
    }

    let b = Builder::new("gan");
    let n = b.dim("n");
    let (g, d) = (Net::new(&b.scope("g"), 32, 64), Net::new(&b.scope("d"), 64, 1));
    let adam = || Adam::new(2e-4).betas(0.5, 0.999);

    let e = b.entry("step_d", Mode::Train);
    let fake = g.forward(e.normal("z", (n, 32))).sigmoid().stop_gradient();
    let real = d.forward(e.input("real", F32, (n, 64)));
    let loss = real.bce_with_logits(1.0) + d.forward(fake).bce_with_logits(0.0);
    e.minimize(loss, b.params("d"), adam());
    e.output("loss", loss);

    let e = b.entry("step_g", Mode::Train);
    let fake = g.forward(e.normal("z", (n, 32))).sigmoid();
    let loss = d.forward(fake).bce_with_logits(1.0);
    e.minimize(loss, b.params("g"), adam());
    e.output("loss", loss);

    let e = b.entry("sample", Mode::Eval);
    e.output("images", g.forward(e.input("z", F32, (n, 32))).sigmoid());

    let program = b.finish().unwrap();
    let updated = |entry: &str, role: Role| -> Vec<&str> {
        let updates = program.entry(entry).unwrap().updates.iter();
        let states = updates.map(|(id, _)| program.state(*id));
        states.filter(|state| state.role == role).map(|state| &*state.path).collect()
    };
    assert_eq!(updated("step_d", Role::Parameter), ["d.fc.w", "d.fc.b", "d.out.w", "d.out.b"]);
    assert_eq!(updated("step_g", Role::Parameter), ["g.fc.w", "g.fc.b", "g.out.w", "g.out.b"]);
    assert_eq!(updated("step_d", Role::Random), ["random.counter"]);
    assert!(updated("step_d", Role::Optimizer).iter().all(|path| path.starts_with("d.")));
    // A state is read once an entry, however often the layer is applied.
    let step = program.entry("step_d").unwrap();
    let reads = step.graph.nodes().filter(|(_, node)| matches!(node.op, Op::State(_))).count();
    assert_eq!(reads, 2 + 4 + 4 + 1 + 8);
    check_text(&program);
}

#[test]
fn with_float_switches_the_whole_program() {
    let b = Builder::new("wide").with_float(F64);
    let layer = Dense::new(&b.root(), "layer", 3, 1);
    let e = b.entry("train", Mode::Train);
    let x = e.input("x", F32, (b.dim("n"), 3));
    let noise = e.normal("noise", (3,));
    let y = layer.forward(x + noise + e.constant((3,), &[1f32, 2.0, 3.0])).dropout("drop", 0.5);
    let loss = y.mse_loss(e.full(F32, (), 0.5)) + e.iota(I64, (4,), 0).cast(F32).sum(..);
    e.minimize(loss, b.params(""), Adam::new(1e-3));
    e.output("loss", loss);
    let program = b.finish().unwrap();
    let narrow = |ty: &kilngrad_ir::Type| ty.dtype == F32;
    assert!(!program.states.iter().any(|state| narrow(&state.ty)));
    assert!(!program.entries[0].graph.values().any(|(_, value)| narrow(&value.ty)));
    check_text(&program);
}

#[test]
fn streams_depend_on_paths_alone() {
    let streams = |more: bool| -> Vec<u64> {
        let b = Builder::new("streams");
        let e = b.entry("e", Mode::Train);
        let x = e.input("x", F32, (4,));
        if more {
            e.output("other", x.dropout("other", 0.5));
        }
        let twice = x.dropout("drop", 0.5) + x.dropout("drop", 0.5);
        e.output("y", twice + e.within("block", || x.dropout("drop", 0.5)));
        let program = b.finish().unwrap();
        let nodes = program.entries[0].graph.nodes();
        let mut streams = Vec::new();
        for (_, node) in nodes {
            if let Op::Random { stream } = node.op {
                streams.push(stream);
            }
        }
        streams
    };
    let expected = ["drop", "drop#2", "block.drop"].map(stream_of);
    assert_eq!(streams(false), expected);
    assert_eq!(streams(true)[1..], expected);
}

#[test]
fn prefixes_select_whole_names() {
    let b = Builder::new("prefixes");
    let w = b.scope("net").param("w", (), Init::Ones);
    let deep = b.scope("net.a").param("w", (), Init::Ones);
    let other = b.scope("network").param("w", (), Init::Ones);
    b.scope("net").state("mean", F32, (), Init::Zeros);
    let selected = |prefix: &str| b.params(prefix).iter().collect::<Vec<Param>>();
    assert_eq!(selected("net"), [w, deep]);
    assert_eq!(selected("net.w"), [w]);
    assert_eq!(selected(""), [w, deep, other]);
}

#[test]
fn reading_after_an_update_gives_the_new_value() {
    let b = Builder::new("updates");
    let w = b.state("w", F32, (), Init::Zeros);
    let e = b.entry("e", Mode::Eval);
    let before = e.read(w);
    e.update(w, before + 1);
    e.update(w, e.read(w) * 2);
    e.output("before", before);
    e.output("after", w);
    let program = b.finish().unwrap();
    let entry = &program.entries[0];
    assert_eq!(entry.updates.len(), 1);
    assert_eq!(entry.graph.results()[1], entry.updates[0].1);
    assert_ne!(entry.graph.results()[0], entry.graph.results()[1]);
}

#[test]
fn entries_may_share_an_optimizers_state_and_names_keep_two_apart() {
    let b = Builder::new("shared");
    let w = b.param("w", (2,), Init::Ones);
    for (name, rate) in [("warm", 1e-4), ("train", 1e-2)] {
        let e = b.entry(name, Mode::Train);
        e.minimize(e.read(w).square().sum(..), w, Adam::new(rate));
    }
    let e = b.entry("tune", Mode::Train);
    let optimizer = Adam::new(e.input("lr", F32, ())).eps(1e-6).named("tune");
    e.minimize(e.read(w).square().sum(..), w, optimizer);
    let program = b.finish().unwrap();
    assert_eq!(
        paths(&program, Role::Optimizer),
        ["w.adam.step", "w.adam.m", "w.adam.v", "w.tune.step", "w.tune.m", "w.tune.v"]
    );
    check_text(&program);
}

#[test]
fn a_long_chain_builds_on_a_small_stack() {
    let build = || {
        let b = Builder::new("chain");
        let e = b.entry("e", Mode::Eval);
        let mut x = e.input("x", F32, (b.dim("n"),));
        for step in 0..50_000 {
            x = (x + f64::from(step)).named("h");
        }
        e.output("y", x);
        let program = b.finish().unwrap();
        assert_eq!(program.entries[0].graph.node_count(), 100_000);
    };
    let start = std::time::Instant::now();
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(build).unwrap();
    thread.join().unwrap();
    // Quadratic work would take minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
