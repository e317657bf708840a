/**
 * The token of this tab, in `sessionStorage`. A new tab asks the others over a `BroadcastChannel`. There is no cookie: ports of one
 * host share cookies, and other sites could use one.
 */

/** What the tabs say to each other. */
type Message = { kind: "ask" } | { kind: "token"; token: string } | { kind: "out" };

/** The part of `BroadcastChannel` that is used. */
export interface Channel {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
}

/** The part of `Storage` that is used. */
export interface Memory {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const KEY = "wfg-token";

export class Tokens {
  #memory: Memory;
  #channel: Channel | undefined;
  #answered: ((token: string) => void) | undefined;
  /** Called when another tab signs out, or gives its token to this tab, which had none. */
  onChange: ((token: string | null) => void) | undefined;

  constructor(memory: Memory, channel: Channel | undefined) {
    this.#memory = memory;
    this.#channel = channel;
    if (channel) channel.onmessage = (event) => this.#receive(event.data);
  }

  get token(): string | null {
    return this.#memory.getItem(KEY);
  }

  /** Keeps a token, and gives it to tabs that have none. */
  signIn(token: string): void {
    this.#memory.setItem(KEY, token);
    this.#send({ kind: "token", token });
  }

  /** Forgets the token in every tab. */
  signOut(): void {
    this.#memory.removeItem(KEY);
    this.#send({ kind: "out" });
  }

  /** Forgets the token in this tab. The others find out by themselves that it is over. */
  forget(): void {
    this.#memory.removeItem(KEY);
  }

  /** Asks the other tabs. Gives up after `ms` milliseconds: no tab need answer. */
  ask(ms: number): Promise<string | null> {
    if (!this.#channel) return Promise.resolve(null);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#answered = undefined;
        resolve(null);
      }, ms);
      this.#answered = (token) => {
        clearTimeout(timer);
        resolve(token);
      };
      this.#send({ kind: "ask" });
    });
  }

  #send(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #receive(data: unknown): void {
    const message = data as Message;
    const own = this.token;
    if (message.kind === "ask" && own !== null) this.#send({ kind: "token", token: own });
    if (message.kind === "token" && own === null && typeof message.token === "string") {
      this.#memory.setItem(KEY, message.token);
      const answered = this.#answered;
      this.#answered = undefined;
      if (answered) answered(message.token);
      else this.onChange?.(message.token);
    }
    if (message.kind === "out" && own !== null) {
      this.#memory.removeItem(KEY);
      this.onChange?.(null);
    }
  }
}
