//! The file of a link to a forge: which repository, how requests are authorized, and what its runs may ask for.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use protocol::wire::{FORGE_TOKEN, FORGE_WEBHOOK};
use protocol::{Label, SecretName, limit};
use serde::{Deserialize, Serialize};

use super::checker::Checker;
use super::node::{Entry, Kind, Node, Path};
use super::pattern::Patterns;
use super::problem::{Position, Problem};
use super::report::{nearest, quote};

/// The kinds of forges.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ForgeKind {
    /// GitHub, or GitHub Enterprise with `url`.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
}

/// How requests to the forge are authorized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A GitHub App, with a key that only this program has.
    App {
        /// The App's id or its client id.
        id: String,
        /// The number of the installation.
        installation: u64,
    },
    /// A token of the forge, in this secret.
    Token(SecretName),
}

/// What a rule of `rights` is for.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// A push to a branch.
    Push,
    /// A push of a tag.
    Tag,
    /// A pull request whose commit is in the repository itself.
    PullRequest,
    /// An entry of a merge queue.
    MergeGroup,
    /// A pull request from a fork.
    Fork,
}

/// A rule of `rights`: what the runs of a kind of event may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The events. Empty: all but `fork`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub event: BTreeSet<Origin>,
    /// Patterns of the short name of a branch or a tag; for pull requests and queues, of the base branch. `None`: all.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub refs: Option<Patterns>,
    /// The labels that jobs may require.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<Label>,
    /// The secrets that jobs may name. Never any for a fork.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// Labels that every job requires in addition, so that only workers with them take it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub add_labels: BTreeSet<Label>,
    /// True if each commit of a fork waits for an approval.
    pub approve: bool,
}

/// A link's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFile {
    /// The kind of the forge.
    pub forge: ForgeKind,
    /// The repository's name, such as `acme/app`.
    pub repository: String,
    /// The forge's address without a slash at the end. `None`: the public one.
    pub url: Option<String>,
    /// How requests to the forge are authorized.
    pub access: Access,
    /// The secrets that sign deliveries: one, or two while one is replaced.
    pub webhook_secrets: BTreeSet<SecretName>,
    /// The rules, in their order.
    pub rights: Vec<Rule>,
}

const KEYS: &[&str] = &["forge", "repository", "url", "app", "token", "webhook_secret", "rights"];
const APP: &[&str] = &["id", "installation"];
const RULE: &[&str] = &["event", "ref", "labels", "secrets", "add_labels", "approve"];

/// Reads a link's file.
///
/// # Errors
/// Every problem there is, with its line.
pub fn link_from_yaml(text: &str) -> Result<LinkFile, Vec<Problem>> {
    super::read_yaml(text, |root, report| {
        let mut checker = Checker::new(report);
        let file = checker.link(root);
        if checker.report.is_empty() { file.ok_or_else(Vec::new) } else { Err(checker.report.into_problems()) }
    })
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Node> {
    super::keys::find(entries, key).map(|entry| &entry.value).filter(|node| !node.is_null())
}

impl Checker<'_> {
    fn link(&mut self, root: &Node) -> Option<LinkFile> {
        let path = Path::Root;
        let entries = self.mapping(root, path, "a mapping with `forge`, `repository`, `rights` and so on")?;
        self.known(entries, path, KEYS, "a link");
        let forge = self.link_key(entries, "forge", root, "write `forge: github`, `gitlab` or `gitea`");
        let forge = forge.and_then(|node| self.link_word(node, path.key("forge"), "`github`, `gitlab` or `gitea`"));
        let repository = self.link_key(entries, "repository", root, "write `repository: <owner>/<name>`");
        let repository = repository.and_then(|node| self.repository(node, path.key("repository")));
        let url = find(entries, "url").and_then(|node| self.url(node, path.key("url")));
        if forge == Some(ForgeKind::Gitea) && find(entries, "url").is_none() {
            self.report.add("missing_key", root.at, "url", "Gitea has no public address; write `url: https://<host>`");
        }
        let access = self.access(entries, forge, root.at);
        let secrets =
            self.link_key(entries, "webhook_secret", root, "write `webhook_secret: <SECRET>`, or a list of two");
        let webhook_secrets = secrets.map(|node| self.names("webhook_secret", node, path, "the name of a secret"));
        for name in webhook_secrets.iter().flatten() {
            self.named_like(name, FORGE_WEBHOOK, secrets.map_or(root.at, |node| node.at), path.key("webhook_secret"));
        }
        if let (Some(node), Some(count)) = (secrets, webhook_secrets.as_ref().map(BTreeSet::len))
            && !(1..=2).contains(&count)
        {
            let message = format!("{count} secrets; write one, or two while one is replaced");
            self.report.add("too_many", node.at, path.key("webhook_secret"), message);
        }
        let rights = self.link_key(entries, "rights", root, "write `rights: [{labels: [<label>]}]`");
        let rights = rights.map(|node| self.rights(node, path.key("rights"))).unwrap_or_default();
        Some(LinkFile {
            forge: forge?,
            repository: repository?,
            url,
            access: access?,
            webhook_secrets: webhook_secrets?,
            rights,
        })
    }

    fn access(&mut self, entries: &[Entry], forge: Option<ForgeKind>, at: Position) -> Option<Access> {
        let path = Path::Root;
        match (find(entries, "app"), find(entries, "token")) {
            (Some(node), None) => {
                let app = path.key("app");
                if forge.is_some_and(|forge| forge != ForgeKind::Github) {
                    self.report.add("bad_access", node.at, app, "only GitHub has Apps; write `token: <SECRET>`");
                }
                let keys = self.mapping(node, app, "`{id: <id>, installation: <number>}`")?;
                self.known(keys, app, APP, "`app`");
                let id = find(keys, "id").and_then(Node::text).map(str::to_owned);
                let installation = find(keys, "installation").and_then(|node| node.text()?.parse().ok());
                if id.is_none() || installation.is_none() {
                    let message = "an App has an `id` and the number of its `installation`";
                    self.report.add("missing_key", node.at, app, message);
                }
                Some(Access::App { id: id?, installation: installation? })
            }
            (None, Some(node)) => {
                let name = self.parsed(node, path.key("token"), "the name of a secret")?;
                self.named_like(&name, FORGE_TOKEN, node.at, path.key("token"));
                Some(Access::Token(name))
            }
            (app, _) => {
                let message = "write either `app: {id, installation}` or `token: <SECRET>`";
                self.report.add("bad_access", app.map_or(at, |node| node.at), "token", message);
                None
            }
        }
    }

    /// The functions on AWS may read a secret by the beginning of its name.
    fn named_like(&mut self, name: &SecretName, prefix: &str, at: Position, path: Path<'_>) {
        if !name.as_str().starts_with(prefix) {
            let message = format!(
                "the name of this secret must begin with {prefix}, as in {prefix}{}",
                name.as_str().to_uppercase()
            );
            self.report.add("bad_secret", at, path, message);
        }
    }

    fn rights(&mut self, node: &Node, path: Path<'_>) -> Vec<Rule> {
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "a list of rules");
            return Vec::new();
        };
        self.at_most(items.len(), limit!(PATTERNS), "rules", node.at, path);
        items.iter().enumerate().filter_map(|(index, item)| self.rule(item, path.index(index))).collect()
    }

    fn rule(&mut self, node: &Node, path: Path<'_>) -> Option<Rule> {
        let entries = self.mapping(node, path, "a rule, such as `{event: push, labels: [linux]}`")?;
        self.known(entries, path, RULE, "a rule");
        let events = find(entries, "event");
        let event: BTreeSet<Origin> = events.map(|node| self.words(node, path.key("event"))).unwrap_or_default();
        let refs = find(entries, "ref").map(|node| self.patterns(node, path.key("ref")));
        let labels =
            find(entries, "labels").map(|node| self.names("labels", node, path, "a label")).unwrap_or_default();
        let secrets = find(entries, "secrets");
        if let (Some(node), true) = (secrets, event.contains(&Origin::Fork)) {
            let message = "a fork's commit is never given secrets; write a rule without `fork` for them";
            self.report.add("secrets_for_forks", node.at, path.key("secrets"), message);
        }
        let at = secrets.map_or(node.at, |node| node.at);
        let secrets: BTreeSet<SecretName> =
            secrets.map(|node| self.names("secrets", node, path, "the name of a secret")).unwrap_or_default();
        for name in &secrets {
            self.not_of_a_forge(name.as_str(), at, path.key("secrets"));
        }
        let add = find(entries, "add_labels");
        let add_labels = add.map(|node| self.names("add_labels", node, path, "a label")).unwrap_or_default();
        let approve = find(entries, "approve");
        let approve = approve.is_none_or(|node| self.boolean(node, path.key("approve")));
        Some(Rule { event, refs, labels, secrets, add_labels, approve })
    }

    fn known(&mut self, entries: &[Entry], path: Path<'_>, keys: &[&'static str], of: &str) {
        for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            let near = nearest(&entry.key, keys.iter().copied(), &mut usize::MAX.clone());
            let advice = near
                .map_or_else(|| format!("its keys are {}", keys.join(", ")), |near| format!("did you mean `{near}`?"));
            let message = format!("{} is not a key of {of}; {advice}", quote(&entry.key));
            self.report.add("unknown_key", entry.key_at, path.key(&entry.key), message);
        }
    }

    fn link_key<'n>(&mut self, entries: &'n [Entry], key: &str, root: &Node, advice: &str) -> Option<&'n Node> {
        let found = find(entries, key);
        if found.is_none() {
            self.report.add("missing_key", root.at, key, format!("a link needs `{key}`; {advice}"));
        }
        found
    }

    fn link_word<T: FromStr>(&mut self, node: &Node, path: Path<'_>, expected: &str) -> Option<T> {
        let text = self.text(node, path, expected)?;
        let word = text.parse().ok();
        if word.is_none() {
            let message = format!("expected {expected}, but here is {}", quote(text));
            self.report.add("unknown_value", node.at, path, message);
        }
        word
    }

    fn words<T: FromStr + Ord>(&mut self, node: &Node, path: Path<'_>) -> BTreeSet<T> {
        let expected = "`push`, `tag`, `pull_request`, `merge_group` or `fork`";
        let items = self.one_or_many(node, path, expected);
        items.into_iter().filter_map(|(_, item)| self.link_word(item, path, expected)).collect()
    }

    fn parsed<T: TryFrom<String, Error: Display>>(&mut self, node: &Node, path: Path<'_>, expected: &str) -> Option<T> {
        let parsed = T::try_from(self.text(node, path, expected)?.to_owned());
        parsed.map_err(|error| self.report.add("bad_name", node.at, path, error.to_string())).ok()
    }

    fn names<T: TryFrom<String, Error: Display> + Ord>(
        &mut self,
        key: &str,
        node: &Node,
        path: Path<'_>,
        expected: &str,
    ) -> BTreeSet<T> {
        let path = path.key(key);
        let items = self.one_or_many(node, path, expected);
        self.at_most(items.len(), limit!(NAMED_PER_TOKEN), "names", node.at, path);
        items.into_iter().filter_map(|(_, item)| self.parsed(item, path, expected)).collect()
    }

    fn repository(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let text = self.text(node, path, "a repository, such as `acme/app`")?;
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        if text.len() > 255 || !text.contains('/') || !text.split('/').all(plain) {
            let message = format!("{} is not a repository; write `<owner>/<name>`", quote(text));
            self.report.add("bad_repository", node.at, path, message);
        }
        Some(text.to_owned())
    }

    /// An address over https, or over http of this machine.
    fn url(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let text = self.text(node, path, "an address, such as `https://git.example.com`")?.trim_end_matches('/');
        let after = |scheme| text.strip_prefix(scheme).filter(|rest| !rest.is_empty());
        let host = after("https://").or_else(|| after("http://")).unwrap_or_default();
        let host_only = host.split(['/', '?', '#']).next().unwrap_or_default();
        let name = host_only.strip_prefix('[').map_or_else(
            || host_only.split(':').next().unwrap_or_default(),
            |rest| rest.split(']').next().unwrap_or_default(),
        );
        let plain =
            !host.is_empty() && !host.contains(['?', '#', '@', '\\']) && host.chars().all(|c| c.is_ascii_graphic());
        if !plain {
            let message =
                format!("{} is not an address; write `https://<host>`, without user, `?` and `#`", quote(text));
            self.report.add("bad_url", node.at, path, message);
        } else if text.starts_with("http://") && !protocol::host::is_loopback(name) {
            self.report.add("bad_url", node.at, path, "http is allowed for this machine alone; write https");
        }
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "forge: github
repository: acme/app
token: FORGE_TOKEN_ACME
webhook_secret: FORGE_WEBHOOK_ACME
rights:
  - {event: [push, tag], ref: [main, \"v*\"], labels: [linux, production], secrets: [NPM_TOKEN]}
  - {event: fork, labels: [linux], add_labels: [untrusted], approve: true}
  - {labels: [linux]}
";

    fn codes(text: &str) -> Vec<(&'static str, Option<usize>)> {
        let problems = link_from_yaml(text).expect_err("problems");
        problems.iter().map(|problem| (problem.code, problem.at.map(|at| at.line))).collect()
    }

    #[test]
    fn a_link_is_read() {
        let file = link_from_yaml(GOOD).expect("good");
        assert_eq!((file.forge, file.repository.as_str(), file.url.as_deref()), (ForgeKind::Github, "acme/app", None));
        assert_eq!(file.access, Access::Token(SecretName::new("FORGE_TOKEN_ACME").expect("good")));
        assert_eq!(file.rights.len(), 3);
        assert_eq!(file.rights[0].event, BTreeSet::from([Origin::Push, Origin::Tag]));
        assert!(file.rights[2].event.is_empty() && file.rights[2].refs.is_none());
        let app = GOOD.replace("token: FORGE_TOKEN_ACME", "app: {id: Iv1.a, installation: 7}");
        let app = link_from_yaml(&app).expect("good").access;
        assert_eq!(app, Access::App { id: "Iv1.a".to_owned(), installation: 7 });
    }

    #[test]
    fn approval_is_needed_unless_the_file_says_otherwise() {
        let rule = |text: &str| link_from_yaml(&(GOOD.to_owned() + text)).expect("good").rights[3].approve;
        assert!(rule("  - {event: fork}\n"));
        assert!(!rule("  - {event: fork, approve: false}\n"));
    }

    #[test]
    fn what_is_wrong_with_a_link_is_reported_at_its_line() {
        assert_eq!(codes(&GOOD.replace("github", "hub")), [("unknown_value", Some(1))]);
        assert_eq!(
            codes(&GOOD.replace("webhook_secret", "webhook")),
            [("missing_key", Some(1)), ("unknown_key", Some(4))]
        );
        let hook = |secrets: &str| {
            codes(&GOOD.replace("webhook_secret: FORGE_WEBHOOK_ACME", &format!("webhook_secret: {secrets}")))
        };
        assert_eq!(hook("[]"), [("too_many", Some(4))]);
        assert_eq!(hook("[FORGE_WEBHOOK_A, FORGE_WEBHOOK_B, FORGE_WEBHOOK_C]"), [("too_many", Some(4))]);
        assert_eq!(hook("FORGE_TOKEN_ACME"), [("bad_secret", Some(4))]);
        assert_eq!(codes(&GOOD.replace("FORGE_TOKEN_ACME", "GITHUB_TOKEN")), [("bad_secret", Some(3))]);
        assert_eq!(codes(&GOOD.replace("NPM_TOKEN", "FORGE_TOKEN_ACME")), [("bad_secret", Some(6))]);
        assert_eq!(codes(&GOOD.replace("approve: true", "secrets: [A]")), [("secrets_for_forks", Some(7))]);
        assert_eq!(codes(&GOOD.replace("acme/app", "acme")), [("bad_repository", Some(2))]);
        assert_eq!(codes(&GOOD.replace("acme/app", "../app")), [("bad_repository", Some(2))]);
        assert_eq!(codes(&(GOOD.to_owned() + "app: {id: 1, installation: 2}\n")), [("bad_access", Some(9))]);
        assert_eq!(codes(&GOOD.replace("github", "gitea")), [("missing_key", Some(1))]);
        assert_eq!(codes(&GOOD.replace("event: fork", "event: forks")), [("unknown_value", Some(7))]);
    }

    #[test]
    fn an_address_is_https_or_of_this_machine() {
        let with = |url: &str| GOOD.replace("forge: github", &format!("forge: gitea\nurl: \"{url}\""));
        for good in
            ["https://git.example.com", "https://10.0.0.1:3000/git/", "http://127.0.0.1:3000", "http://localhost"]
        {
            let file = link_from_yaml(&with(good)).unwrap_or_else(|problems| panic!("{good}: {problems:?}"));
            assert_eq!(file.url.as_deref(), Some(good.trim_end_matches('/')));
        }
        for bad in ["http://git.example.com", "git.example.com", "https://", "https://a@b", "https://a?b", "ftp://a"] {
            assert_eq!(codes(&with(bad)), [("bad_url", Some(2))], "{bad}");
        }
    }
}
