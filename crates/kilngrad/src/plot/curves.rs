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
/// If the file cannot be written.
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
        for ((name, numbers), colour) in series.iter().zip(COLOURS.iter().cycle()) {
            let numbered = numbers.iter().enumerate().map(|(at, number)| (at + 1, *number));
            let points: Vec<(usize, f64)> = numbered.collect();
            let runs = points.split(|(_, number)| !number.is_finite());
            for (idx, run) in runs.filter(|run| !run.is_empty()).enumerate() {
                let drawn = run.iter().map(|(at, number)| (*at, limited(*number)));
                let mut line = LineSeries::new(drawn, colour.stroke_width(2));
                // A number between two gaps is no line.
                line = line.point_size(if run.len() == 1 { 2 } else { 0 });
                let drawn = chart.draw_series(line)?;
                if idx == 0 {
                    drawn.label(*name).legend(|(x, y)| {
                        PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                    });
                }
            }
        }
        chart
            .configure_series_labels()
            .label_font((FONT, 15))
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(190, 190, 190))
            .position(SeriesLabelPosition::UpperRight)
            .draw()?;
        area.present()?;
    }
    RgbImage::from_raw(SIZE.0, SIZE.1, pixels).ok_or_else(|| "a picture of another size".into())
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

    /// Pixels of a colour.
    fn count(picture: &RgbImage, colour: RGBColor) -> usize {
        let colour = [colour.0, colour.1, colour.2];
        picture.pixels().filter(|pixel| pixel.0 == colour).count()
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
    fn numbers_beside_the_axis_are_short() {
        let labels = [0.0, -0.0, 0.25, 1.0, -3.5, 1234.0, 1e-5, -2.5e7].map(label);
        assert_eq!(labels, ["0", "0", "0.25", "1", "-3.5", "1234", "1.000e-5", "-2.500e7"]);
    }
}
