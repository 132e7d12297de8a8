//! A cell written out, as a paper would: what two gates make of the state and the input.

use kilngrad::prelude::*;

use crate::models::recurrent::{Size, classifier};
use crate::models::{Common, Declare, Model};
use crate::output::counted;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    size: Size,
}

/// With `z = [h, x]`: `g = σ(W₁·z + b₁)`, `c = σ(W₂·z + b₂)`, `h' = tanh(W₃·[g, c] + b₃)`, and the step
/// gives `y = σ(W₄·[h', c] + b₄)`.
struct Gated {
    gate: Dense,
    content: Dense,
    state: Dense,
    output: Dense,
    hidden: usize,
}

impl Gated {
    fn new(scope: &Scope<'_>, inputs: usize, hidden: usize) -> Gated {
        Gated {
            gate: Dense::new(scope, "gate", hidden + inputs, hidden),
            content: Dense::new(scope, "content", hidden + inputs, hidden),
            state: Dense::new(scope, "state", 2 * hidden, hidden),
            output: Dense::new(scope, "output", 2 * hidden, hidden),
            hidden,
        }
    }

    /// What the last step of sequences `[n, t, inputs]` gives, `[n, hidden]`.
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let e = x.entry();
        let zeros = e.zeros(F32, (x.length(0), self.hidden));
        let ((_, y), _) = x.swap_axes(0, 1).scan((zeros, zeros), |(h, _), x| {
            let z = h.entry().cat([h, x], -1);
            let (g, c) = (self.gate.forward(z).sigmoid(), self.content.forward(z).sigmoid());
            let h = self.state.forward(h.entry().cat([g, c], -1)).tanh();
            let y = self.output.forward(h.entry().cat([h, c], -1)).sigmoid();
            ((h, y), ())
        });
        y
    }
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let hidden = self.size.hidden;
        let states = counted(hidden, "gated state");
        let description = format!("digits row by row, {states}, dense 10, Adam");
        let model = classifier(common, description, hidden, |net| {
            let cell = Gated::new(&net.scope("cell"), 8, hidden);
            move |x| cell.forward(x)
        })?;
        // What it gives is between 0 and 1, so that the head has little to learn from at first.
        Ok(Model { epochs: 80, ..model })
    }
}
