//! Text and programs turn into each other without loss.

#![allow(clippy::unwrap_used)]

use kilngrad_ir::op::BinaryOp;
use kilngrad_ir::text::{Limits, ParseOptions, PrintOptions, no_arrays, parse, print};
use kilngrad_ir::{
    Constant, DType, Dense, Entry, Graph, Init, Literal, Mode, Op, Origin, Program, Role, Site,
    Source, State, StateId, Type, Value, ValueName, verify,
};

const EVERYTHING: &str = include_str!("everything.kg");

fn read(text: &str) -> Program {
    match parse(text, &ParseOptions::new("test.kg"), &mut no_arrays) {
        Ok(program) => program,
        Err(errors) => panic!("{}", errors.render(&Source { file: "test.kg", text })),
    }
}

/// Text that is as the printer writes it comes back letter for letter, and so does the program.
#[test]
fn canonical_text_is_a_fixed_point() {
    let program = read(EVERYTHING);
    let printed = program.to_string();
    assert_eq!(printed, EVERYTHING);
    assert_eq!(read(&printed), program);
    assert_eq!(Program::parse(&printed, &Limits::default()).unwrap(), program);
    assert_eq!(print(&program, &PrintOptions::default()).text, printed);
}

/// The text means the same however it is laid out, and with comments.
#[test]
fn layout_and_comments_mean_nothing() {
    let text = "kilngrad 1 ; a comment
program \"p\" // another

state \"s\" : f32 [ 2 ] = [ 1.0 , 2 ] buffer
entry @e(
  %x: f32[ n , 1*n + n - n*1 + 0 ], // an argument
  %y: f32[n,n]
) eval { %0: f32[n,n] = add %x, %y

  return a = %0 }
";
    let canonical = "kilngrad 1
program \"p\"

state \"s\": f32[2] = [1.0, 2.0] buffer

entry @e(%x: f32[n,n], %y: f32[n,n]) eval {
  %0: f32[n,n] = add %x, %y
  return a = %0
}
";
    assert_eq!(read(text).to_string(), canonical);
    assert_eq!(read(&text.replace('\n', "\r\n")).to_string(), canonical);
}

/// Every dimension is written so that it is read back, at the ends of the range too.
#[test]
fn dimensions() {
    for dim in [
        "0",
        "-1",
        "n",
        "-n",
        "h*w + 2*n - 1",
        "9223372036854775807*n",
        "-9223372036854775808",
        "-9223372036854775808*n*n + n - 9223372036854775808",
        "a.b*c_d",
        "\"batch \\u{202e} size\"",
    ] {
        let text = format!(
            "kilngrad 1\nprogram \"\"\n\nentry @e() eval {{\n  %0: i64[] = dimension {dim}\n}}\n"
        );
        assert_eq!(read(&text).to_string(), text);
    }
}

#[test]
fn literals_keep_their_bits() {
    let cases: [(DType, &[u64]); 6] = [
        (
            DType::F32,
            &[
                0,
                1 << 31,
                1,
                0x7f7f_ffff,
                0x7f80_0000,
                0xff80_0000,
                0x7fc0_0000,
                0xffc0_0000,
                0x7f80_0001,
                0xffff_ffff,
                0x3dcc_cccd,
                0x007f_ffff,
            ],
        ),
        (
            DType::F64,
            &[
                0,
                1 << 63,
                1,
                0x7fef_ffff_ffff_ffff,
                0x7ff0_0000_0000_0000,
                0xfff0_0000_0000_0000,
                0x7ff8_0000_0000_0000,
                0xfff8_0000_0000_0000,
                0x7ff0_0000_0000_0001,
                u64::MAX,
                0x3fb9_9999_9999_999a,
            ],
        ),
        (DType::I32, &[0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]),
        (DType::I64, &[0, i64::MAX as u64, 1 << 63, u64::MAX]),
        (DType::U8, &[0, 255]),
        (DType::Bool, &[0, 1]),
    ];
    for (dtype, bits) in cases {
        let literals = bits.iter().map(|bits| Literal::from_bits(dtype, *bits));
        let ty = Type::new(dtype, [bits.len()].into_iter().collect());
        let splats = literals.clone().map(Constant::Splat);
        let dense = Constant::Dense(Dense::new(dtype, literals).unwrap());
        let mut graph = Graph::new();
        for constant in splats.chain([dense]) {
            let op = Op::Constant(constant);
            graph.append(op, &[], std::slice::from_ref(&ty), Origin::unknown()).unwrap();
        }
        let mut program = Program::new("literals");
        program.entries.push(Entry::new("e", Mode::Eval, graph));
        assert_eq!(read(&program.to_string()), program);
    }
}

/// A program that was built in an order that the text does not have.
#[test]
fn arguments_may_be_added_after_nodes() {
    let ty = Type::new(DType::F32, [3usize].into_iter().collect());
    let word = |word: &str| ValueName::word(word).unwrap();
    let mut graph = Graph::new();
    let x = graph.add_argument(word("x"), ty.clone());
    let node = graph.append(Op::StopGradient, &[x], &[], Origin::unknown()).unwrap();
    let copy = graph.node(node).result();
    let y = graph.add_argument(word("y"), ty.clone());
    let node = graph.append(Op::Binary(BinaryOp::Add), &[copy, y], &[], Origin::unknown()).unwrap();
    let sum = graph.node(node).result();
    graph.set_results(vec![sum]);
    graph.fresh_name();
    let mut program = Program::new("late");
    let init = Init::Splat(Literal::from_f64(DType::F32, 0.0));
    program.states.push(State { path: "s".into(), ty, init, role: Role::Buffer });
    let mut entry = Entry::new("e", Mode::Train, graph);
    entry.outputs = vec!["sum".into()];
    entry.updates = vec![(StateId::from_index(0), y)];
    program.entries.push(entry);
    assert_eq!(read(&program.to_string()), program);
    program.entries[0].updates[0].1 = sum;
    assert_ne!(read(&program.to_string().replace(":= %1", ":= %y")), program);
}

/// Arrays above the given size go beside the text; whoever has them gets the program back.
#[test]
fn arrays_beside_the_text() {
    let program = read(EVERYTHING);
    let some = PrintOptions { external_above: 2, external_states: false };
    let printed = print(&program, &some);
    let lengths: Vec<_> =
        printed.arrays.iter().map(|array| (array.key.as_str(), array.elements.len())).collect();
    assert_eq!(lengths, [("norm.mean", 3), ("kilngrad.constant.0", 128)]);
    assert!(printed.text.contains("state \"norm.mean\": f64[3] = external \"norm.mean\" buffer"));
    let options = ParseOptions::new("test.kg");
    let again = parse(&printed.text, &options, &mut |key, ty| printed.array(key, ty));
    assert_eq!(again, Ok(program.clone()));
    let missing = parse(&printed.text, &options, &mut no_arrays).unwrap_err();
    assert_eq!(missing.diagnostics()[0].rule, "text_t5");
    let other = Dense::new(DType::I32, []).unwrap();
    let wrong = parse(&printed.text, &options, &mut |_, _| Ok(other.clone())).unwrap_err();
    assert_eq!(wrong.diagnostics()[0].rule, "constant_c1");

    // A file of weights has every state's array, and no other has a state's path for its key.
    let states = PrintOptions { external_above: 3, external_states: true };
    let text = program.to_string().replace("\"flag\"", "\"kilngrad.constant.0\"");
    let program = read(&text);
    let printed = print(&program, &states);
    let keys: Vec<_> = printed.arrays.iter().map(|array| array.key.as_str()).collect();
    assert_eq!(keys, ["norm.mean", "kilngrad.constant.0", "kilngrad.constant.1"]);
    let again = parse(&printed.text, &options, &mut |key, ty| printed.array(key, ty));
    assert_eq!(again, Ok(program));
}

/// On request a node without an origin gets its line of the text.
#[test]
fn lines_of_the_text_as_origins() {
    let options = ParseOptions { sites: true, ..ParseOptions::new("dir/a.kg") };
    let program = parse(EVERYTHING, &options, &mut no_arrays).unwrap();
    let entry = program.entry("step").unwrap();
    let sites: Vec<String> =
        entry.graph.nodes().take(7).map(|(_, node)| node.origin.to_string()).collect();
    assert_eq!(sites[0], "@dir/a.kg:14:3");
    assert_eq!(sites[5], "@src/mlp.rs:14:20 in \"net.hidden\"");
    assert_eq!(sites[6], "@\"with space.rs\":1:2");
}

/// A dump of a broken program says what it can.
#[test]
fn broken_programs_are_written() {
    let mut graph = Graph::new();
    let value = Value::from_index(7);
    let ty = Type::scalar(DType::F32);
    graph.append_unchecked(Op::State(StateId::from_index(3)), &[], &[ty], Origin::unknown());
    graph.append_unchecked(Op::Gradient { or_zero: false }, &[], &[], Origin::unknown());
    graph.append_unchecked(Op::StopGradient, &[value], &[], Origin::unknown());
    graph.set_results(vec![value]);
    let mut program = Program::new("broken");
    let mut entry = Entry::new("not a word", Mode::Eval, graph);
    entry.updates = vec![(StateId::from_index(0), value)];
    program.entries.push(entry);
    assert_eq!(
        program.to_string(),
        "kilngrad 1
program \"broken\"

entry @\"not a word\"() eval {
  %0: f32[] = state ?
   = gradient %? wrt ()
   = stop_gradient %?
  update ? := %?
  return ? = %?
}
"
    );
}

/// A name that would not be read back is not one.
#[test]
fn names_are_words() {
    for name in ["", "a b", "1a", "é", ".a"] {
        let mut graph = Graph::new();
        graph.add_argument(ValueName::Word(name.into()), Type::scalar(DType::F32));
        let mut program = Program::new("names");
        program.entries.push(Entry::new("e", Mode::Eval, graph));
        assert_eq!(verify(&program).unwrap_err().error.rule, "graph_v1", "{name:?}");
    }
}

/// Positions in files are shown so that a file's name cannot steer a terminal.
#[test]
fn sites_are_shown_escaped() {
    let site = |file: &str| Site { file: file.into(), line: 1, column: 2 }.to_string();
    assert_eq!(site("src/größe 1.rs"), "src/größe 1.rs:1:2");
    assert_eq!(site("C:\\a.rs"), "C:\\a.rs:1:2");
    assert_eq!(site("\u{1b}[31m"), "\"\\u{1b}[31m\":1:2");
}
