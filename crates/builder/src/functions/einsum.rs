//! Sums of products in Einstein's notation.
//!
//! An equation is parsed into labels, one an axis; operands are contracted from the left, two at a
//! time, each label as soon as neither the result nor a later operand has it. So each step is one
//! `dot`, with transpositions and sums only where the equation asks for them.

use std::fmt;

use kilngrad_ir::{Dim, Type};

use crate::entry::Entry;
use crate::operand::IntoTensor;
use crate::ops::written;
use crate::tensor::Tensor;

/// What an axis is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// An axis of the ellipsis, counted from its last, so that ellipses broadcast.
    Ellipsis(usize),
    Letter(char),
}

/// The labels of operands and result.
#[derive(Debug, PartialEq)]
struct Equation {
    operands: Vec<Vec<Label>>,
    result: Vec<Label>,
}

/// A tensor whose axes have labels.
struct Labelled<'b> {
    tensor: Tensor<'b>,
    labels: Vec<Label>,
}

impl<'b> Entry<'b> {
    /// A sum of products, as PyTorch's `einsum`: `"bij,bjk->bik"` names the axes of the operands
    /// and of the result, and what the result lacks is summed over. A letter that an operand has
    /// twice stands for its diagonal; `...` stands for axes that broadcast. Without `->` the result
    /// has the ellipsis and then, in order, the letters that appear once.
    ///
    /// ```
    /// # use kilngrad_builder::{Builder, F32, Mode};
    /// # let b = Builder::new("einsum");
    /// # let e = b.entry("run", Mode::Eval);
    /// let (q, k) = (e.zeros(F32, (2, 5, 4, 8)), e.zeros(F32, (2, 7, 4, 8)));
    /// let scores = e.einsum("bthd,bshd->bhts", [q, k]);
    /// assert_eq!(scores.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[2,4,5,7]"));
    /// ```
    #[track_caller]
    pub fn einsum<T: IntoTensor<'b>>(
        self,
        equation: &str,
        operands: impl IntoIterator<Item = T>,
    ) -> Tensor<'b> {
        let mut tensors = Vec::new();
        for tensor in operands {
            tensors.push(self.adopt(tensor));
        }
        let types: Option<Vec<Type>> = tensors.iter().map(|tensor| tensor.ty()).collect();
        let Some(types) = types else { return self.poisoned() };
        let ranks: Vec<usize> = types.iter().map(Type::rank).collect();
        let parsed = match Equation::parse(equation, &ranks) {
            Ok(parsed) => parsed,
            Err(message) => {
                let message = format!("{message} in {equation:?}");
                return self.fail_on("einsum_b1", message, &tensors);
            }
        };
        for (labels, (tensor, ty)) in parsed.operands.iter().zip(tensors.iter().zip(&types)) {
            let dims = ty.shape.dims();
            for (at, label) in labels.iter().enumerate() {
                let first = labels.iter().position(|own| own == label).unwrap_or(at);
                if dims[first] != dims[at] {
                    let (expected, found) = (&dims[first], &dims[at]);
                    let message = format!(
                        "expected axes of one length for {label}, found {expected} and {found} of {ty}"
                    );
                    return self.fail_on("einsum_b2", message, &[*tensor]);
                }
            }
        }
        let axes = || {
            let lists = parsed.operands.iter().zip(&types);
            lists.flat_map(|(labels, ty)| labels.iter().copied().zip(ty.shape.dims()))
        };
        for (label, length) in axes() {
            let one = Dim::constant(1);
            let other = axes().find(|(other, axis)| {
                *other == label && **axis != one && *length != one && *axis != length
            });
            if let Some((_, other)) = other {
                let message =
                    format!("expected axes of one length for {label}, found {length} and {other}");
                return self.fail_on("einsum_b2", message, &tensors);
            }
        }
        let long: Vec<Label> = axes()
            .filter(|(_, length)| **length != Dim::constant(1))
            .map(|(label, _)| label)
            .collect();
        let _scope = self.enter("einsum");
        let mut rest = Vec::new();
        for (tensor, labels) in tensors.into_iter().zip(parsed.operands.iter().cloned()) {
            let mut operand = Labelled { tensor, labels };
            operand.take_diagonals();
            operand.drop_stretched(&long);
            rest.push(operand);
        }
        contracted(rest, &parsed.result)
    }
}

/// The operands contracted from the left, of which there is at least one.
#[track_caller]
fn contracted<'b>(mut rest: Vec<Labelled<'b>>, result: &[Label]) -> Tensor<'b> {
    let mut sum = rest.remove(0);
    while !rest.is_empty() {
        let mut next = rest.remove(0);
        let later = |label: Label| {
            result.contains(&label) || rest.iter().any(|operand| operand.labels.contains(&label))
        };
        let alone = |own: Label, other: &Labelled<'b>| !later(own) && !other.labels.contains(&own);
        sum.sum_over(|label| alone(label, &next));
        next.sum_over(|label| alone(label, &sum));
        sum = sum.product(&next, later);
    }
    sum.sum_over(|label| !result.contains(&label));
    let order = result.iter().filter_map(|label| sum.place(*label));
    let order: Vec<isize> = order.collect();
    sum.tensor.transpose(&order[..])
}

impl<'b> Labelled<'b> {
    fn place(&self, label: Label) -> Option<isize> {
        let position = self.labels.iter().position(|own| *own == label)?;
        isize::try_from(position).ok()
    }

    /// Makes one axis of those that have the same label.
    #[track_caller]
    fn take_diagonals(&mut self) {
        let mut first = 0;
        while first < self.labels.len() {
            let label = self.labels[first];
            let second = self.labels[first + 1..].iter().position(|other| *other == label);
            let Some(second) = second else {
                first += 1;
                continue;
            };
            let second = first + 1 + second;
            self.tensor = self.tensor.diagonal(0, first as isize, second as isize);
            self.labels.remove(second);
            self.labels.remove(first);
            self.labels.push(label);
        }
    }

    /// Drops axes of length 1 that another operand has longer: they broadcast.
    #[track_caller]
    fn drop_stretched(&mut self, long: &[Label]) {
        let Some(ty) = self.tensor.ty() else { return };
        let one = Dim::constant(1);
        let stretched: Vec<usize> = (0..self.labels.len())
            .filter(|axis| ty.shape.dims()[*axis] == one && long.contains(&self.labels[*axis]))
            .collect();
        self.tensor = self.tensor.squeeze(written(&stretched));
        let mut axis = 0..;
        self.labels.retain(|_| !axis.next().is_some_and(|axis| stretched.contains(&axis)));
    }

    /// Sums over the axes with such labels.
    #[track_caller]
    fn sum_over(&mut self, unwanted: impl Fn(Label) -> bool) {
        let labels = self.labels.iter().enumerate();
        let axes: Vec<usize> =
            labels.filter(|(_, label)| unwanted(**label)).map(|(axis, _)| axis).collect();
        if !axes.is_empty() {
            self.tensor = self.tensor.sum(written(&axes));
            self.labels.retain(|label| !unwanted(*label));
        }
    }

    /// The product with `other`, summed over the labels that both have and nothing later has.
    #[track_caller]
    fn product(&self, other: &Labelled<'b>, later: impl Fn(Label) -> bool) -> Labelled<'b> {
        let shared = self.labels.iter().copied().filter(|label| other.labels.contains(label));
        let (batch, contract): (Vec<Label>, Vec<Label>) = shared.partition(|label| later(*label));
        let places = |operand: &Labelled<'b>, labels: &[Label]| -> Vec<usize> {
            let place = |label: &Label| operand.labels.iter().position(|own| own == label);
            labels.iter().filter_map(place).collect()
        };
        let pair =
            |labels: &[Label]| (written(&places(self, labels)), written(&places(other, labels)));
        let tensor = self.tensor.dot_general(other.tensor, pair(&contract), pair(&batch));
        let own = [self, other].into_iter().flat_map(|operand| &operand.labels);
        let free = own.filter(|label| !batch.contains(label) && !contract.contains(label));
        let labels = batch.iter().chain(free).copied().collect();
        Labelled { tensor, labels }
    }
}

impl Equation {
    /// The labels of an equation for operands of these ranks, or what was expected and found.
    fn parse(equation: &str, ranks: &[usize]) -> Result<Equation, String> {
        let spaceless: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match spaceless.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&spaceless[..], None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(format!("expected {} operands, found {}", terms.len(), ranks.len()));
        }
        let mut operands = Vec::new();
        for (term, rank) in terms.into_iter().zip(ranks) {
            let (before, after) = letters(term)?;
            let written = before.len() + after.as_ref().map_or(0, Vec::len);
            let hidden = match rank.checked_sub(written) {
                Some(0) => 0,
                Some(hidden) if after.is_some() => hidden,
                Some(_) | None => {
                    return Err(format!(
                        "expected an operand with axes {term:?}, found {rank} axes"
                    ));
                }
            };
            operands.push(with_ellipsis(before, hidden, after));
        }
        let hidden = |labels: &Vec<Label>| {
            labels.iter().filter(|label| matches!(label, Label::Ellipsis(_))).count()
        };
        let widest = operands.iter().map(hidden).max().unwrap_or(0);
        let all = || operands.iter().flatten();
        let result = match right {
            Some(right) => {
                let (before, after) = letters(right)?;
                let shown = if after.is_some() { widest } else { 0 };
                with_ellipsis(before, shown, after)
            }
            None => {
                let count = |label: &Label| all().filter(|other| *other == label).count();
                let single = all().filter(|label| matches!(label, Label::Letter(_)));
                let mut single: Vec<Label> =
                    single.filter(|label| count(label) == 1).copied().collect();
                single.sort_unstable();
                with_ellipsis(Vec::new(), widest, Some(single))
            }
        };
        for (index, label) in result.iter().enumerate() {
            if result[..index].contains(label) {
                return Err(format!("expected each axis of the result once, found {label} again"));
            }
            if !all().any(|own| own == label) {
                return Err(format!("expected an operand with axis {label}, found none"));
            }
        }
        Ok(Equation { operands, result })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Ellipsis(_) => f.write_str("..."),
            Label::Letter(letter) => write!(f, "{letter:?}"),
        }
    }
}

/// The letters before the ellipsis, and those after it if there is one.
fn letters(term: &str) -> Result<(Vec<Label>, Option<Vec<Label>>), String> {
    let list = |part: &str| -> Result<Vec<Label>, String> {
        let label = |letter: char| match letter.is_ascii_alphabetic() {
            true => Ok(Label::Letter(letter)),
            false => Err(format!("expected a letter, found {letter:?}")),
        };
        part.chars().map(label).collect()
    };
    match term.split_once("...") {
        Some((before, after)) => Ok((list(before)?, Some(list(after)?))),
        None => Ok((list(term)?, None)),
    }
}

/// The labels with an ellipsis of `hidden` axes where it stands.
fn with_ellipsis(before: Vec<Label>, hidden: usize, after: Option<Vec<Label>>) -> Vec<Label> {
    let ellipsis = (0..hidden).rev().map(Label::Ellipsis);
    before.into_iter().chain(ellipsis).chain(after.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operands and result with letters as they are and ellipses as numbers.
    fn parsed(equation: &str, ranks: &[usize]) -> Result<String, String> {
        let text = |labels: &Vec<Label>| -> String {
            let one = |label: &Label| match label {
                Label::Ellipsis(axis) => axis.to_string(),
                Label::Letter(letter) => letter.to_string(),
            };
            labels.iter().map(one).collect()
        };
        let Equation { operands, result } = Equation::parse(equation, ranks)?;
        let operands: Vec<String> = operands.iter().map(text).collect();
        Ok(format!("{}->{}", operands.join(","), text(&result)))
    }

    #[test]
    fn equations_are_parsed() {
        let check = |equation: &str, ranks: &[usize], expected: &str| {
            assert_eq!(parsed(equation, ranks).as_deref(), Ok(expected), "{equation}");
        };
        check("ij , jk -> ik", &[2, 2], "ij,jk->ik");
        check("ba", &[2], "ba->ab");
        check("iZ,ij", &[2, 2], "iZ,ij->Zj");
        check("ii", &[2], "ii->");
        check("...i,i...", &[3, 2], "10i,i0->10");
        check("i...j->j...", &[2], "ij->j");
        check(",->", &[0, 0], ",->");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |equation: &str, ranks: &[usize], expected: &str| {
            let message = parsed(equation, ranks).expect_err(equation);
            assert!(message.contains(expected), "{equation}: {message}");
        };
        check("ij,jk->ik", &[2], "expected 2 operands, found 1");
        check("ij->i", &[3], "axes \"ij\", found 3 axes");
        check("i...j->i", &[1], "found 1 axes");
        check("ij->ii", &[2], "found 'i' again");
        check("ij->k", &[2], "axis 'k', found none");
        check("i1->i", &[2], "found '1'");
        check("i......->i", &[3], "found '.'");
    }
}
