//! Faults of the APIs, planned by a test.

use std::time::Duration;

use super::TestForge;

/// A fault in the answer to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request isn't carried out. The answer has this status and these headers.
    Answers(u16, Vec<(&'static str, String)>),
    /// The request isn't carried out. The answer has this status and this body.
    Says(u16, String),
    /// The request is carried out, and the connection ends instead of the answer.
    Lost,
    /// The connection ends, and the request is carried out later.
    LandsLater(Duration),
    /// The request is carried out at once, and answered later.
    AnswersLate(Duration),
}

pub(super) struct Planned {
    pub method: &'static str,
    pub part: String,
    /// What the body must contain.
    pub body: String,
    pub fault: Fault,
    pub times: usize,
}

impl TestForge {
    /// The next `times` requests with this method whose path contains `part` meet a fault.
    pub fn plans(&self, method: &'static str, part: &str, fault: Fault, times: usize) {
        self.plans_for(method, part, "", fault, times);
    }

    /// As [`Self::plans`], for requests whose body contains `body`.
    pub fn plans_for(&self, method: &'static str, part: &str, body: &str, fault: Fault, times: usize) {
        self.state().faults.push(Planned { method, part: part.to_owned(), body: body.to_owned(), fault, times });
    }

    /// True if every planned fault was met.
    #[must_use]
    pub fn met_all_faults(&self) -> bool {
        self.state().faults.iter().all(|planned| planned.times == 0)
    }

    pub(super) fn fault(&self, method: &str, path: &str, body: &[u8]) -> Option<Fault> {
        let mut state = self.state();
        let body = String::from_utf8_lossy(body);
        let fits = |planned: &&mut Planned| {
            let is_path = planned.method == method && path.contains(&planned.part);
            planned.times > 0 && is_path && body.contains(&planned.body)
        };
        let planned = state.faults.iter_mut().find(fits)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }
}
