//! Reading a run's jobs in order.

use std::vec;

use crate::Engine;
use crate::ids::{JobIndex, RunKey};
use crate::job::JobRecord;
use crate::ports::{Consistency, Ports, Stored};

/// A run's jobs in order of their index, read a page at a time.
pub(crate) struct Forward<'a, P> {
    ports: &'a P,
    run: &'a RunKey,
    how: Consistency,
    next: JobIndex,
    page: vec::IntoIter<JobRecord>,
}

impl<P: Ports> Engine<P> {
    /// The jobs of a run from an index on.
    pub(crate) fn forward<'a>(&'a self, run: &'a RunKey, from: JobIndex, how: Consistency) -> Forward<'a, P> {
        Forward { ports: &self.ports, run, how, next: from, page: Vec::new().into_iter() }
    }
}

impl<P: Ports> Forward<'_, P> {
    /// The next job, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Stored<Option<JobRecord>> {
        if self.page.len() == 0 {
            self.page = self.ports.jobs_from(self.run, self.next, self.how).await?.into_iter();
        }
        let job = self.page.next();
        if let Some(job) = &job {
            self.next = job.key.index + 1;
        }
        Ok(job)
    }

    /// The next jobs, up to `most`; none after the last.
    pub(crate) async fn some(&mut self, most: usize) -> Stored<Vec<JobRecord>> {
        let mut some = Vec::with_capacity(most);
        while some.len() < most
            && let Some(job) = self.next().await?
        {
            some.push(job);
        }
        Ok(some)
    }
}
