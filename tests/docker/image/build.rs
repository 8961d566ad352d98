//! Building the image without a registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;
use tempfile::TempDir;

use super::super::engine::Engine;
use crate::support::skip;

/// An image that was built.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Its name.
    name: String,
    /// Where it is.
    engine: Engine,
}

// === impl Image ===

impl Image {
    /// Builds the target `prebuilt` of the Dockerfile; nothing if there is no
    /// binary for it, which is said.
    pub(super) fn build(engine: &Engine) -> anyhow::Result<Option<Self>> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let binary = source.join("dist/portolan");
        if !binary.exists() {
            skip("needs dist/portolan: just dist");
            return Ok(None);
        }
        let base = import_base(engine)?;
        let context = TempDir::new()?;
        fs::create_dir(context.path().join("dist"))?;
        fs::create_dir(context.path().join("deploy"))?;
        fs::copy(&binary, context.path().join("dist/portolan"))?;
        for file in ["Dockerfile", "NOTICE"] {
            fs::copy(source.join(file), context.path().join(file))?;
        }
        let copied = Command::new("cp")
            .arg("-r")
            .arg(source.join("deploy/image"))
            .arg(context.path().join("deploy"))
            .status()?;
        ensure!(copied.success(), "cp: {copied}");
        let name = format!("portolan-test-image:{}", std::process::id());
        let busybox = format!("BUSYBOX_IMAGE={base}");
        let certificates = format!("CERTIFICATES_IMAGE={base}");
        let directory = context.path().to_str().context("a path")?;
        engine.docker(&[
            "build",
            "--target",
            "prebuilt",
            "--tag",
            &name,
            "--build-arg",
            &busybox,
            "--build-arg",
            &certificates,
            "--label",
            "portolan.test",
            directory,
        ])?;
        Ok(Some(Self {
            name,
            engine: engine.clone(),
        }))
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes it to another engine.
    pub(super) fn copy_to(&self, other: &Engine) -> anyhow::Result<()> {
        let directory = TempDir::new()?;
        let archive = directory.path().join("image.tar");
        let archive = archive.to_str().context("a path")?;
        self.engine
            .docker(&["save", "--output", archive, &self.name])?;
        other.docker(&["load", "--input", archive]).map(drop)
    }

    /// Its size in octets.
    pub(super) fn size(&self) -> anyhow::Result<u64> {
        Ok(self.inspect("{{.Size}}")?.parse()?)
    }

    /// What a file in it says.
    pub(super) fn read(&self, path: &str) -> anyhow::Result<String> {
        let program = ["run", "--rm", "--entrypoint", "/bin/busybox", &self.name];
        self.engine.docker(&[&program[..], &["cat", path]].concat())
    }

    /// What the engine knows of it.
    pub(super) fn inspect(&self, format: &str) -> anyhow::Result<String> {
        let arguments = ["image", "inspect", "--format", format, &self.name];
        Ok(self.engine.docker(&arguments)?.trim().to_owned())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(self.engine.docker(&["image", "rm", "--force", &self.name]));
    }
}

/// Makes the stand-in for the base images: this machine's static busybox, and
/// the certificates of authorities that it trusts.
fn import_base(engine: &Engine) -> anyhow::Result<&'static str> {
    engine.import(BASE, |root| {
        let certificates = root.join("etc/ssl/certs");
        fs::create_dir_all(&certificates)?;
        let trusted = "/etc/ssl/certs/ca-certificates.crt";
        fs::copy(trusted, certificates.join("ca-certificates.crt")).context(trusted)?;
        Ok(())
    })?;
    Ok(BASE)
}

/// Name of the stand-in.
const BASE: &str = "portolan-test-base:2";
