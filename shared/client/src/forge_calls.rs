//! Calls about links to forges.

use http::Method;
use protocol::LinkName;
use protocol::forge::{ApproveCommit, DeliveryInfo, LinkInfo, Received, StartRef};

use super::calls::Page;
use super::{Client, ClientError};

const FORGES: &str = "forges";

impl Client {
    /// Links a repository, or replaces its link: the text of the link's file. The forge is asked for the repository. Refused with 422
    /// and every problem of the file.
    pub async fn put_link(&self, name: &LinkName, file: &str) -> Result<LinkInfo, ClientError> {
        let request = self.request(Method::PUT, "link", &["api", FORGES, name.as_str()]);
        request.text("application/yaml", file.to_owned()).read().await
    }

    /// All links.
    pub async fn links(&self) -> Result<Vec<LinkInfo>, ClientError> {
        self.request(Method::GET, "links", &["api", FORGES]).read().await
    }

    /// The links of this name: one, or one for each repository of an App.
    pub async fn link(&self, name: &LinkName) -> Result<Vec<LinkInfo>, ClientError> {
        self.request(Method::GET, "links", &["api", FORGES, name.as_str()]).read().await
    }

    /// Removes a link. `repository` is needed if several repositories share it.
    pub async fn remove_link(&self, name: &LinkName, repository: Option<&str>) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, "unlink", &["api", FORGES, name.as_str()]);
        request.query("repository", repository).send().await.map(drop)
    }

    /// Up to `limit` deliveries of a link, newest first, from `cursor` on. Reads as many pages as needed.
    pub async fn deliveries(
        &self,
        name: &LinkName,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<DeliveryInfo>, ClientError> {
        self.pages("deliveries", &["api", FORGES, name.as_str(), "deliveries"], None, limit, cursor).await
    }

    /// Lets one commit of a fork run. Refused with 409 and the head if the pull request has another one.
    pub async fn approve(&self, name: &LinkName, approve: &ApproveCommit) -> Result<Received, ClientError> {
        let request = self.request(Method::POST, "approve", &["api", FORGES, name.as_str(), "approve"]);
        request.json(approve).read().await
    }

    /// Starts what a push to this branch or tag would start.
    pub async fn start_ref(&self, name: &LinkName, start: &StartRef) -> Result<Received, ClientError> {
        let request = self.request(Method::POST, "start", &["api", FORGES, name.as_str(), "start"]);
        request.json(start).read().await
    }
}
