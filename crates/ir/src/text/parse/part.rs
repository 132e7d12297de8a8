//! What statements are made of: types, dimensions, numbers, arrays, places, origins.

use smallvec::SmallVec;

use super::{Parsed, Parser};
use crate::dim::{Dim, Symbol};
use crate::dtype::DType;
use crate::graph::ValueName;
use crate::literal::{Dense, Literal};
use crate::op::Axes;
use crate::origin::{Origin, OriginData, Site};
use crate::program::Place;
use crate::text::lex::{Kind, Span};
use crate::text::{MAX_DEGREE, MAX_TERMS, quoted};
use crate::types::{Shape, Type};

/// A whole number, decimal or hexadecimal, that fits 64 bits.
pub(super) fn integer(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Types and dimensions.
impl<'t> Parser<'t, '_> {
    /// `f32[n,8]`.
    pub(super) fn ty(&mut self) -> Parsed<Type> {
        let start = self.token.span;
        let dtype = match self.peek() {
            Kind::Word(word) => DType::from_name(word),
            _ => None,
        };
        let Some(dtype) = dtype else {
            return Err(self.expected("a dtype (f32, f64, i32, i64, u8, bool)"));
        };
        self.advance();
        let mut dims: SmallVec<[Dim; 4]> = SmallVec::new();
        self.list('[', ']', |parser| {
            dims.push(parser.dim()?);
            parser.check_rank(dims.len())
        })?;
        let ty = Type::new(dtype, Shape::new(dims));
        self.check_size(&ty, start.to(self.previous))?;
        Ok(ty)
    }

    /// The rules after which nothing that is computed of a type overflows or takes long.
    fn check_size(&mut self, ty: &Type, span: Span) -> Parsed<()> {
        let dims = ty.shape.dims();
        let negative = |dim: &Dim| dim.as_constant().is_some_and(|length| length < 0);
        let constant = ty.shape.symbols().next().is_none();
        if dims.iter().any(negative) || (constant && ty.byte_count().is_none()) {
            let message = format!("expected a size that fits memory, found {ty}");
            return Err(self.report("graph_v4", span, message));
        }
        let terms = dims.iter().map(|dim| dim.terms().count().max(1));
        let terms = terms.fold(1usize, usize::saturating_mul);
        let degrees = dims.iter().map(|dim| dim.terms().map(|(_, m)| m.len()).max().unwrap_or(0));
        if terms > MAX_TERMS || degrees.sum::<usize>() > MAX_DEGREE {
            let message = format!(
                "expected a number of elements of at most {MAX_TERMS} terms and degree {MAX_DEGREE}"
            );
            return Err(self.report("text_t3", span, message));
        }
        Ok(())
    }

    /// `2*n + h*w - 1`.
    pub(super) fn dim(&mut self) -> Parsed<Dim> {
        let start = self.token.span;
        let mut terms = Vec::new();
        let mut negative = self.eat_mark('-');
        loop {
            terms.push(self.term(negative)?);
            if terms.len() > MAX_TERMS {
                let message = format!("expected a dimension of at most {MAX_TERMS} terms");
                return Err(self.report("text_t3", start.to(self.previous), message));
            }
            negative = self.peek() == Kind::Mark('-');
            if !negative && self.peek() != Kind::Mark('+') {
                break;
            }
            self.advance();
        }
        let sum = match terms.as_mut_slice() {
            [term] => Some(std::mem::replace(term, Dim::constant(0))),
            terms => Dim::checked_sum(&*terms),
        };
        sum.ok_or_else(|| self.too_large(start.to(self.previous)))
    }

    /// A product of numbers and symbols.
    fn term(&mut self, negative: bool) -> Parsed<Dim> {
        let start = self.token.span;
        // Magnitudes are of 64 bits each: one more than the largest is reached with a sign only.
        let mut coefficient: i128 = if negative { -1 } else { 1 };
        let mut product: Option<Dim> = None;
        let mut degree = 0;
        loop {
            if let Kind::Number(_) = self.peek() {
                let factor = self.integer("a length")?;
                let scaled = coefficient.checked_mul(i128::from(factor));
                coefficient = scaled.ok_or_else(|| self.too_large(start.to(self.previous)))?;
            } else {
                let symbol = Dim::symbol(self.symbol()?);
                product = match product {
                    None => Some(symbol),
                    Some(product) => product.checked_mul(&symbol),
                };
                degree += 1;
                if degree > MAX_DEGREE {
                    let message = format!("expected a product of at most {MAX_DEGREE} symbols");
                    return Err(self.report("text_t3", start.to(self.previous), message));
                }
            }
            if !self.eat_mark('*') {
                break;
            }
        }
        let term = match (i64::try_from(coefficient), product) {
            (Ok(1), Some(product)) => Some(product),
            (Ok(value), Some(product)) => product.checked_mul(&Dim::constant(value)),
            (Ok(value), None) => Some(Dim::constant(value)),
            (Err(_), _) => None,
        };
        term.ok_or_else(|| self.too_large(start.to(self.previous)))
    }

    fn too_large(&mut self, span: Span) -> super::Failed {
        let found = self.written(span);
        self.report(
            "text_t4",
            span,
            format!("expected coefficients that fit 64 bits, found {found}"),
        )
    }

    /// `n`, or in quotes where the name is no word.
    fn symbol(&mut self) -> Parsed<Symbol> {
        let (written, name) = match self.peek() {
            Kind::Word(word) => {
                self.advance();
                (word, None)
            }
            Kind::Text(inside) => (inside, Some(self.string("a symbol")?)),
            _ => return Err(self.expected("a length or a symbol")),
        };
        let symbol = self.symbols.entry(written);
        Ok(symbol.or_insert_with(|| Symbol::new(name.as_deref().unwrap_or(written))).clone())
    }

    /// `[0,2]`.
    pub(super) fn axes(&mut self) -> Parsed<Axes> {
        let mut axes = Axes::new();
        self.list('[', ']', |parser| {
            axes.push(parser.size("an axis")?);
            parser.check_rank(axes.len())
        })?;
        Ok(axes)
    }
}

/// Numbers and arrays.
impl Parser<'_, '_> {
    /// A float of 64 bits.
    pub(super) fn float(&mut self) -> Parsed<f64> {
        Ok(self.literal(DType::F64)?.to_f64())
    }

    /// One element, exactly: see the `Display` of [`Literal`].
    pub(super) fn literal(&mut self, dtype: DType) -> Parsed<Literal> {
        let start = self.token.span;
        let negative = self.eat_mark('-');
        let kind = self.peek();
        let literal = match (dtype, kind) {
            (DType::Bool, Kind::Word(word @ ("true" | "false"))) if !negative => {
                Some(Literal::from_bits(dtype, u64::from(word == "true")))
            }
            (DType::F32 | DType::F64, Kind::Word("inf")) => {
                let sign = if negative { -1.0 } else { 1.0 };
                Some(Literal::from_f64(dtype, sign * f64::INFINITY))
            }
            (DType::F32 | DType::F64, Kind::Word("nan")) if !negative => {
                self.advance();
                return self.nan(dtype);
            }
            (DType::F32, Kind::Number(digits)) => parse_f32(negative, digits),
            (DType::F64, Kind::Number(digits)) => parse_f64(negative, digits),
            (DType::I32 | DType::I64 | DType::U8, Kind::Number(digits)) => {
                parse_integer(dtype, negative, digits)
            }
            (DType::F32 | DType::F64, _) => return Err(self.expected("a number, `inf` or `nan`")),
            (DType::I32 | DType::I64 | DType::U8, _) => {
                return Err(self.expected("a whole number"));
            }
            (DType::Bool, _) => return Err(self.expected("`true` or `false`")),
        };
        let Some(literal) = literal else {
            let span = start.to(self.token.span);
            let found = self.written(span);
            let message = format!("expected a number of dtype {dtype}, found {found}");
            return Err(self.report("text_t4", span, message));
        };
        self.advance();
        Ok(literal)
    }

    /// What follows `nan`: the bits, if it is not the usual NaN.
    fn nan(&mut self, dtype: DType) -> Parsed<Literal> {
        if !self.eat_mark('(') {
            return Ok(Literal::from_f64(dtype, f64::NAN));
        }
        let span = self.token.span;
        let bits = self.integer("the bits of a NaN")?;
        let literal = Literal::from_bits(dtype, bits);
        if literal.bits() != bits || !literal.to_f64().is_nan() {
            let found = self.written(span);
            let message = format!("expected the bits of a NaN of dtype {dtype}, found {found}");
            return Err(self.report("text_t4", span, message));
        }
        self.expect_mark(')')?;
        Ok(literal)
    }

    /// `[1.0, 2.0]`, or `external "key"`.
    pub(super) fn dense(&mut self, ty: &Type) -> Parsed<Dense> {
        if self.eat_word("external") {
            let span = self.token.span;
            let key = self.string("the key of an array")?;
            self.count_elements(ty.element_count().unwrap_or(0), span)?;
            let dense = (self.external)(&key, ty);
            return dense.map_err(|message| self.report("text_t5", span, message));
        }
        let mut bytes = Vec::new();
        self.list('[', ']', |parser| {
            let span = parser.token.span;
            parser.count_elements(1, span)?;
            parser.literal(ty.dtype)?.write_to(&mut bytes);
            Ok(())
        })?;
        Ok(Dense::from_bytes(ty.dtype, bytes.into())
            .expect("these are the bytes of whole elements"))
    }
}

/// A decimal float of 32 bits. One that rounds to infinity is refused. The sign is put on what is
/// rounded, so −0 is kept.
fn parse_f32(negative: bool, digits: &str) -> Option<Literal> {
    let value: f32 = digits.parse().ok()?;
    let value = if negative { -value } else { value };
    value.is_finite().then(|| Literal::from_bits(DType::F32, u64::from(value.to_bits())))
}

/// A decimal float of 64 bits, as [`parse_f32`].
fn parse_f64(negative: bool, digits: &str) -> Option<Literal> {
    let value: f64 = digits.parse().ok()?;
    let value = if negative { -value } else { value };
    value.is_finite().then(|| Literal::from_bits(DType::F64, value.to_bits()))
}

/// A whole number within the dtype's range.
fn parse_integer(dtype: DType, negative: bool, digits: &str) -> Option<Literal> {
    let magnitude = i128::from(integer(digits)?);
    let value = i64::try_from(if negative { -magnitude } else { magnitude }).ok()?;
    let literal = Literal::from_i64(dtype, value);
    (literal.to_i64() == value).then_some(literal)
}

/// Places and origins.
impl<'t> Parser<'t, '_> {
    /// `at arena+4096`, or nothing.
    pub(super) fn place(&mut self) -> Parsed<Option<Place>> {
        if !self.eat_word("at") {
            return Ok(None);
        }
        let Kind::Word(word @ ("arena" | "argument" | "output" | "state" | "constants")) =
            self.peek()
        else {
            return Err(self.expected("`arena`, `argument`, `output`, `state` or `constants`"));
        };
        self.advance();
        Ok(Some(match word {
            "arena" => Place::Arena(self.offset()?),
            "constants" => Place::Constant(self.offset()?),
            "argument" => Place::Argument(self.size("an argument's position")?),
            "output" => Place::Output(self.size("an output's position")?),
            _ => Place::State(self.state_path()?),
        }))
    }

    fn offset(&mut self) -> Parsed<usize> {
        self.expect_mark('+')?;
        self.size("an offset in bytes")
    }

    /// The path of a state that is declared above.
    pub(super) fn state_path(&mut self) -> Parsed<crate::program::StateId> {
        let span = self.token.span;
        let path = self.string("a state's path")?;
        self.states.get(&path).copied().ok_or_else(|| {
            let message = format!("expected a state of the program, found {}", quoted(&path));
            self.report("graph_v5", span, message)
        })
    }

    /// `@src/mlp.rs:14:20 in "hidden" cotangent of %7 replacing %3, %4`, or nothing.
    pub(super) fn origin(&mut self) -> Parsed<Option<Origin>> {
        if self.peek() != Kind::Mark('@') {
            return Ok(None);
        }
        let mut data = OriginData { site: self.origin_site()?, ..OriginData::default() };
        if self.eat_word("in") {
            let Kind::Text(written) = self.peek() else {
                return Err(self.expected("a scope in quotes"));
            };
            let scope = self.string("a scope")?;
            data.scope = self.shared(written, &scope);
        }
        if self.eat_word("cotangent") {
            if !self.eat_word("of") {
                return Err(self.expected("`of`"));
            }
            data.cotangent_of = Some(self.value_name()?);
        }
        if self.eat_word("replacing") {
            data.replaced.push(self.value_name()?);
            while self.eat_mark(',') {
                data.replaced.push(self.value_name()?);
            }
        }
        Ok(Some(Origin::new(data)))
    }

    /// The path right after the `@` that is looked at, a quoted one, or `?`.
    /// Where nothing is written: the line of the text, if that is asked for.
    pub(super) fn origin_in_text(&self, span: Span) -> Origin {
        match self.options.sites {
            true => Origin::call(self.site(span), "".into()),
            false => Origin::unknown(),
        }
    }

    fn origin_site(&mut self) -> Parsed<Option<Site>> {
        let (path, span) = self.lexer.path();
        let file = if path.is_empty() {
            self.advance();
            match self.peek() {
                Kind::Mark('?') => {
                    self.advance();
                    return Ok(None);
                }
                Kind::Text(written) => {
                    let path = self.string("a path")?;
                    self.shared(written, &path)
                }
                _ => return Err(self.expected("a path, a path in quotes, or `?`")),
            }
        } else {
            // The path has been read past the parser: the token before the next one is the path.
            self.advance();
            self.previous = span;
            self.shared(path, path)
        };
        self.expect_mark(':')?;
        let line = self.position("a line")?;
        self.expect_mark(':')?;
        let column = self.position("a column")?;
        Ok(Some(Site { file, line, column }))
    }

    fn position(&mut self, what: &str) -> Parsed<u32> {
        let span = self.token.span;
        let value = self.integer(what)?;
        u32::try_from(value).map_err(|_| {
            self.report(
                "text_t4",
                span,
                format!("expected {what} that fits 32 bits, found {value}"),
            )
        })
    }

    fn value_name(&mut self) -> Parsed<ValueName> {
        let (name, _) = self.name("a value's name")?;
        Ok(name.owned())
    }
}
