//! What is wrong with what was built: every diagnostic, each at the user's line.
//!
//! Besides the type rules of [`kilngrad_ir::infer`], under their own labels, the builder checks
//! these before a node exists, in the user's terms:
//!
//! - `axis_b1`, `axis_b2`: an axis exists; no axis is named twice.
//! - `broadcast_b1`: shapes broadcast as NumPy's do.
//! - `cast_b1`: the float dtype of a program is a float dtype.
//! - `custom_gradient_b1` to `custom_gradient_b3`: a function with a derivative of its own uses its
//!   inputs alone; the derivatives have the inputs' types; what belongs to an entry is not within
//!   the way back.
//! - `dtype_b1`: operands have one dtype; nothing is promoted in silence.
//! - `dtype_b2`: a bare number is one that the tensor's dtype holds.
//! - `dtype_b3`: a function of real numbers is applied to floats.
//! - `einsum_b1`, `einsum_b2`: an equation names the axes of its operands; those of one name have
//!   one length.
//! - `entry_b1`: tensors meet only tensors of their own entry and builder.
//! - `entry_b2` to `entry_b5`: names of entries, inputs and outputs are words where the text form
//!   asks for words, and unique.
//! - `init_b1`: an initialiser fits its state.
//! - `length_b1`, `length_b2`: lengths belong to this builder and fit 64 bits.
//! - `loss_b1`, `loss_b2`: a target fits its prediction; an option is in its range.
//! - `matmul_b1`, `matmul_b2`: ranks and inner lengths of a product agree.
//! - `optimizer_b1` to `optimizer_b3`: groups of parameters are disjoint or equal; gradients
//!   belong to parameters, of which there is at least one, each once; an option is in its range.
//! - `param_b1` to `param_b4`: parameters belong to this builder, paths are unique, types are
//!   free of symbols, a prefix names at least one parameter.
//! - `recurrent_b1`, `recurrent_b2`: there is at least one layer; sequences have a batch, time and
//!   features, and each layer a state.
//! - `reshape_b1`, `shape_b1`: element counts agree; an operand has the rank that is needed.
//! - `scan_b1` to `scan_b3`: what is scanned has a first axis, of one length; what goes around keeps its
//!   type; what belongs to an entry is not within the body.
//! - `size_b1`: a tensor without symbols fits memory.
//! - `slice_b1`: an index lies in its axis.
//! - `cond_b1`, `cond_b2`, `while_b1` to `while_b3`: what goes around keeps its type; what belongs to an
//!   entry is not within a region; a `bool` scalar decides.
//! - `update_b1`, `update_b2`: no update is lost to a later one that did not read it; an update has
//!   the state's type.

use std::fmt;

use kilngrad_ir::Diagnostic;

/// Everything that is wrong with a program, in the order in which it was found.
///
/// A call that fails silences what follows from it, so each diagnostic is a cause and none a
/// consequence of another.
///
/// ```
/// use kilngrad_builder::{Builder, F32, Mode};
///
/// let b = Builder::new("mistake");
/// let e = b.entry("run", Mode::Eval);
/// e.output("y", e.zeros(F32, (3,)) + e.zeros(F32, (4,)));
/// let errors = b.finish().expect_err("the shapes do not broadcast");
/// assert!(errors.to_string().contains("expected shapes that broadcast, found f32[3] and f32[4]"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildErrors {
    diagnostics: Vec<Diagnostic>,
}

impl BuildErrors {
    pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> BuildErrors {
        BuildErrors { diagnostics }
    }

    /// The diagnostics; at least one.
    ///
    /// ```
    /// use kilngrad_builder::{Builder, F32, Mode};
    ///
    /// let b = Builder::new("mistake");
    /// b.entry("run", Mode::Eval).zeros(F32, (3,)).index(0, 3);
    /// let errors = b.finish().expect_err("there is no index 3");
    /// assert_eq!(errors.diagnostics()[0].rule, "slice_b1");
    /// ```
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// Every diagnostic, a blank line between two.
impl fmt::Display for BuildErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildErrors {}

/// So that `?` returns the diagnostics; they are the error's source, and below its headline.
impl From<BuildErrors> for kilngrad_ir::Error {
    fn from(errors: BuildErrors) -> kilngrad_ir::Error {
        let message = match errors.diagnostics.len() {
            1 => "the program is declared wrongly".to_owned(),
            count => format!("the program is declared wrongly in {count} places"),
        };
        kilngrad_ir::Error::caused(kilngrad_ir::ErrorKind::Build, message, errors)
    }
}
