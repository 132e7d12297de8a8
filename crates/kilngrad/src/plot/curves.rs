//! Series of numbers as curves over axes with names and numbers.

use std::path::Path;
use std::sync::OnceLock;

use image::{ImageFormat, RgbImage};
use kilngrad_ir::{Error, ErrorKind};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pixels: width and height.
const SIZE: (u32, u32) = (800, 500);

/// The font's name among those that are registered; it is part of the program, as a machine may have
/// none.
const FONT: &str = "DejaVu Sans";

const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(255, 127, 14), RGBColor(44, 160, 44), RGBColor(214, 39, 40)];

/// Numbers are drawn as far as this, so that differences of two are finite.
const LARGEST: f64 = 1e300;

/// Draws named series of numbers as curves, as a PNG: the first numbers at 1 of the horizontal axis,
/// which counts what `along` says, the next at 2. Numbers that are not finite leave gaps.
///
/// ```
/// let path = std::env::temp_dir().join(format!("kilngrad-curves-{}.png", std::process::id()));
/// let (training, validation) = ([3.0, 2.0, 1.5], [3.5, 2.5, 2.75]);
/// kilngrad::plot::curves(&path, "epoch", &[("training", &training), ("validation", &validation)])?;
/// assert!(std::fs::metadata(&path)?.len() > 0);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), kilngrad::Error>(())
/// ```
///
/// # Errors
///
/// If the picture cannot be drawn or the file not written.
pub fn curves(path: impl AsRef<Path>, along: &str, series: &[(&str, &[f64])]) -> Result<(), Error> {
    let png = || -> Result<Vec<u8>, Failure> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        draw(along, series)?.write_to(&mut bytes, ImageFormat::Png)?;
        Ok(bytes.into_inner())
    };
    let bytes = png().map_err(|error| {
        let message = format!("could not draw {:?}", path.as_ref());
        Error::caused(ErrorKind::Io, message, std::io::Error::other(error))
    })?;
    crate::arrays::write(path.as_ref(), &bytes)
}

fn draw(along: &str, series: &[(&str, &[f64])]) -> Result<RgbImage, Failure> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED
        .get_or_init(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok());
    if !registered {
        return Err("the font could not be read".into());
    }
    let mut pixels = vec![0; (SIZE.0 * SIZE.1 * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let longest = series.iter().map(|(_, numbers)| numbers.len()).max().unwrap_or(0);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(1..longest.max(2), range(series))?;
        chart
            .configure_mesh()
            .x_desc(along)
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 16))
            .y_label_formatter(&|number| label(*number))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .draw()?;
        let mut named = false;
        for ((name, numbers), colour) in series.iter().zip(COLOURS.iter().cycle()) {
            let numbered = numbers.iter().enumerate().map(|(at, number)| (at + 1, *number));
            let points: Vec<(usize, f64)> = numbered.collect();
            let runs = points.split(|(_, number)| !number.is_finite());
            let stroke = colour.stroke_width(2);
            let (mut segments, mut points) = (Vec::new(), Vec::new());
            for run in runs.filter(|run| !run.is_empty()) {
                let run = thinned(run, longest);
                // Each by itself, as the parts of one path that overlap may leave holes.
                segments.extend(run.windows(2).map(|pair| PathElement::new(pair.to_vec(), stroke)));
                // A number between two gaps is no line.
                points.extend((run.len() == 1).then(|| Circle::new(run[0], 2, colour.filled())));
            }
            if segments.is_empty() && points.is_empty() {
                continue;
            }
            named = true;
            chart.draw_series(points)?;
            chart
                .draw_series(segments)?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
        }
        if named {
            chart
                .configure_series_labels()
                .label_font((FONT, 15))
                .background_style(WHITE.mix(0.85))
                .border_style(RGBColor(190, 190, 190))
                .position(SeriesLabelPosition::UpperRight)
                .draw()?;
        }
        area.present()?;
    }
    RgbImage::from_raw(SIZE.0, SIZE.1, pixels).ok_or_else(|| "a picture of another size".into())
}

/// Of many numbers in one column of pixels the first, the least, the greatest and the last, in
/// their order: what a line through all of them covers.
fn thinned(run: &[(usize, f64)], longest: usize) -> Vec<(usize, f64)> {
    let column = |at: usize| at as u128 * u128::from(SIZE.0) / longest.max(1) as u128;
    let mut kept = Vec::new();
    for same in run.chunk_by(|one, next| column(one.0) == column(next.0)) {
        let by_number = |one: &&(usize, f64), other: &&(usize, f64)| one.1.total_cmp(&other.1);
        let extremes = [same.iter().min_by(by_number), same.iter().max_by(by_number)];
        let ends = [same.first(), same.last()];
        let mut points: Vec<(usize, f64)> =
            ends.into_iter().chain(extremes).flatten().copied().collect();
        points.sort_by_key(|(at, _)| *at);
        points.dedup_by_key(|(at, _)| *at);
        kept.extend(points.into_iter().map(|(at, number)| (at, limited(number))));
    }
    kept
}

fn limited(number: f64) -> f64 {
    number.clamp(-LARGEST, LARGEST)
}

/// From the least to the greatest finite number, and a little more.
fn range(series: &[(&str, &[f64])]) -> std::ops::Range<f64> {
    let all = series.iter().flat_map(|(_, numbers)| numbers.iter().copied());
    let finite = all.filter(|number| number.is_finite()).map(limited);
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
        (low.min(number), high.max(number))
    });
    if low > high {
        return 0.0..1.0;
    }
    // Where all are equal, or nearly so, numbers beside axes are still to differ.
    let least = (low.abs().max(high.abs()) * 1e-3).max(1e-30);
    let margin = ((high - low) * 0.04).max(least);
    low - margin..high + margin
}

/// Four decimals at most, in powers of ten where zeros would take more.
fn label(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-2..1e5).contains(&size) {
        let text = format!("{number:.4}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if text == "-0" { "0".to_owned() } else { text.to_owned() }
    } else {
        format!("{number:.3e}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Pixels of a colour, but for those of the legend.
    fn count(picture: &RgbImage, colour: RGBColor) -> usize {
        let colour = [colour.0, colour.1, colour.2];
        let legend = |x: u32, y: u32| x > SIZE.0 * 3 / 4 && y < SIZE.1 / 5;
        let own = picture.enumerate_pixels().filter(|(x, y, _)| !legend(*x, *y));
        own.filter(|(_, _, pixel)| pixel.0 == colour).count()
    }

    #[test]
    fn curves_are_where_their_numbers_are() {
        let falling: Vec<f64> = (0..50).map(|at| 1.0 / f64::from(at + 1)).collect();
        let picture = draw("epoch", &[("training loss", &falling), ("level", &[0.5; 50])]).unwrap();
        let rows_of = |colour: RGBColor| -> Vec<u32> {
            let colour = [colour.0, colour.1, colour.2];
            let own = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == colour);
            // Without the legend.
            own.filter(|(x, _, _)| *x < SIZE.0 / 2).map(|(_, y, _)| y).collect()
        };
        let (first, level) = (rows_of(COLOURS[0]), rows_of(COLOURS[1]));
        assert!(level.iter().max().unwrap() - level.iter().min().unwrap() <= 3);
        let middle = level[0];
        assert!(first.iter().any(|y| *y < middle) && first.iter().any(|y| *y > middle));
        assert_eq!(count(&picture, COLOURS[2]), 0);
    }

    #[test]
    fn any_numbers_are_drawn() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let cases: [&[f64]; 9] = [
            &[],
            &[1.0],
            &[nan, nan],
            &[inf, 3.0, nan, -inf, 2.0],
            &[f64::MAX, f64::MIN],
            &[0.0, -0.0],
            &[5e-324, 0.0, 1e-310],
            &[1e15, 1e15 + 1.0],
            &[-7.0; 3],
        ];
        for numbers in cases {
            let picture = draw("step", &[("loss", numbers)]).unwrap();
            let drawn = count(&picture, COLOURS[0]) > 0;
            assert_eq!(drawn, numbers.iter().any(|number| number.is_finite()), "{numbers:?}");
        }
    }

    #[test]
    fn many_numbers_leave_no_holes() {
        let zigzag: Vec<f64> = (0..200_000).map(|at| f64::from(at % 2)).collect();
        let picture = draw("step", &[("loss", &zigzag)]).unwrap();
        // The whole frame but the margins above and below the extremes.
        let covered = count(&picture, COLOURS[0]);
        assert!(covered > 600 * 350, "{covered}");
        assert!(thinned(&zigzag.into_iter().enumerate().collect::<Vec<_>>(), 200_000).len() < 4000);
    }

    #[test]
    fn what_has_no_number_has_no_legend() {
        let bare = draw("epoch", &[]).unwrap();
        assert_eq!(draw("epoch", &[("loss", &[f64::NAN])]).unwrap(), bare);
        assert_ne!(draw("epoch", &[("loss", &[0.5])]).unwrap(), bare);
    }

    #[test]
    fn numbers_beside_the_axis_are_short() {
        let labels = [0.0, -0.0, 0.25, 1.0, -3.5, 1234.0, 1e-5, -2.5e7].map(label);
        assert_eq!(labels, ["0", "0", "0.25", "1", "-3.5", "1234", "1.000e-5", "-2.500e7"]);
    }
}
