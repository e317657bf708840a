/** The page: its frame, its banner, and the screen of the address. */

import { render } from "preact";
import { useState } from "preact/hooks";
import { type LinkInfo, paths } from "./api.ts";
import { access, announcement, client, route, signOut, start, trouble, tryNow, zone } from "./context.ts";
import { Button, useNow, usePoll } from "./parts.tsx";
import type { Route } from "./route.ts";
import { Deliveries, Links } from "./screens/forges.tsx";
import { Pools, Workers } from "./screens/lists.tsx";
import { NewRun } from "./screens/new-run.tsx";
import { RunScreen } from "./screens/run.tsx";
import { Runs } from "./screens/runs.tsx";
import { SignIn } from "./screens/sign-in.tsx";
import { useStore } from "./store.ts";
import { clean, cut } from "./text.ts";
import { about, moment } from "./time.ts";

function App() {
  const now = useStore(access);
  return (
    <>
      {now.kind === "open" && (
        <Top name={now.me.auth === "none" ? null : now.me.name} hasToken={now.me.auth !== "none"} />
      )}
      <Banner />
      {now.kind === "starting" && (
        <main>
          <p class="muted" role="status">
            Loading
          </p>
        </main>
      )}
      {now.kind === "signed-out" && <SignIn why={now.why} />}
      {now.kind === "open" && <Content mayRead={now.me.scopes.includes("read")} />}
      <Announcer />
    </>
  );
}

function Top({ name, hasToken }: { name: string | null; hasToken: boolean }) {
  const { screen } = useStore(route);
  const chosen = useStore(zone);
  const [hasLinks, setHasLinks] = useState(false);
  // Once, and a failure says nothing: a server without forges has no such entry.
  usePoll(0, [], async (signal, end) => {
    setHasLinks((await client.json<LinkInfo[]>(paths.forges, { signal })).value.length > 0);
    end();
  });
  const current = (is: boolean) => (is ? ("page" as const) : undefined);
  return (
    <header class="top">
      <a class="brand" href="#/runs">
        workflow-graph
      </a>
      <nav aria-label="Main">
        <a href="#/runs" aria-current={current(screen === "runs" || screen === "run" || screen === "new")}>
          Runs
        </a>
        <a href="#/workers" aria-current={current(screen === "workers")}>
          Workers
        </a>
        <a href="#/pools" aria-current={current(screen === "pools")}>
          Pools
        </a>
        {hasLinks && (
          <a href="#/forges" aria-current={current(screen === "forges")}>
            Forges
          </a>
        )}
      </nav>
      <span class="grow" />
      <label class="zone">
        Times in{" "}
        <select
          value={chosen}
          onChange={(event) => (zone.value = event.currentTarget.value === "utc" ? "utc" : "local")}
        >
          <option value="local">local time</option>
          <option value="utc">UTC</option>
        </select>
      </label>
      {hasToken && <span class="muted small">{name !== null && clean(name)}</span>}
      {hasToken && <Button onClick={signOut}>Sign out</Button>}
    </header>
  );
}

/** Says that the server is gone, since when, and when it is tried again. The data stay. */
function Banner() {
  const state = useStore(trouble);
  useNow(state !== null);
  const chosen = useStore(zone);
  if (!state) return null;
  const wait = state.next - Date.now();
  return (
    <div class="banner" role="alert">
      <span>
        {state.text} The page shows what was known at {moment(state.since, chosen, Date.now())}.
      </span>{" "}
      <span aria-live="off">{wait > 0 ? `Next try in ${about(wait + 999)}.` : "Trying again."}</span>
      <Button onClick={tryNow}>Try now</Button>
    </div>
  );
}

function Content({ mayRead }: { mayRead: boolean }) {
  const to = useStore(route);
  return (
    <main>
      {mayRead || to.screen === "new" ? (
        <Screen to={to} />
      ) : (
        <p class="notice" role="alert">
          Your token doesn't allow reading: it lacks the scope <code>read</code>.
        </p>
      )}
    </main>
  );
}

function Screen({ to }: { to: Route }) {
  switch (to.screen) {
    case "runs":
      return <Runs status={to.status} text={to.text} />;
    case "new":
      return <NewRun />;
    case "run":
      return <RunScreen key={to.id} route={to} />;
    case "workers":
      return <Workers />;
    case "pools":
      return <Pools />;
    case "forges":
      return to.link === undefined ? <Links /> : <Deliveries key={to.link} link={to.link} />;
    case "unknown":
      return (
        <div class="notice" role="alert">
          <h1>Unknown address</h1>
          <p>
            This page has nothing at <code>#{clean(cut(to.fragment, 200))}</code>.
          </p>
          <p>
            <a href="#/runs">All runs</a>
          </p>
        </div>
      );
  }
}

function Announcer() {
  return (
    <p class="sr" role="status" aria-live="polite">
      {useStore(announcement)}
    </p>
  );
}

render(<App />, document.getElementById("app")!);
void start();
