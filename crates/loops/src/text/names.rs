//! The names of instructions in the text form.

use std::fmt;

use crate::kernel::{BinaryInst, CompareInst, Half, MaskInst, UnaryInst};

macro_rules! named {
    ($ty:ident { $($variant:ident $name:literal,)* }) => {
        impl $ty {
            /// Every one, in the order of the enum.
            pub const ALL: &[$ty] = &[$($ty::$variant,)*];

            /// The name in the text form.
            pub const fn name(self) -> &'static str {
                match self {
                    $($ty::$variant => $name,)*
                }
            }

            /// The one whose [`name`](Self::name) is `name`.
            pub fn from_name(name: &str) -> Option<$ty> {
                $ty::ALL.iter().copied().find(|each| each.name() == name)
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named!(UnaryInst {
    Neg "neg",
    Abs "abs",
    Sqrt "sqrt",
    Floor "floor",
    Ceil "ceil",
    Trunc "trunc",
    Nearest "nearest",
    Not "not",
});

named!(BinaryInst {
    Add "add",
    Sub "sub",
    Mul "mul",
    Div "div",
    Rem "rem",
    MinSelect "min_select",
    MaxSelect "max_select",
    And "and",
    Or "or",
    Xor "xor",
    Shl "shl",
    ShrU "shr_u",
    ShrS "shr_s",
});

named!(CompareInst {
    Eq "eq",
    Ne "ne",
    Lt "lt",
    Le "le",
    Gt "gt",
    Ge "ge",
});

named!(Half {
    Low "interleave_low",
    High "interleave_high",
});

named!(MaskInst {
    And "mask_and",
    Or "mask_or",
    Xor "mask_xor",
});
