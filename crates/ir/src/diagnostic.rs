//! Diagnostics: errors that name the user's line.
//!
//! `Display` names places; [`Diagnostic::render`] also shows the line, where the place is in a text
//! that is at hand.

use std::fmt;

use crate::origin::Site;
use crate::text::is_printable;

/// One thing that is wrong, with the places that it concerns.
///
/// ```
/// use kilngrad_ir::{Diagnostic, Site};
///
/// let site = Site { file: "main.rs".into(), line: 14, column: 20 };
/// let diagnostic = Diagnostic::new("dot_c5", "expected equal lengths, found 8 and 9").at(site);
/// assert_eq!(
///     diagnostic.to_string(),
///     "error[dot_c5]: expected equal lengths, found 8 and 9\n  --> main.rs:14:20"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The broken rule's label.
    pub rule: &'static str,
    /// What was expected and what was found, in lower case and without a period.
    pub message: String,
    /// The place where it went wrong, if known.
    pub site: Option<Site>,
    /// How many characters of the line it concerns, from that place on; 0 if that is not known.
    pub width: u32,
    /// Further places with what each has to do with it: an operand and its type, say.
    pub related: Vec<Related>,
    /// What may help, a sentence each.
    pub help: Vec<String>,
}

/// A place that a diagnostic concerns.
///
/// ```
/// use kilngrad_ir::{Diagnostic, Related};
///
/// let diagnostic = Diagnostic::new("dot_c5", "expected x").related("left: f32[8]", None);
/// assert_eq!(diagnostic.related, [Related { message: "left: f32[8]".into(), site: None }]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// What this place has to do with it.
    pub message: String,
    /// The place, if known.
    pub site: Option<Site>,
}

impl Diagnostic {
    /// A diagnostic of a broken rule.
    ///
    /// ```
    /// use kilngrad_ir::Diagnostic;
    ///
    /// assert_eq!(Diagnostic::new("axis_b1", "expected an axis").rule, "axis_b1");
    /// ```
    pub fn new(rule: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            rule,
            message: message.into(),
            site: None,
            width: 0,
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// With the place where it went wrong.
    ///
    /// ```
    /// use kilngrad_ir::{Diagnostic, Site};
    ///
    /// let site = Site { file: "main.rs".into(), line: 14, column: 20 };
    /// let diagnostic = Diagnostic::new("axis_b1", "expected an axis").at(site);
    /// assert!(diagnostic.to_string().ends_with("--> main.rs:14:20"));
    /// ```
    #[must_use]
    pub fn at(mut self, site: impl Into<Option<Site>>) -> Diagnostic {
        self.site = site.into();
        self
    }

    /// With the number of characters that it concerns.
    ///
    /// ```
    /// use kilngrad_ir::{Diagnostic, Site, Source};
    ///
    /// let site = Site { file: "m.kg".into(), line: 1, column: 3 };
    /// let diagnostic = Diagnostic::new("text_t1", "expected x").at(site).spanning(3);
    /// let shown = diagnostic.render(&Source { file: "m.kg", text: "a foo" });
    /// assert!(shown.ends_with(" 1 | a foo\n   |   ^^^"));
    /// ```
    #[must_use]
    pub fn spanning(mut self, width: u32) -> Diagnostic {
        self.width = width;
        self
    }

    /// With one more place.
    ///
    /// ```
    /// use kilngrad_ir::{Diagnostic, Site};
    ///
    /// let site = Site { file: "main.rs".into(), line: 12, column: 17 };
    /// let diagnostic = Diagnostic::new("dot_c5", "expected x").related("left: f32[8]", site);
    /// assert!(diagnostic.to_string().ends_with("= left: f32[8], from main.rs:12:17"));
    /// ```
    #[must_use]
    pub fn related(
        mut self,
        message: impl Into<String>,
        site: impl Into<Option<Site>>,
    ) -> Diagnostic {
        self.related.push(Related { message: message.into(), site: site.into() });
        self
    }

    /// With advice.
    ///
    /// ```
    /// use kilngrad_ir::Diagnostic;
    ///
    /// let diagnostic = Diagnostic::new("dtype_b1", "expected x").help("write `.cast(F32)`");
    /// assert!(diagnostic.to_string().ends_with("= help: write `.cast(F32)`"));
    /// ```
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }
}

/// A text that diagnostics are about.
///
/// ```
/// use kilngrad_ir::{Program, Source, text};
///
/// let text = "kilngrad 1\nprogram oops";
/// let errors = text::parse(text, &text::ParseOptions::new("m.kg"), &mut text::no_arrays);
/// let errors = errors.expect_err("the name is not in quotes");
/// assert!(errors.render(&Source { file: "m.kg", text }).contains("program oops"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What sites call it.
    pub file: &'a str,
    /// The text.
    pub text: &'a str,
}

impl Diagnostic {
    /// As `Display`, with the line that it concerns if that is one of `source`.
    ///
    /// Tabs show as four blanks, other characters that cannot be shown as they are escaped, and of
    /// a long line the part around the place.
    ///
    /// ```text
    /// error[dot_c5]: expected contracted axes of equal length, found …
    ///   --> model.kg:7:19
    ///    |
    ///  7 |   %4: f32[n,16] = dot %x, %w1 contract=[1]x[0]
    ///    |                   ^^^
    ///    = operand %x is f32[n,8], from model.kg:3:13
    /// ```
    ///
    /// ```
    /// use kilngrad_ir::{Diagnostic, Site, Source};
    ///
    /// let site = Site { file: "m.kg".into(), line: 1, column: 3 };
    /// let diagnostic = Diagnostic::new("text_t1", "expected x").at(site);
    /// let shown = diagnostic.render(&Source { file: "m.kg", text: "a b" });
    /// assert!(shown.ends_with(" 1 | a b\n   |   ^"));
    /// ```
    pub fn render(&self, source: &Source<'_>) -> String {
        let site = self.site.as_ref().filter(|site| *site.file == *source.file);
        let line = site.and_then(|site| {
            let line = source.text.lines().nth((site.line as usize).checked_sub(1)?)?;
            Some((site.line.to_string(), Excerpt::new(line, site.column, self.width)))
        });
        let Some((number, excerpt)) = line else { return self.to_string() };
        let gutter = number.len().max(GUTTER);
        let mut text = String::new();
        self.write(gutter, Some((&number, &excerpt)), &mut text).expect("a string takes any text");
        text
    }

    fn write(
        &self,
        gutter: usize,
        excerpt: Option<(&str, &Excerpt)>,
        out: &mut dyn fmt::Write,
    ) -> fmt::Result {
        write!(out, "error[{}]: {}", self.rule, self.message)?;
        if let Some(site) = &self.site {
            write!(out, "\n{:gutter$}--> {site}", "")?;
        }
        if let Some((number, Excerpt { shown, before, width })) = excerpt {
            write!(out, "\n{:gutter$} |\n{number:>gutter$} | {shown}", "")?;
            write!(out, "\n{:gutter$} | {:before$}{:^<width$}", "", "", "")?;
        }
        for related in &self.related {
            write!(out, "\n{:gutter$} = {}", "", related.message)?;
            if let Some(site) = &related.site {
                write!(out, ", from {site}")?;
            }
        }
        for help in &self.help {
            write!(out, "\n{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// ```text
/// error[dot_c5]: expected contracted axes of equal length, found …
///   --> src/main.rs:14:20
///    = left operand: f32[n,8], from src/main.rs:12:17
///    = help: …
/// ```
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(GUTTER, None, f)
    }
}

/// Least width of the column of line numbers.
const GUTTER: usize = 2;

/// A line as it is shown, with the place that is underlined, in columns of the terminal.
struct Excerpt {
    shown: String,
    before: usize,
    width: usize,
}

impl Excerpt {
    /// Lines of at most this many characters are shown whole.
    const WHOLE: usize = 120;
    /// Of longer ones, this many are shown before the place, and then from there on.
    const REACH: (usize, usize) = (40, 80);

    /// `column` is from 1, in characters, as is `width`.
    fn new(line: &str, column: u32, width: u32) -> Excerpt {
        let at = (column as usize).saturating_sub(1);
        let width = width.max(1) as usize;
        let (first, last) = match line.chars().nth(Excerpt::WHOLE) {
            None => (0, usize::MAX),
            Some(_) => (at.saturating_sub(Excerpt::REACH.0), at + Excerpt::REACH.1),
        };
        let mut excerpt = Excerpt { shown: String::new(), before: 0, width: 0 };
        if first > 0 {
            excerpt.before += excerpt.show('…');
        }
        for (index, c) in line.chars().enumerate().skip(first) {
            if index == last {
                excerpt.show('…');
                break;
            }
            let cells = excerpt.show(c);
            if index < at {
                excerpt.before += cells;
            } else if index - at < width {
                excerpt.width += cells;
            }
        }
        excerpt.width = excerpt.width.max(1);
        excerpt
    }

    /// Shows a character; how many columns it takes.
    fn show(&mut self, c: char) -> usize {
        match c {
            '\t' => {
                self.shown.push_str("    ");
                4
            }
            c if is_printable(c) => {
                self.shown.push(c);
                if is_wide(c) { 2 } else { 1 }
            }
            c => {
                self.shown.extend(c.escape_default());
                c.escape_default().len()
            }
        }
    }
}

/// Whether terminals give a character two columns: the blocks of East Asian scripts and emoji.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, line: u32, column: u32, width: u32) -> String {
        let site = Site { file: "m.kg".into(), line, column };
        let diagnostic = Diagnostic::new("text_t1", "expected x").at(site).spanning(width);
        let rendered = diagnostic.render(&Source { file: "m.kg", text });
        rendered.lines().skip(3).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn underlines_stand_under_what_they_concern() {
        assert_eq!(render("ab\ncde fg\n", 2, 2, 3), " 2 | cde fg\n   |  ^^^");
        assert_eq!(render("\tx\ty", 1, 2, 3), " 1 |     x    y\n   |     ^^^^^^");
        assert_eq!(render("\u{202e}\0x", 1, 3, 1), " 1 | \\u{202e}\\u{0}x\n   |              ^");
        assert_eq!(render("é語x", 1, 3, 1), " 1 | é語x\n   |    ^");
        assert_eq!(render("語", 1, 1, 1), " 1 | 語\n   | ^^");
        // The end of a line, and of a line that ends as files of Windows do.
        assert_eq!(render("ab\r\nc", 1, 3, 0), " 1 | ab\n   |   ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("{}!{}", "a".repeat(1000), "b".repeat(1000));
        let (a, b) = ("a".repeat(40), "b".repeat(79));
        let expected = format!(" 1 | …{a}!{b}…\n   | {}^^", " ".repeat(41));
        assert_eq!(render(&text, 1, 1001, 2), expected);
        let expected = format!("1 | …{a}!{b}…\n   | {}{}", " ".repeat(41), "^".repeat(80));
        assert!(render(&text, 1, 1001, u32::MAX).ends_with(&expected));
    }

    #[test]
    fn places_elsewhere_are_only_named() {
        let site = Site { file: "a.rs".into(), line: 1, column: 1 };
        let diagnostic = Diagnostic::new("text_t1", "expected x").at(site);
        let elsewhere = Source { file: "m.kg", text: "abc" };
        assert_eq!(diagnostic.render(&elsewhere), diagnostic.to_string());
        let beyond = Source { file: "a.rs", text: "" };
        assert_eq!(diagnostic.render(&beyond), diagnostic.to_string());
    }
}
