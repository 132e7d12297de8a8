//! Graphs: nodes in order over values in single-assignment form.
//!
//! A graph is the body of an entry or of a region. Its nodes are kept in an order in which every
//! operand is defined before it is used, and that order is the program's: there is no other edge
//! to keep in step, no cycle can be written down, and a walk over nodes is a walk in topological
//! order. Passes do not edit a graph in place: they append to a new one (see
//! [`crate::rewrite::Rewriter`]), so indices stay dense.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::example::graph_example;
use crate::infer::{RuleError, infer};
use crate::op::Op;
use crate::origin::Origin;
use crate::program::Place;
use crate::types::Type;

/// A value of a graph: an index into its table of values.
#[doc = graph_example!("assert_eq!(graph.node(NodeId::from_index(1)).operands[..], [twice]);")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

/// A node of a graph: an index into its list of nodes, hence its position in the order.
#[doc = graph_example!(
    "assert_eq!(graph.node(NodeId::from_index(0)).op, Op::Binary(BinaryOp::Add));"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl Value {
    /// Position in the table of values.
    ///
    /// ```
    /// use kilngrad_ir::Value;
    ///
    /// assert_eq!(Value::from_index(2).index(), 2);
    /// ```
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The value at a position of the table.
    ///
    /// # Panics
    ///
    /// If the position does not fit 32 bits.
    ///
    /// # Examples
    #[doc = graph_example!("assert_eq!(graph.name(Value::from_index(0)).to_string(), \"%x\");")]
    pub fn from_index(index: usize) -> Value {
        Value(u32::try_from(index).expect("a graph has fewer than 2³² values"))
    }
}

impl NodeId {
    /// Position in the order.
    #[doc = graph_example!("assert!(graph.nodes().map(|(id, _)| id.index()).eq([0, 1]));")]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The node at a position of the order.
    ///
    /// # Panics
    ///
    /// If the position does not fit 32 bits.
    ///
    /// # Examples
    #[doc = graph_example!(
        "assert_eq!(graph.node(NodeId::from_index(1)).op, Op::Unary(UnaryOp::Relu));"
    )]
    pub fn from_index(index: usize) -> NodeId {
        NodeId(u32::try_from(index).expect("a graph has fewer than 2³² nodes"))
    }
}

/// What a value is called in the text form. A pass that keeps a value keeps its name, so a name
/// can be followed from dump to dump; a value that a pass makes gets a fresh number.
///
/// ```
/// use kilngrad_ir::ValueName;
///
/// assert_eq!(ValueName::Number(12).to_string(), "%12");
/// assert_eq!(ValueName::Word("hidden".into()).to_string(), "%hidden");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueName {
    /// `%12`.
    Number(u32),
    /// `%hidden`: a letter or underscore, then letters, digits, underscores and dots.
    Word(Arc<str>),
}

impl ValueName {
    /// The word as a name, if it is one.
    ///
    /// ```
    /// use kilngrad_ir::ValueName;
    ///
    /// assert!(ValueName::word("net.hidden").is_some());
    /// assert_eq!(ValueName::word("two words"), None);
    /// ```
    pub fn word(word: &str) -> Option<ValueName> {
        is_word(word).then(|| ValueName::Word(word.into()))
    }
}

/// Whether `text` is a word: a letter or underscore, then letters, digits, underscores and dots.
pub(crate) fn is_word(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

impl fmt::Display for ValueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueName::Number(number) => write!(f, "%{number}"),
            ValueName::Word(word) => write!(f, "%{word}"),
        }
    }
}

/// Where a value is defined.
#[doc = graph_example!(
    "assert_eq!(graph.value(x).def, Def::Argument(0));"
    "assert_eq!(graph.value(y).def, Def::Result { node: NodeId::from_index(1), index: 0 });"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Def {
    /// The graph's argument at this position.
    Argument(usize),
    /// A result of a node.
    Result {
        /// The node.
        node: NodeId,
        /// Position among its results.
        index: usize,
    },
}

/// A row of the table of values.
#[doc = graph_example!(
    "let ValueData { ty, name, .. } = graph.value(y);"
    "assert_eq!(format!(\"{name}: {ty}\"), \"%y: f32[3]\");"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Where it is defined.
    pub def: Def,
    /// What it is called; unique in the graph.
    pub name: ValueName,
    /// Where it lies in memory, once that is planned.
    pub place: Option<Place>,
}

/// An operation applied to operands.
#[doc = graph_example!(
    "let (_, node) = graph.nodes().next().expect(\"there are two\");"
    "assert_eq!((&node.operands[..], &node.results[..]), (&[x, x][..], &[twice][..]));"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// What it does it to.
    pub operands: SmallVec<[Value; 3]>,
    /// What it defines; at least one.
    pub results: SmallVec<[Value; 1]>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Node {
    /// The only result. Operations with several are `gradient`, `custom_gradient`, `scan`, `cond`,
    /// `while` and `kernel`.
    #[doc = graph_example!("assert_eq!(graph.node(NodeId::from_index(1)).result(), y);")]
    pub fn result(&self) -> Value {
        self.results[0]
    }
}

/// A body: arguments, nodes in order, results.
///
/// Two graphs are equal if their text is: arguments, nodes and results with names, types, places
/// and origins. How values are numbered and which names are fresh is not compared.
///
/// ```
/// use kilngrad_ir::{DType, Graph, Op, Origin, Type, ValueName, op::UnaryOp};
///
/// let mut graph = Graph::new();
/// let x = graph.add_argument(ValueName::word("x").expect("a word"), Type::scalar(DType::F32));
/// let node = graph.append(Op::Unary(UnaryOp::Relu), &[x], &[], Origin::unknown())?;
/// let y = graph.node(node).result();
/// graph.set_results(vec![y]);
/// assert_eq!(graph.ty(y), graph.ty(x));
/// # Ok::<(), kilngrad_ir::infer::RuleError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Graph {
    values: Vec<ValueData>,
    nodes: Vec<Node>,
    arguments: Vec<Value>,
    results: Vec<Value>,
    next_number: u32,
}

impl Graph {
    /// An empty graph.
    ///
    /// ```
    /// use kilngrad_ir::Graph;
    ///
    /// assert_eq!(Graph::new().node_count(), 0);
    /// ```
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Appends an argument. Its name must be unique, which the verifier checks.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Type, ValueName};
    ///
    /// let mut graph = Graph::new();
    /// let x = graph.add_argument(ValueName::word("x").expect("a word"), Type::scalar(DType::F32));
    /// assert_eq!(graph.arguments(), [x]);
    /// ```
    pub fn add_argument(&mut self, name: ValueName, ty: Type) -> Value {
        let def = Def::Argument(self.arguments.len());
        let value = self.define(name, ty, def);
        self.arguments.push(value);
        value
    }

    /// Appends an argument called by a fresh number.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Type};
    ///
    /// let mut graph = Graph::new();
    /// let x = graph.add_numbered_argument(Type::scalar(DType::F32));
    /// assert_eq!(graph.name(x).to_string(), "%0");
    /// ```
    pub fn add_numbered_argument(&mut self, ty: Type) -> Value {
        let name = self.fresh_name();
        self.add_argument(name, ty)
    }

    /// Appends a node after inferring its result types; `declared` are the types that are stated
    /// rather than inferred (see [`crate::infer`]), or empty.
    ///
    /// # Errors
    ///
    /// The rule that the operation, its operands or the declared types break.
    ///
    /// # Examples
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Op, Origin, Type, op::UnaryOp};
    ///
    /// let mut graph = Graph::new();
    /// let x = graph.add_numbered_argument(Type::scalar(DType::F32));
    /// let exp = graph.append(Op::Unary(UnaryOp::Exp), &[x], &[], Origin::unknown())?;
    /// assert_eq!(graph.ty(graph.node(exp).result()).to_string(), "f32[]");
    ///
    /// let flags = graph.add_numbered_argument(Type::scalar(DType::Bool));
    /// let error = graph.append(Op::Unary(UnaryOp::Exp), &[flags], &[], Origin::unknown());
    /// assert!(error.is_err());
    /// # Ok::<(), kilngrad_ir::infer::RuleError>(())
    /// ```
    pub fn append(
        &mut self,
        op: Op,
        operands: &[Value],
        declared: &[Type],
        origin: Origin,
    ) -> Result<NodeId, RuleError> {
        let types = {
            let operand_types: SmallVec<[&Type; 3]> =
                operands.iter().map(|value| self.ty(*value)).collect();
            infer(&op, &operand_types, declared)?
        };
        Ok(self.append_unchecked(op, operands, &types, origin))
    }

    /// Appends a node with these result types, which the caller knows to follow the rules; the
    /// verifier checks them after each pass.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Graph, Op, Origin, Type, op::UnaryOp};
    ///
    /// let (mut graph, ty) = (Graph::new(), Type::scalar(DType::F32));
    /// let x = graph.add_numbered_argument(ty.clone());
    /// let node = graph.append_unchecked(Op::Unary(UnaryOp::Exp), &[x], &[ty], Origin::unknown());
    /// assert_eq!(graph.node(node).operands[..], [x]);
    /// ```
    pub fn append_unchecked(
        &mut self,
        op: Op,
        operands: &[Value],
        types: &[Type],
        origin: Origin,
    ) -> NodeId {
        let node = NodeId::from_index(self.nodes.len());
        let results = types
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                let name = self.fresh_name();
                self.define(name, ty.clone(), Def::Result { node, index })
            })
            .collect();
        self.nodes.push(Node { op, operands: operands.into(), results, origin });
        node
    }

    /// Lets a node compute more: `op` gives its results as before and then values of these types,
    /// which are appended to them.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "let id = NodeId::from_index(1);"
        "graph.extend(id, graph.node(id).op.clone(), &[graph.ty(y).clone()]);"
        "assert_eq!(graph.node(id).results[0], y);"
        "assert_eq!(graph.node(id).results.len(), 2);"
    )]
    pub fn extend(&mut self, node: NodeId, op: Op, types: &[Type]) {
        for ty in types {
            let index = self.nodes[node.index()].results.len();
            let name = self.fresh_name();
            let value = self.define(name, ty.clone(), Def::Result { node, index });
            self.nodes[node.index()].results.push(value);
        }
        self.nodes[node.index()].op = op;
    }

    /// A number that no value of this graph is called by.
    ///
    /// ```
    /// use kilngrad_ir::{Graph, ValueName};
    ///
    /// let mut graph = Graph::new();
    /// assert_eq!(graph.fresh_name(), ValueName::Number(0));
    /// assert_eq!(graph.fresh_name(), ValueName::Number(1));
    /// ```
    pub fn fresh_name(&mut self) -> ValueName {
        let number = self.next_number;
        self.next_number += 1;
        ValueName::Number(number)
    }

    fn define(&mut self, name: ValueName, ty: Type, def: Def) -> Value {
        self.reserve_name(&name);
        let value = Value::from_index(self.values.len());
        self.values.push(ValueData { ty, def, name, place: None });
        value
    }

    /// Keeps fresh names clear of `name`.
    ///
    /// ```
    /// use kilngrad_ir::{Graph, ValueName};
    ///
    /// let mut graph = Graph::new();
    /// graph.reserve_name(&ValueName::Number(7));
    /// assert_eq!(graph.fresh_name(), ValueName::Number(8));
    /// ```
    pub fn reserve_name(&mut self, name: &ValueName) {
        if let ValueName::Number(number) = name {
            self.next_number = self.next_number.max(number.saturating_add(1));
        }
    }

    /// Calls a value by another name.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "graph.rename(twice, ValueName::Number(7));"
        "assert_eq!(graph.name(twice).to_string(), \"%7\");"
    )]
    pub fn rename(&mut self, value: Value, name: ValueName) {
        self.reserve_name(&name);
        self.values[value.index()].name = name;
    }

    /// Puts a value at a place in memory, or nowhere.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "graph.set_place(twice, Some(Place::Arena(64)));"
        "assert_eq!(graph.value(twice).place, Some(Place::Arena(64)));"
    )]
    pub fn set_place(&mut self, value: Value, place: Option<Place>) {
        self.values[value.index()].place = place;
    }

    /// Puts the arguments in another order.
    ///
    /// # Panics
    ///
    /// If `arguments` are not the arguments, each once.
    ///
    /// ```
    /// use kilngrad_ir::{DType, Def, Graph, Type};
    ///
    /// let mut graph = Graph::new();
    /// let [x, y] = [(); 2].map(|()| graph.add_numbered_argument(Type::scalar(DType::F32)));
    /// graph.reorder_arguments(&[y, x]);
    /// assert_eq!(graph.arguments(), [y, x]);
    /// assert_eq!(graph.value(y).def, Def::Argument(0));
    /// ```
    pub fn reorder_arguments(&mut self, arguments: &[Value]) {
        let mut sorted = [arguments.to_vec(), self.arguments.clone()];
        sorted.iter_mut().for_each(|arguments| arguments.sort_unstable());
        assert_eq!(sorted[0], sorted[1], "an order has each argument once");
        for (position, argument) in arguments.iter().enumerate() {
            self.values[argument.index()].def = Def::Argument(position);
        }
        self.arguments = arguments.to_vec();
    }

    /// Sets the results.
    #[doc = graph_example!(
        "let mut graph = graph.clone();"
        "graph.set_results(vec![twice, y]);"
        "assert_eq!(graph.results(), [twice, y]);"
    )]
    pub fn set_results(&mut self, results: Vec<Value>) {
        self.results = results;
    }

    /// The arguments, in order.
    #[doc = graph_example!("assert_eq!(graph.arguments(), [x]);")]
    pub fn arguments(&self) -> &[Value] {
        &self.arguments
    }

    /// The results, in order.
    #[doc = graph_example!("assert_eq!(graph.results(), [y]);")]
    pub fn results(&self) -> &[Value] {
        &self.results
    }

    /// The nodes, in order.
    #[doc = graph_example!(
        "let names: Vec<&str> = graph.nodes().map(|(_, node)| node.op.name()).collect();"
        "assert_eq!(names, [\"add\", \"relu\"]);"
    )]
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId::from_index(index), node))
    }

    /// Number of nodes.
    #[doc = graph_example!("assert_eq!(graph.node_count(), 2);")]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    ///
    /// # Panics
    ///
    /// If the graph has no such node.
    ///
    /// # Examples
    #[doc = graph_example!("assert_eq!(graph.node(NodeId::from_index(1)).operands[..], [twice]);")]
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.index()]
    }

    /// Every value, arguments included, in the order of definition.
    #[doc = graph_example!("assert!(graph.values().map(|(value, _)| value).eq([x, twice, y]));")]
    pub fn values(&self) -> impl ExactSizeIterator<Item = (Value, &ValueData)> {
        self.values.iter().enumerate().map(|(index, data)| (Value::from_index(index), data))
    }

    /// Number of values.
    #[doc = graph_example!("assert_eq!(graph.value_count(), 3);")]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// A row of the table of values.
    ///
    /// # Panics
    ///
    /// If the value is not this graph's.
    ///
    /// # Examples
    #[doc = graph_example!("assert_eq!(graph.value(x).def, Def::Argument(0));")]
    pub fn value(&self, value: Value) -> &ValueData {
        &self.values[value.index()]
    }

    /// A row of the table of values, unless the value is another graph's.
    #[doc = graph_example!(
        "assert!(graph.try_value(y).is_some());"
        "assert!(graph.try_value(Value::from_index(3)).is_none());"
    )]
    pub fn try_value(&self, value: Value) -> Option<&ValueData> {
        self.values.get(value.index())
    }

    /// The type of a value.
    ///
    /// # Panics
    ///
    /// If the value is not this graph's.
    ///
    /// # Examples
    #[doc = graph_example!("assert_eq!(graph.ty(y).to_string(), \"f32[3]\");")]
    pub fn ty(&self, value: Value) -> &Type {
        &self.values[value.index()].ty
    }

    /// The name of a value.
    ///
    /// # Panics
    ///
    /// If the value is not this graph's.
    ///
    /// # Examples
    #[doc = graph_example!("assert_eq!(graph.name(twice).to_string(), \"%twice\");")]
    pub fn name(&self, value: Value) -> &ValueName {
        &self.values[value.index()].name
    }

    /// The node that defines a value; `None` for arguments.
    #[doc = graph_example!(
        "assert!(graph.defining_node(x).is_none());"
        "assert_eq!(graph.defining_node(y).map(|node| node.op.name()), Some(\"relu\"));"
    )]
    pub fn defining_node(&self, value: Value) -> Option<&Node> {
        match self.value(value).def {
            Def::Argument(_) => None,
            Def::Result { node, .. } => Some(self.node(node)),
        }
    }

    /// The origin of a value: its node's; unknown for arguments.
    #[doc = graph_example!("assert_eq!(graph.origin(y), Origin::unknown());")]
    pub fn origin(&self, value: Value) -> Origin {
        self.defining_node(value).map_or_else(Origin::unknown, |node| node.origin.clone())
    }

    /// How often each value is used: by nodes as an operand, and as a result of the graph.
    #[doc = graph_example!("assert_eq!(graph.use_counts(), [2, 1, 1]);")]
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.values.len()];
        let operands = self.nodes.iter().flat_map(|node| &node.operands);
        for value in operands.chain(&self.results) {
            counts[value.index()] += 1;
        }
        counts
    }
}

/// By definition and not by number: arguments that were added after nodes are numbered after
/// their results, and a text does not say so.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        let Graph { values: _, nodes, arguments, results, next_number: _ } = self;
        let same = |lhs: &[Value], rhs: &[Value]| {
            let defs = |graph: &Graph, value: &Value| graph.try_value(*value).map(|data| data.def);
            lhs.len() == rhs.len()
                && lhs.iter().zip(rhs).all(|(l, r)| defs(self, l) == defs(other, r))
        };
        let same_data = |lhs: &[Value], rhs: &[Value]| {
            lhs.len() == rhs.len()
                && lhs.iter().zip(rhs).all(|(l, r)| self.try_value(*l) == other.try_value(*r))
        };
        same_data(arguments, &other.arguments)
            && same(results, &other.results)
            && nodes.len() == other.nodes.len()
            && nodes.iter().zip(&other.nodes).all(|(lhs, rhs)| {
                let Node { op, operands, results, origin } = lhs;
                *op == rhs.op
                    && *origin == rhs.origin
                    && same(operands, &rhs.operands)
                    && same_data(results, &rhs.results)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::op::UnaryOp;

    /// `relu` of the first of two arguments, of which one is added before or after the node.
    fn graph(late: bool, operand: usize) -> Graph {
        let ty = Type::scalar(DType::F32);
        let word = |word: &str| ValueName::word(word).expect("these are words");
        let mut graph = Graph::new();
        graph.add_argument(word("x"), ty.clone());
        if !late {
            graph.add_argument(word("y"), ty.clone());
        }
        let value = Value::from_index(operand);
        let op = Op::Unary(UnaryOp::Relu);
        let node = graph.append(op, &[value], &[], Origin::unknown()).expect("relu takes f32");
        graph.set_results(vec![graph.node(node).result()]);
        if late {
            graph.add_argument(word("y"), ty);
        }
        graph
    }

    #[test]
    fn equality_is_by_definition_and_not_by_number() {
        assert_eq!(graph(true, 0), graph(false, 0));
        assert_ne!(graph(false, 0), graph(false, 1));
        let mut renamed = graph(false, 0);
        renamed.fresh_name();
        assert_eq!(renamed, graph(false, 0));
        renamed.rename(Value::from_index(0), ValueName::Number(7));
        assert_ne!(renamed, graph(false, 0));
        let mut placed = graph(false, 0);
        placed.set_place(Value::from_index(2), Some(Place::Arena(0)));
        assert_ne!(placed, graph(false, 0));
    }
}
