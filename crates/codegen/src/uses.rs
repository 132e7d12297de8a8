//! Questions about a kernel's registers that are asked before it is translated.

use kilngrad_loops::{BinaryInst, Inst, Kernel, Reg, RegType, Scalar, Stmt};

/// How often each register is an operand of an instruction, a store or a loop.
pub(crate) fn counts(kernel: &Kernel) -> Vec<u32> {
    let mut counts = vec![0; kernel.registers.len()];
    for_each_stmt(&kernel.body, &mut |stmt| {
        let mut count = |reg: Reg| counts[reg.0 as usize] += 1;
        match stmt {
            Stmt::Let { inst, .. } => for_each_operand(inst, count),
            Stmt::Store { value, .. } => count(*value),
            Stmt::For(inner) => {
                inner.pick.iter().for_each(|index| count(*index));
                for carry in &inner.carries {
                    count(carry.init);
                    count(carry.next);
                }
            }
            Stmt::Tile(_) | Stmt::Apply(_) => {}
        }
    });
    counts
}

/// Whether an integer is divided by a constant somewhere, which only an optimising backend turns
/// into a multiplication.
pub(crate) fn divides_by_constant(kernel: &Kernel) -> bool {
    let mut constant = vec![false; kernel.registers.len()];
    let mut found = false;
    for_each_stmt(&kernel.body, &mut |stmt| match stmt {
        Stmt::Let { reg, inst: Inst::Const { .. } } => constant[reg.0 as usize] = true,
        Stmt::Let { reg, inst: Inst::Binary(BinaryInst::Div | BinaryInst::Rem, _, divisor) } => {
            found |= is_integer(kernel.reg_type(*reg)) && constant[divisor.0 as usize]
        }
        Stmt::Let { .. } | Stmt::Store { .. } | Stmt::For(_) | Stmt::Tile(_) | Stmt::Apply(_) => {}
    });
    found
}

fn is_integer(ty: RegType) -> bool {
    match ty {
        RegType::Number { scalar, .. } => match scalar {
            Scalar::F32 | Scalar::F64 => false,
            Scalar::I32 | Scalar::I64 | Scalar::U8 => true,
        },
        RegType::Mask { .. } => false,
    }
}

/// Statements in order, a loop before its body. The verifier bounds the depth of loops.
fn for_each_stmt(stmts: &[Stmt], visit: &mut impl FnMut(&Stmt)) {
    for stmt in stmts {
        visit(stmt);
        if let Stmt::For(inner) = stmt {
            for_each_stmt(&inner.body, visit);
        }
    }
}

fn for_each_operand(inst: &Inst, mut visit: impl FnMut(Reg)) {
    match *inst {
        Inst::Const { .. } | Inst::Index { .. } | Inst::Load { .. } => {}
        Inst::Splat(x)
        | Inst::Lane { vector: x, .. }
        | Inst::Unary(_, x)
        | Inst::MaskNot(x)
        | Inst::Convert(x)
        | Inst::Bitcast(x) => visit(x),
        Inst::Binary(_, x, y)
        | Inst::Compare(_, x, y)
        | Inst::Mask(_, x, y)
        | Inst::Interleave(_, x, y) => {
            visit(x);
            visit(y);
        }
        Inst::Fma(x, y, z) | Inst::Select(x, y, z) => {
            visit(x);
            visit(y);
            visit(z);
        }
    }
}
