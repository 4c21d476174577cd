//! The hosts of ECR, and the endpoints of AWS that belong to them (botocore, `partitions.json` and endpoint rules;
//! amazon-ecr-credential-helper, `ecr-login/api/client.go`).

use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;

use crate::console::log::whole_or_length;
use crate::function::image::Host;
use crate::function::image::{groups, whole};

/// A registry of ECR: `ACCOUNT.dkr.ecr.REGION.amazonaws.com` or another of its forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EcrHost {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) partition: &'static str,
    fips: bool,
    dual_stack: bool,
    /// Of AWS's own endpoints beside this host.
    suffix: &'static str,
}

/// The ending of a registry's host, the partition, the ending of AWS's endpoints there, and whether these have IPv6. Air-gapped
/// partitions are left out: no runner of Bitbucket reaches them.
const SUFFIXES: [(&str, &str, &str, bool); 6] = [
    ("amazonaws.com", "aws", "amazonaws.com", false),
    ("on.aws", "aws", "api.aws", true),
    ("amazonaws.com.cn", "aws-cn", "amazonaws.com.cn", false),
    ("on.amazonwebservices.com.cn", "aws-cn", "api.amazonwebservices.com.cn", true),
    ("amazonaws.eu", "aws-eusc", "amazonaws.eu", false),
    ("on.amazonwebservices.eu", "aws-eusc", "api.amazonwebservices.eu", true),
];

/// The region must have the form of one: `sts.s3.amazonaws.com` is anybody's bucket.
static ECR: LazyLock<Regex> =
    LazyLock::new(|| whole(r"([0-9]{12})\.dkr[.-]ecr(|-fips)\.([a-z]{2,}(?:-[a-z]+)+-[0-9]+)\.([0-9a-z.-]+)"));

impl EcrHost {
    /// The parts of a host, which must match in full: its credentials go nowhere else.
    pub(crate) fn of(host: &Host) -> Option<Self> {
        let [account, fips, region, ending] = groups(&ECR, host.as_str())?;
        let (_, partition, suffix, dual_stack) = SUFFIXES.into_iter().find(|(suffix, ..)| *suffix == ending)?;
        let partition = if partition == "aws" && region.starts_with("us-gov-") { "aws-us-gov" } else { partition };
        let [account, region] = [account, region].map(str::to_owned);
        Some(Self { account, region, partition, fips: !fips.is_empty(), dual_stack, suffix })
    }

    /// A registry of the role's own account, in the region that its partition began with.
    pub(crate) fn default_of(role: &RoleArn) -> Self {
        let (partition, region, suffix) = match role.partition.as_str() {
            "aws-us-gov" => ("aws-us-gov", "us-gov-west-1", "amazonaws.com"),
            "aws-cn" => ("aws-cn", "cn-north-1", "amazonaws.com.cn"),
            "aws-eusc" => ("aws-eusc", "eusc-de-east-1", "amazonaws.eu"),
            _ => ("aws", "us-east-1", "amazonaws.com"),
        };
        let [account, region] = [role.account.as_str(), region].map(str::to_owned);
        Self { account, region, partition, fips: false, dual_stack: false, suffix }
    }

    /// STS in the registry's region.
    pub(super) fn sts(&self) -> String {
        // In the government's regions the plain endpoint is the FIPS one.
        let fips = if self.fips && (self.partition != "aws-us-gov" || self.dual_stack) { "-fips" } else { "" };
        format!("sts{fips}.{}.{}", self.region, self.suffix)
    }

    /// ECR's own API in the registry's region.
    pub(super) fn api(&self) -> String {
        let fips = if self.fips { "-fips" } else { "" };
        let api = if self.dual_stack { "" } else { "api." };
        format!("{api}ecr{fips}.{}.{}", self.region, self.suffix)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleArn {
    text: String,
    pub(crate) partition: String,
    pub(crate) account: String,
    /// Without its path.
    pub(crate) name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the ARN of a role: write it as `arn:aws:iam::123456789012:role/NAME`", whole_or_length(.0))]
pub(crate) struct NotRole(String);

impl RoleArn {
    pub(crate) fn parse(text: &str) -> Result<Self, NotRole> {
        let arn = whole("arn:(aws[0-9a-z-]*):iam::([0-9]{12}):role/(?:[!-~]*/)?([!-.0-~]+)");
        let parts = groups(&arn, text).filter(|_| text.len() <= 2048).ok_or_else(|| NotRole(text.to_owned()))?;
        let [partition, account, name] = parts.map(str::to_owned);
        Ok(Self { text: text.to_owned(), partition, account, name })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ecr(host: &str) -> Option<EcrHost> {
        EcrHost::of(&Host::parse(host).ok()?)
    }

    #[test]
    fn every_form_of_host_has_the_endpoints_of_its_partition() {
        let endpoints = [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr-ecr.eu-west-1.on.aws",
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            "123456789012.dkr-ecr-fips.us-east-1.on.aws",
            "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            "123456789012.DKR.ECR.EU-WEST-1.AMAZONAWS.COM",
        ]
        .map(|host| {
            let ecr = ecr(host).unwrap();
            format!("{} {} {} {} {}", ecr.account, ecr.partition, ecr.region, ecr.sts(), ecr.api())
        })
        .join("\n");
        insta::assert_snapshot!(endpoints, @"
        123456789012 aws eu-west-1 sts.eu-west-1.amazonaws.com api.ecr.eu-west-1.amazonaws.com
        123456789012 aws eu-west-1 sts.eu-west-1.api.aws ecr.eu-west-1.api.aws
        123456789012 aws us-east-1 sts-fips.us-east-1.amazonaws.com api.ecr-fips.us-east-1.amazonaws.com
        123456789012 aws us-east-1 sts-fips.us-east-1.api.aws ecr-fips.us-east-1.api.aws
        123456789012 aws-us-gov us-gov-west-1 sts.us-gov-west-1.amazonaws.com api.ecr.us-gov-west-1.amazonaws.com
        123456789012 aws-us-gov us-gov-west-1 sts.us-gov-west-1.amazonaws.com api.ecr-fips.us-gov-west-1.amazonaws.com
        123456789012 aws-cn cn-north-1 sts.cn-north-1.amazonaws.com.cn api.ecr.cn-north-1.amazonaws.com.cn
        123456789012 aws-cn cn-north-1 sts.cn-north-1.api.amazonwebservices.com.cn ecr.cn-north-1.api.amazonwebservices.com.cn
        123456789012 aws-eusc eusc-de-east-1 sts.eusc-de-east-1.amazonaws.eu api.ecr.eusc-de-east-1.amazonaws.eu
        123456789012 aws eu-west-1 sts.eu-west-1.amazonaws.com api.ecr.eu-west-1.amazonaws.com
        ");
    }

    #[test]
    fn hosts_that_only_look_like_ecr_are_not() {
        for host in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "evil-123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "1123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901a.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonawsxcom",
            "123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr.s3.amazonaws.com",
            "123456789012.dkr.ecr.s3-eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.s3-accelerate.amazonaws.com",
            "123456789012.dkr.ecr.eu-west.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1-x.amazonaws.com",
            "123456789012.dkr.ecr.execute-api.amazonaws.com",
            "123456789012.dkrxecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fipsx.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:5000",
            "public.ecr.aws",
            "ecr-public.aws.com",
            "amazonaws.com",
            "ghcr.io",
        ] {
            assert_eq!(ecr(host), None, "{host}");
        }
    }

    #[test]
    fn roles_are_read_with_and_without_a_path() {
        let role = RoleArn::parse("arn:aws-us-gov:iam::123456789012:role/ci/deployers/pipe").unwrap();
        assert_eq!(
            (role.partition.as_str(), role.account.as_str(), role.name.as_str()),
            ("aws-us-gov", "123456789012", "pipe")
        );
        for text in [
            "",
            "pipe",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::1234:role/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
            "arn:aws:iam:eu-west-1:123456789012:role/x",
            "arn:aws:iam::123456789012:role/a b",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x",
        ] {
            assert!(RoleArn::parse(text).is_err(), "{text}");
        }
    }
}
