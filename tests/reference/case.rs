//! One case: built with its gradients, run every way, compared.

use kilngrad::prelude::*;
use kilngrad::{Array, Interpreted};
use kilngrad_testing::reference::{Reference, Tolerance, far, rounded};
use kilngrad_testing::{features, input, output};
use libtest_mimic::Failed;
use serde_json::Value as Json;

use crate::ops::{Call, Function};

/// Runs a case in `f64` and `f32`, interpreted and natively; an error lists every output that is
/// wrong.
pub(crate) fn run(reference: &Reference, json: &Json, build: Function) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (float, tolerance) in [(F64, Reference::F64), (F32, Reference::F32)] {
        let case = Case::build(reference, json, build, float)?;
        let options = Options::new().features(features());
        let mut interpreted = case.program.clone().interpret(&options)?;
        case.compare("interpreted", &case.interpret(&mut interpreted)?, tolerance, &mut wrong);
        let mut executable = case.program.clone().compile(&options)?;
        case.compare("native", &case.call(&mut executable)?, tolerance, &mut wrong);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// A case as a program of one entry.
struct Case {
    float: DType,
    program: Program,
    feeds: Vec<(String, Array)>,
    expected: Vec<(String, Array)>,
}

impl Case {
    fn build(
        reference: &Reference,
        json: &Json,
        build: Function,
        float: DType,
    ) -> Result<Case, Failed> {
        let name = json["name"].as_str().unwrap();
        let b = Builder::new(name);
        let mut writer = Writer {
            reference,
            name,
            float,
            entry: b.entry("run", Mode::Eval),
            feeds: Vec::new(),
            expected: Vec::new(),
        };
        writer.write(json, build);
        let Writer { feeds, expected, .. } = writer;
        let program = b.finish()?;
        for (_, node) in program.entries[0].graph.nodes() {
            let site = node.origin.site().ok_or("expected a node to name a call")?;
            if !site.file.contains("tests/") {
                return Err(format!("{} at {site}, not at the call", node.op.name()).into());
            }
        }
        Ok(Case { float, program, feeds, expected })
    }

    fn interpret(&self, program: &mut Interpreted) -> Result<Vec<Array>, Error> {
        let call = program.call("run");
        let call = self.feeds.iter().fold(call, |call, (key, x)| call.feed(key, input(x)));
        let found = call.run()?;
        self.expected.iter().map(|(key, _)| found.array(key).cloned()).collect()
    }

    fn call(&self, executable: &mut Executable) -> Result<Vec<Array>, Error> {
        let call = executable.call("run");
        let call = self.feeds.iter().fold(call, |call, (key, x)| call.feed(key, input(x)));
        let found = call.run()?;
        self.expected.iter().map(|(key, _)| output(&found, key)).collect()
    }

    fn compare(&self, how: &str, found: &[Array], tolerance: Tolerance, wrong: &mut Vec<String>) {
        for ((key, expected), found) in self.expected.iter().zip(found) {
            let far = far(found, expected, tolerance);
            wrong.extend(far.map(|far| format!("{how} {} {key}: {far}", self.float)));
        }
    }
}

/// A case's entry being written, with what it is fed and what it must give.
struct Writer<'a, 'b> {
    reference: &'a Reference,
    name: &'a str,
    float: DType,
    entry: Entry<'b>,
    feeds: Vec<(String, Array)>,
    expected: Vec<(String, Array)>,
}

impl<'b> Writer<'_, 'b> {
    fn write(&mut self, json: &Json, build: Function) {
        let (mut inputs, mut sources) = (Vec::new(), Vec::new());
        for input in json["inputs"].as_array().unwrap() {
            let name = input["name"].as_str().unwrap();
            let tensor = self.feed("in", name);
            inputs.push((name, tensor));
            if input["grad"].as_bool().unwrap_or(false) {
                sources.push((name, tensor));
            }
        }
        let outputs = build.build(&Call { inputs: &inputs, attrs: &json["attrs"] });
        for (index, output) in outputs.iter().enumerate() {
            self.expect("out", &index.to_string(), *output);
        }
        if !json["grad"].as_bool().unwrap() {
            return;
        }
        let mut loss = Vec::new();
        let real = outputs.iter().filter(|x| x.ty().is_some_and(|ty| ty.dtype.is_float()));
        for (index, output) in real.enumerate() {
            loss.push((*output, self.feed("cotangent", &index.to_string())));
        }
        let mut turned = Vec::new();
        for (name, source) in &sources {
            // Each source is asked for by itself: an array's length is part of its type.
            let [gradient] = weighted(&loss).gradient([*source]);
            self.expect("grad", name, gradient);
            if self.float == F64 && json["hvp"].as_bool().unwrap() {
                turned.push((gradient, self.feed("hvp_direction", name)));
            }
        }
        if turned.is_empty() {
            return;
        }
        for (name, source) in &sources {
            let [second] = weighted(&turned).gradient_or_zero([*source]);
            self.expect("hvp", name, second);
        }
    }

    /// An input that is fed a tensor of the case.
    fn feed(&mut self, kind: &str, name: &str) -> Tensor<'b> {
        let array = self.reference.array(&format!("{}/{kind}/{name}", self.name));
        let array = rounded(array, self.float);
        let word = format!("{kind}_{name}");
        let tensor = self.entry.input(&word, array.dtype(), array.shape());
        self.feeds.push((word, array));
        tensor
    }

    /// An output that is to be a tensor of the case.
    fn expect(&mut self, kind: &str, name: &str, tensor: Tensor<'b>) {
        let array = self.reference.array(&format!("{}/{kind}/{name}", self.name));
        let word = format!("{kind}_{name}");
        self.entry.output(&word, tensor);
        self.expected.push((word, self.corrected(kind, array)));
    }

    /// PyTorch's derivative of hardsigmoid is 1/6 rounded to `f32`, whatever the dtype: its
    /// gradients are too large by the factor that this divides by, and right otherwise.
    fn corrected(&self, kind: &str, array: &Array) -> Array {
        if !(self.name.starts_with("hardsigmoid") && kind == "grad") {
            return array.clone();
        }
        let factor = f64::from(1f32 / 6.0) * 6.0;
        let exact = array.to_f64_vec().into_iter().map(|x| x / factor).collect();
        Array::from_elements::<f64>(array.shape(), exact).unwrap()
    }
}

/// The sum of each tensor's product with its weights.
fn weighted<'b>(terms: &[(Tensor<'b>, Tensor<'b>)]) -> Tensor<'b> {
    let products = terms.iter().map(|(tensor, weight)| (*tensor * *weight).sum(..));
    products.reduce(|sum, product| sum + product).unwrap()
}
