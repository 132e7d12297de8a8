//! Functions with a derivative of their own. It is the true one, so that difference quotients tell
//! whether it is followed.

use kilngrad_ir::op::{BinaryOp, CustomGradient, UnaryOp};
use kilngrad_ir::{Constant, Graph, Literal, Op, Origin, Type, Value};

use super::Generator;
use crate::recipe::{Picks, Regime};

/// A function and what its derivative is written with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Function {
    /// −x: the cotangent alone.
    Negative,
    /// x²: the input.
    Square,
    /// tanh x: the value.
    Tanh,
}

impl Generator {
    pub(super) fn custom_gradient_step(&mut self, picks: &mut Picks<'_>) {
        let float = |value: Value| self.dtype(value).is_float();
        let Some(x) = self.pick_where(picks, float) else { return };
        let mut function = picks.of(&[Function::Square, Function::Tanh, Function::Negative]);
        if function == Function::Tanh && self.case.regime == Regime::Integers {
            // Not exact on whole numbers.
            function = Function::Negative;
        }
        let value = match function {
            Function::Negative => self.unary(UnaryOp::Neg, x),
            Function::Square => self.binary(BinaryOp::Mul, x, x),
            Function::Tanh => self.unary(UnaryOp::Tanh, x),
        };
        let Some(value) = value else { return };
        // What kept an operand small is no part of the function.
        let node = self.graph.defining_node(value).expect("an operation was appended");
        let input = node.operands[0];
        if node.operands.iter().any(|operand| *operand != input) {
            return;
        }
        let backward = way_back(function, self.ty(value));
        let op = Op::CustomGradient(Box::new(CustomGradient { backward }));
        self.emit(op, &[value, input], &[], self.range(value));
    }
}

/// The region of a function of one input and one value of type `ty`.
fn way_back(function: Function, ty: Type) -> Graph {
    let mut body = Graph::new();
    let [cotangent, value, input] = std::array::from_fn(|_| body.add_numbered_argument(ty.clone()));
    let mut emit = |op, operands: &[Value], declared: &[Type]| {
        let node = body.append(op, operands, declared, Origin::unknown());
        let node =
            node.unwrap_or_else(|error| panic!("the generator made an invalid node: {error}"));
        body.node(node).result()
    };
    let result = match function {
        Function::Negative => emit(Op::Unary(UnaryOp::Neg), &[cotangent], &[]),
        Function::Square => {
            let twice = emit(Op::Binary(BinaryOp::Add), &[input, input], &[]);
            emit(Op::Binary(BinaryOp::Mul), &[cotangent, twice], &[])
        }
        Function::Tanh => {
            let one = Op::Constant(Constant::Splat(Literal::from_f64(ty.dtype, 1.0)));
            let one = emit(one, &[], std::slice::from_ref(&ty));
            let square = emit(Op::Binary(BinaryOp::Mul), &[value, value], &[]);
            let slope = emit(Op::Binary(BinaryOp::Sub), &[one, square], &[]);
            emit(Op::Binary(BinaryOp::Mul), &[cotangent, slope], &[])
        }
    };
    body.set_results(vec![result]);
    body
}
