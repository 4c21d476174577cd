use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn knows(secrets: &[&str]) -> Needles {
    let mut needles = Needles::default();
    for secret in secrets {
        needles.add(secret.as_bytes(), false);
    }
    needles
}

/// The text as one piece.
fn masked(needles: &Needles, text: &[u8]) -> Vec<u8> {
    needles.mask(text, 0, Which::All, true).text
}

/// The text in pieces of these lengths, again and again.
fn masked_in_pieces(needles: &Needles, text: &[u8], lengths: &[usize]) -> Vec<u8> {
    let (mut out, mut held, mut covered, mut rest) = (Vec::new(), Vec::new(), 0, text);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        rest = after;
        held.extend_from_slice(piece);
        let masked = needles.mask(&held, covered, Which::All, false);
        out.extend(masked.text);
        held.drain(..masked.end);
        covered = masked.covered;
    }
    out.extend(needles.mask(&held, covered, Which::All, true).text);
    out
}

fn hide(secret: &str, text: &str) -> String {
    String::from_utf8(masked(&knows(&[secret]), text.as_bytes())).expect("text")
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

#[test]
fn plain_secret_is_hidden() {
    assert_eq!(hide("s3cr3t", "a s3cr3t and s3cr3t"), "a *** and ***");
}

#[test]
fn secret_with_every_byte_percent_encoded_is_hidden() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl-c2lnbmF0_XJl";
    let every = |byte: u8| format!("%{byte:02x}");
    for encoded in [
        token.bytes().map(every).collect::<String>(),
        token.bytes().map(every).collect::<String>().to_uppercase(),
        // Only what is neither a letter nor a digit.
        token.replace('.', "%2E").replace('-', "%2D").replace('_', "%5F"),
        token.replace('.', "%2e").replace('-', "%2d").replace('_', "%5f"),
    ] {
        assert_eq!(hide(token, &format!("<{encoded}>")), "<***>", "{encoded}");
    }
}

#[test]
fn escaped_secret_is_hidden() {
    let secret = "p@ss w/rd\"+é%\\🔑";
    for escaped in [
        // Forms, in both cases of hex digits; JavaScript and RFC 3986; a path in Go; Python's `quote`; a query.
        "p%40ss+w%2Frd%22%2B%C3%A9%25%5C%F0%9F%94%91",
        "p%40ss+w%2frd%22%2b%c3%a9%25%5c%f0%9f%94%91",
        "p%40ss%20w%2Frd%22%2B%C3%A9%25%5C%F0%9F%94%91",
        "p%40ss%20w%2frd%22%2b%c3%a9%25%5c%f0%9f%94%91",
        "p@ss%20w%2Frd%22+%C3%A9%25%5C%F0%9F%94%91",
        "p%40ss%20w/rd%22%2B%C3%A9%25%5C%F0%9F%94%91",
        "p@ss%20w/rd%22+%C3%A9%25\\%F0%9F%94%91",
        // JSON by JavaScript and Go; with `\/`; by Python; PHP; Jackson; .NET.
        r#"p@ss w/rd\"+é%\\🔑"#,
        r#"p@ss w\/rd\"+é%\\🔑"#,
        r#"p@ss w/rd\"+\u00e9%\\\ud83d\udd11"#,
        r#"p@ss w\/rd\"+\u00e9%\\\ud83d\udd11"#,
        r#"p@ss w/rd\"+\u00E9%\\\uD83D\uDD11"#,
        r"p@ss w/rd\u0022\u002B\u00E9%\\\uD83D\uDD11",
    ] {
        assert_eq!(hide(secret, &format!("x={escaped}&y")), "x=***&y", "{escaped}");
    }
    assert_eq!(hide("a<b>&c", r"a\u003cb\u003e\u0026c a&lt;b&gt;&amp;c"), "*** ***");
    for quotes in ["\"it's", "&quot;it's", "&#34;it&#39;s", "&quot;it&#x27;s", "&quot;it&#039;s", "&quot;it&apos;s"] {
        assert_eq!(hide("\"it's<é>/", &format!("{quotes}&lt;é&gt;/")), "***");
    }
    assert_eq!(hide("a=b'c", r"a\u003db\u0027c"), "***");
    assert_eq!(hide("a+b+c", "a+b+c a%2bb%2bc"), "*** ***");
    assert_eq!(hide("\\backs", r"\\backs \backs"), "*** ***");
    // Nothing is left of an escape at the end.
    assert_eq!(hide("backs\\", r"backs\\ backs\"), "*** ***");
    assert_eq!(hide("100%", "100%25 100%"), "*** ***");
    assert_eq!(hide("abc\\", r"abc\ abc\"), "*** ***");
}

#[test]
fn secret_in_hex_is_hidden_in_either_case() {
    assert_eq!(hide("s3cr3t", "7333637233740 7333637233 733363723374"), "***0 7333637233 ***");
    assert_eq!(hide("Kkkk", "4B6B6B6B 4b6b6b6b"), "*** ***");
}

#[test]
fn base64_of_a_password_is_hidden_when_it_is_escaped() {
    // Its base64 has both characters that need it.
    let secret = "~~~???>>>";
    assert_eq!(STANDARD.encode(secret), "fn5+Pz8/Pj4+");
    for escaped in
        ["fn5%2BPz8%2FPj4%2B", "fn5%2bPz8%2fPj4%2b", r"fn5+Pz8\/Pj4+", r"fn5\u002BPz8/Pj4\u002B", "fn5-Pz8_Pj4-"]
    {
        assert_eq!(hide(secret, escaped), "***", "{escaped}");
    }
}

#[test]
fn secret_within_base64_is_hidden_wherever_it_stands() {
    for before in ["", "a", "ab", "admin:"] {
        for after in ["", "x", "xy"] {
            let text = format!("{before}Tr0ub4dor&3>>???{after}");
            for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                let hidden = hide("Tr0ub4dor&3>>???", &encoded);
                assert!(hidden.contains("***"), "{text}: {hidden}");
                assert!(hidden.len() < 3 + 9 + 4, "{text}: {hidden}");
            }
        }
    }
}

#[test]
fn base64_in_lines_is_hidden() {
    let secret = "0123456789abcdefghijklmnopqrstuvwxyz";
    let encoded = STANDARD.encode(secret);
    let (one, two) = encoded.split_at(20);
    for between in ["\n", "\r\n", "\\n"] {
        assert_eq!(hide(secret, &format!("< {one}{between}{two} >")), "< *** >");
    }
}

#[test]
fn parts_of_a_jwt_are_hidden_by_themselves() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";
    assert_eq!(hide(token, token), "***");
    assert_eq!(hide(token, "claims eyJzdWIiOiIxMjM0NTY3ODkwIn0"), "claims ***");
    assert_eq!(hide(token, "signed c2lnbmF0dXJlLXNpZ25hdHVyZQ"), "signed ***");
    assert_eq!(hide(token, &STANDARD_NO_PAD.encode("c2lnbmF0dXJlLXNpZ25hdHVyZQ")), "***E");
}

#[test]
fn secret_cut_off_at_the_end_is_hidden() {
    assert_eq!(hide("0123456789abcdef", "token 0123456789ab"), "token ***");
    assert_eq!(hide("0123456789abcdef", "token 0123"), "token 0123");
}

#[test]
fn short_and_blank_values_are_left_alone() {
    assert_eq!(hide("abc", "abc"), "abc");
    assert_eq!(hide("     ", "a      b"), "a      b");
}

#[test]
fn line_end_behind_a_secret_does_not_save_it() {
    assert_eq!(hide("k3y-of-mine\n", "`k3y-of-mine`"), "`***`");
}

#[test]
fn longest_of_several_secrets_is_hidden_whole() {
    let needles = knows(&["secret", "secret-and-more", "and-more"]);
    assert_eq!(masked(&needles, b"secret-and-more secret and-more"), b"*** *** ***");
}

#[test]
fn secrets_that_overlap_are_hidden_to_the_end_of_the_last() {
    let needles = knows(&["key-A-prod", "prodxyzsecretvalue", "secretvalue-and-more", "abab"]);
    for (text, hidden) in [
        ("<key-A-prodxyzsecretvalue>", "<***>"),
        ("<key-A-prodxyzsecretvalue-and-more>", "<***>"),
        ("<key-A-prod prodxyzsecretvalue>", "<*** ***>"),
        ("<key-A-prodxyzsecretvalu>", "<***xyzsecretvalu>"),
        ("<abababa>", "<***a>"),
    ] {
        assert_eq!(String::from_utf8_lossy(&masked(&needles, text.as_bytes())), hidden);
        for length in 1..30 {
            let pieces = masked_in_pieces(&needles, text.as_bytes(), &[length]);
            assert_eq!(String::from_utf8_lossy(&pieces), hidden, "in pieces of {length}");
        }
    }
}

#[test]
fn stream_masks_tokens_only() {
    let (_token, _password) =
        (Secret::token("t0ken-in-a-stream-0123".to_owned()), Secret::new("passw0rd-in-a-stream".to_owned()));
    let _short = Secret::token("t0ken-short".to_owned());
    let mut stream = RedactStream::default();
    let mut out = stream.push(b"passw0rd-in-a-stream t0ken-short t0ken-in-a-stream-0123 t0ken-in-a-stre");
    let (rest, count) = stream.finish();
    out.extend(rest);
    assert_eq!(String::from_utf8_lossy(&out), "passw0rd-in-a-stream t0ken-short *** ***");
    assert_eq!(count, 2);
}

#[test]
fn stream_holds_back_what_may_become_a_secret() {
    let _secret = Secret::token("in-pieces-0123456789".to_owned());
    for size in 1..12 {
        let mut stream = RedactStream::default();
        let mut out = Vec::new();
        for piece in b"a in-pieces-0123456789 b in-pieces".chunks(size) {
            out.extend(stream.push(piece));
        }
        out.extend(stream.finish().0);
        assert_eq!(String::from_utf8_lossy(&out), "a *** b in-pieces");
    }
}

/// A server could try to keep the pipe busy with a text that nearly is a secret, again and again: a search that started
/// over at each byte would take minutes.
#[test]
fn text_full_of_beginnings_costs_no_more_than_a_few_looks_at_each_byte() {
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.{}", "eyJzdWIi".repeat(150), "c2lnbmF0dXJl".repeat(30));
    let needles = knows(&[&token]);
    let mut text = Vec::new();
    while text.len() < 1 << 20 {
        text.extend_from_slice(&token.as_bytes()[..token.len() - 1]);
        text.push(b'!');
    }
    // The signature's parts repeat, so that nothing of it may be left.
    let hidden = masked(&needles, &text);
    assert!(hidden.len() <= text.len());
}

/// All encodings of each line of a large file would need hundreds of MB.
#[test]
fn large_secret_is_known_in_few_encodings_and_its_short_lines_in_all() {
    let lines: Vec<_> = (0..400).map(|number| format!("line {number}: {}", "a+/%<>\"?=&~é".repeat(150))).collect();
    let text = format!("{}\npa/ss?word&", lines.join("\n"));
    let mut needles = Needles::default();
    needles.add_lines(text.lines());
    needles.add(text.as_bytes(), false);
    assert!(needles.size() < 40 * text.len(), "{} bytes for {}", needles.size(), text.len());
    for hidden in [&lines[399], &STANDARD_NO_PAD.encode(&text), &percent("pa/ss?word&"), &hex("pa/ss?word&")] {
        assert_eq!(masked(&needles, hidden.as_bytes())[..3], *b"***", "{hidden}");
    }
    // A line that was known in few encodings may be a password too.
    needles.add(lines[399].as_bytes(), false);
    assert_eq!(masked(&needles, percent(&lines[399]).as_bytes()), b"***");
}

#[test]
fn secret_that_is_an_encoding_of_another_is_known_in_all_encodings() {
    let needles = knows(&["password", &STANDARD_NO_PAD.encode("password")]);
    assert_eq!(masked(&needles, hex(&STANDARD_NO_PAD.encode("password")).as_bytes()), b"***");
}

fn secrets() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{4,40}", "[a-z%+\\\\/\" é\u{1f511}]{4,20}", "[A-Za-z0-9_-]{16,200}"]
        .prop_filter("a secret that counts", |secret| secret.trim().len() >= SHORTEST)
}

proptest! {
    #[test]
    fn secret_is_found_in_every_encoding_and_nothing_else_is_touched(
        secret in secrets(),
        // No character that an encoding may hold, so that nothing is joined to the secret.
        before in "[<>\\[\\]\u{e4}\u{f6}]{0,30}",
        after in "[<>\\[\\]\u{e4}\u{f6}]{0,30}",
        lengths in prop::collection::vec(1usize..40, 1..5),
    ) {
        let needles = knows(&[&secret]);
        let secret = secret.trim();
        let plain = [secret.to_owned(), percent(secret), json(secret), hex(secret), hex(secret).to_uppercase()];
        for encoded in plain {
            let text = format!("{before}{encoded}{after}");
            prop_assume!(!before.contains(secret) && !after.contains(secret));
            let expected = format!("{before}***{after}");
            let whole = masked(&needles, text.as_bytes());
            prop_assert_eq!(String::from_utf8_lossy(&whole), expected.as_str());
            let pieces = masked_in_pieces(&needles, text.as_bytes(), &lengths);
            prop_assert_eq!(String::from_utf8_lossy(&pieces), expected.as_str());
        }
    }

    #[test]
    fn secret_within_base64_leaves_nothing_that_decodes_to_it(
        secret in "[A-Za-z0-9_-]{8,200}",
        before in prop::collection::vec(any::<u8>(), 0..20),
        after in prop::collection::vec(any::<u8>(), 0..20),
        lengths in prop::collection::vec(1usize..40, 1..5),
    ) {
        let needles = knows(&[&secret]);
        let bytes = [&before, secret.as_bytes(), &after].concat();
        for encoded in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let hidden = masked(&needles, encoded.as_bytes());
            prop_assert_eq!(&hidden, &masked_in_pieces(&needles, encoded.as_bytes(), &lengths));
            let hidden = String::from_utf8_lossy(&hidden).into_owned();
            prop_assert!(hidden.contains("***"), "{}", hidden);
            // At most the two characters that the secret's ends share with its neighbours are left of it.
            let others = (before.len() + after.len()) * 4 / 3 + 8;
            prop_assert!(hidden.len() <= others + 3, "{}", hidden);
        }
    }

    #[test]
    fn text_without_a_secret_stays_as_it_is(
        text in prop::collection::vec(any::<u8>(), 0..400),
        lengths in prop::collection::vec(1usize..40, 1..5),
    ) {
        let needles = knows(&["correct horse battery staple", "eyJh.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"]);
        prop_assert_eq!(&masked(&needles, &text), &text);
        prop_assert_eq!(&masked_in_pieces(&needles, &text, &lengths), &text);
    }
}

#[test]
fn each_line_of_a_value_is_hidden_by_itself() {
    let _ = Secret::of_lines("  first line of it\n\tsecond, with spaces  \r\nabc\n");
    assert_eq!(redact("<first line of it> <second, with spaces> <abc>"), "<***> <***> <abc>");
    assert_eq!(redact(&STANDARD.encode("second, with spaces")), "***w==");
}

#[test]
fn file_that_is_not_text_is_hidden_in_base64_and_hex() {
    let content = b"\xff\xfe\0 a key that is binary, and a text of it \x80";
    let held = Secret::of_file(content);
    assert_eq!(held.reveal(), STANDARD.encode(content));
    let hexadecimal: String = content.iter().map(|byte| format!("{byte:02X}")).collect();
    for text in [STANDARD.encode(content), hex(&STANDARD.encode(content)), hexadecimal] {
        assert_eq!(redact(&format!("<{text}>")), "<***>");
    }
    assert_eq!(redact("a key that is binary, and a text of it"), "***");
}
