//! A hostile or mistaken file costs little and is refused with its reason.

use std::fmt::Write;
use std::time::Duration;

use super::{Host, input, problems, rendered};
use phoenixd::compose::load;
use rustix::time::{ClockId, clock_gettime};

/// Runs within two seconds of the processor's time, in an unoptimised build: what grows with the square of its input takes
/// minutes for these. What else the machine does is not counted, though it slows the processor down.
fn quickly<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    };
    let start = now();
    let result = run();
    let took = now().saturating_sub(start);
    assert!(took < Duration::from_secs(2), "{what} took {took:?}");
    result
}

fn code_of(text: &[u8]) -> String {
    let (project, diagnostics) = load(&input("compose.yaml", text), &Host);
    assert_eq!(project, None);
    assert_eq!(diagnostics.len(), 1, "{}", rendered(&diagnostics));
    diagnostics[0].code.to_owned()
}

#[test]
fn a_file_of_100_mb_is_refused_before_it_is_parsed() {
    let text = vec![b'#'; 100_000_000];
    let input = input("compose.yaml", text);
    let (_, diagnostics) = quickly("100 MB", || load(&input, &Host));
    assert_eq!(
        rendered(&diagnostics),
        "compose.yaml: error[too-large]: the file is too large: it has more than 1048576 bytes (1 MiB)\n  \
         at: \n  hint: is this the file that you mean?\n"
    );
}

#[test]
fn a_bomb_of_aliases_is_refused_in_no_time() {
    let mut text = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..60 {
        let below = level - 1;
        writeln!(text, "a{level}: &a{level} [*a{below}, *a{below}]").unwrap();
    }
    assert_eq!(quickly("lists", || code_of(text.as_bytes())), "too-large");

    let mut text = "a0: &a0 { k: v }\n".to_owned();
    for level in 1..60 {
        let below = level - 1;
        writeln!(
            text,
            "a{level}: &a{level} {{ x: *a{below}, y: *a{below}, <<: *a{below} }}"
        )
        .unwrap();
    }
    assert_eq!(
        quickly("mappings", || code_of(text.as_bytes())),
        "too-large"
    );

    let mut text = "wide: &wide\n".to_owned();
    for key in 0..1000 {
        writeln!(text, "  k{key}: v").unwrap();
    }
    for user in 0..10_000 {
        writeln!(text, "u{user}: {{ <<: *wide }}").unwrap();
    }
    assert_eq!(quickly("merges", || code_of(text.as_bytes())), "too-large");
}

#[test]
fn deep_nesting_is_refused_in_no_time() {
    for (what, text) in [
        ("flow lists", "[".repeat(500_000)),
        ("flow mappings", "{a: ".repeat(200_000)),
        ("block lists", "- ".repeat(500_000)),
        (
            "block mappings",
            (0..1000).fold(String::new(), |mut text, depth| {
                writeln!(text, "{}a:", " ".repeat(depth)).unwrap();
                text
            }),
        ),
    ] {
        let code = quickly(what, || code_of(text.as_bytes()));
        assert_eq!(code, "too-large", "{what}");
    }
}

#[test]
fn depth_counts_through_aliases() {
    let mut text = "a0: &a0 x\n".to_owned();
    for level in 1..70 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert_eq!(code_of(text.as_bytes()), "too-large");
}

#[test]
fn the_largest_file_that_is_read_is_read_in_time() {
    let mut text = "services:\n".to_owned();
    let mut number = 0;
    while text.len() < 1_040_000 {
        number += 1;
        writeln!(
            text,
            "  s{number}: {{ image: 'nginx:1.29', environment: [A=1, B=2] }}"
        )
        .unwrap();
    }
    let text = text.replacen("s1: {", "s1: { x-phoenix: {},", 1);
    let input = input("compose.yaml", text);
    let (project, diagnostics) = quickly("1 MiB", || load(&input, &Host));
    assert!(project.is_none(), "that many values");
    assert!(rendered(&diagnostics).contains("more than 100000 values or"));
}

#[test]
fn variables_cannot_fill_the_memory() {
    let value = "$BIG".repeat(200_000);
    let mut input = input(
        "compose.yaml",
        format!("services:\n  web:\n    image: nginx\n    command: ['{value}']\n    x-phoenix:\n"),
    );
    input
        .environment
        .insert("BIG".to_owned(), "x".repeat(100_000));
    let (_, diagnostics) = quickly("variables", || load(&input, &Host));
    assert!(
        rendered(&diagnostics).contains("variables become more than 4194304 bytes of text"),
        "{}",
        rendered(&diagnostics)
    );

    // Many small ones add up.
    let many = "$BIG, ".repeat(50);
    input.files[0].text =
        format!("services: {{ web: {{ image: nginx, command: [{many}], x-phoenix: }} }}").into();
    let (_, diagnostics) = quickly("values", || load(&input, &Host));
    assert_eq!(
        diagnostics.len(),
        9,
        "of 50 values of 100 000 bytes, 41 fit"
    );
}

#[test]
fn a_recursive_anchor_is_an_error() {
    assert!(problems("services: &a\n  web: *a\n").contains("inside the anchor that it names"));
}

#[test]
fn a_row_of_all_ports_is_refused_in_no_time() {
    let text =
        "services:\n  web:\n    image: nginx\n    ports: ['1-65535:1-65535']\n    x-phoenix:\n";
    let found = quickly("ports", || problems(text));
    assert!(found.contains("a row of more than 20000 ports"), "{found}");
    let text = text.replace("65535", "15000");
    let found = quickly("fewer ports", || problems(&text));
    assert!(found.contains("more than 500 published ports"), "{found}");

    let mut text = "services:\n".to_owned();
    for service in 1..=3_u16 {
        let (first, last) = (service * 1000, service * 1000 + 399);
        let ports = format!("{first}-{last}:{first}-{last}");
        writeln!(
            text,
            "  s{service}: {{ image: nginx, ports: ['{ports}'], x-phoenix: }}"
        )
        .unwrap();
    }
    let found = quickly("ports of several", || problems(&text));
    assert!(
        found.contains("the project publishes 1200 ports"),
        "{found}"
    );
}

#[test]
fn a_long_text_cannot_be_multiplied_by_aliases() {
    let long = "x".repeat(500_000);
    let many = "*long, ".repeat(50_000);
    let text = format!("a: &long {long}\nservices: {{ web: {{ command: [{many}], x-phoenix: }} }}");
    assert_eq!(quickly("text", || code_of(text.as_bytes())), "too-large");
}

#[test]
fn a_long_key_cannot_be_multiplied_by_what_stands_below_it() {
    let text = format!("services:\n  ? {}\n  : x\n", "k".repeat(2000));
    assert!(problems(&text).contains("a key is longer than 1024 bytes"));

    // As long and as deep as is allowed, and an error in each of many values below.
    let mut text = "services: { web: { image: nginx, x-phoenix: , healthcheck: ".to_owned();
    for _ in 0..55 {
        write!(text, "{{ {}: ", "k".repeat(1000)).unwrap();
    }
    text.push('[');
    text.push_str(&"'${', ".repeat(90_000));
    text.push(']');
    text.push_str(&"}".repeat(57));
    let found = quickly("keys", || load(&input("compose.yaml", text), &Host).1);
    assert!(found.len() <= 1000);
    assert!(found.iter().any(|one| one.code == "interpolation"));
}

#[test]
fn a_million_problems_are_told_as_some() {
    let mut ports = String::new();
    for index in 0..18_000 {
        write!(ports, "{{x, target: y{index}}}, ").unwrap();
    }
    let text = format!("services: {{ web: {{ image: nginx, ports: [{ports}], x-phoenix: }} }}");
    let found = quickly("problems", || load(&input("compose.yaml", text), &Host).1);
    assert!((500..=1000).contains(&found.len()), "{}", found.len());

    let text = format!("services: {{ {} }}", "a: , ".repeat(40_000));
    let found = quickly("duplicates", || load(&input("compose.yaml", text), &Host).1);
    assert_eq!(found.len(), 500);
}

#[test]
fn deeply_nested_variables_are_refused_in_no_time() {
    let nested = format!("{}x{}", "${A:-".repeat(100_000), "}".repeat(100_000));
    let text = format!("services: {{ web: {{ image: '{nested}', x-phoenix: }} }}");
    let found = quickly("variables", || problems(&text));
    assert!(
        found.contains("variables nested deeper than 16 levels"),
        "{found}"
    );
}

#[test]
fn an_env_file_of_any_size_is_refused_like_a_compose_file() {
    let found = problems("services: { web: { image: nginx, env_file: huge.env, x-phoenix: } }");
    assert!(
        found.contains("`huge.env` is larger than 1048576 bytes"),
        "{found}"
    );
}

#[test]
fn many_names_cost_no_more_than_a_few() {
    let many = |line: &dyn Fn(usize) -> String| -> String { (0..10_000).map(line).collect() };
    let files = [
        format!(
            "services: {{ web: {{ image: a, x-phoenix: , links: [{}], build: {{ additional_contexts: [{}] }} }} }}",
            many(&|i| format!("l{i}, ")),
            many(&|i| format!("a{i}=b, "))
        ),
        format!(
            "services: {{ web: {{ image: a, x-phoenix: , labels: {{ {} }} }} }}",
            many(&|i| format!("l{i}: !reset x, "))
        ),
        format!("volumes: {{ {} }}", many(&|i| format!("v{i}: , "))),
    ];
    let mut input = input("compose.yaml", files[0].clone());
    for text in &files[1..] {
        input.files.push(phoenixd::compose::SourceFile {
            path: "more.yaml".into(),
            text: text.clone().into(),
        });
    }
    quickly("names", || load(&input, &Host).1);
}
