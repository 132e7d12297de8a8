//! Program-level loop IR: which kernel runs on which memory, in which order.

use crate::kernel::{Kernel, Scalar};

/// A buffer of a program: an index into [`Program::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A kernel of a program: an index into [`Program::kernels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(pub u32);

/// Where a buffer's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the arena, `offset` bytes from its start; a multiple of [`Kernel::SCRATCH_ALIGN`].
    Arena {
        /// Bytes from the arena's start.
        offset: usize,
    },
    /// Entry `index` of the table of external pointers that the caller passes: inputs, outputs,
    /// states and constants. External buffers do not overlap each other or the arena.
    External {
        /// Index into the pointer table.
        index: usize,
    },
    /// Elements of another buffer, one part after the other from iteration to iteration: in
    /// iteration `i` of the repeat at nesting `level`, those from `first + step·i` on.
    Part {
        /// The whole.
        of: Slot,
        /// The first element in the first iteration.
        first: usize,
        /// How many elements further the next iteration's is; negative where it goes back.
        step: i64,
        /// How many repeats the repeat is in.
        level: usize,
    },
    /// One of two buffers of this length in the even iterations of the repeat at nesting `level`,
    /// and the other in the odd ones: what an iteration writes to, the next one reads.
    Turn {
        /// In the first iteration, the third and so on.
        even: Slot,
        /// In the second iteration, the fourth and so on.
        odd: Slot,
        /// How many repeats the repeat is in.
        level: usize,
    },
}

/// A piece of memory as the program names it. Several may share arena bytes at different times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BufferPlace {
    /// For the text form.
    pub name: String,
    /// Type of an element.
    pub scalar: Scalar,
    /// Number of elements.
    pub len: usize,
    /// Where it is.
    pub place: Place,
    /// Whether kernels may write it. Only external buffers, and what is of one, can be read-only.
    pub writable: bool,
}

/// Runs every chunk of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// Which kernel.
    pub kernel: KernelId,
    /// One buffer for each of the kernel's parameters (its buffers that are not scratch, in
    /// order), of equal scalar and length.
    pub args: Vec<Slot>,
}

/// Runs items again and again, so many times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repeat {
    /// How many iterations there are.
    pub count: usize,
    /// What an iteration runs, in order.
    pub body: Vec<Item>,
}

/// Runs one of two lists of items, by what a buffer holds. Unlike a repeat it is no level that
/// [`Place::Part`] and [`Place::Turn`] count.
///
/// # Examples
///
/// ```
/// use kilngrad_loops::{Memory, parse_program, run_program};
///
/// let program = parse_program(
///     "program @either arena=0 externals=2 {
///        buffer c: u8[1] external 0 readonly
///        buffer y: u8[1] external 1
///        kernel @five chunks=1 { buffer y: u8[1] write %0: u8 = const 5 store y[0] = %0 }
///        kernel @nine chunks=1 { buffer y: u8[1] write %0: u8 = const 9 store y[0] = %0 }
///        branch c { call five(y) } else { call nine(y) }
///      }",
/// )?;
/// for (condition, expected) in [(1, 5), (0, 9)] {
///     let mut memory = Memory::zeroed(&program);
///     memory.externals[0] = vec![condition];
///     run_program(&program, &mut memory)?;
///     assert_eq!(memory.externals[1], [expected]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Branch {
    /// A buffer of one `u8`; 0 chooses `otherwise`, every other number `then`.
    pub condition: Slot,
    /// What runs where the condition holds, in order.
    pub then: Vec<Item>,
    /// What runs where it does not, in order.
    pub otherwise: Vec<Item>,
}

/// Runs items for as long as a condition holds: `test`, and if the condition holds then, `body`
/// and all of it again. Unlike a repeat it is no level that [`Place::Part`] and [`Place::Turn`]
/// count. Nothing promises that it ends.
///
/// # Examples
///
/// ```
/// use kilngrad_loops::{Memory, parse_program, run_program};
///
/// let program = parse_program(
///     "program @countdown arena=0 externals=2 {
///        buffer n: u8[1] external 0
///        buffer y: u8[1] external 1
///        kernel @less chunks=1 {
///          buffer n: u8[1] readwrite
///          %0: u8 = load n[0]
///          %1: u8 = const 1
///          %2: u8 = sub %0, %1
///          store n[0] = %2
///        }
///        kernel @add chunks=1 {
///          buffer n: u8[1] read
///          buffer y: u8[1] readwrite
///          %0: u8 = load n[0]
///          %1: u8 = load y[0]
///          %2: u8 = add %0, %1
///          store y[0] = %2
///        }
///        while { call less(n) } test n { call add(n, y) }
///      }",
/// )?;
/// let mut memory = Memory::zeroed(&program);
/// memory.externals[0] = vec![5];
/// run_program(&program, &mut memory)?;
/// assert_eq!(memory.externals[1], [4 + 3 + 2 + 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct While {
    /// What runs before each look at the condition, in order.
    pub test: Vec<Item>,
    /// A buffer of one `u8`, which is 0 where the condition does not hold.
    pub condition: Slot,
    /// What an iteration runs, in order.
    pub body: Vec<Item>,
}

/// What a program runs. Those that hold others are its *blocks*, which nest at most
/// [`MAX_REPEATS`](crate::MAX_REPEATS) deep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// A kernel.
    Call(Call),
    /// A loop of so many iterations.
    Repeat(Repeat),
    /// A choice.
    Branch(Branch),
    /// A loop that ends by what it computes.
    While(While),
}

/// Ends a program early: what comes after it runs only if every condition holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gate {
    /// How many of the program's items run before it.
    pub after: usize,
    /// Buffers of one `u8` each, which is 0 where the condition does not hold.
    pub conditions: Vec<Slot>,
}

/// One entry of a graph program, bound to memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// For the text form and symbols.
    pub name: String,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Number of entries in the table of external pointers.
    pub externals: usize,
    /// Memory. A buffer that is part of others comes after them.
    pub buffers: Vec<BufferPlace>,
    /// Kernels; equal ones are shared.
    pub kernels: Vec<Kernel>,
    /// What runs, in order.
    pub body: Vec<Item>,
    /// Where the program may end early.
    pub gate: Option<Gate>,
}

impl Program {
    /// Bytes of scratch that the largest kernel needs for one chunk; each worker has as many.
    pub fn scratch_bytes(&self) -> usize {
        self.kernels.iter().map(Kernel::scratch_bytes).max().unwrap_or(0)
    }

    /// Every call of the text, those of loops once, in order. Blocks nest at most
    /// [`MAX_REPEATS`](crate::verify::MAX_REPEATS) deep, which bounds the recursion.
    pub fn calls(&self) -> Vec<&Call> {
        fn collect<'p>(items: &'p [Item], calls: &mut Vec<&'p Call>) {
            for item in items {
                match item {
                    Item::Call(call) => calls.push(call),
                    Item::Repeat(Repeat { count: _, body }) => collect(body, calls),
                    Item::Branch(Branch { condition: _, then, otherwise }) => {
                        collect(then, calls);
                        collect(otherwise, calls);
                    }
                    Item::While(While { test, condition: _, body }) => {
                        collect(test, calls);
                        collect(body, calls);
                    }
                }
            }
        }
        let mut calls = Vec::new();
        collect(&self.body, &mut calls);
        calls
    }
}
