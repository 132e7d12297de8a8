//! Arrays as a person reads them, and as a script does.

use kilngrad::Array;
use kilngrad::internals::ir::Literal;
use kilngrad::prelude::*;
use serde_json::Value;

/// Axes of at most this many elements are shown whole.
const WHOLE: usize = 8;

/// Of longer ones, this many from each end.
const EDGE: usize = 3;

/// A scalar as it is, a vector in a line, a matrix a row a line, and more axes a matrix after the
/// other; the middle of a long axis is left out.
pub(crate) fn lines(array: &Array) -> Vec<String> {
    let shape = array.shape();
    let (outer, rows, columns) = match shape {
        [] => (&[][..], 1, 1),
        [columns] => (&[][..], 1, *columns),
        [outer @ .., rows, columns] => (outer, *rows, *columns),
    };
    if array.is_empty() {
        return vec!["(no elements)".to_owned()];
    }
    let blocks = kept(outer.iter().product());
    let wanted = blocks.iter().flatten().flat_map(|block| {
        let rows_kept = kept(rows).into_iter().flatten();
        let first = move |row: usize| (block * rows + row) * columns;
        rows_kept
            .flat_map(move |row| kept(columns).into_iter().flatten().map(move |c| first(row) + c))
    });
    let mut cells = pick(array, wanted).into_iter();
    let mut tables = Vec::new();
    let mut width = 1;
    for block in &blocks {
        let table = block.map(|_| -> Vec<Option<Vec<Option<String>>>> {
            let row = |kept_row: Option<usize>| {
                kept_row.map(|_| {
                    kept(columns).into_iter().map(|c| c.and_then(|_| cells.next())).collect()
                })
            };
            kept(rows).into_iter().map(row).collect()
        });
        let shown = table.iter().flatten().flatten().flatten().flatten();
        width = shown.map(|cell| cell.chars().count()).fold(width, usize::max);
        tables.push((*block, table));
    }
    let mut lines = Vec::new();
    for (block, table) in tables {
        let Some((block, table)) = block.zip(table) else {
            lines.push("…".to_owned());
            continue;
        };
        if !outer.is_empty() {
            lines.push(format!("[{}]", position(block, outer)));
        }
        for row in table {
            let cell =
                |cell: &Option<String>| format!("{:>width$}", cell.as_deref().unwrap_or("…"));
            let row = row.map(|row| row.iter().map(cell).collect::<Vec<_>>().join("  "));
            lines.push(row.unwrap_or_else(|| format!("{:>width$}", "…")));
        }
    }
    lines
}

/// The positions of an axis that are shown; `None` stands for what is left out.
fn kept(length: usize) -> Vec<Option<usize>> {
    if length <= WHOLE {
        return (0..length).map(Some).collect();
    }
    let tail = (length - EDGE..length).map(Some);
    (0..EDGE).map(Some).chain([None]).chain(tail).collect()
}

/// Elements at ascending positions in row-major order, as text.
fn pick(array: &Array, wanted: impl Iterator<Item = usize>) -> Vec<String> {
    let mut elements = array.iter();
    let mut next = 0;
    let picked = wanted.filter_map(|position| {
        let element = elements.nth(position - next);
        next = position + 1;
        element
    });
    let picked: Vec<Literal> = picked.collect();
    let decimals = decimals(&picked);
    picked.into_iter().map(|element| cell(element, decimals)).collect()
}

/// Decimals that show six significant digits of the largest float, where that leaves some of the
/// smallest too; else numbers have exponents.
fn decimals(elements: &[Literal]) -> Option<usize> {
    let magnitudes = elements.iter().map(|element| element.to_f64().abs());
    let shown = magnitudes.filter(|value| value.is_finite() && *value > 0.0);
    let bounds = shown.fold(None, |bounds: Option<(f64, f64)>, value| {
        bounds.map_or(Some((value, value)), |(low, high)| Some((low.min(value), high.max(value))))
    });
    let Some((low, high)) = bounds else { return Some(1) };
    let exponent = high.log10().floor();
    let fits = (-4.0..6.0).contains(&exponent) && low >= high * 1e-4;
    fits.then_some((5.0 - exponent) as usize)
}

/// A float as the others, and the whole of what is none.
fn cell(element: Literal, decimals: Option<usize>) -> String {
    let value = element.to_f64();
    if !element.dtype().is_float() || !value.is_finite() {
        return element.to_string();
    }
    match decimals {
        Some(decimals) => format!("{value:.decimals$}"),
        None => format!("{value:.5e}"),
    }
}

/// `1,0,:,:` of a matrix within outer axes.
fn position(block: usize, outer: &[usize]) -> String {
    let mut rest = block;
    let mut indices: Vec<String> = outer
        .iter()
        .rev()
        .map(|length| {
            let index = rest % length;
            rest /= length;
            index.to_string()
        })
        .collect();
    indices.reverse();
    format!("{},:,:", indices.join(","))
}

/// Nested lists; what JSON has no number for is a string.
pub(crate) fn json(array: &Array) -> Value {
    if array.is_empty() {
        return Value::Array(Vec::new());
    }
    nested(array.shape(), &mut *array.iter())
}

/// Recurses over the axes.
fn nested(shape: &[usize], elements: &mut dyn Iterator<Item = Literal>) -> Value {
    match shape {
        [] => elements.next().map_or(Value::Null, number),
        [length, rest @ ..] => Value::Array((0..*length).map(|_| nested(rest, elements)).collect()),
    }
}

fn number(element: Literal) -> Value {
    match element.dtype() {
        // The shortest decimal that reads back as this element.
        DType::F32 | DType::F64 => {
            let text = element.to_string();
            match text.parse().ok().and_then(serde_json::Number::from_f64) {
                Some(float) => Value::Number(float),
                // The text form keeps the bits of a NaN, which a script has no use for.
                None if element.to_f64().is_nan() => Value::from("nan"),
                None => Value::String(text),
            }
        }
        DType::I32 | DType::I64 | DType::U8 => Value::from(element.to_i64()),
        DType::Bool => Value::from(element.bits() != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_read_well() {
        assert_eq!(lines(&Array::from(0.1f32)), ["0.100000"]);
        assert_eq!(lines(&Array::from(vec![1i64, -20])), ["  1  -20"]);
        assert_eq!(lines(&Array::from(Vec::<f32>::new())), ["(no elements)"]);
        let long: Vec<i64> = (0..100).collect();
        assert_eq!(lines(&Array::from(long)), [" 0   1   2   …  97  98  99"]);
        let matrix = ndarray::array![[1.5f64, f64::NAN], [-0.25, 12.0]];
        assert_eq!(lines(&Array::from(matrix)), [" 1.5000      nan", "-0.2500  12.0000"]);
        let wide = ndarray::array![[1.5f64, f64::NAN], [-1e-9, 1e7]];
        assert_eq!(
            lines(&Array::from(wide)),
            ["  1.50000e0          nan", "-1.00000e-9    1.00000e7"]
        );
        assert_eq!(lines(&Array::from(vec![0f32, -0.0])), [" 0.0  -0.0"]);
        let cube =
            ndarray::Array4::from_shape_fn((2, 9, 1, 2), |(i, j, _, k)| (i * 10 + j + k) as i32);
        let shown = lines(&Array::from(cube));
        assert_eq!(shown[..3], ["[0,0,:,:]", " 0   1", "[0,1,:,:]"]);
        assert_eq!(shown[6..9], ["…", "[1,6,:,:]", "16  17"]);
    }

    #[test]
    fn json_has_the_shape_and_every_element() {
        let matrix = ndarray::array![[0.1f32, f32::NAN], [-0.0, f32::INFINITY]];
        assert_eq!(json(&Array::from(matrix)).to_string(), r#"[[0.1,"nan"],[-0.0,"inf"]]"#);
        assert_eq!(json(&Array::from(-f64::NAN)).to_string(), "\"nan\"");
        assert_eq!(json(&Array::from(true)).to_string(), "true");
        assert_eq!(json(&Array::from(vec![i64::MIN])).to_string(), "[-9223372036854775808]");
    }
}
