//! Hides a job's secrets in what it writes, stream by stream.

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

    /// What can be shown of the stream now that this has come of it.
    pub fn push(&mut self, stream: Stream, data: String) -> String {
        self.of(stream).push(data)
    }

    /// What was held back of the stream, now that it has ended.
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
