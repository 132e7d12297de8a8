//! A model of a text's characters: a causal transformer of one block that foretells the next one.
//!
//! `cargo run --release --example chars [FILE]` trains on a file, or on this one, and writes on.

#![allow(clippy::print_stdout)]

use kilngrad::prelude::*;
use ndarray::Array2;

const LENGTH: usize = 32;
const WIDTH: usize = 64;
const HEADS: usize = 4;

fn declare(letters: usize) -> Result<Program> {
    let b = Builder::new("chars");
    let (n, t) = (b.dim("n"), b.dim("t"));
    let net = b.scope("net");
    let dense = |name, inputs, outputs| Dense::new(&net, name, inputs, outputs);
    let norm = |name| LayerNorm::new(&net, name, (WIDTH,), 1e-5);
    let table = net.param("table", (letters, WIDTH), Init::Normal { mean: 0.0, std: 0.5 });
    let (norms, qkv, mix) =
        (["n0", "n1", "n2"].map(norm), dense("qkv", WIDTH, 3 * WIDTH), dense("mix", WIDTH, WIDTH));
    let (wide, narrow, head) = (
        dense("wide", WIDTH, 4 * WIDTH),
        dense("narrow", 4 * WIDTH, WIDTH),
        dense("head", WIDTH, letters),
    );

    let logits = |text| {
        let e = Tensor::entry(text);
        let angle = e.arange(F32, t).unsqueeze(-1)
            * (e.arange(F32, WIDTH / 2) * (-9.2 / (WIDTH / 2) as f64)).exp();
        let x = e.read(table).index_select(0, text) + e.cat([angle.sin(), angle.cos()], -1);
        let qkv = qkv.forward(norms[0].forward(x)).reshape((n, t, 3, HEADS, WIDTH / HEADS));
        let qkv = qkv.transpose([2, 0, 3, 1, 4]);
        let past = Attention::new().causal(true); // a character sees those before it
        let mixed = qkv.index(0, 0).attention_with(qkv.index(0, 1), qkv.index(0, 2), past);
        let x = x + mix.forward(mixed.swap_axes(1, 2).reshape((n, t, WIDTH)));
        let x = x + narrow.forward(wide.forward(norms[1].forward(x)).gelu());
        head.forward(norms[2].forward(x))
    };
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", I64, (n, t)), train.input("y", I64, (n, t)));
    let loss = logits(x).flatten(0, 1).cross_entropy(y.flatten(0, 1));
    train.minimize(loss, b.params("net"), AdamW::new(2e-3));
    train.output("loss", loss);
    let next = b.entry("next", Mode::Eval);
    // A draw by the chances of the last one: the greatest of logits with Gumbel's noise.
    let last = logits(next.input("x", I64, (n, t))).index(1, -1) / 0.5;
    let noise = -(-next.uniform("noise", (n, letters)).maximum(1e-7).log()).log();
    next.output("letter", (last + noise).argmax(-1));
    Ok(b.finish()?)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1);
    let text = file.map_or(Ok(include_str!("chars.rs").to_owned()), std::fs::read_to_string)?;
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let text: Vec<i64> =
        text.chars().flat_map(|c| letters.binary_search(&c)).map(|i| i as i64).collect();
    // Rows of a text that begins again and again, each a step later.
    let rows = |first: usize, step: usize| {
        Array2::from_shape_fn((32, LENGTH), |(row, at)| {
            text[(first + step * 7919 + row * 131 + at) % text.len()]
        })
    };
    let mut exe = declare(letters.len())?.compile(&Options::new().seed(1))?;
    for step in 0..1000 {
        let (x, y) = (rows(0, step), rows(1, step));
        let loss: f32 = exe.call("train").feed("x", &x).feed("y", &y).run()?.scalar("loss")?;
        if step % 100 == 99 {
            println!("step {:>4}  {:.3} bits a character", step + 1, loss / std::f32::consts::LN_2);
        }
    }
    let mut written = text[..LENGTH].to_vec();
    for _ in 0..300 {
        let x = Array2::from_shape_vec((1, LENGTH), written[written.len() - LENGTH..].to_vec())?;
        let letter = exe.call("next").feed("x", &x).run()?.view::<i64>("letter")?.sum();
        written.push(letter);
    }
    println!("{}", written.iter().map(|letter| letters[*letter as usize]).collect::<String>());
    Ok(())
}
