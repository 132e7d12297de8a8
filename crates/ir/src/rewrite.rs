//! Rewriting: a graph is copied node by node into a new one, with what a pass puts in its place.
//!
//! # Examples
//!
//! ```
//! use kilngrad_ir::{Program, rewrite::Rewriter, text::Limits};
//!
//! let program = Program::parse(r#"kilngrad 1
//! program "example"
//! entry @run(%x: f32[]) eval {
//!   %unused: f32[] = exp %x
//!   %y: f32[] = relu %x
//!   return y = %y
//! }"#, &Limits::default())?;
//! let entry = &program.entries[0];
//! let uses = entry.graph.use_counts();
//! let mut rewriter = Rewriter::new(&entry.graph);
//! for (id, node) in entry.graph.nodes() {
//!     if uses[node.result().index()] > 0 {
//!         rewriter.copy(id);
//!     }
//! }
//! assert_eq!(rewriter.finish_entry(entry).graph.node_count(), 1);
//! # Ok::<(), kilngrad_ir::text::ParseErrors>(())
//! ```

use smallvec::SmallVec;

use crate::example::graph_example;
use crate::graph::{Graph, Node, NodeId, Value, ValueName};
use crate::infer::RuleError;
use crate::op::{BinaryOp, CompareOp, Emit, Op, UnaryOp};
use crate::origin::Origin;
use crate::program::{Check, Entry};
use crate::types::Type;

/// Copies a graph while a pass rewrites it.
///
/// Every value of the source that a later node, result or update uses must be mapped by then:
/// [`copy`](Self::copy) and [`replace`](Self::replace) map, and a node that is neither copied nor
/// replaced is dropped.
#[doc = graph_example!(
    "let mut rewriter = Rewriter::new(graph);"
    "for (id, node) in graph.nodes() {"
    "    match node.op {"
    "        // Here a pass that takes `relu` away."
    "        Op::Unary(UnaryOp::Relu) => {"
    "            rewriter.replace(node.result(), rewriter.get(node.operands[0]));"
    "        }"
    "        _ => _ = rewriter.copy(id),"
    "    }"
    "}"
    "let (rewritten, _) = rewriter.finish();"
    "assert_eq!(rewritten.node_count(), 1);"
)]
#[derive(Debug)]
pub struct Rewriter<'g> {
    source: &'g Graph,
    target: Graph,
    map: Vec<Option<Value>>,
}

impl<'g> Rewriter<'g> {
    /// Begins a copy of `source`: its arguments are there, its nodes are not.
    #[doc = graph_example!(
        "let rewriter = Rewriter::new(graph);"
        "assert_eq!(rewriter.target().arguments().len(), 1);"
        "assert_eq!(rewriter.target().node_count(), 0);"
    )]
    pub fn new(source: &'g Graph) -> Rewriter<'g> {
        Rewriter::part(source, source.arguments())
    }

    /// Begins a copy of part of `source`, of which these values are the arguments, wherever they come
    /// from.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::part(graph, &[twice]);"
        "rewriter.copy(NodeId::from_index(1));"
        "assert_eq!(rewriter.finish().0.node_count(), 1);"
    )]
    pub fn part(source: &'g Graph, arguments: &[Value]) -> Rewriter<'g> {
        let mut target = Graph::new();
        // Fresh names of the target must differ from every name of the source.
        for (_, data) in source.values() {
            target.reserve_name(&data.name);
        }
        let mut map = vec![None; source.value_count()];
        for &argument in arguments {
            let data = source.value(argument);
            let copy = target.add_argument(data.name.clone(), data.ty.clone());
            target.set_place(copy, data.place);
            map[argument.index()] = Some(copy);
        }
        Rewriter { source, target, map }
    }

    /// The graph that is being copied.
    #[doc = graph_example!("assert_eq!(Rewriter::new(graph).source(), graph);")]
    pub fn source(&self) -> &'g Graph {
        self.source
    }

    /// The new graph so far.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "rewriter.copy(NodeId::from_index(0));"
        "assert_eq!(rewriter.target().node_count(), 1);"
    )]
    pub fn target(&self) -> &Graph {
        &self.target
    }

    /// The new graph so far, to append to.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "let extra = rewriter.target_mut().add_numbered_argument(Type::scalar(DType::F32));"
        "assert_eq!(rewriter.target().arguments().last(), Some(&extra));"
    )]
    pub fn target_mut(&mut self) -> &mut Graph {
        &mut self.target
    }

    /// What stands for a value of the source.
    ///
    /// # Panics
    ///
    /// If nothing does yet, which is a bug of the pass.
    ///
    /// # Examples
    #[doc = graph_example!(
        "let rewriter = Rewriter::new(graph);"
        "assert_eq!(rewriter.target().name(rewriter.get(x)).to_string(), \"%x\");"
    )]
    pub fn get(&self, value: Value) -> Value {
        self.map[value.index()].expect("a value is mapped before it is used")
    }

    /// What stands for a value of the source, if anything does yet.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "assert_eq!(rewriter.try_get(twice), None);"
        "rewriter.copy(NodeId::from_index(0));"
        "assert!(rewriter.try_get(twice).is_some());"
    )]
    pub fn try_get(&self, value: Value) -> Option<Value> {
        self.map[value.index()]
    }

    /// The new operands of a node of the source.
    #[doc = graph_example!(
        "let rewriter = Rewriter::new(graph);"
        "let operands = rewriter.operands(graph.node(NodeId::from_index(0)));"
        "assert_eq!(operands[..], [rewriter.get(x), rewriter.get(x)]);"
    )]
    pub fn operands(&self, node: &Node) -> SmallVec<[Value; 3]> {
        node.operands.iter().map(|value| self.get(*value)).collect()
    }

    /// Copies a node as it is, with its names, places and origin.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();"
        "for id in ids {"
        "    rewriter.copy(id);"
        "}"
        "assert_eq!(rewriter.finish().0, *graph);"
    )]
    pub fn copy(&mut self, id: NodeId) -> NodeId {
        let node = self.source.node(id);
        let operands = self.operands(node);
        self.copy_with(id, node.op.clone(), &operands)
    }

    /// Copies a node with another operation and other operands (of the new graph) that give
    /// results of the same types, which keep their names.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "let id = NodeId::from_index(0);"
        "let operands = rewriter.operands(graph.node(id));"
        "rewriter.copy_with(id, Op::Binary(BinaryOp::Mul), &operands);"
        "let product = rewriter.get(twice);"
        "assert_eq!(rewriter.target().name(product).to_string(), \"%twice\");"
    )]
    pub fn copy_with(&mut self, id: NodeId, op: Op, operands: &[Value]) -> NodeId {
        let node = self.source.node(id);
        let types: SmallVec<[Type; 1]> =
            node.results.iter().map(|value| self.source.ty(*value).clone()).collect();
        let copy = self.target.append_unchecked(op, operands, &types, node.origin.clone());
        for (index, &result) in node.results.iter().enumerate() {
            let value = self.target.node(copy).results[index];
            self.target.rename(value, self.source.name(result).clone());
            self.target.set_place(value, self.source.value(result).place);
            self.map[result.index()] = Some(value);
        }
        copy
    }

    /// Lets a value of the new graph stand for one of the source. If the new value has only a
    /// number for a name and the old one a word, the word goes on.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "rewriter.copy(NodeId::from_index(0));"
        "rewriter.replace(y, rewriter.get(twice));"
        "assert_eq!(rewriter.get(y), rewriter.get(twice));"
    )]
    pub fn replace(&mut self, old: Value, new: Value) {
        let word = self.source.name(old);
        if matches!(word, ValueName::Word(_))
            && matches!(self.target.name(new), ValueName::Number(_))
        {
            self.target.rename(new, word.clone());
        }
        self.map[old.index()] = Some(new);
    }

    /// Appends a node with one result.
    ///
    /// # Errors
    ///
    /// The type rule that it breaks.
    ///
    /// # Examples
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "let operand = rewriter.get(x);"
        "let exp = rewriter.append(Op::Unary(UnaryOp::Exp), &[operand], &[], Origin::unknown())?;"
        "rewriter.replace(y, exp);"
        "assert_eq!(rewriter.finish().0.node_count(), 1);"
    )]
    pub fn append(
        &mut self,
        op: Op,
        operands: &[Value],
        declared: &[Type],
        origin: Origin,
    ) -> Result<Value, RuleError> {
        let node = self.target.append(op, operands, declared, origin)?;
        Ok(self.target.node(node).result())
    }

    /// Ends the copy: the results are what stands for the source's.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "rewriter.copy(NodeId::from_index(0));"
        "rewriter.copy(NodeId::from_index(1));"
        "let (copy, map) = rewriter.finish();"
        "assert_eq!(copy.results(), [map[y.index()].expect(\"it is copied\")]);"
    )]
    pub fn finish(mut self) -> (Graph, Vec<Option<Value>>) {
        let results = self.source.results().iter().map(|value| self.get(*value)).collect();
        self.target.set_results(results);
        (self.target, self.map)
    }

    /// Ends the copy: the results are what stands for these values.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "rewriter.copy(NodeId::from_index(0));"
        "assert_eq!(rewriter.finish_with(&[twice, x]).results().len(), 2);"
    )]
    pub fn finish_with(mut self, results: &[Value]) -> Graph {
        let results = results.iter().map(|value| self.get(*value)).collect();
        self.target.set_results(results);
        self.target
    }

    /// Ends the copy of an entry's graph.
    #[doc = graph_example!(
        "let mut rewriter = Rewriter::new(graph);"
        "rewriter.copy(NodeId::from_index(0));"
        "rewriter.copy(NodeId::from_index(1));"
        "assert_eq!(rewriter.finish_entry(&program.entries[0]), program.entries[0]);"
    )]
    pub fn finish_entry(self, entry: &Entry) -> Entry {
        let checks = entry
            .checks
            .iter()
            .map(|check| Check { condition: self.get(check.condition), ..check.clone() });
        let checks = checks.collect();
        let updates = entry.updates.iter().map(|(state, value)| (*state, self.get(*value)));
        let updates = updates.collect();
        let (graph, _) = self.finish();
        Entry {
            name: entry.name.clone(),
            mode: entry.mode,
            graph,
            outputs: entry.outputs.clone(),
            checks,
            updates,
            plan: entry.plan,
        }
    }
}

/// Appends elementwise nodes of one origin to a graph.
///
/// Its operations panic on operands whose types do not fit: it is for rules that derive from
/// verified nodes, where the types are known.
#[doc = graph_example!(
    "let mut graph = graph.clone();"
    "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
    "let half = emitter.splat(&Type::new(DType::F32, Shape::new([3])), 0.5);"
    "let product = emitter.emit(Op::Binary(BinaryOp::Mul), &[y, half], &[]);"
    "assert_eq!(graph.ty(product), graph.ty(y));"
)]
#[derive(Debug)]
pub struct Emitter<'g> {
    graph: &'g mut Graph,
    origin: Origin,
}

impl<'g> Emitter<'g> {
    /// Appends to `graph`; every node gets `origin`.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let exp = Emitter::new(&mut graph, Origin::unknown()).unary(UnaryOp::Exp, y);"
        "assert_eq!(graph.defining_node(exp).map(|node| node.op.name()), Some(\"exp\"));"
    )]
    pub fn new(graph: &'g mut Graph, origin: Origin) -> Emitter<'g> {
        Emitter { graph, origin }
    }

    /// The graph that is appended to.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "assert_eq!(emitter.graph().node_count(), 2);"
    )]
    pub fn graph(&mut self) -> &mut Graph {
        self.graph
    }

    /// The type of a value.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "assert_eq!(Emitter::new(&mut graph, Origin::unknown()).ty(y).to_string(), \"f32[3]\");"
    )]
    pub fn ty(&self, value: Value) -> &Type {
        self.graph.ty(value)
    }

    /// Appends a node with one result.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let log = emitter.emit(Op::Unary(UnaryOp::Log), &[y], &[]);"
        "assert_eq!(graph.node_count(), 3);"
        "assert_eq!(graph.ty(log), graph.ty(y));"
    )]
    pub fn emit(&mut self, op: Op, operands: &[Value], declared: &[Type]) -> Value {
        let node = self
            .graph
            .append(op, operands, declared, self.origin.clone())
            .expect("operands of a verified node fit its derived operations");
        self.graph.node(node).result()
    }

    /// A constant of the given type.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let mut emitter = Emitter::new(&mut graph, Origin::unknown());"
        "let one = emitter.splat(&Type::scalar(DType::F32), 1.0);"
        "assert_eq!(graph.ty(one).to_string(), \"f32[]\");"
    )]
    pub fn splat(&mut self, ty: &Type, number: f64) -> Value {
        let literal = crate::literal::Literal::from_f64(ty.dtype, number);
        let op = Op::Constant(crate::literal::Constant::Splat(literal));
        self.emit(op, &[], std::slice::from_ref(ty))
    }
}

impl Emit for Emitter<'_> {
    fn unary(&mut self, op: UnaryOp, x: Value) -> Value {
        self.emit(Op::Unary(op), &[x], &[])
    }

    fn binary(&mut self, op: BinaryOp, lhs: Value, rhs: Value) -> Value {
        self.emit(Op::Binary(op), &[lhs, rhs], &[])
    }

    fn compare(&mut self, op: CompareOp, lhs: Value, rhs: Value) -> Value {
        self.emit(Op::Compare(op), &[lhs, rhs], &[])
    }

    fn select(&mut self, condition: Value, on_true: Value, on_false: Value) -> Value {
        self.emit(Op::Select, &[condition, on_true, on_false], &[])
    }

    fn constant_like(&mut self, like: Value, number: f64) -> Value {
        let ty = self.graph.ty(like).clone();
        self.splat(&ty, number)
    }
}
