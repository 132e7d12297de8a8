//! The machine code of small loops, on processors with AVX2: what an iteration is made of.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

mod common;

use common::program_of;
use kilngrad_codegen::{CodegenOptions, compile};
use kilngrad_loops::parse_kernel;
use kilngrad_tiles::Features;

/// The instructions of the innermost loop: the longest run of lines that ends in a conditional
/// jump and begins at a label.
fn innermost_loop(kernel: &str) -> Vec<String> {
    let options = CodegenOptions { keep_text: true, ..CodegenOptions::new(Features::detect()) };
    let module = compile(&program_of(parse_kernel(kernel).unwrap()), &options).unwrap();
    let text = &module.texts()[0].disassembly;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let end = lines.iter().position(|line| line.starts_with('j') && line.contains(';')).unwrap();
    let start = lines[..end].iter().rposition(|line| line.starts_with("block")).unwrap();
    lines[start + 1..end].iter().map(|line| (*line).to_owned()).collect()
}

fn opcodes(kernel: &str) -> Vec<String> {
    let opcode = |line: String| line.split_whitespace().next().unwrap().to_owned();
    innermost_loop(kernel).into_iter().map(opcode).collect()
}

#[test]
fn a_map_adds_once_an_iteration() {
    if !Features::detect().avx2 {
        return;
    }
    let found = opcodes(
        "kernel @map chunks=8 {
           buffer x: f32[1024] read
           buffer y: f32[1024] read
           buffer z: f32[1024] write
           %0: f32x4 = const 0x40000000
           for i1 in 0..32 {
             %1: f32x4 = load x[128*i0 + 4*i1]
             %2: f32x4 = load y[128*i0 + 4*i1]
             %3: f32x4 = mul %0, %1
             %4: f32x4 = add %3, %2
             store z[128*i0 + 4*i1] = %4
           }
         }",
    );
    assert_eq!(found, ["vmulps", "vaddps", "vmovups", "leaq", "cmpq"]);
}

#[test]
fn a_sum_carries_its_registers() {
    if !Features::detect().avx2 {
        return;
    }
    let found = opcodes(
        "kernel @sum chunks=1 {
           buffer x: f32[1024] read
           buffer z: f32[8] write
           %0: f32x4 = const 0x0
           %7: f32x4, %8: f32x4 = for i1 in 0..128 carry (%1 = %0, %2 = %0) {
             %3: f32x4 = load x[8*i1]
             %4: f32x4 = load x[8*i1 + 4]
             %5: f32x4 = add %1, %3
             %6: f32x4 = add %2, %4
             next %5, %6
           }
           store z[0] = %7
           store z[4] = %8
         }",
    );
    assert_eq!(found, ["vmovups", "vmovups", "vaddps", "vaddps", "leaq", "cmpq"]);
}

#[test]
fn strides_that_are_multiples_share_a_counter() {
    if !Features::detect().avx2 {
        return;
    }
    let found = innermost_loop(
        "kernel @gather chunks=1 {
           buffer x: f32[256] read
           buffer w: f64[256] read
           buffer z: f64[64] write
           for i1 in 0..64 {
             %0: f32 = load x[4*i1]
             %1: f64 = load w[2*i1]
             %2: f64 = convert %0
             %3: f64 = add %1, %2
             store z[i1] = %3
           }
         }",
    );
    let adds = found.iter().filter(|line| line.starts_with("leaq")).count();
    assert_eq!(adds, 1, "{found:#?}");
}

#[test]
fn minimum_and_maximum_are_one_instruction_each() {
    if !Features::detect().avx2 {
        return;
    }
    let found = opcodes(
        "kernel @clamp chunks=1 {
           buffer x: f32[1024] readwrite
           %0: f32x4 = const 0x40000000
           %1: f32x4 = const 0xc0000000
           for i1 in 0..256 {
             %2: f32x4 = load x[4*i1]
             %3: f32x4 = min_select %0, %2
             %4: f32x4 = max_select %1, %3
             %5: f32x4 = neg %4
             store x[4*i1] = %5
           }
         }",
    );
    assert_eq!(found, ["vmovups", "vminps", "vmaxps", "vxorps", "vmovups", "leaq", "cmpq"]);
}

#[test]
fn code_for_the_least_processor_has_no_avx() {
    let features = Features::detect().intersect(Features::baseline());
    let options = CodegenOptions { keep_text: true, ..CodegenOptions::new(features) };
    let kernel = "kernel @scale chunks=1 {
           buffer x: f32[1024] readwrite
           %0: f32x4 = const 0x40000000
           for i1 in 0..256 {
             %1: f32x4 = load x[4*i1]
             %2: f32x4 = mul %0, %1
             store x[4*i1] = %2
           }
         }";
    let module = compile(&program_of(parse_kernel(kernel).unwrap()), &options).unwrap();
    let text = &module.texts()[0].disassembly;
    assert!(text.contains("mulps"), "{text}");
    assert!(text.lines().all(|line| !line.trim().starts_with('v')), "{text}");
}
