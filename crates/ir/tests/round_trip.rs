//! Text and programs turn into each other without loss.

#![allow(clippy::unwrap_used)]

use kilngrad_ir::text::{Limits, ParseOptions, PrintOptions, parse, print};
use kilngrad_ir::{Program, Source};

const EVERYTHING: &str = include_str!("everything.kg");

fn read(text: &str) -> Program {
    match parse(text, &ParseOptions::new("test.kg"), &mut |_| None) {
        Ok(program) => program,
        Err(errors) => panic!("{}", errors.render(&Source { file: "test.kg", text })),
    }
}

/// Text that is as the printer writes it comes back letter for letter, and so does the program.
#[test]
fn canonical_text_is_a_fixed_point() {
    let program = read(EVERYTHING);
    let printed = program.to_string();
    assert_eq!(printed, EVERYTHING);
    assert_eq!(read(&printed), program);
    assert_eq!(Program::parse(&printed, &Limits::default()).unwrap(), program);
    assert_eq!(print(&program, &PrintOptions::default()).text, printed);
}
