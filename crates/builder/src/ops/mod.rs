//! Primitive methods: each appends one operation of [`kilngrad_ir::op`], or the few that its
//! broadcasting and conventions need.

mod axes;
mod branch;
mod contract;
mod custom_gradient;
mod elementwise;
mod gradient;
mod indexed;
mod layout;
mod random;
mod reduce;
mod scan;
mod sort;

pub use axes::IntoAxes;
pub use contract::IntoDotAxes;
pub use layout::IntoRange;
pub use scan::Tensors;

pub(crate) use axes::sealed as axes_sealed;
pub(crate) use reduce::written;
pub(crate) use scan::RegionCheck;
