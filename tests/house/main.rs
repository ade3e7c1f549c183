//! Whether the house is in order: lengths, columns and words (`style`), who may use whom (`layers`), and where unsafe
//! code stands (`fence`).
//!
//! Each rule is a function over sources, which a second test runs on a sample that breaks the rule: no rule can be
//! vacuous.

mod fence;
mod layers;
mod style;
mod uses;

use std::fs;
use std::path::Path;

/// A file of the checkout.
pub struct Source {
    /// The path from the checkout's folder, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Returns a file that a test made up.
    #[cfg(test)]
    fn sample(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Whether the file holds tests alone.
    fn is_test(&self) -> bool {
        let mut folders = self.path.split('/');
        let file = folders.next_back().unwrap_or_default();
        folders.any(|folder| folder == "tests") || file == "tests.rs" || file.ends_with("_tests.rs")
    }
}

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Returns the sources below `folder` whose extensions are in `extensions`, in the order of their paths.
fn sources(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    let source =
        |path: &String| Source { path: path.clone(), text: fs::read_to_string(root().join(path)).expect("text") };
    let mut all: Vec<_> = paths.iter().filter(|path| extensions.iter().any(|it| has(path, it))).map(source).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn has(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// Adds the files below `folder` to `found`, without hidden ones and without what cargo made.
fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Cargo puts CACHEDIR.TAG into its target folder, whatever the folder is called.
        let skipped = name.starts_with('.') || path.join("CACHEDIR.TAG").exists();
        match path.is_dir() {
            _ if skipped => {}
            true => walk(&path, found),
            false => found.extend(path.strip_prefix(root()).ok().map(|path| path.to_string_lossy().into_owned())),
        }
    }
}

/// Fails with all lines of `wrong`, unless there are none.
#[track_caller]
fn none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}: {} found\n{}", wrong.len(), wrong.join("\n"));
}
