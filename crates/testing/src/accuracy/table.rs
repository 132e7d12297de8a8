//! The tables of docs/accuracy.md, written and read back.

use std::fmt::Write;

use super::functions::Function;
use super::native::Engine;
use super::tally::Tally;

/// What was found of a function as one engine computes it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The function.
    pub function: &'static Function,
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
| function | engine | operands | largest error, ULP | at | not nearest | steps back | rules broken |
|---|---|---|---|---|---|---|---|
";

/// How many operands a function of one `f32` has.
const ALL: u64 = 1 << 32;

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = HEADER.to_owned();
    for Row { function, engine, tally } in rows {
        let operands = |at| operands(function, at);
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
        let seen = match tally.count {
            ALL => "all".to_owned(),
            count => format!("{:.2}·10⁶", count as f64 * 1e-6),
        };
        let back = tally.steps_back;
        let (function, engine) = (function.name, engine.name());
        writeln!(
            text,
            "| `{function}` | {engine} | {seen} | {ulps:.4} | {at} | {share:.3} % | {back} | {broken} |"
        )
        .expect("a string takes what is written");
    }
    text
}

/// The shortest decimals that read back equal.
fn operands(function: &Function, (x, y): (f64, f64)) -> String {
    if function.is_binary() { format!("`{x:e}`, `{y:e}`") } else { format!("`{x:e}`") }
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
    let [function, engine, _, ulps, at, _, _, _] = cells[..] else { return None };
    let engines = [Engine::Fused, Engine::Baseline, Engine::Interpreter];
    let mut operands = at.split(',').map(|operand| operand.trim().trim_matches('`').parse());
    Some(Stated {
        function: function.trim_matches('`').to_owned(),
        engine: engines.into_iter().find(|known| known.name() == engine)?,
        ulps: ulps.parse().ok()?,
        at: (operands.next()?.ok()?, operands.next().unwrap_or(Ok(1.0)).ok()?),
    })
}
