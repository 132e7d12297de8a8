//! The text form of kernels and programs. It round-trips: what is printed parses to an equal
//! value, bit patterns, names and the numbers of registers included.
//!
//! ```text
//! kernel @scale_sum chunks=4 {
//!   buffer x: f32[1024] read
//!   buffer y: f32[4] write
//!   %0: f32x4 = const 0x0 // 0.0
//!   %6: f32x4 = for i1 in 0..64 carry (%1 = %0) {
//!     %2: f32x4 = load x[256*i0 + 4*i1]
//!     %3: f32x4 = add %1, %2
//!     next %3
//!   }
//!   %7: f32 = lane %6 0
//!   store y[i0] = %7
//! }
//! ```
//!
//! # Grammar
//!
//! `//` begins a comment that ends with the line; line breaks are spaces. `x*` repeats, `x,*`
//! repeats with commas between, `x?` may be absent.
//!
//! ```text
//! program   = "program" symbol "arena" "=" int "externals" "=" int "{" place* kernel* item* gate? item* "}"
//! place     = "buffer" name ":" scalar "[" int "]" where "readonly"?
//! where     = ("arena" | "external") int
//!           | "part" "#" int "first" int "step" "-"? int "level" int
//!           | "turn" "#" int "#" int "level" int
//! item      = call | "repeat" int block | "branch" ref block ("else" block)?
//!           | "while" block "test" ref block                   what computes the condition, then the body
//! block     = "{" item* "}"
//! call      = "call" ref ("(" ref,* ")")                       kernel, then its arguments
//! gate      = "gate" "(" ref,* ")"                             conditions
//! kernel    = "kernel" symbol "chunks" "=" int "{" decl* stmt* "}"
//! decl      = "buffer" name ":" scalar "[" int "]" ("read" | "write" | "readwrite" | "scratch")
//!           | "unused" reg ":" type                            a register that nothing defines
//! stmt      = reg ":" type "=" inst
//!           | "store" ref index "=" reg
//!           | results? "for" var ("at" reg)? "in" "0" ".." int carries? "{" stmt* next? "}"
//!           | "tile" scalar int "x" int ("fma" | "unfused") "rows" "=" int "cols" "=" int
//!             "depth" "=" int panel ("=" | "+=") panel "*" panel
//!           | "apply" function "count" "=" int ref index       in place
//! results   = (reg ":" type),* "="                             one for each carry
//! carries   = "carry" "(" (reg "=" reg),* ")"                  parameter = initial value
//! next      = "next" reg,*
//! inst      = "const" bits | "index" affine ("step" int)? | "load" ref index | "splat" reg
//!           | "lane" reg int | "fma" reg "," reg "," reg | "select" reg "," reg "," reg
//!           | "convert" reg | "bitcast" reg | "mask_not" reg | unary reg | binary reg "," reg
//!           | compare reg "," reg | ("mask_and" | "mask_or" | "mask_xor") reg "," reg
//!           | ("interleave_low" | "interleave_high") reg "," reg
//! panel     = ref "[" affine ";" int "," int "]"               row stride, column stride
//! index     = "[" affine "]"
//! affine    = "-"? term (("+" | "-") term)*
//! term      = int ("*" var)? | var
//! ref       = name | "#" int                                   by unique name, or by position
//! type      = scalar ("x" int)? | "mask" int ("x" int)?        as one word: f32x4, mask32x4
//! symbol    = "@" name
//! name      = word | string
//! reg       = "%" int ;  var = "i" int ;  bits = int | "0x" hex
//! ```
//!
//! `unary`, `binary`, `compare` and `function` are the names of [`UnaryInst`](crate::UnaryInst),
//! [`BinaryInst`](crate::BinaryInst), [`CompareInst`](crate::CompareInst) and
//! [`Function`](crate::math::Function). A string is quoted and escapes what is not printable ASCII.
//! A parameter of a loop has the type of its result.
//!
//! A text is not trusted: the parser allocates only in proportion to its length and nests only
//! [`MAX_NESTING`](crate::MAX_NESTING) loops and [`MAX_REPEATS`](crate::MAX_REPEATS) blocks deep. It
//! does not check what the verifier does.

mod cursor;
mod lex;
mod names;
mod parse;
mod print;

pub use parse::{ParseError, parse_kernel, parse_program};
pub(crate) use print::headline;
