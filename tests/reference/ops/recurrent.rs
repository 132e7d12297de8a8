//! Recurrent networks over sequences, from states of zeros.

use super::{Call, Many};
use kilngrad::prelude::*;

/// Several outputs: what the last layer gives, and each layer's last state.
pub(super) const SEVERAL: &[(&str, Many)] = &[
    ("rnn_tanh", |call| layers(call, |x, [h, c], w| [x.rnn_cell(h, w), c], 1)),
    ("gru", |call| layers(call, |x, [h, c], w| [x.gru_cell(h, w), c], 1)),
    ("lstm", |call| layers(call, |x, [h, c], w| x.lstm_cell((h, c), w).into(), 2)),
];

/// Makes the next state of an input and a state.
type Cell = for<'b> fn(Tensor<'b>, [Tensor<'b>; 2], &CellWeights<Tensor<'b>>) -> [Tensor<'b>; 2];

fn layers<'b>(call: &Call<'_, 'b>, cell: Cell, states: usize) -> Vec<Tensor<'b>> {
    let input = |name: &str| call.inputs.iter().find(|(key, _)| *key == name).unwrap().1;
    let mut xs = input("x");
    let e = xs.entry();
    let hidden = call.attrs["hidden_size"].as_u64().unwrap() as usize;
    let mut lasts = Vec::new();
    for layer in 0..call.attrs["num_layers"].as_u64().unwrap() {
        let of = |name: &str| input(&format!("{name}_l{layer}"));
        let weights = CellWeights {
            input: of("weight_ih"),
            recurrent: of("weight_hh"),
            biases: Some([of("bias_ih"), of("bias_hh")]),
        };
        let zeros = e.zeros(xs.ty().unwrap().dtype, (xs.length(1), hidden));
        let (last, all) = xs.scan([zeros, zeros], |state, x| {
            let state = cell(x, state, &weights);
            (state, state[0])
        });
        lasts.push(last);
        xs = all;
    }
    let stacked = (0..states).map(|state| e.stack(lasts.iter().map(|last| last[state]), 0));
    [xs].into_iter().chain(stacked).collect()
}
