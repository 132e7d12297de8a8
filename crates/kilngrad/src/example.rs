//! The shape that examples of running a program share.

/// The doc-test of lines of code about `program`, whose entry doubles what it is fed and adds it
/// up in a state.
macro_rules! program_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "use kilngrad::prelude::*;\n",
            "use ndarray::array;\n",
            "\n",
            "let b = Builder::new(\"doubles\");\n",
            "let total = b.param(\"total\", (), Init::Zeros);\n",
            "let e = b.entry(\"run\", Mode::Eval);\n",
            "let x = e.input(\"x\", F32, (b.dim(\"n\"),));\n",
            "e.update(total, e.read(total) + x.sum(..));\n",
            "e.output(\"y\", x * 2.0);\n",
            "let program = b.finish()?;\n",
            "\n",
            $($line, "\n",)+
            "# Ok::<(), Error>(())\n",
            "```\n"
        )
    };
}
pub(crate) use program_example;
