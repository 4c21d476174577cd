//! The pipe's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    openfaas_pipe::run(std::env::vars_os()).into()
}
