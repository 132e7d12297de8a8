//! Addresses: `root + Σ stride · variable + offset`, each part computed once, as far out as it can.
//!
//! An address is a chain of *sums*. The first is a root: a pointer argument, the scratch area, or
//! zero for values of index expressions. Each further sum adds one variable's multiple, outermost
//! loop first, and is computed in the body of that variable's loop, so whatever an inner loop does
//! not change is computed outside of it. Sums are shared by all accesses that have them in common;
//! constants never enter a sum but become the displacement of the load or store.
//!
//! A loop around other loops counts its iterations, and multiples are multiplied or shifted. An
//! innermost loop counts in bytes instead: it carries, for each stride that occurs in its body, the
//! product itself, so that an access is `[sum + product + displacement]` and an iteration adds
//! once for each distinct stride, as a rule once in all. Strides that are 2, 4 or 8 times another
//! use that one's product with the scale of the addressing mode.
//!
//! What is computed for an outer level is inserted before the jump that enters the next loop, so
//! the translation of kernels visits every statement once and plans nothing ahead but the strides
//! of innermost loops.

use std::collections::HashMap;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, types};
use kilngrad_loops::{Affine, Buffer, Inst, Kernel, LoopVar, Stmt};

/// What an address starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    /// Nothing: the sum is a number.
    Zero,
    /// The pointer in this place of the argument table.
    Argument(u32),
    /// The thread's scratch area.
    Scratch,
}

/// `root + Σ stride · variable`, an index into [`Addresses::sums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sum(u32);

/// What a sum is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SumKey {
    Root(Root),
    Plus { sum: Sum, var: LoopVar, stride: i64 },
}

/// A loop that is being translated, or at level 0 the kernel itself, whose variable is the chunk.
#[derive(Debug)]
struct Level {
    var: LoopVar,
    /// The jump that enters the loop, in the body of the level outside; none at level 0.
    entry: Option<ir::Inst>,
    /// Products of the variable and a factor that are at hand in the loop's body.
    products: Vec<(i64, Value)>,
}

/// The sums of a kernel and the loops around the point of translation.
pub(crate) struct Addresses {
    args: Value,
    scratch: Value,
    levels: Vec<Level>,
    keys: HashMap<SumKey, Sum>,
    /// The value of each sum; zero has none.
    sums: Vec<Option<Value>>,
}

impl Addresses {
    /// For a kernel with these arguments; `chunk` is absent where it can only be zero.
    pub(crate) fn new(args: Value, scratch: Value, chunk: Option<Value>) -> Addresses {
        let products = chunk.map(|chunk| (1, chunk)).into_iter().collect();
        let kernel = Level { var: Kernel::CHUNK, entry: None, products };
        let levels = vec![kernel];
        Addresses { args, scratch, levels, keys: HashMap::new(), sums: Vec::new() }
    }

    /// Enters the body of a loop in which these multiples of its variable are at hand.
    pub(crate) fn enter(&mut self, var: LoopVar, entry: ir::Inst, products: Vec<(i64, Value)>) {
        self.levels.push(Level { var, entry: Some(entry), products });
    }

    /// Leaves the innermost loop. Its sums are not asked for again: their variable is out of scope.
    pub(crate) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Runs `emit` with the cursor at the end of what precedes the outermost loop around it, where
    /// constants belong: what is computed there dominates the rest of the kernel.
    pub(crate) fn outside_loops<R>(
        &mut self,
        cursor: &mut FuncCursor<'_>,
        emit: impl FnOnce(&mut FuncCursor<'_>) -> R,
    ) -> R {
        self.at_level(0, cursor, |_, cursor| emit(cursor))
    }

    /// The value and the displacement that add up to
    /// `root + size · expression + displacement`, in bytes.
    pub(crate) fn resolve(
        &mut self,
        cursor: &mut FuncCursor<'_>,
        root: Root,
        expression: &Affine,
        size: i64,
        displacement: i64,
    ) -> (Value, i32) {
        let sum = self.sum_of(cursor, root, expression, size);
        let displacement = expression.constant.wrapping_mul(size).wrapping_add(displacement);
        match (self.sums[sum.0 as usize], i32::try_from(displacement)) {
            (Some(base), Ok(displacement)) => (base, displacement),
            (Some(base), Err(_)) => {
                let far = cursor.ins().iconst(types::I64, displacement);
                (cursor.ins().iadd(base, far), 0)
            }
            (None, _) => (cursor.ins().iconst(types::I64, displacement), 0),
        }
    }

    fn sum_of(
        &mut self,
        cursor: &mut FuncCursor<'_>,
        root: Root,
        expression: &Affine,
        size: i64,
    ) -> Sum {
        let mut sum = self.root(cursor, root);
        for level in 0..self.levels.len() {
            let Level { var, ref products, .. } = self.levels[level];
            let stride = expression.coefficient(var).wrapping_mul(size);
            // A variable without products has one iteration and is zero.
            if stride != 0 && !products.is_empty() {
                sum = self.plus(cursor, sum, level, stride);
            }
        }
        sum
    }

    fn root(&mut self, cursor: &mut FuncCursor<'_>, root: Root) -> Sum {
        let key = SumKey::Root(root);
        if let Some(&sum) = self.keys.get(&key) {
            return sum;
        }
        let value = match root {
            Root::Zero => None,
            Root::Scratch => Some(self.scratch),
            Root::Argument(index) => {
                let args = self.args;
                Some(self.outside_loops(cursor, |cursor| {
                    let offset = i32::try_from(8 * i64::from(index)).expect("few parameters");
                    let flags = MemFlagsData::trusted().with_readonly().with_can_move();
                    cursor.ins().load(types::I64, flags, args, offset)
                }))
            }
        };
        self.intern(key, value)
    }

    fn plus(&mut self, cursor: &mut FuncCursor<'_>, sum: Sum, level: usize, stride: i64) -> Sum {
        let key = SumKey::Plus { sum, var: self.levels[level].var, stride };
        if let Some(&known) = self.keys.get(&key) {
            return known;
        }
        let base = self.sums[sum.0 as usize];
        let value = self.at_level(level, cursor, |addresses, cursor| {
            let product = product(&mut addresses.levels[level].products, cursor, stride);
            base.map_or(product, |base| cursor.ins().iadd(base, product))
        });
        self.intern(key, Some(value))
    }

    fn intern(&mut self, key: SumKey, value: Option<Value>) -> Sum {
        let sum = Sum(u32::try_from(self.sums.len()).expect("fewer sums than statements"));
        self.sums.push(value);
        self.keys.insert(key, sum);
        sum
    }

    /// Runs `emit` with the cursor in the body of the loop at `level`, before the loop inside it
    /// that is being translated, if any.
    fn at_level<R>(
        &mut self,
        level: usize,
        cursor: &mut FuncCursor<'_>,
        emit: impl FnOnce(&mut Addresses, &mut FuncCursor<'_>) -> R,
    ) -> R {
        let position = cursor.position();
        if let Some(inner) = self.levels.get(level + 1) {
            cursor.goto_inst(inner.entry.expect("every level but the first is a loop"));
        }
        let result = emit(self, cursor);
        cursor.set_position(position);
        result
    }
}

/// The products that an innermost loop carries: strides, smallest first, such that each stride of
/// the body is one of them or one of them times 2, 4 or 8.
pub(crate) fn carried_strides(kernel: &Kernel, var: LoopVar, body: &[Stmt]) -> Vec<i64> {
    let mut strides: Vec<i64> = Vec::new();
    for_each_expression(kernel, body, &mut |expression, size| {
        let stride = expression.coefficient(var).wrapping_mul(size);
        if stride != 0 && !strides.contains(&stride) {
            strides.push(stride);
        }
    });
    strides.sort_by_key(|&stride| (stride.unsigned_abs(), stride));
    let mut carried: Vec<i64> = Vec::new();
    for stride in strides {
        if !carried.iter().any(|&known| scale(known, stride).is_some_and(|shift| shift <= 3)) {
            carried.push(stride);
        }
    }
    carried
}

/// Calls `visit` with every affine expression in the statements and the bytes it counts: the size
/// of its buffer's elements, or 1 for a value. The depth of loops is bounded by the verifier.
fn for_each_expression(kernel: &Kernel, stmts: &[Stmt], visit: &mut impl FnMut(&Affine, i64)) {
    for stmt in stmts {
        match stmt {
            Stmt::Let { inst: Inst::Index { at, .. }, .. } => visit(at, 1),
            Stmt::Let { inst: Inst::Load { buffer, at }, .. } | Stmt::Store { buffer, at, .. } => {
                visit(at, element_size(kernel, *buffer));
            }
            Stmt::Let { .. } => {}
            Stmt::For(inner) => for_each_expression(kernel, &inner.body, visit),
            Stmt::Tile(call) => {
                for panel in [&call.a, &call.b, &call.c] {
                    visit(&panel.at, element_size(kernel, panel.buffer));
                }
            }
            Stmt::Apply(apply) => visit(&apply.at, element_size(kernel, apply.buffer)),
        }
    }
}

/// Bytes of an element of a buffer.
pub(crate) fn element_size(kernel: &Kernel, buffer: Buffer) -> i64 {
    kernel.buffers[buffer.0 as usize].scalar.size() as i64
}

/// The variable times `factor`, from the products at hand, to which it is added.
fn product(products: &mut Vec<(i64, Value)>, cursor: &mut FuncCursor<'_>, factor: i64) -> Value {
    if let Some(&(_, value)) = products.iter().find(|known| known.0 == factor) {
        return value;
    }
    let shifted = products
        .iter()
        .filter_map(|&(known, value)| Some((scale(known, factor)?, value)))
        .min_by_key(|&(shift, _)| shift);
    let value = match shifted {
        Some((shift, value)) => {
            let shift = cursor.ins().iconst(types::I64, i64::from(shift));
            cursor.ins().ishl(value, shift)
        }
        None => {
            let &(_, counter) = products
                .iter()
                .find(|known| known.0 == 1)
                .expect("a loop carries every stride of its body, or its counter");
            let factor = cursor.ins().iconst(types::I64, factor);
            cursor.ins().imul(counter, factor)
        }
    };
    products.push((factor, value));
    value
}

/// The shift that takes `from` to `to`, if there is one.
fn scale(from: i64, to: i64) -> Option<u32> {
    (0..63).find(|&shift| from.checked_shl(shift).is_some_and(|x| x >> shift == from && x == to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_shifts() {
        assert_eq!(scale(4, 4), Some(0));
        assert_eq!(scale(4, 32), Some(3));
        assert_eq!(scale(-4, -8), Some(1));
        assert_eq!(scale(4, -8), None);
        assert_eq!(scale(8, 4), None);
        assert_eq!(scale(12, 16), None);
        assert_eq!(scale(1, 1 << 62), Some(62));
        assert_eq!(scale(3 << 60, i64::MIN), None);
    }

    #[test]
    fn carried_strides_leave_what_the_addressing_mode_scales() {
        let text = "kernel @k chunks=1 {
              buffer x: f32[4096] read
              buffer y: f64[4096] read
              buffer z: u8[4096] write
              for i1 in 0..8 {
                %0: f32 = load x[100*i1 + 8]
                %1: f32 = load x[8*i1]
                %2: f64 = load y[i1]
                %3: f64 = load y[70 - i1]
                %4: f64 = load y[5]
                %5: u8 = convert %0
                store z[100*i1] = %5
              }
            }";
        let kernel = kilngrad_loops::parse_kernel(text).expect("the text is a kernel");
        let Some(Stmt::For(inner)) = kernel.body.first() else { panic!("expected a loop") };
        // 400 is 100 scaled by 4; 32 is 8 scaled by 4.
        assert_eq!(carried_strides(&kernel, inner.var, &inner.body), [-8, 8, 100]);
    }
}
