//! Symbols get their values from what is fed.

use std::borrow::Cow;

use kilngrad_ir::infer::RuleError;
use kilngrad_ir::op::{PadAxis, SliceAxis};
use kilngrad_ir::{Bindings, Dim, Graph, Op, Type};

use crate::array::Array;
use crate::error::InterpError;

/// The symbols of a graph with the lengths that `inputs`, its arguments in order, give them.
///
/// A symbol that is alone in a dimension is bound by the first such axis; every axis is then
/// checked against its dimension.
///
/// # Errors
///
/// An input whose number, dtype, rank or lengths are not as declared.
///
/// # Examples
///
/// ```
/// use kilngrad_interp::{Array, bind_inputs};
/// use kilngrad_ir::{DType, Graph, Shape, Symbol, Type};
///
/// let mut graph = Graph::new();
/// graph.add_numbered_argument(Type::new(DType::F32, Shape::new([Symbol::new("n")])));
/// let bindings = bind_inputs(&graph, &[Array::from(vec![1f32, 2.0, 3.0])])?;
/// assert_eq!(bindings[&Symbol::new("n")], 3);
/// # Ok::<(), kilngrad_interp::InterpError>(())
/// ```
pub fn bind_inputs(graph: &Graph, inputs: &[Array]) -> Result<Bindings, InterpError> {
    let arguments = graph.arguments();
    if arguments.len() != inputs.len() {
        return Err(InterpError::InputCount { expected: arguments.len(), found: inputs.len() });
    }
    let mut bindings = Bindings::new();
    for (&argument, input) in arguments.iter().zip(inputs) {
        let ty = graph.ty(argument);
        if ty.dtype != input.dtype() || ty.rank() != input.shape().len() {
            return Err(InterpError::InputType {
                name: graph.name(argument).to_string(),
                expected: Box::new(ty.clone()),
                found: Box::new(input.ty()),
            });
        }
        for (dim, length) in ty.shape.dims().iter().zip(input.shape()) {
            if let Some(symbol) = dim.as_symbol() {
                bindings.entry(symbol.clone()).or_insert(*length);
            }
        }
    }
    for (&argument, input) in arguments.iter().zip(inputs) {
        let dims = graph.ty(argument).shape.dims();
        for (axis, (dim, &found)) in dims.iter().zip(input.shape()).enumerate() {
            let expected = value(dim, &bindings).map_err(|error| InterpError::Rule {
                error,
                value: graph.name(argument).to_string(),
                site: None,
            })?;
            if usize::try_from(expected) != Ok(found) {
                return Err(InterpError::InputLength {
                    name: graph.name(argument).to_string(),
                    axis,
                    expected: if dim.as_constant().is_some() {
                        dim.to_string()
                    } else {
                        format!("{dim} = {expected}")
                    },
                    found,
                });
            }
        }
    }
    Ok(bindings)
}

/// The value of a dimension; the error is of the rule `symbol_c1`.
pub(crate) fn value(dim: &Dim, bindings: &Bindings) -> Result<i64, RuleError> {
    dim.evaluate(bindings).ok_or_else(|| RuleError {
        rule: "symbol_c1",
        message: match dim.symbols().find(|symbol| !bindings.contains_key(*symbol)) {
            Some(symbol) => format!(
                "expected each symbol to be the length of an axis of an input, found {symbol} \
                 which is none's"
            ),
            None => format!("expected a length that fits 64 bits, found {dim}"),
        },
    })
}

/// A type without symbols whose size fits memory.
pub(crate) fn bound_type(ty: &Type, bindings: &Bindings) -> Result<Type, RuleError> {
    for dim in ty.shape.dims() {
        value(dim, bindings)?;
    }
    let bound = ty.shape.bind(bindings).map(|shape| Type::new(ty.dtype, shape));
    bound.filter(|bound| bound.byte_count().is_some()).ok_or_else(|| RuleError {
        rule: "graph_v4",
        message: format!("expected lengths of at least 0 whose size fits memory, found {ty}"),
    })
}

/// An operation without symbols.
pub(crate) fn bound_op<'o>(op: &'o Op, bindings: &Bindings) -> Result<Cow<'o, Op>, RuleError> {
    let constant = |dim: &Dim| Ok::<_, RuleError>(Dim::constant(value(dim, bindings)?));
    Ok(match op {
        Op::Slice(axes) => {
            let axes = axes.iter().map(|axis| {
                let (start, limit) = (constant(&axis.start)?, constant(&axis.limit)?);
                Ok(SliceAxis { start, limit, stride: axis.stride })
            });
            Cow::Owned(Op::Slice(axes.collect::<Result<_, RuleError>>()?))
        }
        Op::Pad(axes) => {
            let axes = axes.iter().map(|axis| {
                let (low, high) = (constant(&axis.low)?, constant(&axis.high)?);
                Ok(PadAxis { low, high, interior: axis.interior })
            });
            Cow::Owned(Op::Pad(axes.collect::<Result<_, RuleError>>()?))
        }
        Op::Dimension(dim) => Cow::Owned(Op::Dimension(constant(dim)?)),
        Op::State(_)
        | Op::Constant(_)
        | Op::Iota { .. }
        | Op::Random { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Argsort { .. }
        | Op::Dot(_)
        | Op::Broadcast { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Windows(_)
        | Op::Fold(_)
        | Op::StopGradient
        | Op::CustomGradient(_)
        | Op::Gradient { .. }
        | Op::Scan(_)
        | Op::Cond(_)
        | Op::While(_)
        | Op::Kernel(_) => Cow::Borrowed(op),
    })
}
