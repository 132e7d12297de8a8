//! The shape that examples of tensor operations share.

/// The doc-test of an expression: `expression => value`, or `=> about value` to four decimals,
/// then the tensors that the expression names.
///
/// The expression is an output of the entry `e` of the builder `b`. The reference interpreter
/// gives its value, after gradient requests are expanded.
macro_rules! example {
    ($result:expr => about $expected:expr $(; $name:ident = $value:expr)*) => {
        $crate::example::example!(@test stringify!($result);
            concat!("assert_eq!(rounded(&y), Array::from(", stringify!($expected), "));\n");
            $($name = stringify!($value);)*)
    };
    ($result:expr => $expected:expr $(; $name:ident = $value:expr)*) => {
        $crate::example::example!(@test stringify!($result);
            concat!("assert_eq!(y, Array::from(", stringify!($expected), "));\n");
            $($name = stringify!($value);)*)
    };
    (@test $result:expr; $assertion:expr; $($name:ident = $value:expr;)*) => {
        concat!(
            "\n```\n",
            "# use kilngrad_builder::*;\n",
            "# use kilngrad_interp::{Array, Interpreter};\n",
            "# use ndarray::array;\n",
            "# fn rounded(y: &Array) -> Array {\n",
            "#     let round = |y: &f64| match y.is_nan() {\n",
            "#         true => f64::NAN, // whatever its sign\n",
            "#         false => (y * 1e4).round() / 1e4 + 0.0,\n",
            "#     };\n",
            "#     let elements: Vec<f64> = y.to_f64_vec().iter().map(round).collect();\n",
            "#     Array::from_elements(y.shape(), elements).expect(\"as many as before\")\n",
            "# }\n",
            "# fn run(b: Builder) -> Result<Array, Box<dyn std::error::Error>> {\n",
            "#     let program = kilngrad_autodiff::differentiate(&b.finish()?)\n",
            "#         .map_err(|found| found[0].to_string())?;\n",
            "#     Ok(Interpreter::new(program, 0)?.call(\"run\", [])?[\"y\"].clone())\n",
            "# }\n",
            "# let b = Builder::new(\"example\");\n",
            "# let e = b.entry(\"run\", Mode::Eval);\n",
            $("let ", stringify!($name), " = ", $value, ";\n",)*
            "e.output(\"y\", ", $result, ");\n",
            "let y = run(b)?;\n",
            $assertion,
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use example;

/// The doc-test of an optimizer: what a parameter that is 1 becomes when some steps go down the
/// gradient of its square, to four decimals.
macro_rules! step_example {
    ($optimizer:expr; $steps:literal => $expected:literal) => {
        concat!(
            "\n```\n",
            "# use kilngrad_builder::*;\n",
            "# use kilngrad_interp::Interpreter;\n",
            "# fn interpret(b: Builder) -> Result<Interpreter, Box<dyn std::error::Error>> {\n",
            "#     let program = kilngrad_autodiff::differentiate(&b.finish()?)\n",
            "#         .map_err(|found| found[0].to_string())?;\n",
            "#     Ok(Interpreter::new(program, 0)?)\n",
            "# }\n",
            "# let b = Builder::new(\"example\").with_float(F64);\n",
            "let w = b.param(\"w\", (), Init::Ones);\n",
            "let e = b.entry(\"train\", Mode::Train);\n",
            "e.minimize(e.read(w).square(), w, ",
            stringify!($optimizer),
            ");\n",
            "let mut exe = interpret(b)?;\n",
            "for _step in 0..",
            stringify!($steps),
            " {\n",
            "    exe.call(\"train\", [])?;\n",
            "}\n",
            "let w = exe.state(\"w\").expect(\"it is declared\").to_f64_vec()[0];\n",
            "assert!((w - ",
            stringify!($expected),
            ").abs() < 1e-4);\n",
            "# Ok::<(), Box<dyn std::error::Error>>(())\n",
            "```\n"
        )
    };
}
pub(crate) use step_example;
