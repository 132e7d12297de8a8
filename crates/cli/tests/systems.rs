//! Every system of `kilngrad train`, as a person meets it: from its defaults where that takes seconds.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kilngrad::data::{self, Dataset};
use kilngrad::prelude::*;
use ndarray::{Array1, Array2, Array3};
use serde_json::Value;

/// A folder of a test's own that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("kilngrad-systems-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn run(&self, args: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kilngrad"));
        command.current_dir(&self.0).args(args.split_whitespace()).output().unwrap()
    }

    /// The object that a training run ends with.
    fn train(&self, args: &str) -> Value {
        let output = self.run(&format!("train {args} --json"));
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The metric that matters.
    fn value(&self, args: &str) -> f64 {
        self.train(args)["value"].as_f64().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// R² on the test rows of the line that has the least squares on the training rows, by the normal
/// equations in f64.
fn least_squares(rows: &Dataset<f32>) -> f64 {
    let (train, test) = rows.split_every(5);
    let columns = train.x.ncols() + 1;
    let with_one = |x: &Array2<f32>| {
        Array2::from_shape_fn((x.nrows(), columns), |(row, column)| {
            if column + 1 < columns { f64::from(x[[row, column]]) } else { 1.0 }
        })
    };
    let (x, y) = (with_one(&train.x), train.y.mapv(f64::from));
    let mut system = Array2::zeros((columns, columns + 1));
    let (square, right) = (x.t().dot(&x), x.t().dot(&y));
    for (row, mut line) in system.rows_mut().into_iter().enumerate() {
        for (column, place) in line.iter_mut().enumerate() {
            *place = if column < columns { square[[row, column]] } else { right[row] };
        }
    }
    // Gauss and Jordan: the matrix is positive definite, so no pivot is 0.
    for pivot in 0..columns {
        let line: Array1<f64> = &system.row(pivot) / system[[pivot, pivot]];
        for row in 0..columns {
            let factor = if row == pivot { 0.0 } else { system[[row, pivot]] };
            system.row_mut(row).scaled_add(-factor, &line);
        }
        system.row_mut(pivot).assign(&line);
    }
    let found = with_one(&test.x).dot(&system.column(columns));
    let y = test.y.mapv(f64::from);
    let mean = y.mean().unwrap();
    1.0 - (&found - &y).mapv(|e| e * e).sum() / y.mapv(|y| (y - mean).powi(2)).sum()
}

#[test]
fn linear_regression_is_least_squares() {
    let found = Folder::new("linear").value("linear-regression");
    let exact = least_squares(&data::diabetes().unwrap());
    assert!((found - exact).abs() <= 0.005, "{found} beside {exact}");
}

#[test]
fn logistic_regression_tells_tumours_apart() {
    let folder = Folder::new("logistic");
    for penalty in ["", "--penalty l1", "--penalty l2", "--penalty l2 --strength 0.001"] {
        let accuracy = folder.value(&format!("logistic-regression {penalty}"));
        assert!(accuracy >= 0.95, "{penalty}: {accuracy}");
    }
}

#[test]
fn every_optimizer_trains_the_dense_network() {
    let folder = Folder::new("optimizers");
    let rules = ["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"];
    for rule in rules {
        let accuracy = folder.value(&format!("mlp --optimizer {rule}"));
        assert!(accuracy >= 0.95, "{rule}: {accuracy}");
    }
}

#[test]
fn convolutional_networks_read_digits() {
    let folder = Folder::new("cnn");
    let accuracy = folder.value("cnn");
    assert!(accuracy >= 0.97, "{accuracy}");
    let variants = [("--pool average", 0.95), ("--batch-norm", 0.97)];
    for (variant, least) in variants {
        let accuracy = folder.value(&format!("cnn {variant}"));
        assert!(accuracy >= least, "{variant}: {accuracy}");
    }
}

#[test]
fn recurrent_networks_read_digits_row_by_row() {
    let folder = Folder::new("recurrent");
    for system in ["rnn", "gated-rnn", "lstm", "lstm --layers 3", "gru"] {
        let accuracy = folder.value(&format!("{system} --save model.safetensors"));
        assert!(accuracy >= 0.95, "{system}: {accuracy}");
        takes_any_length(&folder.file("model.safetensors"));
    }
}

#[test]
fn an_autoencoder_needs_sixteen_numbers() {
    let folder = Folder::new("autoencoder");
    for variant in ["", "--linear"] {
        let error = folder.value(&format!("autoencoder {variant} --samples pairs.png"));
        assert!(error <= 0.02, "{variant}: {error}");
    }
    let images = images(&folder.file("pairs.png"));
    // Test images, and under each row of ten what is made of their codes.
    let (_, test) = data::digits().unwrap().split_every(5);
    for at in 0..50 {
        let shown = &images[at / 10 * 20 + at % 10];
        let error = distance(shown, test.x.row(at).as_slice().unwrap());
        assert!(error < 1e-4, "image {at}: {error}");
        let error = distance(shown, &images[at / 10 * 20 + 10 + at % 10]);
        assert!(error < 0.06, "what is made of image {at}: {error}");
    }
}

/// The hundred images of a picture of ten by ten, pixel by pixel from 0 to 1.
fn images(path: &Path) -> Vec<Vec<f32>> {
    let picture = image::open(path).unwrap().to_luma8();
    let scale = picture.width() / 91;
    assert_eq!(picture.dimensions(), (91 * scale, 91 * scale));
    let pixel = |image: u32, at: u32| {
        let x = image % 10 * 9 + 1 + at % 8;
        let y = image / 10 * 9 + 1 + at / 8;
        f32::from(picture.get_pixel(x * scale, y * scale).0[0]) / 255.0
    };
    (0..100).map(|image| (0..64).map(|at| pixel(image, at)).collect()).collect()
}

/// The mean square of differences.
fn distance(lhs: &[f32], rhs: &[f32]) -> f32 {
    lhs.iter().zip(rhs).map(|(lhs, rhs)| (lhs - rhs).powi(2)).sum::<f32>() / lhs.len() as f32
}

/// The distance to the written digit of the training rows that is nearest, and which digit it is.
fn nearest(image: &[f32], written: &Dataset<i64>) -> (f32, i64) {
    let distances = written.x.outer_iter().map(|row| distance(image, row.as_slice().unwrap()));
    let all = distances.zip(&written.y).map(|(distance, digit)| (distance, *digit));
    all.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// Samples are as near to written digits as `times` what other written digits are, and of at least
/// nine kinds.
#[track_caller]
fn expect_digits(picture: &Path, times: f32) {
    let (train, test) = data::digits().unwrap().split_every(5);
    let mean = |distances: Vec<f32>| distances.iter().sum::<f32>() / distances.len() as f32;
    let rows = test.x.outer_iter();
    let usual = mean(rows.map(|row| nearest(row.as_slice().unwrap(), &train).0).collect());
    let found: Vec<(f32, i64)> = images(picture).iter().map(|i| nearest(i, &train)).collect();
    let far = mean(found.iter().map(|found| found.0).collect());
    assert!(far <= times * usual, "samples are {far} from written digits, these {usual}");
    let kinds = (0..10).filter(|digit| found.iter().any(|(_, found)| found == digit)).count();
    assert!(kinds >= 9, "{kinds} kinds of digits");
}

#[test]
fn an_adversarial_network_writes_digits() {
    let folder = Folder::new("gan");
    let apart = folder.value("gan --epochs 150 --samples samples.png");
    assert!((0.4..0.9).contains(&apart), "{apart}");
    expect_digits(&folder.file("samples.png"), 2.0);
}

#[test]
fn an_adversarial_network_of_convolutions_writes_digits() {
    let folder = Folder::new("conv-gan");
    let apart = folder.value("conv-gan --epochs 200 --samples samples.png");
    assert!((0.4..0.99).contains(&apart), "{apart}");
    expect_digits(&folder.file("samples.png"), 2.5);
}

#[test]
fn a_variational_autoencoder_writes_digits() {
    let folder = Folder::new("vae");
    let bound = folder.value("vae --epochs 60 --samples samples.png --plane plane.png");
    assert!(bound < 25.5, "{bound}");
    expect_digits(&folder.file("samples.png"), 2.0);
    assert!(folder.file("plane.png").exists());
}

#[test]
fn a_transformer_reads_digits_and_takes_any_length() {
    let folder = Folder::new("transformer");
    let accuracy = folder.value("transformer --epochs 10 --save model.safetensors");
    assert!(accuracy >= 0.95, "{accuracy}");
    takes_any_length(&folder.file("model.safetensors"));
}

/// A program whose `predict` reads sequences of rows of any length, any number at a time.
fn takes_any_length(file: &Path) {
    let program = Program::load(file, &Limits::default()).unwrap();
    let mut exe = program.compile(&Options::new().entries(&["predict"])).unwrap();
    for (batch, length) in [(1, 1), (3, 5), (2, 19)] {
        let x = Array3::<f32>::ones((batch, length, 8));
        let outputs = exe.call("predict").feed("x", &x).run().unwrap();
        let probs = outputs.view::<f32>("probs").unwrap();
        assert_eq!(probs.shape(), [batch, 10]);
        assert!((probs.sum() - batch as f32).abs() < 1e-4);
    }
}

#[test]
fn a_transformer_learns_a_text_and_writes() {
    let folder = Folder::new("characters");
    let line = "the quick brown fox jumps over the lazy dog; ";
    std::fs::write(folder.file("fox.txt"), line.repeat(100)).unwrap();
    let args = "transformer --text fox.txt --epochs 12 --save model.safetensors";
    let row = folder.train(args);
    assert!(row["value"].as_f64().unwrap() < 0.5, "{row}");
    let made: Vec<&str> =
        row["made"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let written = made[1].trim();
    assert!(written.contains("the lazy dog; the quick brown fox jumps"), "{made:?}");

    let file = folder.file("model.safetensors");
    let program = Program::load(file, &Limits::default()).unwrap();
    let mut exe = program.compile(&Options::new().entries(&["next"])).unwrap();
    for (batch, length) in [(1, 1), (3, 5), (2, 100)] {
        let x = Array2::<i64>::ones((batch, length));
        let outputs = exe.call("next").feed("x", &x).run().unwrap();
        assert_eq!(outputs.view::<f32>("logits").unwrap().shape()[..2], [batch, length]);
    }
    std::fs::write(folder.file("short.txt"), "short").unwrap();
    let refused = folder.run("train transformer --text short.txt");
    let message = String::from_utf8(refused.stderr).unwrap();
    let expected = "expected a text of at least 129 characters, found 5";
    assert!(message.contains(expected) && message.contains("short.txt"), "{message}");
}

#[test]
fn options_of_other_systems_are_refused() {
    let folder = Folder::new("options");
    for (args, option) in [
        ("mlp --pool max", "--pool"),
        ("cnn --optimizer adam", "--optimizer"),
        ("linear-regression --penalty l1", "--penalty"),
        ("gan --text a.txt", "--text"),
        ("logistic-regression --strength 2", "--penalty"),
        ("transformer --text a.txt --data b.csv", "--data"),
    ] {
        let output = folder.run(&format!("train {args}"));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args}: {message}");
        assert!(message.contains(option), "{args}: {message}");
    }
}

#[test]
fn files_that_do_not_fit_are_told_by_name() {
    let folder = Folder::new("files");
    let x = kilngrad::Array::from(Array2::<f32>::zeros((4, 64)));
    kilngrad::save_arrays(folder.file("x.safetensors"), [("x", &x)]).unwrap();
    std::fs::write(folder.file("ragged.csv"), "a,b,y\n1,2,3\n4,5\n").unwrap();
    std::fs::write(folder.file("narrow.csv"), "a,y\n1,2\n3,4\n5,6\n").unwrap();
    std::fs::write(folder.file("words.csv"), "a,y\n1,2\n3,four\n").unwrap();
    std::fs::write(folder.file("empty.csv"), "a,y\n").unwrap();
    let pixels = |digit: usize| format!("{}{digit}\n", "0.5,".repeat(64));
    let names: Vec<String> = (0..64).map(|pixel| format!("p{pixel}")).collect();
    let rows: String = [1, 2, 10].map(pixels).concat();
    std::fs::write(folder.file("class.csv"), format!("{},y\n{rows}", names.join(","))).unwrap();
    for (system, file, words) in [
        ("mlp", "x.safetensors", ["expected a column \"y\"", "found columns \"x\""]),
        ("mlp", "ragged.csv", ["line 3", "expected 3 fields, found 2"]),
        ("mlp", "narrow.csv", ["f32[n,64]", "found f32[2,1]"]),
        ("linear-regression", "words.csv", ["a number in column \"y\"", "found \"four\""]),
        ("logistic-regression", "empty.csv", ["expected a row to test", "found 0 rows"]),
        ("cnn", "class.csv", ["class indices from 0 to below 10", "found 2 to 10 in input \"y\""]),
    ] {
        let output = folder.run(&format!("train {system} --data {file}"));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {message}");
        for word in words.into_iter().chain([file]) {
            assert!(message.contains(word), "{file}: expected {word:?} in {message}");
        }
    }
}
