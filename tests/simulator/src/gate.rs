//! The gates: each call on a port waits here until the scheduler decides what happens to it.

use std::collections::BTreeMap;
use std::task::Waker;

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    /// A write. The client library sends it again if its answer is lost.
    Write,
    /// A message to a queue. Sending it again makes two messages.
    Send,
    /// The answer to a request that was sent already.
    Answer,
}

/// The scheduler's decision about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Do,
    /// The call is executed and its answer lost, so it waits to be executed again.
    DoAgain,
    /// The answer is "unavailable". `done`: the call was executed.
    Fail {
        done: bool,
    },
}

/// A waiting call.
pub(crate) struct Pending {
    id: u64,
    pub(crate) kind: Kind,
    pub(crate) what: Option<String>,
    pub(crate) waker: Waker,
}

/// All waiting calls by handler.
#[derive(Default)]
pub(crate) struct Gates {
    /// The handler that runs.
    pub(crate) current: u32,
    waiting: BTreeMap<u32, Vec<Pending>>,
    granted: Option<(u64, Grant)>,
    last: u64,
}

impl Gates {
    /// The waiting calls of a handler. A handler may make several at once.
    pub(crate) fn of(&self, handler: u32) -> &[Pending] {
        self.waiting.get(&handler).map_or(&[], Vec::as_slice)
    }

    /// Sets the decision about one of them. Returns its waker.
    pub(crate) fn grant(&mut self, handler: u32, position: usize, grant: Grant) -> Waker {
        let pending = self.waiting.get_mut(&handler).expect("a handler that waits").remove(position);
        self.granted = Some((pending.id, grant));
        self.current = handler;
        pending.waker
    }

    /// Removes the calls of a handler that ended.
    pub(crate) fn forget(&mut self, handler: u32) {
        self.waiting.remove(&handler);
    }

    pub(crate) fn wait(&mut self, kind: Kind, what: Option<String>, waker: Waker) -> (u32, u64) {
        self.last += 1;
        let handler = self.current;
        self.waiting.entry(handler).or_default().push(Pending { id: self.last, kind, what, waker });
        (handler, self.last)
    }

    pub(crate) fn is_granted(&mut self, id: u64) -> Option<Grant> {
        self.granted.take_if(|(granted, _)| *granted == id).map(|(_, grant)| grant)
    }

    pub(crate) fn renew(&mut self, (handler, id): (u32, u64), waker: &Waker) {
        let waiting = self.waiting.get_mut(&handler).into_iter().flatten();
        for pending in waiting.filter(|pending| pending.id == id) {
            pending.waker.clone_from(waker);
        }
    }

    pub(crate) fn withdraw(&mut self, (handler, id): (u32, u64)) {
        if let Some(waiting) = self.waiting.get_mut(&handler) {
            waiting.retain(|pending| pending.id != id);
        }
    }
}
