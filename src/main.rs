//! Parses, runs, exits.

fn main() -> std::process::ExitCode {
    phoenixd::cli::run()
}
