//! Dimensions: integer polynomials over named symbols, in normal form.
//!
//! A dimension is what a builder can say about a length before any data is seen: `n`, `8`,
//! `2*n + 1`, `h*w`. Two dimensions are equal exactly when their normal forms are, so shape rules
//! are decided without knowing what a symbol will be bound to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

/// A named unknown length, bound when a program is compiled for the shapes that are fed.
///
/// ```
/// use kilngrad_ir::{Dim, Symbol};
///
/// let n = Dim::symbol(Symbol::new("n"));
/// assert_eq!((&n + &n).to_string(), "2*n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The symbol called `name`.
    ///
    /// ```
    /// use kilngrad_ir::Symbol;
    ///
    /// assert_eq!(Symbol::new("n"), Symbol::new("n"));
    /// ```
    pub fn new(name: &str) -> Symbol {
        Symbol(Arc::from(name))
    }

    /// Its name.
    ///
    /// ```
    /// use kilngrad_ir::Symbol;
    ///
    /// assert_eq!(Symbol::new("batch").name(), "batch");
    /// ```
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The name, in quotes unless it is a word.
impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::word_or_quoted(&self.0))
    }
}

/// Symbols of a program with the lengths that they stand for.
///
/// ```
/// use kilngrad_ir::{Bindings, Dim, Symbol};
///
/// let bindings = Bindings::from([(Symbol::new("n"), 32)]);
/// assert_eq!(Dim::symbol(Symbol::new("n")).evaluate(&bindings), Some(32));
/// ```
pub type Bindings = BTreeMap<Symbol, usize>;

/// A product of symbols, sorted, with repetition; empty for the constant term.
type Monomial = SmallVec<[Symbol; 1]>;

/// A dimension: `Σ coefficient · monomial`.
///
/// The normal form has distinct monomials in descending degree, then by symbol, and no zero
/// coefficient; the zero polynomial has no term. Arithmetic is checked where a program is built
/// and verified ([`Dim::checked_add`], [`Dim::checked_mul`]); the operators panic on overflow of
/// `i64`, which no length that fits memory reaches.
///
/// ```
/// use kilngrad_ir::{Dim, Symbol};
///
/// let [n, m] = ["n", "m"].map(|name| Dim::symbol(Symbol::new(name)));
/// assert_eq!(&(&n + &m) * &(&n - &m), &(&n * &n) - &(&m * &m));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    terms: SmallVec<[(i64, Monomial); 1]>,
}

impl Dim {
    /// The constant `value`.
    ///
    /// ```
    /// use kilngrad_ir::Dim;
    ///
    /// assert_eq!(Dim::constant(8), Dim::from(8));
    /// ```
    pub fn constant(value: i64) -> Dim {
        match value {
            0 => Dim { terms: SmallVec::new() },
            value => Dim { terms: smallvec![(value, SmallVec::new())] },
        }
    }

    /// The symbol alone.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// assert_eq!(Dim::symbol(Symbol::new("n")).to_string(), "n");
    /// ```
    pub fn symbol(symbol: Symbol) -> Dim {
        Dim { terms: smallvec![(1, smallvec![symbol])] }
    }

    /// The value, if no symbol occurs.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// assert_eq!((n.as_constant(), (&n - &n).as_constant()), (None, Some(0)));
    /// ```
    pub fn as_constant(&self) -> Option<i64> {
        match self.terms.as_slice() {
            [] => Some(0),
            [(value, monomial)] if monomial.is_empty() => Some(*value),
            _ => None,
        }
    }

    /// The symbol, if this is one symbol and nothing else.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// assert_eq!(n.as_symbol(), Some(&Symbol::new("n")));
    /// assert_eq!((&n + &n).as_symbol(), None);
    /// ```
    pub fn as_symbol(&self) -> Option<&Symbol> {
        match self.terms.as_slice() {
            [(1, monomial)] if monomial.len() == 1 => monomial.first(),
            _ => None,
        }
    }

    /// Coefficients with their products of symbols, in normal order.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// let dim = &(&n * &n) - &Dim::constant(3);
    /// let terms: Vec<(i64, usize)> = dim.terms().map(|(c, symbols)| (c, symbols.len())).collect();
    /// assert_eq!(terms, [(1, 2), (-3, 0)]);
    /// ```
    pub fn terms(&self) -> impl Iterator<Item = (i64, &[Symbol])> {
        self.terms.iter().map(|(coefficient, monomial)| (*coefficient, monomial.as_slice()))
    }

    /// Every symbol that occurs, in normal order, possibly more than once.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let [n, m] = ["n", "m"].map(|name| Dim::symbol(Symbol::new(name)));
    /// let names: Vec<String> = (&n * &m).symbols().map(|symbol| symbol.to_string()).collect();
    /// assert_eq!(names, ["m", "n"]);
    /// ```
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.terms.iter().flat_map(|(_, monomial)| monomial.iter())
    }

    /// The sum, or `None` where a coefficient leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::Dim;
    ///
    /// let seven = Dim::constant(3).checked_add(&Dim::constant(4));
    /// assert_eq!(seven, Some(Dim::constant(7)));
    /// assert_eq!(Dim::constant(i64::MAX).checked_add(&Dim::constant(1)), None);
    /// ```
    pub fn checked_add(&self, other: &Dim) -> Option<Dim> {
        let all = self.terms.iter().chain(&other.terms).cloned();
        Dim::normal(all)
    }

    /// The difference, or `None` where a coefficient leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// assert_eq!(n.checked_sub(&n), Some(Dim::constant(0)));
    /// ```
    pub fn checked_sub(&self, other: &Dim) -> Option<Dim> {
        let negated =
            |(value, monomial): &(i64, Monomial)| Some((value.checked_neg()?, monomial.clone()));
        let negated: Option<Vec<(i64, Monomial)>> = other.terms.iter().map(negated).collect();
        Dim::normal(self.terms.iter().cloned().chain(negated?))
    }

    /// The sum of many, in one step; `None` where a coefficient leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// let sum = Dim::checked_sum([&n, &Dim::constant(2), &n]).expect("small numbers");
    /// assert_eq!(sum.to_string(), "2*n + 2");
    /// ```
    pub fn checked_sum<'d>(dims: impl IntoIterator<Item = &'d Dim>) -> Option<Dim> {
        Dim::normal(dims.into_iter().flat_map(|dim| dim.terms.iter().cloned()))
    }

    /// The product, or `None` where a coefficient leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let [h, w] = ["h", "w"].map(|name| Dim::symbol(Symbol::new(name)));
    /// assert_eq!(h.checked_mul(&w).expect("small numbers").to_string(), "h*w");
    /// ```
    pub fn checked_mul(&self, other: &Dim) -> Option<Dim> {
        let mut all = Vec::with_capacity(self.terms.len() * other.terms.len());
        for (left, symbols) in &self.terms {
            for (right, more) in &other.terms {
                let mut product: Monomial = symbols.iter().chain(more).cloned().collect();
                product.sort();
                all.push((left.checked_mul(*right)?, product));
            }
        }
        Dim::normal(all.into_iter())
    }

    /// This divided by a constant, if every coefficient is divisible by it.
    ///
    /// ```
    /// use kilngrad_ir::{Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// assert_eq!((&n + &n).exact_div(2), Some(n.clone()));
    /// assert_eq!(n.exact_div(2), None);
    /// ```
    pub fn exact_div(&self, divisor: i64) -> Option<Dim> {
        let exact = |value: i64| {
            (divisor != 0 && value.checked_rem(divisor)? == 0).then(|| value / divisor)
        };
        let terms = self.terms.iter().map(|(value, m)| Some((exact(*value)?, m.clone())));
        Some(Dim { terms: terms.collect::<Option<_>>()? })
    }

    /// The value under `bindings`; `None` where a symbol is unbound or the value leaves `i64`.
    ///
    /// ```
    /// use kilngrad_ir::{Bindings, Dim, Symbol};
    ///
    /// let n = Dim::symbol(Symbol::new("n"));
    /// let dim = &(&n * &n) + &Dim::constant(1);
    /// assert_eq!(dim.evaluate(&Bindings::from([(Symbol::new("n"), 3)])), Some(10));
    /// assert_eq!(dim.evaluate(&Bindings::new()), None);
    /// ```
    pub fn evaluate(&self, bindings: &Bindings) -> Option<i64> {
        self.terms.iter().try_fold(0i64, |sum, (coefficient, monomial)| {
            let term = monomial.iter().try_fold(*coefficient, |product, symbol| {
                product.checked_mul(i64::try_from(*bindings.get(symbol)?).ok()?)
            })?;
            sum.checked_add(term)
        })
    }

    fn normal(terms: impl Iterator<Item = (i64, Monomial)>) -> Option<Dim> {
        let mut sums: BTreeMap<Monomial, i64> = BTreeMap::new();
        for (coefficient, monomial) in terms {
            let sum = sums.entry(monomial).or_insert(0);
            *sum = sum.checked_add(coefficient)?;
        }
        let mut terms: SmallVec<[(i64, Monomial); 1]> =
            sums.into_iter().filter(|(_, c)| *c != 0).map(|(m, c)| (c, m)).collect();
        terms.sort_by(|(_, lhs), (_, rhs)| rhs.len().cmp(&lhs.len()).then_with(|| lhs.cmp(rhs)));
        Some(Dim { terms })
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::constant(i64::try_from(value).expect("a length fits i64"))
    }
}

impl From<Symbol> for Dim {
    fn from(symbol: Symbol) -> Dim {
        Dim::symbol(symbol)
    }
}

impl From<&Dim> for Dim {
    fn from(dim: &Dim) -> Dim {
        dim.clone()
    }
}

impl Add for &Dim {
    type Output = Dim;
    fn add(self, other: &Dim) -> Dim {
        self.checked_add(other).expect("coefficients of lengths fit i64")
    }
}

impl Sub for &Dim {
    type Output = Dim;
    fn sub(self, other: &Dim) -> Dim {
        self + &(other * &Dim::constant(-1))
    }
}

impl Mul for &Dim {
    type Output = Dim;
    fn mul(self, other: &Dim) -> Dim {
        self.checked_mul(other).expect("coefficients of lengths fit i64")
    }
}

/// `2*n + h*w - 1`: terms in normal order; without spaces inside a product.
impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (position, (coefficient, monomial)) in self.terms.iter().enumerate() {
            match (position, *coefficient < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            let size = coefficient.unsigned_abs();
            if monomial.is_empty() {
                write!(f, "{size}")?;
                continue;
            }
            if size != 1 {
                write!(f, "{size}*")?;
            }
            for (index, symbol) in monomial.iter().enumerate() {
                if index > 0 {
                    f.write_str("*")?;
                }
                write!(f, "{symbol}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n() -> Dim {
        Dim::symbol(Symbol::new("n"))
    }

    fn m() -> Dim {
        Dim::symbol(Symbol::new("m"))
    }

    #[test]
    fn equal_polynomials_have_one_normal_form() {
        let left = &(&n() + &m()) * &(&n() - &m());
        let right = &(&n() * &n()) - &(&m() * &m());
        assert_eq!(left, right);
        assert_eq!((&n() - &n()).as_constant(), Some(0));
        assert_eq!(left.to_string(), "-m*m + n*n");
    }

    #[test]
    fn evaluation_is_checked() {
        let mut bindings = Bindings::new();
        let dim = &(&n() * &Dim::constant(2)) + &Dim::constant(1);
        assert_eq!(dim.evaluate(&bindings), None);
        bindings.insert(Symbol::new("n"), 5);
        assert_eq!(dim.evaluate(&bindings), Some(11));
        bindings.insert(Symbol::new("n"), usize::MAX);
        assert_eq!(dim.evaluate(&bindings), None);
        assert_eq!(Dim::constant(i64::MAX).checked_add(&Dim::constant(1)), None);
    }

    #[test]
    fn exact_division() {
        let dim = &(&n() * &Dim::constant(6)) + &Dim::constant(4);
        assert_eq!(dim.exact_div(2).map(|d| d.to_string()).as_deref(), Some("3*n + 2"));
        assert_eq!(dim.exact_div(4), None);
        assert_eq!(dim.exact_div(0), None);
    }
}
