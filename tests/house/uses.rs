//! Which file of a crate uses which: by `use`, and by paths in code and macros. Tests do not count.

use crate::Source;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemFn, ItemImpl, ItemMod, ItemUse, Macro, UseTree};

/// A path from the crate's root, without `crate`.
pub type Place = Vec<String>;

/// The files of a crate by the modules that they are.
#[derive(Default)]
pub struct Crate {
    files: BTreeMap<Place, File>,
}

#[derive(Default)]
struct File {
    path: String,
    /// What a name of this file stands for.
    names: BTreeMap<String, Place>,
    /// Paths that this file uses.
    used: BTreeSet<Place>,
    /// Macros that this file puts at the crate's root.
    macros: Vec<String>,
}

impl Crate {
    /// Reads the sources of the crate whose root is in `folder`.
    pub fn read(folder: &str, sources: &[Source]) -> Self {
        let mut all = Self::default();
        let library = sources.iter().any(|source| source.path == format!("{folder}/lib.rs"));
        for source in sources.iter().filter(|source| !source.is_test()) {
            let parsed = syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
            let module = module(source.path.strip_prefix(folder).unwrap_or(&source.path), library);
            let file = File { path: source.path.clone(), ..File::default() };
            let mut reader = Reader { here: module.clone(), file };
            reader.names(&parsed.items);
            reader.visit_file(&parsed);
            all.files.insert(module, reader.file);
        }
        all.root_macros();
        all
    }

    /// Lets the root's names of exported macros stand for the files that define them.
    fn root_macros(&mut self) {
        let of = |(module, file): (&Place, &File)| -> Vec<_> {
            file.macros.iter().map(|name| (name.clone(), module.clone())).collect()
        };
        let macros: Vec<_> = self.files.iter().flat_map(of).collect();
        if let Some(root) = self.files.get_mut(&[][..]) {
            root.names.extend(macros);
        }
    }

    /// Returns pairs of files of which the first uses the second.
    pub fn pairs(&self) -> BTreeSet<(&str, &str)> {
        let pairs = self.files.values().flat_map(|file| file.used.iter().map(move |used| (file, self.file(used))));
        pairs
            .filter(|(from, to)| from.path != to.path)
            .map(|(from, to)| (from.path.as_str(), to.path.as_str()))
            .collect()
    }

    /// Returns the file that defines what `place` names, names of names followed.
    fn file(&self, place: &[String]) -> &File {
        let mut place = place.to_vec();
        // Names that name each other would go on for ever.
        for _ in 0..8 {
            let (file, rest) = self.nearest(&place);
            match rest.split_first().and_then(|(name, more)| Some((file.names.get(name)?, more))) {
                Some((target, more)) if self.nearest(target).0.path != file.path => place = [target, more].concat(),
                _ => return file,
            }
        }
        self.nearest(&place).0
    }

    /// Returns the file of the innermost module that `place` goes through, and the rest of it.
    fn nearest<'p>(&self, place: &'p [String]) -> (&File, &'p [String]) {
        let inner = (0..=place.len()).rev().find_map(|len| Some((self.files.get(&place[..len])?, &place[len..])));
        inner.expect("each crate has a root")
    }
}

/// Returns the module that the file `path`, counted from the crate's root, is. A program beside a library is no root.
fn module(path: &str, library: bool) -> Place {
    let mut parts: Place = path.trim_start_matches('/').trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let roots = if library { ["mod", "lib"] } else { ["mod", "main"] };
    if parts.last().is_some_and(|last| roots.contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// Reads one file.
struct Reader {
    /// The module that is read: inner ones of the same file, too.
    here: Place,
    file: File,
}

impl Reader {
    /// Notes what the names of `items` stand for.
    fn names(&mut self, items: &[syn::Item]) {
        for item in items {
            match item {
                syn::Item::Use(item) if !is_for_tests(&item.attrs) => self.tree(&mut Vec::new(), &item.tree, true),
                syn::Item::Mod(item) if item.content.is_none() && !is_for_tests(&item.attrs) => {
                    let name = item.ident.to_string();
                    let place = [&self.here[..], std::slice::from_ref(&name)].concat();
                    self.file.names.insert(name, place);
                }
                syn::Item::Macro(item) if item.attrs.iter().any(|it| it.path().is_ident("macro_export")) => {
                    self.file.macros.extend(item.ident.as_ref().map(ToString::to_string));
                }
                _ => {}
            }
        }
    }

    /// Goes through a `use`, and notes paths, or what its `names` stand for.
    fn tree(&mut self, before: &mut Place, tree: &UseTree, names: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(before, &path.tree, names);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree, names)),
            UseTree::Name(name) => self.leaf(before, &name.ident.to_string(), &name.ident.to_string(), names),
            UseTree::Rename(name) => self.leaf(before, &name.ident.to_string(), &name.rename.to_string(), names),
            UseTree::Glob(_) => self.leaf(before, "*", "*", names),
        }
    }

    fn leaf(&mut self, before: &[String], name: &str, known_as: &str, names: bool) {
        let mut path = before.to_vec();
        path.extend((name != "self" && name != "*").then(|| name.to_owned()));
        let Some(place) = self.absolute(&path) else { return };
        if !names {
            self.file.used.insert(place);
        } else if name == "self" {
            self.file.names.extend(place.last().cloned().map(|last| (last, place.clone())));
        } else {
            self.file.names.insert(known_as.to_owned(), place);
        }
    }

    /// Returns `path` from the crate's root; `None` if it leads to another crate.
    fn absolute(&self, path: &[String]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([&self.here, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let above = self.here.get(..self.here.len().checked_sub(ups)?)?;
                Some([above, &path[ups..]].concat())
            }
            name => Some([self.file.names.get(name)?, rest].concat()),
        }
    }

    fn path(&mut self, path: &[String]) {
        let longer = path.len() > 1;
        self.file.used.extend(longer.then(|| self.absolute(path)).flatten());
    }

    /// Notes the paths in the tokens of a macro's call.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Place::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => self.path(&std::mem::replace(&mut path, vec![ident.to_string()])),
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => self.path(&std::mem::take(&mut path)),
            }
            colons = 0;
        }
        self.path(&path);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.tree(&mut Vec::new(), &item.tree, false);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.here.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.here.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Place = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.path(&parts);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Whether an item with these attributes is compiled for tests alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    let cfg = |it: &&Attribute| it.path().is_ident("cfg") || it.path().is_ident("test");
    attributes.iter().filter(cfg).any(|it| match &it.meta {
        syn::Meta::List(list) => list.tokens.to_string() == "test",
        _ => true,
    })
}

#[test]
fn a_file_uses_what_its_paths_name() {
    let sources = [
        ("c/src/lib.rs", "mod a; mod b; mod d; pub use b::Thing;"),
        ("c/src/main.rs", "use c::Thing;"),
        ("c/src/a.rs", "use crate::b; fn f() { b::inner::g(); } #[cfg(test)] mod tests { use crate::d; }"),
        ("c/src/b/mod.rs", "pub mod inner; pub struct Thing;"),
        ("c/src/b/inner.rs", "use super::super::Thing; use std::fmt; pub fn g() {}"),
        (
            "c/src/d.rs",
            "#[macro_export] macro_rules! m { () => {} }
             fn f() { assert!(crate::a::f() == 1, \"{}\", [crate::b::inner::g()][0]); }",
        ),
        ("c/src/e.rs", "fn f() { crate::m!(); }"),
        ("c/src/a/tests.rs", "use crate::d;"),
    ];
    let sources: Vec<_> = sources.into_iter().map(|(path, text)| Source::sample(path, text)).collect();
    let all = Crate::read("c/src", &sources);
    let pairs: Vec<_> = all.pairs().into_iter().map(|(from, to)| format!("{} {}", &from[6..], &to[6..])).collect();
    let wanted = [
        "a.rs b/inner.rs",
        "a.rs b/mod.rs",
        "b/inner.rs b/mod.rs",
        "d.rs a.rs",
        "d.rs b/inner.rs",
        "e.rs d.rs",
        "lib.rs b/mod.rs",
    ];
    assert_eq!(pairs, wanted);
}
