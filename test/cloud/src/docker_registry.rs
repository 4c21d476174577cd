//! The registry program in Debian's package `docker-registry`, with a host name of the cloud.
//!
//! <https://distribution.github.io/distribution/about/configuration/>

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local_gateway::{Issued, Request, StartError};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use thiserror::Error;
use time::OffsetDateTime;

use crate::cloud::Cloud;
use crate::reply::{self, Reply};
use crate::secret::{Secrets, basic, hex, random};

/// The program.
const PROGRAM: &str = "docker-registry";
/// The only user.
pub const USER: &str = "bot";
/// The password of [`USER`].
pub const PASSWORD: &str = "canary+registry/password";
/// The bcrypt hash of the password, as required by the program: `htpasswd -nbB -C 5 bot canary+registry/password`.
const HTPASSWD: &str = "bot:$2y$05$haWs1b2EYpUs5s76Q8ZodOVM0HZ93DnEfbQK9UB.2veVTYVnJE3JO\n";
/// The issuer in tokens, which the program expects.
const ISSUER: &str = "local-cloud tokens";

/// How the program authenticates clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// User and password in every request.
    Htpasswd,
    /// Tokens of a service at `auth.HOST`, which requires user and password as well. Repositories below `public/` are
    /// readable without them.
    Token,
}

/// Why the program is not running.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The program is not installed.
    #[error("`docker-registry` is not installed: `apt-get install docker-registry`")]
    Missing,
    /// The program exited before it listened.
    #[error("`docker-registry` did not start:\n{0}")]
    Ended(String),
    /// Its files could not be written, or its output not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No certificate could be created.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The running program. Dropping it stops the program and deletes its images.
pub struct DockerRegistry {
    child: Child,
    _directory: TempDir,
}

impl DockerRegistry {
    /// Starts the program with TLS on a free port of the loopback interface, and resolves the host name to it.
    ///
    /// # Errors
    ///
    /// The program is not installed or did not start.
    pub fn start(cloud: &Cloud, host: &str, auth: Auth) -> Result<Self, ProgramError> {
        let directory = tempfile::tempdir()?;
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let issued = cloud.authority().issue(host)?;
        let certificate = write("certificate.pem", &issued.certificate_pem)?;
        let key = write("key.pem", &issued.key_pem)?;
        let auth = match auth {
            Auth::Htpasswd => json!({"htpasswd": {"realm": host, "path": write("htpasswd", HTPASSWD)?}}),
            Auth::Token => {
                let realm = format!("auth.{host}");
                let signing = cloud.authority().issue(ISSUER_NAME)?;
                let bundle = write("tokens.pem", &signing.certificate_pem)?;
                let tokens = Tokens { service: host.to_owned(), issued: signing, secrets: cloud.store().clone() };
                cloud.serve(&realm, move |request| tokens.reply(request));
                let url = format!("https://{realm}/token");
                json!({"token": {"realm": url, "service": host, "issuer": ISSUER, "rootcertbundle": bundle}})
            }
        };
        cloud.store().keep(PASSWORD);
        // YAML is a superset of JSON.
        let configuration = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": directory.path().join("images")}},
            "http": {"addr": "127.0.0.1:0", "tls": {"certificate": certificate, "key": key}},
            "auth": auth,
        });
        let configuration = write("config.yml", &configuration.to_string())?;
        let child = Command::new(PROGRAM)
            .args(["serve".as_ref(), configuration.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(
                |error| if error.kind() == io::ErrorKind::NotFound { ProgramError::Missing } else { error.into() },
            )?;
        // From here on, dropping the value stops the program after an error.
        let mut registry = Self { child, _directory: directory };
        cloud.resolve(host, registry.address()?);
        Ok(registry)
    }

    /// Reads the address from the log. The rest of the log is drained, so that the program never blocks.
    fn address(&mut self) -> Result<SocketAddr, ProgramError> {
        let mut log = String::new();
        let stderr = self.child.stderr.take().ok_or(ProgramError::Missing)?;
        let mut lines = BufReader::new(stderr).lines();
        while let Some(line) = lines.next().transpose()? {
            if let Some((_, rest)) = line.split_once("listening on ")
                && let Some(address) = rest.split([',', '"']).next().and_then(|address| address.parse().ok())
            {
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(address);
            }
            log.push_str(&line);
            log.push('\n');
        }
        Err(ProgramError::Ended(log))
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // The program may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name in the certificate of the token service.
const ISSUER_NAME: &str = "tokens.local-cloud";

/// A token service: <https://distribution.github.io/distribution/spec/auth/token/>.
struct Tokens {
    service: String,
    issued: Issued,
    secrets: Secrets,
}

impl Tokens {
    fn reply(&self, request: &Request) -> Reply {
        let user = match request.header("authorization").map(basic) {
            None => false,
            Some(Some((user, password))) if user == USER && password == PASSWORD => true,
            Some(_) => return reply::distribution(401, "UNAUTHORIZED", "incorrect username or password"),
        };
        let query = request.query.as_deref().unwrap_or_default();
        let mut access = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let parts: Vec<&str> = value.split(':').collect();
            match (&*name, &parts[..]) {
                ("scope", ["repository", name, actions]) => {
                    let actions: Vec<&str> = actions
                        .split(',')
                        .filter(|&action| user || action == "pull" && name.starts_with("public/"))
                        .collect();
                    access.push(json!({"type": "repository", "name": name, "actions": actions}));
                }
                ("service", _) if value == self.service => {}
                _ => return reply::distribution(400, "UNSUPPORTED", format!("{name}={value} is not supported")),
            }
        }
        match self.sign(&access) {
            Some(token) => reply::json(200, &json!({"token": self.secrets.keep(token), "expires_in": 300})),
            None => reply::text(500, "cannot sign\n"),
        }
    }

    /// A JSON Web Token with the certificate of its signer in the header (`x5c`, RFC 7515 section 4.1.6).
    fn sign(&self, access: &[Value]) -> Option<String> {
        let system = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.issued.key_der, &system).ok()?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.issued.certificate_der)]});
        let claims = json!({
            "iss": ISSUER, "sub": USER, "aud": self.service, "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": hex(&random(8)), "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = key.sign(&system, message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}
