//! Signing keys, and JSON Web Tokens (RFC 7519, compact form) signed with them.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value, json};

/// The claims of a token.
pub type Claims = Map<String, Value>;

/// Two RSA keys of 2048 bits for RS256 (PKCS #8), made with `openssl genpkey`. They sign nothing outside of tests: to create
/// a key takes more than ring.
const ISSUER: &[u8] = include_bytes!("issuer.pkcs8");
const STRANGER: &[u8] = include_bytes!("stranger.pkcs8");

/// A private key with its id.
pub(crate) struct Key {
    kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl Key {
    fn rsa(key: &[u8]) -> Self {
        let pair = RsaKeyPair::from_pkcs8(key).expect("the key is valid");
        Self { kid: uuid(), pair: Pair::Rsa(Box::new(pair)) }
    }

    /// Creates a P-256 key for ES256.
    pub(crate) fn ec() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("the system has random numbers");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("the key is valid");
        Self { kid: uuid(), pair: Pair::Ec(Box::new(pair)) }
    }

    /// The RSA key of all issuers.
    pub(crate) fn shared_rsa() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::rsa(ISSUER))
    }

    /// A second RSA key that is in no JWKS.
    pub(crate) fn stranger_rsa() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::rsa(STRANGER))
    }

    /// The key id.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The JWA name of its signature algorithm.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    /// The public key as a JSON Web Key (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = json!({"kid": self.kid, "use": "sig", "alg": self.algorithm()});
        let members = match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e)})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..65])})
            }
        };
        merge(&mut jwk, members);
        jwk
    }

    /// Signs claims with the usual header.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.sign_as(&json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// Signs claims with any header.
    pub(crate) fn sign_as(&self, header: &Value, claims: &Claims) -> String {
        let message = unsigned(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .expect("the buffer has the modulus's length");
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message.as_bytes()).expect("a P-256 key signs").as_ref().to_vec(),
        };
        format!("{message}.{}", base64url(&signature))
    }
}

/// A parsed token, not verified.
pub(crate) struct Token<'a> {
    header: Value,
    pub(crate) claims: Claims,
    /// The first two parts, which are signed.
    message: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Parses a token in compact form.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).ok();
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            message,
            signature: decode(signature)?,
        })
    }

    /// The id of the key in its header.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.header["kid"].as_str()
    }

    /// Whether this key signed the token. The key determines the algorithm, and the token's `alg` must match (RFC 8725
    /// section 3.1).
    pub(crate) fn is_signed_by(&self, jwk: &Value) -> bool {
        self.verify(jwk).is_some()
    }

    fn verify(&self, jwk: &Value) -> Option<()> {
        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
        let message = self.message.as_bytes();
        match (self.header["alg"].as_str()?, jwk["kty"].as_str()?) {
            ("RS256", "RSA") => {
                let key = RsaPublicKeyComponents { n: member("n")?, e: member("e")? };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &self.signature).ok()
            }
            ("ES256", "EC") => {
                let point = [vec![0x04], member("x")?, member("y")?].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &self.signature).ok()
            }
            _ => None,
        }
    }
}

/// The first two parts of a token.
pub(crate) fn unsigned(header: &Value, claims: &Claims) -> String {
    let claims = serde_json::to_vec(claims).unwrap_or_default();
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(&claims))
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs().cast_signed())
}

/// A random UUID (version 4).
pub(crate) fn uuid() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn merge(object: &mut Value, members: Value) {
    if let (Value::Object(object), Value::Object(members)) = (object, members) {
        object.extend(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims::from_iter([("sub".to_owned(), json!("somebody"))])
    }

    #[test]
    fn token_is_verified_only_by_its_own_key() {
        let rsa = Key::shared_rsa();
        for (key, other) in [(rsa, Key::stranger_rsa()), (&Key::ec(), &Key::ec()), (rsa, &Key::ec())] {
            let signed = key.sign(&claims());
            let token = Token::parse(&signed).unwrap();
            assert_eq!((token.kid(), &token.claims), (Some(key.kid()), &claims()));
            assert!(token.is_signed_by(&key.jwk()));
            assert!(!token.is_signed_by(&other.jwk()));
        }
    }

    #[test]
    fn modified_token_is_rejected() {
        let key = Key::ec();
        let signed = key.sign(&claims());
        let (_, signature) = signed.rsplit_once('.').unwrap();
        let other = Claims::from_iter([("sub".to_owned(), json!("somebody else"))]);
        let header = json!({"alg": "ES256", "kid": key.kid()});
        let changed = format!("{}.{signature}", unsigned(&header, &other));
        assert!(!Token::parse(&changed).unwrap().is_signed_by(&key.jwk()));
        let unsigned = format!("{}.", unsigned(&json!({"alg": "none", "kid": key.kid()}), &claims()));
        assert!(!Token::parse(&unsigned).unwrap().is_signed_by(&key.jwk()));
    }

    #[test]
    fn malformed_token_is_not_parsed() {
        for text in ["", "a", "a.b.c", "e30.e30", "e30.W10.", "é.e30.", "e30.e30.e30.e30"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
