//! Draws what `cargo bench` measured: how many times as fast native code is as the interpreter, by
//! class of kernel and by workload.
//!
//! `cargo bench && cargo run --example bench_plot -- docs/speed.svg`

use std::fs;
use std::path::{Path, PathBuf};

use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Failure = Box<dyn std::error::Error>;

/// A benchmark with both of its medians, in nanoseconds.
struct Bar {
    name: String,
    native: f64,
    interpreter: f64,
}

impl Bar {
    fn ratio(&self) -> f64 {
        self.interpreter / self.native
    }
}

/// The median that criterion wrote to `folder` last.
fn median(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("new/estimates.json")).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

/// The name that a benchmark was given, which its folder's may only resemble.
fn name(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("new/benchmark.json")).ok()?;
    let benchmark: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(benchmark["group_id"].as_str()?.to_owned())
}

fn bars(results: &Path) -> Result<Vec<Bar>, Failure> {
    let mut bars = Vec::new();
    for entry in fs::read_dir(results)? {
        let folder = entry?.path();
        let (native, interpreter) = (folder.join("native"), folder.join("interpreter"));
        if let (Some(name), Some(native), Some(interpreter)) =
            (name(&native), median(&native), median(&interpreter))
        {
            bars.push(Bar { name, native, interpreter });
        }
    }
    // Kernels, which have a class before a colon, above workloads; then by name.
    bars.sort_by(|a, b| (!a.name.contains(':'), &a.name).cmp(&(!b.name.contains(':'), &b.name)));
    Ok(bars)
}

fn draw(bars: &[Bar], path: &Path) -> Result<(), Failure> {
    // Text is measured by it; a machine may have no fonts.
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the font could not be read")?;
    let height = 90 + 34 * bars.len() as u32;
    let root = SVGBackend::new(path, (860, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let most = bars.iter().map(Bar::ratio).fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption("native code over the interpreter, one thread", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(190)
        .build_cartesian_2d((1.0..most * 4.0).log_scale(), 0.0..bars.len() as f64)?;
    let label = |at: &f64| {
        let bar = bars.len().checked_sub(1 + *at as usize).and_then(|index| bars.get(index));
        bar.filter(|_| at.fract() == 0.0).map_or_else(String::new, |bar| bar.name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_desc("times as fast (logarithmic)")
        .x_label_formatter(&|x| format!("{x}"))
        .draw()?;
    for (index, bar) in bars.iter().enumerate() {
        let low = (bars.len() - 1 - index) as f64;
        let colour =
            if bar.name.contains(':') { RGBColor(70, 110, 160) } else { RGBColor(190, 110, 60) };
        let corners = [(1.0, low + 0.18), (bar.ratio(), low + 0.82)];
        chart.draw_series([Rectangle::new(corners, colour.filled())])?;
        let (x, y) = chart.backend_coord(&(bar.ratio(), low + 0.5));
        let said = format!("{:.0}×  {}", bar.ratio(), time(bar.native));
        root.draw_text(&said, &("sans-serif", 14).into_text_style(&root), (x + 6, y - 8))?;
        let (x, y) = chart.backend_coord(&(1.0, low + 0.5));
        let right = Pos::new(HPos::Right, VPos::Center);
        let style = ("sans-serif", 14).into_text_style(&root).pos(right);
        root.draw_text(&label(&low), &style, (x - 8, y))?;
    }
    root.present()?;
    Ok(())
}

/// Nanoseconds in the unit that suits them.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.0} ns"),
        ..1e6 => format!("{:.1} µs", nanoseconds / 1e3),
        _ => format!("{:.2} ms", nanoseconds / 1e6),
    }
}

fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).map_or_else(|| PathBuf::from("speed.svg"), PathBuf::from);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let bars = bars(&target.join("criterion"))?;
    if bars.is_empty() {
        return Err("expected results of `cargo bench`, found none".into());
    }
    for bar in &bars {
        println!("{:<28}{:>12}{:>8.1} times", bar.name, time(bar.native), bar.ratio());
    }
    draw(&bars, &path)
}
