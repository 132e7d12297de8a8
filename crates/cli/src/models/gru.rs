//! The gated recurrent unit: Cho and others (2014), as PyTorch has it.

use kilngrad::prelude::*;

use crate::models::recurrent::{Size, classifier};
use crate::models::{Common, Declare, Model};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    size: Size,
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let hidden = self.size.hidden;
        let description = format!("digits row by row, GRU {hidden}, dense 10, Adam");
        classifier(common, description, hidden, |net| {
            let gru = Gru::new(net, "gru", 8, hidden);
            move |x| gru.forward(x).1[0]
        })
    }
}
