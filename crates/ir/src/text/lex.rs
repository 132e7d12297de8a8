//! Tokens of the text form.
//!
//! The lexer never fails: what is no token becomes one that no rule expects, so errors are
//! reported in one place, and it copies nothing but what it is asked to unescape.

/// A part of the text. Offsets are in bytes; texts are shorter than 2³² bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// Offset of the first byte.
    pub(super) start: u32,
    /// Offset after the last byte.
    pub(super) end: u32,
    /// Line of the first byte, from 1.
    pub(super) line: u32,
    /// Offset of that line.
    pub(super) line_start: u32,
}

impl Span {
    /// From the start of this to the end of `other`, or as far as this line goes.
    pub(super) fn to(self, other: Span) -> Span {
        Span { end: if other.line == self.line { other.end } else { self.end }, ..self }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// Keywords, names, dtypes, symbols.
    Word(&'t str),
    /// `%name`, without the sign; empty if there is no name.
    Value(&'t str),
    /// Begins with a digit: decimal, hexadecimal, or a float.
    Number(&'t str),
    /// What is between quotes, escapes as they are written.
    Text(&'t str),
    /// Quotes that are not closed in their line.
    OpenText,
    /// A character of punctuation.
    Mark(char),
    /// `:=`.
    Assign,
    /// A character that begins no token.
    Stray(char),
    /// The end of the line, where a statement may not go on in the next. The parser makes it.
    Line,
    /// The end of the text.
    End,
}

/// A token with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) span: Span,
    /// Whether it is the first one of its line.
    pub(super) first: bool,
}

/// Takes a text apart, one token after the other.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'t> Lexer<'t> {
    /// Begins at the start of `text`, which is shorter than 2³² bytes.
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0, line: 1, line_start: 0 }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Token<'t> {
        let first = self.skip_blank() || self.at == 0;
        let start = self.at;
        let kind = self.kind();
        Token { kind, span: self.span(start), first: first && kind != Kind::End }
    }

    /// Goes to the end of the text at once.
    pub(super) fn finish(&mut self) {
        self.at = self.text.len();
    }

    /// The path that begins right here, and where it is.
    pub(super) fn path(&mut self) -> (&'t str, Span) {
        let start = self.at;
        let path = self.take(is_path_byte);
        (path, self.span(start))
    }

    fn span(&self, start: usize) -> Span {
        let offset = |at: usize| u32::try_from(at).expect("texts are shorter than 2³² bytes");
        Span {
            start: offset(start),
            end: offset(self.at),
            line: self.line,
            line_start: offset(self.line_start),
        }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Skips blanks and comments; whether a line ended.
    fn skip_blank(&mut self) -> bool {
        let mut ended = false;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.at += 1;
                    self.line += 1;
                    self.line_start = self.at;
                    ended = true;
                }
                (Some(b' ' | b'\t' | b'\r'), _) => self.at += 1,
                (Some(b';'), _) | (Some(b'/'), Some(b'/')) => {
                    self.take(|byte| byte != b'\n');
                }
                _ => return ended,
            }
        }
    }

    fn kind(&mut self) -> Kind<'t> {
        let Some(byte) = self.byte(0) else { return Kind::End };
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Kind::Word(self.take(is_word_byte)),
            b'%' => {
                self.at += 1;
                Kind::Value(self.take(is_word_byte))
            }
            b'0'..=b'9' => Kind::Number(self.number()),
            b'"' => self.quoted(),
            b':' if self.byte(1) == Some(b'=') => {
                self.at += 2;
                Kind::Assign
            }
            b'{' | b'}' | b'[' | b']' | b'(' | b')' | b':' | b',' | b'=' | b'+' | b'-' | b'*'
            | b'@' | b'?' => {
                self.at += 1;
                Kind::Mark(char::from(byte))
            }
            _ => {
                let stray = self.text[self.at..].chars().next().unwrap_or_default();
                self.at += stray.len_utf8();
                Kind::Stray(stray)
            }
        }
    }

    /// The bytes from here on that satisfy `holds`, which no part of a longer character may.
    fn take(&mut self, holds: impl Fn(u8) -> bool) -> &'t str {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| !holds(*byte)).unwrap_or(rest.len());
        let taken = &self.text[self.at..self.at + length];
        self.at += length;
        taken
    }

    /// Letters and points belong to a number, and after the exponent's letter a sign does.
    fn number(&mut self) -> &'t str {
        let start = self.at;
        let hex = self.byte(0) == Some(b'0') && matches!(self.byte(1), Some(b'x' | b'X'));
        loop {
            self.take(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
            let exponent = !hex && matches!(self.text.as_bytes()[self.at - 1], b'e' | b'E');
            let signed = matches!(self.byte(0), Some(b'+' | b'-'));
            if !(exponent && signed && self.byte(1).is_some_and(|byte| byte.is_ascii_digit())) {
                return &self.text[start..self.at];
            }
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Kind<'t> {
        self.at += 1;
        let start = self.at;
        loop {
            self.take(|byte| !matches!(byte, b'"' | b'\\' | b'\n'));
            match self.byte(0) {
                Some(b'"') => {
                    let inside = &self.text[start..self.at];
                    self.at += 1;
                    return Kind::Text(inside);
                }
                // What is escaped, if it is a quote or a backslash, ends nothing; a longer
                // character must not be cut.
                Some(b'\\') => {
                    let escaped = self.text[self.at + 1..].chars().next();
                    let escaped = escaped.filter(|c| *c != '\n');
                    self.at += 1 + escaped.map_or(0, char::len_utf8);
                }
                _ => return Kind::OpenText,
            }
        }
    }
}

/// What is between quotes, without escapes; `None` where an escape is none of `\n \r \t \0 \" \'
/// \\ \u{…}`.
pub(super) fn unescape(inside: &str) -> Option<String> {
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escaped = rest[at + 1..].chars().next()?;
        rest = &rest[at + 1 + escaped.len_utf8()..];
        text.push(match escaped {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            '"' | '\'' | '\\' => escaped,
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                rest = after;
                let digits = (digits.len() <= 6).then_some(digits)?;
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        });
    }
    text.push_str(rest);
    Some(text)
}

/// Whether a byte may be in a path without quotes.
pub(super) fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/')
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind<'_>> {
        let mut lexer = Lexer::new(text);
        let tokens = std::iter::repeat_with(|| lexer.next().kind);
        tokens.take_while(|kind| *kind != Kind::End).collect()
    }

    #[test]
    fn numbers_take_the_sign_of_their_exponent_and_no_other() {
        use Kind::{Mark, Number, Word};
        assert_eq!(kinds("1e-7"), [Number("1e-7")]);
        assert_eq!(kinds("0x1e-7"), [Number("0x1e"), Mark('-'), Number("7")]);
        assert_eq!(kinds("2*n-1"), [Number("2"), Mark('*'), Word("n"), Mark('-'), Number("1")]);
        assert_eq!(kinds("1e-n"), [Number("1e"), Mark('-'), Word("n")]);
    }

    #[test]
    fn comments_end_with_their_line() {
        assert_eq!(kinds("a // b ; c\n; d\ne"), [Kind::Word("a"), Kind::Word("e")]);
    }

    #[test]
    fn quotes_end_with_their_line() {
        assert_eq!(kinds("\"a\\\"b\" \"ä\\"), [Kind::Text("a\\\"b"), Kind::OpenText]);
        assert_eq!(kinds("\"a\nb\""), [Kind::OpenText, Kind::Word("b"), Kind::OpenText]);
        assert_eq!(kinds("\"a\\\nb"), [Kind::OpenText, Kind::Word("b")]);
    }

    #[test]
    fn escapes_invert_quoting() {
        for text in ["", "a\"b\\c", "\0\n\r\t'", "\u{202e}é\u{301}\u{10ffff}", "\\u{41}"] {
            let quoted = crate::text::quoted(text);
            assert_eq!(unescape(&quoted[1..quoted.len() - 1]).as_deref(), Some(text));
        }
        for bad in ["\\", "\\x41", "\\u{}", "\\u{110000}", "\\u{0000041}", "\\u41"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }
}
