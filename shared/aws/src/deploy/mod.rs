//! Creates, updates, describes and deletes a stack, as `wfg stack` does.
//!
//! A change is a call of CloudFormation, and then its events until the stack has another status.

mod bucket;
mod package;
mod parameters;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::SdkConfig;
use engine::ids::{PoolId, random};
use engine::ports::{AuditStore, TokenStore};
use fetch::Http;

use self::bucket::Bucket;
pub use self::package::Package;
use crate::call::Caller;
use crate::cloudformation::{self, Event, Stack};
use crate::stack::{self, StackError, access_of};

/// The first pause between two looks at a stack that changes. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause. CloudFormation refuses callers that ask more often than a few times a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What the template makes, as CloudFormation wants it acknowledged: roles, and resources that its transform makes.
const CAPABILITIES: [&str; 3] = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"];
/// A stack's creation failed and was undone. It can only be deleted.
const NEVER_CREATED: [&str; 4] = ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"];
/// A change ended well.
const DONE: [&str; 3] = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"];

/// What happens during a change, for people who watch it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The bucket for packages was made.
    MadeBucket(&'a str),
    /// A file was uploaded, or was there already.
    Uploaded {
        /// The file's key.
        key: &'a str,
        /// Bytes.
        size: usize,
        /// Whether it was there.
        was_there: bool,
    },
    /// CloudFormation has begun: `creation`, `update` or `deletion`.
    Began(&'static str),
    /// A resource has another status.
    Event(&'a Event),
    /// A pool's queue was deleted.
    DeletedQueue(&'a str),
}

/// What a deployment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The stack is new.
    Created,
    /// The stack was updated.
    Updated,
    /// The stack was already so.
    Nothing,
}

/// The stacks of an account in a region.
pub struct Stacks {
    caller: Caller,
    settings: SdkConfig,
}

impl Stacks {
    /// Finds credentials and region as the AWS command line does.
    ///
    /// # Errors
    /// If either is missing.
    pub async fn open(http: Http) -> Result<Self, StackError> {
        let (settings, region) = stack::settings().await?;
        Ok(Self { caller: Caller::new(http, &settings, region).await?, settings })
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.caller.region
    }

    /// The stack with this name.
    ///
    /// # Errors
    /// [`StackError::NoStack`], or what AWS refuses.
    pub async fn get(&self, name: &str) -> Result<Stack, StackError> {
        let none = || StackError::NoStack { stack: name.to_owned(), region: self.caller.region.clone() };
        cloudformation::find(&self.caller, name).await?.ok_or_else(none)
    }

    /// The newest events of a stack, oldest first.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn last_events(&self, stack: &Stack, limit: usize) -> Result<Vec<Event>, StackError> {
        cloudformation::events(&self.caller, &stack.id, &BTreeSet::new(), limit).await
    }

    /// The tokens and the audit log of a stack.
    ///
    /// # Errors
    /// If it isn't a stack of this project, or its table can't be used.
    pub async fn access(&self, stack: &Stack) -> Result<impl TokenStore + AuditStore, StackError> {
        let absent = || StackError::Failed {
            what: format!("stack {} is not one of workflow-graph", stack.name),
            reason: "it has no output JobsTable".to_owned(),
        };
        access_of(stack.outputs.get("JobsTable").cloned().ok_or_else(absent)?, &self.settings).await
    }

    /// Uploads a package, and creates the stack or updates it. An update keeps the values of parameters that aren't given.
    ///
    /// # Errors
    /// [`StackError::ChangeFailed`] if the stack could not be made so, [`StackError::WrongStatus`] if it can't be changed now, and what
    /// AWS refuses. Unknown parameters are refused before anything is uploaded.
    pub async fn deploy(
        &self,
        name: &str,
        package: &Package,
        given: &BTreeMap<String, String>,
        told: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(Stack, Change), StackError> {
        let earlier = cloudformation::find(&self.caller, name).await?.filter(|stack| stack.status != "DELETE_COMPLETE");
        if let Some(stack) = &earlier {
            check_status(stack)?;
        }
        let mut fields = parameters::fields(&package.parameters, given, earlier.as_ref())?;
        fields.push(("TemplateURL".to_owned(), self.upload(package, told).await?));
        let capabilities = CAPABILITIES.iter().enumerate();
        fields.extend(capabilities.map(|(at, one)| (format!("Capabilities.member.{}", at + 1), (*one).to_owned())));
        let (action, change, done) = match earlier {
            Some(_) => ("UpdateStack", "update", Change::Updated),
            None => ("CreateStack", "creation", Change::Created),
        };
        let mut known = BTreeSet::new();
        if let Some(stack) = &earlier {
            known.extend(self.last_events(stack, usize::MAX).await?.into_iter().map(|event| event.id));
        }
        if !self.change(action, name, fields).await? {
            return Ok((self.get(name).await?, Change::Nothing));
        }
        told(Step::Began(change));
        let id = self.get(name).await?.id;
        Ok((self.follow(&id, change, known, told).await?.0, done))
    }

    /// Deletes a stack, and then the queues of its pools, which aren't part of it. Returns the resources that are kept.
    ///
    /// # Errors
    /// [`StackError::WrongStatus`] if the stack is protected or changing, [`StackError::ChangeFailed`] if something can't be deleted,
    /// and what AWS refuses.
    pub async fn delete(&self, stack: &Stack, told: &mut (dyn FnMut(Step) + Send)) -> Result<Vec<Event>, StackError> {
        if stack.is_protected {
            let stop = "aws cloudformation update-termination-protection --no-enable-termination-protection";
            return Err(StackError::WrongStatus {
                stack: stack.name.clone(),
                status: "protected from deletion".to_owned(),
                advice: format!("`{stop} --stack-name {}` ends that", stack.name),
            });
        }
        check_is_still(stack)?;
        let known = self.last_events(stack, usize::MAX).await?.into_iter().map(|event| event.id).collect();
        self.change("DeleteStack", &stack.name, Vec::new()).await?;
        told(Step::Began("deletion"));
        let (_, events) = self.follow(&stack.id, "deletion", known, told).await?;
        self.delete_queues(stack, told).await?;
        Ok(events.into_iter().filter(|event| event.status == "DELETE_SKIPPED").collect())
    }

    /// Uploads what isn't in the bucket. Returns the address of the template.
    async fn upload(&self, package: &Package, told: &mut (dyn FnMut(Step) + Send)) -> Result<String, StackError> {
        let (bucket, is_new) = Bucket::open(&self.caller).await?;
        if is_new {
            told(Step::MadeBucket(&bucket.name));
        }
        let mut keys = BTreeMap::new();
        for zip in package.zips() {
            let (zip, file) = zip?;
            let (key, size) = (file.key.clone(), file.content.len());
            let was_there = !bucket.put(file).await?;
            told(Step::Uploaded { key: &key, size, was_there });
            keys.insert(zip, key);
        }
        let template = package.template(&bucket.name, &keys);
        let url = bucket.url(&template.key);
        bucket.put(template).await?;
        Ok(url)
    }

    /// Makes a change that may be repeated when its answer is lost: CloudFormation knows it by its token.
    async fn change(&self, action: &str, name: &str, fields: Vec<(String, String)>) -> Result<bool, StackError> {
        let token = format!("wfg-{}", hex::encode(random()));
        let common = [("StackName".to_owned(), name.to_owned()), ("ClientRequestToken".to_owned(), token)];
        cloudformation::change(&self.caller, action, &[&common[..], &fields].concat()).await
    }

    /// Waits for the end of a change, and tells its events as they come. Returns all of them.
    async fn follow(
        &self,
        id: &str,
        change: &'static str,
        mut known: BTreeSet<String>,
        told: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(Stack, Vec<Event>), StackError> {
        let mut events = Vec::new();
        let mut pause = FIRST_PAUSE;
        loop {
            // In this order, so that the events of a change that has ended are complete.
            let gone = || Stack { status: "DELETE_COMPLETE".to_owned(), ..Stack::default() };
            let stack = cloudformation::find(&self.caller, id).await?.unwrap_or_else(gone);
            for event in cloudformation::events(&self.caller, id, &known, usize::MAX).await? {
                told(Step::Event(&event));
                known.insert(event.id.clone());
                events.push(event);
            }
            if !stack.is_changing() {
                let done = DONE.contains(&stack.status.as_str());
                return if done { Ok((stack, events)) } else { Err(failed(&stack, change, &events)) };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn delete_queues(&self, stack: &Stack, told: &mut (dyn FnMut(Step) + Send)) -> Result<(), StackError> {
        let prefix = format!("{}-pool-", stack.name);
        let queues = aws_sdk_sqs::Client::new(&self.settings);
        let mut pages = queues.list_queues().queue_name_prefix(&prefix).max_results(1000).into_paginator().send();
        let mut urls = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StackError::failed("listing the pools' queues", &error))?;
            urls.extend(page.queue_urls.unwrap_or_default().into_iter().filter(|url| is_of_pool(url, &prefix)));
        }
        for url in urls {
            let deleted = queues.delete_queue().queue_url(&url).send().await;
            deleted.map_err(|error| StackError::failed(format!("deleting the queue {url}"), &error))?;
            told(Step::DeletedQueue(url.rsplit('/').next().unwrap_or(&url)));
        }
        Ok(())
    }
}

/// Whether a queue is that of a pool: its name ends with the pool's id. Others that begin with the prefix are of a stack that is named
/// so.
fn is_of_pool(url: &str, prefix: &str) -> bool {
    url.rsplit('/').next().and_then(|name| name.strip_prefix(prefix)).is_some_and(PoolId::is_one)
}

/// Refuses a change of a stack that can't be changed.
fn check_status(stack: &Stack) -> Result<(), StackError> {
    check_is_still(stack)?;
    let wrong = |advice: String| {
        let Stack { name, status, .. } = stack;
        Err(StackError::WrongStatus { stack: name.clone(), status: status.clone(), advice })
    };
    match stack.status.as_str() {
        status if NEVER_CREATED.contains(&status) => {
            wrong(format!("such a stack can only be deleted: `wfg stack delete {}`, then deploy again", stack.name))
        }
        "UPDATE_ROLLBACK_FAILED" => wrong(format!(
            "see why with `wfg stack status {0}`, mend it, then `aws cloudformation continue-update-rollback --stack-name {0}`",
            stack.name
        )),
        _ => Ok(()),
    }
}

fn check_is_still(stack: &Stack) -> Result<(), StackError> {
    if stack.is_changing() {
        return Err(StackError::WrongStatus {
            stack: stack.name.clone(),
            status: stack.status.clone(),
            advice: format!("wait until that has ended; `wfg stack status {}` shows it", stack.name),
        });
    }
    Ok(())
}

/// The error of a change that ended badly: what failed first, and why.
fn failed(stack: &Stack, change: &'static str, events: &[Event]) -> StackError {
    let cause = match events.iter().find(|event| event.is_failure()) {
        Some(Event { resource, kind, reason, .. }) => format!("{resource} ({kind}): {reason}"),
        None if stack.reason.is_empty() => "CloudFormation gives no reason".to_owned(),
        None => stack.reason.clone(),
    };
    StackError::ChangeFailed { stack: stack.name.clone(), change, status: stack.status.clone(), cause }
}

#[cfg(test)]
mod tests {
    use protocol::LabelSet;

    use super::*;

    #[test]
    fn queues_of_another_stack_are_not_those_of_a_pool() {
        let url = |name: &str| format!("https://sqs.eu-central-1.amazonaws.com/1/{name}");
        let of_pool = |name: &str| is_of_pool(&url(name), "a-pool-");
        assert!(of_pool(&format!("a-pool-{}", PoolId::of(&LabelSet::default()).as_str())));
        for other in ["a-pool-test-batches", "a-pool-test-pool-0123456789abcdef0123456789abcdef", "a-pool-0123"] {
            assert!(!of_pool(other), "{other}");
        }
    }

    fn event(resource: &str, status: &str, reason: &str) -> Event {
        let text = |text: &str| text.to_owned();
        let kind = if resource == "wf" { "AWS::CloudFormation::Stack" } else { "AWS::Lambda::Function" };
        Event {
            resource: text(resource),
            kind: text(kind),
            status: text(status),
            reason: text(reason),
            ..Event::default()
        }
    }

    fn stack(status: &str) -> Stack {
        Stack { name: "wf".to_owned(), status: status.to_owned(), ..Stack::default() }
    }

    #[test]
    fn failed_change_names_the_first_resource_that_failed_by_itself() {
        let events = [
            event("wf", "UPDATE_FAILED", "the stack"),
            event("A", "UPDATE_FAILED", "Resource update cancelled"),
            event("B", "UPDATE_IN_PROGRESS", ""),
            event("C", "UPDATE_FAILED", "no such zip"),
            event("D", "UPDATE_FAILED", "another"),
        ];
        let error = failed(&stack("UPDATE_ROLLBACK_COMPLETE"), "update", &events).to_string();
        assert_eq!(
            error,
            "stack wf is UPDATE_ROLLBACK_COMPLETE after its update: C (AWS::Lambda::Function): no such zip"
        );
        let error = failed(&stack("ROLLBACK_COMPLETE"), "creation", &events[..1]).to_string();
        assert!(error.ends_with("creation: CloudFormation gives no reason"), "{error}");
    }

    #[test]
    fn stack_that_can_not_be_changed_is_refused_with_advice() {
        let refused = |status: &str| check_status(&stack(status)).map_err(|error| error.to_string());
        for good in ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"] {
            assert_eq!(refused(good), Ok(()));
        }
        for (status, advice) in [
            ("UPDATE_IN_PROGRESS", "wfg stack status wf"),
            ("ROLLBACK_COMPLETE", "wfg stack delete wf"),
            ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name wf"),
        ] {
            let error = refused(status).expect_err(status);
            assert!(error.contains(status) && error.contains(advice), "{error}");
        }
    }
}
