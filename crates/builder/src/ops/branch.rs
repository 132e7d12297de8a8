//! Control flow that data decide: one of two functions, and a function over and over.

use std::panic::Location;

use kilngrad_ir::op::{BinaryOp, Cond, Op, While};
use kilngrad_ir::{DType, Diagnostic, Type, Value};

use super::scan::{Tensors, list, values};
use crate::entry::Entry;
use crate::example::example;
use crate::region::RegionKind;
use crate::tensor::Tensor;

impl<'b> Tensor<'b> {
    /// What `then` makes of `xs` where this, a `bool` scalar, is true, else what `otherwise` makes
    /// of them, of the same types. The other one is not computed.
    ///
    /// Both are written once, here, and what they make of `xs` is theirs; they may use any tensor and
    /// parameter around them, and what is made of those alone is computed around them, in any case.
    /// What they draw and [`check`](Entry::check) holds where they run. It is differentiated like
    /// anything else, to the derivative of the one that ran.
    ///
    /// To choose by element, of what is computed anyway, there is [`select`](Self::select).
    #[doc = example!(
        x.sum(..).gt(3.0).cond(x, |x| x.exp(), |x| x * 2.0) => vec![2.0, 4.0];
        x = e.constant([2], &[1.0, 2.0])
    )]
    #[track_caller]
    pub fn cond<X: Tensors<'b>, Y: Tensors<'b>>(
        self,
        xs: X,
        then: impl FnOnce(X) -> Y,
        otherwise: impl FnOnce(X) -> Y,
    ) -> Y {
        let site = self.entry.builder.site(Location::caller());
        let given = list(&xs);
        let decides =
            self.decides("cond_b2", "choose by element, of what is computed, with `select`");
        let home = self.entry.innermost().home(&[&[self], &given[..]].concat());
        let Some(home) = home.filter(|_| decides) else {
            let mut poisoned = std::iter::repeat(self.entry.poisoned());
            let results = then(xs.rebuild(&mut poisoned));
            otherwise(xs.rebuild(&mut poisoned));
            return results.rebuild(&mut poisoned);
        };
        let mut shape = None;
        let mut branch = |body: &mut dyn FnMut(X) -> Option<Y>| {
            let region = home.begin_region(site, RegionKind::Cond);
            let arguments: Vec<Tensor<'b>> =
                given.iter().map(|tensor| region.stand_in(*tensor, site)).collect();
            let open = region.open();
            let results = body(xs.rebuild(&mut arguments.iter().copied()));
            drop(open);
            let listed = results.as_ref().map_or_else(Vec::new, list);
            shape = shape.take().or(results);
            Branch { region, arguments: values(&arguments), results: listed }
        };
        let (mut then, mut otherwise) = (Some(then), Some(otherwise));
        let branches = [
            branch(&mut |xs| then.take().map(|then| then(xs))),
            branch(&mut |xs| otherwise.take().map(|otherwise| otherwise(xs))),
        ];
        let made = home.emit_cond(self, &given, branches);
        let mut made = made.map_or_else(
            || Box::new(std::iter::repeat(home.poisoned())) as Box<dyn Iterator<Item = _>>,
            |made| Box::new(made.into_iter()),
        );
        shape.expect("both functions were called").rebuild(&mut *made)
    }
}

impl Tensor<'_> {
    /// Whether this is a `bool` scalar; records an error if not.
    #[track_caller]
    fn decides(self, rule: &'static str, help: &str) -> bool {
        let Some(ty) = self.ty() else { return false };
        let decides = ty == Type::scalar(DType::Bool);
        if !decides {
            let message = format!("expected a bool[] to decide by, found {ty}");
            let help = match ty.dtype == DType::Bool {
                true => format!("reduce it with `.all(..)` or `.any(..)`; {help}"),
                false => "compare it, as in `x.gt(0.0)`".to_owned(),
            };
            let mut diagnostic = Diagnostic::new(rule, message).help(help);
            if let Some(site) = self.site() {
                diagnostic = diagnostic.related(format!("it is: {ty}"), site);
            }
            self.entry.fail(diagnostic);
        }
        decides
    }
}

/// One side of a cond.
struct Branch<'b> {
    region: Entry<'b>,
    /// Its arguments that stand for what both sides are given.
    arguments: Vec<Value>,
    results: Vec<Tensor<'b>>,
}

impl<'b> Entry<'b> {
    /// Runs `body` on what it gave before, which is `first` before the first time, as long as `test`
    /// of that, a `bool` scalar, is true. Gives the last; that is `first` where `test` is false at
    /// once.
    ///
    /// How often that is depends on data, so it is not differentiated: for a number of times that is
    /// known there are [`repeat`](Self::repeat) and [`scan`](Self::scan). Where a call is given a flag
    /// with `cancel`, each iteration looks at it.
    ///
    /// What the body draws is drawn anew in each iteration. Once a condition that it
    /// [`check`](Self::check)s fails, no iteration follows. The test neither draws nor checks, so it
    /// picks nothing by an index that data give.
    #[doc = example!(
        // How often 27 is halved, or tripled and one more, until it is 1.
        e.repeat_while((n, count), |(n, _)| n.gt(1), |(n, count)| {
            let odd = n.remainder(2).eq(1);
            (odd.select(n * 3 + 1, n / 2), count + 1)
        }).1 => 111i64;
        n = e.scalar(I64, 27);
        count = e.scalar(I64, 0)
    )]
    #[track_caller]
    pub fn repeat_while<C: Tensors<'b>>(
        self,
        first: C,
        test: impl FnOnce(C) -> Tensor<'b>,
        body: impl FnOnce(C) -> C,
    ) -> C {
        let site = self.builder.site(Location::caller());
        let firsts = list(&first);
        let Some(home) = self.innermost().home(&firsts) else {
            let mut poisoned = std::iter::repeat(self.poisoned());
            test(first.rebuild(&mut poisoned));
            return body(first.rebuild(&mut poisoned)).rebuild(&mut poisoned);
        };
        let carried = |region: Entry<'b>| -> Vec<Tensor<'b>> {
            firsts.iter().map(|first| region.stand_in(*first, site)).collect()
        };
        let testing = home.begin_region(site, RegionKind::Test);
        let arguments = carried(testing);
        let open = testing.open();
        let more = test(first.rebuild(&mut arguments.iter().copied()));
        drop(open);
        let testing =
            Branch { region: testing, arguments: values(&arguments), results: vec![more] };
        let region = home.begin_region(site, RegionKind::While);
        let arguments = carried(region);
        let open = region.open();
        let next = body(first.rebuild(&mut arguments.iter().copied()));
        drop(open);
        let body = Branch { region, arguments: values(&arguments), results: list(&next) };
        let made = home.emit_while(firsts, testing, body);
        let mut made = made.map_or_else(
            || Box::new(std::iter::repeat(self.poisoned())) as Box<dyn Iterator<Item = _>>,
            |made| Box::new(made.into_iter()),
        );
        next.rebuild(&mut *made)
    }

    /// Appends the node, and what either side asserted as checks of what is around it.
    #[track_caller]
    fn emit_cond(
        self,
        predicate: Tensor<'b>,
        given: &[Tensor<'b>],
        branches: [Branch<'b>; 2],
    ) -> Option<Vec<Tensor<'b>>> {
        let own = branches[0].results.len();
        let checks = [branches[0].region.take_checks(), branches[1].region.take_checks()];
        let mut bodies = Vec::new();
        let mut operands = vec![predicate];
        for (side, branch) in branches.into_iter().enumerate() {
            let Branch { region, arguments, results } = branch;
            let mut results = values(&region.bring_all(&results)?);
            // A condition that one side has to keep is true in the other.
            for (of, checks) in checks.iter().enumerate() {
                for (condition, ..) in checks {
                    let holds = || region.full(DType::Bool, (), true).value;
                    results.push(if of == side { *condition } else { holds()? });
                }
            }
            let (body, consts) = region.end_loop(&arguments, &[], results)?;
            operands.extend(consts);
            operands.extend(given);
            bodies.push(body);
        }
        let [then, otherwise] = <[_; 2]>::try_from(bodies).ok()?;
        let op = Op::Cond(Box::new(Cond { then, otherwise, workspace: None }));
        let mut made = self.emit_all(op, &operands, &[])?.into_vec();
        let held = made.split_off(own);
        for ((_, expected, origin), held) in checks.into_iter().flatten().zip(held) {
            self.add_check(held, &expected, origin);
        }
        Some(made)
    }

    /// Appends the node, and what the body asserted as checks of what is around it.
    #[track_caller]
    fn emit_while(
        self,
        mut firsts: Vec<Tensor<'b>>,
        mut test: Branch<'b>,
        mut body: Branch<'b>,
    ) -> Option<Vec<Tensor<'b>>> {
        let region = body.region;
        let [mut more] = test.region.bring_in([test.results[0]])?;
        if !more.decides("while_b3", "a loop ends for all elements at once") {
            return None;
        }
        let mut nexts = region.next_values("while_b1", &firsts, &body.results)?;
        let own = firsts.len();
        // A condition that every iteration has to keep goes around as one that all so far have kept.
        let checks = region.take_checks();
        for (condition, ..) in &checks {
            let held = region.stand_in_of(Type::scalar(DType::Bool));
            let and = Op::Binary(BinaryOp::And);
            let condition = Tensor { entry: region, value: Some(*condition) };
            nexts.push(region.emit(and.clone(), &[held, condition], &[]));
            firsts.push(self.full(DType::Bool, (), true));
            body.arguments.extend(held.value);
            let held = test.region.stand_in_of(Type::scalar(DType::Bool));
            more = test.region.emit(and, &[more, held], &[]);
            test.arguments.extend(held.value);
        }
        if let Some((counter, first)) = region.counters() {
            nexts.push(counter + 1);
            firsts.push(first);
            body.arguments.extend(counter.value);
            test.arguments.extend(test.region.stand_in_of(Type::scalar(DType::I64)).value);
        }
        let carries = firsts.len();
        let (test, test_consts) = test.region.end_loop(&test.arguments, &[], values(&[more]))?;
        let (body, body_consts) = region.end_loop(&body.arguments, &[], values(&nexts))?;
        let op = Op::While(Box::new(While { test, body, carries, workspace: None }));
        let operands = [test_consts, body_consts, firsts].concat();
        let mut made = self.emit_all(op, &operands, &[])?.into_vec();
        for ((_, expected, origin), held) in checks.into_iter().zip(made.split_off(own)) {
            self.add_check(held, &expected, origin);
        }
        Some(made)
    }
}
