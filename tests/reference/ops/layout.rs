//! What moves elements.

use kilngrad::prelude::*;

use super::{Call, Many, One, lengths_of};

pub(super) const ROWS: &[(&str, One)] = &[
    ("reshape", |c| c.x(0).reshape(c.lengths("shape"))),
    ("permute", |c| c.x(0).transpose(&c.integers("dims")[..])),
    ("transpose", |c| c.x(0).swap_axes(c.integer("dim0"), c.integer("dim1"))),
    ("expand", |c| c.x(0).expand(c.lengths("shape"))),
    ("roll", |c| {
        let (axes, shifts) = (c.integers("dims"), c.integers("shifts"));
        axes.into_iter().zip(shifts).fold(c.x(0), |x, (axis, shift)| {
            let length = lengths_of(x)[axis.rem_euclid(lengths_of(x).len() as isize) as usize];
            x.roll(axis, shift.rem_euclid(length as isize) as usize)
        })
    }),
    ("flip", |c| c.x(0).flip(&c.integers("dims")[..])),
    ("gather", |c| c.x(0).gather(c.integer("dim"), c.x(1))),
    ("scatter_add", |c| c.x(0).scatter_add(c.integer("dim"), c.x(1), c.x(2))),
    ("index_select", |c| c.x(0).index_select(c.integer("dim"), c.x(1))),
    ("index_add", |c| c.x(0).index_add(c.integer("dim"), c.x(1), c.x(2))),
    // Indices come first.
    ("embedding", |c| c.x(1).index_select(0, c.x(0))),
    ("slice", |c| {
        let step = usize::try_from(c.integer("step")).unwrap();
        c.x(0).slice_step(c.integer("dim"), c.integer("start")..c.integer("end"), step)
    }),
    ("cat", |c| c.x(0).entry().cat(operands(c), c.integer("dim"))),
    ("stack", |c| c.x(0).entry().stack(operands(c), c.integer("dim"))),
    ("tril", |c| c.x(0).tril(c.integer("diagonal") as i64)),
    ("triu", |c| c.x(0).triu(c.integer("diagonal") as i64)),
    ("one_hot", |c| c.x(0).one_hot(usize::try_from(c.integer("num_classes")).unwrap(), I64)),
    ("pad", |c| {
        // Two amounts an axis, the last axis's first.
        let (amounts, value) = (c.lengths("pad"), c.number_or("value", 0.0));
        let mode = match c.text("mode") {
            "constant" => None,
            "reflect" => Some(PadMode::Reflect),
            "replicate" => Some(PadMode::Replicate),
            "circular" => Some(PadMode::Circular),
            other => panic!("expected a mode of padding, found {other:?}"),
        };
        let mut x = c.x(0);
        for (axis, amounts) in (1isize..).zip(amounts.chunks(2)) {
            x = match mode {
                Some(mode) => x.pad_with(-axis, amounts[0], amounts[1], mode),
                None => x.pad(-axis, amounts[0], amounts[1], value),
            };
        }
        x
    }),
    ("diagonal", |c| c.x(0).diagonal(c.number_or("offset", 0.0) as i64, 0, 1)),
    ("pixel_shuffle", |c| {
        c.x(0).pixel_shuffle(usize::try_from(c.integer("upscale_factor")).unwrap())
    }),
    ("repeat", |c| {
        // PyTorch takes counts for new axes before the tensor's own.
        let counts = c.lengths("repeats");
        let new = counts.len() - lengths_of(c.x(0)).len();
        (0..new).fold(c.x(0), |x, _| x.unsqueeze(0)).repeat(&counts[..])
    }),
];

/// Operations of several outputs.
pub(super) const SEVERAL: &[(&str, Many)] = &[
    ("split", |c| {
        let mut start = 0;
        let part = |length| {
            let end = start + length;
            let part = c.x(0).slice(c.integer("dim"), start..end);
            start = end;
            part
        };
        c.integers("sizes").into_iter().map(part).collect()
    }),
    ("sort", |c| {
        let (x, axis) = (c.x(0), c.integer("dim"));
        let sorted = if c.flag("descending") { x.sort_descending(axis) } else { x.sort(axis) };
        vec![sorted.0, sorted.1]
    }),
    ("topk", |c| {
        let (values, indices) = c.x(0).topk(c.integer("k").unsigned_abs(), c.integer("dim"));
        vec![values, indices]
    }),
];

fn operands<'b>(call: &Call<'_, 'b>) -> Vec<Tensor<'b>> {
    call.inputs.iter().map(|input| input.1).collect()
}
