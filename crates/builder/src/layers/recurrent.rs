//! Recurrent layers: `Rnn`, `Gru` and `Lstm`, as scans over time.
//!
//! Parameters have PyTorch's names, shapes and order of gates, so its weights load as they are:
//! `weight_ih_l0` is `[gates·hidden, inputs]`, `weight_hh_l0` is `[gates·hidden, hidden]`, each with a
//! bias of its own, and `l1` is the layer above. Sequences are `[batch, time, features]`.

use std::panic::Location;

use kilngrad_ir::{Diagnostic, Site};

use crate::builder::Param;
use crate::example::example;
use crate::init::Init;
use crate::operand::IntoTensor;
use crate::ops::Tensors;
use crate::scope::Scope;
use crate::tensor::Tensor;

/// Options of recurrent layers.
#[doc = example!(
    layer.forward(x).0 => array![[[1f32], [3.0], [6.0]]];
    options = RecurrentOptions::new().bias(false).relu().init(Init::Ones);
    layer = Rnn::with(&b.root(), "sum", 1, 1, &options);
    x = e.constant([1, 3, 1], &[1f32, 2.0, 3.0])
)]
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
    #[doc = example!(
        layer.forward(x).0.abs().max(..).lt(1.0) => true;
        layer = Rnn::with(&b.root(), "rnn", 2, 4, &RecurrentOptions::new());
        x = e.ones(F32, (1, 3, 2))
    )]
    pub fn new() -> RecurrentOptions {
        RecurrentOptions::default()
    }

    /// So many layers, each over what the one below gives for every step.
    #[doc = example!(
        layer.forward(x).0 => array![[[1f32], [4.0], [10.0]]];
        options = RecurrentOptions::new().layers(2).bias(false).relu().init(Init::Ones);
        layer = Rnn::with(&b.root(), "sums", 1, 1, &options);
        x = e.constant([1, 3, 1], &[1f32, 2.0, 3.0])
    )]
    #[must_use]
    pub fn layers(self, layers: usize) -> RecurrentOptions {
        RecurrentOptions { layers, ..self }
    }

    /// Whether there are biases.
    #[doc = example!(
        layer.forward(x).0 => array![[[2f32], [6.0]]];
        options = RecurrentOptions::new().bias(true).relu().init(Init::Ones);
        layer = Rnn::with(&b.root(), "sum", 1, 1, &options);
        x = e.constant([1, 2, 1], &[0f32, 2.0])
    )]
    #[must_use]
    pub fn bias(self, bias: bool) -> RecurrentOptions {
        RecurrentOptions { bias, ..self }
    }

    /// `relu` in place of `tanh`, in an [`Rnn`].
    #[doc = example!(
        layer.forward(x).0 => array![[[1f32], [3.0], [6.0]]];
        options = RecurrentOptions::new().bias(false).relu().init(Init::Ones);
        layer = Rnn::with(&b.root(), "sum", 1, 1, &options);
        x = e.constant([1, 3, 1], &[1f32, 2.0, 3.0])
    )]
    #[must_use]
    pub fn relu(self) -> RecurrentOptions {
        RecurrentOptions { relu: true, ..self }
    }

    /// The first value of every parameter.
    #[doc = example!(
        layer.forward(x).0 => array![[[0f32], [0.0]]];
        options = RecurrentOptions::new().init(Init::Zeros);
        layer = Lstm::with(&b.root(), "lstm", 1, 1, &options);
        x = e.constant([1, 2, 1], &[1f32, 2.0])
    )]
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
    #[doc = example!(
        x.rnn_cell(h, &weights) => about array![[0.7616]];
        x = e.constant([1, 2], &[1.0, 2.0]);
        h = e.constant([1, 1], &[-2.0]);
        w = e.ones(F64, (1, 2));
        weights = CellWeights { input: w, recurrent: e.ones(F64, (1, 1)), biases: None }
    )]
    #[track_caller]
    #[must_use]
    pub fn rnn_cell<T>(self, h: Tensor<'b>, weights: &CellWeights<T>) -> Tensor<'b>
    where
        T: IntoTensor<'b> + Copy,
    {
        (weights.of_input(self) + weights.of_state(h)).tanh()
    }

    /// The next state of a gated recurrent unit: see [`Gru`].
    #[doc = example!(
        x.gru_cell(h, &weights) => array![[3.0]];
        x = e.constant([1, 2], &[1.0, 2.0]);
        h = e.constant([1, 1], &[6.0]);
        w = e.zeros(F64, (3, 2));
        weights = CellWeights { input: w, recurrent: e.zeros(F64, (3, 1)), biases: None }
    )]
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
    #[doc = example!(
        x.lstm_cell((h, c), &weights).1 => array![[3.0]];
        x = e.constant([1, 2], &[1.0, 2.0]);
        h = e.zeros(F64, (1, 1));
        c = e.constant([1, 1], &[6.0]);
        w = e.zeros(F64, (4, 2));
        weights = CellWeights { input: w, recurrent: e.zeros(F64, (4, 1)), biases: None }
    )]
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
    relu: bool,
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
            scope.builder().report(Diagnostic::new("recurrent_b1", message).at(site));
        }
        let layers = options.layers.max(1);
        let bound = 1.0 / (hidden as f64).sqrt();
        let init = options.init.clone();
        let init = init.unwrap_or(Init::Uniform { low: -bound, high: bound });
        let rows = gates * hidden;
        let mut cells = Vec::with_capacity(layers);
        for layer in 0..layers {
            let columns = if layer == 0 { inputs } else { hidden };
            let param = |name: &str, columns: usize| {
                scope.param(&format!("{name}_l{layer}"), (rows, columns), init.clone())
            };
            let bias = |name: &str| scope.param(&format!("{name}_l{layer}"), (rows,), init.clone());
            let input = param("weight_ih", columns);
            if input.is_failed() {
                // Every layer is there, so that a state of each is, and one mistake is one diagnostic.
                cells.resize(layers, CellWeights { input, recurrent: input, biases: None });
                break;
            }
            let recurrent = param("weight_hh", hidden);
            let biases = options.bias.then(|| [bias("bias_ih"), bias("bias_hh")]);
            cells.push(CellWeights { input, recurrent, biases });
        }
        Stack { hidden, relu: options.relu, cells }
    }

    /// Zeros `[batch, hidden]`.
    #[track_caller]
    fn zeros<'b>(&self, xs: Tensor<'b>) -> Tensor<'b> {
        match xs.ty() {
            Some(ty) if ty.rank() == 3 => xs.entry().zeros(ty.dtype, (xs.length(0), self.hidden)),
            // What is wrong is said when they are run.
            Some(_) | None => xs.entry().poisoned(),
        }
    }

    /// One layer after the other over sequences; `step` makes a layer's next state and what it gives.
    /// After an error there is `failed` for each state.
    #[track_caller]
    fn run<'b, S: Tensors<'b> + Clone>(
        &self,
        xs: Tensor<'b>,
        states: &[S],
        failed: S,
        step: impl Fn(&Stack, &CellWeights<Param>, S, Tensor<'b>) -> (S, Tensor<'b>),
    ) -> (Tensor<'b>, Vec<S>) {
        let layers = self.cells.len();
        let nothing = |at: Tensor<'b>| (at.entry().poisoned(), vec![failed.clone(); layers]);
        let Some(ty) = xs.ty() else { return nothing(xs) };
        if ty.rank() != 3 {
            let message = format!("expected sequences [batch, time, features], found {ty}");
            return nothing(xs.entry().fail_on("recurrent_b2", message, &[xs]));
        }
        if states.len() != layers {
            let found = states.len();
            let message = format!("expected a state for each layer, {layers}, found {found}");
            return nothing(xs.entry().fail_on("recurrent_b2", message, &[xs]));
        }
        let _attribution = xs.entry().builder.attribute(Location::caller());
        let (mut ys, mut lasts) = (xs.swap_axes(0, 1), Vec::with_capacity(layers));
        for (cell, state) in self.cells.iter().zip(states) {
            let _scope = xs.entry().enter_scope_of(cell.input);
            let (last, stacked) = ys.scan(state.clone(), |state, x| step(self, cell, state, x));
            lasts.push(last);
            ys = stacked;
        }
        (ys.swap_axes(0, 1), lasts)
    }
}

/// A state of an [`Lstm`]: what it gives, and its memory.
type Memory<'b> = (Tensor<'b>, Tensor<'b>);

macro_rules! layers {
    ($(
        $(#[$doc:meta])*
        $layer:ident $gates:literal $state:ident $states:literal
            from |$zeros:ident| $first:expr, by $step:path;
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $layer {
            stack: Stack,
        }

        impl $layer {
            /// Declares one layer at the paths `name.weight_ih_l0` and so on.
            #[doc = example!(
                layer.forward(x).0.sum(..).lt(8.0) => true;
                layer = $layer::new(&b.root(), "layer", 2, 4);
                x = e.ones(F32, (1, 2, 2))
            )]
            #[track_caller]
            pub fn new(scope: &Scope<'_>, name: &str, inputs: usize, hidden: usize) -> $layer {
                $layer::with(scope, name, inputs, hidden, &RecurrentOptions::new())
            }

            /// Declares layers with options.
            #[doc = example!(
                layer.forward(x).0.sum(..) => 0f32;
                options = RecurrentOptions::new().layers(2).init(Init::Zeros);
                layer = $layer::with(&b.root(), "layer", 2, 4, &options);
                x = e.ones(F32, (1, 2, 2))
            )]
            #[track_caller]
            pub fn with(
                scope: &Scope<'_>,
                name: &str,
                inputs: usize,
                hidden: usize,
                options: &RecurrentOptions,
            ) -> $layer {
                $layer { stack: Stack::new(scope, name, [$gates, inputs, hidden], options) }
            }

            /// What the last layer gives for sequences `[batch, time, inputs]` from states of zeros,
            /// `[batch, time, hidden]`, and each layer's last state:
            #[doc = $states]
            #[doc = example!(
                layer.forward(x).0.sum(..) => 0f32;
                layer = $layer::new(&b.root(), "layer", 2, 4);
                x = e.ones(F32, (0, 3, 2))
            )]
            #[track_caller]
            pub fn forward<'b>(&self, xs: Tensor<'b>) -> (Tensor<'b>, Vec<$state<'b>>) {
                let $zeros = self.stack.zeros(xs);
                self.forward_from(xs, &vec![$first; self.stack.cells.len()])
            }

            /// As [`forward`](Self::forward), from a state of each layer.
            #[doc = example!(
                layer.forward_from(xs.slice(1, 2..), &states).0 - ys.slice(1, 2..) => array![[[0f32]]];
                layer = $layer::new(&b.root(), "layer", 1, 1);
                xs = e.constant([1, 3, 1], &[1f32, 2.0, 3.0]);
                states = layer.forward(xs.slice(1, ..2)).1;
                ys = layer.forward(xs).0
            )]
            #[track_caller]
            pub fn forward_from<'b>(
                &self,
                xs: Tensor<'b>,
                states: &[$state<'b>],
            ) -> (Tensor<'b>, Vec<$state<'b>>) {
                let $zeros = xs.entry().poisoned();
                self.stack.run(xs, states, $first, $step)
            }
        }
    )*};
}

layers! {
    /// `h' = tanh(x·w_ihᵀ + b_ih + h·w_hhᵀ + b_hh)`: Elman's recurrent network (1990), or with `relu`.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode, Rnn};
    ///
    /// let b = Builder::new("rnn");
    /// let rnn = Rnn::new(&b.scope("net"), "rnn", 8, 16);
    /// let e = b.entry("run", Mode::Eval);
    /// let (all, last) = rnn.forward(e.input("x", F32, (b.dim("n"), b.dim("time"), 8)));
    /// assert_eq!(all.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,time,16]"));
    /// assert_eq!(last[0].ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16]"));
    /// ```
    Rnn 1 Tensor "`h`, `[batch, hidden]`." from |h| h, by rnn_step;

    /// The gated recurrent unit of Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk and
    /// Bengio (2014), as PyTorch has it: the reset gate acts after the recurrent product.
    ///
    /// The gates of the weights are `r`, `z`, `n`: with `i = x·w_ihᵀ + b_ih` and `g = h·w_hhᵀ + b_hh`,
    /// `r = σ(iᵣ + gᵣ)`, `z = σ(i_z + g_z)`, `n = tanh(iₙ + r·gₙ)` and `h' = (1 − z)·n + z·h`.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Gru, Mode};
    ///
    /// let b = Builder::new("gru");
    /// let gru = Gru::new(&b.scope("net"), "gru", 8, 16);
    /// let e = b.entry("run", Mode::Eval);
    /// let (all, _) = gru.forward(e.input("x", F32, (b.dim("n"), b.dim("time"), 8)));
    /// assert_eq!(all.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,time,16]"));
    /// ```
    Gru 3 Tensor "`h`, `[batch, hidden]`." from |h| h, by gru_step;

    /// Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers,
    /// Schmidhuber and Cummins (2000).
    ///
    /// The gates of the weights are `i`, `f`, `g`, `o`: `c' = σ(f)·c + σ(i)·tanh(g)` and
    /// `h' = σ(o)·tanh(c')`.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Lstm, Mode, RecurrentOptions};
    ///
    /// let b = Builder::new("lstm");
    /// let options = RecurrentOptions::new().layers(2);
    /// let lstm = Lstm::with(&b.scope("net"), "lstm", 8, 16, &options);
    /// let e = b.entry("run", Mode::Eval);
    /// let (_, lasts) = lstm.forward(e.input("x", F32, (b.dim("n"), b.dim("time"), 8)));
    /// let (h, c) = lasts[1];
    /// assert_eq!(h.ty().map(|ty| ty.to_string()).as_deref(), Some("f32[n,16]"));
    /// assert_eq!(c.ty(), h.ty());
    /// ```
    Lstm 4 Memory "`h` and `c`, `[batch, hidden]` each." from |h| (h, h), by lstm_step;
}

fn rnn_step<'b>(
    stack: &Stack,
    cell: &CellWeights<Param>,
    h: Tensor<'b>,
    x: Tensor<'b>,
) -> (Tensor<'b>, Tensor<'b>) {
    let h = match stack.relu {
        true => (cell.of_input(x) + cell.of_state(h)).relu(),
        false => x.rnn_cell(h, cell),
    };
    (h, h)
}

fn gru_step<'b>(
    _: &Stack,
    cell: &CellWeights<Param>,
    h: Tensor<'b>,
    x: Tensor<'b>,
) -> (Tensor<'b>, Tensor<'b>) {
    let h = x.gru_cell(h, cell);
    (h, h)
}

fn lstm_step<'b>(
    _: &Stack,
    cell: &CellWeights<Param>,
    state: Memory<'b>,
    x: Tensor<'b>,
) -> (Memory<'b>, Tensor<'b>) {
    let (h, c) = x.lstm_cell(state, cell);
    ((h, c), h)
}
