//! `refundctl keygen`: a key pair for a channel, as eBET makes them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::{RsaPrivateKey, rand_core::OsRng};
use serde_json::json;

pub const EXAMPLES: &str = "\
Examples:
  refundctl keygen                   print a private and a public key
  refundctl keygen --out channel-7   write channel-7.private.pem and channel-7.public.pem
  refundctl send refund-single-wallet --channel 7 --key channel-7.private.pem ...";

#[derive(Debug, Args)]
pub struct Options {
    /// Length of the key; eBET uses 512 and 1024
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(512..=4096))]
    bits: u16,
    /// Write PREFIX.private.pem and PREFIX.public.pem instead of printing; existing files are kept
    #[arg(long, value_name = "PREFIX")]
    out: Option<PathBuf>,
}

pub fn command(options: &Options) -> Result<()> {
    let key = RsaPrivateKey::new(&mut OsRng, options.bits.into())?;
    let private = key.to_pkcs8_pem(LineEnding::LF)?;
    let public = key.to_public_key().to_public_key_pem(LineEnding::LF)?;
    let Some(prefix) = &options.out else {
        print!("{}{public}", private.as_str());
        return Ok(());
    };
    let file = |kind: &str| {
        let mut name = prefix.clone().into_os_string();
        name.push(format!(".{kind}.pem"));
        PathBuf::from(name)
    };
    write_new(&file("private"), private.as_str(), 0o600)?;
    write_new(&file("public"), &public, 0o644)?;
    eprintln!("wrote {} and {}", file("private").display(), file("public").display());
    eprintln!("a line for refundctl import, to complete with the channel's number and currency:");
    let line = json!({"kind": "channel", "channelId": 7, "currency": "CNY", "publicKeys": [public]});
    println!("{line}");
    Ok(())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("could not create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("could not write {}", path.display()))
}
