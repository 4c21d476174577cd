//! AWS and Google: what they exchange the step's token for, and what they need to accept it.
//!
//! Each has the same files: `mod` exchanges the token for a login for its registries, `names` reads its hosts and what its
//! variables name, and `explain` says what to change after a refusal, with the commands for that. `fault` sends the requests of
//! both, and reads what they say if they refuse.

pub(crate) mod aws;
mod fault;
pub(crate) mod google;
#[cfg(test)]
mod sample;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;

use crate::console::log::quote;
use crate::console::redact::{SHORTEST_ISSUED, Secret};
use crate::diagnostic::Diagnostic;
use crate::http::tls::BASE64;
use crate::oidc::{self, BuildContext, Claims, IdToken};

/// The user under which docker stores an identity token.
pub(crate) const TOKEN_USER: &str = "<token>";

/// A login for a registry, from a variable or from a cloud.
#[derive(Debug)]
pub(crate) struct RegistryLogin {
    /// The base64 of `USERNAME:PASSWORD`.
    pub(crate) basic: Secret,
    /// Docker's identity token: a refresh token (distribution, *OAuth2 Token Authentication*).
    pub(crate) identity_token: Option<Secret>,
    /// `None` if it does not expire by itself.
    pub(crate) expires: Option<SystemTime>,
}

type LoginResult = Result<Arc<RegistryLogin>, Diagnostic>;

/// A token, unless it is a word that would be masked wherever it occurs.
fn token(text: String) -> Option<Secret> {
    (text.len() >= SHORTEST_ISSUED).then(|| Secret::token(text))
}

impl RegistryLogin {
    pub(crate) fn new(username: &str, password: &str) -> Self {
        // Registered: a registry may send them back in any form.
        let both = format!("{username}:{password}");
        let _ = [Secret::new(password.to_owned()), Secret::new(both.clone())];
        Self { basic: Secret::new(BASE64.encode(both)), identity_token: None, expires: None }
    }

    /// Token endpoints that know no identity tokens take it for a password.
    pub(crate) fn identity_token(token: &str) -> Self {
        Self { identity_token: Some(Secret::new(token.to_owned())), ..Self::new(TOKEN_USER, token) }
    }

    /// True if a shell may have taken a part of the user name: Harbor's robots are called `robot$NAME`, those of a project
    /// `robot$PROJECT+NAME`.
    pub(crate) fn lacks_part_of_name(&self) -> bool {
        let decoded = BASE64.decode(self.basic.reveal()).unwrap_or_default();
        decoded.starts_with(b"robot:") || decoded.starts_with(b"robot+")
    }

    /// The `auth` of docker's `config.json`.
    pub(crate) fn docker_auth(&self) -> String {
        match self.identity_token {
            Some(_) => BASE64.encode(format!("{TOKEN_USER}:")),
            None => self.basic.reveal().to_owned(),
        }
    }
}

/// The last second of the year 9999, the last that HTTP's dates have.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// `YYYYMMDDTHHMMSSZ`.
pub(crate) fn basic(time: SystemTime) -> String {
    let [year, month, day, clock] = parts(time);
    format!("{year}{month}{day}T{}Z", clock.replace(':', ""))
}

/// `YYYY-MM-DD HH:MM UTC`, for people.
pub(crate) fn readable(time: SystemTime) -> String {
    let [year, month, day, clock] = parts(time);
    let minute = clock.rsplit_once(':').map_or(clock.as_str(), |(minute, _)| minute);
    format!("{year}-{month}-{day} {minute} UTC")
}

/// Year, month, day and `HH:MM:SS`, by the library that writes HTTP's dates: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parts(time: SystemTime) -> [String; 4] {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = httpdate::fmt_http_date(time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST));
    let mut words = date.split(' ').skip(1);
    let [day, month, year, clock] = [(); 4].map(|()| words.next().unwrap_or_default());
    let month = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
    [year.to_owned(), format!("{month:02}"), day.to_owned(), clock.to_owned()]
}

/// The remedy if a cloud says that the token has expired.
const EXPIRED: &str = "the step ran longer than its token is valid: run the pipe earlier, or in a step of its own";

/// The step as clouds see it: its ID token, and the names of repository and build. Claims are used for explanations only.
pub(crate) struct Step<'a> {
    token: &'a IdToken,
    claims: Claims,
    build: &'a BuildContext,
}

impl<'a> Step<'a> {
    pub(crate) fn new(token: &'a IdToken, build: &'a BuildContext) -> Self {
        Self { token, claims: token.claims().unwrap_or_default(), build }
    }

    fn issuer(&self) -> &str {
        self.claims
            .issuer()
            .unwrap_or("https://api.bitbucket.org/2.0/workspaces/WORKSPACE/pipelines-config/identity/oidc")
    }

    /// As AWS names it in ARNs and conditions.
    fn issuer_path(&self) -> &str {
        let issuer = self.issuer();
        issuer.strip_prefix("https://").unwrap_or(issuer)
    }

    fn repository(&self) -> &str {
        // Bitbucket writes nothing else; a forged token could break out of the commands that this is printed in.
        let is_uuid =
            |uuid: &&str| uuid.chars().all(|character| character.is_ascii_hexdigit() || "{}-".contains(character));
        self.claims.repository().filter(is_uuid).unwrap_or("{REPOSITORY_UUID}")
    }

    fn workspace_audience(&self) -> String {
        oidc::workspace_audience(&self.claims)
    }

    /// Issuer, audiences and subject of the token, a line each.
    fn claims(&self) -> String {
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
    fn with_audiences(&self, remedy: String) -> String {
        match self.several_audiences() {
            Some(warning) => format!("{remedy}\n{warning}"),
            None => remedy,
        }
    }

    /// The claims as a cloud reads them: claim, value, meaning.
    fn table<const N: usize>(&self, rows: [(&str, String); N]) -> Vec<[String; 3]> {
        let value = |claim: &str| match claim {
            "aud" => self.claims.audiences().join(", "),
            claim => self.claims.text(claim).unwrap_or_default().to_owned(),
        };
        rows.map(|(claim, meaning)| [claim.to_owned(), quote(&value(claim)), meaning]).into()
    }

    /// A name for the session in the cloud's audit log: repository and build, in the letters that AWS allows.
    fn session_name(&self) -> String {
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
fn shell_word(text: &str) -> String {
    let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    format!("'{}'", line.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::sample::{BUILD, token};

    #[test]
    fn times_are_written_in_digits() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_440_938_160, "2015-08-30T12:36:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (u64::MAX / 4, "9999-12-31T23:59:59Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(basic(time), text.replace(['-', ':'], ""));
            assert_eq!(readable(time), format!("{} {} UTC", &text[..10], &text[11..16]));
        }
    }

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
