//! Masks a job's secrets in its two output streams.

use std::sync::Arc;

use protocol::mask::{MaskStream, Masker};
use protocol::wire::Stream;

/// The two streams of a job.
pub(crate) struct Masks {
    stdout: MaskStream,
    stderr: MaskStream,
}

impl Masks {
    pub fn new(masker: &Arc<Masker>) -> Self {
        let stream = || MaskStream::new(Arc::clone(masker));
        Self { stdout: stream(), stderr: stream() }
    }

    /// Adds text of a stream; returns what can be shown of it now.
    pub fn push(&mut self, stream: Stream, data: String) -> String {
        self.of(stream).push(data)
    }

    /// Ends a stream; returns the text that was held back.
    pub fn finish(&mut self, stream: Stream) -> String {
        self.of(stream).finish()
    }

    fn of(&mut self, stream: Stream) -> &mut MaskStream {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}
