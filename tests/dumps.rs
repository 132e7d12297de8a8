//! The stages of a small program, pinned: what a reader of a dump meets, and what a change to a pass
//! changes. `INSTA_UPDATE=always cargo test --test dumps` writes them anew.

#![allow(missing_docs, clippy::unwrap_used)]

use kilngrad::prelude::*;
use kilngrad::{Features, Stage};

/// Softmax regression with momentum: a contraction, a row reduction and a column reduction,
/// forward and backward, and updates.
fn declare() -> Program {
    let b = Builder::new("pinned");
    let n = b.dim("n");
    let model = Dense::new(&b.scope("model"), "linear", 6, 4);
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 6)), train.input("y", I64, (n,)));
    let loss = model.forward(x).cross_entropy(y);
    train.minimize(loss, b.params("model"), Sgd::new(0.1).momentum(0.9));
    train.output("loss", loss);
    b.finish().unwrap()
}

fn stages() -> Vec<Stage> {
    // The baseline is the same machine model everywhere.
    let options = Options::new().features(Features::baseline()).specialise("n", &[8]);
    declare().compile(&options).unwrap().stages("train").unwrap()
}

#[test]
fn stages_of_a_step() {
    let stages = stages();
    let text = |name: &str| {
        let mut stages = stages.iter().filter(|stage| stage.name == name);
        stages.next_back().unwrap_or_else(|| panic!("no stage {name}")).text.clone()
    };
    let names: Vec<&str> = stages.iter().map(|stage| stage.name).collect();
    insta::assert_snapshot!("names", names.join(" "));
    insta::assert_snapshot!("input", text("input"));
    insta::assert_snapshot!("differentiate", text("differentiate"));
    insta::assert_snapshot!("plan", text("plan"));
    insta::assert_snapshot!("loops", text("loops"));
}

#[test]
fn the_same_program_gives_the_same_dumps() {
    let texts = |stages: Vec<Stage>| -> Vec<String> {
        stages.into_iter().map(|stage| stage.text).collect()
    };
    assert_eq!(texts(stages()), texts(stages()));
}
