//! Manual pages and completions.

use crate::lab::sluiced;
use std::fs;
use std::process::Command;

/// The words that `help` lists under `Commands:`, without `help` itself.
fn commands() -> Vec<String> {
    let text = sluiced(&["--help"]).1;
    let list = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let words = list.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    words.filter(|word| word != "help").collect()
}

/// The long options that `sluiced COMMAND --help` lists.
fn options(command: &str) -> Vec<String> {
    let text = sluiced(&[command, "--help"]).1;
    let lists = text.lines().filter_map(|line| line.trim_start().strip_prefix('-'));
    let long = lists.filter_map(|line| line.split(['-', ',', ' ', '<']).find(|word| word.len() > 1));
    long.map(str::to_owned).collect()
}

#[test]
fn each_command_has_a_page_that_names_its_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("a/man");
    assert_eq!(sluiced(&["man", pages.to_str().expect("text")]).0, Some(0));
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let commands = commands();
    assert!(["run", "check", "status", "man"].iter().all(|word| commands.contains(&(*word).into())), "{commands:?}");
    assert_eq!(fs::read_dir(&pages).expect("pages").count(), commands.len() + 1);
    let whole = page("sluiced.1");
    for command in &commands {
        assert!(whole.contains(&format!("sluiced\\-{command}(1)")), "{command}: {whole}");
        let (page, options) = (page(&format!("sluiced-{command}.1")), options(command));
        assert!(options.contains(&"help".into()), "{command}: {options:?}");
        for option in options {
            assert!(page.contains(&format!("\\-\\-{option}")), "{command} --{option}: {page}");
        }
    }
}

#[test]
fn pages_that_cannot_be_written_are_an_error_with_the_folder() {
    let (code, _, error) = sluiced(&["man", "/dev/null/man"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("manual pages in /dev/null/man: "), "{error}");
}

#[test]
fn completions_name_each_command_and_bash_reads_them() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, _) = sluiced(&["completions", shell]);
        assert_eq!(code, Some(0));
        for command in commands() {
            assert!(text.contains(&command), "{shell}: {command}");
        }
    }
    let (_, text, _) = sluiced(&["completions", "bash"]);
    let script =
        text + "\nCOMP_WORDS=(sluiced sta); COMP_CWORD=1; _sluiced sluiced sta sluiced; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").arg("-c").arg(script).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "status", "{output:?}");
}
