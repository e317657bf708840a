//! `wfg audit`: lists actions and refused attempts.

use protocol::access::AuditEntry;

use crate::context::{Context, PageArgs};
use crate::failure::Failure;
use crate::screen::Paint;
use crate::table::Table;
use crate::time;

/// Lists the newest entries, the newest first.
pub async fn run(context: &Context, args: PageArgs) -> Result<(), Failure> {
    let page = context.remote()?.client.audit(args.limit, None).await?;
    args.show(context, &page, "nothing was done yet", |entries| text(entries, context.screen.out))
}

fn text(entries: &[AuditEntry], paint: Paint) -> String {
    let mut table = Table::new(["AT", "TOKEN", "DID", "ABOUT"]);
    for entry in entries {
        let workflow = entry.workflow.as_ref().map(ToString::to_string);
        let about = entry.subject.as_ref().map(|name| format!("token {name}"));
        table.row([
            time::utc(entry.at_ms).into(),
            entry.token.as_ref().map_or("-", |name| name.as_str()).into(),
            entry.action.as_ref().into(),
            workflow.or(about).or_else(|| entry.about.clone()).unwrap_or_else(|| entry.route.clone()).into(),
        ]);
        if let Some(reason) = &entry.reason {
            table.note(reason.as_str());
        }
        if entry.suppressed > 0 {
            table.note(format!("and {} more like it before", entry.suppressed));
        }
    }
    table.render(paint)
}
