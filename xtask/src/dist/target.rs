//! The platforms of a release, and their names in each kind of package.

use clap::ValueEnum;

/// A platform that `wfg` is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Linux on Intel and AMD, a static binary.
    #[value(name = "x86_64-unknown-linux-musl")]
    LinuxX86,
    /// Linux on ARM, a static binary.
    #[value(name = "aarch64-unknown-linux-musl")]
    LinuxArm,
    /// macOS on Intel. Built on macOS only.
    #[value(name = "x86_64-apple-darwin")]
    MacX86,
    /// macOS on Apple silicon. Built on macOS only.
    #[value(name = "aarch64-apple-darwin")]
    MacArm,
}

impl Target {
    /// What is built on Linux.
    pub const LINUX: [Self; 2] = [Self::LinuxX86, Self::LinuxArm];

    /// Rust's name.
    pub fn triple(self) -> &'static str {
        match self {
            Self::LinuxX86 => "x86_64-unknown-linux-musl",
            Self::LinuxArm => "aarch64-unknown-linux-musl",
            Self::MacX86 => "x86_64-apple-darwin",
            Self::MacArm => "aarch64-apple-darwin",
        }
    }

    pub fn is_linux(self) -> bool {
        Self::LINUX.contains(&self)
    }

    /// The platform tag of a wheel. A static binary runs with any C library, so it has the tags of both.
    pub fn wheel(self) -> &'static str {
        match self {
            Self::LinuxX86 => "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
            Self::LinuxArm => "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
            Self::MacX86 => "macosx_11_0_x86_64",
            Self::MacArm => "macosx_11_0_arm64",
        }
    }

    /// Node's `process.platform` and `process.arch`.
    pub fn node(self) -> (&'static str, &'static str) {
        match self {
            Self::LinuxX86 => ("linux", "x64"),
            Self::LinuxArm => ("linux", "arm64"),
            Self::MacX86 => ("darwin", "x64"),
            Self::MacArm => ("darwin", "arm64"),
        }
    }

    /// The processor as Debian and container images name it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::LinuxX86 | Self::MacX86 => "amd64",
            Self::LinuxArm | Self::MacArm => "arm64",
        }
    }

    /// Whether programs for it run on this machine. A Mac of one kind runs those of the other.
    pub fn runs_here(self) -> bool {
        match std::env::consts::OS {
            "linux" => self.is_linux() && self.triple().starts_with(std::env::consts::ARCH),
            "macos" => !self.is_linux(),
            _ => false,
        }
    }
}
