//! The fuzz targets as tests: over the committed corpora, and over random bytes.
//!
//! `fuzz/corpus/TARGET` holds what fuzzing found worth keeping, minimised, and each input that
//! failed once. `PROPTEST_CASES` draws more random inputs.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use kilngrad_testing::fuzz::{TARGETS, Target};
use kilngrad_testing::{Random, caught};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus")).join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn ask(target: Target, what: &str, bytes: &[u8]) {
    let (name, body) = target;
    let asked = caught(|| {
        body(bytes);
        Ok(())
    });
    asked.unwrap_or_else(|error| panic!("{name} on {what}: {error}\nof the bytes {bytes:?}"));
}

#[test]
fn targets_hold_over_their_corpora() {
    for target in TARGETS {
        let inputs = corpus(target.0);
        assert!(inputs.len() >= 10, "{} has {} inputs", target.0, inputs.len());
        for (at, bytes) in inputs.iter().enumerate() {
            ask(target, &format!("input {at}"), bytes);
        }
    }
}

/// Bytes for nothing but noise, and inputs of the corpus with a few bytes changed.
#[test]
fn targets_hold_over_random_inputs() {
    let cases = std::env::var("PROPTEST_CASES").ok();
    let cases = cases.map_or(300, |text| text.parse().unwrap());
    for target in TARGETS {
        let inputs = corpus(target.0);
        let mut random = Random::new(1);
        for case in 0..cases {
            let mut bytes: Vec<u8> = match case % 4 {
                0 => (0..random.below(200)).map(|_| random.byte()).collect(),
                _ => inputs[random.below(inputs.len())].clone(),
            };
            for _ in 0..random.below(4) {
                mutate(&mut bytes, &mut random);
            }
            ask(target, &format!("random input {case}"), &bytes);
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let run = random.below(9).min(bytes.len() - at);
    match random.below(4) {
        0 if at < bytes.len() => bytes[at] = random.byte(),
        1 => bytes.insert(at, random.byte()),
        2 => drop(bytes.drain(at..at + run)),
        _ => {
            let copy = bytes[at..at + run].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
    }
}
