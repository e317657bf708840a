//! `wfg redrive`: sends a stack's dead letters again.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

#[derive(Args)]
pub struct RedriveArgs {
    /// The stack's name
    #[arg(long, value_name = "NAME")]
    stack: String,
    /// Only show what would be put back
    #[arg(long)]
    dry_run: bool,
}

#[cfg(not(feature = "aws"))]
impl RedriveArgs {
    /// Refuses: this program can't reach AWS.
    pub fn run(self, _context: &Context) -> std::future::Ready<Result<(), Failure>> {
        let Self { stack, dry_run: _ } = self;
        std::future::ready(Err(Failure::without_aws(&format!("the queues of {stack}"))))
    }
}

#[cfg(feature = "aws")]
mod on_aws {
    use aws::StackError;
    use aws::redrive::{DeadLetters, Kind, Redriven};

    use super::{Context, Failure, RedriveArgs};
    use crate::screen::eprint;
    use crate::text::{clean, count};

    impl RedriveArgs {
        /// Sends both kinds of dead letters again and prints how many.
        pub async fn run(self, context: &Context) -> Result<(), Failure> {
            let usage = |error: StackError| Failure::Usage(error.to_string());
            let letters = DeadLetters::of_stack(&self.stack).await.map_err(usage)?;
            let mut left = 0;
            for kind in [Kind::Batches, Kind::Stream] {
                let done = letters.redrive(kind, self.dry_run).await.map_err(usage)?;
                context.screen.print(&summary(kind, &done, self.dry_run))?;
                for message in &done.left {
                    eprint(&format!("{}: message {} stays: {}", done.from, message.id, clean(&message.reason)));
                }
                left += done.left.len();
            }
            if left > 0 {
                return Err(Failure::Usage(format!(
                    "{} couldn't be put back. Delete by hand what is of no use.",
                    count(left, "message")
                )));
            }
            Ok(())
        }
    }

    fn summary(kind: Kind, done: &Redriven, dry_run: bool) -> String {
        let Redriven { from, to, messages, sent, left } = done;
        if *messages + left.len() == 0 {
            return format!("{from}: empty\n");
        }
        let put = if dry_run { "would be put back" } else { "put back" };
        match kind {
            Kind::Batches => format!("{from}: {} {put} in {to}\n", count(*messages, "message")),
            Kind::Stream => {
                let batches = if *messages == 1 { "1 batch".to_owned() } else { format!("{messages} batches") };
                format!("{from}: {batches} {put}: {} in {to}\n", count(*sent, "reconcile"))
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_summary_counts_messages_of_each_kind() {
            let done = |messages, sent| Redriven {
                from: "wf-dead".to_owned(),
                to: "wf-batches".to_owned(),
                messages,
                sent,
                left: Vec::new(),
            };
            assert_eq!(summary(Kind::Batches, &done(0, 0), false), "wf-dead: empty\n");
            assert_eq!(summary(Kind::Batches, &done(1, 1), false), "wf-dead: 1 message put back in wf-batches\n");
            assert_eq!(
                summary(Kind::Batches, &done(2, 2), true),
                "wf-dead: 2 messages would be put back in wf-batches\n"
            );
            let stream = summary(Kind::Stream, &done(1, 3), false);
            assert_eq!(stream, "wf-dead: 1 batch put back: 3 reconciles in wf-batches\n");
            let stream = summary(Kind::Stream, &done(2, 5), true);
            assert_eq!(stream, "wf-dead: 2 batches would be put back: 5 reconciles in wf-batches\n");
        }
    }
}
