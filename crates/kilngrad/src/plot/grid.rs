//! Rows of an array as small grey images.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{GrayImage, ImageEncoder as _, Luma};
use kilngrad_ir::{Error, ErrorKind};
use ndarray::{ArrayView, Axis, RemoveAxis};

/// Pixels of the picture for each side of a small image's pixel: a grid is at least this wide.
const WIDTH: usize = 512;

/// Pixels between two images, in pixels of theirs.
const GAP: usize = 1;

/// The grey between images.
const BACKGROUND: u8 = 96;

/// Writes the rows of `images` as a PNG of grey images side by side, as nearly a square as they
/// make.
///
/// The first axis counts the images; the others are one image's pixels in row-major order, `size` =
/// (height, width) of them, whatever their shape. 0 and what is less is black, 1 and what is more
/// white; NaN is black. Small images are magnified by a whole number.
///
/// # Errors
///
/// If an image has another number of pixels, there is none, or the file cannot be written.
///
/// # Examples
///
/// ```
/// use kilngrad::plot;
/// use ndarray::Array2;
///
/// # let folder = std::env::temp_dir().join(format!("kilngrad-plot-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("ramps.png");
/// let ramps = Array2::from_shape_fn((6, 64), |(image, pixel)| (image * pixel) as f32 / 315.0);
/// plot::image_grid(&path, ramps.view(), (8, 8))?;
/// assert!(std::fs::read(&path)?.starts_with(b"\x89PNG"));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn image_grid<D: RemoveAxis>(
    path: impl AsRef<Path>,
    images: ArrayView<'_, f32, D>,
    size: (usize, usize),
) -> Result<(), Error> {
    let grid = grid(images, size)?;
    let path = path.as_ref();
    let failed = |error: std::io::Error| {
        Error::caused(ErrorKind::Io, format!("could not write {}", path.display()), error)
    };
    let file = BufWriter::new(File::create(path).map_err(failed)?);
    PngEncoder::new(file)
        .write_image(grid.as_raw(), grid.width(), grid.height(), image::ExtendedColorType::L8)
        .map_err(|error| failed(std::io::Error::other(error)))
}

/// The picture of a grid.
fn grid<D: RemoveAxis>(
    images: ArrayView<'_, f32, D>,
    (height, width): (usize, usize),
) -> Result<GrayImage, Error> {
    let count = images.shape().first().copied().unwrap_or(0);
    let pixels: usize = images.shape().iter().skip(1).product();
    if count == 0 || pixels == 0 || height.checked_mul(width) != Some(pixels) {
        let message = format!(
            "expected images of {height}x{width} pixels, found {count} of {pixels} elements"
        );
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let columns = count.isqrt() + usize::from(count.isqrt().pow(2) < count);
    let rows = count.div_ceil(columns);
    let cells = |along: usize, length: usize| along * length + (along + 1) * GAP;
    let scale = (WIDTH / cells(columns, width)).max(1);
    let side = |cells: usize| {
        u32::try_from(cells * scale)
            .map_err(|_| Error::new(ErrorKind::Shape, "expected a picture of fewer pixels"))
    };
    let (wide, high) = (side(cells(columns, width))?, side(cells(rows, height))?);
    let mut picture = GrayImage::from_pixel(wide, high, Luma([BACKGROUND]));
    for (at, image) in images.axis_iter(Axis(0)).enumerate() {
        let (top, left) = (at / columns * (height + GAP) + GAP, at % columns * (width + GAP) + GAP);
        for (pixel, value) in image.iter().enumerate() {
            // A cast saturates, and takes NaN to 0.
            let grey = Luma([(value * 255.0).round() as u8]);
            let (y, x) = ((top + pixel / width) * scale, (left + pixel % width) * scale);
            for (dy, dx) in (0..scale).flat_map(|dy| (0..scale).map(move |dx| (dy, dx))) {
                picture.put_pixel((x + dx) as u32, (y + dy) as u32, grey);
            }
        }
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::{Array1, Array2, Array3};

    use super::*;

    #[test]
    fn pixels_are_where_they_belong() {
        let mut images = Array3::<f32>::zeros((5, 2, 3));
        images[[1, 0, 2]] = 1.0;
        images[[4, 1, 0]] = 0.5;
        images[[0, 0, 0]] = f32::NAN;
        images[[0, 0, 1]] = 7.0;
        images[[0, 0, 2]] = -7.0;
        let picture = grid(images.view(), (2, 3)).unwrap();
        // Three columns and two rows of images: 13 by 7 of their pixels.
        let scale = 512 / 13;
        assert_eq!((picture.width(), picture.height()), (13 * scale, 7 * scale));
        let at = |x: u32, y: u32| picture.get_pixel(x * scale + 1, y * scale + 1).0[0];
        assert_eq!([at(1, 1), at(2, 1), at(3, 1)], [0, 255, 0]);
        assert_eq!([at(4, 1), at(7, 1), at(5, 1)], [BACKGROUND, 255, 0]);
        assert_eq!(at(5, 5), 128);
        // No sixth image.
        assert_eq!(at(9, 5), BACKGROUND);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let of = |shape: (usize, usize), size| {
            grid(Array2::<f32>::zeros(shape).view(), size).unwrap_err().to_string()
        };
        assert_eq!(of((4, 64), (8, 9)), "expected images of 8x9 pixels, found 4 of 64 elements");
        assert!(of((0, 64), (8, 8)).contains("found 0"));
        assert!(of((4, 0), (0, 3)).contains("of 0 elements"));
        // One number an image.
        assert!(grid(Array1::<f32>::zeros(3).view(), (1, 1)).is_ok());
    }
}
