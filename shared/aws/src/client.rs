//! The HTTP client of the AWS libraries. It uses `rustls` with `ring`, as the project's own client does. The libraries' default
//! would bring a second cryptographic library, `aws-lc`.

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The defaults of the AWS libraries, as they were on this date.
pub fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// These defaults, with [`by_environment`].
pub fn defaults() -> ConfigLoader {
    aws_config::defaults(behavior()).http_client(by_environment())
}

/// A client that uses the proxy that the environment names. All clients made of the same settings share connections and certificates.
pub fn by_environment() -> SharedHttpClient {
    through(ProxyConfig::from_env())
}

/// A client that uses no proxy.
pub fn direct() -> SharedHttpClient {
    through(ProxyConfig::disabled())
}

/// As the libraries make their default. The function that they document for other clients takes no proxy.
fn through(proxy: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned()).set_proxy_config(Some(proxy.clone()));
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}
