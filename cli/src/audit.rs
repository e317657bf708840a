//! `wfg audit`: lists actions and refused attempts.

use protocol::access::AuditEntry;

use crate::calls::Remote;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::show::print_json;
use crate::table::Table;
use crate::text::clean;
use crate::time;

/// Lists the newest entries, the newest first.
pub async fn run(remote: &Remote, screen: &Screen, limit: usize, json: bool) -> Result<(), Failure> {
    let page = remote.client.audit(limit, None).await?;
    if json {
        print_json(screen, &page.items)?;
    } else if page.items.is_empty() {
        screen.eprint("nothing was done yet");
    } else {
        screen.print(&text(&page.items, screen))?;
    }
    if page.next.is_some() {
        screen.eprint(&format!("these are the newest {limit}; --limit shows more"));
    }
    Ok(())
}

fn text(entries: &[AuditEntry], screen: &Screen) -> String {
    let mut table = Table::new(["AT", "TOKEN", "DID", "ABOUT"]);
    for entry in entries {
        let workflow = entry.workflow.as_ref().map(ToString::to_string);
        let about = entry.subject.as_ref().map(|name| format!("token {name}"));
        table.row([
            time::utc(entry.at_ms).into(),
            entry.token.as_ref().map_or("-", |name| name.as_str()).into(),
            entry.action.as_ref().into(),
            workflow.or(about).unwrap_or_else(|| entry.route.clone()).into(),
        ]);
        if let Some(reason) = &entry.reason {
            table.note(clean(reason));
        }
        if entry.suppressed > 0 {
            table.note(format!("and {} more like it before", entry.suppressed));
        }
    }
    table.render(screen.out)
}
