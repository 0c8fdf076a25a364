//! What is wrong with a profile, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

/// One fault, or one warning, with the place in the file it is about.
///
/// Prints as `file:line:column: message`; as a [`Diagnostic`] it draws the line. Passwords and the like are
/// blotted out of the text that is drawn.
#[derive(Clone)]
pub struct Fault {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The file it is in.
    pub file: PathBuf,
    /// The bytes of the file it is about. `None`: the file as a whole.
    pub span: Option<Range<usize>>,
    /// A few words for the drawn span.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Message and help for who wrote no profile but said of one node alone what it is to be; `None`: the same.
    pub alone: Option<Alone>,
    pub(super) severity: Severity,
    pub(super) source: NamedSource<Arc<str>>,
}

/// A fault without talk of profiles and clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    /// The text of the file, every secret in it blotted out; as long as the file, byte for byte.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.inner()
    }

    /// The text it is about.
    #[must_use]
    pub fn under_span(&self) -> Option<&str> {
        self.text().get(self.span.clone()?)
    }

    /// Line and column, both from 1, the column in characters.
    #[must_use]
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let before = self.text().get(..self.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        Some((line, before.get(line_start..)?.chars().count() + 1))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line_and_column() {
            Some((line, column)) => {
                write!(f, "{}:{line}:{column}: {}", self.file.display(), self.message)
            }
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self}")?;
        match &self.help {
            Some(help) => write!(f, "; {help})"),
            None => write!(f, ")"),
        }
    }
}

impl std::error::Error for Fault {}

impl Diagnostic for Fault {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.as_ref().map(|_| &self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(self.label.clone(), span))))
    }
}

/// Every fault of a profile, in the order of files and lines. Never empty.
#[derive(Clone)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// The faults.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl std::error::Error for Faults {}

impl Diagnostic for Faults {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|fault| fault as &dyn Diagnostic)))
    }
}

/// A fault being written down; the text is added when all secrets in it are known.
pub(super) struct Draft {
    pub(super) place: super::value::Place,
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) help: Option<String>,
    pub(super) alone: Option<Alone>,
}

impl Draft {
    /// A few words for the drawn span.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// What to do about it.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// The same in the terms of one node without a profile.
    pub(super) fn alone(&mut self, message: impl Into<String>, help: Option<String>) -> &mut Self {
        self.alone = Some(Alone { message: message.into(), help });
        self
    }

    pub(super) fn into_fault(self, severity: Severity, file: &Path, text: &Arc<str>) -> Fault {
        let whole_file = text.is_empty() || text.get(self.place.span.clone()).is_none();
        Fault {
            message: self.message,
            file: file.to_owned(),
            span: (!whole_file).then_some(self.place.span),
            label: self.label,
            help: self.help,
            alone: self.alone,
            severity,
            source: NamedSource::new(file.display().to_string(), Arc::clone(text)),
        }
    }
}
