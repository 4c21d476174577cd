//! The base image of the builder: pulled, or built from this machine's Debian packages and Rust toolchain if there is
//! no registry.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::engine::{self, LABEL, docker, finish};

/// Debian packages that a Rust build needs: a shell, a linker, the C library, and the tools in the Dockerfile.
const PACKAGES: [&str; 5] = ["ca-certificates", "coreutils", "dash", "gcc", "libc6-dev"];
/// Files that no build reads.
const LEFT_OUT: [&str; 4] = ["/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/"];
/// Paths of the toolchain and of cargo's home in the substitute.
const TOOLCHAIN: &str = "usr/local/rustup/toolchain";
const CARGO_HOME: &str = "usr/local/cargo";

/// The origin of the base image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It existed in the engine.
    Present,
    /// It was pulled from its registry.
    Pulled,
    /// It was built on this machine.
    Substitute,
}

/// The base image in the Dockerfile.
pub fn name(dockerfile: &str) -> anyhow::Result<&str> {
    dockerfile.lines().find_map(|line| line.strip_prefix("ARG BUILDER=")).context("the Dockerfile has no builder")
}

/// Makes the image available in the engine.
pub fn provide(name: &str) -> anyhow::Result<Origin> {
    if engine::run(["image", "inspect", name]).is_ok() {
        return Ok(Origin::Present);
    }
    if engine::run(["pull", "--quiet", name]).is_ok() {
        return Ok(Origin::Pulled);
    }
    substitute(name).with_context(|| format!("`{name}` can neither be pulled nor built on this machine"))?;
    Ok(Origin::Substitute)
}

/// Builds a substitute for the image.
fn substitute(name: &str) -> anyhow::Result<()> {
    let version = finish(Command::new("rustc").arg("--version"))?;
    let wanted = name.split([':', '-']).nth(1).unwrap_or_default();
    ensure!(version.split(' ').nth(1) == Some(wanted), "the image has Rust {wanted}, but this machine has {version}");

    // Downloads all crates in Cargo.lock: the build in the image has no registry.
    finish(Command::new(env!("CARGO")).args(["fetch", "--locked"]))?;
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home directory")?;
    let sysroot = PathBuf::from(finish(Command::new("rustc").args(["--print", "sysroot"]))?).canonicalize()?;

    let mut files = debian()?;
    walk(&sysroot.join("lib"), &mut files)?;
    files.extend(["cargo", "rustc"].map(|program| sysroot.join("bin").join(program)));
    for part in ["index", "cache"] {
        walk(&cargo_home.join("registry").join(part), &mut files)?;
    }
    let from_root = files.iter().map(|path| path.strip_prefix("/").unwrap_or(path));
    let list: Vec<u8> = from_root.flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();

    // Not part of any package: the links of a merged /usr, the default compiler, a directory for temporary files.
    let skeleton = tempfile::tempdir()?;
    let root = skeleton.path();
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::create_dir(root.join("tmp"))?;
    for folder in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    std::os::unix::fs::symlink("gcc", root.join("usr/bin/cc"))?;

    let rename = |from: &Path, to: &str| {
        let from = from.display().to_string();
        format!("--transform=s|^{}/|{to}/|rSh", from.trim_start_matches('/').replace('.', "[.]"))
    };
    let mut tar = Command::new("tar");
    tar.args(["--create", "--no-recursion", "--hard-dereference", "--owner=0", "--group=0", "--numeric-owner"])
        .args([rename(&sysroot, TOOLCHAIN), rename(&cargo_home, CARGO_HOME)])
        .args(["--directory=/", "--verbatim-files-from", "--null", "--files-from=-"])
        .arg("--directory")
        .arg(root)
        .args(["bin", "lib", "lib64", "sbin", "tmp", "usr/bin/cc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut tar = tar.spawn().context("`tar` cannot be run")?;
    let mut stdin = tar.stdin.take().context("no input")?;
    let writer = std::thread::spawn(move || stdin.write_all(&list));
    let changes = [
        format!("ENV PATH=/{TOOLCHAIN}/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        format!("ENV CARGO_HOME=/{CARGO_HOME}"),
        "ENV CARGO_NET_OFFLINE=true".to_owned(),
        format!("LABEL {LABEL}=base"),
    ];
    let changes = changes.iter().flat_map(|change| ["--change", change.as_str()]);
    let archive = tar.stdout.take().context("no output")?;
    finish(docker().arg("import").args(changes).args(["-", name]).stdin(archive))?;
    ensure!(writer.join().is_ok_and(|written| written.is_ok()) && tar.wait()?.success(), "`tar` failed");
    Ok(())
}

/// The files of the packages and their dependencies, with symbolic links resolved.
fn debian() -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut apt = Command::new("apt-cache");
    apt.args(["depends", "--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-conflicts"]);
    apt.args(["--no-breaks", "--no-replaces", "--no-enhances"]).args(PACKAGES);
    let packages = finish(&mut apt).context("the substitute is built from Debian packages")?;
    let packages: BTreeSet<&str> =
        packages.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase())).collect();
    let listed = finish(Command::new("dpkg").arg("--listfiles").args(packages))?;
    let wanted = listed.lines().filter(|path| !LEFT_OUT.iter().any(|folder| path.starts_with(folder)));
    let mut files: BTreeSet<PathBuf> = wanted.map(Path::new).filter_map(real).collect();
    files.extend(real(Path::new("/etc/ssl/certs/ca-certificates.crt")));
    Ok(files)
}

/// Resolves symbolic links in the directory of a path. `None` for directories and for files in the root.
fn real(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?.canonicalize().ok()?;
    let path = folder.join(path.file_name()?);
    (folder != Path::new("/") && !path.symlink_metadata().ok()?.is_dir()).then_some(path)
}

/// All files and links below a folder.
fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.insert(entry.path());
        }
    }
    Ok(())
}
