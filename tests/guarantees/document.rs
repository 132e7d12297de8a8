//! Each promise of docs/guarantees.md names a test, and the test is there.

use std::fs;
use std::path::{Path, PathBuf};

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

/// The project's pages: those at the top, in docs and in folders with a page of their own.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for folder in ["", "docs", "data", "examples", "tests/reference"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

/// A heading as links name it: words in lower case joined by hyphens.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.contains(' ')) {
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.with_file_name(path) };
            assert!(file.exists(), "{}: {target} does not exist", page.display());
            found += 1;
            if fragment.is_empty() {
                continue;
            }
            let headings = fs::read_to_string(&file).unwrap();
            let there = headings.lines().filter_map(|line| line.strip_prefix('#'));
            let there = there.map(|line| anchor(line.trim_start_matches('#')));
            assert!(there.into_iter().any(|here| here == fragment), "{}: {target}", page.display());
        }
    }
    assert!(found > 30, "{found} links");
}

/// Every kind of error has a row, and every rule a family in the index.
#[test]
fn every_error_is_in_the_index() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let index = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let source = fs::read_to_string(root.join("crates/ir/src/error.rs")).unwrap();
    let kinds = source.split("pub enum ErrorKind {").nth(1).unwrap().split('}').next().unwrap();
    let kinds = kinds.lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
    let mut count = 0;
    for kind in kinds {
        assert!(index.contains(&format!("| `{kind}` |")), "{kind} is not in the index");
        count += 1;
    }
    assert!(count > 8, "{count} kinds");
    let language = fs::read_to_string(root.join("docs/ir.md")).unwrap();
    let rules = language.split("[`").skip(1).filter_map(|rest| rest.split("`]").next());
    let rules = rules.filter(|rule| rule.ends_with(|c: char| c.is_ascii_digit()));
    let mut count = 0;
    for rule in rules {
        let (family, number) = rule.rsplit_once('_').unwrap();
        let class = number.trim_end_matches(|c: char| c.is_ascii_digit());
        let named = [format!("`{family}_…`"), format!("`{family}_{class}…`")];
        assert!(named.iter().any(|name| index.contains(name)), "{rule} is not in the index");
        count += 1;
    }
    assert!(count > 50, "{count} rules");
}
