//! Loops, addresses, chunks, scratch, tiles and calls, against the loop evaluator.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    Random, bytes_of_bits, check, check_with, feature_sets, program_of, run_native, try_native,
};
use kilngrad_codegen::{
    CodegenError, CodegenOptions, Host, KernelFn, MAX_BUFFERS, Stopped, compile,
};
use kilngrad_loops::{
    Branch, BufferPlace, Call, EvalError, Gate, Item, KernelId, Memory, Place, Program, Scalar,
    Slot, TileShape, While, bytes_of, parse_kernel, parse_program, run_program, values_of,
};
use kilngrad_tiles::{Features, FloatMode};

/// Parses a kernel and checks it on externals of small numbers.
fn check_kernel(text: &str) {
    let program = program_of(parse_kernel(text).unwrap());
    check(&program, &numbers(&program));
}

/// Memory of small whole numbers, in which every sum is exact.
fn numbers(program: &Program) -> Memory {
    let mut memory = Memory::zeroed(program);
    let mut random = Random(7);
    for buffer in &program.buffers {
        let bits: Vec<u64> = (0..buffer.len)
            .map(|_| {
                let number = random.below(64) as i64 - 32;
                match buffer.scalar {
                    Scalar::F32 => u64::from((number as f32).to_bits()),
                    Scalar::F64 => (number as f64).to_bits(),
                    Scalar::I32 | Scalar::I64 | Scalar::U8 => number as u64,
                }
            })
            .collect();
        let bytes = bytes_of_bits(buffer.scalar, &bits);
        match buffer.place {
            Place::Arena { offset } => {
                memory.arena[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            Place::External { index } => memory.externals[index] = bytes,
            Place::Part { .. } | Place::Turn { .. } => {}
        }
    }
    memory
}

#[test]
fn carries_rotate_and_outlive_the_loop() {
    check_kernel(
        "kernel @fibonacci chunks=1 {
           buffer y: i64[4] write
           %0: i64 = const 0x0
           %1: i64 = const 0x1
           %5: i64, %6: i64 = for i1 in 0..50 carry (%2 = %0, %3 = %1) {
             %4: i64 = add %2, %3
             next %3, %4
           }
           %9: i64, %10: i64 = for i2 in 0..3 carry (%7 = %5, %8 = %6) {
             next %8, %7
           }
           store y[0] = %5
           store y[1] = %6
           store y[2] = %9
           store y[3] = %10
         }",
    );
}

#[test]
fn loops_of_extent_zero_and_one_leave_no_loop() {
    check_kernel(
        "kernel @edges chunks=1 {
           buffer x: f32[8] read
           buffer y: f32[8] readwrite
           %0: f32 = const 0x3f800000
           %3: f32 = for i1 in 0..0 carry (%1 = %0) {
             %2: f32 = load x[100*i1 + 1000]
             store y[9999] = %2
             next %2
           }
           %9: f32 = for i2 in 0..1 carry (%4 = %3) {
             for i3 in 0..4 {
               for i4 in 0..1 {
                 %5: f32 = load x[i3 + 7*i2 + 3*i4 + 2]
                 %6: f32 = add %5, %4
                 store y[i3 + 5*i4] = %6
               }
             }
             %7: f32 = load x[7]
             %8: f32 = mul %7, %4
             next %8
           }
           store y[7] = %9
         }",
    );
}

#[test]
fn strides_negative_large_and_shared() {
    check_kernel(
        "kernel @strides chunks=2 {
           buffer x: f32[1024] read
           buffer w: f64[64] read
           buffer y: f32[1024] write
           buffer z: f64[128] write
           for i1 in 0..8 {
             for i2 in 0..8 {
               for i3 in 0..8 {
                 %0: f32 = load x[1023 - 64*i1 - 8*i2 - i3 - 512*i0]
                 %1: f32 = load x[i1 + 8*i2 + 64*i3]
                 %2: f32 = add %0, %1
                 store y[512*i0 + 64*i1 + 8*i2 + i3] = %2
               }
               %3: f64 = load w[63 - 8*i1 - i2]
               %4: f64 = load w[8*i2 + i1]
               %5: f64 = sub %3, %4
               store z[64*i0 + 8*i1 + i2] = %5
             }
           }
         }",
    );
}

#[test]
fn sums_of_outer_variables_are_used_at_every_depth() {
    check_kernel(
        "kernel @depths chunks=1 {
           buffer x: i32[4096] read
           buffer y: i32[64] write
           buffer t: i32[64] scratch
           %0: i32 = const 0x0
           for i1 in 0..4 {
             %1: i32 = load x[16*i1]
             store t[16*i1] = %1
             %8: i32 = for i2 in 0..4 carry (%2 = %0) {
               %3: i32 = load x[16*i1 + 5*i2]
               %6: i32 = for i3 in 0..4 carry (%4 = %2) {
                 %5: i32 = load x[16*i1 + 5*i2 + 300*i3 + 1]
                 %7: i32 = add %5, %4
                 next %7
               }
               %9: i32 = load x[16*i1]
               %10: i32 = add %9, %6
               %11: i32 = add %10, %3
               store t[16*i1 + i2 + 1] = %11
               next %11
             }
             for i4 in 0..5 {
               %12: i32 = load t[16*i1 + 4 - i4]
               %13: i32 = add %12, %8
               store y[i4 + 12*i1] = %13
             }
           }
         }",
    );
}

#[test]
fn memory_bound_to_two_buffers_is_not_taken_for_constant() {
    // The call binds one memory to a buffer that is read and one that is written, so the second
    // load sees what was stored.
    let kernel = parse_kernel(
        "kernel @in_place chunks=2 {
           buffer x: f32[64] read
           buffer y: f32[64] write
           buffer z: f32[64] write
           for i1 in 0..32 {
             %0: f32 = load x[32*i0 + i1]
             %1: f32 = add %0, %0
             store y[32*i0 + i1] = %1
             %2: f32 = load x[32*i0 + i1]
             store z[32*i0 + i1] = %2
           }
         }",
    )
    .unwrap();
    let mut program = program_of(kernel);
    let place = |buffer: &mut BufferPlace, place| buffer.place = place;
    program.arena_bytes = 256;
    place(&mut program.buffers[0], Place::External { index: 0 });
    place(&mut program.buffers[2], Place::External { index: 1 });
    program.buffers[0].writable = true;
    program.externals = 2;
    // On an external, then in the arena, by two names.
    let on_external = Call { kernel: KernelId(0), args: vec![Slot(0), Slot(0), Slot(2)] };
    for name in ["p", "q"] {
        let mut buffer = program.buffers[0].clone();
        buffer.name = name.into();
        buffer.place = Place::Arena { offset: 0 };
        program.buffers.push(buffer);
    }
    let in_arena = Call { kernel: KernelId(0), args: vec![Slot(3), Slot(4), Slot(2)] };
    program.buffers.swap_remove(1);
    let rename = |slot: &mut Slot| slot.0 = [0, 0, 2, 3, 1][slot.0 as usize];
    let calls = [on_external, in_arena].map(|mut call| {
        call.args.iter_mut().for_each(rename);
        Item::Call(call)
    });
    program.body = calls.into();
    let memory = numbers(&program);
    for only in 0..2 {
        let mut program = program.clone();
        program.body.swap_remove(only);
        check(&program, &memory);
        // And in each list of a block, the other one empty.
        let condition = Slot(program.buffers.len() as u32);
        program.buffers.push(BufferPlace {
            name: "c".into(),
            scalar: Scalar::U8,
            len: 1,
            place: Place::External { index: 2 },
            writable: false,
        });
        program.externals = 3;
        let (body, none) = (program.body.clone(), Vec::new());
        for (holds, block) in [
            (1, Item::Branch(Branch { condition, then: body.clone(), otherwise: none.clone() })),
            (0, Item::Branch(Branch { condition, then: none.clone(), otherwise: body.clone() })),
            (0, Item::While(While { test: body, condition, body: none })),
        ] {
            let mut memory = memory.clone();
            memory.externals.push(vec![holds]);
            check(&Program { body: vec![block], ..program.clone() }, &memory);
        }
    }
}

const TILE: &str = "
    kernel @tile chunks=1 {
      buffer a: SCALAR[4096] read
      buffer b: SCALAR[4096] read
      buffer c: SCALAR[4096] readwrite
      for i1 in 0..2 {
        tile SCALAR SHAPE rows=ROWS cols=COLS depth=DEPTH c[i1 + 3; 64, 1] ASSIGN a[7*i1 + 1; STRIDES] * b[2*i1; 40, 1]
      }
    }";

fn tile_text(shape: TileShape, rows: u8, cols: u8, depth: usize, assign: &str) -> String {
    let fma = if shape.fma { "fma" } else { "unfused" };
    let strides = if depth.is_multiple_of(2) { "30, 1" } else { "1, 30" };
    TILE.replace("SCALAR", shape.scalar.name())
        .replace("SHAPE", &format!("{}x{} {fma}", shape.rows, shape.cols))
        .replace("ROWS", &rows.to_string())
        .replace("COLS", &cols.to_string())
        .replace("DEPTH", &depth.to_string())
        .replace("STRIDES", strides)
        .replace("ASSIGN", assign)
}

#[test]
fn tiles_full_and_at_their_edges() {
    for features in feature_sets() {
        for tile in kilngrad_tiles::available(features) {
            let shape = tile.shape;
            for (rows, cols) in [(shape.rows, shape.cols), (1, 1), (shape.rows - 1, shape.cols - 1)]
            {
                for (depth, assign) in [(0, "="), (1, "+="), (8, "="), (13, "+=")] {
                    let text = tile_text(shape, rows, cols, depth, assign);
                    let program = program_of(parse_kernel(&text).unwrap());
                    // Thirds, so that fused and separate rounding differ.
                    let mut memory = numbers(&program);
                    for external in &mut memory.externals {
                        *external = if shape.scalar == Scalar::F32 {
                            let numbers = values_of::<f32>(external);
                            bytes_of(&numbers.iter().map(|x| x / 3.0).collect::<Vec<_>>())
                        } else {
                            let numbers = values_of::<f64>(external);
                            bytes_of(&numbers.iter().map(|x| x / 3.0).collect::<Vec<_>>())
                        };
                    }
                    check_with(&program, &memory, features);
                }
            }
        }
    }
}

/// Twelve chunks, each of which uses its scratch and reads all of `x`.
const CHUNKED: &str = "
    program @chunked arena=1024 externals=2 {
      buffer x: f32[96] external 0 readonly
      buffer t: f32[96] arena 64
      buffer y: f32[96] external 1
      kernel @partial chunks=12 {
        buffer x: f32[96] read
        buffer y: f32[96] write
        buffer s: f32[8] scratch
        for i1 in 0..8 {
          %0: f32 = load x[8*i0 + i1]
          %1: f32 = load x[95 - 8*i0 - i1]
          %2: f32 = mul %0, %1
          store s[7 - i1] = %2
        }
        for i2 in 0..8 {
          %3: f32 = load s[i2]
          store y[8*i0 + i2] = %3
        }
      }
      call partial(x, t)
      call partial(t, y)
    }";

/// Runs chunks on four threads, each with scratch of its own, the last chunk first.
unsafe extern "C" fn run_on_threads(
    host: *const Host,
    kernel: KernelFn,
    args: *const *mut u8,
    _scratch: *mut u8,
    chunks: usize,
) {
    // SAFETY: the context of this test's host is its counter.
    let runs = unsafe { &*(*host).context.cast::<AtomicUsize>() };
    let next = AtomicUsize::new(0);
    let args = args.expose_provenance();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _mode = FloatMode::enter();
                let mut scratch = vec![0u64; 64];
                let scratch = scratch.as_mut_ptr().cast::<u8>();
                let scratch = scratch.wrapping_add(scratch.align_offset(64));
                loop {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    if chunk >= chunks {
                        break;
                    }
                    runs.fetch_add(1, Ordering::Relaxed);
                    // SAFETY: the arguments are the entry's, each chunk runs once, and this
                    // thread's scratch holds the 32 bytes that the kernel asks for.
                    unsafe {
                        let args = std::ptr::with_exposed_provenance(args);
                        kernel(args, scratch, chunks - 1 - chunk);
                    }
                }
            });
        }
    });
}

#[test]
fn chunks_run_on_any_thread_in_any_order() {
    let program = parse_program(CHUNKED).unwrap();
    let memory = numbers(&program);
    check(&program, &memory);
    let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
    let mut expected = memory.clone();
    run_program(&program, &mut expected).unwrap();
    let runs = AtomicUsize::new(0);
    let context = (&raw const runs).cast::<c_void>();
    let host = Host { run_chunks: run_on_threads, context, ..Host::sequential() };
    assert_eq!(run_native(&module, &program, &memory, &host), expected);
    assert_eq!(runs.into_inner(), 24);
}

#[test]
fn threads_share_a_module() {
    let program = parse_program(CHUNKED).unwrap();
    let memory = numbers(&program);
    let mut expected = memory.clone();
    run_program(&program, &mut expected).unwrap();
    let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let found = run_native(&module, &program, &memory, &Host::sequential());
                    assert_eq!(found, expected);
                }
            });
        }
    });
}

/// `calls` calls that add 1 to one of three numbers in turn.
fn many_calls(calls: usize) -> Program {
    let kernel = parse_kernel(
        "kernel @count chunks=1 {
           buffer x: i64[1] readwrite
           %0: i64 = load x[0]
           %1: i64 = const 0x1
           %2: i64 = add %0, %1
           store x[0] = %2
         }",
    )
    .unwrap();
    let buffer = |place| BufferPlace {
        name: "x".into(),
        scalar: Scalar::I64,
        len: 1,
        place,
        writable: true,
    };
    Program {
        name: "many".into(),
        arena_bytes: 128,
        externals: 1,
        buffers: vec![
            buffer(Place::Arena { offset: 0 }),
            buffer(Place::Arena { offset: 64 }),
            buffer(Place::External { index: 0 }),
        ],
        kernels: vec![kernel],
        body: (0..calls)
            .map(|idx| Item::Call(Call { kernel: KernelId(0), args: vec![Slot(idx as u32 % 3)] }))
            .collect(),
        gate: None,
    }
}

#[test]
fn entries_of_any_length() {
    for calls in [0, 1, 256, 257, 1000] {
        let program = many_calls(calls);
        check(&program, &numbers(&program));
    }
}

/// Indices from data, inside and outside their extents: rows that are read by them, rows that are
/// added to by them, values that are carried through, and extents of 0 and 1.
#[test]
fn picked_iterations() {
    let text = |rows: usize, chunks: usize, columns: usize| {
        format!(
            "kernel @pick chunks={chunks} {{
               buffer index: i64[8] read
               buffer table: f32[{}] read
               buffer out: f32[{}] write
               buffer sums: f32[{}] readwrite
               buffer last: i64[{chunks}] write
               %0: i64 = const 7
               %9: i64 = for i1 in 0..8 carry (%1 = %0) {{
                 %2: i64 = load index[i1]
                 %8: i64 = for i2 at %2 in 0..{rows} carry (%3 = %1) {{
                   for i3 in 0..{columns} {{
                     %4: f32 = load table[{columns}*i0 + {w}*i2 + i3]
                     store out[{columns}*i0 + {w}*i1 + i3] = %4
                     %5: f32 = load sums[{columns}*i0 + {w}*i2 + i3]
                     %6: f32 = add %4, %5
                     store sums[{columns}*i0 + {w}*i2 + i3] = %6
                   }}
                   %7: i64 = index i2
                   %10: i64 = add %3, %7
                   next %10
                 }}
                 next %8
               }}
               store last[i0] = %9
             }}",
            rows * chunks * columns,
            8 * chunks * columns,
            rows * chunks * columns,
            w = chunks * columns,
        )
    };
    for (rows, chunks, columns) in [(5, 1, 1), (5, 3, 4), (1, 2, 3), (0, 2, 3), (4, 1, 0)] {
        let program = program_of(parse_kernel(&text(rows, chunks, columns)).unwrap());
        let mut memory = numbers(&program);
        let indices = [0i64, 3, 3, -1, 4, 5, i64::MIN, i64::MAX];
        memory.externals[0] = bytes_of(&indices);
        check(&program, &memory);
        let mut evaluated = memory.clone();
        run_program(&program, &mut evaluated).unwrap();
        let nearest = |index: i64| index.clamp(0, rows as i64 - 1);
        let picked = if rows == 0 { 0 } else { indices.iter().map(|i| nearest(*i)).sum() };
        assert_eq!(values_of::<i64>(&evaluated.externals[4])[0], 7 + picked);
    }
}

/// What comes after a gate runs only if its conditions hold, and the first that does not is told.
#[test]
fn gates_end_programs() {
    for (calls, after) in [(0, 0), (3, 0), (3, 2), (3, 3), (600, 300)] {
        for conditions in [[1, 1], [0, 1], [1, 0], [0, 0], [255, 2]] {
            let mut program = many_calls(calls);
            let flags = program.buffers.len() as u32;
            let flag = |index| BufferPlace {
                name: format!("flag{index}"),
                scalar: Scalar::U8,
                len: 1,
                place: Place::External { index },
                writable: false,
            };
            program.buffers.extend([flag(1), flag(2)]);
            program.externals = 3;
            let slots = vec![Slot(flags), Slot(flags + 1)];
            program.gate = Some(Gate { after, conditions: slots });
            let mut memory = Memory::zeroed(&program);
            for (external, condition) in memory.externals[1..].iter_mut().zip(conditions) {
                *external = vec![condition];
            }
            let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
            let mut evaluated = memory.clone();
            let meant = kilngrad_loops::run_program(&program, &mut evaluated);
            let (found, ran) = try_native(&module, &program, &memory, &Host::sequential());
            assert_eq!(found, evaluated, "{calls} calls, a gate after {after}, {conditions:?}");
            match conditions.iter().position(|byte| *byte == 0) {
                None => assert_eq!((ran, meant), (Ok(()), Ok(()))),
                Some(condition) => {
                    let meant = meant.unwrap_err();
                    assert!(matches!(meant, EvalError::Gate { condition: at } if at == condition));
                    assert_eq!(ran, Err(Stopped::Gate(condition)));
                }
            }
        }
    }
}

#[test]
fn a_hundred_thousand_calls_compile_on_a_small_stack() {
    let run = || {
        let program = many_calls(100_000);
        let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
        let memory = Memory::zeroed(&program);
        let found = run_native(&module, &program, &memory, &Host::sequential());
        assert_eq!(found.externals[0], 33_333i64.to_ne_bytes());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn what_cannot_run_is_refused() {
    let fma = program_of(
        parse_kernel(
            "kernel @fused chunks=1 {
               buffer y: f32[1] write
               %0: f32 = const 0x3f800000
               %1: f32 = fma %0, %0, %0
               store y[0] = %1
             }",
        )
        .unwrap(),
    );
    let [_, baseline] = feature_sets();
    if cfg!(target_arch = "x86_64") {
        let error = compile(&fma, &CodegenOptions::new(baseline)).unwrap_err();
        assert!(matches!(error, CodegenError::Unsupported { .. }), "{error}");
        let error = compile(&fma, &CodegenOptions::new(Features::default())).unwrap_err();
        let expected = "unsupported: expected ssse3, sse4.1 and sse4.2, found none";
        assert_eq!(error.to_string(), expected);
    }

    let shape = TileShape { scalar: Scalar::F32, rows: 3, cols: 5, fma: false };
    let tile = program_of(parse_kernel(&tile_text(shape, 3, 5, 8, "=")).unwrap());
    let error = compile(&tile, &CodegenOptions::new(baseline)).unwrap_err();
    let expected = "kernel tile: expected a tile that the features allow, found f32 3x5 unfused";
    assert_eq!(error.to_string(), expected);

    let text = "kernel @f chunks=1 { buffer x: f32[8] readwrite apply exp count=8 x[0] }";
    let apply = program_of(parse_kernel(text).unwrap());
    let error = compile(&apply, &CodegenOptions::new(baseline)).unwrap_err();
    let expected = "kernel f: expected a function that the features allow, found exp of f32";
    assert_eq!(error.to_string(), expected);

    let mut crowded = fma.clone();
    let scratch = kilngrad_loops::BufferDecl {
        name: "s".into(),
        scalar: Scalar::U8,
        len: 1,
        access: kilngrad_loops::Access::Scratch,
    };
    crowded.kernels[0].buffers.extend(vec![scratch; MAX_BUFFERS]);
    let error = compile(&crowded, &CodegenOptions::new(Features::detect())).unwrap_err();
    let expected = "unsupported: kernel fused: expected at most 4096 buffers, found 4097";
    assert_eq!(error.to_string(), expected);

    let mut outside = fma.clone();
    outside.buffers[0].len = 0;
    let error = compile(&outside, &CodegenOptions::new(Features::detect())).unwrap_err();
    assert!(matches!(error, CodegenError::Verify(_)), "{error}");
}

/// Addresses of elements, counts, and what loads beside the call must not keep.
#[test]
fn functions_are_called_in_place() {
    let kernel = parse_kernel(
        "kernel @f chunks=3 {
           buffer x: f32[300] readwrite
           buffer y: f64[60] readwrite
           buffer z: f32[300] write
           buffer s: f64[40] scratch
           for i1 in 0..4 {
             %0: f32x4 = load x[100*i0 + 20*i1]
             apply sigmoid count=19 x[100*i0 + 20*i1 + 1]
             %1: f32x4 = load x[100*i0 + 20*i1]
             %2: f32x4 = add %0, %1
             store z[100*i0 + 20*i1] = %2
           }
           for i2 in 0..20 {
             %3: f64 = load y[20*i0 + i2]
             store s[i2 + 3] = %3
           }
           apply expm1 count=20 s[3]
           apply log1p count=0 y[20*i0]
           for i3 in 0..20 {
             %4: f64 = load s[i3 + 3]
             store y[20*i0 + i3] = %4
           }
         }",
    )
    .unwrap();
    let features = Features::detect();
    if !kilngrad_tiles::has_functions(features) {
        return;
    }
    let program = program_of(kernel);
    let mut memory = Memory::zeroed(&program);
    let wave = |at: usize| ((at * 37) % 101) as f64 / 20.0 - 2.5;
    memory.externals[0] = bytes_of(&(0..300).map(|at| wave(at) as f32).collect::<Vec<f32>>());
    memory.externals[1] = bytes_of(&(0..60).map(wave).collect::<Vec<f64>>());
    check_with(&program, &memory, features);
}

#[test]
fn the_same_program_gives_the_same_code() {
    // Enough kernels for several threads, each different.
    let mut program = parse_program(CHUNKED).unwrap();
    for idx in 0..24 {
        let mut kernel = program.kernels[0].clone();
        kernel.name = format!("partial {idx}");
        kernel.chunks -= idx % 3;
        program.kernels.push(kernel);
        let args = vec![Slot(0), Slot(2)];
        program.body.push(Item::Call(Call { kernel: KernelId(idx as u32 + 1), args }));
    }
    let options = CodegenOptions { keep_text: true, ..CodegenOptions::new(Features::detect()) };
    let first = compile(&program, &options).unwrap();
    let names: Vec<&str> = first.texts().iter().map(|text| text.name.as_str()).collect();
    assert_eq!((names[0], names[24], names[25]), ("partial", "partial 23", "entry.0"));
    for _ in 0..10 {
        assert_eq!(compile(&program, &options).unwrap().texts(), first.texts());
    }
}

#[test]
fn needs_say_what_a_call_is_given() {
    let program = parse_program(CHUNKED).unwrap();
    let module = compile(&program, &CodegenOptions::new(Features::detect())).unwrap();
    assert_eq!((module.arena_bytes(), module.scratch_bytes()), (1024, 64));
    let needs: Vec<_> = module.externals().iter().map(|x| (x.bytes, x.writable)).collect();
    assert_eq!(needs, [(384, false), (384, true)]);
}

/// Accesses that never run may have strides whose product with the extent wraps. They must not
/// decide when the loop ends.
#[test]
fn strides_of_what_never_runs_end_no_loop() {
    for inner in [
        "for i2 in 0..0 { %5: f32 = load x[1152921504606846976*i1 + i2] }",
        "tile f32 4x8 unfused rows=1 cols=1 depth=0 \
         c[0; 1, 1] = x[2305843009213693952*i1; 1, 1] * x[0; 1, 1]",
    ] {
        let text = format!(
            "kernel @wrap chunks=1 {{
               buffer x: f32[4] read
               buffer y: i64[1] write
               buffer c: f32[1] write
               %0: i64 = const 0x0
               %1: i64 = const 0x1
               %2: i64 = for i1 in 0..8 carry (%3 = %0) {{
                 %4: i64 = add %3, %1
                 {inner}
                 next %4
               }}
               store y[0] = %2
             }}"
        );
        check_kernel(&text);
    }
}

/// Parts that go on and back, buffers in turn, repeats in repeats, chunks, and calls enough for
/// several functions.
#[test]
fn repeats() {
    let accumulate = "kernel @accumulate chunks=2 {
        buffer x: f32[4] read buffer y: f32[4] read buffer z: f32[4] write
        for i1 in 0..2 {
          %0: f32 = load x[2*i0 + i1]
          %1: f32 = load y[2*i0 + i1]
          %2: f32 = add %0, %1
          store z[2*i0 + i1] = %2
        }
      }";
    let many = "call accumulate(x, t, u) ".repeat(600);
    let program = parse_program(&format!(
        "program @repeats arena=192 externals=3 {{
           buffer xs: f32[12] external 0 readonly
           buffer ys: f32[12] external 1
           buffer zs: f32[24] external 2
           buffer a: f32[4] arena 0
           buffer b: f32[4] arena 64
           buffer c: f32[4] arena 128
           buffer x: f32[4] part #0 first 0 step 4 level 0 readonly
           buffer y: f32[4] part #1 first 8 step -4 level 0
           buffer t: f32[4] turn #3 #4 level 0
           buffer u: f32[4] turn #4 #3 level 0
           buffer half: f32[12] part #2 first 12 step -12 level 0
           buffer z: f32[4] part #10 first 0 step 4 level 1
           buffer either: f32[4] turn #5 #7 level 1
           {accumulate}
           call accumulate(a, b, c)
           repeat 3 {{ call accumulate(x, t, u) call accumulate(x, u, y) {many} }}
           repeat 0 {{ call accumulate(x, t, u) }}
           repeat 2 {{
             call accumulate(x, t, u)
             repeat 3 {{ call accumulate(x, u, z) call accumulate(x, z, either) }}
           }}
           repeat 1 {{ call accumulate(x, c, u) }}
         }}"
    ))
    .unwrap();
    check(&program, &numbers(&program));
}
