//! Drawings: an entry's dataflow as a graph of Graphviz's `dot`.
//!
//! A node is a kernel, a view, a state that is read, an input, or an operation that is not fused
//! yet; an edge is a value with its type. `dot -Tsvg` turns the text into a picture.

use std::collections::BTreeMap;
use std::fmt;

use kilngrad_ir::{Def, Entry, Graph, Node, Op, Program, Value};
use petgraph::dot::{Config, Dot};
use petgraph::graph::{DiGraph, NodeIndex};

/// Who computes or uses values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What stands in the picture; lines are separated by line feeds.
    pub label: String,
    /// Its outline, in Graphviz's words.
    pub shape: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// The dataflow of an entry: edges are labelled with the values that travel along them. States that
/// are updated have a node for their value on entry and one for the next.
pub fn dataflow(program: &Program, entry: &Entry) -> DiGraph<Place, String> {
    let graph = &entry.graph;
    let mut drawn = DiGraph::new();
    let mut makers: BTreeMap<Value, NodeIndex> = BTreeMap::new();
    for &argument in graph.arguments() {
        let place = Place { label: graph.name(argument).to_string(), shape: "invhouse" };
        makers.insert(argument, drawn.add_node(place));
    }
    for (_, node) in graph.nodes() {
        let index = drawn.add_node(place_of(program, node));
        for &operand in &node.operands {
            if let Some(&maker) = makers.get(&operand) {
                drawn.add_edge(maker, index, edge(graph, operand));
            }
        }
        makers.extend(node.results.iter().map(|result| (*result, index)));
    }
    let outputs = entry.outputs.iter().map(|name| format!("output {name}"));
    let results = graph.results().iter().zip(outputs);
    let updates = entry
        .updates
        .iter()
        .map(|(id, value)| (value, format!("next {}", program.state(*id).path)));
    let checks = entry.checks.iter();
    let checks = checks.map(|check| (&check.condition, format!("check {}", check.expected)));
    for (value, label) in results.chain(checks).chain(updates) {
        let index = drawn.add_node(Place { label, shape: "house" });
        if let Some(&maker) = makers.get(value) {
            drawn.add_edge(maker, index, edge(graph, *value));
        }
    }
    drawn
}

/// The dataflow of an entry as a text for `dot`.
pub fn dot(program: &Program, entry: &Entry) -> String {
    let drawn = dataflow(program, entry);
    let config = [Config::NodeNoLabel, Config::EdgeNoLabel];
    let label = |text: &str| format!("label = \"{}\"", escaped(text));
    let edges = |_: &DiGraph<Place, String>, edge: petgraph::graph::EdgeReference<'_, String>| {
        label(edge.weight())
    };
    let nodes = |_: &DiGraph<Place, String>, (_, place): (NodeIndex, &Place)| {
        format!("shape = {} {}", place.shape, label(&place.label))
    };
    Dot::with_attr_getters(&drawn, &config, &edges, &nodes).to_string()
}

fn place_of(program: &Program, node: &Node) -> Place {
    if let Op::Kernel(kernel) = &node.op {
        let (kind, operations) = (kernel.kind.name(), kernel.body.node_count());
        let plural = if operations == 1 { "" } else { "s" };
        let label = format!("{}\n{kind}, {operations} operation{plural}", kernel.name);
        return Place { label, shape: "box" };
    }
    if let Op::State(id) = &node.op {
        return Place { label: program.state(*id).path.to_string(), shape: "cylinder" };
    }
    Place { label: node.op.name().to_owned(), shape: "ellipse" }
}

fn edge(graph: &Graph, value: Value) -> String {
    match graph.value(value).def {
        Def::Argument(_) => graph.ty(value).to_string(),
        Def::Result { .. } => format!("{} {}", graph.name(value), graph.ty(value)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kilngrad_ir::text::Limits;

    use super::*;

    #[test]
    fn an_update_is_drawn_from_its_state_on() {
        let text = "kilngrad 1\nprogram \"p\"\nstate \"w\": f32[2] = 0.0 parameter\n\
                    entry @e(%x: f32[2]) train {\n  %w: f32[2] = state \"w\"\n  \
                    %0: f32[2] = add %w, %x\n  update \"w\" := %0\n  return y = %0\n}\n";
        let program = Program::parse(text, &Limits::default()).unwrap();
        let entry = &program.entries[0];
        let drawn = dataflow(&program, entry);
        let labels: Vec<&str> = drawn.node_weights().map(|place| &*place.label).collect();
        assert_eq!(labels, ["%x", "w", "add", "output y", "next w"]);
        assert_eq!(drawn.edge_count(), 4);
        assert_eq!(petgraph::algo::toposort(&drawn, None).unwrap().len(), 5);
        let dot = dot(&program, entry);
        assert!(dot.contains("shape = cylinder label = \"w\""), "{dot}");
        assert!(dot.contains("label = \"%0 f32[2]\""), "{dot}");
    }
}
