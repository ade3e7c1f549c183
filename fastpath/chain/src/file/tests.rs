use super::*;
use std::format;

const GOOD: &str = r#"
[[chain]]
name = "web"
path = 1
version = 1
ends = ["in", "out"]
forward = ["tcp 10.0.0.0/8 any 192.0.2.1 80-90", "udp"]
return = ["any 192.0.2.0/24"]
hops = [
    { vm = "f", policy = "closed" },
    { vm = "m", proxy = "p", policy = "open" },
]
[[chain]]
name = "rest"
path = 2
ends = ["in", "out"]
oam = true
hops = [{ vm = "m", proxy = "p", policy = "open" }]
"#;

fn error(text: &str) -> String {
    ChainFile::parse(text).map(drop).map_err(|error| error.to_string()).expect_err(text)
}

#[test]
fn a_chain_file_is_read() {
    let file = ChainFile::parse(GOOD).unwrap();
    let [web, rest] = &file.chains[..] else { panic!("{file:?}") };
    assert_eq!((web.name.as_str(), web.path, web.version, web.oam), ("web", 1, 1, false));
    assert_eq!((rest.version, rest.oam, rest.forward.len()), (0, true, 0));
    assert_eq!(web.stations(Direction::Forward), [("f", false), ("p", true), ("out", false)]);
    assert_eq!(web.stations(Direction::Return), [("p", true), ("f", false), ("in", false)]);
    assert_eq!((web.hops[1].vm.as_str(), web.hops[1].target()), ("m", "p"));
    assert_eq!([web.forward.len(), web.back.len()], [2, 1]);
}

#[test]
fn classifiers_use_the_highest_version_of_each_name() {
    let more = GOOD.replace("name = \"rest\"\npath = 2", "name = \"web\"\npath = 1\nversion = 3");
    let file = ChainFile::parse(&more).unwrap();
    let current: Vec<_> = file.current().map(|chain| (chain.name.as_str(), chain.version)).collect();
    assert_eq!((file.chains.len(), current), (2, vec![("web", 3)]));
}

#[test]
fn an_error_names_line_and_key() {
    let with = |from: &str, to: &str| {
        assert_eq!(GOOD.matches(from).count().min(1), 1, "{from}");
        error(&GOOD.replacen(from, to, 1))
    };
    let long = format!("#{}", " ".repeat(LONGEST));
    assert_eq!(error(&long), format!("line 1: {} bytes; 16384 are possible", LONGEST + 1));
    assert_eq!(with("path = 1", "path = 0"), "line 4: path = 0: 1 to 32767 are possible");
    assert_eq!(with("path = 1", "path = 32768"), "line 4: path = 32768: 1 to 32767 are possible");
    assert_eq!(with("path = 2", "path = 1"), "line 15: path = 1: chain \"web\" has path 1");
    assert_eq!(
        with("\"rest\"\npath = 2", "\"web\"\npath = 1\nversion = 1"),
        "line 16: version = 1: chain \"web\" has this version twice"
    );
    assert_eq!(with("name = \"web\"", "name = \"Web\""), "line 3: name: a-z, 0-9, - and _, 1 to 16 bytes");
    assert_eq!(with("\"in\", \"out\"", "\"in\", \"in\""), "line 6: ends = \"in\": the chain names this vm before");
    assert_eq!(with("vm = \"f\"", "vm = \"out\""), "line 10: vm = \"out\": the chain names this vm before");
    assert_eq!(with("proxy = \"p\"", "proxy = \"f\""), "line 11: proxy = \"f\": the chain names this vm before");
    assert_eq!(with("policy = \"closed\"", "policy = \"shut\""), "line 10: policy = \"shut\": want open or closed");
    assert_eq!(
        with("hops = [{ vm = \"m\", proxy = \"p\", policy = \"open\" }]", "hops = []"),
        "line 18: hops: 0; 1 to 32 are possible"
    );
    assert_eq!(
        with("80-90", "90-80"),
        "line 7: forward = \"tcp 10.0.0.0/8 any 192.0.2.1 90-80\": \"90-80\": want a port or a range of ports, or any"
    );
    assert!(with("any 192.0.2.0/24", "any 192.0.2.1/24").starts_with("line 8: return = \"any 192.0.2.1/24\": "));
    assert_eq!(
        with("oam = true", "oma = true"),
        "line 17: unknown field `oma`, expected one of `name`, `path`, \
        `version`, `ends`, `hops`, `forward`, `return`, `oam`"
    );
    assert!(with("path = 1", "path = \"one\"").starts_with("line 4: invalid type"));
    assert!(with("version = 1", "version = 256").starts_with("line 5: "));
    assert!(with("ends = [\"in\", ", "ends = [").starts_with("line 6: "));
    assert_eq!(error(""), "line 1: 0 chains; 1 to 64 are possible");
    let hop = |number| format!("{{ vm = \"h{number}\", policy = \"open\" }}, ");
    let hops = |count: usize| {
        GOOD.replacen("{ vm = \"f\", policy = \"closed\" },", &(1..count).map(hop).collect::<String>(), 1)
    };
    assert!(ChainFile::parse(&hops(MAX_HOPS)).is_ok());
    assert_eq!(error(&hops(MAX_HOPS + 1)), "line 9: hops: 33; 1 to 32 are possible");
    let chain = |number| {
        format!("[[chain]]\nname = \"c{number}\"\npath = {number}\nends = [\"a\", \"b\"]\nhops = [{}]\n", hop(1))
    };
    let chains = |count| (1..=count).map(chain).collect::<String>();
    assert!(ChainFile::parse(&chains(MAX_CHAINS)).is_ok());
    assert_eq!(error(&chains(MAX_CHAINS + 1)), "line 1: 65 chains; 1 to 64 are possible");
}
