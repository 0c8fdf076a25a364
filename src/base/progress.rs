//! What a long job says of itself while it runs; the edge decides how it looks.

/// Hears about the progress of one job after another. Called from several threads.
pub trait Progress: Send + Sync {
    /// A job begins: what it does, in a few words, and its size in bytes where known.
    fn start(&self, what: &str, total_bytes: Option<u64>);
    /// That many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The job is over.
    fn finish(&self);
    /// Something to know meanwhile, in one line: why nothing happens, for instance.
    fn note(&self, _text: &str) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}
