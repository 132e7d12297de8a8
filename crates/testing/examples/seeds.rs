//! Writes inputs for fuzzing to begin with: `cargo run -p kilngrad-testing --example seeds FOLDER`.
//!
//! They are small random programs: as recipes, as text at every stage, and as loops.

use std::path::Path;

use kilngrad_testing::{Case, Compiled, Differentiable, Recipe, Regime, features};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("the folder to write to");
    let folder = Path::new(&folder);
    let write = |target: &str, name: String, bytes: &[u8]| {
        std::fs::create_dir_all(folder.join(target))?;
        std::fs::write(folder.join(target).join(name), bytes)
    };
    for seed in 0..300u64 {
        let kind = (seed % 16) as u8;
        let regime = [Regime::Integers, Regime::Reals, Regime::Wild][seed as usize % 3];
        let recipe = Recipe::sample(regime, seed, 6);
        let mut bytes = vec![kind];
        bytes.extend(recipe.to_bytes());
        write("compile", format!("recipe{seed}"), &bytes)?;
        write("plan", format!("steps{seed}"), &bytes[HEADER..])?;
        let case = match seed % 4 {
            0 => Differentiable::new(&recipe).case,
            _ => Case::new(&recipe),
        };
        let mut stages = Vec::new();
        let mut observe = |stage: &kilngrad_passes::Stage<'_>| {
            stages.push((stage.name, stage.program.to_string()));
        };
        let compiled = Compiled::new(&case.program, 0, &case.bindings, features(), &mut observe);
        let compiled = compiled.expect("programs of recipes compile");
        for (name, text) in stages.iter().filter(|(_, text)| text.len() < 3_000) {
            if matches!(*name, "input" | "differentiate" | "plan") {
                write("text", format!("{name}{seed}.kg"), text.as_bytes())?;
            }
        }
        let loops = compiled.lowered.program.to_string();
        if loops.len() < 4_000 {
            write("loops_text", format!("program{seed}.loops"), loops.as_bytes())?;
        }
    }
    weights(folder)
}

/// Weights for the program of the `load` target.
fn weights(folder: &Path) -> std::io::Result<()> {
    let folder = folder.join("load");
    std::fs::create_dir_all(&folder)?;
    let executable = kilngrad_testing::fuzz::weights();
    executable.save(folder.join("weights.safetensors")).map_err(std::io::Error::other)?;
    Ok(())
}

/// Where the steps of a recipe begin in the bytes of the `compile` target.
const HEADER: usize = 1 + kilngrad_testing::HEADER;
