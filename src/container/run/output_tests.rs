use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Output(Vec<u8>),
    TooLong(Vec<u8>),
    Warning(Warning),
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Owned> {
    let mut all = Vec::new();
    let mut decoder = Decoder::new(limit);
    let mut keep = |frame: Frame<'_>| {
        all.push(match frame {
            Frame::Output(bytes) => Owned::Output(bytes.to_vec()),
            Frame::TooLong { edges, .. } => Owned::TooLong(edges.to_vec()),
            Frame::Warning(w) => Owned::Warning(w),
        });
    };
    for chunk in chunks {
        decoder.push(chunk, &mut keep);
    }
    decoder.finish(&mut keep);
    all
}

fn frame(body: &str) -> String {
    format!("{OUTPUT_START}\n{body}\n{OUTPUT_END}\n")
}

fn out(body: &str) -> Owned {
    Owned::Output(format!("{body}\n").into_bytes())
}

#[test]
fn markers_count_only_as_whole_lines() {
    let inside = format!("{{\"result\":\"{OUTPUT_END} and {OUTPUT_START}\"}}");
    let text = format!("log {OUTPUT_START}\n{}{OUTPUT_END} tail\n", frame(&inside));
    assert_eq!(decode([text.as_bytes()], 1000), [out(&inside)]);
}

#[test]
fn carriage_returns_are_allowed_and_json_may_span_lines() {
    let text = format!("{OUTPUT_START}\r\n{{\r\n}}\r\n{OUTPUT_END}\r\n");
    assert_eq!(decode([text.as_bytes()], 1000), [Owned::Output(b"{\r\n}\r\n".to_vec())]);
}

#[test]
fn misplaced_markers_are_warnings_and_the_rest_is_delivered() {
    let text = format!("{OUTPUT_END}\n{OUTPUT_START}\nlost\n{}{OUTPUT_START}\nopen", frame("kept"));
    assert_eq!(
        decode([text.as_bytes()], 1000),
        [
            Owned::Warning(Warning::StrayEnd),
            Owned::Warning(Warning::NestedStart),
            out("kept"),
            Owned::Warning(Warning::Unfinished)
        ]
    );
}

#[test]
fn an_output_over_the_limit_is_dropped_and_the_next_one_is_not() {
    let text = frame(&"x".repeat(5000)) + &frame("{}");
    let found = decode([text.as_bytes()], 100);
    assert!(
        matches!(&found[0], Owned::TooLong(edges) if edges.len() == 100 + EDGE - OUTPUT_END.len() - 1),
        "{found:?}"
    );
    assert_eq!(found[1..], [out("{}")]);
    let exact = frame(&"x".repeat(99));
    assert_eq!(decode([exact.as_bytes()], 100), [out(&"x".repeat(99))]);
    let above = frame(&"x".repeat(100));
    assert_eq!(decode([above.as_bytes()], 100), [Owned::TooLong(format!("{}\n", "x".repeat(100)).into_bytes())]);
    let whole = format!("{}{}{}", "a".repeat(EDGE), "b".repeat(9000), "c".repeat(EDGE));
    for (cut, limit) in [(1, 1000), (7, 1000), (100, 10), (5000, 4000)] {
        let text = frame(&whole);
        let found = decode(text.as_bytes().chunks(cut), limit);
        let [Owned::TooLong(kept)] = &found[..] else { panic!("{found:?}") };
        let kept = String::from_utf8_lossy(kept);
        assert!(kept.starts_with("aaaa") && kept.ends_with("cccc\n"), "{cut}, {limit}: {kept}");
        assert!(kept.len() <= 2 * EDGE, "{cut}, {limit}");
    }
    let endless = format!("{OUTPUT_START}\n{}", "x".repeat(5000));
    assert_eq!(decode([endless.as_bytes()], 1000), [Owned::TooLong(vec![b'x'; 2 * EDGE])]);
    let nested = format!("{endless}\n{}", frame("{}"));
    assert_eq!(decode([nested.as_bytes()], 100).last(), Some(&out("{}")));
    assert_eq!(decode([nested.as_bytes()], 100).len(), 2);
}

#[test]
fn end_of_a_turn_is_found_in_unreadable_output() {
    for (json, ends) in [
        (r#"{"status":"success","result":"x"#, true),
        (r#"{"status": "maybe"}"#, true),
        (r#"{"status":"success","result":"\"turn\":\"open\"","turn":"done""#, true),
        (r#"{"status":"success","result":5,"turn" : "open"}"#, false),
        (r#"{"status":"success","result":5,"heartbeat":true}"#, false),
        ("null", false),
        ("", false),
        (r#"{"result":"\"status\":"}"#, false),
    ] {
        assert_eq!(ends_turn(json.as_bytes()), ends, "{json}");
    }
}

#[test]
fn invalid_utf8_in_an_output_costs_only_that_character() {
    let read = |json: &[u8]| parse(json).unwrap().result.unwrap();
    assert_eq!(read(br#"{"status":"success","result":"cut \ud83d"}"#), "cut \u{fffd}");
    assert_eq!(read(b"{\"status\":\"success\",\"result\":\"cut \xf0\x9f\"}"), "cut \u{fffd}");
}

#[test]
fn last_end_marker_needs_no_newline() {
    let text = format!("{OUTPUT_START}\n{{}}\n{OUTPUT_END}");
    assert_eq!(decode([text.as_bytes()], 100), [out("{}")]);
}

#[test]
fn a_gibibyte_without_a_newline_needs_no_memory() {
    let chunk = vec![b'x'; 1 << 20];
    let mut decoder = Decoder::new(1 << 20);
    for _ in 0..64 {
        decoder.push(&chunk, &mut |_| panic!("nothing is there to find"));
    }
    assert_eq!(decoder.open.capacity(), 0);
}

#[test]
fn a_single_output_is_the_first_pair_or_the_last_line() {
    let json = r#"{"status":"success","result":"hi"}"#;
    let paired = format!("noise\n{}{}", frame(json), frame(r#"{"status":"error","result":null}"#));
    assert_eq!(single(paired.as_bytes(), 1000).unwrap().result.as_deref(), Some("hi"));
    assert_eq!(single(format!("noise\n{json}\n\n").as_bytes(), 1000).unwrap().result.as_deref(), Some("hi"));
    assert!(single(b"noise\n", 1000).is_none());
}

#[test]
fn bytes_outside_outputs_are_counted_as_noise() {
    let noise = |text: &str| {
        let mut decoder = Decoder::new(100);
        decoder.push(text.as_bytes(), &mut |_| {});
        decoder.take_noise() as usize
    };
    let line = LINE as usize;
    let start = OUTPUT_START.len() + line;
    assert_eq!(noise("a\nbc"), 3 + line);
    assert_eq!(noise(&frame("{}")), start);
    assert_eq!(noise(&frame(&"x".repeat(5000))), start + 5001 + OUTPUT_END.len() + line);
    // The output that another start broke off, with that start.
    assert_eq!(noise(&format!("{OUTPUT_START}\nlost\n{}", frame("kept"))), start + 5 + OUTPUT_START.len() + 1);
    let mut decoder = Decoder::new(100);
    decoder.push(b"a", &mut |_| {});
    assert_eq!((decoder.take_noise(), decoder.take_noise()), (1, 0));
}

fn pieces() -> impl Strategy<Value = Vec<String>> {
    let piece = prop_oneof![
        Just(format!("{OUTPUT_START}\n")),
        Just(format!("{OUTPUT_END}\n")),
        Just(format!("{OUTPUT_END}\r\n")),
        Just(OUTPUT_START.to_owned()),
        Just("\n".to_owned()),
        "[a-zé😀\u{0}-]{0,40}\n?",
    ];
    proptest::collection::vec(piece, 0..30)
}

proptest! {
    #[test]
    fn decoder_is_independent_of_chunk_borders(pieces in pieces(), cuts in proptest::collection::vec(1usize..17, 1..40)) {
        let text = pieces.concat().into_bytes();
        let whole = decode([text.as_slice()], 200);
        let mut chunks = Vec::new();
        let (mut rest, mut n) = (text.as_slice(), 0);
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
            chunks.push(chunk);
            (rest, n) = (tail, n + 1);
        }
        prop_assert_eq!(decode(chunks, 200), whole);
    }

    #[test]
    fn every_framed_body_arrives_in_order(bodies in proptest::collection::vec("\\{[a-z \"é😀]{0,60}\\}", 0..20)) {
        let text: String = bodies.iter().map(|b| frame(b)).collect();
        let all: Vec<Owned> = bodies.iter().map(|b| out(b)).collect();
        prop_assert_eq!(decode([text.as_bytes()], 1000), all);
    }
}
