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
    pub fault: Fault,
    pub times: usize,
}

impl TestForge {
    /// The next `times` requests with this method whose path contains `part` meet a fault.
    pub fn plans(&self, method: &'static str, part: &str, fault: Fault, times: usize) {
        self.state().faults.push(Planned { method, part: part.to_owned(), fault, times });
    }

    pub(super) fn fault(&self, method: &str, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let fits =
            |planned: &&mut Planned| planned.times > 0 && planned.method == method && path.contains(&planned.part);
        let planned = state.faults.iter_mut().find(fits)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }
}
