//! What kinds of Raspberry Pi OS there are.

/// The processors that an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// 32-bit, hard float.
    Armhf,
    /// 64-bit.
    Arm64,
}

impl Arch {
    /// `armhf` or `arm64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Armhf => "armhf",
            Self::Arm64 => "arm64",
        }
    }
}

/// How much is in a Raspberry Pi OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// No desktop; stage2 of pi-gen.
    Lite,
    /// A desktop; stage4.
    Desktop,
    /// A desktop and recommended programs; stage5.
    Full,
}

impl Variant {
    /// `lite`, `desktop` or `full`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lite => "lite",
            Self::Desktop => "desktop",
            Self::Full => "full",
        }
    }
}
