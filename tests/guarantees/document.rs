//! Each promise of docs/guarantees.md names a test, and the test is there.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_names_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let rows =
        document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| What"));
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, tests] = cells[..] else { panic!("expected a promise and its tests: {row}") };
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "a promise without a test: {row}");
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap_or((test, ""));
            let source = fs::read_to_string(root.join(file));
            let source = source.unwrap_or_else(|error| panic!("{test}: {error}"));
            let defined = source.contains(&format!("fn {name}("));
            assert!(name.is_empty() || defined, "{file} has no {name}");
            assert!(source.contains("#[test]") || source.contains("proptest"), "{file}");
            named += 1;
        }
    }
    assert!(named > 30, "{named} tests are named");
}

#[test]
fn the_oldest_rust_is_stated_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = env!("CARGO_PKG_RUST_VERSION");
    for (file, words) in [
        ("README.md", format!("With Rust {version} ")),
        ("docs/guarantees.md", format!("builds the project is {version},")),
    ] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(&words), "expected {words:?} in {file}");
    }
}
