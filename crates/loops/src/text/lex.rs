//! Tokens of the text form.

use super::parse::ParseError;

/// A place in a text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A word: keywords, names, types, loop variables.
    Word(&'t str),
    /// A quoted name, without quotes and escapes.
    Text(String),
    /// An unsigned number, decimal or hexadecimal.
    Int(u64),
    /// Punctuation.
    Mark(&'static str),
    /// The end of the text.
    End,
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(word) => write!(f, "`{word}`"),
            Token::Text(text) => write!(f, "\"{}\"", text.escape_default()),
            Token::Int(value) => write!(f, "`{value}`"),
            Token::Mark(mark) => write!(f, "`{mark}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Longer ones precede their prefixes.
const MARKS: [&str; 18] =
    ["..", "+=", "{", "}", "[", "]", "(", ")", ":", ";", ",", "=", "+", "-", "*", "@", "%", "#"];

/// Takes a text apart, one token after the other.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    rest: &'t str,
    position: Position,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { rest: text, position: Position { line: 1, column: 1 } }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'t>, Position), ParseError> {
        self.skip_blank();
        let start = self.position;
        let Some(first) = self.rest.chars().next() else { return Ok((Token::End, start)) };
        if first.is_ascii_alphabetic() || first == '_' {
            let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            return Ok((Token::Word(word), start));
        }
        if first.is_ascii_digit() {
            return Ok((Token::Int(self.int(start)?), start));
        }
        if first == '"' {
            return Ok((Token::Text(self.string(start)?), start));
        }
        match MARKS.into_iter().find(|mark| self.rest.starts_with(mark)) {
            Some(mark) => {
                self.advance(mark.len());
                Ok((Token::Mark(mark), start))
            }
            None => {
                let found = first.escape_default();
                Err(ParseError::new(start, format!("expected a token, found `{found}`")))
            }
        }
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    /// The characters at the start that satisfy `holds`.
    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !holds(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn advance(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.position.line += 1;
                self.position.column = 1;
            } else {
                self.position.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn int(&mut self, start: Position) -> Result<u64, ParseError> {
        // A tile's shape is written 6x16, so that a word may follow a number at once.
        let hex = self.rest.starts_with("0x");
        let digits = if hex {
            self.advance(2);
            self.take_while(|c| c.is_ascii_hexdigit())
        } else {
            self.take_while(|c| c.is_ascii_digit())
        };
        let radix = if hex { 16 } else { 10 };
        u64::from_str_radix(digits, radix)
            .map_err(|_| ParseError::new(start, "expected a number of at most 64 bits".to_owned()))
    }

    fn string(&mut self, start: Position) -> Result<String, ParseError> {
        let bad = |what: &str| ParseError::new(start, format!("expected {what} in a string"));
        self.advance(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| !matches!(c, '"' | '\\' | '\n')));
            match self.rest.as_bytes() {
                [b'"', ..] => {
                    self.advance(1);
                    return Ok(text);
                }
                [b'\\', b'u', b'{', ..] => {
                    self.advance(3);
                    let digits = self.take_while(|c| c.is_ascii_hexdigit());
                    let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                    text.push(code.ok_or_else(|| bad("a character's number"))?);
                    if !self.rest.starts_with('}') {
                        return Err(bad("`}` after a character's number"));
                    }
                    self.advance(1);
                }
                [b'\\', escape @ (b'n' | b'r' | b't' | b'"' | b'\'' | b'\\'), ..] => {
                    text.push(match escape {
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        other => char::from(*other),
                    });
                    self.advance(2);
                }
                [b'\\', ..] => return Err(bad("an escape of n, r, t, quotes or u{…}")),
                _ => return Err(bad("a closing quote")),
            }
        }
    }
}
