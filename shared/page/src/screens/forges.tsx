/** Links to forges, what a forge delivered, and the approval of a fork's commit. */

import { useEffect, useState } from "preact/hooks";
import { type Delivery, type LinkInfo, type Received, paths } from "../api.ts";
import { waiting } from "../approval.ts";
import { client, go, may, tryNow } from "../context.ts";
import { Button, Confirm, ErrorLine, Text, Time, sentence } from "../parts.tsx";
import { format } from "../route.ts";
import { clean, cut } from "../text.ts";
import { ListScreen, useList } from "./lists.tsx";

/** Deliveries that are read at first. */
const FIRST = 100;

/** The links. A single one is shown at once. */
export function Links() {
  const list = useList<LinkInfo>(paths.forges);
  const names = [...new Set(list.entries?.map((link) => link.name))];
  useEffect(() => {
    if (names.length === 1) go({ screen: "forges", link: names[0]! }, true);
  }, [names.join()]);
  return (
    <ListScreen<LinkInfo>
      title="Forges"
      what="link"
      list={list}
      heads={["Link", "Repository", "Forge", "Linked"]}
      empty={
        <>
          <h2>No link</h2>
          <p>
            <code>wfg forge add FILE</code> links a repository.
          </p>
        </>
      }
      row={(link) => (
        <tr key={`${link.name} ${link.repository}`}>
          <th scope="row">
            <a href={format({ screen: "forges", link: link.name })}>{clean(link.name)}</a>
          </th>
          <td>{clean(link.repository)}</td>
          <td>{link.forge}</td>
          <td>
            <Time ms={link.linked_at_ms} />
          </td>
        </tr>
      )}
    />
  );
}

/** What the forge of a link delivered, newest first. */
export function Deliveries({ link }: { link: string }) {
  const list = useList<Delivery>(paths.deliveries(link), FIRST);
  const [asked, setAsked] = useState<Delivery>();
  const [said, setSaid] = useState("");
  const [error, setError] = useState<Error>();
  const waits = waiting(list.entries ?? []);
  const approve = async ({ repository, ref, commit }: Delivery) => {
    setAsked(undefined);
    setSaid("");
    setError(undefined);
    try {
      const body = { repository, pull_request: Number(ref!.slice(1)), commit };
      const { value } = await client.post<Received>(paths.approve(link), body);
      setSaid(value.ignored ?? `approved: ${repository}${ref} at ${commit}`);
      tryNow();
    } catch (failure) {
      setError(failure as Error);
    }
  };
  return (
    <>
      <ListScreen<Delivery>
        title={`Deliveries of ${clean(cut(link, 200))}`}
        what="delivery"
        list={list}
        heads={["Time", "Repository", "Event", "Commit", "State", "What followed"]}
        about={
          <>
            {said && <p role="status">{sentence(clean(said))}</p>}
            <ErrorLine error={error} />
          </>
        }
        empty={<h2>Nothing came in yet</h2>}
        row={(each) => <Row key={each.id} delivery={each} waits={waits.has(each)} onApprove={() => setAsked(each)} />}
      />
      {asked && <Question link={link} delivery={asked} onYes={() => approve(asked)} onNo={() => setAsked(undefined)} />}
    </>
  );
}

function Row({ delivery, waits, onApprove }: { delivery: Delivery; waits: boolean; onApprove(): void }) {
  const { at_ms, repository, event, ref = "", commit, state, reason = "", workflows } = delivery;
  return (
    <tr>
      <td>
        <Time ms={at_ms} />
      </td>
      <td>{clean(repository)}</td>
      <td>
        {event} {clean(cut(ref, 200))}
      </td>
      <td>{commit && <code title={commit}>{commit.slice(0, 10)}</code>}</td>
      <td>
        {state}{" "}
        {waits && may("approve") && (
          <Button onClick={onApprove}>
            Approve
            <span class="sr">
              {" "}
              {clean(repository)}
              {ref}
            </span>
          </Button>
        )}
      </td>
      <td>
        {state === "held" && !waits
          ? "It waits no more: it was approved or closed, or another commit came."
          : clean(cut(reason, 1000))}
        {workflows.map((id) => (
          <div key={id}>
            <a href={format({ screen: "run", id })}>{id}</a>
          </div>
        ))}
      </td>
    </tr>
  );
}

/** Asks before a commit is approved: what it is, and where its code will run. */
function Question(props: { link: string; delivery: Delivery; onYes(): void; onNo(): void }) {
  const { repository, ref, commit } = props.delivery;
  const links = useList<LinkInfo>(paths.forges).entries;
  const link = links?.find((each) => each.name === props.link && each.repository === repository);
  return (
    <Confirm
      title={`Approve ${clean(repository)}${ref}?`}
      yes="Approve this commit"
      no="Leave it"
      onYes={props.onYes}
      onNo={props.onNo}
    >
      <p>
        The code of commit <code>{commit}</code> comes from a fork. It will run on workers with the labels of the rule
        for forks. Other commits need another approval.
      </p>
      {link && <Text text={link.file} />}
    </Confirm>
  );
}
