//! The shape that examples of calls share.

/// The doc-test of lines of code about `exe`, whose entry `run` doubles and sums what it is fed,
/// such as `x`, and whose entry `ones` gives as many ones as it is told.
macro_rules! call_example {
    ($($line:literal)+) => {
        concat!(
            "\n```\n",
            "# use kilngrad::prelude::*;\n",
            "# use ndarray::array;\n",
            "# let b = Builder::new(\"example\");\n",
            "# let e = b.entry(\"ones\", Mode::Eval);\n",
            "# e.output(\"y\", e.ones(F32, (b.dim(\"n\"),)));\n",
            "# let e = b.entry(\"run\", Mode::Eval);\n",
            "let x = e.input(\"x\", F32, (b.dim(\"n\"),));\n",
            "e.output(\"y\", x * 2.0);\n",
            "e.output(\"sum\", x.sum(..));\n",
            "let mut exe = b.finish()?.compile(&Options::new())?;\n",
            "let x = array![1f32, 2.0];\n",
            $($line, "\n",)+
            "# Ok::<(), Error>(())\n",
            "```\n"
        )
    };
}
pub(crate) use call_example;
