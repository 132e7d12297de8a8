//! Files of data: what NumPy, MNIST's makers and PyTorch write is read, and nothing is trusted.

#![allow(clippy::unwrap_used)]

use kilngrad::data::{Table, parse_csv, parse_idx, parse_npy, parse_npz, read_csv, read_idx};
use kilngrad::prelude::*;
use kilngrad::{Array, NameMap, save_arrays};
use ndarray::array;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|file| std::fs::read(file).unwrap()).collect()
}

fn npy(descr: &str, fortran: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

#[track_caller]
fn says<T>(found: Result<T>, words: &str) {
    let text = found.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains(words), "expected {words:?} in {text:?}");
}

#[test]
fn npy_arrays_are_read_in_both_orders() {
    let limits = Limits::default();
    let elements: Vec<u8> = (1..=6).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let rows = parse_npy(&npy("<f4", "False", "(2, 3)", &elements), &limits).unwrap();
    assert_eq!(rows, array![[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]].into());
    let columns = parse_npy(&npy("<f4", "True", "(2, 3)", &elements), &limits).unwrap();
    assert_eq!(columns, array![[1f32, 3.0, 5.0], [2.0, 4.0, 6.0]].into());
    let scalar = parse_npy(&npy("<i8", "False", "()", &7i64.to_le_bytes()), &limits).unwrap();
    assert_eq!(scalar, 7i64.into());
}

#[test]
fn npy_files_that_lie_are_refused() {
    let limits = Limits::default();
    let of = |bytes: &[u8]| parse_npy(bytes, &limits);
    says(of(b"PK\x03\x04"), "NumPy's magic");
    says(of(&npy("<f4", "False", "(2,)", &[0; 4])), "expected 8 bytes of f32[2], found 4");
    says(of(&npy("<f4", "False", "(1,)", &[0; 8])), "expected 4 bytes of f32[1], found 8");
    says(of(&npy(">f4", "False", "(1,)", &[0; 4])), "found \">f4\"");
    says(of(&npy("|O", "False", "(1,)", &[0; 8])), "found \"|O\"");
    says(of(&npy("|b1", "False", "(1,)", &[2])), "truth values of 0 and 1");
    says(of(&npy("<f4", "Maybe", "(1,)", &[0; 4])), "as NumPy writes it");
    says(of(&npy("<f4", "False", "(-1,)", &[0; 4])), "as NumPy writes it");
    says(
        of(&npy("<f4", "False", "(9999999999, 9999999999)", &[])),
        "expected at most 268435456 elements",
    );
    let small = Limits { elements: 3, ..limits };
    says(parse_npy(&npy("|u1", "False", "(4,)", &[0; 4]), &small), "at most 3 elements");
    let cut = npy("<f4", "False", "(1,)", &[0; 4]);
    (0..cut.len()).for_each(|length| assert!(of(&cut[..length]).is_err(), "{length}"));
}

/// The corpus has archives as `savez` and `savez_compressed` write them, and damaged ones.
#[test]
fn npz_archives_are_read_and_checked() {
    let read: Vec<_> = corpus("npz").iter().map(|b| parse_npz(b, &Limits::default())).collect();
    let arrays: Vec<_> = read.iter().flatten().flat_map(|arrays| arrays.iter()).collect();
    let x = array![[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]].into();
    assert!(arrays.iter().any(|(name, array)| *name == "x" && **array == x));
    assert!(arrays.iter().any(|(name, array)| *name == "y" && **array == vec![1i64, -2].into()));
    let errors: Vec<String> =
        read.iter().filter_map(|read| Some(read.as_ref().err()?.to_string())).collect();
    for words in
        ["of the stated sum", "found \"x\" again", "expected a zip archive", "NumPy's magic"]
    {
        assert!(errors.iter().any(|error| error.contains(words)), "{words} in {errors:?}");
    }
    let small = Limits { file_bytes: 1000, ..Limits::default() };
    let inflated = corpus("npz").iter().filter(|bytes| bytes.len() < 1000).find_map(|bytes| {
        let error = parse_npz(bytes, &small).err()?.to_string();
        error.contains("at most 1000 bytes in all").then_some(error)
    });
    assert!(inflated.is_some(), "sixty thousand zeros in some hundred bytes");
}

#[test]
fn idx_is_read_plain_and_gzipped() {
    let limits = Limits::default();
    let images = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4];
    assert_eq!(parse_idx(&images, &limits).unwrap(), array![[1u8, 2], [3, 4]].into());
    let gzipped: Vec<_> =
        corpus("idx").into_iter().filter(|b| b.starts_with(&[0x1f, 0x8b])).collect();
    assert!(
        gzipped
            .iter()
            .any(|b| parse_idx(b, &limits).is_ok_and(|a| a == array![[1u8, 2], [3, 4]].into()))
    );
    let small = Limits { file_bytes: 1000, ..limits };
    let bomb = gzipped.iter().find_map(|bytes| parse_idx(bytes, &small).err());
    assert!(bomb.is_some(), "what is inflated is bounded");
    assert_eq!(
        parse_idx(&[0, 0, 0xb, 1, 0, 0, 0, 1, 0xff, 0xfe], &limits).unwrap(),
        vec![-2i32].into()
    );
    assert_eq!(parse_idx(&[0, 0, 0xd, 0, 0x3f, 0x80, 0, 0], &limits).unwrap(), 1f32.into());
    says(
        parse_idx(&[0, 0, 8, 1, 0, 0, 0, 3, 1], &limits),
        "expected 3 bytes of shape [3], found 1",
    );
    says(parse_idx(&[0, 0, 7, 0, 1], &limits), "found 0x7");
    says(parse_idx(&[1, 0, 8, 0, 1], &limits), "magic number of IDX");
    says(
        parse_idx(
            &[
                0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                255, 255,
            ],
            &limits,
        ),
        "expected at most",
    );
    says(read_idx("/no/such/idx", &limits), "could not read \"/no/such/idx\"");
}

#[test]
fn csv_says_where_it_is_wrong() {
    let limits = Limits::default();
    let table = parse_csv(b"a, b ,\"c,d\"\n1,2.5,-3\n4,nan,6\n", &limits).unwrap();
    assert_eq!(table.names().collect::<Vec<_>>(), ["a", "b", "c,d"]);
    assert_eq!(table.column("a").unwrap(), &vec![1i64, 4].into());
    assert!(table.column("b").unwrap().to_f64_vec()[1].is_nan());
    says(parse_csv(b"", &limits), "column names, found none");
    says(parse_csv(b"a,b\n1,2\n3\n", &limits), "line 3: expected 2 fields, found 1");
    says(
        parse_csv(b"a,b\n1,2\n3,\n", &limits),
        "line 3: expected a number in column \"b\", found \"\"",
    );
    says(parse_csv(b"a,a\n1,2\n", &limits), "found \"a\" again");
    says(parse_csv(b"a,b\n1,2\n", &Limits { values: 1, ..limits }), "at most 1 columns, found 2");
    says(parse_csv(b"a\n1\n2\n", &Limits { elements: 1, ..limits }), "at most 1 numbers");
    says(read_csv("/no/such.csv", &limits), "could not read");
}

#[test]
fn weights_of_pytorch_come_by_their_names() {
    let b = Builder::new("net");
    let layer = Dense::new(&b.scope("net"), "fc", 2, 3);
    let e = b.entry("run", Mode::Eval);
    e.output("y", layer.forward(e.input("x", F32, (1, 2))));
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let path =
        std::env::temp_dir().join(format!("kilngrad-torch-{}.safetensors", std::process::id()));
    let weight = Array::from(array![[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let bias = Array::from(vec![7f32, 8.0, 9.0]);
    save_arrays(&path, [("fc.weight", &weight), ("fc.bias", &bias)]).unwrap();
    let before: Vec<Vec<u8>> = exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect();
    let mut says = |names: NameMap, words: &str| {
        let text = exe.load_named(&path, &names, &Load::strict()).unwrap_err().to_string();
        assert!(text.contains(words), "expected {words:?} in {text}");
        assert!(exe.state_bytes().map(|(_, bytes)| bytes).eq(before.iter().map(Vec::as_slice)));
    };
    let names = NameMap::new();
    says(names.clone().transposed("net.fc.w", "fc.weight"), "found no \"net.fc.b\"");
    says(
        names.clone().state("net.fc.w", "fc.weight").state("net.fc.b", "fc.bias"),
        "expected state \"net.fc.w\" of f32[2,3], found f32[3,2]",
    );
    says(
        names.clone().transposed("net.fc.w", "weight").state("net.fc.b", "fc.bias"),
        "found no \"net.fc.w\"; expected the program's states, found unexpected \"fc.weight\"",
    );
    says(names.clone().state("net.w", "fc.weight"), "expected a state \"net.w\"");
    says(names.clone().transposed("net.fc.b", "fc.bias"), "no matrix to transpose");
    let names = names.transposed("net.fc.w", "fc.weight").state("net.fc.b", "fc.bias");
    exe.load_named(&path, &names, &Load::strict()).unwrap();
    assert_eq!(
        exe.state::<f32>("net.fc.w").unwrap(),
        array![[1f32, 3.0, 5.0], [2.0, 4.0, 6.0]].into_dyn()
    );
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_table_keeps_rows_together() {
    let table = Table::new()
        .with(
            "x",
            ndarray::Array2::from_shape_fn((10, 2), |(i, j)| (i * 2 + j) as f32)
                .reversed_axes()
                .reversed_axes(),
        )
        .unwrap()
        .with("y", (0..10i64).collect::<Vec<_>>())
        .unwrap();
    let shuffled = table.shuffle(3);
    assert_ne!(shuffled, table);
    let (x, y) =
        (shuffled.column("x").unwrap().to_f64_vec(), shuffled.column("y").unwrap().to_f64_vec());
    for (row, y) in y.iter().enumerate() {
        assert_eq!([x[2 * row], x[2 * row + 1]], [2.0 * y, 2.0 * y + 1.0]);
    }
    says(table.clone().with("z", 1f32), "found a scalar");
    says(table.clone().with("y", vec![0f32; 10]), "found \"y\" again");
    says(table.stack("m", &["x"]), "one number a row, found f32[10,2]");
}

/// A table's batches are those of the set that it was made of.
#[test]
fn batches_of_a_table_are_those_of_its_set() {
    let set = kilngrad::data::iris().unwrap();
    let table = Table::from(set.clone());
    for (size, seed) in [(32, 0), (32, 1), (50, 7), (150, 2), (1000, 3), (usize::MAX, 3)] {
        let expected: Vec<Table> = set.batches(size, seed).map(Table::from).collect();
        let found: Vec<Table> = table.batches(size, seed).collect();
        assert_eq!(found, expected, "{size} {seed}");
        assert_eq!(found.iter().map(Table::rows).sum::<usize>(), 150);
    }
    assert_eq!(table.batches(32, 0).last().unwrap().rows(), 22);
    assert_eq!(Table::new().batches(3, 0).count(), 0);
}

/// What a table of many columns costs is in proportion to them.
#[test]
fn tables_may_have_many_columns() {
    let begun = std::time::Instant::now();
    let names: Vec<String> = (0..50_000).map(|column| format!("c{column}")).collect();
    let text = format!("{}\n{}\n", names.join(","), vec!["1"; names.len()].join(","));
    let table = parse_csv(text.as_bytes(), &Limits::default()).unwrap();
    says(table.column("none"), "found columns \"c0\", \"c1\", \"c2\", \"c3\", …");
    let path = std::env::temp_dir().join(format!("kilngrad-wide-{}", std::process::id()));
    let arrays: Vec<Array> = names.iter().map(|_| vec![1i64].into()).collect();
    save_arrays(&path, names.iter().map(String::as_str).zip(&arrays)).unwrap();
    let read = Table::from_safetensors(&path, &Limits::default()).unwrap();
    assert_eq!(read.names().count(), names.len());
    std::fs::remove_file(&path).unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stacked = table.stack("x", &names).unwrap();
    assert_eq!(stacked.names().collect::<Vec<_>>(), ["x"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

/// A length beside a zero has no element behind it, and rows are gone through all the same.
#[test]
fn lengths_beside_a_zero_count() {
    let limits = Limits::default();
    for (fortran, shape) in [
        ("False", "(1099511627776, 0)"),
        ("True", "(0, 1099511627776)"),
        ("False", "(268435457, 0)"),
    ] {
        says(parse_npy(&npy("<f4", fortran, shape, &[]), &limits), "at most 268435456 elements");
    }
    let longest = [[255; 4], [0; 4]].concat();
    says(parse_idx(&[&[0, 0, 8, 2], &longest[..]].concat(), &limits), "at most 268435456 elements");
    let path = std::env::temp_dir().join(format!("kilngrad-zero-{}", std::process::id()));
    let arrays = |shape: (usize, usize)| {
        save_arrays(&path, [("x", &ndarray::Array2::<f32>::zeros(shape).into())]).unwrap();
    };
    arrays((1 << 40, 0));
    says(Table::from_safetensors(&path, &limits), "at most 268435456 elements");
    // So long as there are not too many of them, rows may have nothing in them.
    arrays((10, 0));
    let (train, test) = Table::from_safetensors(&path, &limits).unwrap().split_every(5);
    assert_eq!((train.rows(), test.rows()), (8, 2));
    let array = parse_npy(&npy("<f4", "False", "(10, 0)", &[]), &limits).unwrap();
    assert_eq!(array.shape(), [10, 0]);
    // A matrix is refused before there is memory for the rows.
    let table = Table::new().with("x", ndarray::Array2::<f32>::zeros((1 << 40, 0))).unwrap();
    says(table.stack("m", &["x"]), "one number a row");

    // To be transposed, it would be gone through too.
    arrays((0, 1 << 40));
    let b = Builder::new("net");
    b.param("w", (2, 3), Init::Zeros);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let load = Load::strict().limits(Limits { elements: usize::MAX, ..limits });
    let names = NameMap::new().transposed("w", "x");
    let text = exe.load_named(&path, &names, &load).unwrap_err().to_string();
    assert!(text.contains("of f32[2,3], found f32[1099511627776,0]"), "{text}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn sizes_that_overflow_are_refused_with_any_limits() {
    let limits = Limits { elements: usize::MAX, ..Limits::default() };
    let bytes = npy("<f4", "False", "(4611686018427387904,)", &[]);
    says(parse_npy(&bytes, &limits), "expected at most");
    let doubles = [&[0, 0, 0xe, 2][..], &[0x80, 0, 0, 0], &[0x80, 0, 0, 0]].concat();
    says(parse_idx(&doubles, &limits), "expected at most");
}

/// Whatever ends a line, and however many are blank.
#[test]
fn csv_errors_name_the_line_of_the_file() {
    for (text, words) in [
        ("a,b\r\n1,2\r\n3,four\r\n", "line 3: expected a number in column \"b\", found \"four\""),
        ("a,b\n\n\n\n3,four\n", "line 5: expected a number"),
        ("\n\na,b\n1,2\n3,four", "line 5: expected a number"),
        ("a,b\n\"1\",2\n\r\n\r\n3\r\n", "line 5: expected 2 fields, found 1"),
        ("a,b\r\n1,2\r\n3,4,5\r\n", "line 3: expected 2 fields, found 3"),
    ] {
        says(parse_csv(text.as_bytes(), &Limits::default()), words);
    }
    says(parse_csv(b"a,b\r\n1,2\r\n3,\xff\r\n", &Limits::default()), "line 3: expected UTF-8");
}

#[test]
fn csv_keeps_the_sign_of_zero() {
    let table = parse_csv(b"a,b\n-0,0\n1,-1\n", &Limits::default()).unwrap();
    assert_eq!(table.column("b").unwrap().dtype(), I64);
    assert_eq!(table.column("a").unwrap().dtype(), F64);
    assert!(table.column("a").unwrap().to_f64_vec()[0].is_sign_negative());
}

/// An error of a file that is made to fill the screen does not.
#[test]
fn errors_show_the_beginning_of_what_is_long() {
    let long = "\u{1}".repeat(5_000);
    let short = |text: String| {
        assert!(text.len() < 2_000 && text.contains("\"\\u{1}\\u{1}"), "{} {text}", text.len());
        assert!(!text.contains("\"\\\""), "quoted once: {text}");
    };
    let limits = Limits::default();
    short(parse_csv(format!("{long}\nx\n").as_bytes(), &limits).unwrap_err().to_string());
    short(parse_csv(format!("a\n{long}\n").as_bytes(), &limits).unwrap_err().to_string());
    short(parse_csv(format!("{long},{long}\n").as_bytes(), &limits).unwrap_err().to_string());
    short(parse_npy(&npy(&long, "False", "()", &[]), &limits).unwrap_err().to_string());
    let table = Table::new().with(&long, vec![1f32]).unwrap();
    short(table.column("a").unwrap_err().to_string());
    short(table.column(&long[1..]).unwrap_err().to_string());
    short(table.clone().with(&long, vec![1f32]).unwrap_err().to_string());
    short(table.with(&format!("{long}a"), 1f32).unwrap_err().to_string());

    let path = std::env::temp_dir().join(format!("kilngrad-long-{}", std::process::id()));
    let escaped = "\\u0001".repeat(5_000);
    let header =
        format!("{{\"{escaped}\":{{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}}}");
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 2]].concat();
    std::fs::write(&path, file).unwrap();
    short(kilngrad::load_arrays(&path, &limits).unwrap_err().to_string());
    let b = Builder::new("none");
    b.param("w", (), Init::Zeros);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    short(exe.load(&path, &Load::strict()).unwrap_err().to_string());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_a_map_of_names_does_not_find_is_missing() {
    let path = std::env::temp_dir().join(format!("kilngrad-map-{}", std::process::id()));
    let header = "{\"on\":{\"dtype\":\"BOOL\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    let file =
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 1, 2, 1]].concat();
    std::fs::write(&path, file).unwrap();
    let b = Builder::new("mask");
    b.param("w", (), Init::Zeros);
    b.state("mask", Bool, (4,), Init::Zeros);
    let mut exe = b.finish().unwrap().compile(&Options::new()).unwrap();
    let names = NameMap::new().state("w", "weight").state("mask", "on");
    let done = exe.load_named(&path, &names, &Load::partial()).unwrap();
    assert_eq!((done.loaded.len(), done.missing), (0, vec!["w".to_owned()]));
    assert_eq!(done.mismatched[0].found, "bool[4] of other truth values than 0 and 1");
    std::fs::remove_file(&path).unwrap();
}

#[test]
#[should_panic(expected = "every zeroth row is no row")]
fn a_set_is_not_split_at_every_zeroth_row() {
    kilngrad::data::iris().unwrap().split_every(0);
}

#[test]
#[should_panic(expected = "a target for each row")]
fn a_set_without_a_target_for_each_row_is_no_table() {
    let x = ndarray::Array2::zeros((3, 1));
    let _ = Table::from(kilngrad::data::Dataset { x, y: ndarray::Array1::<i64>::zeros(5) });
}
