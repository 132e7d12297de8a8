//! The house: each crate knows only the rooms under it.

#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate may use, as docs/architecture.md draws it. `kilngrad-testing` may use all.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("kilngrad-ir", &[]),
    ("kilngrad-builder", &["ir"]),
    ("kilngrad-autodiff", &["ir"]),
    ("kilngrad-passes", &["ir"]),
    ("kilngrad-interp", &["ir"]),
    ("kilngrad-loops", &[]),
    ("kilngrad-lower", &["ir", "loops"]),
    ("kilngrad-tiles", &["loops"]),
    ("kilngrad-codegen", &["loops", "tiles"]),
    ("kilngrad-runtime", &["ir", "codegen"]),
    (
        "kilngrad",
        &[
            "ir", "builder", "autodiff", "passes", "interp", "loops", "lower", "tiles", "codegen",
            "runtime",
        ],
    ),
    ("kilngrad-cli", &["kilngrad"]),
];

/// Normal dependencies among the workspace's crates.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let ours = |name: &str| name == "kilngrad" || name.starts_with("kilngrad-");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package lists them");
            let used = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| ours(name))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().expect("a package has a name").to_owned(), used)
        })
        .collect()
}

#[test]
fn crates_use_only_what_is_under_them() {
    let mut edges = edges();
    assert_eq!(edges.remove("kilngrad-root"), Some(BTreeSet::new()), "the root has no library");
    assert!(edges.remove("kilngrad-testing").is_some());
    let names: BTreeSet<&str> = edges.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known, "each crate of the workspace has a row");
    for (name, allowed) in MAY_USE {
        for used in &edges[name] {
            let short = used.strip_prefix("kilngrad-").unwrap_or(used);
            assert!(allowed.contains(&short), "{name} may not use {used}");
        }
    }
}

#[test]
fn only_tests_use_the_testing_crate() {
    for (name, used) in edges() {
        assert!(!used.contains("kilngrad-testing"), "{name} uses kilngrad-testing");
    }
}

/// Rust is all that it takes to build the library and the command: nothing that they are built from
/// compiles C or looks for a library of the system's.
#[test]
fn no_c_compiler_is_needed() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "kilngrad-cli", "--all-features", "-e", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains("cranelift-codegen") && names.contains("clap"), "{names:?}");
    for tool in ["cc", "cmake", "bindgen", "pkg-config", "nasm-rs"] {
        assert!(!names.contains(tool), "{tool} is among what the command is built from");
    }
}
