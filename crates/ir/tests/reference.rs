//! docs/ir.md says what the code says: every rule, every operation, and examples that hold.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use kilngrad_ir::op::{BINARY, CompareOp, ReduceOp, UNARY};
use kilngrad_ir::text::{MAX_DEGREE, MAX_RANK, MAX_TERMS, ParseOptions, no_arrays, parse};
use kilngrad_ir::{DType, Graph, MAX_CONTROL, MAX_NESTING, Op, Program, Role, Source};

const REFERENCE: &str = include_str!("../../../docs/ir.md");

/// The code in which rules are stated.
const RULES: [&str; 8] = [
    include_str!("../src/infer.rs"),
    include_str!("../src/verify.rs"),
    include_str!("../src/text/parse.rs"),
    include_str!("../src/text/parse/cursor.rs"),
    include_str!("../src/text/parse/op.rs"),
    include_str!("../src/text/parse/part.rs"),
    include_str!("../src/text/parse/region.rs"),
    include_str!("../src/text/mod.rs"),
];

/// Labels such as `dot_c5` in `text` between two delimiters.
fn labels<'t>(text: &'t str, before: &str, after: &str) -> BTreeSet<&'t str> {
    let is_label = |word: &&str| {
        let rule = word.rsplit_once('_').map_or("", |(_, rule)| rule);
        let digits = rule.strip_prefix(['c', 'v', 't']).unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let starts = text.split(before).skip(1);
    starts.filter_map(|rest| rest.split(after).next()).filter(is_label).collect()
}

#[test]
fn every_rule_is_explained_and_no_other() {
    let mut stated = BTreeSet::new();
    for code in RULES {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        stated.extend(labels(code, "\"", "\""));
    }
    let explained = labels(REFERENCE, "[`", "`]");
    assert_eq!(explained, stated);
    assert!(stated.len() > 50, "labels are found: {stated:?}");
}

/// The examples, each as a whole program.
fn examples() -> Vec<String> {
    let blocks = REFERENCE.split("```kg\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default());
    let whole = |block: &str| match block.starts_with("kilngrad ") {
        true => block.to_owned(),
        false => format!("kilngrad 1\nprogram \"example\"\n\n{block}"),
    };
    blocks.map(whole).collect()
}

fn read(text: &str) -> Program {
    match parse(text, &ParseOptions::new("ir.md"), &mut no_arrays) {
        Ok(program) => program,
        Err(errors) => panic!("{}", errors.render(&Source { file: "ir.md", text })),
    }
}

/// Text without blanks, which mean nothing, and without comments.
fn squeezed(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn every_example_is_a_program_as_it_is_printed() {
    let examples = examples();
    assert!(examples.len() > 25, "examples are found: {}", examples.len());
    for example in examples {
        let program = read(&example);
        assert_eq!(squeezed(&program.to_string()), squeezed(&example));
        assert_eq!(read(&program.to_string()), program);
    }
}

fn collect(graph: &Graph, names: &mut BTreeSet<&'static str>) {
    for (_, node) in graph.nodes() {
        names.insert(node.op.name());
        if let Op::Kernel(kernel) = &node.op {
            collect(&kernel.body, names);
        }
        if let Op::Scan(scan) = &node.op {
            collect(&scan.body, names);
        }
        if let Op::Cond(cond) = &node.op {
            collect(&cond.then, names);
            collect(&cond.otherwise, names);
        }
        if let Op::While(repeat) = &node.op {
            collect(&repeat.test, names);
            collect(&repeat.body, names);
        }
        if let Op::CustomGradient(custom) = &node.op {
            collect(&custom.backward, names);
        }
    }
}

/// The names that `Op::name` gives, from its code and from the tables that it reads.
fn operations() -> BTreeSet<&'static str> {
    let code = include_str!("../src/op/mod.rs");
    let (_, name) = code.split_once("impl Op {").unwrap();
    let (_, arms) = name.split_once("pub fn name(&self)").unwrap();
    let arms = arms.split(',').filter_map(|arm| arm.split_once("=> \""));
    let mut names: BTreeSet<&str> = arms.filter_map(|(_, rest)| rest.split('"').next()).collect();
    names.extend(UNARY.iter().map(|row| row.name));
    names.extend(BINARY.iter().map(|row| row.name));
    names.extend(CompareOp::ALL.iter().map(|(_, name)| *name));
    names.extend(ReduceOp::ALL.iter().map(|(_, name)| *name));
    names
}

#[test]
fn every_operation_has_an_example_and_a_place() {
    let mut used = BTreeSet::new();
    for example in examples() {
        for entry in &read(&example).entries {
            collect(&entry.graph, &mut used);
        }
    }
    let operations = operations();
    assert_eq!(used, operations);
    assert!(operations.contains("gradient_or_zero") && operations.len() > 55);
    for name in operations {
        let described = REFERENCE.lines().any(|line| {
            let here = line.starts_with("#### ") || line.starts_with("| ");
            here && line.contains(&format!("`{name}`"))
        });
        assert!(described, "{name} has a section or a row");
    }
}

/// What a row states of ties and edges stands in the reference in the same words.
#[test]
fn rows_are_quoted() {
    let unary = UNARY.iter().map(|row| (row.name, row.edges));
    let binary = BINARY.iter().map(|row| (row.name, row.edges));
    for (name, edges) in unary.chain(binary) {
        let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("expected a row of {name}"));
        let cell = row.split('|').nth(4).unwrap_or_default().trim();
        assert_eq!(cell, edges, "{name}");
    }
}

#[test]
fn words_and_numbers_are_named() {
    let roles = Role::ALL.map(|(_, name)| name);
    let dtypes = DType::ALL.map(DType::name);
    for word in roles.iter().chain(&dtypes) {
        assert!(REFERENCE.contains(&format!("`{word}`")), "{word}");
    }
    // Wherever its lines are broken.
    let text: Vec<&str> = REFERENCE.split_whitespace().collect();
    let text = text.join(" ");
    for bounds in [
        format!("nest at most {MAX_NESTING} deep, control flow at most {MAX_CONTROL}"),
        format!("at most {MAX_RANK} axes"),
        format!("at most {MAX_TERMS} terms and {MAX_DEGREE} symbols"),
    ] {
        assert!(text.contains(&bounds), "{bounds}");
    }
}
