//! A call on a port as a future. It waits at its gate, then executes as the scheduler decided.

use std::pin::Pin;
use std::task::{Context, Poll};

use engine::ports::{StoreError, Stored};

use crate::gate::{Grant, Kind};
use crate::trace::Describe;
use crate::world::{Shared, World};

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

impl<T: Describe, F: FnMut(&mut World) -> Stored<T> + Unpin> Future for Call<'_, F> {
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
                world.log_call(
                    call.what.as_deref(),
                    &lost,
                    ", but the answer is lost and the library repeats the call",
                );
                call.ticket = Some(world.gates.wait(call.kind, call.what.clone(), cx.waker().clone()));
                return Poll::Pending;
            }
            Grant::Fail { done } => {
                if done {
                    drop((call.op)(&mut world));
                }
                Err(StoreError::Unavailable(if done { "but executed" } else { "and not executed" }.to_owned()))
            }
        };
        if let (Kind::Write, Some(handler)) = (call.kind, world.running_handler()) {
            handler.writes += 1;
        }
        world.log_call(call.what.as_deref(), &answer, "");
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
