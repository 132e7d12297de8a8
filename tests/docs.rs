//! Every public item that users meet has an example, and the example asserts something.
//!
//! The sources are read with `syn`, from each crate's root along its modules. An item is public if
//! it says `pub`: the lint `unreachable_pub` sees to it that such an item is exported. Modules,
//! functions, methods, types, traits and macros need an example; fields, variants, constants and
//! implementations of traits do not.
//!
//! Methods that a macro stamps are read too: those in a macro's definition where they stand, and
//! the rows of a macro called `…_methods`, whose definition passes documentation on.

#![allow(missing_docs)]
// What `syn` reads is open-ended, and most of it has no documentation.
#![allow(clippy::wildcard_enum_match_arm)]

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Visibility};

/// The crates whose items are looked at.
const CRATES: [&str; 5] = ["autodiff", "builder", "interp", "ir", "kilngrad"];

#[test]
fn every_public_item_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let mut reader = Reader::default();
    for name in CRATES {
        reader.file(&root.join(name).join("src/lib.rs"), true);
    }
    // A reader that loses its way finds nothing to complain of.
    assert!(reader.found > 500, "expected more than 500 items, found {}", reader.found);
    let missing = reader.missing;
    assert!(missing.is_empty(), "{} items without example:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn an_example_is_code_that_runs_and_asserts() {
    let has_example = |docs: &str| {
        let item: Item = syn::parse_str(&format!("{docs}\npub fn f() {{}}")).expect("an item");
        let mut reader = Reader::default();
        reader.items(vec![item], Path::new("src/lib.rs"));
        assert_eq!(reader.found, 1);
        reader.missing.is_empty()
    };
    assert!(has_example("/// ```\n/// assert!(true);\n/// ```"));
    assert!(has_example("#[doc = example!(x.abs() => 1.0)]"));
    assert!(!has_example("/// Text."));
    assert!(!has_example("/// ```\n/// let x = 1;\n/// ```"));
    assert!(!has_example("/// ```text\n/// assert\n/// ```"));
    assert!(!has_example("/// ```no_run\n/// assert!(true);\n/// ```"));
    assert!(!has_example("/// ```\n/// ```\n/// assert!(true);"));
}

#[test]
fn what_macros_stamp_is_read() {
    let missing = |text: &str| {
        let mut reader = Reader::default();
        let file = syn::parse_file(text).expect("a file");
        reader.items(file.items, Path::new("src/lib.rs"));
        reader.missing
    };
    let stamped =
        "macro_rules! stamp { ($m:ident) => { impl X { /// Text.\n pub fn $m(self) {} } } }";
    assert_eq!(missing(stamped), ["src/lib.rs:2: method of macro stamp"]);
    let passed_on = "macro_rules! x_methods { ($(#[$d:meta])* $m:ident) => { impl X { \
                     $(#[$d])* #[inline] pub fn $m(self) {} } } }";
    assert!(missing(passed_on).is_empty());
    let rows = "x_methods! {\n/// Text.\nabs Abs;\n/// ```\n/// assert!(true);\n/// ```\nsign Sign;\nsum, sums: Sum;\n}";
    let lacking = [(3, "abs"), (8, "sum"), (8, "sums")];
    assert_eq!(missing(rows), lacking.map(|(line, row)| format!("src/lib.rs:{line}: row {row}")));
}

/// Reads items and notes which lack an example.
#[derive(Default)]
struct Reader {
    found: usize,
    missing: Vec<String>,
}

impl Reader {
    /// Reads a file; `public` says whether it is a public module's.
    fn file(&mut self, path: &Path, public: bool) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        if public {
            self.note(&file.attrs, path, 1, "module");
        }
        self.items(file.items, path);
    }

    fn items(&mut self, items: Vec<Item>, path: &Path) {
        for item in items {
            self.item(item, path);
        }
    }

    fn item(&mut self, item: Item, path: &Path) {
        let line = item.span().start().line;
        match item {
            Item::Fn(item) => self.public(&item.vis, &item.attrs, path, &item.sig.ident, line),
            Item::Struct(item) => self.public(&item.vis, &item.attrs, path, &item.ident, line),
            Item::Enum(item) => self.public(&item.vis, &item.attrs, path, &item.ident, line),
            Item::Type(item) => self.public(&item.vis, &item.attrs, path, &item.ident, line),
            Item::Trait(item) => {
                self.public(&item.vis, &item.attrs, path, &item.ident, line);
                for method in item.items.iter().filter(|_| is_public(&item.vis)) {
                    if let TraitItem::Fn(method) = method {
                        let what = format!("{}::{}", item.ident, method.sig.ident);
                        self.note(&method.attrs, path, method.span().start().line, &what);
                    }
                }
            }
            Item::Impl(item) if item.trait_.is_none() => {
                for method in item.items {
                    if let ImplItem::Fn(method) = method {
                        let line = method.span().start().line;
                        self.public(&method.vis, &method.attrs, path, &method.sig.ident, line);
                    }
                }
            }
            Item::Macro(item) => match item.ident {
                Some(name) => self.definition(item.mac.tokens, path, &name.to_string()),
                None if item.mac.path.segments.iter().any(|s| is_stamp(&s.ident.to_string())) => {
                    self.rows(item.mac.tokens, path);
                }
                None => {}
            },
            Item::Mod(item) if !is_test(&item.attrs) => {
                match (is_public(&item.vis), item.content) {
                    (true, Some((_, items))) => {
                        self.note(&item.attrs, path, line, &item.ident.to_string());
                        self.items(items, path);
                    }
                    // A private module within a file has what even the crate is not to name.
                    (false, Some(_)) => {}
                    (public, None) => self.file(&module(path, &item.ident.to_string()), public),
                }
            }
            _ => {}
        }
    }

    fn public(
        &mut self,
        visibility: &Visibility,
        attributes: &[Attribute],
        path: &Path,
        name: &dyn ToString,
        line: usize,
    ) {
        if is_public(visibility) {
            self.note(attributes, path, line, &name.to_string());
        }
    }

    fn note(&mut self, attributes: &[Attribute], path: &Path, line: usize, what: &str) {
        let docs: Vec<Doc> = attributes.iter().filter_map(Doc::of).collect();
        self.note_docs(&docs, path, line, what);
    }

    fn note_docs(&mut self, docs: &[Doc], path: &Path, line: usize, what: &str) {
        self.found += 1;
        if !is_example(docs) {
            let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
            self.missing.push(format!("{}:{line}: {what}", path.display()));
        }
    }

    /// Public functions in the body of a macro. One that is given documentation by `$(#[$doc])*` is
    /// looked at where the macro is used.
    fn definition(&mut self, tokens: TokenStream, path: &Path, name: &str) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let (mut docs, mut passed_on) = (Vec::new(), false);
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    docs.extend(Doc::of_tokens(group.stream()));
                }
                TokenTree::Group(group) if is_repeated_attribute(&tokens, index) => {
                    passed_on |= group.stream().to_string().starts_with('#');
                }
                TokenTree::Group(group) => {
                    self.definition(group.stream(), path, name);
                    (docs, passed_on) = (Vec::new(), false);
                }
                TokenTree::Ident(ident) if ident == "fn" && follows_pub(&tokens, index) => {
                    if !passed_on {
                        let what = format!("method of macro {name}");
                        self.note_docs(&docs, path, ident.span().start().line, &what);
                    }
                    (docs, passed_on) = (Vec::new(), false);
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Rows of a macro that stamps methods. A method's name, after its documentation, begins a row
    /// or stands after a comma.
    fn rows(&mut self, tokens: TokenStream, path: &Path) {
        let (mut docs, mut name_is_next) = (Vec::new(), true);
        for token in tokens {
            match token {
                TokenTree::Group(group) => docs.extend(Doc::of_tokens(group.stream())),
                TokenTree::Ident(name) if name_is_next => {
                    let line = name.span().start().line;
                    self.note_docs(&docs, path, line, &format!("row {name}"));
                    (docs, name_is_next) = (Vec::new(), false);
                }
                TokenTree::Punct(punct) => name_is_next |= matches!(punct.as_char(), ',' | ';'),
                TokenTree::Ident(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

/// A piece of documentation.
enum Doc {
    Text(String),
    /// What a macro writes, and how it is called.
    Macro {
        name: String,
        tokens: String,
    },
}

impl Doc {
    fn of(attribute: &Attribute) -> Option<Doc> {
        match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(Doc::Text(text.value())),
                    _ => None,
                },
                Expr::Macro(call) => {
                    let name = call.mac.path.segments.last()?.ident.to_string();
                    Some(Doc::Macro { name, tokens: call.mac.tokens.to_string() })
                }
                _ => None,
            },
            Meta::NameValue(_) | Meta::Path(_) | Meta::List(_) => None,
        }
    }

    /// Of what is between the brackets of an attribute.
    fn of_tokens(tokens: TokenStream) -> Option<Doc> {
        Doc::of(&Attribute {
            pound_token: Default::default(),
            style: syn::AttrStyle::Outer,
            bracket_token: Default::default(),
            meta: syn::parse2(tokens).ok()?,
        })
    }
}

/// Whether a block of code that is run, and asserts something, is among the documentation.
fn is_example(docs: &[Doc]) -> bool {
    let mut text = String::new();
    for doc in docs {
        match doc {
            Doc::Text(line) => text.push_str(&format!("{line}\n")),
            Doc::Macro { name, .. } if name.ends_with("example") => return true,
            Doc::Macro { tokens, .. } if tokens.contains("```") => {
                return tokens.contains("assert");
            }
            Doc::Macro { .. } => {}
        }
    }
    let (mut inside, mut runs) = (false, false);
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("```") {
            Some(kind) if !inside => (inside, runs) = (true, matches!(kind, "" | "should_panic")),
            Some(_) => inside = false,
            None if inside && runs && line.contains("assert") => return true,
            None => {}
        }
    }
    false
}

/// The file of a module that is declared in the file at `path`.
fn module(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().expect("a source file has a name");
    let folder = match stem.to_str() {
        Some("lib" | "mod") => path.with_file_name(""),
        _ => path.with_extension(""),
    };
    let beside = folder.join(name).with_extension("rs");
    if beside.exists() { beside } else { folder.join(name).join("mod.rs") }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(_) | Meta::NameValue(_) => false,
    })
}

fn is_stamp(name: &str) -> bool {
    name.ends_with("_methods")
}

/// Whether the group at `index` is that of `$( … )*`.
fn is_repeated_attribute(tokens: &[TokenTree], index: usize) -> bool {
    let punct = |at: Option<&TokenTree>, c: char| matches!(at, Some(TokenTree::Punct(punct)) if punct.as_char() == c);
    index > 0 && punct(tokens.get(index - 1), '$') && punct(tokens.get(index + 1), '*')
}

/// Whether `pub`, or `pub const` and the like, is before the `fn` at `index`.
fn follows_pub(tokens: &[TokenTree], index: usize) -> bool {
    let before = tokens[..index].iter().rev();
    let mut words = before.take_while(|token| matches!(token, TokenTree::Ident(_)));
    words.any(|token| matches!(token, TokenTree::Ident(word) if word == "pub"))
}
