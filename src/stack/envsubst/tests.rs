use proptest::prelude::*;

use super::*;

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "VERSION" => "1.2.3",
        "PATHS" => "/srv/app/main.tar.gz",
        "TEXT" => "Good Morning",
        "WORD" => "release",
        "N" => "2",
        "BLANK" => "",
        "ACCENT" => "éaé",
        "7" => "seven",
        "ñ" => "enye",
        "STAR" => "*",
        "TURKISH" => "İß",
        _ => return None,
    };
    Some(value.to_owned())
}

const VARIABLES: Lookup<'_> = Lookup { value: &variable, is_secret: &|name| name == "KEY" };

fn becomes(source: &str) -> String {
    substitute(source, VARIABLES).expect(source).text
}

fn faults(source: &str) -> Vec<FaultKind> {
    let faults = substitute(source, VARIABLES).expect_err(source);
    faults.into_iter().map(|fault| fault.kind).collect()
}

fn check(rows: &[(&str, &str)]) {
    for (source, expected) in rows {
        assert_eq!(becomes(source), *expected, "{source}");
    }
}

#[test]
fn plain_names_are_replaced_and_the_rest_is_left_alone() {
    check(&[
        ("v${VERSION}!", "v1.2.3!"),
        ("${VERSION}${WORD}", "1.2.3release"),
        ("a${NONE}b${BLANK}c", "abc"),
        ("$VERSION $(VERSION) $ {VERSION} 5$ $", "$VERSION $(VERSION) $ {VERSION} 5$ $"),
        ("${7} ${ñ}", "seven enye"),
        ("}{ } {", "}{ } {"),
        ("", ""),
    ]);
}

#[test]
fn escapes_leave_their_second_character() {
    check(&[
        ("$$", "$"),
        ("$$$", "$$"),
        ("$$$$", "$$"),
        ("$${VERSION}", "${VERSION}"),
        ("$$${VERSION}", "$1.2.3"),
        ("$${VERSION}${N}$$", "${VERSION}2$"),
        (r"a\\b", r"a\b"),
        (r"a\/b", "a/b"),
        (r"a\b\n", r"a\b\n"),
        (r"\\\\", r"\\"),
        (r"\${N}", r"\2"),
        (r"\\${N}", r"\2"),
        ("\\", "\\"),
    ]);
}

#[test]
fn defaults_hold_text_and_expressions_but_no_escapes() {
    check(&[
        ("${NONE:-a:b=c/d e}", "a:b=c/d e"),
        ("${NONE:-:-x}", ":-x"),
        ("${NONE:-${NONE:-${N}}}", "2"),
        ("${NONE:-a${WORD}b${N}}", "areleaseb2"),
        ("${NONE:-$}", "$"),
        ("${NONE:-$$}", "$$"),
        ("${NONE:-$WORD}", "$WORD"),
        (r"${NONE:-a\/b\\c}", r"a\/b\\c"),
        ("${NONE:-a}b}", "ab}"),
        ("${NONE:-{}}", "{}"),
        ("${NONE:-a\nb}", "a\nb"),
    ]);
}

#[test]
fn lengths_and_offsets_count_bytes() {
    check(&[
        ("${#WORD} ${#NONE} ${#ACCENT}", "7 0 5"),
        ("${WORD:+2}", "release"),
        ("<${WORD:99}>", "<>"),
        ("<${WORD:99:1}>", "<>"),
        ("${WORD:x}", "release"),
        ("${WORD:1:x}", "release"),
        ("${WORD:${N}}", "lease"),
        ("${WORD:${N}:${N}}", "le"),
        ("${WORD:1::2}", "el"),
        ("${WORD:${NONE:--3}}", "ase"),
        ("${WORD:${NONE:--30}:2}", "re"),
    ]);
    assert_eq!(faults("${ACCENT:0:1}"), [FaultKind::CutCharacter]);
    assert_eq!(becomes("${ACCENT:0:2}"), "é");
}

#[test]
fn patterns_are_trimmed_from_one_end() {
    check(&[
        ("${PATHS%/*}", "/srv/app"),
        ("${PATHS#/???/}", "app/main.tar.gz"),
        ("${PATHS##*[ns]}", ".tar.gz"),
        ("${PATHS##*[^a-y]}", ""),
        ("${WORD#re}", "lease"),
        ("${WORD%se}", "relea"),
        ("${WORD#*}", "elease"),
        ("${WORD%*}", "releas"),
        ("<${WORD##*}><${WORD%%*}>", "<><>"),
        ("${WORD#x}", "release"),
        (r"${PATHS#\/srv}", "/app/main.tar.gz"),
        ("${WORD###}", "release"),
        ("${WORD#${NONE:-re}}", "lease"),
        ("${WORD##*e*s}", "e"),
        ("${ACCENT#é}", "aé"),
        ("${ACCENT%é}", "éa"),
        ("${ACCENT%?}", "éa"),
        ("${ACCENT#?}", "aé"),
    ]);
}

#[test]
fn malformed_pattern_trims_nothing() {
    for pattern in ["[", "[a", "[]a]", "[a-]*", "[^]", "*[", r"rele\", "[-a]"] {
        let source = format!("${{WORD#{pattern}}}");
        assert_eq!(becomes(&source), "release", "{pattern}");
    }
    // Read backwards, it is not a class.
    assert_eq!(becomes("${WORD%[a-z]*}"), "release");
}

#[test]
fn text_is_replaced_literally() {
    check(&[
        ("${TEXT/#Morning/x}", "Good Morning"),
        ("${TEXT/%Good/x}", "Good Morning"),
        ("${TEXT//o/}", "Gd Mrning"),
        ("${TEXT/#Good/}", "Good Morning"),
        (r"${PATHS//\//_}", "_srv_app_main.tar.gz"),
        (r"${PATHS/srv\/app/x}", "/x/main.tar.gz"),
        ("${TEXT/${NONE:-Good}/Bad}", "Bad Morning"),
        ("${TEXT/Good/${WORD}}", "release Morning"),
        ("${TEXT/Good//x}", "x Morning"),
        ("${TEXT/$$/x}", "Good Morning"),
        ("${TEXT/Good/$$}", "$ Morning"),
        ("${NONE/a/b}", ""),
        ("${N//${NONE}/-}", "-2-"),
        ("${N/${NONE}/-}", "-2"),
        ("${ACCENT//${NONE}/-}", "-é-a-é-"),
        ("${NONE//${NONE}/-}", "-"),
    ]);
}

#[test]
fn case_is_changed_letter_by_letter() {
    check(&[("<${NONE^^}>", "<>"), ("${ACCENT^}", "Éaé"), ("${TURKISH,,}", "iß"), ("${TURKISH^^}", "İß")]);
}

#[test]
fn each_fault_has_its_kind() {
    let name = || "WORD".to_owned();
    let rows = [
        ("${", FaultKind::NoName),
        ("${#}", FaultKind::NoName),
        ("# ${...} in a comment", FaultKind::NoName),
        ("${WORD\n}", FaultKind::Unclosed),
        ("${WORD:-", FaultKind::Unclosed),
        ("${WORD:-x", FaultKind::Unclosed),
        ("${WORD:", FaultKind::Unexpected { name: name(), found: ':' }),
        ("${WORD:é}", FaultKind::Unexpected { name: name(), found: ':' }),
        ("${WORD+x}", FaultKind::Unexpected { name: name(), found: '+' }),
        ("${WORD@Q}", FaultKind::Unexpected { name: name(), found: '@' }),
        ("${WORD[0]}", FaultKind::Unexpected { name: name(), found: '[' }),
        ("${WORD:1:}", FaultKind::NoArgument { name: name() }),
        ("${WORD#}", FaultKind::NoArgument { name: name() }),
        ("${WORD%%}", FaultKind::NoArgument { name: name() }),
        ("${WORD///x}", FaultKind::NoArgument { name: name() }),
        ("${WORD/a${N}/x}", FaultKind::NoReplacement { name: name() }),
        ("${WORD/a/b${N}}", FaultKind::NotClosed { name: name() }),
        ("${WORD#a${N}}", FaultKind::NotClosed { name: name() }),
        ("${WORD:1${N}}", FaultKind::NotClosed { name: name() }),
        ("${WORD^^^}", FaultKind::NotClosed { name: name() }),
        ("${#WORD:1}", FaultKind::NotClosed { name: name() }),
        ("${WORD:1:-9}", FaultKind::NegativeLength { name: name() }),
        ("${WORD:9223372036854775807:1}", FaultKind::NegativeLength { name: name() }),
    ];
    for (source, kind) in rows {
        assert_eq!(faults(source).first(), Some(&kind), "{source}");
    }
}

#[test]
fn all_faults_are_reported_at_their_places() {
    let source = "a: ${}\nb: ${WORD}\nc: ${WORD-x}\nd: ${KEY:-x}\n";
    let faults = substitute(source, VARIABLES).expect_err("faults");
    let marked: Vec<&str> = faults.iter().map(|fault| &source[fault.at.clone()]).collect();
    assert_eq!(marked, ["${}", "-", "${KEY:-x}"]);
}

#[test]
fn fault_within_others_is_reported_once_and_parsing_continues_after_it() {
    let source = "${A:-${B:-${C.}}} ${D.} ${E:-${";
    let faults = substitute(source, VARIABLES).expect_err("faults");
    let places: Vec<_> = faults.iter().map(|fault| fault.at.clone()).collect();
    assert_eq!(places, [13..14, 21..22, 29..31]);
}

#[test]
fn secrets_are_refused_everywhere() {
    for source in ["${KEY}", "# ${KEY:-x}", "${N:-${#KEY}}"] {
        let expected = FaultKind::Secret { name: "KEY".to_owned() };
        assert_eq!(faults(source).first(), Some(&expected), "{source}");
    }
}

#[test]
fn names_without_value_and_default_are_noted_outside_of_comments() {
    let source = "# ${COMMENTED}\nx: ${NONE} ${OTHER:-d} ${BLANK^} ${WORD:-${UNUSED}} ${A:-${USED}} ${WORD}\n";
    let result = substitute(source, VARIABLES).expect("substituted");
    let missing = result.replacements(0..usize::MAX).flat_map(|replacement| replacement.missing);
    let missing: Vec<&str> = missing.map(|name| &source[name.clone()]).collect();
    assert_eq!(missing, ["NONE", "BLANK", "USED"]);
}

#[test]
fn places_lead_back_to_the_source() {
    let source = "ab${VERSION}c$$d${NONE}e";
    let result = substitute(source, VARIABLES).expect("substituted");
    assert_eq!(result.text, "ab1.2.3c$de");
    let ranges: Vec<&str> = (0..result.text.len()).map(|at| &source[result.source_range(at)]).collect();
    let expression = "${VERSION}";
    let expected = ["", "", expression, expression, expression, expression, expression, "", "", "", "${NONE}"];
    assert_eq!(ranges, expected);
    assert_eq!(result.source_range(7), 12..12);
    assert_eq!(result.source_range(8), 14..14);
    assert_eq!(result.source_range(result.text.len()), source.len()..source.len());
}

#[test]
fn replacements_are_the_values_of_expressions() {
    let source = "a ${VERSION} b ${NONE}\n${N}";
    let result = substitute(source, VARIABLES).expect("substituted");
    let replacements: Vec<Replacement<'_>> = result.replacements(0..10).collect();
    assert_eq!(
        replacements,
        [
            Replacement { source: 2..12, text: 2..7, value: "1.2.3", missing: &[] },
            Replacement { source: 15..22, text: 10..10, value: "", missing: std::slice::from_ref(&(17..21)) },
        ]
    );
}

#[test]
fn deep_nesting_and_long_output_end() {
    let big = |_: &str| Some("v".repeat(100_000));
    let kind =
        |source: &str| substitute(source, Lookup { value: &big, ..VARIABLES }).expect_err("fault")[0].kind.clone();
    assert_eq!(kind(&"${A:-".repeat(100_000)), FaultKind::TooDeep);
    assert_eq!(kind(&"${A}".repeat(1000)), FaultKind::TooLong);
    assert_eq!(kind("${A//v/${A}}"), FaultKind::TooLong);
    assert_eq!(kind("${A##*a*b}"), FaultKind::TooLong);
}

/// Text that is mostly made of what the grammar knows.
fn expressive() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("${".to_owned()),
        Just("}".to_owned()),
        "[$:/#%^,=+?*\\\\\\[\\]\\-]",
        Just("WORD".to_owned()),
        Just("ACCENT".to_owned()),
        Just("NONE".to_owned()),
        "[0-9]",
        "\\PC",
        "[ \n\ta-z{]",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_panics_and_places_stay_within(source in expressive()) {
        match substitute(&source, VARIABLES) {
            Ok(result) => {
                let mut last = 0;
                for at in 0..=result.text.len() {
                    let range = result.source_range(at);
                    prop_assert!(range.end <= source.len() && range.start >= last);
                    prop_assert!(source.is_char_boundary(range.start) || range.is_empty());
                    last = range.start;
                }
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(source.get(fault.at).is_some());
                    prop_assert!(!fault.kind.to_string().is_empty() && fault.kind.hint().is_some());
                }
            }
        }
    }

    #[test]
    fn text_without_dollar_and_backslash_is_unchanged(source in "[^$\\\\]*") {
        prop_assert_eq!(becomes(&source), source);
    }

    #[test]
    fn escaped_text_comes_out_as_it_was(text in "\\PC*") {
        let source = text.replace('\\', "\\\\").replace('$', "$$");
        prop_assert_eq!(becomes(&source), text);
    }

    #[test]
    fn copied_text_maps_to_itself(source in expressive()) {
        if let Ok(result) = substitute(&source, VARIABLES) {
            for (at, byte) in result.text.bytes().enumerate() {
                let range = result.source_range(at);
                if range.is_empty() && range.start < source.len() {
                    prop_assert_eq!(source.as_bytes()[range.start], byte);
                }
            }
        }
    }

    #[test]
    fn substring_is_what_slicing_gives(start in 0usize..12, length in 0usize..12) {
        let expected: String = "release".chars().skip(start).take(length).collect();
        prop_assert_eq!(becomes(&format!("${{WORD:{start}:{length}}}")), expected);
    }
}
