//! A call: feeding, running, and the outputs.
//!
//! Everything that can be wrong with a call is found before generated code runs, so a failed call
//! changes no state. In steady state (a binding that was met before, contiguous inputs) a call
//! allocates nothing.

use std::sync::atomic::AtomicBool;

use kilngrad_ir::{Bindings, DType, Dim, Error, ErrorKind, Symbol, ValueName};
use ndarray::ArrayViewD;
use smallvec::SmallVec;

use crate::code::Slot;
use crate::element::{Element, Input, elements_of};
use crate::example::call_example;
use crate::launch::Launch;
use crate::library::{Lengths, Library, Wanted, unbound};
use crate::memory::AlignedBytes;
use crate::states::{States, expect_dtype, unknown, view};
use crate::workspace::{Binding, Workspace};

/// A call being put together.
#[doc = call_example!(
    "let mut call = exe.call(\"run\");"
    "call = call.feed(\"x\", &x); // nothing has happened yet"
    "assert_eq!(call.run()?.view::<f32>(\"y\")?, array![2f32, 4.0].into_dyn());"
)]
#[must_use = "a call does nothing until it is run"]
pub struct Call<'a, A> {
    library: &'a Library<A>,
    workspace: &'a mut Workspace<A>,
    states: &'a mut States,
    entry: &'a str,
    feeds: SmallVec<[(&'a str, &'a dyn Input); 8]>,
    bindings: SmallVec<[(&'a str, usize); 4]>,
    fetched: SmallVec<[&'a str; 4]>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a, A> Call<'a, A> {
    pub(crate) fn new(
        library: &'a Library<A>,
        workspace: &'a mut Workspace<A>,
        states: &'a mut States,
        entry: &'a str,
    ) -> Call<'a, A> {
        let (feeds, bindings, fetched, cancel) = Default::default();
        Call { library, workspace, states, entry, feeds, bindings, fetched, cancel }
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

    /// Ends the call with an error of kind [`Cancelled`](ErrorKind::Cancelled) once the flag is set:
    /// each iteration of a `while` looks at it. What else an entry does comes to an end by itself. No
    /// state has changed then.
    #[doc = call_example!(
        "let flag = std::sync::atomic::AtomicBool::new(true); // which another thread may set"
        "exe.call(\"run\").feed(\"x\", &x).cancel(&flag).run()?; // it has no loop"
    )]
    pub fn cancel(mut self, flag: &'a AtomicBool) -> Call<'a, A> {
        self.cancel = Some(flag);
        self
    }

    /// Runs the entry.
    ///
    /// # Errors
    ///
    /// If the entry, an input, a symbol or a fetched value is unknown, fed twice or missing, if a
    /// dtype or shape is another than expected, if the entry cannot be compiled for these shapes,
    /// if one of its checks fails ([`ErrorKind::Check`]), if the call is [cancelled](Call::cancel) in
    /// a loop, or if it is [watched](crate::Executable::watch) and a result is not finite. No state has changed then.
    ///
    /// # Examples
    #[doc = call_example!(
        "assert_eq!(exe.call(\"run\").feed(\"x\", &x).run()?.view::<f32>(\"y\")?[1], 4.0);"
        "let error = exe.call(\"run\").run().expect_err(\"x is not fed\");"
        "assert_eq!(error.kind(), ErrorKind::Name);"
    )]
    pub fn run(self) -> Result<Outputs<'a>, Error> {
        let entry = self.library.find(self.entry)?;
        let order = self.order_of_feeds(entry)?;
        let lengths = &self.lengths(entry, &order)?;
        let whole = Wanted { entry, lengths, fetched: &[] };
        if !self.workspace.knows(&whole) {
            self.check_shapes(entry, &order, lengths)?;
        }
        let Call { library, workspace, states, feeds, fetched, cancel, .. } = self;
        let inputs: SmallVec<[&dyn Input; 8]> =
            order.iter().map(|position| feeds[*position].1).collect();
        // Both are compiled before either runs; the second cannot displace the first, which is the
        // latest to be used.
        let beside = match fetched.is_empty() {
            true => None,
            false => {
                Some(workspace.bind(library, states, &Wanted { fetched: &fetched, ..whole })?)
            }
        };
        let at = workspace.bind(library, states, &whole)?;
        let mut launch = Launch { library, workspace, states, entry, inputs: &inputs, cancel };
        if let Some(beside) = beside {
            launch.run(beside)?;
        }
        launch.run_watched(at)?;
        let workspace: &'a Workspace<A> = workspace;
        let returned = |at| {
            let Binding { code, outputs, .. } = workspace.at(entry, at);
            Returned { slots: &code.outputs, values: outputs }
        };
        Ok(Outputs { own: returned(at), fetched: beside.map(returned) })
    }

    /// For each input, the position of its feed.
    fn order_of_feeds(&self, entry: usize) -> Result<SmallVec<[usize; 8]>, Error> {
        let graph = &self.library.program().entries[entry].graph;
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
        let graph = &self.library.program().entries[entry].graph;
        let symbols = self.library.symbols(entry).iter().cloned();
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
        let graph = &self.library.program().entries[entry].graph;
        let symbols = self.library.symbols(entry);
        for (name, _) in &self.bindings {
            if !symbols.iter().any(|symbol| symbol.name() == *name) {
                return Err(unknown("symbol", name, symbols.iter().map(|s| s.name())));
            }
        }
        let mut lengths = Lengths::new();
        for symbol in symbols {
            let mut bound: Option<(usize, Option<&str>)> = None;
            let explicit = self.bindings.iter().filter(|(name, _)| symbol.name() == *name);
            let fed = graph.arguments().iter().zip(order).flat_map(|(&argument, &position)| {
                let dims = graph.ty(argument).shape.dims().iter();
                let (name, value) = self.feeds[position];
                let axes = dims.zip(value.shape());
                axes.filter(|(dim, _)| Dim::as_symbol(dim) == Some(symbol))
                    .map(move |(_, length)| (*length, Some(name)))
            });
            for found in explicit.map(|(_, length)| (*length, None)).chain(fed) {
                match bound {
                    Some(other) if other.0 != found.0 => {
                        return Err(two_lengths(symbol, other, found));
                    }
                    Some(_) => {}
                    None => bound = Some(found),
                }
            }
            lengths.push(bound.ok_or_else(|| unbound(symbol))?.0);
        }
        Ok(lengths)
    }
}

fn word(name: &ValueName) -> &str {
    match name {
        ValueName::Word(word) => word,
        // The verifier holds arguments of entries to words.
        ValueName::Number(_) => "",
    }
}

/// Two lengths of a symbol, each with the input that has it, if it is not bound explicitly.
fn two_lengths(
    symbol: &Symbol,
    first: (usize, Option<&str>),
    second: (usize, Option<&str>),
) -> Error {
    let said = |(length, input): (usize, Option<&str>)| match input {
        None => format!("{length}, which it is bound to,"),
        Some(input) => format!("{length} of input {input:?}"),
    };
    let message = match (first, second) {
        ((one, None), (other, None)) => {
            format!("expected one length for {symbol}, found it bound to {one} and to {other}")
        }
        (one, other) => {
            format!("expected one length for {symbol}, found {} and {}", said(one), said(other))
        }
    };
    Error::new(ErrorKind::Shape, message)
}

pub(crate) fn wrong_shape(name: &str, expected: &str, found: &[usize]) -> Error {
    let message = format!("expected shape {expected} for input {name:?}, found {found:?}");
    Error::new(ErrorKind::Shape, message)
}

impl<A> std::fmt::Debug for Call<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fed: Vec<&str> = self.feeds.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Call").field("entry", &self.entry).field("fed", &fed).finish()
    }
}

/// What a call returned. It borrows the memory of who was called, which the next call reuses.
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

    /// An output as it lies in memory: row-major, little-endian.
    ///
    /// # Errors
    ///
    /// If there is no such output.
    pub fn bytes(&self, name: &str) -> Result<&'a [u8], Error> {
        Ok(self.find(name)?.1)
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
