//! A transformer that foretells the next character of a text, and writes.

use std::collections::BTreeSet;
use std::path::Path;

use kilngrad::data::Table;
use kilngrad::prelude::*;
use kilngrad::random;
use ndarray::Array2;

use crate::models::model::Show;
use crate::models::transformer::Body;
use crate::models::{Column, Common, Model, Predict};

/// Characters that are trained on at a time, and that are looked back at when writing.
const LENGTH: usize = 64;
const WIDTH: usize = 128;

/// Characters that are written in the end.
const WRITTEN: usize = 400;

/// What chances are sharpened by when writing: their logarithms are divided by it.
const TEMPERATURE: f64 = 0.7;

/// The project's own documentation.
const OWN: [&str; 11] = [
    include_str!("../../../../README.md"),
    include_str!("../../../../docs/guide.md"),
    include_str!("../../../../docs/coming-from.md"),
    include_str!("../../../../docs/ir.md"),
    include_str!("../../../../docs/commands.md"),
    include_str!("../../../../docs/errors.md"),
    include_str!("../../../../docs/guarantees.md"),
    include_str!("../../../../docs/architecture.md"),
    include_str!("../../../../docs/adding-an-operation.md"),
    include_str!("../../../../docs/performance.md"),
    include_str!("../../../../CHANGELOG.md"),
];

/// The characters of a text, each with a number.
#[derive(Debug, Clone)]
struct Alphabet(Vec<char>);

impl Alphabet {
    fn of(text: &str) -> Alphabet {
        Alphabet(text.chars().collect::<BTreeSet<char>>().into_iter().collect())
    }

    /// The number of a character that is in the text.
    fn number(&self, character: char) -> i64 {
        self.0.binary_search(&character).unwrap_or(0) as i64
    }
}

struct Writer {
    embedding: Param,
    body: Body,
    head: Dense,
}

impl Writer {
    fn new(scope: &Scope, alphabet: usize) -> Writer {
        let init = Init::Normal { mean: 0.0, std: 0.5 };
        Writer {
            embedding: scope.param("embedding", (alphabet, WIDTH), init),
            body: Body::new(scope, 2, WIDTH, 4),
            head: Dense::new(scope, "head", WIDTH, alphabet),
        }
    }

    /// Logits of the character after each of `[batch, character]`, seen from there back.
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let embedded = x.entry().read(self.embedding).index_select(0, x).dropout("embedded", 0.1);
        let seen = self.body.forward(embedded, Attention::new().causal(true));
        self.head.forward(seen.dropout("seen", 0.2))
    }
}

/// The model of a file's text, or of the project's own.
pub(super) fn declare(text: Option<&Path>, common: &Common) -> Result<Model> {
    let (text, alphabet, rows) = match text {
        None => prepared(OWN.concat())?,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::caused(ErrorKind::Io, format!("could not read {path:?} as text"), error)
            })?;
            prepared(text).map_err(|error| {
                Error::caused(error.kind(), format!("{path:?} is not to be trained on"), error)
            })?
        }
    };

    let b = common.builder("characters");
    let (n, t) = (b.dim("n"), b.dim("t"));
    let net = Writer::new(&b.scope("net"), alphabet.0.len());
    for (name, mode) in [("train", Mode::Train), ("evaluate", Mode::Eval)] {
        let e = b.entry(name, mode);
        let [x, y] = ["x", "y"].map(|name| e.input(name, I64, (n, t)));
        let loss = net.forward(x).flatten(0, 1).cross_entropy(y.flatten(0, 1));
        e.output("loss", loss);
        match mode {
            Mode::Train => e.minimize(loss, b.params("net"), AdamW::new(2e-3).weight_decay(0.1)),
            Mode::Eval => e.output("bits", loss / std::f64::consts::LN_2),
        }
    }
    let e = b.entry("next", Mode::Eval);
    e.output("logits", net.forward(e.input("x", I64, (n, t))));

    let description = format!(
        "{} characters, {} of them different; 2 causal blocks of {WIDTH}, 4 heads, AdamW",
        kilngrad::units::grouped(text.chars().count()),
        alphabet.0.len()
    );
    let bits = Column::test("test bits a character", "bits");
    let model = Model::new(b.finish()?, description, &rows, bits);
    Ok(Model {
        batch: 16,
        epochs: 10,
        lengths: vec![("t", LENGTH)],
        show: Some(write(alphabet, common.seed)),
        ..model
    })
}

/// A text, its alphabet and its rows.
fn prepared(text: String) -> Result<(String, Alphabet, Table)> {
    let alphabet = Alphabet::of(&text);
    let rows = windows(&text, &alphabet)?;
    Ok((text, alphabet, rows))
}

/// Stretches of the text as `x`, and the same ones a character later as `y`.
fn windows(text: &str, alphabet: &Alphabet) -> Result<Table> {
    let numbers: Vec<i64> = text.chars().map(|character| alphabet.number(character)).collect();
    let rows = numbers.len().saturating_sub(1) / LENGTH;
    // A row to test on and one to train on.
    if rows < 2 {
        let least = 2 * LENGTH + 1;
        let message =
            format!("expected a text of at least {least} characters, found {}", numbers.len());
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let from = |first: usize| {
        Array2::from_shape_fn((rows, LENGTH), |(row, at)| numbers[first + row * LENGTH + at])
    };
    Table::new().with("x", from(0))?.with("y", from(1))
}

/// Writes on from an empty line.
fn write(alphabet: Alphabet, seed: u32) -> Show {
    Box::new(move |predict| {
        let mut written = vec![alphabet.number('\n')];
        let key = random::key(i64::from(seed), random::stream_of("characters"), 0);
        for place in 0..WRITTEN as u64 {
            let luck = random::element(key, place, DType::F64).to_f64();
            written.push(next(predict, &written, alphabet.0.len(), luck)?);
        }
        let text: String = written[1..].iter().map(|number| alphabet.0[*number as usize]).collect();
        let lines = text.lines().map(|line| format!("  {line}"));
        Ok(["it writes:".to_owned()].into_iter().chain(lines).collect())
    })
}

/// The character after those that are written, by the model's chances and by `luck` from 0 to 1.
fn next(predict: &mut Predict<'_>, written: &[i64], alphabet: usize, luck: f64) -> Result<i64> {
    let seen = &written[written.len().saturating_sub(LENGTH)..];
    // One length is compiled once; what comes later changes nothing that is before.
    let mut window = vec![0; LENGTH];
    window[..seen.len()].copy_from_slice(seen);
    let window = Array2::from_shape_fn((1, LENGTH), |(_, at)| window[at]);
    let logits = predict("next", &Table::new().with("x", window)?)?["logits"].to_f64_vec();
    let logits = &logits[(seen.len() - 1) * alphabet..][..alphabet];
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let chances: Vec<f64> =
        logits.iter().map(|logit| ((logit - most) / TEMPERATURE).exp()).collect();
    let mut left = luck * chances.iter().sum::<f64>();
    let found = chances.iter().position(|chance| {
        left -= chance;
        left < 0.0
    });
    Ok(found.unwrap_or(alphabet - 1) as i64)
}
