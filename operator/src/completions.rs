//! `refundctl completions`: what lets a shell complete commands and options.

use clap::{Args, Command};
use clap_complete::Shell;

pub const EXAMPLES: &str = "\
Examples:
  refundctl completions bash > ~/.local/share/bash-completion/completions/refundctl
  refundctl completions zsh > \"${fpath[1]}/_refundctl\"
  refundctl completions fish > ~/.config/fish/completions/refundctl.fish";

#[derive(Debug, Args)]
pub struct Options {
    /// The shell
    shell: Shell,
}

pub fn command(options: &Options, refundctl: &mut Command) {
    clap_complete::generate(options.shell, refundctl, "refundctl", &mut std::io::stdout());
}
