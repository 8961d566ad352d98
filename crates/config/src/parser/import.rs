//! `import`: snippets first, then files.
//!
//! A relative path is relative to the directory of the file that holds the
//! `import`. A pattern may hold one `*` and one `?`.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::ConfigError;
use crate::env::expand_all;
use crate::lexer::lex;
use crate::parser::Parser;
use crate::position::Position;
use crate::token::Token;

// === impl Parser ===

impl Parser<'_> {
    /// Does the import whose keyword was just taken.
    pub(super) fn import(&mut self, keyword: &Token) {
        let mut arguments = Vec::new();
        while self.stream.peek().is_some_and(|token| !token.closes()) {
            let Some(token) = self.stream.take_on_line() else {
                break;
            };
            arguments.push(token);
        }
        let result = match arguments.as_slice() {
            [] => Err(ConfigError::parsing(
                &keyword.position,
                "Wrong argument count or unexpected line ending after 'import'",
            )),
            [target, ..] if target.text.is_empty() => Err(ConfigError::parsing(
                &target.position,
                "Import requires a non-empty filepath",
            )),
            [target] => self.import_one(target),
            [_, second, ..] => Err(ConfigError::parsing(
                &second.position,
                "Import takes only one argument (glob pattern or file)",
            )),
        };
        self.sink.keep(result);
    }

    /// Puts a snippet, or the files of a pattern, in front of what is left.
    fn import_one(&mut self, target: &Token) -> Result<(), ConfigError> {
        if let Some(tokens) = self.snippets.get(&target.text) {
            self.snippet_imports += 1;
            let tokens = Arc::clone(tokens);
            return self.within(
                self.snippet_imports,
                MAX_SNIPPET_IMPORTS,
                target,
                format!(
                    "maximum snippet import depth ({MAX_SNIPPET_IMPORTS}) exceeded: \
                     snippet '{}' imports itself",
                    target.text
                ),
                vec![tokens],
            );
        }
        let mut sources = Vec::new();
        for path in self.paths_of(target)? {
            self.file_imports += 1;
            sources.push(self.read(&path, target)?);
        }
        self.within(
            self.file_imports,
            MAX_FILE_IMPORTS,
            target,
            format!(
                "maximum file import depth ({MAX_FILE_IMPORTS}) exceeded: \
                 '{}' is imported again and again",
                target.text
            ),
            sources,
        )
    }

    /// Pushes the sources unless too much has been imported.
    fn within(
        &mut self,
        count: usize,
        limit: usize,
        target: &Token,
        message: String,
        sources: Vec<Arc<[Token]>>,
    ) -> Result<(), ConfigError> {
        if count > limit {
            // What is left would import as much again.
            self.give_up();
            return Err(ConfigError::parsing(&target.position, message));
        }
        for tokens in sources.into_iter().rev() {
            self.stream.push(tokens);
        }
        Ok(())
    }

    /// The files a pattern stands for, sorted by name.
    fn paths_of(&mut self, target: &Token) -> Result<Vec<PathBuf>, ConfigError> {
        let pattern = target.text.as_str();
        let count = |wildcard: char| pattern.matches(wildcard).count();
        let brackets = count('[') > 0 && count(']') > 0;
        if count('*') > 1 || count('?') > 1 || brackets {
            return Err(ConfigError::parsing(
                &target.position,
                format!(
                    "Glob pattern may only contain one wildcard (*), but has others: {pattern}"
                ),
            ));
        }
        let directory = self.directory_of(&target.position);
        if count('*') + count('?') == 0 {
            return Ok(vec![directory.join(pattern)]);
        }
        let paths = matches(&directory, pattern);
        if paths.is_empty() {
            self.sink.warn(
                &target.position,
                format!("No files matching import glob pattern: {pattern}"),
            );
        }
        Ok(paths)
    }

    /// The directory of the file a word stands in.
    fn directory_of(&self, position: &Position) -> PathBuf {
        let path = Path::new(&*position.file);
        let is_stream = STREAMS.contains(&&*position.file);
        let directory = path
            .parent()
            .filter(|_| !is_stream)
            .unwrap_or_else(|| Path::new(""));
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned())
    }

    /// The words of a file.
    fn read(&mut self, path: &Path, target: &Token) -> Result<Arc<[Token]>, ConfigError> {
        if let Some(tokens) = self.files.get(path) {
            return Ok(Arc::clone(tokens));
        }
        let shown = path.display();
        let text = read_text(path).map_err(|problem| {
            let message = match problem {
                ReadProblem::Missing => format!("File to import not found: {}", target.text),
                ReadProblem::Directory => format!("Could not import {shown}: is a directory"),
                ReadProblem::NotRegular => format!("Could not import {shown}: not a regular file"),
                ReadProblem::TooLarge => {
                    format!("Could not import {shown}: larger than {MAX_FILE_LENGTH} octets")
                }
                ReadProblem::Io(error) => format!("Could not import {shown}: {error}"),
            };
            ConfigError::parsing(&target.position, message)
        })?;
        let file: Arc<str> = Arc::from(path.to_string_lossy());
        let tokens = lex(&file, &text, self.sink);
        let tokens: Arc<[Token]> = Arc::from(expand_all(tokens, self.env, self.sink));
        self.files.insert(path.to_owned(), Arc::clone(&tokens));
        Ok(tokens)
    }
}

/// Why a file cannot be imported.
enum ReadProblem {
    /// There is none.
    Missing,
    /// It is a directory.
    Directory,
    /// It is a device or a pipe, which could block.
    NotRegular,
    /// It is longer than [`MAX_FILE_LENGTH`].
    TooLarge,
    /// The system says no.
    Io(io::Error),
}

/// Reads a file. What is not UTF-8 becomes U+FFFD: it may stand in a comment.
fn read_text(path: &Path) -> Result<String, ReadProblem> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadProblem::Missing,
        _ => ReadProblem::Io(error),
    })?;
    if metadata.is_dir() {
        return Err(ReadProblem::Directory);
    }
    if !metadata.is_file() {
        return Err(ReadProblem::NotRegular);
    }
    if metadata.len() > MAX_FILE_LENGTH {
        return Err(ReadProblem::TooLarge);
    }
    let octets = fs::read(path).map_err(ReadProblem::Io)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// The files that match a pattern below a directory, sorted. Directories that
/// match are left out: a mounted `ConfigMap` has `..data` beside its files.
fn matches(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let whole = if Path::new(pattern).is_absolute() {
        pattern.to_owned()
    } else {
        format!(
            "{}/{pattern}",
            glob::Pattern::escape(&directory.to_string_lossy())
        )
    };
    let Ok(paths) = glob::glob_with(&whole, options) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = paths
        .filter_map(Result::ok)
        .filter(|path| !path.is_dir())
        .take(MAX_FILE_IMPORTS)
        .collect();
    paths.sort();
    paths
}

/// Names of the main file that mean standard input: imports are relative to
/// the working directory.
const STREAMS: [&str; 3] = ["/dev/stdin", "stdin", "-"];

/// So many snippets may be imported, CoreDNS's number.
const MAX_SNIPPET_IMPORTS: usize = 10_000;

/// So many files may be imported, CoreDNS's number.
const MAX_FILE_IMPORTS: usize = 100_000;

/// So long may an imported file be: a block list inlined into `hosts` is.
const MAX_FILE_LENGTH: u64 = 64 * 1024 * 1024;
