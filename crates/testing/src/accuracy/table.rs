//! The tables of docs/accuracy.md, written and read back.

use std::fmt::Write;

use super::native::Engine;
use super::tally::Tally;

/// What was found of a function as one engine computes it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The function's name.
    pub function: &'static str,
    /// What computed it.
    pub engine: Engine,
    /// What was found.
    pub tally: Tally,
}

/// A row as the document states it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stated {
    /// The function's name.
    pub function: String,
    /// What computed it.
    pub engine: Engine,
    /// The largest error in units in the last place, to the digits that are written.
    pub ulps: f64,
    /// Where it is.
    pub at: (f64, f64),
}

const HEADER: &str = "\
| function | engine | largest error, ULP | at | not nearest | steps back | rules broken |
|---|---|---|---|---|---|---|
";

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = HEADER.to_owned();
    for Row { function, engine, tally } in rows {
        let (ulps, at) = match tally.worst {
            Some(worst) => (worst.ulps, operands(worst.at)),
            None => (0.0, String::new()),
        };
        // Up, so that nothing exceeds what is stated.
        let ulps = (ulps * 1e4).ceil() / 1e4;
        let share = 100.0 * tally.wrong_share();
        let broken = match tally.first_broken {
            Some(first) => format!("{}, first at `{}`", tally.broken, operands(first)),
            None => "0".to_owned(),
        };
        let back = tally.steps_back;
        let name = engine.name();
        writeln!(
            text,
            "| `{function}` | {name} | {ulps:.4} | {at} | {share:.3} % | {back} | {broken} |"
        )
        .expect("a string takes what is written");
    }
    text
}

/// The shortest decimals that read back equal; the second operand of functions of two alone, for
/// others have 1 there.
fn operands((x, y): (f64, f64)) -> String {
    if y == 1.0 { format!("`{x:e}`") } else { format!("`{x:e}`, `{y:e}`") }
}

/// The rows of a table in a document; other lines are passed over.
///
/// # Errors
///
/// A line that is part of a table and has another form.
pub fn read_table(text: &str) -> Result<Vec<Stated>, String> {
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| read_row(line).ok_or_else(|| format!("expected a row, found {line}")))
        .collect()
}

fn read_row(line: &str) -> Option<Stated> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [function, engine, ulps, at, _, _, _] = cells[..] else { return None };
    let engines = [Engine::Fused, Engine::Baseline, Engine::Interpreter];
    let mut operands = at.split(',').map(|operand| operand.trim().trim_matches('`').parse());
    Some(Stated {
        function: function.trim_matches('`').to_owned(),
        engine: engines.into_iter().find(|known| known.name() == engine)?,
        ulps: ulps.parse().ok()?,
        at: (operands.next()?.ok()?, operands.next().unwrap_or(Ok(1.0)).ok()?),
    })
}
