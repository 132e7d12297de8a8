//! Recurrent layers: `Rnn`, `Gru` and `Lstm`, as scans over time.
//!
//! Parameters have PyTorch's names, shapes and order of gates, so its weights load as they are:
//! `weight_ih_l0` is `[gates·hidden, inputs]`, `weight_hh_l0` is `[gates·hidden, hidden]`, each with a
//! bias of its own, and `l1` is the layer above. Sequences have time as their first axis.

use std::panic::Location;

use kilngrad_ir::{Diagnostic, Site};

use crate::builder::Param;
use crate::init::Init;
use crate::operand::IntoTensor;
use crate::ops::Tensors;
use crate::scope::Scope;
use crate::tensor::Tensor;

/// Options of recurrent layers.
#[derive(Debug, Clone, PartialEq)]
pub struct RecurrentOptions {
    layers: usize,
    bias: bool,
    relu: bool,
    init: Option<Init>,
}

impl Default for RecurrentOptions {
    fn default() -> RecurrentOptions {
        RecurrentOptions { layers: 1, bias: true, relu: false, init: None }
    }
}

impl RecurrentOptions {
    /// One layer with biases, every parameter uniform in `±1/√hidden`, as PyTorch's.
    pub fn new() -> RecurrentOptions {
        RecurrentOptions::default()
    }

    /// So many layers, each over what the one below stacks.
    #[must_use]
    pub fn layers(self, layers: usize) -> RecurrentOptions {
        RecurrentOptions { layers, ..self }
    }

    /// Whether there are biases.
    #[must_use]
    pub fn bias(self, bias: bool) -> RecurrentOptions {
        RecurrentOptions { bias, ..self }
    }

    /// `relu` in place of `tanh`, in an [`Rnn`].
    #[must_use]
    pub fn relu(self) -> RecurrentOptions {
        RecurrentOptions { relu: true, ..self }
    }

    /// The first value of every parameter.
    #[must_use]
    pub fn init(self, init: Init) -> RecurrentOptions {
        RecurrentOptions { init: Some(init), ..self }
    }
}

/// What a recurrent cell multiplies with and adds: tensors, or parameters.
///
/// ```
/// # use kilngrad_builder::{Builder, CellWeights, F32, Mode};
/// # let b = Builder::new("cell");
/// # let e = b.entry("run", Mode::Eval);
/// # let (n, x) = (b.dim("n"), e.input("x", F32, (b.dim("n"), 3)));
/// # let (w, u) = (e.input("w", F32, (16, 3)), e.input("u", F32, (16, 4)));
/// let weights = CellWeights { input: w, recurrent: u, biases: None };
/// let zeros = e.zeros(F32, (n, 4));
/// let (h, c) = x.lstm_cell((zeros, zeros), &weights);
/// assert_eq!(h.ty(), c.ty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CellWeights<T> {
    /// Of the input, `[gates·hidden, inputs]`.
    pub input: T,
    /// Of the state, `[gates·hidden, hidden]`.
    pub recurrent: T,
    /// Of the input's product and of the state's, `[gates·hidden]` each.
    pub biases: Option<[T; 2]>,
}

impl<'b, T: IntoTensor<'b> + Copy> CellWeights<T> {
    /// `x·wᵀ + b` of the input.
    #[track_caller]
    fn of_input(&self, x: Tensor<'b>) -> Tensor<'b> {
        let product = x.matmul(x.entry().adopt(self.input).t());
        match self.biases {
            Some([bias, _]) => product + x.entry().adopt(bias),
            None => product,
        }
    }

    /// `h·wᵀ + b` of the state.
    #[track_caller]
    fn of_state(&self, h: Tensor<'b>) -> Tensor<'b> {
        let product = h.matmul(h.entry().adopt(self.recurrent).t());
        match self.biases {
            Some([_, bias]) => product + h.entry().adopt(bias),
            None => product,
        }
    }

    /// The length of a state.
    fn hidden(&self, h: Tensor<'b>) -> usize {
        let ty = h.entry().adopt(self.recurrent).ty();
        let length = ty.and_then(|ty| ty.shape.dims().last()?.as_constant());
        length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0)
    }
}

impl<'b> Tensor<'b> {
    /// The next state of a recurrent network: `tanh(x·w_ihᵀ + b_ih + h·w_hhᵀ + b_hh)`.
    #[track_caller]
    #[must_use]
    pub fn rnn_cell<T>(self, h: Tensor<'b>, weights: &CellWeights<T>) -> Tensor<'b>
    where
        T: IntoTensor<'b> + Copy,
    {
        (weights.of_input(self) + weights.of_state(h)).tanh()
    }

    /// The next state of a gated recurrent unit: see [`Gru`].
    #[track_caller]
    #[must_use]
    pub fn gru_cell<T>(self, h: Tensor<'b>, weights: &CellWeights<T>) -> Tensor<'b>
    where
        T: IntoTensor<'b> + Copy,
    {
        let lengths = [weights.hidden(h); 3];
        let [ir, iz, inn] = weights.of_input(self).split(-1, lengths);
        let [gr, gz, gn] = weights.of_state(h).split(-1, lengths);
        let (r, z) = ((ir + gr).sigmoid(), (iz + gz).sigmoid());
        let n = (inn + r * gn).tanh();
        (1.0 - z) * n + z * h
    }

    /// The next state, `h` and `c`, of long short-term memory: see [`Lstm`].
    #[track_caller]
    #[must_use]
    pub fn lstm_cell<T>(
        self,
        (h, c): (Tensor<'b>, Tensor<'b>),
        weights: &CellWeights<T>,
    ) -> (Tensor<'b>, Tensor<'b>)
    where
        T: IntoTensor<'b> + Copy,
    {
        let lengths = [weights.hidden(h); 4];
        let sum = weights.of_input(self) + weights.of_state(h);
        let [i, f, g, o] = sum.split(-1, lengths);
        let c = f.sigmoid() * c + i.sigmoid() * g.tanh();
        (o.sigmoid() * c.tanh(), c)
    }
}

/// The layers of a recurrent network: what all kinds have.
#[derive(Debug, Clone)]
struct Stack {
    hidden: usize,
    cells: Vec<CellWeights<Param>>,
}

impl Stack {
    #[track_caller]
    fn new(
        scope: &Scope<'_>,
        name: &str,
        [gates, inputs, hidden]: [usize; 3],
        options: &RecurrentOptions,
    ) -> Stack {
        let scope = scope.scope(name);
        if options.layers == 0 {
            let message = "expected at least one layer, found 0";
            let site = Site::caller(Location::caller());
            scope.builder().report(Diagnostic::new("loss_b2", message).at(site));
        }
        let bound = 1.0 / (hidden as f64).sqrt();
        let init = options.init.clone();
        let init = init.unwrap_or(Init::Uniform { low: -bound, high: bound });
        let rows = gates * hidden;
        let mut cells = Vec::with_capacity(options.layers);
        for layer in 0..options.layers {
            let columns = if layer == 0 { inputs } else { hidden };
            let param = |name: &str, columns: usize| {
                scope.param(&format!("{name}_l{layer}"), (rows, columns), init.clone())
            };
            let bias = |name: &str| scope.param(&format!("{name}_l{layer}"), (rows,), init.clone());
            let [input, recurrent] = [param("weight_ih", columns), param("weight_hh", hidden)];
            let biases = options.bias.then(|| [bias("bias_ih"), bias("bias_hh")]);
            cells.push(CellWeights { input, recurrent, biases });
            if input.is_failed() {
                break;
            }
        }
        Stack { hidden, cells }
    }

    /// Zeros `[batch, hidden]`.
    #[track_caller]
    fn zeros<'b>(&self, xs: Tensor<'b>) -> Tensor<'b> {
        let dtype = xs.ty().map_or(crate::F32, |ty| ty.dtype);
        xs.entry().zeros(dtype, (xs.length(1), self.hidden))
    }

    /// One layer after the other over a sequence; `step` makes a layer's next state and what it gives.
    #[track_caller]
    fn run<'b, S: Tensors<'b> + Clone>(
        &self,
        xs: Tensor<'b>,
        states: &[S],
        step: impl Fn(&CellWeights<Param>, S, Tensor<'b>) -> (S, Tensor<'b>),
    ) -> (Tensor<'b>, Vec<S>) {
        let _attribution = xs.entry().builder.attribute(Location::caller());
        let (mut ys, mut lasts) = (xs, Vec::with_capacity(states.len()));
        for (cell, state) in self.cells.iter().zip(states) {
            let _scope = xs.entry().enter_scope_of(cell.input);
            let (last, stacked) = ys.scan(state.clone(), |state, x| step(cell, state, x));
            lasts.push(last);
            ys = stacked;
        }
        (ys, lasts)
    }
}

/// `h' = tanh(x·w_ihᵀ + b_ih + h·w_hhᵀ + b_hh)`: Elman's recurrent network, or with `relu`.
///
/// ```
/// use kilngrad_builder::{Builder, F32, Mode, Rnn};
///
/// let b = Builder::new("rnn");
/// let rnn = Rnn::new(&b.scope("net"), "rnn", 8, 16);
/// let e = b.entry("run", Mode::Eval);
/// let (all, last) = rnn.forward(e.input("x", F32, (b.dim("time"), b.dim("n"), 8)));
/// assert_eq!(all.ty().unwrap().to_string(), "f32[time,n,16]");
/// assert_eq!(last[0].ty().unwrap().to_string(), "f32[n,16]");
/// ```
#[derive(Debug, Clone)]
pub struct Rnn {
    stack: Stack,
    relu: bool,
}

impl Rnn {
    /// Declares one layer of `tanh` at the paths `name.weight_ih_l0` and so on.
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, inputs: usize, hidden: usize) -> Rnn {
        Rnn::with(scope, name, inputs, hidden, &RecurrentOptions::new())
    }

    /// Declares layers with options.
    #[track_caller]
    pub fn with(
        scope: &Scope<'_>,
        name: &str,
        inputs: usize,
        hidden: usize,
        options: &RecurrentOptions,
    ) -> Rnn {
        let stack = Stack::new(scope, name, [1, inputs, hidden], options);
        Rnn { stack, relu: options.relu }
    }

    /// What the last layer gives for a sequence `[time, batch, inputs]` from states of zeros, and
    /// each layer's last state.
    #[track_caller]
    pub fn forward<'b>(&self, xs: Tensor<'b>) -> (Tensor<'b>, Vec<Tensor<'b>>) {
        let zeros = self.stack.zeros(xs);
        self.forward_from(xs, &vec![zeros; self.stack.cells.len()])
    }

    /// As [`forward`](Self::forward), from each layer's state `[batch, hidden]`.
    #[track_caller]
    pub fn forward_from<'b>(
        &self,
        xs: Tensor<'b>,
        states: &[Tensor<'b>],
    ) -> (Tensor<'b>, Vec<Tensor<'b>>) {
        self.stack.run(xs, states, |cell, h, x| {
            let h = match self.relu {
                true => (cell.of_input(x) + cell.of_state(h)).relu(),
                false => x.rnn_cell(h, cell),
            };
            (h, h)
        })
    }
}

/// The gated recurrent unit of Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk and Bengio
/// (2014), as PyTorch has it: the reset gate acts after the recurrent product.
///
/// The gates of the weights are `r`, `z`, `n`: with `i = x·w_ihᵀ + b_ih` and `g = h·w_hhᵀ + b_hh`,
/// `r = σ(iᵣ + gᵣ)`, `z = σ(i_z + g_z)`, `n = tanh(iₙ + r·gₙ)` and `h' = (1 − z)·n + z·h`.
#[derive(Debug, Clone)]
pub struct Gru {
    stack: Stack,
}

impl Gru {
    /// Declares one layer at the paths `name.weight_ih_l0` and so on.
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, inputs: usize, hidden: usize) -> Gru {
        Gru::with(scope, name, inputs, hidden, &RecurrentOptions::new())
    }

    /// Declares layers with options.
    #[track_caller]
    pub fn with(
        scope: &Scope<'_>,
        name: &str,
        inputs: usize,
        hidden: usize,
        options: &RecurrentOptions,
    ) -> Gru {
        Gru { stack: Stack::new(scope, name, [3, inputs, hidden], options) }
    }

    /// As [`Rnn::forward`].
    #[track_caller]
    pub fn forward<'b>(&self, xs: Tensor<'b>) -> (Tensor<'b>, Vec<Tensor<'b>>) {
        let zeros = self.stack.zeros(xs);
        self.forward_from(xs, &vec![zeros; self.stack.cells.len()])
    }

    /// As [`Rnn::forward_from`].
    #[track_caller]
    pub fn forward_from<'b>(
        &self,
        xs: Tensor<'b>,
        states: &[Tensor<'b>],
    ) -> (Tensor<'b>, Vec<Tensor<'b>>) {
        self.stack.run(xs, states, |cell, h, x| {
            let h = x.gru_cell(h, cell);
            (h, h)
        })
    }
}

/// Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers,
/// Schmidhuber and Cummins (2000).
///
/// The gates of the weights are `i`, `f`, `g`, `o`: `c' = σ(f)·c + σ(i)·tanh(g)` and
/// `h' = σ(o)·tanh(c')`.
#[derive(Debug, Clone)]
pub struct Lstm {
    stack: Stack,
}

impl Lstm {
    /// Declares one layer at the paths `name.weight_ih_l0` and so on.
    #[track_caller]
    pub fn new(scope: &Scope<'_>, name: &str, inputs: usize, hidden: usize) -> Lstm {
        Lstm::with(scope, name, inputs, hidden, &RecurrentOptions::new())
    }

    /// Declares layers with options.
    #[track_caller]
    pub fn with(
        scope: &Scope<'_>,
        name: &str,
        inputs: usize,
        hidden: usize,
        options: &RecurrentOptions,
    ) -> Lstm {
        Lstm { stack: Stack::new(scope, name, [4, inputs, hidden], options) }
    }

    /// What the last layer gives for a sequence `[time, batch, inputs]` from states of zeros, and
    /// each layer's last state: `h` and `c`.
    #[track_caller]
    pub fn forward<'b>(&self, xs: Tensor<'b>) -> (Tensor<'b>, Vec<(Tensor<'b>, Tensor<'b>)>) {
        let zeros = self.stack.zeros(xs);
        self.forward_from(xs, &vec![(zeros, zeros); self.stack.cells.len()])
    }

    /// As [`forward`](Self::forward), from each layer's `h` and `c`, `[batch, hidden]` each.
    #[track_caller]
    pub fn forward_from<'b>(
        &self,
        xs: Tensor<'b>,
        states: &[(Tensor<'b>, Tensor<'b>)],
    ) -> (Tensor<'b>, Vec<(Tensor<'b>, Tensor<'b>)>) {
        self.stack.run(xs, states, |cell, state, x| {
            let (h, c) = x.lstm_cell(state, cell);
            ((h, c), h)
        })
    }
}
