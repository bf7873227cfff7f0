use proptest::prelude::*;

use super::*;

fn rendered(text: &str, max: usize) -> Vec<String> {
    let split = split(text, max, usize::MAX);
    assert!(split.complete);
    split.pieces.iter().map(|p| p.render(text)).collect()
}

fn place(name: &str) -> std::path::PathBuf {
    std::path::Path::new("/out").join(name)
}

fn caps(max_length: Option<usize>, files: bool) -> Capabilities {
    Capabilities { max_length, files, typing: false, local: false }
}

fn id() -> DeliveryId {
    "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

#[test]
fn short_texts_stay_as_they_are_and_blank_ones_have_no_parts() {
    assert_eq!(rendered(" hi\n", 10), [" hi\n"]);
    assert_eq!(rendered(" \n\t ", 2), [""; 0]);
    assert_eq!(rendered("", 2), [""; 0]);
}

#[test]
fn borders_are_preferred_by_how_much_they_separate() {
    assert_eq!(rendered("one two three.\n\nfour five\nsix", 24), ["one two three.", "four five\nsix"]);
    assert_eq!(rendered("one two three\nfour five", 18), ["one two three", "four five"]);
    assert_eq!(rendered("Ten letters. And ten more", 20), ["Ten letters.", "And ten more"]);
    assert_eq!(rendered("some words are here", 12), ["some words", "are here"]);
    assert_eq!(rendered("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    assert_eq!(rendered("一二三。四五六七八", 6), ["一二三。", "四五六七八"]);
}

#[test]
fn graphemes_are_not_cut() {
    let family = "👨\u{200d}👩\u{200d}👧";
    assert_eq!(rendered(&format!("ab{family}cd"), 6), ["ab", &format!("{family}c"), "d"]);
    assert_eq!(rendered("e\u{301}e\u{301}e\u{301}", 3), ["e\u{301}", "e\u{301}", "e\u{301}"]);
}

#[test]
fn indentation_after_a_cut_is_kept() {
    assert_eq!(rendered("- first item\n  - second", 14), ["- first item", "  - second"]);
}

#[test]
fn a_code_block_that_fits_a_message_is_not_cut() {
    let code = "```sh\nls -l\n\ncat file\n```";
    assert_eq!(rendered(&format!("words before it\n{code}\nafter"), 30), ["words before it", code, "after"]);
}

#[test]
fn long_code_block_is_closed_and_opened_again() {
    let text = "see:\n```rust\nline one\nline two\nline three\nline four\n```\ndone";
    let parts = rendered(text, 40);
    insta::assert_snapshot!(parts.join("\n=====\n"), @r"
    see:
    ```rust
    line one
    line two
    ```
    =====
    ```rust
    line three
    line four
    ```
    done
    ");
}

#[test]
fn too_many_parts_become_a_file_if_the_channel_accepts_files() {
    let text = "word ".repeat(30);
    let parts = parts(&text, caps(Some(10), true), id(), place);
    assert_eq!(parts.len(), 2);
    assert_eq!(
        parts[1],
        Part::File { name: "01arz3ndektsv4rrffq69g5fav.md".into(), path: "/out/01arz3ndektsv4rrffq69g5fav.md".into() }
    );
}

#[test]
fn too_many_parts_are_cut_with_a_notice_without_files() {
    let text = "0123456789 ".repeat(100);
    let parts = parts(&text, caps(Some(100), false), id(), place);
    assert_eq!(parts.len(), MAX_PARTS);
    let Part::Text(notice) = &parts[MAX_PARTS - 1] else { panic!("a file") };
    assert_eq!(
        notice,
        "(Cut after 882 of 1100 characters. The whole text: `parlor outbox show 01ARZ3NDEKTSV4RRFFQ69G5FAV`)"
    );
    let exactly_ten = "0123456789".repeat(10);
    assert_eq!(super::parts(&exactly_ten, caps(Some(10), false), id(), place).len(), 10);
}

#[test]
fn no_limit_is_one_piece() {
    let text = "x".repeat(1 << 20);
    assert_eq!(parts(&text, caps(None, false), id(), place), [Part::Text(text)]);
}

#[test]
fn hostile_sizes_take_linear_time() {
    let started = std::time::Instant::now();
    for text in ["```\n```\n".repeat(1 << 20), " \n".repeat(1 << 22), "e\u{301}".repeat(1 << 21), "`".repeat(1 << 23)] {
        assert!(parts(&text, caps(Some(4096), false), id(), place).len() <= MAX_PARTS);
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// Texts with many borders and fences.
fn texts() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "a",
        "word",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        ". ",
        "! ",
        "。",
        "```",
        "```rs",
        "~~~~",
        "\n```\n",
        "\n    ",
        "👨\u{200d}👩\u{200d}👧",
        "e\u{301}",
        "\u{301}",
        "\u{a0}",
        "looooooooooooooooooooong",
        "\t",
    ]);
    prop_oneof![
        prop::collection::vec(bits, 0..120).prop_map(|bits| bits.concat()),
        prop::collection::vec(any::<char>(), 0..200).prop_map(|chars| chars.into_iter().collect()),
    ]
}

/// Paragraphs and closed code blocks in turn.
fn prose_and_code() -> impl Strategy<Value = String> {
    let prose = "[a-z .\n]{1,90}";
    let code = ("(```|~~~~)", "[a-z]{0,5}", "[a-z {};\n]{0,150}");
    prop::collection::vec((prose, code), 1..8).prop_map(|blocks| {
        let block = |(prose, (mark, info, body)): (String, (String, String, String))| {
            format!("{prose}\n{mark}{info}\n{body}\n{mark}\n")
        };
        blocks.into_iter().map(block).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_lost_and_every_part_fits(text in texts(), max in 1usize..80) {
        let split = split(&text, max, usize::MAX);
        prop_assert!(split.complete);
        let mut at = 0;
        for piece in &split.pieces {
            prop_assert!(text[at..piece.range.start].trim().is_empty(), "lost {:?}", &text[at..piece.range.start]);
            let part = piece.render(&text);
            prop_assert!(part.chars().count() <= max, "{part:?} is longer than {max}");
            prop_assert!(!part.trim().is_empty(), "a blank part");
            prop_assert_eq!(part, format!("{}{}{}", piece.prefix, &text[piece.range.clone()], piece.suffix));
            at = piece.range.end;
        }
        prop_assert!(text[at..].trim().is_empty(), "lost {:?}", &text[at..]);
    }

    #[test]
    fn every_part_closes_the_code_blocks_it_opens(text in prose_and_code(), max in 40usize..120) {
        for piece in split(&text, max, usize::MAX).pieces {
            let part = format!("{}\nend", piece.render(&text));
            prop_assert!(fence::find(&part).iter().all(|f| f.end < part.len()), "open in {part:?}");
        }
    }

    #[test]
    fn code_blocks_that_fit_a_part_are_in_one(text in prose_and_code(), max in 40usize..200) {
        let pieces = split(&text, max, usize::MAX).pieces;
        for fence in fence::find(&text) {
            if text[fence.start..fence.end].chars().count() <= max {
                let whole = pieces.iter().any(|p| p.range.start <= fence.start && fence.end <= p.range.end);
                prop_assert!(whole, "{:?} is cut", &text[fence.start..fence.end]);
            }
        }
    }

    #[test]
    fn cuts_fall_between_graphemes(text in texts(), max in 30usize..80) {
        let borders: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
        for piece in split(&text, max, usize::MAX).pieces {
            let long = text[piece.range.clone()].graphemes(true).any(|g| g.chars().count() >= max / 4);
            prop_assert!(long || piece.range.end == text.len() || borders.binary_search(&piece.range.end).is_ok()
                || text[..piece.range.end].ends_with('\r'), "{piece:?}");
        }
    }
}
