/** Reads server-sent events from a `fetch`: `EventSource` can't send a token. */

export interface ServerEvent {
  /** The event's type; `message` if the server names none. */
  type: string;
  data: string;
  /** The last id that the server sent, with this event or before. */
  id: string;
}

/** Takes the text of a stream in pieces of any length, and returns the events that are complete. */
export class EventParser {
  /** The last id that the server sent. */
  lastId = "";
  /** The milliseconds after which the server asks to be asked again. */
  retry: number | undefined;
  #rest = "";
  #type = "";
  #data: string[] = [];
  #id: string | undefined;
  #isFirst = true;

  push(text: string): ServerEvent[] {
    let all = this.#rest + text;
    if (this.#isFirst && all !== "") {
      all = all.replace(/^\ufeff/, "");
      this.#isFirst = false;
    }
    const events: ServerEvent[] = [];
    // A CR at the end may be half of a CR LF, so it waits.
    const lines = all.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop()!;
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return undefined;
  }

  #dispatch(): ServerEvent | undefined {
    // An id counts once its event is whole: the rest of a cut event is asked for again.
    if (this.#id !== undefined) this.lastId = this.#id;
    const event = { type: this.#type || "message", data: this.#data.join("\n"), id: this.lastId };
    const isEmpty = this.#data.length === 0;
    this.#type = "";
    this.#data = [];
    this.#id = undefined;
    return isEmpty ? undefined : event;
  }
}
