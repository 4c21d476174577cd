//! Random secrets. All are remembered, so that a test can search for them in the output of the pipe.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};

/// All secrets that were issued or configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<String>>>);

impl Secrets {
    /// Remembers a secret.
    pub(crate) fn keep(&self, secret: impl Into<String>) -> String {
        let secret = secret.into();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
        secret
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new secret of URL-safe characters with a prefix.
    pub(crate) fn token(&self, prefix: &str, bytes: usize) -> String {
        self.keep(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random(bytes))))
    }

    /// A new secret in base64 with `+`, `/` and perhaps `=`, which are changed by encodings.
    pub(crate) fn base64(&self, bytes: usize) -> String {
        self.keep(format!("/+{}", STANDARD.encode(random(bytes))))
    }
}

pub(crate) fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random).expect("the system has random numbers");
    random
}

/// Upper-case letters and digits, as in AWS ids.
pub(crate) fn id(prefix: &str, length: usize) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let letters = random(length).into_iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    prefix.chars().chain(letters).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// User and password of `Authorization: Basic` (RFC 7617).
pub(crate) fn basic(authorization: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(scheme(authorization, "basic")?).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The credentials in an `Authorization` header with this scheme.
pub(crate) fn scheme<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = authorization.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}
