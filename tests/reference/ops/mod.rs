//! What an operation of the reference, under PyTorch's name, is in the builder: a row each.

mod contract;
mod elementwise;
mod layout;
mod loss;
mod normalise;
mod recurrent;
mod reduce;
mod window;

use kilngrad::prelude::*;
use serde_json::Value as Json;

/// Builds an operation with one output.
type One = for<'b> fn(&Call<'_, 'b>) -> Tensor<'b>;

/// Builds an operation with several outputs.
type Many = for<'b> fn(&Call<'_, 'b>) -> Vec<Tensor<'b>>;

/// How an operation is built.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    One(One),
    Many(Many),
}

impl Function {
    pub(crate) fn build<'b>(self, call: &Call<'_, 'b>) -> Vec<Tensor<'b>> {
        match self {
            Function::One(build) => vec![build(call)],
            Function::Many(build) => build(call),
        }
    }
}

/// How the operation called `op` is built; `None` where it does not exist yet.
pub(crate) fn find(op: &str) -> Option<Function> {
    let families = [
        elementwise::UNARY,
        elementwise::BINARY,
        elementwise::FUNCTIONS,
        reduce::ROWS,
        layout::ROWS,
        contract::ROWS,
        loss::ROWS,
        normalise::ROWS,
        window::ROWS,
    ];
    let one = families.into_iter().flatten().find(|(name, _)| *name == op);
    let one = one.map(|(_, build)| Function::One(*build));
    one.or_else(|| {
        let mut many = layout::SEVERAL.iter().chain(recurrent::SEVERAL);
        let many = many.find(|(name, _)| *name == op);
        many.map(|(_, build)| Function::Many(*build))
    })
}

/// An operation's operands and keyword arguments.
pub(crate) struct Call<'a, 'b> {
    pub(crate) inputs: &'a [(&'a str, Tensor<'b>)],
    pub(crate) attrs: &'a Json,
}

impl<'b> Call<'_, 'b> {
    /// An operand by its position.
    fn x(&self, index: usize) -> Tensor<'b> {
        self.inputs[index].1
    }

    /// An operand by its name, where the call has it.
    fn named(&self, name: &str) -> Option<Tensor<'b>> {
        self.inputs.iter().find(|input| input.0 == name).map(|input| input.1)
    }

    fn number(&self, name: &str) -> f64 {
        self.attrs[name].as_f64().unwrap()
    }

    fn number_or(&self, name: &str, default: f64) -> f64 {
        self.attrs[name].as_f64().unwrap_or(default)
    }

    fn integer(&self, name: &str) -> isize {
        isize::try_from(self.attrs[name].as_i64().unwrap()).unwrap()
    }

    fn flag(&self, name: &str) -> bool {
        self.attrs[name].as_bool().unwrap_or(false)
    }

    fn text(&self, name: &str) -> &str {
        self.attrs[name].as_str().unwrap_or_default()
    }

    /// A list of integers; one integer counts as a list.
    fn integers(&self, name: &str) -> Vec<isize> {
        let Some(list) = self.attrs[name].as_array() else { return vec![self.integer(name)] };
        let integers = list.iter().map(|number| number.as_i64().unwrap());
        integers.map(|number| isize::try_from(number).unwrap()).collect()
    }

    /// A list of axes; all of the operand's where the call does not say.
    fn axes(&self, name: &str) -> Vec<isize> {
        match self.attrs[name].is_null() {
            true => (0..lengths_of(self.x(0)).len() as isize).collect(),
            false => self.integers(name),
        }
    }

    fn lengths(&self, name: &str) -> Vec<usize> {
        self.integers(name).into_iter().map(|number| usize::try_from(number).unwrap()).collect()
    }
}

/// The lengths of a tensor's axes.
fn lengths_of(tensor: Tensor<'_>) -> Vec<usize> {
    tensor.ty().unwrap().shape.as_constant().unwrap()
}
