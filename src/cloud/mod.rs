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
mod step;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;

pub(crate) use step::Step;

use crate::console::redact::Secret;
use crate::diagnostic::Diagnostic;
use crate::http::tls::BASE64;

/// No real token is shorter.
pub(crate) const SHORTEST_TOKEN: usize = 12;

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
    (text.len() >= SHORTEST_TOKEN).then(|| Secret::token(text))
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
