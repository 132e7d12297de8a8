//! Type rules: what each operation asks of its operands and what type it gives.
//!
//! Every rule has a label, which errors carry and docs/ir.md explains. Types are *declared* where
//! operands do not determine them: by `state` (the state's type), `constant`, `dimension`,
//! `iota`, `random`, `cast` (the dtype), `broadcast`, `reshape`, `fold` and `kernel`. Elsewhere they are
//! inferred, and a declared type must equal the inferred one.
//!
//! # Examples
//!
//! ```
//! use kilngrad_ir::{DType, Op, Shape, Type, infer::infer};
//!
//! let x = Type::new(DType::F32, Shape::new([2, 3]));
//! let op = Op::Transpose { permutation: [1, 0].into_iter().collect() };
//! assert_eq!(infer(&op, &[&x], &[])?[0].to_string(), "f32[3,2]");
//! # Ok::<(), kilngrad_ir::infer::RuleError>(())
//! ```

use std::fmt;

use smallvec::SmallVec;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Graph, Value};
use crate::literal::Constant;
use crate::op::{
    Axes, Cond, CustomGradient, Domain, DotAxes, Kernel, Op, PadAxis, Scan, SliceAxis, While,
    Window,
};
use crate::types::Type;

/// A broken rule.
///
/// ```
/// use kilngrad_ir::{DType, Op, Type, infer::infer, op::UnaryOp};
///
/// let error = infer(&Op::Unary(UnaryOp::Exp), &[&Type::scalar(DType::I32)], &[]);
/// let error = error.expect_err("`exp` is of floats");
/// assert!(error.message.contains("expected a float dtype (f32, f64)"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The rule's label, such as `dot_c2`.
    pub rule: &'static str,
    /// What was expected and what was found, in lower case and without a period.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.rule)
    }
}

impl std::error::Error for RuleError {}

/// Result types of a node.
///
/// ```
/// use kilngrad_ir::{DType, Op, Type, infer::{Types, infer}, op::CompareOp};
///
/// let x = Type::scalar(DType::F32);
/// let types: Types = infer(&Op::Compare(CompareOp::Lt), &[&x, &x], &[])?;
/// assert_eq!(types[0].dtype, DType::Bool);
/// # Ok::<(), kilngrad_ir::infer::RuleError>(())
/// ```
pub type Types = SmallVec<[Type; 1]>;

/// The types of the results of `op` applied to operands of these types. `declared` are the types
/// written for the results; empty where the operation infers them.
///
/// # Errors
///
/// The first rule that is broken.
///
/// # Examples
///
/// ```
/// use kilngrad_ir::{DType, Op, Shape, Type, infer::infer, op::ReduceOp};
///
/// let x = Type::new(DType::F32, Shape::new([2, 3]));
/// let op = Op::Reduce { op: ReduceOp::Sum, axes: [0].into_iter().collect() };
/// assert_eq!(infer(&op, &[&x], &[])?[0].to_string(), "f32[3]");
/// # Ok::<(), kilngrad_ir::infer::RuleError>(())
/// ```
pub fn infer(op: &Op, operands: &[&Type], declared: &[Type]) -> Result<Types, RuleError> {
    let inferred = match op {
        Op::State(_) => {
            arity("state", operands, 0)?;
            one_declared("state", declared)?
        }
        Op::Constant(constant) => {
            arity("constant", operands, 0)?;
            constant_type(constant, one_declared("constant", declared)?)?
        }
        Op::Dimension(_) => {
            arity("dimension", operands, 0)?;
            let ty = one_declared("dimension", declared)?;
            let fits = ty.rank() == 0 && Domain::Number.contains(ty.dtype);
            check(fits, "dimension_c1", || {
                format!("expected a scalar of a number dtype, found {ty}")
            })?;
            ty
        }
        Op::Iota { axis } => {
            arity("iota", operands, 0)?;
            let ty = one_declared("iota", declared)?;
            check(Domain::Number.contains(ty.dtype), "iota_c1", || {
                format!("expected {}, found {ty}", Domain::Number.describe())
            })?;
            axis_in(*axis, ty.rank(), "iota_c2")?;
            ty
        }
        Op::Random { .. } => {
            arity("random", operands, 2)?;
            let key = Type::scalar(DType::I64);
            check(operands.iter().all(|ty| **ty == key), "random_c1", || {
                format!("expected seed and counter of type {key}, found {}", list(operands))
            })?;
            let ty = one_declared("random", declared)?;
            check(!matches!(ty.dtype, DType::Bool | DType::U8), "random_c2", || {
                format!("expected dtype f32, f64, i32 or i64, found {ty}")
            })?;
            ty
        }
        Op::Unary(op) => {
            arity(op.row().name, operands, 1)?;
            domain(op.row().domain, operands[0], "unary_c1")?;
            operands[0].clone()
        }
        Op::Binary(op) => {
            arity(op.row().name, operands, 2)?;
            domain(op.row().domain, operands[0], "binary_c1")?;
            equal_types(operands, "binary_c2")?;
            operands[0].clone()
        }
        Op::Compare(op) => {
            arity(op.name(), operands, 2)?;
            equal_types(operands, "compare_c1")?;
            operands[0].with_dtype(DType::Bool)
        }
        Op::Select => {
            arity("select", operands, 3)?;
            let condition = operands[1].with_dtype(DType::Bool);
            check(*operands[0] == condition, "select_c1", || {
                format!("expected a condition of type {condition}, found {}", operands[0])
            })?;
            equal_types(&operands[1..], "select_c2")?;
            operands[1].clone()
        }
        Op::Cast => {
            arity("cast", operands, 1)?;
            let ty = one_declared("cast", declared)?;
            check(ty.shape == operands[0].shape, "cast_c1", || {
                format!("expected shape {}, found {}", operands[0].shape, ty.shape)
            })?;
            ty
        }
        Op::Reduce { op, axes } => {
            arity(op.name(), operands, 1)?;
            domain(Domain::Number, operands[0], "reduce_c1")?;
            ascending(axes, operands[0].rank(), "reduce_c2")?;
            Type::new(operands[0].dtype, operands[0].shape.without(axes))
        }
        Op::ArgReduce { axis, .. } => {
            arity(op.name(), operands, 1)?;
            domain(Domain::Number, operands[0], "argreduce_c1")?;
            axis_in(*axis, operands[0].rank(), "argreduce_c2")?;
            let length = &operands[0].shape.dims()[*axis];
            check(length.as_constant() != Some(0), "argreduce_c3", || {
                format!("expected a non-empty axis, found axis {axis} of {}", operands[0])
            })?;
            Type::new(DType::I64, operands[0].shape.without(&[*axis]))
        }
        Op::Argsort { axis, .. } => {
            arity(op.name(), operands, 1)?;
            domain(Domain::Number, operands[0], "argsort_c1")?;
            axis_in(*axis, operands[0].rank(), "argsort_c2")?;
            operands[0].with_dtype(DType::I64)
        }
        Op::Dot(axes) => dot_type(axes, operands)?,
        Op::Broadcast { dims } => broadcast_type(dims, operands, declared)?,
        Op::Reshape => {
            arity("reshape", operands, 1)?;
            let ty = one_declared("reshape", declared)?;
            same_dtype(ty.dtype, operands[0].dtype, "reshape_c1")?;
            let elements = ty.shape.elements();
            let alike = elements.is_some() && elements == operands[0].shape.elements();
            check(alike, "reshape_c2", || {
                format!("expected as many elements as {} has, found {ty}", operands[0])
            })?;
            ty
        }
        Op::Transpose { permutation } => {
            arity("transpose", operands, 1)?;
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            let rank = operands[0].rank();
            check(sorted.iter().copied().eq(0..rank), "transpose_c1", || {
                format!("expected a permutation of {rank} axes, found {permutation:?}")
            })?;
            let dims = operands[0].shape.dims();
            let shape = permutation.iter().map(|axis| &dims[*axis]).collect();
            Type::new(operands[0].dtype, shape)
        }
        Op::Slice(axes) => slice_type(axes, operands)?,
        Op::Pad(axes) => pad_type(axes, operands)?,
        Op::Concat { axis } => concat_type(*axis, operands)?,
        Op::Gather { axis } => {
            arity("gather", operands, 2)?;
            gathered(*axis, operands, "gather")?
        }
        Op::ScatterAdd { axis } => {
            arity("scatter_add", operands, 3)?;
            domain(Domain::Number, operands[0], "scatter_c4")?;
            let slices = gathered(*axis, operands, "scatter")?;
            check(*operands[2] == slices, "scatter_c5", || {
                format!("expected slices of type {slices}, found {}", operands[2])
            })?;
            operands[0].clone()
        }
        Op::Windows(windows) => {
            arity("windows", operands, 1)?;
            windows_type(windows, operands[0])?
        }
        Op::Fold(windows) => fold_type(windows, operands, declared)?,
        Op::StopGradient => {
            arity("stop_gradient", operands, 1)?;
            operands[0].clone()
        }
        Op::CustomGradient(custom) => return custom_gradient_types(custom, operands),
        Op::Gradient { .. } => return gradient_types(operands),
        Op::Scan(scan) => return scan_types(scan, operands),
        Op::Cond(cond) => return cond_types(cond, operands),
        Op::While(repeat) => return while_types(repeat, operands),
        Op::Kernel(kernel) => return kernel_types(kernel, operands),
    };
    check(declared.is_empty() || declared == [inferred.clone()], "type_c1", || {
        format!("expected result type {inferred}, found {}", list(declared))
    })?;
    Ok(Types::from_elem(inferred, 1))
}

fn constant_type(constant: &Constant, ty: Type) -> Result<Type, RuleError> {
    same_dtype(ty.dtype, constant.dtype(), "constant_c1")?;
    if let Constant::Dense(dense) = constant {
        check(ty.element_count() == Some(dense.len()), "constant_c2", || {
            format!("expected as many elements as {ty} has, found {}", dense.len())
        })?;
    }
    Ok(ty)
}

fn dot_type(axes: &DotAxes, operands: &[&Type]) -> Result<Type, RuleError> {
    arity("dot", operands, 2)?;
    let (lhs, rhs) = (operands[0], operands[1]);
    domain(Domain::Number, lhs, "dot_c1")?;
    same_dtype(lhs.dtype, rhs.dtype, "dot_c2")?;
    distinct(&axes.lhs_batch, &axes.lhs_contract, lhs.rank(), "dot_c3")?;
    distinct(&axes.rhs_batch, &axes.rhs_contract, rhs.rank(), "dot_c3")?;
    for (what, left, right) in [
        ("batch", &axes.lhs_batch, &axes.rhs_batch),
        ("contracted", &axes.lhs_contract, &axes.rhs_contract),
    ] {
        check(left.len() == right.len(), "dot_c4", || {
            format!("expected as many {what} axes on both sides, found {left:?} and {right:?}")
        })?;
        for (l, r) in left.iter().zip(right) {
            let (left_dim, right_dim) = (&lhs.shape.dims()[*l], &rhs.shape.dims()[*r]);
            check(left_dim == right_dim, "dot_c5", || {
                format!(
                    "expected {what} axes of equal length, found axis {l} of {lhs} and axis {r} \
                     of {rhs}"
                )
            })?;
        }
    }
    let of = |ty: &Type, axes: &[usize]| -> Vec<Dim> {
        axes.iter().map(|axis| ty.shape.dims()[*axis].clone()).collect()
    };
    let batch = of(lhs, &axes.lhs_batch);
    let left = of(lhs, &axes.lhs_free(lhs.rank()));
    let right = of(rhs, &axes.rhs_free(rhs.rank()));
    Ok(Type::new(lhs.dtype, batch.into_iter().chain(left).chain(right).collect()))
}

fn broadcast_type(dims: &Axes, operands: &[&Type], declared: &[Type]) -> Result<Type, RuleError> {
    arity("broadcast", operands, 1)?;
    let ty = one_declared("broadcast", declared)?;
    let operand = operands[0];
    same_dtype(ty.dtype, operand.dtype, "broadcast_c1")?;
    ascending(dims, ty.rank(), "broadcast_c2")?;
    check(dims.len() == operand.rank(), "broadcast_c3", || {
        format!("expected a result axis for each axis of {operand}, found {dims:?}")
    })?;
    for (dim, axis) in operand.shape.dims().iter().zip(dims) {
        check(*dim == ty.shape.dims()[*axis], "broadcast_c4", || {
            format!("expected axis {axis} of the result to have length {dim}, found {ty}")
        })?;
    }
    Ok(ty)
}

fn slice_type(axes: &[SliceAxis], operands: &[&Type]) -> Result<Type, RuleError> {
    arity("slice", operands, 1)?;
    let ty = operands[0];
    check(axes.len() == ty.rank(), "slice_c1", || {
        format!("expected a range for each axis of {ty}, found {}", axes.len())
    })?;
    let mut dims = Vec::with_capacity(axes.len());
    for (axis, (range, length)) in axes.iter().zip(ty.shape.dims()).enumerate() {
        // Bounds that depend on symbols are checked again once the symbols are bound.
        let at_most = |lhs: &Dim, rhs: &Dim| rhs.checked_sub(lhs).is_some_and(|d| not_negative(&d));
        let inside = not_negative(&range.start)
            && at_most(&range.start, &range.limit)
            && at_most(&range.limit, length);
        check(inside, "slice_c3", || {
            format!(
                "expected 0 ≤ start ≤ limit ≤ {length} on axis {axis} of {ty}, found {}:{}",
                range.start, range.limit
            )
        })?;
        dims.push(kept_by(range).ok_or_else(|| RuleError {
            rule: "slice_c2",
            message: format!(
                "expected a stride of at least 1, and of 1 where the length depends on a symbol, \
                 found {} on axis {axis} of {ty}",
                range.stride
            ),
        })?);
    }
    Ok(Type::new(ty.dtype, dims.into_iter().collect()))
}

/// Number of indices that a slice keeps of an axis.
fn kept_by(range: &SliceAxis) -> Option<Dim> {
    let length = range.limit.checked_sub(&range.start)?;
    match range.stride {
        0 => None,
        1 => Some(length),
        stride => {
            let length = length.as_constant()?;
            Some(Dim::constant(length.max(0).unsigned_abs().div_ceil(stride as u64) as i64))
        }
    }
}

fn pad_type(axes: &[PadAxis], operands: &[&Type]) -> Result<Type, RuleError> {
    arity("pad", operands, 2)?;
    let ty = operands[0];
    check(*operands[1] == Type::scalar(ty.dtype), "pad_c1", || {
        format!("expected padding of type {}, found {}", Type::scalar(ty.dtype), operands[1])
    })?;
    check(axes.len() == ty.rank(), "pad_c2", || {
        format!("expected an amount for each axis of {ty}, found {}", axes.len())
    })?;
    let mut dims = Vec::with_capacity(axes.len());
    for (amount, length) in axes.iter().zip(ty.shape.dims()) {
        let outside = not_negative(&amount.low) && not_negative(&amount.high);
        check(outside, "pad_c3", || {
            format!(
                "expected amounts of at least 0, found low {} and high {}",
                amount.low, amount.high
            )
        })?;
        dims.push(padded(length, amount).ok_or_else(|| RuleError {
            rule: "pad_c4",
            message: format!(
                "expected an axis of constant length between whose elements to pad, found {ty}"
            ),
        })?);
    }
    Ok(Type::new(ty.dtype, dims.into_iter().collect()))
}

/// Length of an axis after padding.
fn padded(length: &Dim, amount: &PadAxis) -> Option<Dim> {
    let inner = match amount.interior {
        0 => length.clone(),
        interior => {
            let length = length.as_constant()?;
            let gaps = (length - 1).max(0).checked_mul(i64::try_from(interior).ok()?)?;
            Dim::constant(length.checked_add(gaps)?)
        }
    };
    inner.checked_add(&amount.low)?.checked_add(&amount.high)
}

/// The type of the slices that the second operand picks of the first.
fn gathered(axis: usize, operands: &[&Type], family: &str) -> Result<Type, RuleError> {
    let [axes, index, empty] = match family {
        "gather" => ["gather_c1", "gather_c2", "gather_c3"],
        _ => ["scatter_c1", "scatter_c2", "scatter_c3"],
    };
    let (ty, indices) = (operands[0], operands[1]);
    axis_in(axis, ty.rank(), axes)?;
    same_dtype(indices.dtype, DType::I64, index)?;
    let dims = ty.shape.dims();
    let none = indices.shape.dims().iter().any(|dim| dim.as_constant() == Some(0));
    check(none || dims[axis].as_constant() != Some(0), empty, || {
        format!("expected a non-empty axis or no indices, found axis {axis} of {ty}")
    })?;
    let before = dims[..axis].iter().chain(indices.shape.dims());
    Ok(Type::new(ty.dtype, before.chain(&dims[axis + 1..]).cloned().collect()))
}

/// The type of the windows of a tensor.
fn windows_type(windows: &[Window], ty: &Type) -> Result<Type, RuleError> {
    let axes: Axes = windows.iter().map(|window| window.axis).collect();
    ascending(&axes, ty.rank(), "windows_c1")?;
    let mut dims = ty.shape.dims().to_vec();
    for window in windows {
        let Window { axis, size, stride, dilation } = *window;
        check(size.min(stride).min(dilation) > 0, "windows_c2", || {
            format!(
                "expected size, stride and dilation of at least 1, found {size}, {stride} and \
                 {dilation} along axis {axis}"
            )
        })?;
        let length = &ty.shape.dims()[axis];
        let span = window.span();
        // Lengths that depend on symbols are checked again once these are bound.
        let fits = span.is_some_and(|span| length.as_constant().is_none_or(|len| span <= len));
        check(fits, "windows_c3", || {
            let span = span.map_or("more than 64 bits hold".to_owned(), |span| span.to_string());
            format!(
                "expected windows that fit axis {axis} of {ty}, found {size} elements {dilation} \
                 apart, which span {span}"
            )
        })?;
        dims[axis] = window.positions(length).ok_or_else(|| RuleError {
            rule: "windows_c4",
            message: format!(
                "expected a stride that divides the windows' room where the length depends on a \
                 symbol, found {stride} along axis {axis} of {ty}"
            ),
        })?;
        dims.push(Dim::from(size));
    }
    Ok(Type::new(ty.dtype, dims.into_iter().collect()))
}

fn fold_type(windows: &[Window], operands: &[&Type], declared: &[Type]) -> Result<Type, RuleError> {
    arity("fold", operands, 1)?;
    let ty = one_declared("fold", declared)?;
    domain(Domain::Number, operands[0], "fold_c1")?;
    same_dtype(ty.dtype, operands[0].dtype, "fold_c2")?;
    let expected = windows_type(windows, &ty)?;
    check(*operands[0] == expected, "fold_c3", || {
        format!("expected windows of {ty}, of type {expected}, found {}", operands[0])
    })?;
    Ok(ty)
}

fn concat_type(axis: usize, operands: &[&Type]) -> Result<Type, RuleError> {
    check(!operands.is_empty(), "concat_c1", || "expected at least one operand".into())?;
    let first = operands[0];
    axis_in(axis, first.rank(), "concat_c2")?;
    for ty in operands {
        let alike = ty.dtype == first.dtype
            && ty.rank() == first.rank()
            && ty.shape.without(&[axis]) == first.shape.without(&[axis]);
        check(alike, "concat_c3", || {
            format!("expected {first} up to the length of axis {axis}, found {ty}")
        })?;
    }
    let lengths = operands.iter().map(|ty| &ty.shape.dims()[axis]);
    let total = Dim::checked_sum(lengths).ok_or_else(|| RuleError {
        rule: "concat_c4",
        message: "expected a total length that fits 64 bits".into(),
    })?;
    let mut dims = first.shape.dims().to_vec();
    dims[axis] = total;
    Ok(Type::new(first.dtype, dims.into_iter().collect()))
}

fn custom_gradient_types(custom: &CustomGradient, operands: &[&Type]) -> Result<Types, RuleError> {
    let body = &custom.backward;
    let (values, inputs) = (custom.value_count(operands.len()), custom.inputs(operands.len()));
    let fits = values > 0 && !inputs.is_empty() && inputs.end <= operands.len();
    check(fits, "custom_gradient_c1", || {
        format!(
            "expected at least one value and one input, an argument of the region for each value's \
             cotangent and for each operand, and a result for each input, found {} operands, {} \
             arguments and {} results",
            operands.len(),
            body.arguments().len(),
            body.results().len()
        )
    })?;
    for ty in &operands[..inputs.end] {
        check(ty.dtype.is_float(), "custom_gradient_c2", || {
            format!("expected values and inputs of float dtypes, found {ty}")
        })?;
    }
    let expected: Vec<&Type> = operands[..values].iter().chain(operands).copied().collect();
    let arguments: Vec<&Type> = body.arguments().iter().map(|value| body.ty(*value)).collect();
    check(arguments == expected, "custom_gradient_c3", || {
        format!("expected arguments of types {}, found {}", list(&expected), list(&arguments))
    })?;
    let results: Vec<&Type> = body.results().iter().map(|value| body.ty(*value)).collect();
    check(results == operands[inputs.clone()], "custom_gradient_c4", || {
        format!(
            "expected cotangents of types {}, found {}",
            list(&operands[inputs]),
            list(&results)
        )
    })?;
    Ok(operands[..values].iter().map(|ty| (*ty).clone()).collect())
}

fn gradient_types(operands: &[&Type]) -> Result<Types, RuleError> {
    check(operands.len() >= 2, "gradient_c1", || {
        format!("expected a loss and at least one value, found {} operands", operands.len())
    })?;
    let loss = operands[0];
    check(loss.rank() == 0 && loss.dtype.is_float(), "gradient_c2", || {
        format!("expected a loss that is a scalar of a float dtype, found {loss}")
    })?;
    for ty in &operands[1..] {
        check(ty.dtype == loss.dtype, "gradient_c3", || {
            format!("expected values of the loss's dtype {}, found {ty}", loss.dtype)
        })?;
    }
    Ok(operands[1..].iter().map(|ty| (*ty).clone()).collect())
}

fn scan_types(scan: &Scan, operands: &[&Type]) -> Result<Types, RuleError> {
    let body = &scan.body;
    let (arguments, results) = (body.arguments().len(), body.results().len());
    let fits = arguments == operands.len()
        && scan.consts.checked_add(scan.carries).is_some_and(|count| count <= arguments)
        && scan.carries <= results
        && results > 0;
    check(fits, "scan_c1", || {
        format!(
            "expected an argument of the region for each operand, a result for each carry, and at \
             least one result, found {} operands of which {} are carries, {arguments} arguments \
             and {results} results",
            operands.len(),
            scan.carries
        )
    })?;
    check(not_negative(&scan.length), "scan_c5", || {
        format!("expected at least 0 iterations, found {}", scan.length)
    })?;
    let argument = |position: usize| body.ty(body.arguments()[position]);
    for (position, operand) in operands.iter().enumerate().take(scan.carry_operands().end) {
        check(argument(position) == *operand, "scan_c2", || {
            format!("expected an argument of type {operand}, found {}", argument(position))
        })?;
    }
    for position in scan.scanned_operands() {
        let stack = scan.stacked(argument(position));
        check(*operands[position] == stack, "scan_c3", || {
            format!(
                "expected a stack of type {stack} for slices of type {}, found {}",
                argument(position),
                operands[position]
            )
        })?;
    }
    let result = |position: usize| body.ty(body.results()[position]);
    for position in scan.carry_results() {
        let carry = operands[scan.consts + position];
        check(result(position) == carry, "scan_c4", || {
            format!("expected a next value of the carry's type {carry}, found {}", result(position))
        })?;
    }
    let carries = scan.carry_results().map(|position| result(position).clone());
    let stacks = scan.stacked_results().map(|position| scan.stacked(result(position)));
    Ok(carries.chain(stacks).collect())
}

fn cond_types(cond: &Cond, operands: &[&Type]) -> Result<Types, RuleError> {
    let [(then, then_operands), (otherwise, otherwise_operands)] = cond.branches();
    let predicate = Type::scalar(DType::Bool);
    let fits = operands.first().is_some_and(|ty| **ty == predicate)
        && operands.len() == otherwise_operands.end
        && !then.results().is_empty();
    check(fits, "cond_c1", || {
        format!(
            "expected a predicate of type {predicate}, an operand for each argument of the regions \
             and at least one result, found operands of types {}, {} arguments and {} results",
            list(operands),
            otherwise_operands.end - 1,
            then.results().len()
        )
    })?;
    for (branch, positions) in [(then, then_operands), (otherwise, otherwise_operands)] {
        arguments_of(branch, operands[positions].iter().copied(), "cond_c2")?;
    }
    let types = |branch: &Graph| -> Types { types_of(branch, branch.results()).cloned().collect() };
    let results = types(then);
    check(results == types(otherwise), "cond_c3", || {
        let [then, otherwise] = [then, otherwise]
            .map(|branch| list(&types_of(branch, branch.results()).collect::<Vec<_>>()));
        format!(
            "expected results of the same types from both regions, found {then}, and {otherwise}"
        )
    })?;
    Ok(results)
}

fn while_types(repeat: &While, operands: &[&Type]) -> Result<Types, RuleError> {
    let While { test, body, carries, workspace: _ } = repeat;
    let fits = *carries > 0
        && [test, body].iter().all(|region| region.arguments().len() >= *carries)
        && operands.len() == repeat.carry_operands().end
        && test.results().len() == 1
        && body.results().len() == *carries;
    check(fits, "while_c1", || {
        format!(
            "expected a carry, an argument of each region for its constants and the carries, one \
             result of the test, and one of the body for each carry, found {} operands of which \
             {carries} are carries, {} and {} arguments, and {} and {} results",
            operands.len(),
            test.arguments().len(),
            body.arguments().len(),
            test.results().len(),
            body.results().len()
        )
    })?;
    let carried = &operands[repeat.carry_operands()];
    for (region, consts) in [(test, repeat.test_operands()), (body, repeat.body_operands())] {
        let expected = operands[consts].iter().chain(carried).copied();
        arguments_of(region, expected, "while_c2")?;
    }
    let more = test.ty(test.results()[0]);
    let predicate = Type::scalar(DType::Bool);
    check(*more == predicate, "while_c3", || {
        format!("expected a test that gives {predicate}, found {more}")
    })?;
    for (next, carry) in types_of(body, body.results()).zip(carried) {
        check(next == *carry, "while_c4", || {
            format!("expected a next value of the carry's type {carry}, found {next}")
        })?;
    }
    Ok(carried.iter().map(|ty| (*ty).clone()).collect())
}

/// Whether a region's arguments have these types, of which there are as many.
fn arguments_of<'t>(
    region: &Graph,
    expected: impl Iterator<Item = &'t Type>,
    rule: &'static str,
) -> Result<(), RuleError> {
    for (argument, expected) in types_of(region, region.arguments()).zip(expected) {
        check(argument == expected, rule, || {
            format!("expected an argument of type {expected}, found {argument}")
        })?;
    }
    Ok(())
}

fn types_of<'g>(graph: &'g Graph, values: &'g [Value]) -> impl Iterator<Item = &'g Type> {
    values.iter().map(|value| graph.ty(*value))
}

fn kernel_types(kernel: &Kernel, operands: &[&Type]) -> Result<Types, RuleError> {
    let body = &kernel.body;
    let arguments: Vec<&Type> = body.arguments().iter().map(|value| body.ty(*value)).collect();
    check(arguments == operands, "kernel_c1", || {
        format!("expected operands of types {}, found {}", list(&arguments), list(operands))
    })?;
    check(!body.results().is_empty(), "kernel_c2", || "expected at least one result".into())?;
    Ok(body.results().iter().map(|value| body.ty(*value).clone()).collect())
}

/// Whether a length is known not to be negative, or depends on symbols. Symbols stand for lengths,
/// so a polynomial is decided here only if it is constant.
fn not_negative(dim: &Dim) -> bool {
    dim.as_constant().is_none_or(|value| value >= 0)
}

fn check(
    holds: bool,
    rule: &'static str,
    message: impl FnOnce() -> String,
) -> Result<(), RuleError> {
    if holds { Ok(()) } else { Err(RuleError { rule, message: message() }) }
}

fn arity(name: &str, operands: &[&Type], expected: usize) -> Result<(), RuleError> {
    check(operands.len() == expected, "arity_c1", || {
        format!("expected {expected} operands of {name}, found {}", operands.len())
    })
}

fn one_declared(name: &str, declared: &[Type]) -> Result<Type, RuleError> {
    match declared {
        [ty] => Ok(ty.clone()),
        _ => Err(RuleError {
            rule: "type_c2",
            message: format!("expected one declared type for {name}, found {}", declared.len()),
        }),
    }
}

fn domain(domain: Domain, ty: &Type, rule: &'static str) -> Result<(), RuleError> {
    check(domain.contains(ty.dtype), rule, || format!("expected {}, found {ty}", domain.describe()))
}

fn equal_types(operands: &[&Type], rule: &'static str) -> Result<(), RuleError> {
    let equal = operands.windows(2).all(|pair| pair[0] == pair[1]);
    check(equal, rule, || format!("expected equal types, found {}", list(operands)))
}

fn same_dtype(found: DType, expected: DType, rule: &'static str) -> Result<(), RuleError> {
    check(found == expected, rule, || format!("expected dtype {expected}, found {found}"))
}

fn axis_in(axis: usize, rank: usize, rule: &'static str) -> Result<(), RuleError> {
    check(axis < rank, rule, || format!("expected an axis below the rank {rank}, found {axis}"))
}

fn ascending(axes: &[usize], rank: usize, rule: &'static str) -> Result<(), RuleError> {
    let sorted = axes.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = axes.last().is_none_or(|axis| *axis < rank);
    check(sorted && inside, rule, || {
        format!("expected ascending axes below the rank {rank}, found {axes:?}")
    })
}

fn distinct(
    batch: &[usize],
    contract: &[usize],
    rank: usize,
    rule: &'static str,
) -> Result<(), RuleError> {
    let mut seen: Axes = batch.iter().chain(contract).copied().collect();
    seen.sort_unstable();
    ascending(&seen, rank, rule)
}

fn list<T: fmt::Display>(types: &[T]) -> String {
    let types: Vec<String> = types.iter().map(T::to_string).collect();
    types.join(" and ")
}
