//! `wfg check`: compares a deployed stack with the template of this version.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

#[derive(Args)]
pub struct CheckArgs {
    /// The stack's name
    #[arg(long, value_name = "NAME")]
    stack: String,
    /// A known difference, such as JobsTable.BillingMode, or *.Timeout for every resource; may be repeated
    #[arg(long, value_name = "RESOURCE.PROPERTY")]
    ignore: Vec<String>,
    /// Instead, make the calls of each function with its role, and some that it must not make
    #[arg(long, conflicts_with = "ignore")]
    as_role: bool,
}

#[cfg(not(feature = "aws"))]
impl CheckArgs {
    /// Refuses: this program can't reach AWS.
    pub fn run(self, _context: &Context) -> std::future::Ready<Result<(), Failure>> {
        let Self { stack, ignore: _, as_role: _ } = self;
        std::future::ready(Err(Failure::without_aws(&format!("the stack {stack}"))))
    }
}

#[cfg(feature = "aws")]
mod on_aws {
    use aws::check::{Report, RoleReport};

    use super::{CheckArgs, Context, Failure};
    use crate::text::{clean, count};

    impl CheckArgs {
        /// Prints what isn't as it should be. Fails if anything isn't.
        pub async fn run(self, context: &Context) -> Result<(), Failure> {
            let http = client::Http::new();
            let (text, is_good) = if self.as_role {
                let report = aws::check::as_roles(&self.stack, http).await.map_err(|error| Failure::usage(&error))?;
                (tried(&report), report.wrong.is_empty())
            } else {
                let report = aws::check::stack(&self.stack, http, &self.ignore).await;
                let report = report.map_err(|error| Failure::usage(&error))?;
                (compared(&self.stack, &report), report.findings.is_empty())
            };
            context.screen.print(&text)?;
            if is_good { Ok(()) } else { Err(Failure::AlreadyReported) }
        }
    }

    fn not_checked(lines: &[String]) -> String {
        lines.iter().map(|line| format!("not checked: {}\n", clean(line))).collect()
    }

    fn compared(stack: &str, report: &Report) -> String {
        let Report { findings, unchecked, agreed, resources } = report;
        let mut text = String::new();
        for finding in findings {
            let line = format!(
                "{}: {}: expected {}, found {}",
                finding.resource, finding.property, finding.expected, finding.found
            );
            text += &clean(&line);
            text.push('\n');
        }
        text += &not_checked(unchecked);
        let differ = count(findings.len(), "difference");
        text + &format!("{stack}: {agreed} properties of {resources} resources are as the template says, {differ}\n")
    }

    fn tried(report: &RoleReport) -> String {
        let lines = report.tried.iter().chain(&report.wrong).map(|line| format!("{}\n", clean(line)));
        lines.collect::<String>() + &not_checked(&report.unchecked)
    }

    #[cfg(test)]
    mod tests {
        use aws::check::Finding;

        use super::*;

        #[test]
        fn each_difference_and_each_gap_has_a_line() {
            let text = |text: &str| text.to_owned();
            let finding = Finding {
                resource: text("JobsTable"),
                property: text("TimeToLiveSpecification.Enabled"),
                expected: text("true"),
                found: text("false"),
            };
            let unchecked = vec![text("6 of type AWS::IAM::Role: this check doesn't read them")];
            let report = Report { findings: vec![finding], unchecked, agreed: 7, resources: 2 };
            let expected = "JobsTable: TimeToLiveSpecification.Enabled: expected true, found false\n\
                            not checked: 6 of type AWS::IAM::Role: this check doesn't read them\n\
                            wf: 7 properties of 2 resources are as the template says, 1 difference\n";
            assert_eq!(compared("wf", &report), expected);
        }
    }
}
