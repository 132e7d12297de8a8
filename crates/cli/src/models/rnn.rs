//! Elman's recurrent network (1990): `h' = tanh(w·x + u·h + b)`.

use kilngrad::prelude::*;

use crate::models::recurrent::{Size, classifier};
use crate::models::{Common, Declare, Model};
use crate::output::counted;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    size: Size,
}

impl Declare for Args {
    fn declare(&self, common: &Common) -> Result<Model> {
        let hidden = self.size.hidden;
        let states = counted(hidden, "tanh state");
        let description = format!("digits row by row, {states}, dense 10, Adam");
        classifier(common, description, hidden, |net| {
            let rnn = Rnn::new(net, "rnn", 8, hidden);
            move |x| rnn.forward(x).1[0]
        })
    }
}
