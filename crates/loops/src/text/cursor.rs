//! The parser's view of a text: one token ahead, words, numbers and names.

use std::collections::BTreeMap;

use crate::kernel::{LoopVar, Reg, Scalar};

use super::lex::{Lexer, Position, Token};
use super::parse::ParseError;

pub(super) type Parsed<T> = Result<T, ParseError>;

/// A text and the token that comes next.
pub(super) struct Parser<'t> {
    lexer: Lexer<'t>,
    pub(super) token: Token<'t>,
    /// Where the next token begins.
    pub(super) at: Position,
}

/// Entries by name; `None` for a name that several have.
pub(super) struct Table {
    by_name: BTreeMap<String, Option<u32>>,
    len: u32,
}

impl Table {
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Table {
        let mut table = Table { by_name: BTreeMap::new(), len: 0 };
        for name in names {
            let at = table.len;
            table.len += 1;
            table.by_name.entry(name.to_owned()).and_modify(|at| *at = None).or_insert(Some(at));
        }
        table
    }
}

/// Words, marks and numbers.
impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str) -> Parsed<Parser<'t>> {
        let mut lexer = Lexer::new(text);
        let (token, at) = lexer.next()?;
        Ok(Parser { lexer, token, at })
    }

    pub(super) fn advance(&mut self) -> Parsed<Token<'t>> {
        let (token, at) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    pub(super) fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let problem = format!("expected {expected}, found {}", self.token);
        Err(ParseError::new(self.at, problem))
    }

    pub(super) fn end(&self) -> Parsed<()> {
        if self.token == Token::End { Ok(()) } else { self.unexpected("the end of the text") }
    }

    pub(super) fn is_mark(&self, mark: &str) -> bool {
        matches!(self.token, Token::Mark(found) if found == mark)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(found) if found == word)
    }

    /// Takes the mark if it is next.
    pub(super) fn accept(&mut self, mark: &str) -> Parsed<bool> {
        let found = self.is_mark(mark);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes the word if it is next.
    pub(super) fn accept_word(&mut self, word: &str) -> Parsed<bool> {
        let found = self.is_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(super) fn mark(&mut self, mark: &str) -> Parsed<()> {
        if self.accept(mark)? { Ok(()) } else { self.unexpected(&format!("`{mark}`")) }
    }

    pub(super) fn word(&mut self, word: &str) -> Parsed<()> {
        if self.accept_word(word)? { Ok(()) } else { self.unexpected(&format!("`{word}`")) }
    }

    /// A word that `read` understands.
    pub(super) fn known<T>(
        &mut self,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Parsed<T> {
        let value = match self.token {
            Token::Word(word) => read(word),
            Token::Text(_) | Token::Int(_) | Token::Mark(_) | Token::End => None,
        };
        match value {
            Some(value) => self.advance().map(|_| value),
            None => self.unexpected(expected),
        }
    }

    /// A number of the type that is asked for.
    pub(super) fn int<T: TryFrom<i128>>(&mut self, expected: &str) -> Parsed<T> {
        let value = match (self.is_mark("-"), &self.token) {
            (true, _) => {
                self.advance()?;
                match self.token {
                    Token::Int(value) => Some(-i128::from(value)),
                    Token::Word(_) | Token::Text(_) | Token::Mark(_) | Token::End => None,
                }
            }
            (false, Token::Int(value)) => Some(i128::from(*value)),
            (false, Token::Word(_) | Token::Text(_) | Token::Mark(_) | Token::End) => None,
        };
        match value.and_then(|value| T::try_from(value).ok()) {
            Some(value) => self.advance().map(|_| value),
            None => self.unexpected(expected),
        }
    }

    /// `word = int`.
    pub(super) fn setting<T: TryFrom<i128>>(&mut self, word: &str) -> Parsed<T> {
        self.word(word)?;
        self.mark("=")?;
        self.int("a count")
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        let name = match &self.token {
            Token::Word(word) => (*word).to_owned(),
            Token::Text(text) => text.clone(),
            Token::Int(_) | Token::Mark(_) | Token::End => return self.unexpected("a name"),
        };
        self.advance()?;
        Ok(name)
    }

    pub(super) fn symbol(&mut self) -> Parsed<String> {
        self.mark("@")?;
        self.name()
    }

    /// A name or a position in a table.
    pub(super) fn reference(&mut self, table: &Table, expected: &str) -> Parsed<u32> {
        let at = self.at;
        if self.accept("#")? {
            let value: u32 = self.int("a position")?;
            if value < table.len {
                return Ok(value);
            }
            let problem = format!("expected one of {} positions, found {value}", table.len);
            return Err(ParseError::new(at, problem));
        }
        let name = self.name()?;
        let problem = match table.by_name.get(&name) {
            Some(Some(value)) => return Ok(*value),
            Some(None) => format!("expected {expected}, found a name that several have"),
            None => format!("expected {expected}, found no \"{}\"", name.escape_default()),
        };
        Err(ParseError::new(at, problem))
    }

    /// One or more of what `item` reads, with commas between.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept(",")? {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn scalar(&mut self) -> Parsed<Scalar> {
        self.known("a scalar type", scalar_named)
    }

    pub(super) fn reg(&mut self) -> Parsed<Reg> {
        self.mark("%")?;
        Ok(Reg(self.int("a register's number")?))
    }

    pub(super) fn var(&mut self) -> Parsed<LoopVar> {
        self.known("a loop variable", var_named)
    }
}

/// A number as it is printed: digits, no leading zero.
pub(super) fn digits<T: std::str::FromStr>(word: &str) -> Option<T> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    if plain && (word.len() == 1 || !word.starts_with('0')) { word.parse().ok() } else { None }
}

pub(super) fn scalar_named(word: &str) -> Option<Scalar> {
    Scalar::ALL.into_iter().find(|scalar| scalar.name() == word)
}

pub(super) fn var_named(word: &str) -> Option<LoopVar> {
    word.strip_prefix('i').and_then(digits).map(LoopVar)
}
