//! Scalars of every type in YAML 1.1, used as text, list or boolean.

use super::*;

#[test]
fn scalars_are_kept_verbatim() {
    environments_become([
        (
            "whole numbers",
            "      a: 7\n      b: 0755\n      c: 0o755\n      d: 0xFF\n      e: 10_000\n      f: -0\n      g: +1\n      h: 0b11",
            json!({"a": "7", "b": "0755", "c": "0o755", "d": "0xFF", "e": "10_000", "f": "-0", "g": "+1", "h": "0b11"}),
        ),
        ("beyond 64 bits", "      a: 98765432109876543210987", json!({"a": "98765432109876543210987"})),
        ("base 60", "      a: 20:30\n      b: 1:20:30", json!({"a": "20:30", "b": "1:20:30"})),
        (
            "fractions",
            "      a: 3.20\n      b: 2e5\n      c: 2E-05\n      d: .25\n      e: 4.\n      f: -2.0\n      g: 1.2.3",
            json!({"a": "3.20", "b": "2e5", "c": "2E-05", "d": ".25", "e": "4.", "f": "-2.0", "g": "1.2.3"}),
        ),
        ("infinity", "      a: .inf\n      b: -.Inf\n      c: .NaN", json!({"a": ".inf", "b": "-.Inf", "c": ".NaN"})),
        (
            "booleans",
            "      a: true\n      b: False\n      c: YES\n      d: no\n      e: On\n      f: off\n      g: y\n      h: N",
            json!({"a": "true", "b": "False", "c": "YES", "d": "no", "e": "On", "f": "off", "g": "y", "h": "N"}),
        ),
        (
            "dates",
            "      a: 2024-02-29\n      b: 2024-02-29T10:00:00Z\n      c: 2024-2-9 10:00:00.5 -3\n      d: 23:59:59",
            json!({"a": "2024-02-29", "b": "2024-02-29T10:00:00Z", "c": "2024-2-9 10:00:00.5 -3", "d": "23:59:59"}),
        ),
        (
            "odd beginnings",
            "      a: -x\n      b: ?x\n      c: :x\n      d: x:y\n      e: =\n      f: x#y",
            json!({"a": "-x", "b": "?x", "c": ":x", "d": "x:y", "e": "=", "f": "x#y"}),
        ),
        (
            "tags",
            "      a: !!str 8\n      b: !!int '8'\n      c: !!binary b3BlbmZhYXM=\n      d: !mine z\n      e: !!null ''",
            json!({"a": "8", "b": "8", "c": "openfaas", "d": "z", "e": ""}),
        ),
    ]);
}

#[test]
fn null_is_an_empty_text() {
    environments_become([
        ("nothing", "      a:\n      b: c", json!({"a": "", "b": "c"})),
        (
            "spelt",
            "      a: ~\n      b: null\n      c: Null\n      d: NULL",
            json!({"a": "", "b": "", "c": "", "d": ""}),
        ),
        ("quoted", "      a: '~'\n      b: \"null\"\n      c: ''", json!({"a": "~", "b": "null", "c": ""})),
        (
            "other spellings",
            "      a: nULL\n      b: none\n      c: nil",
            json!({"a": "nULL", "b": "none", "c": "nil"}),
        ),
    ]);
    fields_become([
        (
            "fields",
            "    environment:\n    labels: ~\n    annotations: null\n    secrets:\n    constraints:\n    limits:\n    fprocess:\n    namespace:",
            json!({}),
        ),
        (
            "empty collections",
            "    environment: {}\n    secrets: []\n    constraints: []\n    requests: {}\n    fprocess: ''",
            json!({}),
        ),
    ]);
}

#[test]
fn keys_are_kept_verbatim() {
    environments_become([
        ("numbers", "      7: a\n      2.50: b\n      0x1F: c", json!({"7": "a", "2.50": "b", "0x1F": "c"})),
        (
            "words",
            "      yes: a\n      true: b\n      2024-02-29: c",
            json!({"yes": "a", "true": "b", "2024-02-29": "c"}),
        ),
        ("null", "      ~: a\n      b: c", json!({"b": "c"})),
        ("long form", "      ? some key\n      : a\n      'it''s': b", json!({"some key": "a", "it's": "b"})),
        ("other alphabets", "      größe: a\n      名: b", json!({"größe": "a", "名": "b"})),
    ]);
}

#[test]
fn lists_accept_any_scalar_and_skip_nulls() {
    fields_become([
        ("flow", "    secrets: [a, 2, yes, 2024-02-29]", json!({"secrets": ["a", "2", "yes", "2024-02-29"]})),
        (
            "nulls",
            "    secrets:\n      - ~\n      - a\n      -\n      - ''\n      - a",
            json!({"secrets": ["a", "", "a"]}),
        ),
        (
            "at the indentation of their name",
            "    constraints:\n    - zone == a\n    -   1.20",
            json!({"constraints": ["zone == a", "1.20"]}),
        ),
    ]);
}

#[test]
fn booleans_follow_yaml_1_1() {
    let yes = || json!({"readOnlyRootFilesystem": true});
    fields_become([
        ("true", "    readonly_root_filesystem: true", yes()),
        ("TRUE", "    readonly_root_filesystem: TRUE", yes()),
        ("yes", "    readonly_root_filesystem: yes", yes()),
        ("On", "    readonly_root_filesystem: On", yes()),
        ("y", "    readonly_root_filesystem: y", yes()),
        ("off", "    readonly_root_filesystem: off", json!({})),
        ("N", "    readonly_root_filesystem: N", json!({})),
        ("null", "    readonly_root_filesystem: ~", json!({})),
    ]);
    refused([
        ("quoted", function("    readonly_root_filesystem: 'true'"), "not the text `true`"),
        ("number", function("    readonly_root_filesystem: 1"), "`readonly_root_filesystem` must be"),
        ("word", function("    readonly_root_filesystem: perhaps"), "not the text `perhaps`"),
    ]);
}

#[test]
fn all_fields_are_sent() {
    let fields = "    lang: node20\n    handler: ./f\n    fprocess: node index.js\n    namespace: shop\n    labels: {tier: 1}\n    \
                  annotations: {topic: orders}\n    limits: {memory: 64Mi, cpu: 1e3}\n    requests: {cpu: 100m}\n    \
                  constraints: [a=b]\n    secrets: [s]\n    environment: {A: b}";
    fields_become([(
        "all",
        fields,
        json!({
            "envProcess": "node index.js", "namespace": "shop", "labels": {"tier": "1"},
            "annotations": {"topic": "orders"}, "limits": {"memory": "64Mi", "cpu": "1e3"}, "requests": {"cpu": "100m"},
            "constraints": ["a=b"], "secrets": ["s"], "envVars": {"A": "b"},
        }),
    )]);
}

#[test]
fn wrong_types_are_rejected() {
    refused([
        ("list as environment", environment("      - A=1"), "`environment` must be a mapping, not a list"),
        ("text as environment", environment("      A:1"), "`environment` must be a mapping, not the text `A:1`"),
        ("list as value", environment("      A: [1]"), "`A` of `environment` must be a text, not a list"),
        ("names as value", environment("      A: {{b}}"), "`A` of `environment`"),
        ("text as list", function("    secrets: s"), "`secrets` must be a list, not the text `s`"),
        ("names as list", function("    constraints: {a: b}"), "`constraints`"),
        ("text as limits", function("    limits: 64Mi"), "`limits` must be a mapping, not the text `64Mi`"),
        ("text as function", HEAD.replace("\n    image: r/f:1", " r/f:1"), "`r/f:1`"),
        (
            "functions as list",
            "provider: {name: openfaas}\nfunctions: [f]\n".to_owned(),
            "`functions` must be a mapping, not a list",
        ),
        ("unfit tag", environment("      A: !!int x"), "does not match its tag"),
    ]);
}
