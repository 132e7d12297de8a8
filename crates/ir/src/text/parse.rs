//! Reading programs: the text's structure, and what happens after an error.
//!
//! A statement is a line; it goes on in the next one only within parentheses or brackets. So after
//! an error the parser goes on with the next line, and with the line after a region's end where
//! the line opens one. A node whose operation is wrong still defines its results with the types
//! that the line states, and a name whose own definition cannot be read is never reported as
//! missing: one mistake gives one error.
//!
//! Each node's type rule is checked when it is read, which finds the operands' lines; what
//! concerns the whole program is left to [`crate::verify`], which runs when nothing else is wrong.

mod cursor;
mod op;
mod part;
mod region;

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::diagnostic::Diagnostic;
use crate::dim::Symbol;
use crate::graph::Value;
use crate::program::{Check, Entry, Init, Mode, Plan, Program, Role, State, StateId};
use crate::text::lex::{Kind, Lexer, Span, Token};
use crate::text::scope::{Known, Name, Scope};
use crate::text::{External, ParseErrors, ParseOptions, VERSION, quoted};
use crate::types::Type;
use crate::verify::verify;

/// Parsing went wrong here, which has been reported.
struct Failed;

type Parsed<T> = Result<T, Failed>;

/// Operands of a node.
type Operands = SmallVec<[Value; 3]>;

/// Reads and verifies a program.
pub(super) fn parse(
    text: &str,
    options: &ParseOptions<'_>,
    external: External<'_>,
) -> Result<Program, ParseErrors> {
    let most = options.limits.bytes.min(u32::MAX as usize - 1);
    if text.len() > most {
        let message = format!("expected a text of at most {most} bytes, found {}", text.len());
        return Err(ParseErrors { diagnostics: vec![Diagnostic::new("text_t3", message)] });
    }
    let mut parser = Parser::new(text, options, external);
    parser.program();
    if parser.errors.is_empty()
        && let Err(error) = verify(&parser.program)
    {
        let span = parser.locate(&error);
        let _: Failed = parser.report(error.error.rule, span, error.error.message);
    }
    match parser.errors.is_empty() {
        true => Ok(parser.program),
        false => Err(ParseErrors { diagnostics: parser.errors }),
    }
}

struct Parser<'t, 'o> {
    text: &'t str,
    options: &'o ParseOptions<'o>,
    /// What sites call the text.
    file: Arc<str>,
    external: External<'o>,
    lexer: Lexer<'t>,
    /// The token that is looked at.
    token: Token<'t>,
    /// Where the token before it is.
    previous: Span,
    /// Parentheses and brackets that are open in this statement.
    brackets: usize,
    errors: Vec<Diagnostic>,
    /// Nothing more is read or reported.
    stopped: bool,
    /// Elements of arrays that may still come.
    elements_left: usize,
    /// Values and states that may still come.
    values_left: usize,
    program: Program,
    states: HashMap<String, StateId>,
    /// Symbols by name, and names of files and scopes as they are written: each is allocated once.
    symbols: HashMap<&'t str, Symbol>,
    words: HashMap<&'t str, Arc<str>>,
    /// Where each state is declared.
    state_spans: Vec<Span>,
    /// Where each entry is named, and where its values are.
    entry_spans: Vec<(Span, Scope<'t>)>,
}

/// Structure: header, states, entries, statements.
impl<'t, 'o> Parser<'t, 'o> {
    fn new(text: &'t str, options: &'o ParseOptions<'o>, external: External<'o>) -> Parser<'t, 'o> {
        let mut lexer = Lexer::new(text);
        Parser {
            text,
            options,
            file: options.file.into(),
            external,
            token: lexer.next(),
            lexer,
            previous: Span::default(),
            brackets: 0,
            errors: Vec::new(),
            stopped: false,
            elements_left: options.limits.elements,
            values_left: options.limits.values,
            program: Program::default(),
            states: HashMap::new(),
            symbols: HashMap::new(),
            words: HashMap::new(),
            state_spans: Vec::new(),
            entry_spans: Vec::new(),
        }
    }

    fn program(&mut self) {
        if self.header().is_err() {
            return;
        }
        loop {
            let done = match self.token.kind {
                Kind::End => return,
                Kind::Word("state") => self.state(),
                Kind::Word("entry") => self.entry(),
                _ => {
                    let failed = self.expected_here("`state` or `entry`");
                    self.advance();
                    Err(failed)
                }
            };
            if done.and_then(|()| self.end_of_statement()).is_err() {
                self.recover_outside();
            }
        }
    }

    /// Without a header that is understood, nothing after it is.
    fn header(&mut self) -> Parsed<()> {
        if self.token.kind != Kind::Word("kilngrad") {
            return Err(self.expected_here("`kilngrad` and a version"));
        }
        self.advance();
        let span = self.token.span;
        let version = self.integer("a version")?;
        if version != VERSION {
            let message = format!("expected version {VERSION} of the text form, found {version}");
            return Err(self.report("text_t2", span, message));
        }
        self.end_of_statement()?;
        if self.token.kind != Kind::Word("program") {
            return Err(self.expected_here("`program` and its name"));
        }
        self.advance();
        self.program.name = self.string("the program's name")?.into();
        self.end_of_statement()
    }

    /// `state "net.w": f32[8] = uniform(-0.1, 0.1, stream=0x7) parameter`.
    fn state(&mut self) -> Parsed<()> {
        self.advance();
        let span = self.token.span;
        let path = self.string("the state's path")?;
        self.expect_mark(':')?;
        let ty = self.ty()?;
        self.expect_mark('=')?;
        let init = self.init(&ty)?;
        let role = match self.peek() {
            Kind::Word(word) => Role::ALL.iter().find(|(_, name)| *name == word),
            _ => None,
        };
        let Some((role, _)) = role else {
            return Err(self.expected("`parameter`, `optimizer`, `buffer` or `random`"));
        };
        self.advance();
        self.count_value(span)?;
        // Elements that are stated have been counted one by one; the others will take memory too.
        if !matches!(init, Init::Dense(_)) {
            self.count_elements(ty.element_count().unwrap_or(0), span)?;
        }
        // The first of two equal paths is meant by readers until the verifier refuses the second.
        let id = StateId::from_index(self.program.states.len());
        self.states.entry(path.clone()).or_insert(id);
        self.program.states.push(State { path: path.into(), ty, init, role: *role });
        self.state_spans.push(span);
        Ok(())
    }

    fn init(&mut self, ty: &Type) -> Parsed<Init> {
        match self.peek() {
            Kind::Word("seed") => {
                self.advance();
                Ok(Init::Seed)
            }
            Kind::Word(word @ ("uniform" | "normal")) => {
                self.advance();
                self.expect_mark('(')?;
                let first = self.float()?;
                self.expect_mark(',')?;
                let second = self.float()?;
                self.expect_mark(',')?;
                self.key("stream")?;
                let stream = self.integer("a stream")?;
                self.expect_mark(')')?;
                Ok(match word {
                    "uniform" => Init::Uniform { low: first, high: second, stream },
                    _ => Init::Normal { mean: first, std: second, stream },
                })
            }
            Kind::Mark('[') | Kind::Word("external") => Ok(Init::Dense(self.dense(ty)?)),
            _ => Ok(Init::Splat(self.literal(ty.dtype)?)),
        }
    }

    /// `entry @step(%x: f32[n,8]) train arena=4096 bound=2048 { … }`.
    fn entry(&mut self) -> Parsed<()> {
        self.advance();
        self.expect_mark('@')?;
        let span = self.token.span;
        let name = self.word("the entry's name")?;
        let mut scope = Scope::new(0);
        self.list('(', ')', |parser| parser.argument(&mut scope))?;
        let mode = match self.peek() {
            Kind::Word("train") => Mode::Train,
            Kind::Word("eval") => Mode::Eval,
            _ => return Err(self.expected("`train` or `eval`")),
        };
        self.advance();
        let plan = match self.peek() {
            Kind::Word("arena") => Some(self.plan()?),
            _ => None,
        };
        self.body(&mut scope)?;
        let graph = std::mem::take(&mut scope.graph);
        let mut entry = Entry::new(name, mode, graph);
        entry.outputs = std::mem::take(&mut scope.outputs);
        entry.checks = std::mem::take(&mut scope.checks);
        entry.updates = std::mem::take(&mut scope.updates);
        entry.plan = plan;
        self.program.entries.push(entry);
        self.entry_spans.push((span, scope));
        Ok(())
    }

    fn plan(&mut self) -> Parsed<Plan> {
        self.key("arena")?;
        let arena_bytes = self.size("a number of bytes")?;
        self.key("bound")?;
        let lower_bound_bytes = self.size("a number of bytes")?;
        Ok(Plan { arena_bytes, lower_bound_bytes })
    }

    /// `%x: f32[n,8] at argument 0`.
    fn argument(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        let (name, span) = self.name("an argument's name")?;
        self.expect_mark(':')?;
        let ty = self.ty()?;
        let place = self.place()?;
        self.unused(scope, name, span)?;
        let value = scope.graph.add_argument(name.owned(), ty);
        scope.graph.set_place(value, place);
        scope.define(name, Known::Value(value), span);
        self.count_value(span)
    }

    /// Statements in braces. Recurses once a region, [`MAX_NESTING`](crate::MAX_NESTING) deep at most. An error within
    /// a statement has been recovered from.
    fn body(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        self.expect_mark('{')?;
        let mut ended = false;
        loop {
            let done = match self.token.kind {
                Kind::Mark('}') => {
                    self.advance();
                    return Ok(());
                }
                Kind::End => return Err(self.expected_here("`}`")),
                Kind::Word("state" | "entry") if self.token.first => {
                    return Err(self.expected_here("`}`"));
                }
                _ if ended => {
                    ended = false;
                    let word = if scope.nesting == 0 { "return" } else { "yield" };
                    Err(self.expected_here(&format!("`}}` after `{word}`")))
                }
                Kind::Value(_) => self.definition(scope),
                Kind::Word("check") if scope.nesting == 0 => self.check(scope),
                Kind::Word("update") if scope.nesting == 0 => self.update(scope),
                Kind::Word("return") if scope.nesting == 0 => {
                    ended = true;
                    self.outputs(scope)
                }
                Kind::Word("yield") if scope.nesting > 0 => {
                    ended = true;
                    self.results(scope)
                }
                _ => {
                    let what = match scope.nesting {
                        0 => "a definition, `check`, `update`, `return` or `}`",
                        _ => "a definition, `yield` or `}`",
                    };
                    let failed = self.expected_here(what);
                    self.advance();
                    Err(failed)
                }
            };
            if done.and_then(|()| self.end_of_statement()).is_err() {
                self.recover();
            }
        }
    }

    /// `check %ok, "class indices from 0 to 9"  @model.rs:14:7 head`.
    fn check(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        self.advance();
        let span = self.token.span;
        let condition = self.operand(scope)?;
        self.expect_mark(',')?;
        let expected = self.string("what was expected")?.into();
        let origin = self.origin()?.unwrap_or_else(|| self.origin_in_text(span));
        scope.checks.push(Check { condition, expected, origin });
        self.count_value(span)
    }

    /// `update "net.w" := %w.next`.
    fn update(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        self.advance();
        let span = self.token.span;
        let path = self.string("a state's path")?;
        let Some(&state) = self.states.get(&path) else {
            let message = format!("expected a state of the program, found {}", quoted(&path));
            return Err(self.report("entry_v4", span, message));
        };
        if self.peek() != Kind::Assign {
            return Err(self.expected("`:=`"));
        }
        self.advance();
        let value = self.operand(scope)?;
        scope.updates.push((state, value));
        Ok(())
    }

    /// `return loss = %loss, acc = %12`.
    fn outputs(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        self.advance();
        let mut results = Vec::new();
        loop {
            let name = match self.peek() {
                Kind::Word(word) => {
                    self.advance();
                    word.into()
                }
                Kind::Text(_) => self.string("an output's name")?.into(),
                _ => return Err(self.expected("an output's name")),
            };
            self.expect_mark('=')?;
            results.push(self.operand(scope)?);
            scope.outputs.push(name);
            if !self.eat_mark(',') {
                scope.graph.set_results(results);
                return Ok(());
            }
        }
    }

    /// `yield %3, %4`.
    fn results(&mut self, scope: &mut Scope<'t>) -> Parsed<()> {
        self.advance();
        let mut results = vec![self.operand(scope)?];
        while self.eat_mark(',') {
            results.push(self.operand(scope)?);
        }
        scope.graph.set_results(results);
        Ok(())
    }
}

/// Names and counts.
impl<'t> Parser<'t, '_> {
    /// `%name`, which may be undefined.
    fn name(&mut self, what: &str) -> Parsed<(Name<'t>, Span)> {
        let Kind::Value(text) = self.peek() else { return Err(self.expected(what)) };
        let Some(name) = Name::new(text) else {
            return Err(self.expected("a name of a value: `%` with a word or a number below 2³¹"));
        };
        let span = self.token.span;
        self.advance();
        Ok((name, span))
    }

    /// Reports a name that is defined already.
    fn unused(&mut self, scope: &Scope<'t>, name: Name<'t>, span: Span) -> Parsed<()> {
        let Some(first) = scope.span(name) else { return Ok(()) };
        let name = name.owned();
        let mut error =
            self.error("graph_v1", span, format!("expected unique names, found {name} twice"));
        error = error.related(format!("{name} is defined first"), self.site(first));
        Err(self.push(error))
    }

    /// Counts a value or a state.
    fn count_value(&mut self, span: Span) -> Parsed<()> {
        match self.values_left.checked_sub(1) {
            Some(left) => {
                self.values_left = left;
                Ok(())
            }
            None => {
                let most = self.options.limits.values;
                let message = format!("expected at most {most} values and states");
                Err(self.report_and_stop("text_t3", span, message))
            }
        }
    }

    /// Counts elements of an array.
    fn count_elements(&mut self, count: usize, span: Span) -> Parsed<()> {
        match self.elements_left.checked_sub(count) {
            Some(left) => {
                self.elements_left = left;
                Ok(())
            }
            None => {
                let most = self.options.limits.elements;
                let message = format!("expected arrays of at most {most} elements together");
                Err(self.report_and_stop("text_t3", span, message))
            }
        }
    }

    /// Text as it is written between quotes, or a path, allocated once.
    fn shared(&mut self, written: &'t str, text: &str) -> Arc<str> {
        self.words.entry(written).or_insert_with(|| text.into()).clone()
    }
}
