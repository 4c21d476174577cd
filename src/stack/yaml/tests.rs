use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Document {
    Document::parse(text).expect(text)
}

fn refusal(text: &str) -> SyntaxError {
    Document::parse(text).expect_err(text)
}

/// The value of the root's first key.
fn value(document: &Document) -> NodeId {
    document.pairs(document.root()).next().expect("a pair").1
}

/// A document in one line: lists in brackets, mappings in braces, scalars as they are.
fn show(document: &Document, id: NodeId) -> String {
    let all =
        |document: &Document| -> Vec<String> { document.children(id).map(|child| show(document, child)).collect() };
    match document.kind(id) {
        Kind::Scalar(text) => text.clone(),
        Kind::Sequence => format!("[{}]", all(document).join(",")),
        Kind::Mapping => format!("{{{}}}", all(document).join(",")),
        Kind::Alias(target) => format!("*{target}"),
    }
}

fn shown(text: &str) -> String {
    let document = parse(text);
    show(&document, document.root())
}

#[test]
fn meaning_is_that_of_yaml_v3() {
    use Meaning::*;
    let rows = [
        ("", Null),
        ("~", Null),
        ("null", Null),
        ("NULL", Null),
        ("nUll", Text),
        ("true", Boolean(true)),
        ("True", Boolean(true)),
        ("FALSE", Boolean(false)),
        ("tRue", Text),
        ("yes", Text),
        ("off", Text),
        ("1", Text),
        ("0x1F", Text),
        ("1.10", Text),
        ("1:30", Text),
        ("2001-01-01", Text),
        ("<<", Merge),
        ("'<<'", Text),
        ("\"1\"", Text),
        ("''", Text),
        ("!!str 1", Text),
        ("!!str", Text),
        ("! 1", Text),
        ("!!int \"7\"", Text),
        ("!!int x", Unfit),
        ("!!float 3", Text),
        ("!!float x", Unfit),
        ("!!bool \"true\"", Boolean(true)),
        ("!!bool yes", Unfit),
        ("!!null ''", Null),
        ("!!null x", Unfit),
        ("!!timestamp 2001-01-01", Text),
        ("!!binary aGk=", Binary),
        ("!custom 1", Text),
    ];
    for (text, meaning) in rows {
        let document = parse(&format!("k: {text}\n"));
        assert_eq!(document.meaning(value(&document)), meaning, "{text}");
    }
}

#[test]
fn scalars_keep_their_source_text() {
    let rows = [
        ("k: 1.10\n", "{k,1.10}"),
        ("k: 010\n", "{k,010}"),
        ("k: word one\n  word two\n\n  three\n", "{k,word one word two\nthree}"),
        ("k: |\n  a\n    b\n\n  c\n", "{k,a\n  b\n\nc\n}"),
        ("k: |-\n  a\n", "{k,a}"),
        ("k: |+\n  a\n\n", "{k,a\n\n}"),
        ("k: >\n  a\n  b\n\n  c\n", "{k,a b\nc\n}"),
        ("k: |1\n  a\n", "{k, a\n}"),
        ("k: 'it''s'\n", "{k,it's}"),
        (r#"k: "\t\x41\u00e9\U0001F600\/\e\0""#, "{k,\tA\u{e9}\u{1f600}/\u{1b}\0}"),
        ("k: \"a \\\n  b\"\n", "{k,a b}"),
        ("k: a#b # c\n", "{k,a#b}"),
        ("k: http://h:80/?a=b&c\n", "{k,http://h:80/?a=b&c}"),
        ("k:\tv\t\n", "{k,v}"),
        ("k: v", "{k,v}"),
        ("k: |\r\n  a\r\n  b\r\n", "{k,a\nb\n}"),
    ];
    for (text, expected) in rows {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn collections_nest_in_block_and_flow() {
    let rows = [
        ("a: {b: [c, d], e: }\n", "{a,{b,[c,d],e,}}"),
        ("a:\n- b\n-  c: d\n   e: f\n", "{a,[b,{c,d,e,f}]}"),
        ("{\"a\":\"b\",\"c\":1}", "{a,b,c,1}"),
        ("? a\n: b\n", "{a,b}"),
        ("a: [b, c,]\n", "{a,[b,c]}"),
        ("{a:b, c: d}", "{a:b,,c,d}"),
        ("", ""),
        ("# only a comment\n", ""),
        ("%YAML 1.1\n---\na: b\n...\n", "{a,b}"),
    ];
    for (text, expected) in rows {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn second_document_is_not_looked_at() {
    assert_eq!(shown("a: b\n---\n[\n"), "{a,b}");
    assert_eq!(shown("a: b\n...\n}\n"), "{a,b}");
    let rest = |text: &str| parse(text).rest;
    for text in ["", "a: b\n", "---\na: b\n...\n", "a: b\n---\n# nothing\n---\n"] {
        assert_eq!(rest(text), None, "{text}");
    }
    assert_eq!(rest("é: \"x\ny\"\n---\na: b\n"), Some(14));
    assert_eq!(rest("a: b\n---\n---\nc\n"), Some(13));
    assert_eq!(rest("a: b\n...\n}\n"), Some(9));
}

#[test]
fn aliases_lead_to_the_node_of_their_anchor() {
    let document = parse("a: &x [1]\nb: *x\n");
    let (_, second) = document.pairs(document.root()).nth(1).expect("pair");
    assert_eq!(show(&document, document.resolve(second)), "[1]");
}

#[test]
fn what_only_yaml_v3_reads_is_read() {
    let rows = [
        ("a:\n  b: \"c\nd\"\n  e: f\n", "{a,{b,c d,e,f}}"),
        ("a:\n  b: 'it''s\n\n\nit'\n", "{a,{b,it's\n\nit}}"),
        ("a:\n  b: \"x\\\"\ny\"\n", "{a,{b,x\" y}}"),
        ("a:\n  b: [c,\nd\n]\n", "{a,{b,[c,d]}}"),
        ("a:\n  b: {\nc: d\n}\n", "{a,{b,{c,d}}}"),
        ("a:\tb\n", "{a,b}"),
    ];
    for (text, expected) in rows {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn places_are_bytes_of_the_text_also_behind_other_characters() {
    let text = "é: \"x\ny\"\nü:\n  a: [b,\nc]\n  d:\te\n";
    let document = parse(text);
    let mut found = Vec::new();
    for (key, _) in document.pairs(document.root()) {
        found.push(&text[document.written(key).start..][..2]);
    }
    assert_eq!(found, ["é", "ü"]);
    let (_, inner) = document.pairs(document.root()).nth(1).expect("pair");
    let (key, value) = document.pairs(inner).nth(1).expect("pair");
    assert_eq!(&text[document.written(key).start..document.written(value).start], "d:\t");
}

#[test]
fn what_the_two_yamls_read_differently_is_refused() {
    for text in
        ["{a:, b: c}", "[a:]", "a: b\u{85}c", "a: b\u{2028}c", "# \u{2029}", "a: |\n  b\u{2028}c", "a: '\u{2028}'"]
    {
        refusal(text);
    }
}

#[test]
fn what_is_no_yaml_is_refused() {
    let texts = [
        "a: b: c\n",
        "a: b:\n",
        "a:\n\tb: c\n",
        "a:\n  b: c\n d: e\n",
        "a: @b\n",
        "a: `b`\n",
        "a: %b\n",
        "a: *b\n",
        "a: *\n",
        "a: \"\\q\"\n",
        "a: \"\\ud83d\"\n",
        "a: \"b\n",
        "a: 'b\n",
        "a: \"b\" c\n",
        "a: [b\n",
        "a: {b: c\n",
        "a: b\nc\n",
        "- a\nb: c\n",
        "a: b\0",
        "a: \u{7f}",
        "a: \u{1}",
    ];
    for text in texts {
        let error = refusal(text);
        assert!(error.at <= text.len() && !error.message.is_empty(), "{text}");
    }
}

#[test]
fn common_mistakes_are_reported_with_what_to_write() {
    let above = "the line above has no `: `, or has both a value and keys below it";
    let rows = [
        ("f:\n  secrets: - a\n", 14, "a list cannot begin on this line"),
        ("f:\n  secrets: [a, b\n  c: d\n", 23, "missing `,`, `]` or `}` before this"),
        ("f:\n  secrets: [a, b\n\n", 14, "this bracket is never closed"),
        ("f: {a: b\n", 3, "this bracket is never closed"),
        ("f: [a]]\n", 6, "unexpected closing bracket"),
        ("f: {}}\n", 5, "unexpected closing bracket"),
        ("environment:\n  A b\n  C: d\n", 22, above),
        ("labels: foo\n  a: b\n", 15, above),
        ("labels: foo # one\n  a: b\n", 12, "the value before this comment continues below it"),
        ("a: b: c\n", 4, "a second `:` on this line"),
        ("a: \"b\"#c\n", 6, "missing space before `#`"),
        ("a: 1\nb c\n", 5, "missing `:` after this key"),
    ];
    for (text, at, message) in rows {
        let error = refusal(text);
        assert_eq!((error.at, error.message.as_str()), (at, message), "{text}");
        assert!(error.hint.is_some(), "{text}");
    }
}

#[test]
fn lines_in_brackets_may_end_with_a_carriage_return() {
    // Found by fuzzing: a lone carriage return ends a line too.
    assert_eq!(shown("a:\n  b: [c,\rd\r]\n"), "{a,{b,[c,d]}}");
    assert_eq!(shown("version:: {A: 2,\r\r\r  \r\re: [s2, 2]}"), "{version:,{A,2,e,[s2,2]}}");
    refusal("a:\n  b: [c,\n]d\n");
}

#[test]
fn hostile_texts_are_refused_soon() {
    for text in ["[".repeat(1 << 20), "- ".repeat(1 << 19), "{a: ".repeat(1 << 18), "[a,".repeat(1 << 18)] {
        refusal(&text);
    }
    refusal(&format!("a: {}", "\"b\"#\n".repeat(100_000)));
}

proptest! {
    #[test]
    fn nothing_panics_and_places_stay_within(text in "[-a:\\[\\]{}#&*!|>'\"%@`?, \t\né~<]{0,60}") {
        match Document::parse(&text) {
            Ok(document) => {
                show(&document, document.root());
                for id in 0..document.nodes.len() {
                    let id = NodeId::try_from(id).expect("small");
                    prop_assert!(text.is_char_boundary(document.written(id).start));
                    document.meaning(id);
                }
            }
            Err(error) => prop_assert!(error.at <= text.len()),
        }
    }

    #[test]
    fn quoted_text_comes_back(text in "[^\u{0}-\u{1f}\u{7f}-\u{9f}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}]*") {
        let document = parse(&format!("k: '{}'", text.replace('\'', "''")));
        prop_assert_eq!(document.kind(value(&document)), &Kind::Scalar(text));
    }
}
