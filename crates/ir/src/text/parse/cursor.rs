//! The parser's place in the text: tokens, errors, and where to go on after one.

use super::{Failed, Parsed, Parser, part};
use crate::diagnostic::Diagnostic;
use crate::origin::Site;
use crate::text::lex::{Kind, Span, unescape};
use crate::text::{MAX_ERRORS, is_printable};
use crate::verify::VerifyError;

/// Tokens.
impl<'t> Parser<'t, '_> {
    /// What the token is to a statement that is not over: the end of the line, if it begins the
    /// next one and no bracket is open.
    pub(super) fn peek(&self) -> Kind<'t> {
        if self.token.first && self.brackets == 0 { Kind::Line } else { self.token.kind }
    }

    pub(super) fn advance(&mut self) {
        match self.token.kind {
            Kind::Mark('(' | '[') => self.brackets += 1,
            Kind::Mark(')' | ']') => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        self.previous = self.token.span;
        self.token = self.lexer.next();
    }

    pub(super) fn eat_mark(&mut self, mark: char) -> bool {
        let found = self.peek() == Kind::Mark(mark);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Kind::Word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect_mark(&mut self, mark: char) -> Parsed<()> {
        if self.eat_mark(mark) { Ok(()) } else { Err(self.expected(&format!("`{mark}`"))) }
    }

    /// `key=`.
    pub(super) fn key(&mut self, key: &str) -> Parsed<()> {
        if !self.eat_word(key) {
            return Err(self.expected(&format!("`{key}=`")));
        }
        self.expect_mark('=')
    }

    pub(super) fn word(&mut self, what: &str) -> Parsed<&'t str> {
        let Kind::Word(word) = self.peek() else { return Err(self.expected(what)) };
        self.advance();
        Ok(word)
    }

    pub(super) fn string(&mut self, what: &str) -> Parsed<String> {
        let Kind::Text(inside) = self.peek() else {
            return Err(self.expected(&format!("{what} in quotes")));
        };
        let Some(text) = unescape(inside) else {
            let message = "expected escapes of n, r, t, 0, quotes, backslashes and u{…} only";
            return Err(self.report("text_t1", self.token.span, message));
        };
        self.advance();
        Ok(text)
    }

    pub(super) fn integer(&mut self, what: &str) -> Parsed<u64> {
        let Kind::Number(digits) = self.peek() else { return Err(self.expected(what)) };
        let Some(value) = part::integer(digits) else {
            return Err(self.expected(&format!("{what}, a whole number that fits 64 bits")));
        };
        self.advance();
        Ok(value)
    }

    pub(super) fn size(&mut self, what: &str) -> Parsed<usize> {
        let span = self.token.span;
        let value = self.integer(what)?;
        usize::try_from(value).map_err(|_| {
            self.report(
                "text_t4",
                span,
                format!("expected {what}, found {value}, which is too large"),
            )
        })
    }

    /// Items between an opening and a closing mark, with commas between them.
    pub(super) fn list(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        self.expect_mark(open)?;
        if self.eat_mark(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat_mark(close) {
                return Ok(());
            }
            if !self.eat_mark(',') {
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
    }

    pub(super) fn end_of_statement(&mut self) -> Parsed<()> {
        match self.peek() {
            Kind::Line | Kind::End | Kind::Mark('}') => Ok(()),
            _ => Err(self.expected("the end of the line")),
        }
    }
}

/// Errors.
impl Parser<'_, '_> {
    /// Where a part of the text is.
    pub(super) fn site(&self, span: Span) -> Site {
        let column = self.characters(span.line_start, span.start).saturating_add(1);
        Site { file: self.file.clone(), line: span.line, column }
    }

    fn characters(&self, start: u32, end: u32) -> u32 {
        let part = &self.text[start as usize..end as usize];
        u32::try_from(part.chars().count()).expect("texts are shorter than 2³² bytes")
    }

    pub(super) fn error(
        &self,
        rule: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        let width = self.characters(span.start, span.end);
        Diagnostic::new(rule, message).at(self.site(span)).spanning(width)
    }

    /// Reports a diagnostic, unless the one before is of the same place: then this follows from
    /// it. After [`MAX_ERRORS`] nothing more is read.
    pub(super) fn push(&mut self, error: Diagnostic) -> Failed {
        let follows = self.errors.last().is_some_and(|last| last.site == error.site);
        if !self.stopped && !follows {
            self.errors.push(error);
            if self.errors.len() == MAX_ERRORS {
                self.stop();
            }
        }
        Failed
    }

    pub(super) fn report(
        &mut self,
        rule: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Failed {
        let error = self.error(rule, span, message);
        self.push(error)
    }

    /// Reports what makes the rest of the text not worth reading.
    pub(super) fn report_and_stop(
        &mut self,
        rule: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Failed {
        let failed = self.report(rule, span, message);
        self.stop();
        failed
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.lexer.finish();
        self.token = self.lexer.next();
    }

    /// Reports that a statement goes on otherwise than it should.
    pub(super) fn expected(&mut self, what: &str) -> Failed {
        match self.peek() {
            Kind::Line => {
                let end = Span { start: self.previous.end, ..self.previous };
                self.report("text_t1", end, format!("expected {what}, found the end of the line"))
            }
            _ => self.expected_here(what),
        }
    }

    /// Reports that a statement begins with the wrong token.
    pub(super) fn expected_here(&mut self, what: &str) -> Failed {
        let found = self.found();
        self.report("text_t1", self.token.span, format!("expected {what}, found {found}"))
    }

    fn found(&self) -> String {
        match self.token.kind {
            Kind::End | Kind::Line => "the end of the text".to_owned(),
            Kind::OpenText => "a quote that is not closed in its line".to_owned(),
            Kind::Word(_)
            | Kind::Value(_)
            | Kind::Number(_)
            | Kind::Text(_)
            | Kind::Mark(_)
            | Kind::Assign
            | Kind::Stray(_) => self.written(self.token.span),
        }
    }

    /// A part of the text as messages show it.
    pub(super) fn written(&self, span: Span) -> String {
        format!("`{}`", excerpt(&self.text[span.start as usize..span.end as usize]))
    }

    /// Where the program breaks a rule of the verifier.
    pub(super) fn locate(&self, error: &VerifyError) -> Span {
        if let Some(state) = error.state {
            return self.state_spans[state.index()];
        }
        // Of two entries with one name the verifier refuses the second.
        let named =
            |name: &String| self.program.entries.iter().rposition(|entry| *entry.name == **name);
        let Some((span, scope)) =
            error.entry.as_ref().and_then(named).map(|i| &self.entry_spans[i])
        else {
            return Span { line: 1, ..Span::default() };
        };
        let value = error.value.as_ref().and_then(|name| scope.value_span(name));
        value.unwrap_or(*span)
    }
}

/// Recovery.
impl Parser<'_, '_> {
    /// Goes to where the next statement of a body begins or the body ends. A line that opens a
    /// region is skipped with it. A line that can only begin a statement ends a forgotten bracket.
    pub(super) fn recover(&mut self) {
        let mut braces = 0usize;
        loop {
            let first = self.token.first;
            match self.token.kind {
                Kind::End => break,
                Kind::Word("state" | "entry") if first => break,
                Kind::Mark('}') if braces == 0 => break,
                Kind::Value(_) | Kind::Word("check" | "update" | "return" | "yield")
                    if first && braces == 0 =>
                {
                    break;
                }
                _ if first && braces == 0 && self.brackets == 0 => break,
                Kind::Mark('{') => braces += 1,
                Kind::Mark('}') => braces -= 1,
                _ => {}
            }
            self.advance();
        }
        self.brackets = 0;
    }

    /// Goes to where the next state or entry begins.
    pub(super) fn recover_outside(&mut self) {
        loop {
            match self.token.kind {
                Kind::End => break,
                Kind::Word("state" | "entry") if self.token.first => break,
                _ => self.advance(),
            }
        }
        self.brackets = 0;
    }
}

/// A token as messages show it.
fn excerpt(token: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown = String::new();
    for (index, c) in token.chars().enumerate() {
        if index == LONGEST {
            shown.push('…');
            break;
        }
        match is_printable(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_default()),
        }
    }
    shown
}
