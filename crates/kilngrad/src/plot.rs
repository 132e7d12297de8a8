//! Pictures as PNG files: a grid of grey images, and curves. Feature `plot`.
//!
//! ```
//! use kilngrad::plot;
//! use ndarray::array;
//!
//! let name = format!("kilngrad-pair-{}.png", std::process::id());
//! let file = std::env::temp_dir().join(name);
//! let black_and_white = array![[0f32, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]];
//! plot::image_grid(&file, black_and_white.view(), (2, 2))?;
//! assert!(std::fs::read(&file)?.starts_with(b"\x89PNG"));
//! assert!(plot::image_grid(&file, black_and_white.view(), (2, 3)).is_err());
//! std::fs::remove_file(file)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod curves;
mod grid;

pub use curves::curves;
pub use grid::image_grid;
