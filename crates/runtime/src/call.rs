//! A call: feeding, running, and the outputs.
//!
//! Everything that can be wrong with a call is found before generated code runs, so a failed call
//! changes no state. In steady state (a binding that was met before, contiguous inputs) a call
//! allocates nothing.

use kilngrad_codegen::FloatMode;
use kilngrad_ir::{Bindings, DType, Dim, Error, ErrorKind, ValueName};
use ndarray::ArrayViewD;
use smallvec::SmallVec;

use crate::code::{Code, External, Slot};
use crate::element::{Element, Input, elements_of};
use crate::example::call_example;
use crate::executable::{Executable, Lengths, Specialised, unbound};
use crate::memory::AlignedBytes;
use crate::states::{expect_dtype, unknown, view};

/// A call being put together.
#[doc = call_example!(
    "let mut call = exe.call(\"run\");"
    "call = call.feed(\"x\", &x); // nothing has happened yet"
    "assert_eq!(call.run()?.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
)]
#[must_use = "a call does nothing until it is run"]
pub struct Call<'a, A> {
    executable: &'a mut Executable<A>,
    entry: &'a str,
    feeds: SmallVec<[(&'a str, &'a dyn Input); 8]>,
    bindings: SmallVec<[(&'a str, usize); 4]>,
    fetched: SmallVec<[&'a str; 4]>,
}

impl<'a, A> Call<'a, A> {
    pub(crate) fn new(executable: &'a mut Executable<A>, entry: &'a str) -> Call<'a, A> {
        let (feeds, bindings, fetched) = Default::default();
        Call { executable, entry, feeds, bindings, fetched }
    }

    /// Feeds an input: an array or view of any layout, of exactly the input's dtype.
    #[doc = call_example!(
        "let reversed = x.slice(ndarray::s![..;-1]); // any layout"
        "assert_eq!(exe.call(\"run\").feed(\"x\", &reversed).run()?.view::<f32>(\"y\")?[0], 4.0);"
    )]
    pub fn feed(mut self, name: &'a str, value: &'a dyn Input) -> Call<'a, A> {
        self.feeds.push((name, value));
        self
    }

    /// Binds a symbol that no fed shape binds.
    #[doc = call_example!(
        "let rows = exe.call(\"ones\").bind(\"n\", 3).run()?.view::<f32>(\"y\")?.len();"
        "assert_eq!(rows, 3);"
    )]
    pub fn bind(mut self, symbol: &'a str, length: usize) -> Call<'a, A> {
        self.bindings.push((symbol, length));
        self
    }

    /// Asks for a value inside the entry by its name in dumps (`h` or `%h`, `%12`): the outputs
    /// have it under this name too. It is computed from what the call is fed and the states and
    /// random numbers that it begins with.
    ///
    /// The entry itself runs the very code that it runs without, so neither outputs nor states
    /// change in a bit. The values asked for are computed before it, by code of their own that is
    /// compiled once for each list of names and kept as other bindings are; they are equal to the
    /// entry's own up to the rounding of another fusion.
    #[doc = call_example!(
        "let outputs = exe.call(\"run\").feed(\"x\", &x).fetch(\"x\").run()?;"
        "assert_eq!(outputs.view::<f32>(\"x\")?, x.view().into_dyn());"
    )]
    pub fn fetch(mut self, name: &'a str) -> Call<'a, A> {
        self.fetched.push(name);
        self
    }

    /// Runs the entry.
    ///
    /// # Errors
    ///
    /// If the entry, an input, a symbol or a fetched value is unknown, fed twice or missing, if a
    /// dtype or shape is another than expected, if the entry cannot be compiled for these shapes,
    /// if one of its checks fails ([`ErrorKind::Check`]), or if the call is
    /// [watched](Executable::watch) and a result is not finite. No state has changed then.
    ///
    /// # Examples
    #[doc = call_example!(
        "assert_eq!(exe.call(\"run\").feed(\"x\", &x).run()?.view::<f32>(\"y\")?[1], 4.0);"
        "let error = exe.call(\"run\").run().expect_err(\"x is not fed\");"
        "assert_eq!(error.kind(), ErrorKind::Name);"
    )]
    pub fn run(self) -> Result<Outputs<'a>, Error> {
        let entry = self.executable.find(self.entry)?;
        let order = self.order_of_feeds(entry)?;
        let lengths = self.lengths(entry, &order)?;
        // Also while compiling, which folds constants by the same arithmetic as native code.
        let _mode = FloatMode::enter();
        if !self.executable.knows(entry, &lengths) {
            self.check_shapes(entry, &order, &lengths)?;
        }
        let Call { executable, feeds, fetched, .. } = self;
        let inputs: SmallVec<[&dyn Input; 8]> =
            order.iter().map(|position| feeds[*position].1).collect();
        // Both are compiled before either runs; the second cannot displace the first, which is the
        // latest to be used.
        let beside = match fetched.is_empty() {
            true => None,
            false => Some(executable.specialised(entry, &lengths, &fetched)?),
        };
        let at = executable.specialised(entry, &lengths, &[])?;
        if let Some(beside) = beside {
            launch(executable, entry, beside, &inputs)?;
        }
        executable
            .watched(entry, at, &inputs, |executable| launch(executable, entry, at, &inputs))?;
        let returned = |at| {
            let Specialised { code, outputs, .. } = executable.at(entry, at);
            Returned { slots: &code.outputs, values: outputs }
        };
        Ok(Outputs { own: returned(at), fetched: beside.map(returned) })
    }

    /// For each input, the position of its feed.
    fn order_of_feeds(&self, entry: usize) -> Result<SmallVec<[usize; 8]>, Error> {
        let graph = &self.executable.program().entries[entry].graph;
        let names = || graph.arguments().iter().map(|value| word(graph.name(*value)));
        for (position, (name, _)) in self.feeds.iter().enumerate() {
            if !names().any(|known| known == *name) {
                return Err(unknown("input", name, names()));
            }
            if self.feeds[..position].iter().any(|(other, _)| other == name) {
                return Err(Error::new(
                    ErrorKind::Name,
                    format!("expected one feed of input {name:?}, found two"),
                ));
            }
        }
        graph
            .arguments()
            .iter()
            .map(|&argument| {
                let name = word(graph.name(argument));
                let fed = self.feeds.iter().position(|(other, _)| *other == name);
                let fed = fed.ok_or_else(|| {
                    let message = format!("expected input {name:?} of {}", graph.ty(argument));
                    Error::new(ErrorKind::Name, format!("{message}, found no feed"))
                })?;
                let (ty, value) = (graph.ty(argument), self.feeds[fed].1);
                if ty.dtype != value.dtype() {
                    expect_dtype(&format!("input {name:?}"), ty.dtype, value.dtype())?;
                }
                if ty.rank() != value.shape().len() {
                    return Err(wrong_shape(name, &ty.shape.to_string(), value.shape()));
                }
                Ok(fed)
            })
            .collect()
    }

    /// Checks every fed length against the declared one, before anything is compiled for them.
    fn check_shapes(&self, entry: usize, order: &[usize], lengths: &Lengths) -> Result<(), Error> {
        let graph = &self.executable.program().entries[entry].graph;
        let symbols = self.executable.symbols(entry).iter().cloned();
        let bindings: Bindings = symbols.zip(lengths.iter().copied()).collect();
        for (&argument, &position) in graph.arguments().iter().zip(order) {
            let (shape, found) = (&graph.ty(argument).shape, self.feeds[position].1.shape());
            let fits = shape.bind(&bindings).and_then(|bound| bound.as_constant());
            if fits.as_deref() != Some(found) {
                return Err(wrong_shape(word(graph.name(argument)), &shape.to_string(), found));
            }
        }
        Ok(())
    }

    /// What the entry's symbols are bound to: by explicit bindings, and by fed axes whose length is
    /// one symbol.
    fn lengths(&self, entry: usize, order: &[usize]) -> Result<Lengths, Error> {
        let graph = &self.executable.program().entries[entry].graph;
        let symbols = self.executable.symbols(entry);
        for (name, _) in &self.bindings {
            if !symbols.iter().any(|symbol| symbol.name() == *name) {
                return Err(unknown("symbol", name, symbols.iter().map(|s| s.name())));
            }
        }
        let mut lengths = Lengths::new();
        for symbol in symbols {
            let mut bound: Option<usize> = None;
            let explicit = self.bindings.iter().filter(|(name, _)| symbol.name() == *name);
            let fed = graph.arguments().iter().zip(order).flat_map(|(&argument, &position)| {
                let dims = graph.ty(argument).shape.dims().iter();
                let axes = dims.zip(self.feeds[position].1.shape());
                axes.filter(|(dim, _)| Dim::as_symbol(dim) == Some(symbol)).map(|(_, l)| *l)
            });
            for length in explicit.map(|(_, length)| *length).chain(fed) {
                match bound {
                    Some(other) if other != length => {
                        return Err(Error::new(
                            ErrorKind::Shape,
                            format!("expected one length for {symbol}, found {other} and {length}"),
                        ));
                    }
                    Some(_) | None => bound = Some(length),
                }
            }
            lengths.push(bound.ok_or_else(|| unbound(symbol))?);
        }
        Ok(lengths)
    }
}

/// Runs the code at a position of an entry on these inputs, in order.
fn launch<A>(
    executable: &mut Executable<A>,
    entry: usize,
    at: usize,
    inputs: &[&dyn Input],
) -> Result<(), Error> {
    let (specialised, states, memory, host) = executable.parts(entry, at);
    let Specialised { code, outputs, staging, table, .. } = specialised;
    for (value, slot) in inputs.iter().zip(&code.inputs) {
        expect_slot(slot, *value)?;
    }
    for ((value, slot), place) in inputs.iter().zip(&code.inputs).zip(staging.iter_mut()) {
        if value.contiguous().is_none() {
            place.reserve(slot.bytes())?;
            value.write_to(&mut place.as_mut_slice()[..slot.bytes()]);
        }
    }
    let mut constants = code.constants.iter();
    for (pointer, external) in table.0.iter_mut().zip(&code.externals) {
        *pointer = match external {
            External::Argument(index) => {
                let bytes = inputs[*index].contiguous();
                let start = bytes.map_or(staging[*index].as_ptr(), <[u8]>::as_ptr);
                start.cast_mut()
            }
            External::Output(index) => outputs[*index].as_mut_ptr(),
            External::State(id) => states.as_mut_ptr(*id),
            External::Constant(_) => {
                let bytes = constants.next().map(AlignedBytes::as_ptr);
                bytes.unwrap_or(std::ptr::null()).cast_mut()
            }
        };
    }
    // SAFETY: arena and scratch have the module's sizes, since compiling reserved them, and its
    // alignment; `Code::new` saw that each external has the bytes that the module expects of
    // it and may be written where the module writes, and the table is in that order. Inputs
    // have the slots' shapes and dtypes, so their bytes, and their elements are initialised.
    // Outputs, states, arena and scratch are borrowed exclusively and are separate
    // allocations; inputs and constants are only read. The host is the pool's, which the
    // executable owns, or runs in order, and its threads are in the default float mode.
    let ran = unsafe {
        code.module.entry().call(
            memory.arena.as_mut_ptr(),
            table.0.as_ptr(),
            memory.scratch.as_mut_ptr(),
            &host,
        )
    };
    ran.map_err(|check| {
        let message = code.checks.get(check).map_or("expected a condition to hold", |it| it);
        Error::new(ErrorKind::Check, message)
    })
}

fn word(name: &ValueName) -> &str {
    match name {
        ValueName::Word(word) => word,
        // The verifier holds arguments of entries to words.
        ValueName::Number(_) => "",
    }
}

fn expect_slot(slot: &Slot, value: &dyn Input) -> Result<(), Error> {
    if slot.dtype != value.dtype() {
        expect_dtype(&format!("input {:?}", slot.name), slot.dtype, value.dtype())?;
    }
    if slot.shape == value.shape() {
        return Ok(());
    }
    Err(wrong_shape(&slot.name, &format!("{:?}", slot.shape), value.shape()))
}

fn wrong_shape(name: &str, expected: &str, found: &[usize]) -> Error {
    let message = format!("expected shape {expected} for input {name:?}, found {found:?}");
    Error::new(ErrorKind::Shape, message)
}

impl<A> std::fmt::Debug for Call<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fed: Vec<&str> = self.feeds.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Call").field("entry", &self.entry).field("fed", &fed).finish()
    }
}

/// What a call returned. It borrows the executable's memory, which the next call reuses.
#[doc = call_example!(
    "let outputs = exe.call(\"run\").feed(\"x\", &x).run()?;"
    "assert_eq!(outputs.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
    "assert_eq!(outputs.scalar::<f32>(\"sum\")?, 3.0);"
)]
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    own: Returned<'a>,
    /// What was asked for beside the outputs.
    fetched: Option<Returned<'a>>,
}

/// What one piece of code returned.
#[derive(Debug, Clone, Copy)]
struct Returned<'a> {
    slots: &'a [Slot],
    values: &'a [AlignedBytes],
}

impl<'a> Returned<'a> {
    fn find(&self, name: &str) -> Option<(&'a Slot, &'a [u8])> {
        let position = self.slots.iter().position(|slot| *slot.name == *name)?;
        Some((&self.slots[position], self.values[position].as_slice()))
    }
}

impl<'a> Outputs<'a> {
    /// Names of the outputs, in the entry's order, and then of what was fetched.
    #[doc = call_example!(
        "let outputs = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert!(outputs.names().eq([\"y\", \"sum\"]));"
    )]
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let fetched = self.fetched.map_or(&[][..], |fetched| fetched.slots);
        self.own.slots.iter().chain(fetched).map(|slot| &*slot.name)
    }

    /// The dtype of an output.
    ///
    /// # Errors
    ///
    /// If there is no such output.
    ///
    /// # Examples
    #[doc = call_example!(
        "let outputs = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(outputs.dtype(\"y\")?, F32);"
    )]
    pub fn dtype(&self, name: &str) -> Result<DType, Error> {
        Ok(self.find(name)?.0.dtype)
    }

    /// An output as an array.
    ///
    /// # Errors
    ///
    /// If there is no such output, or it has another dtype.
    ///
    /// # Examples
    #[doc = call_example!(
        "let outputs = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(outputs.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
        "assert!(outputs.view::<f64>(\"y\").is_err());"
    )]
    pub fn view<T: Element>(&self, name: &str) -> Result<ArrayViewD<'a, T>, Error> {
        let (slot, bytes) = self.find(name)?;
        if slot.dtype != T::DTYPE {
            expect_dtype(&format!("output {name:?}"), slot.dtype, T::DTYPE)?;
        }
        view(elements_of(bytes)?, &slot.shape)
    }

    /// An output of rank 0 as its element.
    ///
    /// # Errors
    ///
    /// If there is no such output, or it has another dtype or rank.
    ///
    /// # Examples
    #[doc = call_example!(
        "let outputs = exe.call(\"run\").feed(\"x\", &x).run()?;"
        "assert_eq!(outputs.scalar::<f32>(\"sum\")?, 3.0);"
        "assert!(outputs.scalar::<f32>(\"y\").is_err());"
    )]
    pub fn scalar<T: Element>(&self, name: &str) -> Result<T, Error> {
        let (slot, bytes) = self.find(name)?;
        if slot.dtype != T::DTYPE {
            expect_dtype(&format!("output {name:?}"), slot.dtype, T::DTYPE)?;
        }
        match elements_of(bytes)? {
            [element] if slot.shape.is_empty() => Ok(*element),
            _ => {
                let message =
                    format!("expected a scalar for output {name:?}, found shape {:?}", slot.shape);
                Err(Error::new(ErrorKind::Shape, message))
            }
        }
    }

    fn find(&self, name: &str) -> Result<(&'a Slot, &'a [u8]), Error> {
        let fetched = || self.fetched.and_then(|fetched| fetched.find(name));
        self.own.find(name).or_else(fetched).ok_or_else(|| unknown("output", name, self.names()))
    }
}

/// The code behind a call, for its size.
impl<A> Code<A> {
    /// Bytes of the arena that a call uses.
    pub fn arena_bytes(&self) -> usize {
        self.module.arena_bytes()
    }
}
