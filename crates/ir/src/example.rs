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
