//! The systems of `kilngrad train`, a file each, declared as a user would.
//!
//! A system is a struct of its own arguments that [declares](Declare) a [`Model`]: a program, rows, and
//! what to show of a run. To add one: its file, and a row of the table below, which the command's help,
//! `kilngrad models` and completion read.

mod autoencoder;
mod characters;
mod cnn;
mod common;
mod conv_gan;
mod gan;
mod gated_rnn;
mod gru;
mod linear_regression;
mod logistic_regression;
mod lstm;
mod mlp;
mod model;
mod pictures;
mod recurrent;
mod rnn;
mod sequences;
mod standardise;
mod transformer;
mod vae;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use kilngrad::prelude::*;

pub(crate) use common::Common;
pub(crate) use model::{Column, Declare, Model, Part, Predict};

macro_rules! systems {
    ($($(#[doc = $line:literal])+ $name:literal $system:ident $file:ident;)+) => {
        /// What can be trained.
        #[derive(Debug, Clone, Subcommand)]
        pub(crate) enum System {
            $($(#[doc = $line])+ #[command(name = $name)] $system(With<$file::Args>),)+
        }

        impl System {
            /// What declares it, and the arguments that every system takes.
            pub(crate) fn parts(&self) -> (&dyn Declare, &Common) {
                match self {
                    $(System::$system(with) => (&with.own, &with.common),)+
                }
            }

            /// What the command calls it.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(System::$system(_) => $name,)+
                }
            }
        }
    };
}

systems! {
    /// Least squares on the diabetes set, by gradient descent
    "linear-regression" LinearRegression linear_regression;
    /// Breast cancer, benign or malignant, with or without a penalty on weights
    "logistic-regression" LogisticRegression logistic_regression;
    /// A dense network on handwritten digits
    "mlp" Mlp mlp;
    /// Convolution, pool, convolution, pool, dense, on the digits
    "cnn" Cnn cnn;
    /// A recurrent network that reads the digits row by row
    "rnn" Rnn rnn;
    /// The same with a cell of two gates, written out
    "gated-rnn" GatedRnn gated_rnn;
    /// Long short-term memory of two layers that reads the digits row by row
    "lstm" Lstm lstm;
    /// A gated recurrent unit that reads the digits row by row
    "gru" Gru gru;
    /// The digits in sixteen numbers and back, with a picture
    "autoencoder" Autoencoder autoencoder;
    /// A generator of digits against a discriminator, both dense, with a picture
    "gan" Gan gan;
    /// A generator of digits against a discriminator, both of convolutions, with a picture
    "conv-gan" ConvGan conv_gan;
    /// A variational autoencoder of the digits, with pictures of samples and of its plane
    "vae" Vae vae;
    /// The digits as tokens, a row each; with --text the characters of a text, and a sample of them
    "transformer" Transformer transformer;
}

/// The arguments of a system, and those of all.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct With<A: clap::Args> {
    #[command(flatten)]
    own: A,
    #[command(flatten, next_help_heading = "Options of every system")]
    common: Common,
}

/// The systems alone, to be asked about.
#[derive(Debug, Parser)]
struct Systems {
    #[command(subcommand)]
    system: System,
}

impl System {
    /// Names and lines of all.
    pub(crate) fn all() -> Vec<(String, String)> {
        let command = Systems::command();
        let line = |system: &clap::Command| {
            let about = system.get_about().map(ToString::to_string).unwrap_or_default();
            (system.get_name().to_owned(), about)
        };
        command.get_subcommands().map(line).collect()
    }

    /// The system of this name with its defaults, if there is one.
    pub(crate) fn named(name: &str) -> Option<System> {
        let matches = Systems::command().try_get_matches_from(["train", name]).ok()?;
        Systems::from_arg_matches(&matches).ok().map(|found| found.system)
    }

    /// The program and its surroundings.
    pub(crate) fn model(&self) -> Result<Model> {
        let (system, common) = self.parts();
        system.declare(common)
    }
}
