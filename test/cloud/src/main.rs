//! The local cloud as a program, for clients in other languages.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use local_cloud::{Cloud, Image, Issuer, aws, google};

const HELP: &str = "\
AWS, Google Cloud and registries on this machine, under their real host names.

Usage: local-cloud DIRECTORY

Writes into the directory, and runs until SIGINT or SIGTERM:

  ca.pem             the certificate authority to trust
  token              a step's ID token; token-expired, token-repository and token-audience are invalid ones
  google.json        credential configuration for Google's libraries; google-account.json for the service account

Standard output: the URL of the proxy, the role, the two registries and the digest of their image `etl:1.0`, one per line.
";

/// A registry in the account of [`aws::ROLE`].
const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (directory, more) = (arguments.next(), arguments.next());
    let Some(directory) = directory.filter(|first| !first.starts_with('-') && more.is_none()) else {
        // If this fails, the exit code has to be enough.
        let _ = std::io::stderr().write_all(HELP.as_bytes());
        return ExitCode::FAILURE;
    };
    match run(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "local-cloud: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    let issuer = Issuer::bitbucket("acme");
    let cloud = Cloud::start()?;
    cloud.aws().set_up(&issuer);
    cloud.google().set_up(&issuer);
    let image = Image::index(&["linux/amd64", "linux/arm64"]);
    let digest = cloud.registry(ECR).put_image("etl", "1.0", &image);
    cloud.registry(google::REGISTRY).put_image("acme-prod/etl/etl", "1.0", &image);

    let write = |name: &str, text: &str| {
        std::fs::write(directory.join(name), text).map_err(|error| format!("cannot write `{name}`: {error}"))
    };
    write("ca.pem", cloud.ca_pem())?;
    write("token", &issuer.token().mint())?;
    write("token-expired", &issuer.token().expires_in(-3600).mint())?;
    write("token-repository", &issuer.token().repository("{00000000-0000-4000-8000-000000000000}").mint())?;
    write("token-audience", &issuer.token().claim("aud", "https://example.com").mint())?;
    let token = directory.join("token");
    write("google.json", &credentials(&token, None))?;
    write("google-account.json", &credentials(&token, Some(google::SERVICE_ACCOUNT)))?;

    let mut out = std::io::stdout();
    for line in [&cloud.proxy_url(), aws::ROLE, ECR, google::REGISTRY, &digest] {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(local_gateway::wait_for_signal()?)
}

/// The output of `gcloud iam workload-identity-pools create-cred-config`.
fn credentials(token: &Path, account: Option<&str>) -> String {
    let mut credentials = serde_json::json!({
        "universe_domain": "googleapis.com",
        "type": "external_account",
        "audience": format!("//iam.googleapis.com/{}", google::PROVIDER),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": token, "format": {"type": "text"}},
    });
    if let Some(account) = account {
        let host = "https://iamcredentials.googleapis.com";
        credentials["service_account_impersonation_url"] =
            format!("{host}/v1/projects/-/serviceAccounts/{account}:generateAccessToken").into();
    }
    credentials.to_string()
}
