//! A classifier behind a socket: one frozen program, a session for each thread, any batch size.
//!
//! `cargo run --release --example serve` trains a small model, serves it on a free port of
//! 127.0.0.1, asks it a few questions over that port, and ends.
//! `cargo run --release --example serve -- 8080 [FILE]` serves on a port until it is stopped: the
//! program of a file, such as the example `mlp` leaves as `digits.safetensors` among temporary
//! files, if one is named.
//!
//! A client sends a line of numbers between 0 and 1, separated by commas: the 64 pixels of a digit,
//! or of several, one after the other. For each it gets a line with the digit.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use kilngrad::data;
use kilngrad::prelude::{
    Adam, Builder, Dense, Executable, F32, Frozen, I64, Limits, Mode, Options, Program, ProgramExt,
    Session, Tensor,
};
use ndarray::{ArrayView1, ArrayView2};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PIXELS: usize = 64;
const THREADS: usize = 4;

/// A network of two layers.
fn declare() -> Result<Program> {
    let b = Builder::new("digits");
    let n = b.dim("n");
    let net = b.scope("net");
    let layers = [("hidden", PIXELS, 64), ("head", 64, 10)];
    let layers = layers.map(|(name, inputs, outputs)| Dense::new(&net, name, inputs, outputs));

    let train = b.entry("train", Mode::Train);
    let (x, y) = (train.input("x", F32, (n, PIXELS)), train.input("y", I64, (n,)));
    let loss = forward(&layers, x).cross_entropy(y);
    train.minimize(loss, b.params("net"), Adam::new(1e-3));
    train.output("loss", loss);

    let predict = b.entry("predict", Mode::Eval);
    let x = predict.input("x", F32, (n, PIXELS));
    predict.output("probs", forward(&layers, x).softmax(-1));
    Ok(b.finish()?)
}

fn forward<'b>([hidden, head]: &[Dense; 2], x: Tensor<'b>) -> Tensor<'b> {
    head.forward(hidden.forward(x).relu().dropout("drop", 0.1))
}

/// The network, trained here and now.
fn train(options: &Options) -> Result<Executable> {
    let mut exe = declare()?.compile(options)?;
    let digits = data::digits()?;
    for epoch in 0..10 {
        for batch in digits.batches(32, epoch) {
            exe.call("train").feed("x", &batch.x).feed("y", &batch.y).run()?;
        }
    }
    Ok(exe)
}

/// What is served: the program of a file, or one that is trained first.
fn model(file: Option<&str>) -> Result<Frozen> {
    let options = Options::new().entries(&["predict"]).specialise("n", &[1, 8]);
    let exe = match file {
        Some(path) => Program::load(path, &Limits::default())?.compile(&options)?,
        None => train(&options)?,
    };
    Ok(exe.freeze()?) // Send + Sync + Clone: weights and code
}

/// Answers one client until it hangs up.
fn serve(session: &mut Session, mut stream: TcpStream) -> Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        let pixels: Vec<f32> =
            line?.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
        let x = ArrayView2::from_shape((pixels.len() / PIXELS, PIXELS), &pixels)?;
        let outputs = session.call("predict").feed("x", &x).run()?; // views borrow the session
        for row in outputs.view::<f32>("probs")?.outer_iter() {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let (digit, _) = best.ok_or("expected ten probabilities")?;
            writeln!(stream, "{digit}")?;
        }
    }
    Ok(())
}

/// Takes clients from the listener: `clients` of them, or all that come.
fn accept(model: &Frozen, listener: &TcpListener, clients: Option<usize>) {
    let mut session = model.session(); // Send: an arena of its own, nothing shared that changes
    for stream in listener.incoming().flatten().take(clients.unwrap_or(usize::MAX)) {
        if let Err(error) = serve(&mut session, stream) {
            eprintln!("{error}"); // the session stays usable
        }
    }
}

/// Sends some digits in one line and reads the answers.
fn ask(listener: &TcpListener, digits: &ArrayView2<'_, f32>) -> Result<Vec<i64>> {
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let numbers: Vec<String> = digits.iter().map(ToString::to_string).collect();
    writeln!(stream, "{}", numbers.join(","))?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let answers = BufReader::new(stream).lines().map(|line| Ok(line?.parse()?));
    answers.collect()
}

/// Clients of different batch sizes at once, each with a thread of its own.
fn demonstrate(model: &Frozen, listener: &TcpListener) -> Result<()> {
    const CLIENTS: usize = 12;
    let digits = data::digits()?;
    let right = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| accept(model, listener, Some(CLIENTS / THREADS)));
        }
        let digits = &digits;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let rows = client * 9..client * 9 + 1 + client % 9;
                    let x = digits.x.slice(ndarray::s![rows.clone(), ..]);
                    let y: ArrayView1<'_, i64> = digits.y.slice(ndarray::s![rows]);
                    let found = ask(listener, &x).map_err(|error| error.to_string())?;
                    println!("client {client:>2} asked for {y}, was told {found:?}");
                    let same = found.iter().zip(y).filter(|(found, y)| found == y).count();
                    Ok::<_, String>((same, y.len()))
                })
            })
            .collect();
        let counts = clients.into_iter().map(|client| {
            client.join().map_err(|_| "a client panicked".to_owned()).and_then(|counts| counts)
        });
        counts.collect::<std::result::Result<Vec<_>, _>>()
    })?;
    let (same, all) = right.iter().fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    println!("{same} of {all} digits were told right");
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (port, file) = (arguments.next(), arguments.next());
    let model = model(file.as_deref())?;
    let listener = TcpListener::bind(("127.0.0.1", port.as_deref().map_or(Ok(0), str::parse)?))?;
    if port.is_none() {
        return demonstrate(&model, &listener);
    }
    println!("serving on {}", listener.local_addr()?);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| accept(&model, &listener, None));
        }
    });
    Ok(())
}
