use super::*;

#[test]
fn wildcard_knows_the_star_only() {
    let rows = [
        ("fn1", "fn1", true),
        ("fn1", "fn12", false),
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "any", true),
        ("fn*", "fn1", true),
        ("*1", "fn1", true),
        ("*n*", "fn1", true),
        ("f*1", "fn1", true),
        ("f*n1", "fn1n1", true),
        ("*a*a", "a", false),
        ("a*a", "a", false),
        ("fn[12]", "fn1", false),
        ("fn?", "fn1", false),
        ("é*", "éa", true),
    ];
    for (pattern, name, expected) in rows {
        assert_eq!(matches_wildcard(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn regular_expression_matches_anywhere() {
    let selector = Selector::Regex(Regex::new("n[12]").expect("valid"));
    let is_selected = |name| selector.selects(name);
    assert!(is_selected("fn1") && is_selected("xn2y") && !is_selected("fn3"));
}
