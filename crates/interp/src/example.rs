//! The shape that examples of evaluation share.

/// The doc-test of lines of code about `program`, whose one entry gives its state and adds to it.
macro_rules! program_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "# use kilngrad_interp::*;\n",
            "# use kilngrad_ir::{text::Limits, Bindings, NodeId, Program, StateId};\n",
            "let program = Program::parse(r#\"kilngrad 1\n",
            "program \"counter\"\n",
            "state \"total\": i64[] = 40 buffer\n",
            "entry @add(%x: i64[]) eval {\n",
            "  %before: i64[] = state \"total\"\n",
            "  %after: i64[] = add %before, %x\n",
            "  update \"total\" := %after\n",
            "  return before = %before\n",
            "}\"#, &Limits::default())?;\n",
            $($line, "\n",)+
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use program_example;
