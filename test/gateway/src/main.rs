//! The local gateway as a program: an OpenFaaS gateway to try out the pipe.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use local_gateway::issuer::{ENVIRONMENT_UUID, REPOSITORY_UUID};
use local_gateway::{Flavour, Gateway, Guide, Issuer, Ready};

const HELP: &str = "\
An OpenFaaS gateway on this machine, to try out openfaas-pipe.

Usage: local-gateway [OPTION]...

  --listen ADDRESS:PORT   where to listen [127.0.0.1:8080]
  --tls                   serve HTTPS, with a certificate authority created at start
  --host-name NAME        an additional name for the certificate; the first is the host of the public URL (repeatable)
  --base-path PATH        serve everything below this path
  --public-url URL        the issuer of the gateway's tokens and the audience of ID tokens [its own URL]
  --http1                 speak HTTP/1.1 only

  --iam FILE              JwtIssuer, Policy and Role resources (repeatable). The default without --basic-auth is those of
                          the OpenFaaS guide for Bitbucket. The guide's placeholders WORKSPACE, {REPO_UUID} and
                          https://gw.example.com are filled in
  --basic-auth USER:PASSWORD
                          HTTP basic auth, as in OpenFaaS CE and Standard
  --flavour NAME          enterprise, ce or faasd: respond like this edition [enterprise]. ce and faasd have no IAM and
                          require a password [admin, with a password created at start]
  --unreachable-image TEXT
                          with ce and faasd: images whose names contain this text cannot be looked up or pulled (repeatable)
  --ready-after DURATION  how long a deployed function takes to become available, such as 5s [0s]
  --surplus DURATION      how long the old replica of an update stays available beside the new one: `availableReplicas` is
                          above `replicas` [as in a real Kubernetes, 40ms]

  --workspace NAME        the Bitbucket workspace whose tokens are trusted [acme]
  --branch NAME           the token's branch [main]
  --tag                   create the token of a tag build, which has no branch
  --deployment            create the token of a step with `deployment:`
  --ca-file FILE          write the certificate authority to this file [with --tls: print it]
  --token-file FILE       write a step's token, valid for 12 hours, to this file [print it]
  --help                  print this

Functions whose image or name is echo, echo-json, import-csv, status, sink or source have that behaviour; others echo.
";

/// The lifetime of the printed token in seconds.
const TOKEN_LIFE: i64 = 12 * 3600;

struct Options {
    listen: SocketAddr,
    tls: bool,
    host_names: Vec<String>,
    base_path: String,
    public_url: Option<String>,
    http1: bool,
    iam: Vec<PathBuf>,
    basic_auth: Option<(String, String)>,
    flavour: Flavour,
    unreachable_images: Vec<String>,
    ready_after: Duration,
    surplus: Option<Duration>,
    workspace: String,
    branch: String,
    tag: bool,
    deployment: bool,
    ca_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: false,
            host_names: Vec::new(),
            base_path: String::new(),
            public_url: None,
            http1: false,
            iam: Vec::new(),
            basic_auth: None,
            flavour: Flavour::Enterprise,
            unreachable_images: Vec::new(),
            ready_after: Duration::ZERO,
            surplus: None,
            workspace: "acme".to_owned(),
            branch: "main".to_owned(),
            tag: false,
            deployment: false,
            ca_file: None,
            token_file: None,
        }
    }
}

impl Options {
    /// Parses the arguments. Returns `None` if help is requested.
    fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("listen") => options.listen = parser.value()?.parse()?,
                Long("tls") => options.tls = true,
                Long("host-name") => options.host_names.push(parser.value()?.string()?),
                Long("base-path") => options.base_path = parser.value()?.string()?,
                Long("public-url") => options.public_url = Some(parser.value()?.string()?),
                Long("http1") => options.http1 = true,
                Long("iam") => options.iam.push(parser.value()?.into()),
                Long("basic-auth") => {
                    let pair = parser.value()?.parse_with(|text| {
                        let pair = text.split_once(':').ok_or("write USER:PASSWORD")?;
                        Ok::<_, &str>((pair.0.to_owned(), pair.1.to_owned()))
                    })?;
                    options.basic_auth = Some(pair);
                }
                Long("flavour") => options.flavour = parser.value()?.parse()?,
                Long("unreachable-image") => options.unreachable_images.push(parser.value()?.string()?),
                Long("ready-after") => options.ready_after = parser.value()?.parse_with(duration)?,
                Long("surplus") => options.surplus = Some(parser.value()?.parse_with(duration)?),
                Long("workspace") => options.workspace = parser.value()?.string()?,
                Long("branch") => options.branch = parser.value()?.string()?,
                Long("tag") => options.tag = true,
                Long("deployment") => options.deployment = true,
                Long("ca-file") => options.ca_file = Some(parser.value()?.into()),
                Long("token-file") => options.token_file = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        if options.flavour != Flavour::Enterprise {
            if !options.iam.is_empty() {
                return Err("`--iam` needs `--flavour enterprise`: the others have no IAM".into());
            }
            options.basic_auth.get_or_insert_with(|| ("admin".to_owned(), local_gateway::random_password()));
        }
        Ok(Some(options))
    }

    /// Starts the gateway.
    fn start(&self, issuer: &Issuer) -> Result<Gateway, Box<dyn Error>> {
        let mut builder = Gateway::builder()
            .bind(self.listen)
            .base_path(&self.base_path)
            .ready(Ready::After(self.ready_after))
            .flavour(self.flavour)
            .record(false);
        if let Some(surplus) = self.surplus {
            builder = builder.surplus(surplus);
        }
        if let Some(url) = &self.public_url {
            builder = builder.public_url(url);
        }
        if self.tls {
            builder = builder.tls();
        }
        if self.http1 {
            builder = builder.http1_only();
        }
        for part in &self.unreachable_images {
            builder = builder.unreachable_image(part);
        }
        for name in &self.host_names {
            builder = builder.host_name(name);
        }
        if let Some((user, password)) = &self.basic_auth {
            builder = builder.basic_auth(user, password);
        }
        if self.has_iam() {
            builder = if self.iam.is_empty() { builder.guide(issuer) } else { builder.issuer(issuer) };
        }
        let gateway = builder.start()?;
        let guide = Guide::new(issuer, gateway.public_url());
        for path in &self.iam {
            let wrong = |error: &dyn Error| format!("`{}`: {error}", path.display());
            let yaml = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
            gateway.apply(&guide.fill(&yaml)).map_err(|error| wrong(&error))?;
        }
        Ok(gateway)
    }

    /// Standard, Community Edition and faasd have no IAM.
    fn has_iam(&self) -> bool {
        self.basic_auth.is_none() || !self.iam.is_empty()
    }

    /// A step's token with the gateway as custom audience.
    fn token(&self, issuer: &Issuer, audience: &str) -> String {
        let mut token = issuer.token().audience(audience).expires_in(TOKEN_LIFE).branch(&self.branch);
        if self.tag {
            token = token.tag();
        }
        if self.deployment {
            token = token.deployment(ENVIRONMENT_UUID);
        }
        token.mint()
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    local_gateway::parse_duration(text).ok_or("write a duration such as 5s")
}

fn main() -> ExitCode {
    let result = Options::parse(lexopt::Parser::from_env()).map_err(Into::into).and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If this fails, the exit code has to be enough.
            let _ = writeln!(std::io::stderr(), "local-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Option<Options>) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let Some(options) = options else {
        return Ok(out.write_all(HELP.as_bytes())?);
    };
    let issuer = Issuer::bitbucket(&options.workspace);
    let gateway = options.start(&issuer)?;

    writeln!(out, "gateway     {}", gateway.url())?;
    if let (Flavour::Ce | Flavour::Faasd, Some((user, password))) = (options.flavour, &options.basic_auth) {
        writeln!(out, "user        {user}")?;
        writeln!(out, "password    {password}")?;
    }
    writeln!(out, "audience    {}", gateway.public_url())?;
    if options.has_iam() {
        writeln!(out, "issuer      {}", issuer.iss())?;
        writeln!(out, "repository  {REPOSITORY_UUID}")?;
        print_or_write(
            &mut out,
            "token",
            &options.token(&issuer, gateway.public_url()),
            options.token_file.as_deref(),
        )?;
    }
    if options.tls {
        print_or_write(&mut out, "CA", gateway.ca_pem(), options.ca_file.as_deref())?;
    }
    out.flush()?;
    Ok(local_gateway::wait_for_signal()?)
}

/// Writes a value to its file, or prints it without a file.
fn print_or_write(
    out: &mut impl std::io::Write,
    name: &str,
    value: &str,
    file: Option<&Path>,
) -> Result<(), Box<dyn Error>> {
    match file {
        Some(path) => {
            std::fs::write(path, value).map_err(|error| format!("`{}`: {error}", path.display()))?;
            writeln!(out, "{name:11} in {}", path.display())?;
        }
        None => writeln!(out, "{name:11} {value}")?,
    }
    Ok(())
}
