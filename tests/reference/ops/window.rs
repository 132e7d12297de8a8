//! Convolutions, pools, and what else looks through windows.

use kilngrad::prelude::*;

use super::{Call, One, lengths_of};

pub(super) const ROWS: &[(&str, One)] = &[
    ("conv1d", |c| biased(c, c.x(0).conv1d(c.x(1), conv(c)))),
    ("conv2d", |c| biased(c, c.x(0).conv2d(c.x(1), conv(c)))),
    ("conv3d", |c| biased(c, c.x(0).conv3d(c.x(1), conv(c)))),
    ("conv_transpose1d", |c| biased(c, c.x(0).conv_transpose1d(c.x(1), conv_transpose(c)))),
    ("conv_transpose2d", |c| biased(c, c.x(0).conv_transpose2d(c.x(1), conv_transpose(c)))),
    ("conv_transpose3d", |c| biased(c, c.x(0).conv_transpose3d(c.x(1), conv_transpose(c)))),
    ("max_pool1d", |c| c.x(0).max_pool1d(&size(c)[..], pool(c))),
    ("max_pool2d", |c| c.x(0).max_pool2d(&size(c)[..], pool(c))),
    ("max_pool3d", |c| c.x(0).max_pool3d(&size(c)[..], pool(c))),
    ("avg_pool1d", |c| c.x(0).avg_pool1d(&size(c)[..], pool(c))),
    ("avg_pool2d", |c| c.x(0).avg_pool2d(&size(c)[..], pool(c))),
    ("avg_pool3d", |c| c.x(0).avg_pool3d(&size(c)[..], pool(c))),
    ("adaptive_avg_pool1d", |c| c.x(0).adaptive_avg_pool1d(&spatial(c, "output_size", 1)[..])),
    ("adaptive_avg_pool2d", |c| c.x(0).adaptive_avg_pool2d(&spatial(c, "output_size", 1)[..])),
    ("adaptive_avg_pool3d", |c| c.x(0).adaptive_avg_pool3d(&spatial(c, "output_size", 1)[..])),
    ("adaptive_max_pool1d", |c| c.x(0).adaptive_max_pool1d(&spatial(c, "output_size", 1)[..])),
    ("adaptive_max_pool2d", |c| c.x(0).adaptive_max_pool2d(&spatial(c, "output_size", 1)[..])),
    ("adaptive_max_pool3d", |c| c.x(0).adaptive_max_pool3d(&spatial(c, "output_size", 1)[..])),
    ("unfold2d", |c| c.x(0).unfold2d(&size(c)[..], conv(c))),
    ("interpolate", |c| {
        let how = match (c.text("mode"), c.flag("align_corners")) {
            ("nearest", _) => Interpolation::Nearest,
            (_, false) => Interpolation::Linear,
            (_, true) => Interpolation::LinearCorners,
        };
        let old = lengths_of(c.x(0)).split_off(2);
        let new: Vec<usize> = match c.attrs["size"].is_null() {
            true => old.iter().map(|l| (*l as f64 * c.number("scale_factor")) as usize).collect(),
            false => spatial(c, "size", 1),
        };
        c.x(0).interpolate(&new[..], how)
    }),
];

/// Numbers for the spatial axes: of one number as many as there are axes.
fn spatial(call: &Call<'_, '_>, name: &str, default: usize) -> Vec<usize> {
    let axes = lengths_of(call.x(0)).len() - 2;
    let numbers = if call.attrs[name].is_null() { vec![default] } else { call.lengths(name) };
    if numbers.len() == 1 { vec![numbers[0]; axes] } else { numbers }
}

fn conv(call: &Call<'_, '_>) -> Conv {
    let number = |name, default| spatial(call, name, default);
    let conv = Conv::new()
        .stride(&number("stride", 1)[..])
        .dilation(&number("dilation", 1)[..])
        .groups(call.number_or("groups", 1.0) as usize);
    match call.text("padding") {
        "same" => conv.same(),
        _ => conv.padding(&number("padding", 0)[..]),
    }
}

fn conv_transpose(call: &Call<'_, '_>) -> ConvTranspose {
    let number = |name, default| spatial(call, name, default);
    ConvTranspose::new()
        .stride(&number("stride", 1)[..])
        .padding(&number("padding", 0)[..])
        .output_padding(&number("output_padding", 0)[..])
        .dilation(&number("dilation", 1)[..])
        .groups(call.number_or("groups", 1.0) as usize)
}

fn size(call: &Call<'_, '_>) -> Vec<usize> {
    spatial(call, "kernel_size", 1)
}

fn pool(call: &Call<'_, '_>) -> Pool {
    let pool = Pool::new()
        .padding(&spatial(call, "padding", 0)[..])
        .dilation(&spatial(call, "dilation", 1)[..])
        .ceil(call.flag("ceil_mode"))
        .count_padding(call.attrs["count_include_pad"].as_bool().unwrap_or(true));
    let pool = match call.attrs["stride"].is_null() {
        true => pool,
        false => pool.stride(&spatial(call, "stride", 1)[..]),
    };
    match call.attrs["divisor_override"].as_u64() {
        Some(divisor) => pool.divisor(usize::try_from(divisor).unwrap()),
        None => pool,
    }
}

/// Plus the bias of each channel, where the call has one.
fn biased<'b>(call: &Call<'_, 'b>, maps: Tensor<'b>) -> Tensor<'b> {
    call.named("bias").map_or(maps, |bias| maps + maps.a_channel(bias))
}
