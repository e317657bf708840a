//! Calls of workers past the gateway, at addresses that the server names.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use fetch::proxy_for;
use protocol::wire::Endpoints;

use crate::Client;
use crate::address::Address;
use crate::error::ClientError;

/// The addresses in use. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Direct(Arc<RwLock<Option<Addresses>>>);

/// A client for each address.
struct Addresses {
    named: Endpoints,
    claim: Client,
    complete: Client,
}

/// What a client of an address past the gateway knows of the server.
pub(crate) struct Gateway {
    /// The server at its own address.
    pub client: Client,
    addresses: Weak<RwLock<Option<Addresses>>>,
}

impl Gateway {
    /// Calls the server from now on, after an address didn't work.
    pub(crate) fn forget_endpoints(&self, error: &ClientError) {
        let Some(addresses) = self.addresses.upgrade() else { return };
        let forgotten = addresses.write().unwrap_or_else(PoisonError::into_inner).take();
        if forgotten.is_some() {
            tracing::warn!("{error}; calling {} instead", self.client.base);
        }
    }
}

/// Which of the two addresses serves a call.
#[derive(Clone, Copy)]
pub(crate) enum Serves {
    Claims,
    Reports,
}

impl Client {
    /// Sends claims and reports to these addresses from now on, or to the server. Clones of this client do the same. The token goes
    /// along, so an address without TLS is used only if the server has none either.
    ///
    /// If an address can't be reached, or something else than the server answers there, the call goes to the server, and so do all
    /// others until this is called again.
    pub fn use_endpoints(&self, endpoints: Option<&Endpoints>) {
        let mut direct = self.direct.0.write().unwrap_or_else(PoisonError::into_inner);
        if direct.as_ref().map(|addresses| &addresses.named) == endpoints {
            return;
        }
        *direct = endpoints.and_then(|named| match self.addresses(named) {
            Ok(addresses) => Some(addresses),
            Err(reason) => {
                tracing::warn!("the server names addresses that aren't used: {reason}");
                None
            }
        });
    }

    fn addresses(&self, named: &Endpoints) -> Result<Addresses, String> {
        Ok(Addresses { claim: self.at(&named.claim)?, complete: self.at(&named.complete)?, named: named.clone() })
    }

    /// A client of the same server at another address.
    fn at(&self, address: &str) -> Result<Self, String> {
        let Address { url, base, .. } = Address::parse(address).map_err(|reason| format!("{address}: {reason}"))?;
        let scheme = url.scheme_str();
        if !(scheme == Some("https") || scheme == Some("http") && self.base.starts_with("http:")) {
            return Err(format!("{address} doesn't begin with https://"));
        }
        let (http, proxy) = (self.http.clone(), proxy_for(&url));
        let client = Self { direct: Direct::default(), ..self.clone() };
        let gateway = Some(Arc::new(Gateway { client, addresses: Arc::downgrade(&self.direct.0) }));
        let authorization = self.authorization.clone();
        Ok(Self { http, base, proxy, authorization, direct: Direct::default(), gateway })
    }

    /// The client for a worker's call.
    pub(crate) fn serving(&self, serves: Serves) -> Self {
        let direct = self.direct.0.read().unwrap_or_else(PoisonError::into_inner);
        let client = direct.as_ref().map(|addresses| match serves {
            Serves::Claims => addresses.claim.clone(),
            Serves::Reports => addresses.complete.clone(),
        });
        client.unwrap_or_else(|| self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls_past(server: &str, address: &str) -> bool {
        let client = Client::new(server, Some("t1".to_owned())).expect("a URL");
        client.use_endpoints(Some(&Endpoints { claim: address.to_owned(), complete: address.to_owned() }));
        client.serving(Serves::Claims).gateway.is_some() && client.serving(Serves::Reports).gateway.is_some()
    }

    #[test]
    fn token_goes_to_no_address_without_tls_if_the_server_has_it() {
        assert!(calls_past("https://api.example.org", "https://abc.lambda-url.eu-west-1.on.aws/"));
        assert!(calls_past("http://localhost:3000", "http://localhost:3001"));
        for address in ["http://abc.example.org", "ftp://abc.example.org", "nonsense"] {
            assert!(!calls_past("https://api.example.org", address), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_no_longer_named_are_no_longer_used() {
        let client = Client::new("http://localhost:3000", None).expect("a URL");
        let named =
            Endpoints { claim: "http://localhost:3001".to_owned(), complete: "http://localhost:3002".to_owned() };
        client.use_endpoints(Some(&named));
        assert_eq!(client.clone().serving(Serves::Reports).base, "http://localhost:3002");
        client.use_endpoints(None);
        assert!(client.serving(Serves::Reports).gateway.is_none());
    }
}
