//! The directory in clones of all kinds.

use super::*;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

#[test]
fn other_hosts_and_settings_of_the_file_stay() {
    let config = json!({
        "auths": {"other.io": {"auth": "b3RoZXI="}, "ghcr.io": {"auth": "b2xk"}},
        "HttpHeaders": {"X": "y"},
    });
    let logins = [
        (&host("ghcr.io"), &RegistryLogin::new("ghcr", "some-password")),
        (&host("docker.io"), &RegistryLogin::new("hub", "some-password")),
    ];
    let merged = merged(config.as_object().unwrap().clone(), &logins);
    insta::assert_snapshot!(serde_json::to_string_pretty(&merged).unwrap(), @r#"
    {
      "HttpHeaders": {
        "X": "y"
      },
      "auths": {
        "ghcr.io": {
          "auth": "Z2hjcjpzb21lLXBhc3N3b3Jk"
        },
        "https://index.docker.io/v1/": {
          "auth": "aHViOnNvbWUtcGFzc3dvcmQ="
        },
        "other.io": {
          "auth": "b3RoZXI="
        }
      }
    }
    "#);
}

#[test]
fn docker_is_told_to_use_the_file_where_it_names_helpers() {
    for config in [json!({"credsStore": "desktop"}), json!({"credHelpers": {"ghcr.io": "gh"}})] {
        let merged = merged(
            config.as_object().unwrap().clone(),
            &[(&host("ghcr.io"), &RegistryLogin::new("ghcr", "some-password"))],
        );
        assert_eq!(merged["credHelpers"]["ghcr.io"], "");
    }
    let merged = merged(Map::new(), &[(&host("ghcr.io"), &RegistryLogin::new("ghcr", "some-password"))]);
    assert_eq!(merged.get("credHelpers"), None);
}

#[test]
fn identity_tokens_are_written_as_docker_writes_them() {
    let login = RegistryLogin::identity_token("refresh");
    let merged = merged(Map::new(), &[(&host("acme.azurecr.io"), &login)]);
    assert_eq!(merged["auths"]["acme.azurecr.io"], json!({"auth": "PHRva2VuPjo=", "identitytoken": "refresh"}));
}

#[test]
fn directory_is_one_in_the_clone_directory() {
    let clone = tempfile::tempdir().unwrap();
    let directory = |wanted: &str| Directory::new(Some(clone.path()), Path::new(wanted));
    assert_eq!(
        directory("a/./b/../.docker").unwrap().export(),
        "export DOCKER_CONFIG=\"$BITBUCKET_CLONE_DIR/a/.docker\""
    );
    let absolute = clone.path().join(".docker");
    assert_eq!(directory(absolute.to_str().unwrap()).unwrap().relative, Path::new(".docker"));
    for wanted in ["/elsewhere/.docker", "../x", "a/../../x", ".", "a/.."] {
        assert!(directory(wanted).is_err(), "{wanted}");
    }
    std::os::unix::fs::symlink("/tmp", clone.path().join("link")).unwrap();
    assert!(directory("link/x").is_err());
    fs::write(clone.path().join("file"), "").unwrap();
    assert!(directory("file").is_err());
}

#[test]
fn what_a_shell_interprets_is_refused() {
    let clone = tempfile::tempdir().unwrap();
    let directory = |wanted: &str| Directory::new(Some(clone.path()), Path::new(wanted));
    for wanted in [
        "$HOME/.docker",
        "${HOME}/x",
        "~/.docker",
        "a\"b",
        "a$(id)",
        "a`id`",
        "a\\b",
        "a\nb",
        "a;b",
        "a!b",
        "a*",
        "a'b",
        "a&b",
    ] {
        let error = directory(wanted).unwrap_err().message;
        assert!(error.contains("which a shell interprets"), "{wanted}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for wanted in [".docker", "build/docker-1.0_x", "a b", "größe"] {
        assert!(directory(wanted).is_ok(), "{wanted}");
    }
}

#[test]
fn git_ignores_all_of_the_directory_in_the_end() {
    let text = |ignore: &str| mended(ignore.as_bytes().to_vec()).map(|text| String::from_utf8(text).unwrap());
    for (ignore, expected) in [
        ("", Some("*\n")),
        ("*\n", None),
        ("# all\r\n*\r\n", None),
        ("!config.json\n*", None),
        ("config.json\n", Some("config.json\n*\n")),
        ("*\n!config.json", Some("*\n!config.json\n*\n")),
        ("*.json", Some("*.json\n*\n")),
    ] {
        assert_eq!(text(ignore).as_deref(), expected, "{ignore}");
    }
}

#[test]
fn build_contexts_leave_out_what_the_last_matching_pattern_says() {
    for (directory, ignored, expected) in [
        (".docker", "", false),
        (".docker", "# .docker", false),
        (".docker", ".docker", true),
        (".docker", "/.docker/", true),
        (".docker", "./.docker", true),
        (".docker", "**/.docker", true),
        (".docker", ".*", true),
        (".docker", "*", true),
        (".docker", "**", true),
        (".docker", ".docker\n!.docker", false),
        (".docker", "*\n!src", true),
        (".docker", ".dockerx\n.git", false),
        (".docker", ".d?cker", true),
        ("build/docker", "build", true),
        ("build/docker", "build/*", true),
        ("build/docker", "docker", false),
        ("build/docker", "**/docker", true),
        (".docker", ".docker/**", true),
        (".docker", ".docker/*", true),
        (".docker", ".docker/config.json", true),
        (".docker", "**/config.json", true),
        (".docker", ".docker\n!.docker/config.json", false),
        (".docker", "config.json", false),
    ] {
        assert_eq!(is_ignored(&Path::new(directory).join(CONFIG), ignored), expected, "{directory}: {ignored}");
    }
}

#[test]
fn links_are_not_read() {
    for name in [CONFIG, ".gitignore"] {
        let clone = tempfile::tempdir().unwrap();
        fs::create_dir(clone.path().join(".docker")).unwrap();
        fs::write(clone.path().join("elsewhere"), "{}").unwrap();
        std::os::unix::fs::symlink("../elsewhere", clone.path().join(".docker").join(name)).unwrap();
        let error = Directory::new(Some(clone.path()), Path::new(".docker")).unwrap_err().message;
        assert!(error.ends_with(&format!("/.docker/{name}` is a link: remove it")), "{error}");
    }
}

#[test]
fn file_that_is_no_json_is_left_alone_and_not_shown() {
    let clone = tempfile::tempdir().unwrap();
    fs::create_dir(clone.path().join(".docker")).unwrap();
    fs::write(clone.path().join(".docker/config.json"), "canary-of-config").unwrap();
    let error = Directory::new(Some(clone.path()), Path::new(".docker")).unwrap_err();
    let error = error.message;
    assert!(error.contains("is not a JSON object (line 1, column 1)") && !error.contains("canary"), "{error}");
}
