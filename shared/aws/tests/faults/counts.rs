//! How many calls of a service claims make.

use aws::Aws;
use aws_sdk_ssm::types::ParameterType;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use engine::messages::ChangeEvent;
use engine::ports::{Consistency, RunStore, Source};
use engine::submit::Submission;
use protocol::requests::Claim;
use protocol::{LabelSet, SecretValue, WorkerId};
use workflow::from_yaml;

use crate::layer::Layer;
use crate::own::Own;

const JOBS: usize = 5;

#[tokio::test]
async fn parameter_store_is_read_once_for_all_claims_of_a_process() {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        eprintln!("skipped: WFG_TEST_AWS isn't set; the first lines of shared/aws/tests/ports.rs say how to run it");
        return;
    }
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let layer = Layer::new(http.clone(), None);
    let settings = Aws::settings().http_client(http).load().await;
    let own = Own::new(&settings, "counts").await;
    let mut config = own.config(1);
    let name = format!("/{}/secrets/KEY", config.stack.as_deref().expect("a name"));
    config.secrets_path = Some(name.trim_end_matches("KEY").to_owned());
    let parameters = aws_sdk_ssm::Client::new(&settings);
    let put = parameters.put_parameter().name(&name).value("hunter22").r#type(ParameterType::SecureString);
    put.send().await.expect("the parameter is stored");

    let engine = Aws::engine_with(config, &settings.to_builder().http_client(layer.clone()).build());
    let jobs: String = (0..JOBS).map(|n| format!("  j{n}: {{run: x, secrets: KEY}}\n")).collect();
    let text = format!("jobs:\n{jobs}");
    let definition = from_yaml(&text).expect("a definition");
    let source = Source { content_type: "application/yaml".to_owned(), text };
    let submission = Submission {
        definition,
        source,
        inputs: protocol::requests::GivenInputs::new(),
        run: true,
        key: None,
        report: None,
        place_at: None,
        started_by: None,
    };
    let id = engine.submissions().submit(submission).await.expect("submitted").workflow;
    let run = engine.ports().workflow(&id, Consistency::Strong).await.expect("read").expect("there").run;
    let control = engine.ports().control(&run, Consistency::Strong).await.expect("read").expect("there");
    engine.scheduling().on_change(&ChangeEvent::RunOpened(control)).await.expect("its jobs are ready");
    let claim = Claim {
        worker_id: WorkerId::new("w").expect("an id"),
        labels: LabelSet::default(),
        lease_ttl_secs: 60,
        wait_secs: 0,
        exclusive: false,
        ticket: None,
    };
    for _ in 0..JOBS {
        let claimed = engine.claims().claim(claim.clone()).await.expect("answered").expect("a job is ready");
        assert_eq!(claimed.job.secrets.values().map(SecretValue::reveal).collect::<Vec<_>>(), ["hunter22"]);
    }
    let reads = layer.seen().calls.iter().filter(|call| *call == "SSM.GetParameters").count();
    parameters.delete_parameter().name(&name).send().await.expect("a parameter of its own");
    own.remove().await;
    assert_eq!(reads, 1);
}
