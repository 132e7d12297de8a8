//! The operations: a closed set of primitive families.
//!
//! Everything that a pass must know of an operation is here or in its row: what it computes is
//! stated in docs/ir.md and by the interpreter, its type rule in [`crate::infer`].
//!
//! # Examples
//!
//! ```
//! use kilngrad_ir::op::UnaryOp;
//!
//! let row = UnaryOp::from_name("relu").expect("it is an operation").row();
//! assert_eq!([-1.0, 2.0].map(row.f64), [0.0, 2.0]);
//! ```

mod binary;
mod branch;
mod elementwise;
mod scan;
mod unary;

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

pub use binary::{BINARY, BinaryDerivative, BinaryOp, BinaryPartial, BinaryRow, CompareOp};
pub use branch::{Cond, While};
pub use elementwise::{Domain, Emit};
pub use scan::{Scan, Workspace};
pub use unary::{UNARY, UnaryDerivative, UnaryOp, UnaryRow};

use crate::dim::Dim;
use crate::example::graph_example;
use crate::graph::Graph;
use crate::literal::Constant;
use crate::program::StateId;

/// A few axes.
///
/// ```
/// use kilngrad_ir::op::Axes;
///
/// let axes: Axes = [0, 2].into_iter().collect();
/// assert_eq!(axes[..], [0, 2]);
/// ```
pub type Axes = SmallVec<[usize; 4]>;

/// How elements are combined by `reduce`.
///
/// ```
/// use kilngrad_ir::op::ReduceOp;
///
/// assert!(ReduceOp::ALL.contains(&(ReduceOp::Max, "reduce_max")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReduceOp {
    /// The sum; 0 of nothing. The order of additions is not defined.
    Sum,
    /// The product; 1 of nothing. The order of multiplications is not defined.
    Prod,
    /// The largest; NaN if any is; the lowest value of the dtype (−inf) of nothing.
    Max,
    /// The smallest; NaN if any is; the highest value of the dtype (inf) of nothing.
    Min,
}

impl ReduceOp {
    /// Every kind with its word in the text form.
    pub const ALL: [(ReduceOp, &'static str); 4] = [
        (ReduceOp::Sum, "reduce_sum"),
        (ReduceOp::Prod, "reduce_prod"),
        (ReduceOp::Max, "reduce_max"),
        (ReduceOp::Min, "reduce_min"),
    ];

    /// Its word in the text form.
    ///
    /// ```
    /// use kilngrad_ir::op::ReduceOp;
    ///
    /// assert_eq!(ReduceOp::Sum.name(), "reduce_sum");
    /// ```
    pub const fn name(self) -> &'static str {
        ReduceOp::ALL[self as usize].1
    }

    /// The kind whose word in the text form is `name`.
    ///
    /// ```
    /// use kilngrad_ir::op::ReduceOp;
    ///
    /// assert_eq!(ReduceOp::from_name("reduce_max"), Some(ReduceOp::Max));
    /// ```
    pub fn from_name(name: &str) -> Option<ReduceOp> {
        ReduceOp::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }
}

/// Which extreme `argmax` and `argmin` look for.
///
/// ```
/// use kilngrad_ir::{Op, op::ArgReduceOp};
///
/// assert_eq!(Op::ArgReduce { op: ArgReduceOp::Max, axis: 0 }.name(), "argmax");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArgReduceOp {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Which axes a contraction pairs. The result's axes are the batch axes, then the remaining axes
/// of the left operand, then those of the right, each in order.
///
/// ```
/// use kilngrad_ir::{DType, Op, Shape, Type, infer::infer, op::DotAxes};
///
/// let matrix = |rows, cols| Type::new(DType::F32, Shape::new([rows, cols]));
/// let axes = DotAxes {
///     lhs_contract: [1].into_iter().collect(),
///     rhs_contract: [0].into_iter().collect(),
///     ..DotAxes::default()
/// };
/// let product = infer(&Op::Dot(axes), &[&matrix(2, 3), &matrix(3, 5)], &[])?;
/// assert_eq!(product[0].to_string(), "f32[2,5]");
/// # Ok::<(), kilngrad_ir::infer::RuleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DotAxes {
    /// Batch axes of the left operand.
    pub lhs_batch: Axes,
    /// The right operand's, in the same order.
    pub rhs_batch: Axes,
    /// Contracted axes of the left operand.
    pub lhs_contract: Axes,
    /// The right operand's, in the same order.
    pub rhs_contract: Axes,
}

impl DotAxes {
    /// Axes of the left operand (of rank `rank`) that are neither batch nor contracted.
    ///
    /// ```
    /// use kilngrad_ir::op::DotAxes;
    ///
    /// let axes = DotAxes { lhs_contract: [1].into_iter().collect(), ..DotAxes::default() };
    /// assert_eq!(axes.lhs_free(3)[..], [0, 2]);
    /// ```
    pub fn lhs_free(&self, rank: usize) -> Axes {
        free(rank, &self.lhs_batch, &self.lhs_contract)
    }

    /// Axes of the right operand (of rank `rank`) that are neither batch nor contracted.
    ///
    /// ```
    /// use kilngrad_ir::op::DotAxes;
    ///
    /// let axes = DotAxes { rhs_batch: [0].into_iter().collect(), ..DotAxes::default() };
    /// assert_eq!(axes.rhs_free(2)[..], [1]);
    /// ```
    pub fn rhs_free(&self, rank: usize) -> Axes {
        free(rank, &self.rhs_batch, &self.rhs_contract)
    }
}

fn free(rank: usize, batch: &[usize], contract: &[usize]) -> Axes {
    (0..rank).filter(|axis| !batch.contains(axis) && !contract.contains(axis)).collect()
}

/// The part of an axis that `slice` keeps: `start`, `start + stride`, … below `limit`.
///
/// ```
/// use kilngrad_ir::{DType, Dim, Op, Shape, Type, infer::infer, op::SliceAxis};
///
/// let part = SliceAxis { start: Dim::constant(1), limit: Dim::constant(6), stride: 2 };
/// let x = Type::new(DType::F32, Shape::new([8]));
/// let kept = infer(&Op::Slice([part].into_iter().collect()), &[&x], &[])?;
/// assert_eq!(kept[0].to_string(), "f32[3]");
/// # Ok::<(), kilngrad_ir::infer::RuleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceAxis {
    /// First index kept.
    pub start: Dim,
    /// Exclusive bound.
    pub limit: Dim,
    /// Distance between kept indices, at least 1.
    pub stride: usize,
}

/// What `pad` adds to an axis.
///
/// ```
/// use kilngrad_ir::{DType, Dim, Op, Shape, Type, infer::infer, op::PadAxis};
///
/// let amounts = PadAxis { low: Dim::constant(1), high: Dim::constant(2), interior: 1 };
/// let (x, zero) = (Type::new(DType::F32, Shape::new([3])), Type::scalar(DType::F32));
/// let padded = infer(&Op::Pad([amounts].into_iter().collect()), &[&x, &zero], &[])?;
/// assert_eq!(padded[0].to_string(), "f32[8]"); // 1 + (3 + 2 between them) + 2
/// # Ok::<(), kilngrad_ir::infer::RuleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PadAxis {
    /// Elements before the first.
    pub low: Dim,
    /// Elements after the last.
    pub high: Dim,
    /// Elements between neighbours.
    pub interior: usize,
}

/// The windows along one axis: `size` elements each, `dilation` apart, that begin at every
/// `stride`-th index as long as they fit.
///
/// ```
/// use kilngrad_ir::{Dim, op::Window};
///
/// let window = Window { axis: 0, size: 3, stride: 2, dilation: 1 };
/// assert_eq!(window.positions(&Dim::constant(7)), Some(Dim::constant(3)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Which axis.
    pub axis: usize,
    /// Elements of a window, at least 1.
    pub size: usize,
    /// Distance between the first elements of neighbouring windows, at least 1.
    pub stride: usize,
    /// Distance between neighbouring elements of a window, at least 1.
    pub dilation: usize,
}

impl Window {
    /// How many indices a window reaches over; `None` where that leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::op::Window;
    ///
    /// assert_eq!(Window { axis: 0, size: 3, stride: 1, dilation: 2 }.span(), Some(5));
    /// ```
    pub fn span(&self) -> Option<i64> {
        let gaps = self.size.checked_sub(1)?.checked_mul(self.dilation)?;
        i64::try_from(gaps).ok()?.checked_add(1)
    }

    /// How many windows an axis of this length has; `None` where a symbol leaves that open.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol, op::Window};
    ///
    /// let window = Window { axis: 0, size: 2, stride: 2, dilation: 1 };
    /// assert_eq!(window.positions(&Dim::constant(5)), Some(Dim::constant(2)));
    /// assert_eq!(window.positions(&Dim::from(Symbol::new("n"))), None);
    /// ```
    pub fn positions(&self, length: &Dim) -> Option<Dim> {
        let room = length.checked_sub(&Dim::constant(self.span()?))?;
        let stride = i64::try_from(self.stride).ok().filter(|stride| *stride > 0)?;
        let steps = match room.as_constant() {
            Some(room) => Dim::constant(room.div_euclid(stride)),
            None => room.exact_div(stride)?,
        };
        steps.checked_add(&Dim::constant(1))
    }
}

/// Windows along some axes, ascending.
///
/// ```
/// use kilngrad_ir::op::{Window, Windows};
///
/// let square = |axis| Window { axis, size: 2, stride: 1, dilation: 1 };
/// let windows: Windows = [2, 3].map(square).into_iter().collect();
/// assert_eq!(windows.len(), 2);
/// ```
pub type Windows = SmallVec<[Window; 2]>;

/// What the loops of a fused kernel are built around.
///
/// ```
/// use kilngrad_ir::op::KernelKind;
///
/// assert!(KernelKind::ALL.contains(&(KernelKind::Contraction, "contraction")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelKind {
    /// Element by element over one index space.
    Map,
    /// Reductions over one index space, with what is fused before, between and after them.
    Reduce,
    /// One contraction with its epilogue.
    Contraction,
    /// One `gather`, `scatter_add` or `argsort`: addresses depend on data.
    Indexed,
}

impl KernelKind {
    /// Every kind with its word in the text form.
    pub const ALL: [(KernelKind, &'static str); 4] = [
        (KernelKind::Map, "map"),
        (KernelKind::Reduce, "reduce"),
        (KernelKind::Contraction, "contraction"),
        (KernelKind::Indexed, "indexed"),
    ];

    /// Its word in the text form.
    ///
    /// ```
    /// use kilngrad_ir::op::KernelKind;
    ///
    /// assert_eq!(KernelKind::Map.name(), "map");
    /// ```
    pub const fn name(self) -> &'static str {
        KernelKind::ALL[self as usize].1
    }
}

/// A fused kernel: a region computed as one piece of native code.
#[doc = graph_example!(
    "let kernel = Kernel { name: \"k\".into(), kind: KernelKind::Map, body: graph.clone() };"
    "assert_eq!(Op::Kernel(Box::new(kernel)).name(), \"kernel\");"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Unique in its entry.
    pub name: Arc<str>,
    /// What its loops are built around.
    pub kind: KernelKind,
    /// What it computes; its arguments stand for the operands, in order, and its results for the
    /// node's results.
    pub body: Graph,
}

/// A function whose derivative is not that of the operations it is made of: a region says it.
///
/// The node's operands are the function's values, its inputs, and whatever else the region reads.
/// The region's arguments are a cotangent for each value and then one for each operand, where the
/// node's results stand for the values; its results are the cotangents of the inputs.
///
/// ```
/// use kilngrad_ir::{Op, Program, Value, text::Limits};
///
/// // Rounding, with the derivative of a function that does nothing.
/// let program = Program::parse(r#"kilngrad 1
/// program "example"
/// entry @run(%x: f32[3]) train {
///   %rounded: f32[3] = round %x
///   %y: f32[3] = custom_gradient(%dy of %v = %rounded) wrt (%a = %x) {
///     yield %dy
///   }
///   return y = %y
/// }"#, &Limits::default())?;
/// let graph = &program.entries[0].graph;
/// let node = graph.defining_node(Value::from_index(2)).expect("it defines %y");
/// assert_eq!(node.operands[..], [1, 0].map(Value::from_index)); // %rounded, %x
/// let Op::CustomGradient(custom) = &node.op else { panic!("found {}", node.op.name()) };
/// assert_eq!(custom.backward.arguments().len(), 3); // %dy, %v, %a
/// # Ok::<(), kilngrad_ir::text::ParseErrors>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CustomGradient {
    /// From the values' cotangents to the inputs'.
    pub backward: Graph,
}

impl CustomGradient {
    /// How many of `operands` operands are values; 0 where the region does not fit.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Type, op::CustomGradient};
    ///
    /// let mut backward = Graph::new();
    /// let [dy, _y, _x] =
    ///     [(); 3].map(|()| backward.add_numbered_argument(Type::scalar(DType::F32)));
    /// backward.set_results(vec![dy]);
    /// assert_eq!(CustomGradient { backward }.value_count(2), 1); // of the operands y and x
    /// ```
    pub fn value_count(&self, operands: usize) -> usize {
        self.backward.arguments().len().saturating_sub(operands)
    }

    /// Which of `operands` operands are inputs.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Type, op::CustomGradient};
    ///
    /// let mut backward = Graph::new();
    /// let [dy, _y, _x, _read] =
    ///     [(); 4].map(|()| backward.add_numbered_argument(Type::scalar(DType::F32)));
    /// backward.set_results(vec![dy]);
    /// assert_eq!(CustomGradient { backward }.inputs(3), 1..2); // x, of the operands y, x and read
    /// ```
    pub fn inputs(&self, operands: usize) -> Range<usize> {
        let values = self.value_count(operands);
        values..values + self.backward.results().len()
    }
}

/// An operation with its attributes. Operands are beside it in the node.
#[doc = graph_example!(
    "assert_eq!(graph.defining_node(y).map(|node| &node.op), Some(&Op::Unary(UnaryOp::Relu)));"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A state's value on entry. Entries only.
    State(StateId),
    /// The same elements in every call.
    Constant(Constant),
    /// A dimension's value as a scalar of the declared number dtype.
    Dimension(Dim),
    /// Each element is its index along `axis`, of the declared number type.
    Iota {
        /// Which axis counts.
        axis: usize,
    },
    /// Counter-based random elements of the declared type: see [`crate::random`]. Operands: seed
    /// and counter, both `i64[]`.
    Random {
        /// Tells the streams of one seed apart.
        stream: u64,
    },
    /// Element by element.
    Unary(UnaryOp),
    /// Element by element, on equal types.
    Binary(BinaryOp),
    /// Element by element, on equal types, to `bool`.
    Compare(CompareOp),
    /// The second operand where the first (`bool`) is true, else the third.
    Select,
    /// The same numbers in the declared dtype: floats round to nearest or truncate toward
    /// integers, saturating, NaN to 0; integers wrap; to `bool`, `x ≠ 0`.
    Cast,
    /// Combine the elements along `axes`, which disappear.
    Reduce {
        /// How.
        op: ReduceOp,
        /// Sorted, distinct.
        axes: Axes,
    },
    /// Index (`i64`) of the first extreme along `axis`, which disappears; of the first NaN if
    /// there is any.
    ArgReduce {
        /// Which extreme.
        op: ArgReduceOp,
        /// Not empty.
        axis: usize,
    },
    /// The indices (`i64`) that bring the elements along `axis` into order. Equal elements stay in
    /// theirs; NaN is above every number.
    Argsort {
        /// Along which axis.
        axis: usize,
        /// Whether the largest comes first.
        descending: bool,
    },
    /// Contraction: sums of products over paired axes.
    Dot(DotAxes),
    /// Repeat along new axes of the declared type: axis `i` of the operand becomes axis `dims[i]`.
    Broadcast {
        /// Strictly ascending.
        dims: Axes,
    },
    /// The same elements in row-major order, in the declared shape.
    Reshape,
    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose {
        /// Each axis once.
        permutation: Axes,
    },
    /// A regular part of each axis.
    Slice(SmallVec<[SliceAxis; 2]>),
    /// The first operand with the second (a scalar) put around and between its elements.
    Pad(SmallVec<[PadAxis; 2]>),
    /// The operands one after the other along `axis`.
    Concat {
        /// Which axis grows.
        axis: usize,
    },
    /// Slices of the first operand along `axis`, which the second (`i64`) picks by index: its axes
    /// take the place of that axis. An index out of range picks the nearest there is.
    Gather {
        /// Not empty.
        axis: usize,
    },
    /// The first operand, with the slices of the third added to those along `axis` that the second
    /// (`i64`) picks, in the order of its elements: the transpose of `gather`. An index out of range
    /// picks the nearest there is.
    ScatterAdd {
        /// Not empty.
        axis: usize,
    },
    /// A view of every window of the operand: of each axis that has windows remains which window it
    /// is, and the index within the window becomes a new axis, behind all others and in their order.
    Windows(Windows),
    /// The transpose of `windows`: each element added to the element of the declared type that the
    /// view would show there.
    Fold(Windows),
    /// The operand; no gradient passes.
    StopGradient,
    /// The first operands, which are values of a function that has a derivative of its own. No
    /// gradient passes to them; the region gives that of the inputs.
    CustomGradient(Box<CustomGradient>),
    /// A request: the derivatives of the first operand, a float scalar, by each other operand.
    /// What a pass may not do before it is expanded is in docs/ir.md.
    Gradient {
        /// Zero, rather than an error, where the loss does not depend on an operand or a
        /// derivative does not exist.
        or_zero: bool,
    },
    /// A region computed once for each index of an axis, in order.
    Scan(Box<Scan>),
    /// One of two regions, which the first operand chooses.
    Cond(Box<Cond>),
    /// A region computed as long as another one says so.
    While(Box<While>),
    /// A fused kernel over the operands.
    Kernel(Box<Kernel>),
}

impl Op {
    /// Whether two nodes with equal operations, operands and types give equal values and one may
    /// stand for both. Gradient requests depend on what lies between their operands, not on the
    /// operands' values alone. A region for the way back need not be linear: what it makes of two
    /// cotangents is not what it makes of their sum.
    ///
    /// ```
    /// use kilngrad_ir::{Op, op::UnaryOp};
    ///
    /// assert!(Op::Unary(UnaryOp::Exp).is_shareable());
    /// assert!(!Op::Gradient { or_zero: false }.is_shareable());
    /// ```
    pub fn is_shareable(&self) -> bool {
        match self {
            Op::Gradient { .. } | Op::CustomGradient(_) => false,
            Op::State(_)
            | Op::Constant(_)
            | Op::Dimension(_)
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
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Windows(_)
            | Op::Fold(_)
            | Op::StopGradient
            | Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::Kernel(_) => true,
        }
    }

    /// The regions of control flow, each a graph of its own that runs as an entry does: not those of
    /// kernels, which are one piece of code, nor ways back, which run elsewhere.
    ///
    /// ```
    /// use kilngrad_ir::{Graph, Op, op::Cond};
    ///
    /// let cond = Cond { then: Graph::new(), otherwise: Graph::new(), workspace: None };
    /// assert_eq!(Op::Cond(Box::new(cond)).bodies().len(), 2);
    /// ```
    pub fn bodies(&self) -> SmallVec<[&Graph; 2]> {
        match self {
            Op::Scan(scan) => SmallVec::from_iter([&scan.body]),
            Op::Cond(cond) => SmallVec::from_iter([&cond.then, &cond.otherwise]),
            Op::While(repeat) => SmallVec::from_iter([&repeat.test, &repeat.body]),
            Op::State(_)
            | Op::Constant(_)
            | Op::Dimension(_)
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
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::Windows(_)
            | Op::Fold(_)
            | Op::StopGradient
            | Op::CustomGradient(_)
            | Op::Gradient { .. }
            | Op::Kernel(_) => SmallVec::new(),
        }
    }

    /// What the memory plan keeps for the regions of control flow; `None` of other operations, and
    /// before there is a plan.
    ///
    /// ```
    /// use kilngrad_ir::{Graph, Op, Place, op::{Cond, Workspace}};
    ///
    /// let cond = Cond { then: Graph::new(), otherwise: Graph::new(), workspace: None };
    /// let workspace = Workspace { bytes: 64, place: Place::Arena(0) };
    /// let op = Op::Cond(Box::new(cond)).with_workspace(Some(workspace));
    /// assert_eq!(op.workspace(), Some(workspace));
    /// ```
    pub fn workspace(&self) -> Option<Workspace> {
        if let Op::Scan(scan) = self {
            scan.workspace
        } else if let Op::Cond(cond) = self {
            cond.workspace
        } else if let Op::While(repeat) = self {
            repeat.workspace
        } else {
            None
        }
    }

    /// The operation with another [`workspace`](Self::workspace), if it is control flow.
    ///
    /// ```
    /// use kilngrad_ir::Op;
    ///
    /// assert_eq!(Op::Reshape.with_workspace(None), Op::Reshape);
    /// ```
    #[must_use]
    pub fn with_workspace(&self, workspace: Option<Workspace>) -> Op {
        let mut op = self.clone();
        if let Op::Scan(scan) = &mut op {
            scan.workspace = workspace;
        } else if let Op::Cond(cond) = &mut op {
            cond.workspace = workspace;
        } else if let Op::While(repeat) = &mut op {
            repeat.workspace = workspace;
        }
        op
    }

    /// The operation with other [`bodies`](Self::bodies), as many as it has, in their order.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Op, Type, op::Cond};
    ///
    /// let op = Op::Cond(Box::new(Cond {
    ///     then: Graph::new(),
    ///     otherwise: Graph::new(),
    ///     workspace: None,
    /// }));
    /// let mut read = Graph::new();
    /// read.add_numbered_argument(Type::scalar(DType::F32));
    /// let op = op.with_bodies([read.clone(), Graph::new()]);
    /// assert_eq!(*op.bodies()[0], read);
    /// ```
    pub fn with_bodies(&self, bodies: impl IntoIterator<Item = Graph>) -> Op {
        let mut op = self.clone();
        let mut bodies = bodies.into_iter();
        let places: SmallVec<[&mut Graph; 2]> = if let Op::Scan(scan) = &mut op {
            SmallVec::from_iter([&mut scan.body])
        } else if let Op::Cond(cond) = &mut op {
            let Cond { then, otherwise, .. } = &mut **cond;
            SmallVec::from_iter([then, otherwise])
        } else if let Op::While(repeat) = &mut op {
            let While { test, body, .. } = &mut **repeat;
            SmallVec::from_iter([test, body])
        } else {
            SmallVec::new()
        };
        for place in places {
            *place = bodies.next().expect("there is a graph for each body");
        }
        op
    }

    /// The word that begins the operation in the text form.
    ///
    /// ```
    /// use kilngrad_ir::{Op, op::UnaryOp};
    ///
    /// assert_eq!(Op::Unary(UnaryOp::Exp).name(), "exp");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Op::State(_) => "state",
            Op::Constant(_) => "constant",
            Op::Dimension(_) => "dimension",
            Op::Iota { .. } => "iota",
            Op::Random { .. } => "random",
            Op::Unary(op) => op.row().name,
            Op::Binary(op) => op.row().name,
            Op::Compare(op) => op.name(),
            Op::Select => "select",
            Op::Cast => "cast",
            Op::Reduce { op, .. } => op.name(),
            Op::ArgReduce { op: ArgReduceOp::Max, .. } => "argmax",
            Op::ArgReduce { op: ArgReduceOp::Min, .. } => "argmin",
            Op::Argsort { descending: false, .. } => "argsort",
            Op::Argsort { descending: true, .. } => "argsort_descending",
            Op::Dot(_) => "dot",
            Op::Broadcast { .. } => "broadcast",
            Op::Reshape => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Slice(_) => "slice",
            Op::Pad(_) => "pad",
            Op::Concat { .. } => "concat",
            Op::Gather { .. } => "gather",
            Op::ScatterAdd { .. } => "scatter_add",
            Op::Windows(_) => "windows",
            Op::Fold(_) => "fold",
            Op::StopGradient => "stop_gradient",
            Op::CustomGradient(_) => "custom_gradient",
            Op::Gradient { or_zero: false } => "gradient",
            Op::Gradient { or_zero: true } => "gradient_or_zero",
            Op::Scan(_) => "scan",
            Op::Cond(_) => "cond",
            Op::While(_) => "while",
            Op::Kernel(_) => "kernel",
        }
    }
}
