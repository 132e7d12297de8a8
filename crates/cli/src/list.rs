//! `kilngrad models`: what there is to train and to time.

use kilngrad::prelude::*;
use serde_json::{Value, json};

use crate::models::System;
use crate::output::Lines;
use crate::workloads::WORKLOADS;

/// Arguments of `kilngrad models`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let systems = System::all();
    let systems: Vec<(&str, &str)> =
        systems.iter().map(|(name, line)| (&**name, &**line)).collect();
    let lines = Lines::new(args.json);
    if args.json {
        let list = |rows: &[(&str, &str)]| -> Vec<Value> {
            rows.iter().map(|(name, what)| json!({ "name": name, "description": what })).collect()
        };
        lines.json(&json!({ "train": list(&systems), "bench": list(&WORKLOADS) }));
        return Ok(());
    }
    for (command, rows) in [("train", &systems[..]), ("bench", &WORKLOADS)] {
        for (name, what) in rows {
            lines.say(&format!("{command} {name:<19} {what}"));
        }
    }
    Ok(())
}
