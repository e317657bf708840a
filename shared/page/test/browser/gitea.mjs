// A forge with the API of Gitea, for one repository: what docs/forges.md says is asked, and signed deliveries. It holds no git: a commit
// is an id, and all have the same workflow file.
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import http from "node:http";

export const REPOSITORY = "acme/app";
/** Secrets of the server for the link, by their names. */
export const SECRETS = { FORGE_WEBHOOK_ACME: "signs deliveries", FORGE_TOKEN_ACME: "asks the forge" };
/** A commit's id. */
export const commit = (letter) => letter.repeat(40);

const NUMBER = 7;
const FORK = 8;
const CI = "on: [push, pull_request]\njobs:\n  test: {run: echo checked}\n";
const described = { id: NUMBER, full_name: REPOSITORY, default_branch: "main", private: false };

export class Gitea {
  /** The states that were told: commit, context, state and address. */
  states = [];
  /** The text of a refusal. */
  refusal = "Not Found";
  #branches = new Map();
  #heads = new Map();
  #server = http.createServer((request, response) => this.#answer(request, response));

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  /** The file of a link. Forks' commits wait for an approval. */
  link() {
    const url = `http://127.0.0.1:${this.#server.address().port}`;
    return [
      "forge: gitea",
      `url: ${url}`,
      `repository: ${REPOSITORY}`,
      "token: FORGE_TOKEN_ACME",
      "webhook_secret: FORGE_WEBHOOK_ACME",
      "rights: [{event: fork, approve: true}, {event: push, ref: main}]",
      "",
    ].join("\n");
  }

  /** Moves a pull request of a fork, without saying so. */
  moves(number, head) {
    this.#heads.set(number, head);
  }

  /** Forgets a pull request. */
  drops(number) {
    this.#heads.delete(number);
  }

  /** Opens or moves a pull request of a fork, and delivers that to a server. */
  async proposes(server, number, head, action = "opened") {
    this.moves(number, head);
    await this.#deliver(server, "pull_request", { action, number, pull_request: { head: { sha: head } } });
  }

  /** Pushes a commit to a new branch. The delivery may call the repository by another name. */
  async pushes(server, branch, head, name = REPOSITORY) {
    this.#branches.set(branch, head);
    const payload = { ref: `refs/heads/${branch}`, before: "0".repeat(40), after: head, head_commit: null };
    await this.#deliver(server, "push", payload, name);
  }

  async #deliver(server, event, payload, name = REPOSITORY) {
    const body = JSON.stringify({
      ...payload,
      repository: { ...described, full_name: name },
      sender: { login: "eve" },
    });
    const answer = await fetch(`${server}api/forges/acme/hook`, {
      method: "POST",
      body,
      headers: {
        "Content-Type": "application/json",
        "X-Gitea-Delivery": randomUUID(),
        "X-Gitea-Event": event,
        "X-Gitea-Signature": createHmac("sha256", SECRETS.FORGE_WEBHOOK_ACME).update(body).digest("hex"),
      },
    });
    assert.equal(answer.status, 202, await answer.text());
  }

  async #answer(request, response) {
    let body = "";
    for await (const part of request) body += part;
    const { pathname } = new URL(request.url, "http://forge");
    const isKnown = request.headers.authorization === `token ${SECRETS.FORGE_TOKEN_ACME}`;
    const path = decodeURIComponent(pathname).replace(`/api/v1/repos/${REPOSITORY}`, "");
    const answer = isKnown ? this.#find(`${request.method} ${path}`, body) : undefined;
    response.writeHead(answer === undefined ? 404 : request.method === "POST" ? 201 : 200, {
      "Content-Type": typeof answer === "string" ? "text/plain" : "application/json",
    });
    response.end(typeof answer === "string" ? answer : JSON.stringify(answer ?? { message: this.refusal }));
  }

  #find(asked, body) {
    const [, kind, of] = asked.match(/^\w+ \/?(\w*)\/?(.*)$/);
    if (asked === "GET ") return described;
    if (asked === "GET /contents/.wfg")
      return [{ type: "file", path: ".wfg/ci.yml", sha: commit("0"), size: CI.length }];
    if (asked === "GET /raw/.wfg/ci.yml") return CI;
    if (kind === "branches" && this.#branches.has(of)) return { name: of, commit: { id: this.#branches.get(of) } };
    if (kind === "pulls" && this.#heads.has(Number(of))) return this.#pull(Number(of));
    if (asked.startsWith("POST /statuses/")) {
      this.states.push({ commit: of, ...JSON.parse(body) });
      return {};
    }
    return undefined;
  }

  #pull(number) {
    const side = (ref, sha, id) => ({ ref, sha, repo: { id } });
    const [head, base] = [side("topic", this.#heads.get(number), FORK), side("main", commit("a"), NUMBER)];
    return { number, state: "open", head, base, user: { login: "eve" } };
  }
}
