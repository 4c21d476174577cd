//! The step as clouds see it: its ID token, and the names of repository and build. Claims are used for explanations only.

use crate::console::log::quote;
use crate::oidc::{self, BuildContext, Claims, IdToken};

/// The remedy if a cloud says that the token has expired.
pub(super) const EXPIRED: &str =
    "the step ran longer than its token is valid: run the pipe earlier, or in a step of its own";

pub(crate) struct Step<'a> {
    pub(super) token: &'a IdToken,
    claims: Claims,
    build: &'a BuildContext,
}

impl<'a> Step<'a> {
    pub(crate) fn new(token: &'a IdToken, build: &'a BuildContext) -> Self {
        Self { token, claims: token.claims().unwrap_or_default(), build }
    }

    pub(super) fn issuer(&self) -> &str {
        self.claims
            .issuer()
            .unwrap_or("https://api.bitbucket.org/2.0/workspaces/WORKSPACE/pipelines-config/identity/oidc")
    }

    /// As AWS names it in ARNs and conditions.
    pub(super) fn issuer_path(&self) -> &str {
        let issuer = self.issuer();
        issuer.strip_prefix("https://").unwrap_or(issuer)
    }

    pub(super) fn repository(&self) -> &str {
        // Bitbucket writes nothing else; a forged token could break out of the commands that this is printed in.
        let is_uuid =
            |uuid: &&str| uuid.chars().all(|character| character.is_ascii_hexdigit() || "{}-".contains(character));
        self.claims.repository().filter(is_uuid).unwrap_or("{REPOSITORY_UUID}")
    }

    pub(super) fn environment(&self) -> Option<&str> {
        self.claims.environment()
    }

    pub(super) fn workspace_audience(&self) -> String {
        oidc::workspace_audience(&self.claims)
    }

    /// Issuer, audiences and subject of the token, a line each.
    pub(super) fn claims(&self) -> String {
        let audiences = self.claims.audiences();
        let audiences = if audiences.is_empty() { "none".to_owned() } else { audiences.join(", ") };
        let subject = self.claims.text("sub").unwrap_or("none");
        let [issuer, audiences, subject] = [self.claims.issuer().unwrap_or("none"), &audiences, subject].map(quote);
        format!("  iss: {issuer}\n  aud: {audiences}\n  sub: {subject}")
    }

    /// That the token has more than one audience, and how to have one.
    pub(crate) fn several_audiences(&self) -> Option<String> {
        let count = self.claims.audiences().len();
        (count > 1).then(|| {
            format!(
                "the token has {count} audiences, and it is not confirmed that AWS and Google accept more than one: give the \
                 step `oidc: true`, without `audiences:`, and write the workspace's audience into the gateway's JwtIssuer:\n  \
                 spec:\n    aud:\n      - {}",
                self.workspace_audience()
            )
        })
    }

    /// A remedy, with that the token has more than one audience if so.
    pub(super) fn with_audiences(&self, remedy: String) -> String {
        match self.several_audiences() {
            Some(warning) => format!("{remedy}\n{warning}"),
            None => remedy,
        }
    }

    /// The claims as a cloud reads them: claim, value, meaning.
    pub(super) fn table<const N: usize>(&self, rows: [(&str, String); N]) -> Vec<[String; 3]> {
        let value = |claim: &str| match claim {
            "aud" => self.claims.audiences().join(", "),
            claim => self.claims.text(claim).unwrap_or_default().to_owned(),
        };
        rows.map(|(claim, meaning)| [claim.to_owned(), quote(&value(claim)), meaning]).into()
    }

    /// A name for the session in the cloud's audit log: repository and build, in the letters that AWS allows.
    pub(super) fn session_name(&self) -> String {
        const LONGEST: usize = 64;
        let is_allowed = |byte: char| byte.is_ascii_alphanumeric() || "_+=,.@-".contains(byte);
        let clean = |text: &str| text.chars().map(|c| if is_allowed(c) { c } else { '-' }).collect::<String>();
        let build = self.build.number.as_ref().map(|number| format!("-{}", clean(number))).unwrap_or_default();
        let build: String = build.chars().take(LONGEST / 2).collect();
        let mut name = clean(self.build.repository_slug.as_deref().unwrap_or("openfaas-pipe"));
        // Cut before the build number, by which the audit log is searched.
        name.truncate(LONGEST - build.len());
        let name = name + &build;
        // Two characters at least.
        if name.len() < 2 { "openfaas-pipe".to_owned() } else { name }
    }
}

/// A text as one word of a shell's command.
pub(super) fn shell_word(text: &str) -> String {
    let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    format!("'{}'", line.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::sample::{BUILD, token};

    #[test]
    fn session_is_named_in_allowed_letters_and_keeps_the_build() {
        let token = token(json!({}));
        let name = |slug: Option<&str>, number: Option<&str>| {
            let [repository_slug, number] = [slug, number].map(|text| text.map(str::to_owned));
            Step::new(&token, &BuildContext { repository_slug, number, ..BuildContext::default() }).session_name()
        };
        assert_eq!(name(Some("import-csv"), Some("42")), "import-csv-42");
        assert_eq!(name(Some("{a}/b c:d é"), Some("42")), "-a--b-c-d---42");
        assert_eq!(name(None, None), "openfaas-pipe");
        assert_eq!(name(Some("x"), None), "openfaas-pipe");
        let long = name(Some(&"x".repeat(100)), Some("123456"));
        assert_eq!(long.len(), 64);
        assert!(long.ends_with("x-123456"));
    }

    #[test]
    fn claims_cannot_break_out_of_commands() {
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's\n$(id)"), r"'it'\''s $(id)'");
        let forged = token(json!({"repositoryUuid": "{x}'; id; '"}));
        assert_eq!(Step::new(&forged, &BUILD).repository(), "{REPOSITORY_UUID}");
    }

    #[test]
    fn several_audiences_are_warned_about_with_the_setup_for_one() {
        let one = token(json!({}));
        assert_eq!(Step::new(&one, &BUILD).several_audiences(), None);
        let two = token(json!({"aud": ["ari:cloud:bitbucket::workspace/8d1c", "https://gw.example.com"]}));
        insta::assert_snapshot!(Step::new(&two, &BUILD).several_audiences().unwrap(), @"
        the token has 2 audiences, and it is not confirmed that AWS and Google accept more than one: give the step `oidc: true`, without `audiences:`, and write the workspace's audience into the gateway's JwtIssuer:
          spec:
            aud:
              - ari:cloud:bitbucket::workspace/8d1c
        ");
    }
}
