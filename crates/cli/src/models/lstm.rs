//! Long short-term memory: Hochreiter and Schmidhuber (1997), with forget gates, in layers.

use kilngrad::prelude::*;

use crate::models::recurrent::{Size, classifier, least};
use crate::models::{Common, Declare, Model};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    size: Size,
    /// Layers, each over what the one below gives for every step.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = least(16))]
    layers: usize,
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let (hidden, layers) = (self.size.hidden, self.layers);
        let description = format!("digits row by row, LSTM {hidden} × {layers}, dense 10, Adam");
        classifier(common, description, hidden, |net| {
            let options = RecurrentOptions::new().layers(layers);
            let lstm = Lstm::with(net, "lstm", 8, hidden, &options);
            move |x| lstm.forward(x).1[layers - 1].0
        })
    }
}
