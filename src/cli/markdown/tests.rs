use proptest::prelude::*;

use super::render;

/// Renders with colours, and removes their sequences.
fn bare(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let painted = render(text, columns, true);
    let mut rest = painted.as_str();
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = sequence.split_once('m').unwrap().1;
    }
    out + rest
}

#[test]
fn literal_marks_are_shown_as_written() {
    for text in [
        "rm *.tmp ; 2*3*4 ; 0 9 * * 1-5",
        "E * x * 2*3*4",
        "2**3**4 and a_b_c and __init__x",
        "ls *.log,*.tmp /etc/*.conf,/var/*.d src/**/*.rs,lib/**/*.rs",
        "* not a list *",
        "~/a and ~/b, 5~10 and 3~4",
        "Vec<String> and <internal>x</internal> & <T as U>",
        "  three\n   steps",
        "Mon  3\nTue  4\n  total  7",
        "docker run \\\n  --rm x",
        "C:\\new\\table",
        "-5 degrees\n- 5 = 3",
        "2019. A good year",
        "1. one\n2. two\n10) ten",
        "#hashtag\n#\n>\n-\n***x",
        "[1]: https://example.com/a \"Title\"\n[1]: https://example.com/twice",
        "See [a][1] and [b].\n\n[1]: https://example.com\n[b]: /x",
        "> quoted\n> [x]: /y\n\n- [z]: /z",
        "Title\n=====\nmore\n---",
        "```\n```",
        "| no table\n| x |",
    ] {
        assert_eq!(bare(text, 200), text);
        assert_eq!(render(text, 200, false), text);
    }
}

#[test]
fn emphasis_becomes_colours_and_without_colours_keeps_its_marks() {
    for (text, shown) in [
        ("**bold**", "\u{1b}[1mbold\u{1b}[0m"),
        ("_italics_, *too*.", "\u{1b}[3mitalics\u{1b}[0m, \u{1b}[3mtoo\u{1b}[0m."),
        ("***both***", "\u{1b}[1;3mboth\u{1b}[0m"),
        ("~~gone~~", "\u{1b}[9mgone\u{1b}[0m"),
        ("`a  b`", "\u{1b}[36ma  b\u{1b}[0m"),
        ("**/etc/hosts**", "\u{1b}[1m/etc/hosts\u{1b}[0m"),
        ("これは**重要**です", "これは\u{1b}[1m重要\u{1b}[0mです"),
        ("# Title", "\u{1b}[1m# Title\u{1b}[0m"),
        ("[text](https://x.y)", "\u{1b}[4mtext\u{1b}[0m\u{1b}[2m (https://x.y)\u{1b}[0m"),
        ("[t](/a \"note\")", "\u{1b}[4mt\u{1b}[0m\u{1b}[2m (/a \"note\")\u{1b}[0m"),
        ("[https://x.y](https://x.y)", "\u{1b}[4mhttps://x.y\u{1b}[0m"),
        ("![alt](p.png)", "\u{1b}[4malt\u{1b}[0m\u{1b}[2m (p.png)\u{1b}[0m"),
        ("<https://x.y>", "\u{1b}[4mhttps://x.y\u{1b}[0m"),
    ] {
        assert_eq!(render(text, 80, true), shown, "{text}");
        assert_eq!(render(text, 80, false), text);
    }
}

#[test]
fn code_is_shown_unchanged() {
    let long = "x".repeat(100);
    let text = format!(
        "Look:\n```python\nprint(1)  # a b\n\n\tif {long} y\n```\nand\n\n    four  spaces\n\n- in an item:\n  ```sh\n  ls\n  ```\n"
    );
    let shown = format!(
        "Look:\npython\nprint(1)  # a b\n\n\tif {long} y\nand\n\n    four  spaces\n\n- in an item:\n  sh\n  ls"
    );
    assert_eq!(bare(&text, 40), shown);
    assert_eq!(render(&text, 40, false), text.trim_end());
    // A fence of four backquotes can hold fences of three.
    assert_eq!(bare("````\n# H\n\n```python\nprint(1)\n```\n````", 40), "# H\n\n```python\nprint(1)\n```");
    assert_eq!(bare("~~~ x y\na\n~~~", 40), "x y\na");
    assert_eq!(render("```\nnever closed", 40, false), "```\nnever closed");
}

#[test]
fn list_items_are_indented_below_the_text_of_their_parent() {
    let text = "- one\n  - two\n    - three is longer than a line\n\n      of its own\n    - four\n  > quoted in two\n* new\n\n1. a\n1. b\n   - c";
    let shown = "- one\n  - two\n    - three is longer\n      than a line\n\n      of its own\n    - four\n  > quoted in two\n* new\n\n1. a\n2. b\n   - c";
    assert_eq!(bare(text, 24), shown);
    assert_eq!(render(text, 24, false), shown);
    assert_eq!(bare("- - b\n- \n- c", 24), "- - b\n-\n- c");
    assert_eq!(bare("> a\n>\n> b\n\nc", 24), "> a\n>\n> b\n\nc");
}

#[test]
fn lines_are_broken_between_words_and_beside_wide_characters() {
    assert_eq!(bare("one two **three four** five", 10), "one two\nthree four\nfive");
    assert_eq!(bare("家族のグループですよ。はい", 20), "家族のグループですよ\n。はい".replace("よ\n。", "\nよ。"));
    assert_eq!(
        bare("see https://example.com/a/very/long/path for it", 20),
        "see\nhttps://example.com/a/very/long/path\nfor it"
    );
}

#[test]
fn tables_have_aligned_columns() {
    let text = "| Name | Größe | n |\n|:--|:-:|--:|\n| 家族 | **x** | 1 |\n| b \\| c | | 200 |\n| d | e | 3 | more |";
    assert_eq!(
        render(text, 80, false),
        "Name  | Größe |   n |\n------+-------+-----+-----\n家族  | **x** |   1 |\nb | c |       | 200 |\nd     |   e   |   3 | more"
    );
    let wide = "| a | b |\n|---|---|\n| one two three | four five six seven eight |";
    assert_eq!(
        bare(wide, 24),
        "a          │ b\n───────────┼───────────\none two    │ four five\nthree      │ six seven\n           │ eight"
    );
    // More columns than the terminal has room for.
    let many = format!("|{}\n|{}\n|{}", "h|".repeat(30), "-|".repeat(30), "c|".repeat(30));
    assert_eq!(bare(&many, 40), many);
}

#[test]
fn hidden_parts_of_a_text_are_shown() {
    assert_eq!(bare("&#27;[2J&#x202e;x\u{9b}", 80), "\u{fffd}[2J\u{fffd}x\u{fffd}");
}

/// The letters of a text, in order.
fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|c| c.is_alphabetic()).collect()
}

fn is_kept(source: &str, shown: &str) -> bool {
    let (wanted, mut found) = (letters(source), letters(shown));
    if source.contains('|') {
        // Cells of several lines are side by side, so only the set of letters is compared.
        return wanted.iter().all(|c| found.iter().position(|other| other == c).map(|at| found.remove(at)).is_some());
    }
    let mut found = found.into_iter();
    wanted.into_iter().all(|wanted| found.any(|c| c == wanted))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn visible_text_is_kept(parts in proptest::collection::vec(prop_oneof![
        "[a-z]{1,6}", "[ \n]{1,3}", "[-*_~`#>|\\[\\]()<:.!=+\\\\\"]{1,4}", "\n(  ){0,3}[-*0-9.)>]{1,2} ",
        Just("\n| a | b |\n|---|---|\n| c | d |".to_owned()), Just("\n[k]: /u\n".to_owned()), Just("家族".to_owned()), "[é\t\r🚀`~]{1,3}",
        Just("[t](u \"v\")".to_owned()), Just("```\n".to_owned()), Just("\n\n".to_owned()), Just("**".to_owned()),
    ], 0..30), columns in 1usize..60) {
        let text = parts.concat();
        let (plain, coloured) = (render(&text, columns, false), bare(&text, columns));
        prop_assert!(is_kept(&text, &plain), "{text:?}\n{plain:?}");
        prop_assert!(is_kept(&text, &coloured), "{text:?}\n{coloured:?}");
        prop_assert!(text.trim().is_empty() || !plain.trim().is_empty() && !coloured.trim().is_empty(), "{text:?}");
    }
}
