//! Code memory: never writable and executable at once, and given back.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Mutex;

use common::program_of;
use kilngrad_codegen::{CodegenOptions, Module, compile};
use kilngrad_loops::{Program, parse_kernel};
use kilngrad_tiles::Features;

/// The tests look at the whole process, so one runs at a time.
static PROCESS: Mutex<()> = Mutex::new(());

fn program() -> Program {
    let kernel = parse_kernel(
        "kernel @scale chunks=4 {
           buffer x: f32[1024] read
           buffer y: f32[1024] write
           %0: f32x4 = const 0x40000000
           for i1 in 0..64 {
             %1: f32x4 = load x[256*i0 + 4*i1]
             %2: f32x4 = mul %0, %1
             store y[256*i0 + 4*i1] = %2
           }
         }",
    )
    .unwrap();
    program_of(kernel)
}

fn compiled(program: &Program) -> Module {
    compile(program, &CodegenOptions::new(Features::detect())).unwrap()
}

/// Start and permissions of each mapping.
fn mappings() -> Vec<(usize, String)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapping = |line: &str| {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, _) = range.split_once('-').unwrap();
        let permissions = rest.split_whitespace().next().unwrap();
        (usize::from_str_radix(start, 16).unwrap(), permissions.to_owned())
    };
    maps.lines().map(mapping).collect()
}

/// Kilobytes mapped, and of these resident.
fn kilobytes() -> [usize; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["VmSize:", "VmRSS:"].map(|name| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

#[test]
fn code_is_executable_and_not_writable() {
    let _guard = PROCESS.lock().unwrap();
    let program = program();
    let module = compiled(&program);
    let mut found = 0;
    for (start, permissions) in mappings() {
        assert!(!(permissions.contains('w') && permissions.contains('x')), "{permissions}");
        if module.contains(std::ptr::without_provenance(start)) {
            assert_eq!(permissions, "r-xp");
            found += 1;
        }
    }
    assert_eq!(found, 1, "one mapping a program");
}

#[test]
fn a_thousand_modules_leave_nothing_behind() {
    let _guard = PROCESS.lock().unwrap();
    let program = program();
    let round = || drop(compiled(&program));
    // The allocator settles first.
    (0..200).for_each(|_| round());
    let (maps, before) = (mappings().len(), kilobytes());
    (0..1000).for_each(|_| round());
    let (maps_after, after) = (mappings().len(), kilobytes());
    assert!(maps_after <= maps + 2, "{maps} mappings became {maps_after}");
    // A page a round would be 4,000 kB. Adjacent mappings are one line, so lines do not tell.
    let level = before.iter().zip(&after).all(|(before, after)| *after <= before + 1000);
    assert!(level, "{before:?} kB became {after:?}");
}
