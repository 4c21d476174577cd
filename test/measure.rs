//! Runs a program and measures time, memory and instructions.

use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use tempfile::TempDir;

/// The argument that makes the benchmark measure the peak memory of another program.
pub(crate) const PEAK_MEMORY: &str = "--peak-memory-of";

/// The argument that makes the benchmark exit at once: the time to start a program on this machine.
pub(crate) const NOTHING: &str = "--nothing";

/// A program in a working directory of its own, with these variables and no others.
pub(crate) struct Job<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) dir: &'a TempDir,
    /// The expected exit code.
    pub(crate) exit_code: i32,
}

/// The measurements of a run.
pub(crate) struct Ran {
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    /// The size of standard output, in bytes.
    pub(crate) log: usize,
}

impl Job<'_> {
    /// Runs it to its end.
    pub(crate) fn run(&self) -> anyhow::Result<Ran> {
        let mut command = self.command(self.program);
        let started = Instant::now();
        let output = command.args(&self.arguments).output()?;
        let took = started.elapsed();
        self.ended(&output)?;
        Ok(Ran { started, took, log: output.stdout.len() })
    }

    /// The peak resident memory in bytes.
    ///
    /// A new process inherits the peak of its parent, so the benchmark starts itself as a small process in between.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        let mut command = self.command(&std::env::current_exe()?);
        let output = command.arg(PEAK_MEMORY).arg(self.program).args(&self.arguments).output()?;
        self.ended(&output)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let kibibytes: u64 = text.trim().parse().with_context(|| format!("`{}` is not a number", text.trim()))?;
        Ok(kibibytes * 1024)
    }

    /// The number of instructions in user mode, if the machine can count them.
    pub(crate) fn instructions(&self) -> Option<u64> {
        let mut perf = self.command(Path::new("perf"));
        perf.args(["stat", "-x,", "-e", "instructions:u"]).arg(self.program).args(&self.arguments);
        let output = perf.env("PATH", std::env::var_os("PATH")?).output().ok()?;
        String::from_utf8_lossy(&output.stderr).split(',').next()?.trim().parse().ok()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir).stdin(Stdio::null());
        command
    }

    fn ended(&self, output: &Output) -> anyhow::Result<()> {
        let log = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let ended = output.status.code() == Some(self.exit_code);
        ensure!(ended, "{} {}\n{log}\n{errors}", self.program.display(), output.status);
        Ok(())
    }
}

/// Runs the program in the arguments after [`PEAK_MEMORY`] and writes the peak memory of this process's children to
/// standard error.
pub(crate) fn peak_memory_of(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<ExitCode> {
    let program = arguments.next().context("no program")?;
    let status = Command::new(program).args(arguments).status()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    io::Write::write_all(&mut io::stderr(), usage.max_rss().to_string().as_bytes())?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// The CPU time of the thread with this name.
pub(crate) fn thread_time(name: &str) -> Duration {
    let mut time = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        if read("comm").trim() == name {
            let nanoseconds = read("schedstat").split(' ').next().and_then(|field| field.parse().ok());
            time += Duration::from_nanos(nanoseconds.unwrap_or_default());
        }
    }
    time
}

/// The median.
pub(crate) fn median<T: Copy + Ord>(values: &mut [T]) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
