//! The shape that examples of what reads a graph share.

/// The doc-test of lines of code about `graph`, the body of the one entry of `program`, whose
/// values are `x`, `twice` and `y`.
macro_rules! graph_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "# use kilngrad_ir::{op::*, rewrite::*, text::Limits, *};\n",
            "let program = Program::parse(r#\"kilngrad 1\n",
            "program \"example\"\n",
            "entry @run(%x: f32[3]) eval {\n",
            "  %twice: f32[3] = add %x, %x\n",
            "  %y: f32[3] = relu %twice\n",
            "  return y = %y\n",
            "}\"#, &Limits::default())?;\n",
            "let graph = &program.entries[0].graph;\n",
            "let [x, twice, y] = [0, 1, 2].map(Value::from_index);\n",
            $($line, "\n",)+
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use graph_example;

/// The doc-test of lines of code about `scan`, which has a constant, a carry and what it scans and
/// stacks.
macro_rules! scan_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "# use kilngrad_ir::{NodeId, Op, Program, text::Limits};\n",
            "let program = Program::parse(r#\"kilngrad 1\n",
            "program \"example\"\n",
            "entry @run(%k: f32[3], %first: f32[3], %xs: f32[5,3]) eval {\n",
            "  %last: f32[3], %all: f32[5,3] = ",
            "scan(%c = %k) carry (%h = %first) over (%x = %xs) length=5 {\n",
            "    %kept: f32[3] = mul %c, %h\n",
            "    %next: f32[3] = add %kept, %x\n",
            "    yield %next, %next\n",
            "  }\n",
            "  return last = %last, all = %all\n",
            "}\"#, &Limits::default())?;\n",
            "let node = program.entries[0].graph.node(NodeId::from_index(0));\n",
            "let Op::Scan(scan) = &node.op else { panic!(\"found {}\", node.op.name()) };\n",
            $($line, "\n",)+
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use scan_example;

/// The doc-test of lines of code about `cond`, whose first region reads one value and whose second
/// one reads two.
macro_rules! cond_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "# use kilngrad_ir::{NodeId, Op, Program, text::Limits};\n",
            "let program = Program::parse(r#\"kilngrad 1\n",
            "program \"example\"\n",
            "entry @run(%p: bool[], %x: f32[3], %z: f32[3]) eval {\n",
            "  %y: f32[3] = cond %p (%a = %x) {\n",
            "    %exp: f32[3] = exp %a\n",
            "    yield %exp\n",
            "  } else (%a = %x, %b = %z) {\n",
            "    %sum: f32[3] = add %a, %b\n",
            "    yield %sum\n",
            "  }\n",
            "  return y = %y\n",
            "}\"#, &Limits::default())?;\n",
            "let node = program.entries[0].graph.node(NodeId::from_index(0));\n",
            "let Op::Cond(cond) = &node.op else { panic!(\"found {}\", node.op.name()) };\n",
            $($line, "\n",)+
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use cond_example;

/// The doc-test of lines of code about `repeat`, a `while` whose regions have a constant each, with
/// two carries.
macro_rules! while_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "# use kilngrad_ir::{NodeId, Op, Program, text::Limits};\n",
            "let program = Program::parse(r#\"kilngrad 1\n",
            "program \"example\"\n",
            "entry @run(%n: i64[], %one: i64[], %zero: i64[], %x: f32[3]) eval {\n",
            "  %count: i64[], %y: f32[3] = ",
            "while (%n = %n) carry (%i = %zero, %h = %x) {\n",
            "    %more: bool[] = lt %i, %n\n",
            "    yield %more\n",
            "  } do (%one = %one) carry (%i, %h) {\n",
            "    %next: i64[] = add %i, %one\n",
            "    %twice: f32[3] = add %h, %h\n",
            "    yield %next, %twice\n",
            "  }\n",
            "  return y = %y\n",
            "}\"#, &Limits::default())?;\n",
            "let node = program.entries[0].graph.node(NodeId::from_index(0));\n",
            "let Op::While(repeat) = &node.op else { panic!(\"found {}\", node.op.name()) };\n",
            $($line, "\n",)+
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use while_example;
