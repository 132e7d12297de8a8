//! A generative adversarial network, after Goodfellow and others (2014): a generator makes digits of
//! normal numbers, and a discriminator tells them from written ones.

use std::path::PathBuf;

use kilngrad::prelude::*;

use crate::models::{Column, Common, Declare, Model, Part, pictures};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Numbers that an image is made of.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = pictures::code())]
    code: usize,
    /// The picture of samples, drawn anew as training goes.
    #[arg(long, value_name = "FILE.png", default_value = "gan.png")]
    samples: PathBuf,
}

/// A network that takes rows to rows.
pub(super) trait Network {
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b>;
}

struct Dense2 {
    hidden: Dense,
    out: Dense,
}

impl Dense2 {
    const HIDDEN: usize = 256;

    fn new(scope: &Scope, inputs: usize, outputs: usize) -> Dense2 {
        Dense2 {
            hidden: Dense::new(scope, "hidden", inputs, Dense2::HIDDEN),
            out: Dense::new(scope, "out", Dense2::HIDDEN, outputs),
        }
    }
}

impl Network for Dense2 {
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        self.out.forward(self.hidden.forward(x).leaky_relu(0.2))
    }
}

/// Two networks against each other, and the length of what the generator starts from.
pub(super) struct Game<G, D> {
    pub(super) generator: G,
    pub(super) discriminator: D,
    pub(super) code: usize,
    pub(super) rate: f64,
}

impl<G: Network, D: Network> Game<G, D> {
    /// Both steps in one entry: the generator, whose parameters are under `g`, meets the
    /// discriminator, under `d`, that has just stepped.
    pub(super) fn declare(&self, b: Builder) -> Result<Program> {
        let n = b.dim("n");
        let adam = || Adam::new(self.rate).betas(0.5, 0.999);
        let e = b.entry("train", Mode::Train);
        let x = e.input("x", F32, (n, 64));
        let fake = self.generator.forward(e.normal("z", (n, self.code))).sigmoid();
        let told = self.discriminator.forward(x).bce_with_logits(0.9)
            + self.discriminator.forward(fake.stop_gradient()).bce_with_logits(0.0);
        e.minimize(told, b.params("d"), adam());
        let fooled = self.discriminator.forward(fake).bce_with_logits(1.0);
        e.minimize(fooled, b.params("g"), adam());
        e.output("discriminator", told);
        e.output("generator", fooled);

        let e = b.entry("evaluate", Mode::Eval);
        let (x, z) = (e.input("x", F32, (n, 64)), e.input("z", F32, (n, self.code)));
        let real = self.discriminator.forward(x).gt(0.0).cast(F32).mean(..);
        let fake = self.generator.forward(z).sigmoid();
        let found = self.discriminator.forward(fake).le(0.0).cast(F32).mean(..);
        e.output("told apart", (real + found) * 0.5);

        let e = b.entry("sample", Mode::Eval);
        e.output("images", self.generator.forward(e.input("z", F32, (n, self.code))).sigmoid());
        Ok(b.finish()?)
    }
}

/// What is trained and shown of a program that [`Game::declare`] made.
pub(super) fn model(
    program: Program,
    description: String,
    common: &Common,
    (samples, code): (&std::path::Path, usize),
) -> Result<Model> {
    let apart = Column { percent: true, ..Column::test("told apart", "told apart") };
    let model = Model::new(program, description, &common.digits()?, apart);
    let z = pictures::codes(pictures::normal("test", (model.test.rows(), code)), common.float())?;
    let test = model.test.with("z", z.column("z")?.clone())?;
    let loss = |title| Column { title, part: Part::Training, metric: title, percent: false };
    Ok(Model {
        test,
        batch: 64,
        columns: vec![loss("discriminator"), loss("generator"), apart],
        show: Some(pictures::samples(samples, code, common.float())?),
        show_often: true,
        ..model
    })
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let b = common.builder("gan");
        let game = Game {
            generator: Dense2::new(&b.scope("g"), self.code, 64),
            discriminator: Dense2::new(&b.scope("d"), 64, 1),
            code: self.code,
            rate: 1e-3,
        };
        let description = format!(
            "generator {}-{hidden}-64 against discriminator 64-{hidden}-1, Adam",
            self.code,
            hidden = Dense2::HIDDEN
        );
        let model = model(game.declare(b)?, description, common, (&self.samples, self.code))?;
        Ok(Model { epochs: 400, ..model })
    }
}
