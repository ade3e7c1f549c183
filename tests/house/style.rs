//! Lengths of functions and files, widths of lines and cells, and words that no comment uses.

use crate::{Source, none, sources};
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

/// Lines of a function's body: of half of all functions, of nine in ten, and of each.
const MEDIAN: usize = 8;
const NINE_IN_TEN: usize = 25;
const LONGEST: usize = 60;
/// Lines of a Rust file.
const FILE: usize = 400;
/// Columns of a line of code, of a line of text, and characters of a table's cell.
const CODE: usize = 120;
const TEXT: usize = 160;
const CELL: usize = 200;
/// Files with lines of code, and with text.
const KINDS: [&str; 5] = ["rs", "S", "c", "ld", "md"];
/// Phrases that say nothing, or say it so that nobody understands.
const PHRASES: [&str; 4] = ["so many", "sees to it", "of no meaning", "if that."];

/// A function, and the lines between the braces of its body: at least one.
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

#[derive(Default)]
struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let braces = body.brace_token.span;
        let (open, close) = (braces.open().start().line, braces.close().start().line);
        let (name, line) = (signature.ident.to_string(), signature.ident.span().start().line);
        self.0.push(Function { name, line, lines: close.saturating_sub(open + 1).max(1) });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn functions(source: &Source) -> Vec<Function> {
    let file = syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
    let mut found = Functions::default();
    found.visit_file(&file);
    found.0
}

/// Returns the functions whose bodies are longer than [`LONGEST`].
fn long_functions(source: &Source) -> Vec<String> {
    let long = functions(source).into_iter().filter(|it| it.lines > LONGEST);
    long.map(|it| format!("{}:{}: {} has {} lines", source.path, it.line, it.name, it.lines)).collect()
}

/// Returns the shares of functions, in lines, that are above their limits.
fn long_shares(sources: &[Source]) -> Vec<String> {
    let mut lines: Vec<_> = sources.iter().flat_map(functions).map(|it| it.lines).collect();
    lines.sort_unstable();
    let at = |share: usize| lines.get(lines.len() * share / 100).copied().unwrap_or(0);
    let wrong = |(share, limit)| (at(share) > limit).then(|| format!("{share} %: {} lines, not {limit}", at(share)));
    [(50, MEDIAN), (90, NINE_IN_TEN)].into_iter().filter_map(wrong).collect()
}

fn long_file(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > FILE).then(|| format!("{} has {lines} lines", source.path))
}

/// Returns the lines, and the cells of tables, that are too wide.
fn wide(source: &Source) -> Vec<String> {
    let text = source.extension() == "md";
    let limit = if text { TEXT } else { CODE };
    let judge = |line: &str| {
        let cell = line.split('|').map(|cell| cell.trim().chars().count()).max().unwrap_or(0);
        match (text && line.starts_with('|'), line.chars().count()) {
            (true, _) if cell > CELL => Some(format!("a cell of {cell} characters")),
            (_, columns) if columns > limit => Some(format!("{columns} columns")),
            _ => None,
        }
    };
    let wrong = (1..).zip(source.text.lines()).filter_map(|(line, text)| Some((line, judge(text)?)));
    wrong.map(|(line, what)| format!("{}:{line}: {what}", source.path)).collect()
}

/// Returns the text of `line` that is a comment.
fn comment<'t>(source: &Source, line: &'t str) -> Option<&'t str> {
    let line = line.trim();
    let mark = |mark| line.split_once(mark).map(|(_, comment)| comment);
    match source.extension() {
        "md" => Some(line),
        "rs" => mark("//").map(|comment| comment.trim_start_matches(['/', '!'])),
        "S" => mark("#"),
        _ => line.starts_with(['/', '*']).then_some(line),
    }
}

/// Returns the lines on which a phrase of [`PHRASES`] begins, also one that goes on in the next line's comment.
fn phrases(source: &Source) -> Vec<String> {
    let comments: Vec<_> = source.text.lines().map(|line| comment(source, line).unwrap_or("\0").trim()).collect();
    let mut wrong = Vec::new();
    for (at, line) in comments.iter().enumerate() {
        let both = format!("{line} {}", comments.get(at + 1).unwrap_or(&"")).to_lowercase();
        let begins = |phrase: &&&str| both.find(**phrase).is_some_and(|from| from < line.len());
        wrong.extend(PHRASES.iter().filter(begins).map(|it| format!("{}:{}: \"{it}\"", source.path, at + 1)));
    }
    wrong
}

#[test]
fn functions_are_short() {
    let all = sources("", &["rs"]);
    none("functions", &all.iter().flat_map(long_functions).collect::<Vec<_>>());
    none("functions", &long_shares(&all));
}

#[test]
fn files_are_short() {
    none("files", &sources("", &["rs"]).iter().filter_map(long_file).collect::<Vec<_>>());
}

#[test]
fn lines_and_cells_are_narrow() {
    none("columns", &sources("", &KINDS).iter().flat_map(wide).collect::<Vec<_>>());
}

#[test]
fn comments_have_none_of_the_phrases() {
    none("phrases", &sources("", &KINDS).iter().flat_map(phrases).collect::<Vec<_>>());
}

#[test]
fn a_long_function_is_found_and_one_at_the_limit_is_not() {
    let function = |lines: usize| format!("trait A {{\n    fn a() {{\n{}    }}\n}}\n", "        b();\n".repeat(lines));
    let found = |lines| long_functions(&Source::sample("a.rs", &function(lines)));
    assert_eq!((found(LONGEST), found(LONGEST + 1)), (vec![], vec!["a.rs:2: a has 61 lines".into()]));
    let shares = |lines| long_shares(&[Source::sample("a.rs", &function(lines))]).len();
    assert_eq!([MEDIAN, MEDIAN + 1, NINE_IN_TEN + 1].map(shares), [0, 1, 2]);
    let file = |lines: usize| long_file(&Source::sample("a.rs", &"\n".repeat(lines))).is_some();
    assert_eq!([FILE, FILE + 1].map(file), [false, true]);
}

#[test]
fn wide_lines_and_cells_are_found() {
    let found = |path: &str, text: &str| !wide(&Source::sample(path, text)).is_empty();
    let line = |columns: usize| "ä".repeat(columns);
    assert_eq!([CODE, CODE + 1].map(|columns| found("a.rs", &line(columns))), [false, true]);
    assert_eq!([TEXT, TEXT + 1].map(|columns| found("a.md", &line(columns))), [false, true]);
    let table = |columns: usize| format!("| {} | b |", line(columns));
    assert!(wide(&Source::sample("a.md", &table(CELL + 1)))[0].contains("a cell of 201"));
}

#[test]
fn phrases_are_found_in_comments_and_nowhere_else() {
    let found = |path: &str, text: &str| phrases(&Source::sample(path, &text.replace('%', "//")));
    assert_eq!(found("a.rs", "a();\n%/ It is So\n%/ many.\n"), ["a.rs:2: \"so many\""]);
    assert_eq!(found("a.md", "Who sees to it?"), ["a.md:1: \"sees to it\""]);
    assert_eq!(found("a.rs", "let a = \"so many\";\n% so\nlet many = 1;\n"), [""; 0]);
}
