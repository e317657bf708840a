//! The graph of a run, for programs that draw it.

use std::collections::HashMap;

use protocol::page::{Graph, GraphJob};
use protocol::{JobId, LabelSet, WorkflowId};

use crate::Queries;
use crate::error::Result;
use crate::job::JobSpec;
use crate::ports::{Consistency, JobStore, RunStore};
use crate::stacks::{self, Node};

/// Builds the graph of a run from its jobs, which are in the order of their indexes. Finds the stacks.
#[must_use]
pub fn of<'a>(run: u32, jobs: impl Iterator<Item = (&'a JobId, &'a JobSpec)>) -> Graph {
    let jobs: Vec<(&JobId, &JobSpec)> = jobs.collect();
    let mut sets: HashMap<&LabelSet, u32> = HashMap::new();
    let mut labels = Vec::new();
    let mut set_of = |set: &'a LabelSet| {
        *sets.entry(set).or_insert_with(|| {
            labels.push(set.clone());
            number(labels.len() - 1)
        })
    };
    let sets: Vec<u32> = jobs.iter().map(|(_, spec)| set_of(&spec.labels)).collect();
    let nodes: Vec<Node<'_>> = jobs
        .iter()
        .zip(&sets)
        .map(|((_, spec), labels)| Node { name: &spec.name, labels: *labels, needs: &spec.needs })
        .collect();
    let stacks = stacks::find(&nodes);
    let mut stack_of = vec![None; jobs.len()];
    for (at, stack) in stacks.iter().enumerate() {
        for &member in &stack.members {
            stack_of[member] = Some(number(at));
        }
    }
    let job = |((&(id, spec), labels), stack): ((&(&JobId, &JobSpec), u32), Option<u32>)| {
        let name = (spec.name != id.as_str()).then(|| spec.name.clone());
        GraphJob(id.clone(), name, spec.needs.clone(), labels, stack)
    };
    let jobs = jobs.iter().zip(sets).zip(stack_of).map(job).collect();
    Graph { run, labels, stacks: stacks.into_iter().map(|stack| stack.name).collect(), jobs }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a run has at most 10,000 jobs")
}

impl<P: RunStore + JobStore> Queries<'_, P> {
    /// Returns the number of a workflow's current run, and its graph unless `is_known` is true of the number.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`](crate::EngineError::WorkflowNotFound).
    pub async fn graph(self, id: &WorkflowId, is_known: impl Fn(u32) -> bool + Send) -> Result<(u32, Option<Graph>)> {
        let workflow = self.engine.records().workflow_record(id).await?;
        if is_known(workflow.number) {
            return Ok((workflow.number, None));
        }
        // The graph never changes, so an eventual read is right if it finds all jobs.
        let control = self.engine.records().control_surely(&workflow.run).await?;
        let jobs = control.map_or(0, |control| control.jobs as usize);
        let mut records = self.engine.records().all_jobs(&workflow.run, Consistency::Eventual).await?;
        if records.len() != jobs {
            records = self.engine.records().all_jobs(&workflow.run, Consistency::Strong).await?;
        }
        let specs = self.engine.records().specs_of(&workflow.run, &records).await;
        let specs = self.engine.records().unless_deleted(&workflow, specs).await?;
        let graph = of(workflow.number, records.iter().map(|record| &record.id).zip(&specs));
        Ok((workflow.number, Some(graph)))
    }
}
