//! Working off, in one process, what streams, queues and timers bring elsewhere.

use protocol::Millis;

use crate::Engine;
use crate::error::Outcome;
use crate::ports::{Consistency, Local, Work};
use crate::run::RunState;
use crate::sweep::Swept;

impl<P: Local> Engine<P> {
    /// Does all work that is listed, until there is none. One caller at a time.
    ///
    /// A piece is taken off its list once it is done: stopped in between, it is done again, which does no harm.
    pub async fn settle(&self) -> Outcome<()> {
        while let Some((number, work)) = self.ports.next_work().await? {
            match work {
                Work::Notice(notice) => self.on_notice(&notice).await?,
                Work::Walk(walk) => self.walk_step(walk).await?,
            }
            self.ports.work_done(number).await?;
        }
        Ok(())
    }

    /// Ends the leases that are over, of open runs: in one that is being cancelled, the walk ends them. When the next
    /// one will be over.
    pub async fn end_overdue(&self) -> Outcome<Option<Millis>> {
        let (jobs, next) = self.ports.overdue(self.ports.now()).await?;
        for key in jobs {
            let control = self.ports.control(&key.run, Consistency::Strong).await?;
            if control.is_none_or(|control| control.state != RunState::Open) {
                continue;
            }
            if let Some(job) = self.ports.job(&key, Consistency::Strong).await? {
                self.end_if_over(&job, &mut Swept::default()).await?;
            }
        }
        Ok(next)
    }
}
