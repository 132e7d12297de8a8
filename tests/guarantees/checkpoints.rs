//! A run's checkpoint when the run is killed, and when the disk has no more room.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kilngrad::data::Table;
use kilngrad::prelude::*;
use kilngrad::trainer::{History, Trainer};
use ndarray::{Array1, Array2};

use crate::{CHILD, in_child};

/// Where a child that is to be killed writes.
const FILE: &str = "KILNGRAD_TEST_CHECKPOINT";

/// Steps of a run.
const STEPS: u64 = 24;

/// A model whose file is some hundred kilobytes, so that writing it takes a while.
fn executable(seed: i64) -> Executable {
    let b = Builder::new("digits");
    let net = b.scope("net");
    let (hidden, head) = (Dense::new(&net, "hidden", 8, 2048), Dense::new(&net, "head", 2048, 2));
    let e = b.entry("train", Mode::Train);
    let (x, y) = (e.input("x", F32, (b.dim("n"), 8)), e.input("y", I64, (b.dim("n"),)));
    let loss = head.forward(hidden.forward(x).relu().dropout("drop", 0.2)).cross_entropy(y);
    e.minimize(loss, b.params("net"), Adam::new(1e-3));
    e.output("loss", loss);
    b.finish().unwrap().compile(&Options::new().seed(seed)).unwrap()
}

fn rows() -> Table {
    let x = Array2::from_shape_fn((16, 8), |(i, j)| ((i * 5 + j) % 7) as f32);
    Table::new()
        .with("x", x)
        .unwrap()
        .with("y", Array1::from_iter((0..16_i64).map(|i| i % 2)))
        .unwrap()
}

fn train(exe: &mut Executable, path: &Path) -> Result<History> {
    let trainer = Trainer::new(exe, "train").epochs(STEPS / 2).batch(8).checkpoint(path).resume();
    trainer.checkpoint_every(1).run(&rows())
}

fn states(exe: &Executable) -> Vec<Vec<u8>> {
    exe.state_bytes().map(|(_, bytes)| bytes.to_vec()).collect()
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("kilngrad-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    if let (Some(_), Some(path)) = (std::env::var_os(CHILD), std::env::var_os(FILE)) {
        train(&mut executable(1), Path::new(&path)).unwrap();
        return;
    }
    let folder = Folder::new("killed");
    let mut whole = executable(1);
    train(&mut whole, &folder.0.join("whole.safetensors")).unwrap();

    let path = folder.0.join("run.safetensors");
    let mut random = kilngrad_testing::Random::new(7);
    let (mut killed, mut left) = (0, 200);
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "checkpoints::a_run_that_is_killed_again_and_again_ends_as_one_that_is_not",
            ])
            .args(["--test-threads=1"])
            .env(CHILD, "1")
            .env(FILE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // After its first file, so that each child comes further; then at any moment.
        let before = std::fs::metadata(&path).and_then(|file| file.modified()).ok();
        while std::fs::metadata(&path).and_then(|file| file.modified()).ok() == before
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        let _ = child.kill();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
        left -= 1;
        assert!(left > 0, "expected the run to end, found it killed {killed} times");
        // What is there is whole, whatever was being written.
        let mut other = executable(9);
        other.load(&path, &Load::strict()).unwrap();
    }
    assert!(killed > 1, "expected children to be killed, found {killed}");
    let mut last = executable(5);
    assert_eq!(train(&mut last, &path).unwrap().steps, STEPS);
    assert!(states(&last) == states(&whole), "after {killed} kills");
}

#[test]
fn a_disk_without_room_leaves_the_last_checkpoint() {
    in_child("checkpoints::a_disk_without_room_leaves_the_last_checkpoint", || {
        let folder = Folder::new("full");
        let path = folder.0.join("run.safetensors");
        let mut exe = executable(1);
        let trainer = Trainer::new(&mut exe, "train").batch(8).checkpoint(&path);
        assert_eq!(trainer.run(&rows()).unwrap().steps, 2);
        let good = std::fs::read(&path).unwrap();

        // A file of this process may have half of the bytes; more is an error and no signal.
        let room = libc::rlimit { rlim_cur: good.len() as u64 / 2, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: both calls take plain numbers and a struct that outlives them.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &room), 0);
        }
        let error = train(&mut exe, &path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(std::fs::read(&path).unwrap() == good, "the old file is as it was");
        let mut names: Vec<_> =
            std::fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["run.safetensors", "run.safetensors.lock"]);
        executable(2).load(&path, &Load::strict()).unwrap();
    });
}
