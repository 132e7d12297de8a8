//! Programs and weights in files: what is saved is what is loaded, and nothing in a file is trusted.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kilngrad::prelude::*;
use kilngrad::{Array, load_arrays, save_arrays};
use kilngrad_ir::Init as First;
use ndarray::{Array2, array};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("kilngrad-files-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.file(name), bytes).unwrap();
        self.file(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Net {
    hidden: Dense,
    head: Dense,
    numbers: Vec<f32>,
}

impl Net {
    fn forward<'b>(&self, x: Tensor<'b>) -> Tensor<'b> {
        let shift = x.entry().constant((50, 6), &self.numbers).mean(0);
        self.head.forward(self.hidden.forward(x + shift).relu().dropout("drop", 0.3))
    }
}

/// A network with dropout and Adam: parameters, moments, a counter of steps, the seed and the
/// counter of random numbers. A constant of 300 elements is too long for the text.
fn program() -> Program {
    let b = Builder::new("net \u{1b}[2J");
    let n = b.dim("n");
    let scope = b.scope("net");
    let (hidden, head) = (Dense::new(&scope, "hidden", 6, 50), Dense::new(&scope, "head", 50, 3));
    let net = Net { hidden, head, numbers: (0..300).map(|i| (i as f32 * 0.37).sin()).collect() };
    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, 6)), train.input("y", I64, (n,)));
    let loss = net.forward(x).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(1e-2));
    train.output("loss", loss);
    let predict = b.entry("predict", Mode::Eval);
    predict.output("probs", net.forward(predict.input("x", F32, (n, 6))).softmax(-1));
    b.finish().unwrap()
}

fn rows() -> Array2<f32> {
    Array2::from_shape_fn((5, 6), |(i, j)| ((i * 6 + j) as f32).cos())
}

/// Bits of the loss of each of some training steps.
fn train(exe: &mut Executable, steps: usize) -> Vec<u32> {
    let (x, y) = (rows(), array![0i64, 1, 2, 1, 0]);
    let step = |_| {
        let outputs = exe.call("train").feed("x", &x).feed("y", &y).run().unwrap();
        outputs.scalar::<f32>("loss").unwrap().to_bits()
    };
    (0..steps).map(step).collect()
}

fn predict(exe: &mut Executable) -> Vec<u32> {
    let x = rows();
    let outputs = exe.call("predict").feed("x", &x).run().unwrap();
    outputs.view::<f32>("probs").unwrap().iter().map(|p| p.to_bits()).collect()
}

fn states(exe: &Executable) -> Vec<(String, Vec<u8>)> {
    exe.state_bytes().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect()
}

fn load(path: &Path) -> Result<Program> {
    Program::load(path, &Limits::default())
}

/// The error of loading, which is of this kind and says these words, printably.
fn refused(path: &Path, limits: &Limits, kind: ErrorKind, words: &[&str]) -> String {
    let begun = Instant::now();
    let error = Program::load(path, limits).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20), "{path:?} took {:?}", begun.elapsed());
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "expected {word:?} in: {text}");
    }
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    text
}

#[test]
fn a_program_is_what_was_saved() {
    let folder = Folder::new("program");
    let program = program();
    for name in ["a.kg", "a.safetensors"] {
        let path = folder.file(name);
        program.save(&path).unwrap();
        let again = load(&path).unwrap();
        assert_eq!(again, program, "{name}");
        // Again, over what is there.
        again.save(&path).unwrap();
        assert_eq!(load(&path).unwrap(), program, "{name}");
    }
    let text = std::fs::read_to_string(folder.file("a.kg")).unwrap();
    assert!(text.contains(r#"constant external "kilngrad.constant.0""#), "{text}");
    let mut names: Vec<_> =
        std::fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.kg", "a.kg.safetensors", "a.safetensors"]);

    // A file is what is in it, whatever it is called.
    std::fs::rename(folder.file("a.safetensors"), folder.file("model")).unwrap();
    assert_eq!(load(&folder.file("model")).unwrap(), program);
    let error = program.save(folder.file("model")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(error.to_string().contains(".kg or .safetensors"), "{error}");
    let error = program.save(folder.file("absent/a.kg")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

/// Outputs, and a training run that goes on: the same bits as if nothing had been saved, whatever
/// the seed of the second compile.
#[test]
fn saving_loading_and_compiling_changes_nothing() {
    let folder = Folder::new("resume");
    for name in ["a.kg", "a.safetensors"] {
        let path = folder.file(name);
        let mut exe = program().compile(&Options::new().seed(3)).unwrap();
        train(&mut exe, 4);
        exe.save(&path).unwrap();
        let mut resumed = load(&path).unwrap().compile(&Options::new().seed(99)).unwrap();
        assert_eq!(states(&resumed), states(&exe), "{name}");
        assert_eq!(predict(&mut resumed), predict(&mut exe), "{name}");
        let (one, other) = (train(&mut exe, 4), train(&mut resumed, 4));
        assert_eq!(one, other, "{name}");
        assert_ne!(one[0], one[1]);
        assert_eq!(states(&resumed), states(&exe), "{name}");
        // What is compiled holds no weights, and what is saved then does.
        let begin = |program: &Program| program.find_state("net.hidden.w").unwrap();
        let saved = resumed.snapshot();
        let weights = &saved.state(begin(&saved)).init;
        assert!(matches!(weights, First::Dense(w) if w.bytes()[..] == states(&exe)[0].1[..]));
    }
}

#[test]
fn the_interpreter_goes_on_from_a_file_too() {
    let folder = Folder::new("interpreted");
    let path = folder.file("a.safetensors");
    let mut exe = program().compile(&Options::new().seed(3)).unwrap();
    train(&mut exe, 2);
    exe.save(&path).unwrap();
    let mut interpreted = load(&path).unwrap().interpret(&Options::new()).unwrap();
    let (x, y) = (rows(), array![0i64, 1, 2, 1, 0]);
    interpreted.call("train").feed("x", &x).feed("y", &y).run().unwrap();
    train(&mut exe, 1);
    let snapshot = interpreted.snapshot();
    snapshot.save(&path).unwrap();
    let resumed = load(&path).unwrap().compile(&Options::new()).unwrap();
    for (state, (path, bytes)) in exe.program().states.iter().zip(exe.state_bytes()) {
        let held = resumed.state_bytes().find(|(other, _)| *other == path).unwrap().1;
        if state.ty.dtype == F32 {
            let floats = |bytes: &[u8]| -> Vec<f32> {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
            };
            for (one, other) in floats(held).iter().zip(floats(bytes)) {
                assert!((one - other).abs() < 1e-3, "{path}: {one} {other}");
            }
        } else {
            assert_eq!(held, bytes, "{path}");
        }
    }
}

#[test]
fn weights_are_loaded_whole_or_as_far_as_they_fit() {
    let folder = Folder::new("weights");
    let path = folder.file("a.safetensors");
    let mut exe = program().compile(&Options::new().seed(3)).unwrap();
    train(&mut exe, 2);
    exe.save(&path).unwrap();
    let mut other = program().compile(&Options::new().seed(4)).unwrap();
    let loaded = other.load(&path, &Load::strict()).unwrap();
    assert_eq!(states(&other), states(&exe));
    let paths: Vec<String> = exe.program().states.iter().map(|s| s.path.to_string()).collect();
    assert_eq!(loaded, Loaded { loaded: paths.clone(), ..Loaded::default() });

    // One state less, one of another shape, one of another dtype, one that is not known.
    let mut arrays = load_arrays(&path, &Limits::default()).unwrap();
    let parameters = exe.program().states.iter().filter(|state| state.role == Role::Parameter);
    let parameters: Vec<&str> = parameters.map(|state| &*state.path).collect();
    arrays.retain(|name, _| parameters.contains(&name.as_str()));
    assert_eq!(arrays.len(), 4);
    arrays.remove("net.head.b");
    arrays.insert("net.head.w".into(), Array::from(Array2::<f32>::zeros((3, 50))));
    arrays.insert("net.hidden.b".into(), Array::from(vec![0f64; 50]));
    arrays.insert("x\u{1b}[31m".into(), Array::from(1f32));
    save_arrays(&path, arrays.iter().map(|(name, array)| (name.as_str(), array))).unwrap();
    let before = states(&other);
    let error = other.load(&path, &Load::strict()).unwrap_err().to_string();
    for words in [
        r#"state "net.head.w" of f32[50,3], found f32[3,50]"#,
        r#"state "net.hidden.b" of f32[50], found f64[50]"#,
        r#"found no "net.head.b""#,
        r#"found unexpected "x\u{1b}[31m""#,
    ] {
        assert!(error.contains(words), "expected {words:?} in: {error}");
    }
    assert_eq!(states(&other), before);

    let mut part = program().compile(&Options::new().seed(4)).unwrap();
    let before = states(&part);
    let loaded = part.load(&path, &Load::partial()).unwrap();
    assert_eq!(loaded.loaded, ["net.hidden.w"]);
    assert_eq!(loaded.missing.len(), paths.len() - 3);
    assert_eq!(loaded.unexpected, ["x\u{1b}[31m"]);
    let mismatched: Vec<_> =
        loaded.mismatched.iter().map(|m| (&*m.path, m.expected.to_string(), &*m.found)).collect();
    assert_eq!(
        mismatched,
        [
            ("net.hidden.b", "f32[50]".to_owned(), "f64[50]"),
            ("net.head.w", "f32[50,3]".to_owned(), "f32[3,50]"),
        ]
    );
    for (now, before) in states(&part).iter().zip(&before) {
        assert_eq!(now == before, now.0 != "net.hidden.w", "{}", now.0);
    }
    let strict = Load::strict().limits(Limits { file_bytes: 100, ..Limits::default() });
    let error = part.load(&path, &strict).unwrap_err();
    assert!(error.to_string().contains("at most 100 bytes"), "{error}");
}

#[test]
fn arrays_of_every_dtype() {
    let folder = Folder::new("arrays");
    let path = folder.file("a.safetensors");
    let arrays = [
        ("f32", Array::from(vec![1f32, -0.0, f32::INFINITY])),
        ("f64", Array::from(array![[1f64, 2.0], [3.0, 4.0]])),
        ("i32", Array::from(i32::MIN)),
        ("i64", Array::from(vec![i64::MAX])),
        ("u8", Array::from(Vec::<u8>::new())),
        ("bool", Array::from(vec![true, false])),
    ];
    save_arrays(&path, arrays.iter().map(|(name, array)| (*name, array))).unwrap();
    let again = load_arrays(&path, &Limits::default()).unwrap();
    assert_eq!(again.len(), arrays.len());
    for (name, array) in &arrays {
        assert_eq!(again[*name], *array, "{name}");
    }
    let few = Limits { elements: 10, ..Limits::default() };
    let error = load_arrays(&path, &few).unwrap_err();
    assert!(error.to_string().contains("at most 10 elements"), "{error}");
    let few = Limits { values: 5, ..Limits::default() };
    let error = load_arrays(&path, &few).unwrap_err();
    assert!(error.to_string().contains("at most 5 names"), "{error}");
}

/// The bytes of a safetensors file with this header and these elements.
fn safetensors(header: &str, elements: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), elements].concat()
}

/// A header with a program that names one array.
fn with_program(arrays: &str) -> String {
    let text =
        "kilngrad 1\\nprogram \\\"p\\\"\\nstate \\\"a\\\": f32[2] = external \\\"a\\\" buffer\\n";
    format!("{{\"__metadata__\":{{\"kilngrad.program\":\"{text}\"}},{arrays}}}")
}

#[test]
fn damaged_files_are_refused() {
    let folder = Folder::new("damaged");
    let all = &Limits::default();
    let good = safetensors(
        &with_program(r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#),
        &[0; 8],
    );
    assert_eq!(load(&folder.write("a.safetensors", &good)).unwrap().states.len(), 1);
    for length in 0..good.len() {
        let path = folder.write("a.safetensors", &good[..length]);
        refused(&path, all, ErrorKind::Format, &["a.safetensors"]);
    }
    let longer = [&good[..], &[0]].concat();
    refused(&folder.write("a.safetensors", longer), all, ErrorKind::Format, &["fully covered"]);
    for length in [u64::MAX, 1 << 62, 100_000_000, 1 << 40, good.len() as u64] {
        let mut bytes = good.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        let path = folder.write("a.safetensors", bytes);
        refused(&path, all, ErrorKind::Format, &["header of the stated length"]);
    }
    let huge = u64::MAX;
    let cases: &[(&str, usize, &[&str])] = &[
        // Of another type than the text says: dtype, rank, length, a dtype that is not known.
        (
            r#""a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}"#,
            8,
            &["text_t5", "found f64[1]"],
        ),
        (r#""a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}"#, 8, &["found f32[2,1]"]),
        (r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 4, &["found f32[1]"]),
        (r#""a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}"#, 4, &["found BF16[2]"]),
        // Not there, not named.
        (r#""b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, 8, &["\"a\"", "found none"]),
        (
            r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b\u001b[2J":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}"#,
            8,
            &["found \"b\\u{1b}[2J\""],
        ),
        // Twice, with the same place and with another.
        (
            r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#,
            8,
            &["unique names", "a", "twice"],
        ),
        (r#""__metadata__":{"x":"1","x":"2"}"#, 0, &["unique names", "twice"]),
        (r#""__metadata__":{"kilngrad.program":"x"}"#, 0, &["unique names", "twice"]),
        // Shapes that overflow or lie, places that overlap or leave the file.
        (
            r#""a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}"#,
            8,
            &["overflow"],
        ),
        (
            r#""a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,8]}"#,
            8,
            &["invalid shape"],
        ),
        (r#""a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#, 8, &["invalid offset"]),
        (r#""a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#, 12, &["invalid offset"]),
        (r#""a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#, 8, &["expected"]),
        (r#""a":{"dtype":"\u001b[2J","shape":[2],"data_offsets":[0,8]}"#, 8, &["\\u{1b}[2J"]),
        (r#""\u001b[2J":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}"#, 8, &["\\u{1b}[2J"]),
        (r#""a":[[[[]]]]"#, 0, &["expected"]),
    ];
    for (arrays, elements, words) in cases {
        let bytes = safetensors(&with_program(arrays), &vec![0; *elements]);
        refused(&folder.write("a.safetensors", bytes), all, ErrorKind::Format, words);
    }
    let empty = format!(r#""a":{{"dtype":"F32","shape":[0,{huge}],"data_offsets":[0,0]}}"#);
    let path = folder.write("a.safetensors", safetensors(&with_program(&empty), &[]));
    refused(&path, all, ErrorKind::Format, &["found F32[0, 18446744073709551615]"]);
    assert!(load_arrays(&path, all).is_err());
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let path = folder.write("a.safetensors", safetensors(&deep, &[]));
    refused(&path, all, ErrorKind::Format, &["not a safetensors file"]);
    let axes =
        format!(r#""a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}"#, "1,".repeat(32));
    let path = folder.write("a.safetensors", safetensors(&with_program(&axes), &[0; 4]));
    refused(&path, all, ErrorKind::Format, &["at most 32 axes"]);
    let truth = r#"{"t":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}"#;
    let path = folder.write("t.safetensors", safetensors(truth, &[2]));
    let error = load_arrays(&path, all).unwrap_err();
    assert!(error.to_string().contains("truth values of 0 and 1"), "{error}");
    refused(&path, all, ErrorKind::Format, &["found weights alone"]);
    refused(&folder.file("absent.kg"), all, ErrorKind::Io, &["could not read"]);
    refused(&folder.0, all, ErrorKind::Io, &["could not read"]);
    refused(&folder.write("b.kg", [0xff, 0xfe, 0xfd]), all, ErrorKind::Format, &["text"]);
}

const HEADER: &str = "kilngrad 1\nprogram \"p\"\n";

/// Texts that ask for more than is theirs, and texts that are wrong: errors, soon, with the line.
#[test]
fn texts_are_not_trusted() {
    let folder = Folder::new("texts");
    let all = &Limits::default();
    let file = |text: &str| folder.write("a.kg", format!("{HEADER}{text}"));
    let refused = |text: &str, words: &[&str]| refused(&file(text), all, ErrorKind::Format, words);
    let shown = refused(
        "entry @e(%x: f32[n]) eval {\n  %0: f32[n] = add %x, %y\n  %y: f32[n] = neg %x\n}\n",
        &["a.kg:4:24", "%y", "4 |   %0: f32[n] = add %x, %y\n   |                        ^^"],
    );
    assert!(shown.starts_with("error["), "{shown}");
    refused("entry @e() eval {\n  %0: f32[] = neg %0\n}\n", &["%0", "^^"]);
    refused("state \"a\": f32[1000000000000] = 0.0 buffer\n", &["elements together"]);
    refused("state \"a\": f32[2] = external \"a\" buffer\n", &["a.kg.safetensors"]);
    refused("state \"\\u{1b}[2J\": f32[] = 1 parameter\nx", &["`state` or `entry`"]);
    refused("entry @e() eval {\n return y = %a\u{1b}[2J\n}\n", &["\\u{1b}"]);
    let two = "state \"a\\u{202e}\": f32[] = 0.0 buffer\n".repeat(2);
    refused(&two, &["program_v1", "a\\u{202e}"]);
    let depth = 100_000;
    let deep = "%0: f32[] = kernel @k(%x = %x) map {\n".repeat(depth);
    refused(&format!("entry @e(%x: f32[]) eval {{\n{deep}"), &["at most 16 deep"]);

    for limits in [
        Limits { file_bytes: 10, ..*all },
        Limits { bytes: 10, ..*all },
        Limits { values: 1, ..*all },
        Limits { elements: 3, ..*all },
    ] {
        let path = file("state \"a\": f32[4] = 0.0 buffer\nstate \"b\": f32[] = 0.0 buffer\n");
        self::refused(&path, &limits, ErrorKind::Format, &["expected", "at most"]);
    }
    // A file without an end.
    #[cfg(target_os = "linux")]
    {
        let limits = Limits { file_bytes: 1 << 20, ..*all };
        self::refused(Path::new("/dev/zero"), &limits, ErrorKind::Format, &["at most 1048576"]);
    }
}

/// Values that would take terabytes are read as they stand, and neither folded nor allocated.
#[test]
fn large_values_are_not_computed() {
    let folder = Folder::new("large");
    let entry = |body: &str| format!("{HEADER}entry @e() eval {{\n{body}\n}}\n");
    let huge = "1000000000000000";
    for body in [
        format!("  %0: i64[{huge}] = iota axis=0\n  return y = %0"),
        format!("  %0: f32[{huge}] = constant 1.0\n  %1: f32[{huge}] = exp %0\n  return y = %1"),
        format!(
            "  %0: f32[] = constant 1.0\n  %1: f32[{huge}] = broadcast %0 dims=[]\n  return y = %1"
        ),
        format!("  %0: i64[{huge}] = iota axis=0\n  %1: i64[{huge}] = mul %0, %0\n  return y = %1"),
    ] {
        let path = folder.write("a.kg", entry(&body));
        let begun = Instant::now();
        let program = load(&path).unwrap();
        let error = program.compile(&Options::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{body}: {:?}", begun.elapsed());
    }
    // Lengths beside a zero: nothing to compute, however often.
    let empty = "1000000000000,0";
    let body = format!(
        "  %0: f32[{empty}] = constant 1.0\n  %1: f32[{empty}] = constant 2.0\n  \
         %2: f32[{empty}] = concat %0, %1 axis=1\n  return y = %2"
    );
    let path = folder.write("a.kg", entry(&body));
    let begun = Instant::now();
    let mut exe = load(&path).unwrap().compile(&Options::new()).unwrap();
    exe.call("e").run().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// What a program calls its symbols and entries does not lead out of the folder of a dump.
#[test]
fn dumps_stay_in_their_folder() {
    let folder = Folder::new("dumps");
    let text = format!(
        "{HEADER}entry @e(%x: f32[\"../../../x\"]) eval {{\n  %0: f32[\"../../../x\"] = neg %x\n  \
         return y = %0\n}}\n"
    );
    let program = load(&folder.write("a.kg", text)).unwrap();
    let inner = folder.file("one").join("two");
    let mut exe = program.compile(&Options::new().dump(&inner)).unwrap();
    exe.specialise("e", &[("../../../x", 3)]).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(&inner).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["e._.._.._x3"]);
}
