//! What control flow does not need: results that nobody reads, carries that lead to none, operands
//! that no region reads, and operands and stacks that are there twice.

use std::ops::Range;

use kilngrad_ir::op::{Cond, Scan, While};
use kilngrad_ir::rewrite::Rewriter;
use kilngrad_ir::{Graph, Op, Value};

use crate::dce::needed_by;

/// Control flow without what it does not need.
#[derive(Debug)]
pub(crate) struct Pruned {
    /// The operation, whose regions have fewer arguments and results.
    pub(crate) op: Op,
    /// Which operands are left, in order.
    pub(crate) operands: Vec<usize>,
    /// For each result as it was, the result that stands for it now, if any.
    pub(crate) results: Vec<Option<usize>>,
}

/// What is left of an operation of which the results are needed that `needed` says; `None` if all is.
pub(crate) fn pruned(op: &Op, operands: &[Value], needed: &[bool]) -> Option<Pruned> {
    if let Op::Scan(scan) = op {
        return pruned_scan(scan, operands, needed);
    }
    if let Op::Cond(cond) = op {
        return pruned_cond(cond, operands, needed);
    }
    let Op::While(repeat) = op else { return None };
    pruned_while(repeat, operands, needed)
}

fn pruned_scan(scan: &Scan, operands: &[Value], needed: &[bool]) -> Option<Pruned> {
    let body = &scan.body;
    let (kept_results, read) = kept(scan, needed);
    // Of stacks of one value the first stands for all.
    let stands_for = |result: usize| {
        let same = |other: &usize| body.results()[*other] == body.results()[result];
        let first = scan.stacked_results().find(|other| kept_results[*other] && same(other));
        if result < scan.carries { result } else { first.unwrap_or(result) }
    };
    let results: Vec<usize> = (0..kept_results.len())
        .filter(|result| kept_results[*result] && stands_for(*result) == *result)
        .collect();
    let is_carry = |at: usize| scan.carry_operands().contains(&at);
    let keeps = |at: usize| match at.checked_sub(scan.consts) {
        Some(carry) if is_carry(at) => kept_results[carry],
        Some(_) | None => read[body.arguments()[at].index()],
    };
    // Of equal operands, which are constants or slices alike, the first stands for all.
    let first_of = |at: usize| {
        let part = if at < scan.consts { scan.const_operands() } else { scan.scanned_operands() };
        let mut same = part.filter(|other| operands[*other] == operands[at] && keeps(*other));
        if is_carry(at) { at } else { same.next().unwrap_or(at) }
    };
    let left: Vec<usize> =
        (0..operands.len()).filter(|at| keeps(*at) && first_of(*at) == *at).collect();
    if left.len() == operands.len() && results.len() == needed.len() {
        return None;
    }
    let duplicates: Vec<(Value, Value)> = (0..operands.len())
        .filter(|at| keeps(*at) && first_of(*at) != *at)
        .map(|at| (body.arguments()[at], body.arguments()[first_of(at)]))
        .collect();
    let position = |result: usize| results.iter().position(|kept| *kept == result);
    Some(Pruned {
        op: Op::Scan(Box::new(Scan {
            body: smaller(body, &left, &duplicates, &results),
            consts: left.iter().filter(|at| **at < scan.consts).count(),
            carries: left.iter().filter(|at| is_carry(**at)).count(),
            ..scan.clone()
        })),
        results: (0..needed.len())
            .map(|result| position(stands_for(result)).filter(|_| kept_results[result]))
            .collect(),
        operands: left,
    })
}

fn pruned_cond(cond: &Cond, operands: &[Value], needed: &[bool]) -> Option<Pruned> {
    let results: Vec<usize> = (0..needed.len()).filter(|at| needed[*at]).collect();
    let mut kept = vec![0];
    let [then, otherwise] = cond.branches().map(|(body, positions)| {
        let read = needed_by(body, results.iter().map(|at| body.results()[*at]));
        let (left, duplicates) = left_of(body, positions.clone(), operands, &read);
        kept.extend(left.iter().map(|at| positions.start + at));
        smaller(body, &left, &duplicates, &results)
    });
    (kept.len() < operands.len() || results.len() < needed.len()).then(|| Pruned {
        op: Op::Cond(Box::new(Cond { then, otherwise, workspace: cond.workspace })),
        operands: kept,
        results: position_of(&results, needed.len()),
    })
}

fn pruned_while(repeat: &While, operands: &[Value], needed: &[bool]) -> Option<Pruned> {
    let While { test, body, .. } = repeat;
    let [test_consts, body_consts] = [repeat.test_operands(), repeat.body_operands()];
    let test_read = needed_by(test, test.results().iter().copied());
    let tests = |carry: usize| test_read[test.arguments()[test_consts.len() + carry].index()];
    let mut kept: Vec<bool> = (0..needed.len()).map(|at| needed[at] || tests(at)).collect();
    let body_read = loop {
        let roots = body.results().iter().zip(&kept).filter(|(_, kept)| **kept);
        let read = needed_by(body, roots.map(|(value, _)| *value));
        let leads = |at: &usize| read[body.arguments()[body_consts.len() + at].index()];
        let more: Vec<usize> = (0..kept.len()).filter(|at| !kept[*at]).filter(leads).collect();
        if more.is_empty() {
            break read;
        }
        more.into_iter().for_each(|at| kept[at] = true);
    };
    let carries: Vec<usize> = (0..kept.len()).filter(|at| kept[*at]).collect();
    let mut left_operands = Vec::new();
    let mut region = |region: &Graph, consts: Range<usize>, read: &[bool], results: &[usize]| {
        let (mut left, duplicates) = left_of(region, consts.clone(), operands, read);
        left_operands.extend(left.iter().map(|at| consts.start + at));
        left.extend(carries.iter().map(|at| consts.len() + at));
        smaller(region, &left, &duplicates, results)
    };
    let test = region(test, test_consts, &test_read, &[0]);
    let body = region(body, body_consts, &body_read, &carries);
    left_operands.extend(carries.iter().map(|at| repeat.carry_operands().start + at));
    (left_operands.len() < operands.len()).then(|| Pruned {
        op: Op::While(Box::new(While {
            test,
            body,
            carries: carries.len(),
            workspace: repeat.workspace,
        })),
        operands: left_operands,
        results: position_of(&carries, needed.len()),
    })
}

/// Which arguments of a region stay, and which others they stand for: those that are read of the
/// first ones, whose operands are at `positions`, where of equal ones the first stands for all.
fn left_of(
    body: &Graph,
    positions: Range<usize>,
    operands: &[Value],
    read: &[bool],
) -> (Vec<usize>, Vec<(Value, Value)>) {
    let arguments = body.arguments();
    let operands = &operands[positions];
    let (mut left, mut duplicates): (Vec<usize>, Vec<(Value, Value)>) = Default::default();
    for at in (0..operands.len()).filter(|at| read[arguments[*at].index()]) {
        match left.iter().find(|first| operands[**first] == operands[at]) {
            Some(first) => duplicates.push((arguments[at], arguments[*first])),
            None => left.push(at),
        }
    }
    (left, duplicates)
}

/// For each of `count` results, where it is among those that are left.
fn position_of(left: &[usize], count: usize) -> Vec<Option<usize>> {
    (0..count).map(|result| left.iter().position(|kept| *kept == result)).collect()
}

/// By result, whether it is needed, and by value of the region, whether an iteration reads it: a
/// carry's next value is needed if its last one is, or if a needed result reads the carry.
fn kept(scan: &Scan, needed: &[bool]) -> (Vec<bool>, Vec<bool>) {
    let body = &scan.body;
    let mut kept = needed.to_vec();
    loop {
        let roots = body.results().iter().zip(&kept).filter(|(_, kept)| **kept);
        let read = needed_by(body, roots.map(|(value, _)| *value));
        let carried = |carry: &usize| read[body.arguments()[scan.consts + carry].index()];
        let more: Vec<usize> =
            scan.carry_results().filter(|carry| !kept[*carry]).filter(carried).collect();
        if more.is_empty() {
            return (kept, read);
        }
        more.into_iter().for_each(|carry| kept[carry] = true);
    }
}

/// The region with some of its arguments and results, where some arguments stand for others.
fn smaller(
    body: &Graph,
    arguments: &[usize],
    duplicates: &[(Value, Value)],
    results: &[usize],
) -> Graph {
    let arguments: Vec<Value> = arguments.iter().map(|at| body.arguments()[*at]).collect();
    let results: Vec<Value> = results.iter().map(|at| body.results()[*at]).collect();
    let read = needed_by(body, results.iter().copied());
    let mut part = Rewriter::part(body, &arguments);
    for (duplicate, first) in duplicates {
        part.replace(*duplicate, part.get(*first));
    }
    for (id, node) in body.nodes() {
        if node.results.iter().any(|value| read[value.index()]) {
            part.copy(id);
        }
    }
    part.finish_with(&results)
}
