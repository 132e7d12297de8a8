//! `bind`: symbols become constants. Exact.
//!
//! Assumes nothing. Guarantees that no type and no attribute has a symbol, that every `dimension`
//! is a constant, that every rule that lengths decide holds, and that kernels which are there already
//! are such as fusion makes: later passes see constants only.
//! Each error names the value's line.

use kilngrad_ir::infer::infer;
use kilngrad_ir::op::{CustomGradient, Kernel, PadAxis, Scan, SliceAxis};
use kilngrad_ir::{
    Bindings, Check, Constant, Dim, Entry, Graph, Literal, NodeId, Op, Program, Shape, Site, Type,
    Value, VerifyError,
};
use smallvec::SmallVec;

use crate::fuse::check_kernel;
use crate::pass::{Context, Exactness, Pass, PassError, each_entry};

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct Bind;

impl Pass for Bind {
    fn name(&self) -> &'static str {
        "bind"
    }

    fn exactness(&self) -> Exactness {
        Exactness::Exact
    }

    fn run(&self, context: &mut Context<'_>, program: &Program) -> Result<Program, PassError> {
        each_entry(program, |entry| bind_entry(entry, context.bindings))
    }
}

/// One entry with its symbols replaced by what they are bound to.
///
/// # Errors
///
/// A symbol without a binding, a length that is negative, a size that does not fit memory, or a
/// rule that the bound lengths break.
pub fn bind_entry(entry: &Entry, bindings: &Bindings) -> Result<Entry, PassError> {
    let (graph, map) = bind_graph(&entry.graph, &entry.name, bindings)?;
    let checks = entry
        .checks
        .iter()
        .map(|check| Check { condition: map[check.condition.index()], ..check.clone() });
    let checks = checks.collect();
    let updates = entry.updates.iter().map(|(state, value)| (*state, map[value.index()]));
    Ok(Entry {
        name: entry.name.clone(),
        mode: entry.mode,
        checks,
        updates: updates.collect(),
        graph,
        outputs: entry.outputs.clone(),
        plan: None,
    })
}

/// A graph of the entry called `entry` under bindings, with what stands for each of its values.
/// Recurses once a region.
fn bind_graph(
    source: &Graph,
    entry: &str,
    bindings: &Bindings,
) -> Result<(Graph, Vec<Value>), PassError> {
    let mut target = Graph::new();
    let mut map: Vec<Value> = Vec::with_capacity(source.value_count());
    for (_, data) in source.values() {
        target.reserve_name(&data.name);
    }
    // Values are numbered in the order of definition in both graphs, arguments first only where
    // they were added first, so the map is filled by index.
    map.resize(source.value_count(), Value::from_index(0));
    for &argument in source.arguments() {
        let data = source.value(argument);
        let binder = Binder { entry, bindings, wherein: data.name.to_string(), site: None };
        let ty = binder.ty(&data.ty)?;
        map[argument.index()] = target.add_argument(data.name.clone(), ty);
    }
    for (id, _) in source.nodes() {
        bind_node(source, id, (entry, bindings), &mut target, &mut map)?;
    }
    target.set_results(source.results().iter().map(|value| map[value.index()]).collect());
    Ok((target, map))
}

fn bind_node(
    source: &Graph,
    id: NodeId,
    (entry, bindings): (&str, &Bindings),
    target: &mut Graph,
    map: &mut [Value],
) -> Result<(), PassError> {
    let node = source.node(id);
    let binder = Binder {
        entry,
        bindings,
        wherein: source.name(node.results[0]).to_string(),
        site: node.origin.site().cloned(),
    };
    let types: SmallVec<[Type; 1]> =
        node.results.iter().map(|value| binder.ty(source.ty(*value))).collect::<Result<_, _>>()?;
    let op = binder.op(&node.op, types[0].dtype)?;
    let operands: SmallVec<[Value; 3]> =
        node.operands.iter().map(|value| map[value.index()]).collect();
    let inferred = {
        let operand_types: SmallVec<[&Type; 3]> =
            operands.iter().map(|value| target.ty(*value)).collect();
        infer(&op, &operand_types, &types)
    };
    inferred.map_err(|error| {
        PassError::Rule(VerifyError {
            error,
            entry: Some(entry.to_owned()),
            value: Some(source.name(node.results[0]).clone()),
            state: None,
            origin: node.origin.clone(),
        })
    })?;
    let copy = target.append_unchecked(op, &operands, &types, node.origin.clone());
    for (index, result) in node.results.iter().enumerate() {
        let value = target.node(copy).results[index];
        target.rename(value, source.name(*result).clone());
        map[result.index()] = value;
    }
    Ok(())
}

/// Binds lengths that occur in one value's definition.
struct Binder<'b> {
    entry: &'b str,
    bindings: &'b Bindings,
    wherein: String,
    site: Option<Site>,
}

impl Binder<'_> {
    fn value(&self, dim: &Dim) -> Result<i64, PassError> {
        if let Some(symbol) = dim.symbols().find(|symbol| !self.bindings.contains_key(*symbol)) {
            return Err(PassError::UnboundSymbol {
                symbol: symbol.name().to_owned(),
                wherein: self.wherein.clone(),
                site: self.site.clone(),
            });
        }
        dim.evaluate(self.bindings).ok_or_else(|| self.length(dim, None))
    }

    fn dim(&self, dim: &Dim) -> Result<Dim, PassError> {
        let value = self.value(dim)?;
        if value < 0 {
            return Err(self.length(dim, Some(value)));
        }
        Ok(Dim::constant(value))
    }

    fn length(&self, dim: &Dim, value: Option<i64>) -> PassError {
        PassError::Length {
            dim: dim.to_string(),
            value,
            wherein: self.wherein.clone(),
            site: self.site.clone(),
        }
    }

    fn ty(&self, ty: &Type) -> Result<Type, PassError> {
        let dims = ty.shape.dims().iter().map(|dim| self.dim(dim));
        let dims: Vec<Dim> = dims.collect::<Result<_, _>>()?;
        let bound = Type::new(ty.dtype, Shape::new(dims));
        if bound.byte_count().is_none() {
            return Err(PassError::Size {
                ty: bound.to_string(),
                wherein: self.wherein.clone(),
                site: self.site.clone(),
            });
        }
        Ok(bound)
    }

    /// A kernel that is there already, as in a dump that was read back, is no fusion's: whether it
    /// keeps to the contract is checked here.
    fn kernel(&self, kernel: &Kernel) -> Result<Kernel, PassError> {
        let (body, _) = bind_graph(&kernel.body, self.entry, self.bindings)?;
        check_kernel(kernel.kind, &body).map_err(|message| PassError::Kernel {
            kernel: format!("{} of entry {}", kernel.name, self.entry),
            message,
            site: self.site.clone(),
        })?;
        Ok(Kernel { body, ..kernel.clone() })
    }

    fn op(&self, op: &Op, dtype: kilngrad_ir::DType) -> Result<Op, PassError> {
        Ok(match op {
            Op::Dimension(dim) => {
                let literal = Literal::from_i64(dtype, self.value(dim)?);
                Op::Constant(Constant::Splat(literal))
            }
            Op::Slice(axes) => {
                let bound = axes.iter().map(|axis| {
                    Ok(SliceAxis {
                        start: self.dim(&axis.start)?,
                        limit: self.dim(&axis.limit)?,
                        stride: axis.stride,
                    })
                });
                Op::Slice(bound.collect::<Result<_, PassError>>()?)
            }
            Op::Pad(axes) => {
                let bound = axes.iter().map(|axis| {
                    Ok(PadAxis {
                        low: self.dim(&axis.low)?,
                        high: self.dim(&axis.high)?,
                        interior: axis.interior,
                    })
                });
                Op::Pad(bound.collect::<Result<_, PassError>>()?)
            }
            Op::CustomGradient(custom) => {
                let (backward, _) = bind_graph(&custom.backward, self.entry, self.bindings)?;
                Op::CustomGradient(Box::new(CustomGradient { backward }))
            }
            Op::Scan(scan) => {
                let (body, _) = bind_graph(&scan.body, self.entry, self.bindings)?;
                let length = self.dim(&scan.length)?;
                Op::Scan(Box::new(Scan { body, length, workspace: None, ..(**scan).clone() }))
            }
            Op::Cond(_) | Op::While(_) => {
                let bodies = op.bodies().into_iter();
                let bodies = bodies.map(|body| Ok(bind_graph(body, self.entry, self.bindings)?.0));
                op.with_bodies(bodies.collect::<Result<Vec<_>, PassError>>()?).with_workspace(None)
            }
            Op::Kernel(kernel) => Op::Kernel(Box::new(self.kernel(kernel)?)),
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
            | Op::Gradient { .. } => op.clone(),
        })
    }
}
