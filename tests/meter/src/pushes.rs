//! What a forge adds to a run that a push starts: the delivery, its handling with the submission, and the states.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use cost::{Figures, Prices, Usage, rounded};
use harness::eventually;
use harness::forge::{Kind, TOKEN, TestForge, WorkingCopy};
use protocol::LinkName;
use tokio::time::sleep;

use crate::driver::Driver;
use crate::singles::POOLS_KNOWN;

/// Jobs of the run, each of which needs the one before. So each state is told by itself, which is the most that it can cost.
const JOBS: usize = 10;
const REPOSITORY: &str = "acme/app";
const WEBHOOK_SECRET: &str = "webhook secret 1";
/// The ref's record doesn't trust the forge's answer for this long after a push.
const LAG: Duration = Duration::from_millis(5100);

/// Measures a push whose jobs are reported, and one of which only the run is.
pub async fn measure(driver: &mut Driver, prices: &Prices, figures: &mut Figures) {
    let forge = linked(driver).await;
    let copy = forge.working_copy(REPOSITORY).await;
    let usd = |usage: Usage| rounded(usage.usd(prices) * 1e6);
    // The first push makes the pool of the jobs known, and fills the caches. All pushes together send under 60 states, the limit of a minute.
    push(driver, &forge, &copy, Some("run")).await;
    for (name, report) in [("ten jobs", None), ("ten jobs, report: run", Some("run"))] {
        sleep(LAG).await;
        let by_step = push(driver, &forge, &copy, report).await;
        let part = |step: &str| by_step.get(step).copied().unwrap_or_default();
        let pushes = &mut figures.pushes_usd_per_million;
        for (what, step) in [("receive", "hook"), ("read and submit", "forge"), ("tell the states", "tell")] {
            pushes.insert(format!("{name}: {what}"), usd(part(step)));
        }
        pushes.insert(name.to_owned(), usd(part("hook") + part("forge") + part("tell")));
    }
}

/// A forge with a repository that is linked to the stack.
async fn linked(driver: &Driver) -> TestForge {
    let (cloud, forge) = (&driver.cloud, TestForge::starts().await);
    forge.repository(REPOSITORY, true).await;
    let label = &cloud.label;
    let [webhook, token] = [format!("FORGE_WEBHOOK_{label}"), format!("FORGE_TOKEN_{label}")];
    cloud.secret_named(&webhook, WEBHOOK_SECRET).await;
    cloud.secret_named(&token, TOKEN).await;
    let file = format!(
        "forge: github\nurl: {}\nrepository: {REPOSITORY}\ntoken: {token}\nwebhook_secret: {webhook}\nrights: [{{labels: ['{label}']}}]\n",
        forge.url()
    );
    let link = LinkName::new(label.as_str()).expect("a name");
    cloud.client.put_link(&link, &file).await.expect("linked");
    let hook = format!("{}/api/forges/{label}/hook", cloud.client.server_url());
    forge.hook(REPOSITORY, Kind::Github, &hook, WEBHOOK_SECRET);
    forge
}

/// Pushes a workflow and runs its jobs one after the other. Returns what was used, by step.
async fn push(
    driver: &mut Driver,
    forge: &TestForge,
    copy: &WorkingCopy,
    report: Option<&str>,
) -> BTreeMap<String, Usage> {
    let before = forge.deliveries().len();
    let number = before.to_string();
    let files = [(".wfg/ci.yml", &*workflow(&driver.cloud.label, report)), ("number", &number)];
    let commit = copy.commit(&files, "a commit").await;
    driver.settle(1).await;
    driver.begin();
    let delivered = async {
        copy.push(&["HEAD:refs/heads/main"]).await;
        eventually("the delivery is answered", async || {
            forge.deliveries().get(before).is_some_and(|delivery| delivery.status == 202).then_some(())
        })
        .await;
    };
    driver.delivers(delivered).await;
    driver.settle(1).await;
    sleep(POOLS_KNOWN).await;
    let worker = driver.worker();
    for _ in 0..JOBS {
        let held = driver.claim(&worker).await;
        driver.settle(1).await;
        driver.complete(&held, &[]).await;
        driver.settle(1).await;
    }
    let by_step = driver.end().by_step();
    let states = forge.shows(REPOSITORY, &commit);
    let expected = if report.is_some() { 1 } else { JOBS + 1 };
    assert!(states.len() == expected && states.values().all(|state| state == "success"), "{states:?}");
    by_step
}

fn workflow(label: &str, report: Option<&str>) -> String {
    let mut text = String::from("on: push\n");
    if let Some(report) = report {
        let _ = writeln!(text, "report: {report}");
    }
    text.push_str("jobs:\n  job-0: {run: 'true', labels: LABEL}\n");
    for job in 1..JOBS {
        let _ = writeln!(text, "  job-{job}: {{run: 'true', labels: LABEL, needs: job-{}}}", job - 1);
    }
    text.replace("LABEL", label)
}
