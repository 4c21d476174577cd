//! The builder's base image: pulled, or where there is no registry made from this machine's Debian packages and toolchain.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::engine::{self, LABEL, docker, finish};

/// What a Rust builder needs of Debian: a shell, a linker, the C library, and the tools that the Dockerfile calls.
const PACKAGES: [&str; 5] = ["ca-certificates", "coreutils", "dash", "gcc", "libc6-dev"];
/// What no build reads.
const LEFT_OUT: [&str; 4] = ["/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/"];
/// Where the stand-in has the toolchain and cargo's home.
const TOOLCHAIN: &str = "usr/local/rustup/toolchain";
const CARGO_HOME: &str = "usr/local/cargo";

/// How the engine came by the base image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Present,
    /// From its registry.
    Pulled,
    /// Made here.
    StandIn,
}

/// The base image that the Dockerfile names.
pub fn name(dockerfile: &str) -> anyhow::Result<&str> {
    dockerfile.lines().find_map(|line| line.strip_prefix("ARG BUILDER=")).context("the Dockerfile has no builder")
}

/// Sees to it that the engine has the image.
pub fn provide(name: &str) -> anyhow::Result<Origin> {
    if engine::run(["image", "inspect", name]).is_ok() {
        return Ok(Origin::Present);
    }
    if engine::run(["pull", "--quiet", name]).is_ok() {
        return Ok(Origin::Pulled);
    }
    stand_in(name).with_context(|| format!("`{name}` can neither be pulled nor made here"))?;
    Ok(Origin::StandIn)
}

/// Makes an image of that name.
fn stand_in(name: &str) -> anyhow::Result<()> {
    let version = finish(Command::new("rustc").arg("--version"))?;
    let wanted = name.split([':', '-']).nth(1).unwrap_or_default();
    ensure!(version.split(' ').nth(1) == Some(wanted), "it has Rust {wanted}, and this machine has {version}");

    // The archives of every crate in Cargo.lock: the build in the image reaches no registry.
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

    // What no package brings: the links of a merged /usr, the default compiler, a place for temporary files.
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

/// The files of the packages and of all they depend on, by their real paths.
fn debian() -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut apt = Command::new("apt-cache");
    apt.args(["depends", "--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-conflicts"]);
    apt.args(["--no-breaks", "--no-replaces", "--no-enhances"]).args(PACKAGES);
    let packages = finish(&mut apt).context("a stand-in is made of Debian's packages")?;
    let packages: BTreeSet<&str> =
        packages.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase())).collect();
    let listed = finish(Command::new("dpkg").arg("--listfiles").args(packages))?;
    let wanted = listed.lines().filter(|path| !LEFT_OUT.iter().any(|folder| path.starts_with(folder)));
    let mut files: BTreeSet<PathBuf> = wanted.map(Path::new).filter_map(real).collect();
    files.extend(real(Path::new("/etc/ssl/certs/ca-certificates.crt")));
    Ok(files)
}

/// A file's or link's path with the links on the way to it resolved; nothing for folders and what lies in the root.
fn real(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?.canonicalize().ok()?;
    let path = folder.join(path.file_name()?);
    (folder != Path::new("/") && !path.symlink_metadata().ok()?.is_dir()).then_some(path)
}

/// Every file and link below a folder.
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
