//! Definitions: results, an operation with operands and attributes, an origin.

use smallvec::SmallVec;

use super::{Failed, Operands, Parsed, Parser};
use crate::graph::{NodeId, Value};
use crate::infer::{RuleError, infer};
use crate::literal::Constant;
use crate::op::{
    ArgReduceOp, Axes, BinaryOp, CompareOp, DotAxes, Op, PadAxis, ReduceOp, SliceAxis, UnaryOp,
    Window, Windows,
};
use crate::program::Place;
use crate::text::lex::{Kind, Span};
use crate::text::scope::{Known, Name, Scope};
use crate::text::{MAX_RANK, word_or_quoted};
use crate::types::Type;

/// How many operands an error of a type rule shows with the lines that define them.
const SHOWN_OPERANDS: usize = 4;

/// What stands before the equals sign.
#[derive(Default)]
struct Declared<'t> {
    names: SmallVec<[(Name<'t>, Span); 1]>,
    types: SmallVec<[Type; 1]>,
    places: SmallVec<[Option<Place>; 1]>,
}

/// Definitions.
impl<'t> Parser<'t, '_> {
    /// `%4: f32[n,16] = dot %x, %w1 contract=[1]x[0]  @src/mlp.rs:14:20`.
    pub(super) fn definition(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        let start = self.token.span;
        let mut declared = Declared::default();
        if let Err(failed) = self.declarations(&mut declared) {
            for (name, span) in declared.names {
                scope.define(name, Known::Broken, span);
            }
            return Err(failed);
        }
        let span = self.token.span;
        let built = self.operation(scope, &declared.types);
        let origin = match &built {
            Ok(_) => self.origin(),
            Err(Failed) => Ok(None),
        };
        let failed = built.is_err() || origin.is_err();
        let origin = origin.unwrap_or(None).unwrap_or_else(|| self.origin_in_text(start));
        // Whatever stands for an operation that could not be read: the program is refused.
        let (op, operands) = built.unwrap_or((Op::StopGradient, Operands::new()));
        if !failed {
            self.check_rule(scope, &op, &operands, &declared.types, span);
        }
        let node = scope.graph.append_unchecked(op, &operands, &declared.types, origin);
        let defined = self.define(scope, node, &declared);
        if failed { Err(Failed) } else { defined }
    }

    /// Everything up to the equals sign.
    fn declarations(&mut self, declared: &mut Declared<'t>) -> Parsed<()> {
        // The statement's first token is on a fresh line, which ends nothing here.
        self.token.first = false;
        loop {
            let (name, span) = self.name("a value's name")?;
            declared.names.push((name, span));
            self.expect_mark(':')?;
            declared.types.push(self.ty()?);
            declared.places.push(self.place()?);
            if !self.eat_mark(',') {
                return self.expect_mark('=');
            }
        }
    }

    /// Calls a node's results by their names.
    fn define(
        &mut self,
        scope: &mut Scope<'t>,
        node: NodeId,
        declared: &Declared<'t>,
    ) -> Parsed<()> {
        let mut unique = Ok(());
        for (index, &(name, span)) in declared.names.iter().enumerate() {
            let value = scope.graph.node(node).results[index];
            scope.graph.rename(value, name.owned());
            scope.graph.set_place(value, declared.places[index]);
            unique = self.unused(scope, name, span).and(unique);
            scope.define(name, Known::Value(value), span);
            self.count_value(span)?;
        }
        unique
    }

    /// Reports the type rule that a node breaks, with its operands.
    fn check_rule(
        &mut self,
        scope: &Scope<'t>,
        op: &Op,
        operands: &[Value],
        declared: &[Type],
        span: Span,
    ) {
        let types: SmallVec<[&Type; 3]> = operands.iter().map(|v| scope.graph.ty(*v)).collect();
        let broken = match infer(op, &types, declared) {
            Ok(inferred) if inferred.as_slice() == declared => return,
            Ok(inferred) => {
                let types: Vec<String> = inferred.iter().map(Type::to_string).collect();
                let (name, types) = (op.name(), types.join(" and "));
                let message = format!("expected results of types {types} from {name}");
                RuleError { rule: "graph_v3", message }
            }
            Err(broken) => broken,
        };
        let mut error = self.error(broken.rule, span, broken.message);
        let mut shown: SmallVec<[Value; 3]> = SmallVec::new();
        for &operand in operands {
            if shown.contains(&operand) || shown.len() == SHOWN_OPERANDS {
                continue;
            }
            shown.push(operand);
            let data = scope.graph.value(operand);
            let site = scope.value_span(&data.name).map(|span| self.site(span));
            error = error.related(format!("operand {} is {}", data.name, data.ty), site);
        }
        let _: Failed = self.push(error);
    }
}

/// Operations.
impl<'t> Parser<'t, '_> {
    fn operation(&mut self, scope: &Scope<'t>, declared: &[Type]) -> Parsed<(Op, Operands)> {
        let span = self.token.span;
        let Kind::Word(word) = self.peek() else { return Err(self.expected("an operation")) };
        self.advance();
        match word {
            "state" => {
                self.closed(scope, span)?;
                Ok((Op::State(self.state_path()?), Operands::new()))
            }
            "constant" => Ok((Op::Constant(self.constant(declared, span)?), Operands::new())),
            "dimension" => Ok((Op::Dimension(self.dim()?), Operands::new())),
            "iota" => Ok((Op::Iota { axis: self.axis()? }, Operands::new())),
            "gradient" | "gradient_or_zero" => {
                self.closed(scope, span)?;
                let operands = self.gradient_operands(scope)?;
                Ok((Op::Gradient { or_zero: word == "gradient_or_zero" }, operands))
            }
            "kernel" => self.kernel(scope, span),
            "custom_gradient" => self.custom_gradient(scope, span),
            "scan" => self.scan(scope, span),
            "cond" => self.cond(scope, span),
            "while" => self.repeat(scope, span),
            _ => self.operation_on_values(scope, word, span),
        }
    }

    /// An operation whose operands are a list, and then its attributes.
    fn operation_on_values(
        &mut self,
        scope: &Scope<'t>,
        word: &'t str,
        span: Span,
    ) -> Parsed<(Op, Operands)> {
        let elementwise = UnaryOp::from_name(word)
            .map(Op::Unary)
            .or_else(|| BinaryOp::from_name(word).map(Op::Binary))
            .or_else(|| CompareOp::from_name(word).map(Op::Compare));
        if let Some(op) = elementwise {
            return Ok((op, self.operands(scope)?));
        }
        let reduce = ReduceOp::from_name(word);
        let known = reduce.is_some()
            || matches!(
                word,
                "random"
                    | "select"
                    | "cast"
                    | "argmax"
                    | "argmin"
                    | "argsort"
                    | "argsort_descending"
                    | "dot"
                    | "broadcast"
                    | "reshape"
                    | "transpose"
                    | "slice"
                    | "pad"
                    | "concat"
                    | "gather"
                    | "scatter_add"
                    | "windows"
                    | "fold"
                    | "stop_gradient"
            );
        if !known {
            let message = format!("expected an operation, found `{}`", word_or_quoted(word));
            return Err(self.report("text_t1", span, message));
        }
        let operands = self.operands(scope)?;
        let op = match (reduce, word) {
            (Some(op), _) => {
                self.key("axes")?;
                Op::Reduce { op, axes: self.axes()? }
            }
            (None, "random") => {
                self.key("stream")?;
                Op::Random { stream: self.integer("a stream")? }
            }
            (None, "select") => Op::Select,
            (None, "cast") => Op::Cast,
            (None, "argmax") => Op::ArgReduce { op: ArgReduceOp::Max, axis: self.axis()? },
            (None, "argmin") => Op::ArgReduce { op: ArgReduceOp::Min, axis: self.axis()? },
            (None, "argsort") => Op::Argsort { axis: self.axis()?, descending: false },
            (None, "argsort_descending") => Op::Argsort { axis: self.axis()?, descending: true },
            (None, "dot") => Op::Dot(self.dot_axes()?),
            (None, "broadcast") => {
                self.key("dims")?;
                Op::Broadcast { dims: self.axes()? }
            }
            (None, "reshape") => Op::Reshape,
            (None, "transpose") => {
                self.key("permutation")?;
                Op::Transpose { permutation: self.axes()? }
            }
            (None, "slice") => Op::Slice(self.ranges()?),
            (None, "pad") => Op::Pad(self.amounts()?),
            (None, "concat") => Op::Concat { axis: self.axis()? },
            (None, "gather") => Op::Gather { axis: self.axis()? },
            (None, "scatter_add") => Op::ScatterAdd { axis: self.axis()? },
            (None, "windows") => Op::Windows(self.windows()?),
            (None, "fold") => Op::Fold(self.windows()?),
            (None, _) => Op::StopGradient,
        };
        Ok((op, operands))
    }

    /// `%x, %y`; at least one.
    fn operands(&mut self, scope: &Scope<'t>) -> Parsed<Operands> {
        let mut operands = Operands::new();
        loop {
            operands.push(self.operand(scope)?);
            if !self.eat_mark(',') {
                return Ok(operands);
            }
        }
    }

    /// A value that is defined above.
    pub(super) fn operand(&mut self, scope: &Scope<'t>) -> Parsed<Value> {
        let (name, span) = self.name("a value")?;
        match scope.get(name) {
            Some(Known::Value(value)) => Ok(value),
            Some(Known::Broken) => Err(Failed),
            None => {
                let name = name.owned();
                let message =
                    format!("expected a value that is defined before its use, found {name}");
                Err(self.report("graph_v2", span, message))
            }
        }
    }

    fn gradient_operands(&mut self, scope: &Scope<'t>) -> Parsed<Operands> {
        let mut operands = Operands::from_elem(self.operand(scope)?, 1);
        if !self.eat_word("wrt") {
            return Err(self.expected("`wrt` and values in parentheses"));
        }
        self.list('(', ')', |parser| {
            operands.push(parser.operand(scope)?);
            Ok(())
        })?;
        Ok(operands)
    }

    /// What may be in entries only.
    fn closed(&mut self, scope: &Scope<'t>, span: Span) -> Parsed<()> {
        if scope.nesting == 0 {
            return Ok(());
        }
        let message = "expected a region without states and gradient requests";
        Err(self.report("graph_v6", span, message))
    }
}

/// Attributes.
impl Parser<'_, '_> {
    fn constant(&mut self, declared: &[Type], span: Span) -> Parsed<Constant> {
        let [ty] = declared else {
            let message =
                format!("expected one declared type for constant, found {}", declared.len());
            return Err(self.report("type_c2", span, message));
        };
        match self.peek() {
            Kind::Mark('[') | Kind::Word("external") => Ok(Constant::Dense(self.dense(ty)?)),
            _ => Ok(Constant::Splat(self.literal(ty.dtype)?)),
        }
    }

    fn axis(&mut self) -> Parsed<usize> {
        self.key("axis")?;
        self.size("an axis")
    }

    /// `batch=[0]x[0] contract=[2]x[1]`, each if there is any.
    fn dot_axes(&mut self) -> Parsed<DotAxes> {
        let mut axes = DotAxes::default();
        if self.peek() == Kind::Word("batch") {
            self.key("batch")?;
            axes.lhs_batch = self.axes()?;
            self.pair()?;
            axes.rhs_batch = self.axes()?;
        }
        if self.peek() == Kind::Word("contract") {
            self.key("contract")?;
            axes.lhs_contract = self.axes()?;
            self.pair()?;
            axes.rhs_contract = self.axes()?;
        }
        Ok(axes)
    }

    /// `axes=[2,3] sizes=[3,3] strides=[2,2] dilations=[1,1]`, the last two if they are not all 1.
    fn windows(&mut self) -> Parsed<Windows> {
        self.key("axes")?;
        let axes = self.axes()?;
        let sizes = self.numbers_for("sizes", &axes)?;
        let [strides, dilations] = ["strides", "dilations"].map(|key| match self.peek() {
            Kind::Word(word) if word == key => self.numbers_for(key, &axes),
            _ => Ok(Axes::from_elem(1, axes.len())),
        });
        let (strides, dilations) = (strides?, dilations?);
        let window = |at: usize| Window {
            axis: axes[at],
            size: sizes[at],
            stride: strides[at],
            dilation: dilations[at],
        };
        Ok((0..axes.len()).map(window).collect())
    }

    /// A list of as many numbers as there are axes.
    fn numbers_for(&mut self, key: &'static str, axes: &Axes) -> Parsed<Axes> {
        self.key(key)?;
        let numbers = self.axes()?;
        if numbers.len() == axes.len() {
            return Ok(numbers);
        }
        let message = format!("expected {key} for {} axes, found {}", axes.len(), numbers.len());
        Err(self.report("text_t1", self.previous, message))
    }

    fn pair(&mut self) -> Parsed<()> {
        if self.eat_word("x") {
            Ok(())
        } else {
            Err(self.expected("`x` and the other operand's axes"))
        }
    }

    /// `ranges=[0:n, 1:9:2]`.
    fn ranges(&mut self) -> Parsed<SmallVec<[SliceAxis; 2]>> {
        self.key("ranges")?;
        let mut ranges = SmallVec::new();
        self.list('[', ']', |parser| {
            let start = parser.dim()?;
            parser.expect_mark(':')?;
            let limit = parser.dim()?;
            let stride = if parser.eat_mark(':') { parser.size("a stride")? } else { 1 };
            ranges.push(SliceAxis { start, limit, stride });
            parser.check_rank(ranges.len())
        })?;
        Ok(ranges)
    }

    /// `amounts=[1:1, 0:2:1]`.
    fn amounts(&mut self) -> Parsed<SmallVec<[PadAxis; 2]>> {
        self.key("amounts")?;
        let mut amounts = SmallVec::new();
        self.list('[', ']', |parser| {
            let low = parser.dim()?;
            parser.expect_mark(':')?;
            let high = parser.dim()?;
            let interior = if parser.eat_mark(':') { parser.size("an amount")? } else { 0 };
            amounts.push(PadAxis { low, high, interior });
            parser.check_rank(amounts.len())
        })?;
        Ok(amounts)
    }

    /// Counts the axes of a list of attributes.
    pub(super) fn check_rank(&mut self, rank: usize) -> Parsed<()> {
        if rank <= MAX_RANK {
            return Ok(());
        }
        Err(self.report("text_t3", self.previous, format!("expected at most {MAX_RANK} axes")))
    }
}
