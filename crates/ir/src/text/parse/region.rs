//! Operations with a region: what its arguments stand for, and its body.

use super::{Operands, Parsed, Parser};
use crate::graph::Value;
use crate::op::{Cond, CustomGradient, Kernel, KernelKind, Op, Scan, While, Workspace};
use crate::program::Place;
use crate::text::lex::{Kind, Span};
use crate::text::scope::{Known, Name, Scope};
use crate::types::Type;
use crate::verify::MAX_NESTING;

/// A name that a region gives to one of its arguments.
struct Named<'t> {
    name: Name<'t>,
    span: Span,
    place: Option<Place>,
}

impl<'t> Parser<'t, '_> {
    /// `kernel @k3(%0 = %x, %1 = %w1) map { … }`.
    pub(super) fn kernel(&mut self, scope: &Scope<'t>, span: Span) -> Parsed<(Op, Operands)> {
        let mut inner = self.inner(scope, span)?;
        self.expect_mark('@')?;
        let name = match self.peek() {
            Kind::Text(_) => self.string("the kernel's name")?.into(),
            _ => self.word("the kernel's name")?.into(),
        };
        let mut operands = Operands::new();
        self.list('(', ')', |parser| {
            operands.push(parser.argument_for_operand(scope, &mut inner)?);
            Ok(())
        })?;
        let kind = match self.peek() {
            Kind::Word(word) => KernelKind::ALL.iter().find(|(_, name)| *name == word),
            _ => None,
        };
        let Some((kind, _)) = kind else {
            return Err(self.expected("`map`, `reduce`, `contraction` or `indexed`"));
        };
        self.advance();
        self.body(&mut inner)?;
        Ok((Op::Kernel(Box::new(Kernel { name, kind: *kind, body: inner.graph })), operands))
    }

    /// `custom_gradient(%dy of %v = %0) wrt (%a = %x) with (%b = %w) { … }`.
    pub(super) fn custom_gradient(
        &mut self,
        scope: &Scope<'t>,
        span: Span,
    ) -> Parsed<(Op, Operands)> {
        let mut inner = self.inner(scope, span)?;
        let mut operands = Operands::new();
        let mut values = Vec::new();
        self.list('(', ')', |parser| {
            let cotangent = parser.named()?;
            if !parser.eat_word("of") {
                return Err(parser.expected("`of` and a name for the value in the region"));
            }
            let value = parser.named()?;
            parser.expect_mark('=')?;
            let operand = parser.operand(scope)?;
            operands.push(operand);
            // The cotangents of all values come before the values.
            parser.add_argument(&mut inner, cotangent, scope.graph.ty(operand).clone())?;
            values.push((value, operand));
            Ok(())
        })?;
        for (value, operand) in values {
            self.add_argument(&mut inner, value, scope.graph.ty(operand).clone())?;
        }
        if !self.eat_word("wrt") {
            return Err(self.expected("`wrt` and inputs in parentheses"));
        }
        let mut more = |parser: &mut Self| {
            operands.push(parser.argument_for_operand(scope, &mut inner)?);
            Ok(())
        };
        self.list('(', ')', &mut more)?;
        if self.eat_word("with") {
            self.list('(', ')', &mut more)?;
        }
        self.body(&mut inner)?;
        let custom = CustomGradient { backward: inner.graph };
        Ok((Op::CustomGradient(Box::new(custom)), operands))
    }

    /// `scan(%a = %w) carry (%h = %h0) over (%x = %xs) length=n reverse { … }`.
    pub(super) fn scan(&mut self, scope: &Scope<'t>, span: Span) -> Parsed<(Op, Operands)> {
        let mut inner = self.inner(scope, span)?;
        let mut operands = Operands::new();
        self.standing(scope, &mut inner, &mut operands)?;
        let consts = operands.len();
        if self.eat_word("carry") {
            self.standing(scope, &mut inner, &mut operands)?;
        }
        let carries = operands.len() - consts;
        if self.eat_word("over") {
            self.list('(', ')', |parser| {
                operands.push(parser.argument_for_slice(scope, &mut inner)?);
                Ok(())
            })?;
        }
        self.key("length")?;
        let length = self.dim()?;
        let reverse = self.eat_word("reverse");
        let workspace = self.workspace()?;
        self.body(&mut inner)?;
        let body = inner.graph;
        let scan = Scan { body, consts, carries, length, reverse, workspace };
        Ok((Op::Scan(Box::new(scan)), operands))
    }

    /// `cond %p (%a = %x) { … } else (%b = %z) { … }`.
    pub(super) fn cond(&mut self, scope: &Scope<'t>, span: Span) -> Parsed<(Op, Operands)> {
        let (mut then, mut otherwise) = (self.inner(scope, span)?, self.inner(scope, span)?);
        let mut operands = Operands::new();
        operands.push(self.operand(scope)?);
        self.standing(scope, &mut then, &mut operands)?;
        let workspace = self.workspace()?;
        self.body(&mut then)?;
        if !self.eat_word("else") {
            return Err(self.expected("`else` and the other region"));
        }
        self.standing(scope, &mut otherwise, &mut operands)?;
        self.body(&mut otherwise)?;
        let cond = Cond { then: then.graph, otherwise: otherwise.graph, workspace };
        Ok((Op::Cond(Box::new(cond)), operands))
    }

    /// `while (%k = %n) carry (%i = %zero) { … } do (%s = %one) carry (%i) { … }`.
    pub(super) fn repeat(&mut self, scope: &Scope<'t>, span: Span) -> Parsed<(Op, Operands)> {
        let (mut test, mut body) = (self.inner(scope, span)?, self.inner(scope, span)?);
        let mut operands = Operands::new();
        self.standing(scope, &mut test, &mut operands)?;
        if !self.eat_word("carry") {
            return Err(self.expected("`carry` and first values in parentheses"));
        }
        let mut carried = Operands::new();
        self.standing(scope, &mut test, &mut carried)?;
        let workspace = self.workspace()?;
        self.body(&mut test)?;
        if !self.eat_word("do") {
            return Err(self.expected("`do` and the region that is repeated"));
        }
        self.standing(scope, &mut body, &mut operands)?;
        if !self.eat_word("carry") {
            return Err(self.expected("`carry` and a name for each carry in the region"));
        }
        let mut rest = carried.iter();
        self.list('(', ')', |parser| {
            let named = parser.named()?;
            let Some(operand) = rest.next() else {
                let message = format!("expected {} carries, found more", carried.len());
                return Err(parser.report("while_c1", named.span, message));
            };
            parser.add_argument(&mut body, named, scope.graph.ty(*operand).clone())
        })?;
        self.body(&mut body)?;
        let carries = carried.len();
        operands.extend(carried);
        let repeat = While { test: test.graph, body: body.graph, carries, workspace };
        Ok((Op::While(Box::new(repeat)), operands))
    }

    /// `(%a = %x, %b = %z)`: arguments of a region that stand for operands.
    fn standing(
        &mut self,
        scope: &Scope<'t>,
        inner: &mut Scope<'t>,
        operands: &mut Operands,
    ) -> Parsed<()> {
        self.list('(', ')', |parser| {
            operands.push(parser.argument_for_operand(scope, inner)?);
            Ok(())
        })
    }

    /// `workspace=4096 at arena+64`, if it is there.
    fn workspace(&mut self) -> Parsed<Option<Workspace>> {
        if self.peek() != Kind::Word("workspace") {
            return Ok(None);
        }
        self.key("workspace")?;
        let bytes = self.size("a number of bytes")?;
        match self.place()? {
            Some(place) => Ok(Some(Workspace { bytes, place })),
            None => Err(self.expected("`at` and the workspace's place")),
        }
    }

    /// The scope of a region within another scope.
    fn inner(&mut self, scope: &Scope<'t>, span: Span) -> Parsed<Scope<'t>> {
        let most = self.options.limits.nesting.min(MAX_NESTING);
        if scope.nesting >= most {
            let rule = if most < MAX_NESTING { "text_t3" } else { "graph_v6" };
            return Err(self.report(rule, span, format!("expected regions at most {most} deep")));
        }
        Ok(Scope::new(scope.nesting + 1))
    }

    /// `%0 = %x`: an argument of the region that stands for an operand.
    fn argument_for_operand(&mut self, scope: &Scope<'t>, inner: &mut Scope<'t>) -> Parsed<Value> {
        let named = self.named()?;
        self.expect_mark('=')?;
        let operand = self.operand(scope)?;
        self.add_argument(inner, named, scope.graph.ty(operand).clone())?;
        Ok(operand)
    }

    /// `%x = %xs`: an argument of the region that stands for a slice of an operand.
    fn argument_for_slice(&mut self, scope: &Scope<'t>, inner: &mut Scope<'t>) -> Parsed<Value> {
        let named = self.named()?;
        self.expect_mark('=')?;
        let operand = self.operand(scope)?;
        let stack = scope.graph.ty(operand);
        if stack.rank() == 0 {
            let message = format!("expected a stack, found {stack}");
            return Err(self.report("scan_c3", named.span, message));
        }
        let slice = Type::new(stack.dtype, stack.shape.without(&[0]));
        self.add_argument(inner, named, slice)?;
        Ok(operand)
    }

    fn named(&mut self) -> Parsed<Named<'t>> {
        let (name, span) = self.name("a name for an operand in the region")?;
        Ok(Named { name, span, place: self.place()? })
    }

    fn add_argument(&mut self, inner: &mut Scope<'t>, named: Named<'t>, ty: Type) -> Parsed<()> {
        let Named { name, span, place } = named;
        self.unused(inner, name, span)?;
        let value = inner.graph.add_argument(name.owned(), ty);
        inner.graph.set_place(value, place);
        inner.define(name, Known::Value(value), span);
        self.count_value(span)
    }
}
