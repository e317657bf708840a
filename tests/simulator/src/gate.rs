//! Where a handler waits before each call on a port, until the scheduler lets that call go on: or not.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use engine::ports::{StoreError, Stored};

use crate::trace::Tell;
use crate::world::{Shared, World};

/// What kind of call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    /// The client library sends it again if its answer is lost.
    Write,
    /// To a queue; again means twice.
    Send,
}

/// What the scheduler decided about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Do,
    /// Done, but its answer is lost, so that it waits to be done again.
    DoAgain,
    /// "Unavailable", and done or not.
    Fail {
        done: bool,
    },
}

/// A call that waits.
pub(crate) struct Pending {
    id: u64,
    pub(crate) kind: Kind,
    pub(crate) what: Option<String>,
    pub(crate) waker: Waker,
}

/// All calls that wait, by handler.
#[derive(Default)]
pub(crate) struct Gates {
    /// The handler that goes on.
    pub(crate) current: u32,
    waiting: BTreeMap<u32, Vec<Pending>>,
    granted: Option<(u64, Grant)>,
    last: u64,
}

impl Gates {
    /// The calls of a handler that wait; a handler may make several at once.
    pub(crate) fn of(&self, handler: u32) -> &[Pending] {
        self.waiting.get(&handler).map_or(&[], Vec::as_slice)
    }

    /// Lets one of them go on; what wakes it.
    pub(crate) fn grant(&mut self, handler: u32, place: usize, grant: Grant) -> Waker {
        let pending = self.waiting.get_mut(&handler).expect("a handler that waits").remove(place);
        self.granted = Some((pending.id, grant));
        self.current = handler;
        pending.waker
    }

    /// Forgets a handler that is gone.
    pub(crate) fn forget(&mut self, handler: u32) {
        self.waiting.remove(&handler);
    }

    fn wait(&mut self, kind: Kind, what: Option<String>, waker: Waker) -> (u32, u64) {
        self.last += 1;
        let handler = self.current;
        self.waiting.entry(handler).or_default().push(Pending { id: self.last, kind, what, waker });
        (handler, self.last)
    }

    fn is_granted(&mut self, id: u64) -> Option<Grant> {
        self.granted.take_if(|(granted, _)| *granted == id).map(|(_, grant)| grant)
    }

    fn renew(&mut self, (handler, id): (u32, u64), waker: &Waker) {
        let waiting = self.waiting.get_mut(&handler).into_iter().flatten();
        for pending in waiting.filter(|pending| pending.id == id) {
            pending.waker.clone_from(waker);
        }
    }

    fn withdraw(&mut self, (handler, id): (u32, u64)) {
        if let Some(waiting) = self.waiting.get_mut(&handler) {
            waiting.retain(|pending| pending.id != id);
        }
    }
}

/// A call on a port.
pub(crate) struct Call<'a, F> {
    shared: &'a Shared,
    kind: Kind,
    what: Option<String>,
    op: F,
    ticket: Option<(u32, u64)>,
}

impl<'a, F> Call<'a, F> {
    pub(crate) fn new(shared: &'a Shared, kind: Kind, what: Option<String>, op: F) -> Self {
        Self { shared, kind, what, op, ticket: None }
    }
}

impl<T: Tell, F: FnMut(&mut World) -> Stored<T> + Unpin> Future for Call<'_, F> {
    type Output = Stored<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        let mut world = call.shared.world();
        let Some(ticket) = call.ticket else {
            call.ticket = Some(world.gates.wait(call.kind, call.what.clone(), cx.waker().clone()));
            return Poll::Pending;
        };
        let Some(grant) = world.gates.is_granted(ticket.1) else {
            world.gates.renew(ticket, cx.waker());
            return Poll::Pending;
        };
        call.ticket = None;
        let answer = match grant {
            Grant::Do => (call.op)(&mut world),
            Grant::DoAgain => {
                let lost = (call.op)(&mut world);
                world.say_done(call.what.as_deref(), &lost, ", but that answer is lost, and the library asks again");
                call.ticket = Some(world.gates.wait(call.kind, call.what.clone(), cx.waker().clone()));
                return Poll::Pending;
            }
            Grant::Fail { done } => {
                if done {
                    drop((call.op)(&mut world));
                }
                Err(StoreError::Unavailable(
                    if done { "though it was done" } else { "and nothing was done" }.to_owned(),
                ))
            }
        };
        world.say_done(call.what.as_deref(), &answer, "");
        Poll::Ready(answer)
    }
}

impl<F> Drop for Call<'_, F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.world().gates.withdraw(ticket);
        }
    }
}
