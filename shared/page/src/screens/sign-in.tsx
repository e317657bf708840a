/** Asks for a token. Afterwards the address is where it was. */

import { useEffect, useState } from "preact/hooks";
import { Refused } from "../client.ts";
import { setTitle, signIn } from "../context.ts";
import { sentence } from "../parts.tsx";

export function SignIn({ why }: { why: string }) {
  const [token, setToken] = useState("");
  const [error, setError] = useState("");
  const [isSending, setSending] = useState(false);
  useEffect(() => setTitle("Sign in"), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    setSending(true);
    setError("");
    try {
      await signIn(token.trim());
    } catch (failure) {
      const isUnknown = failure instanceof Refused && failure.status === 401;
      setError(
        isUnknown
          ? "The server doesn't know this token. It may have expired, or been revoked."
          : sentence((failure as Error).message),
      );
      setSending(false);
    }
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <h1>Sign in</h1>
        {why !== "" && <p role="status">{why}</p>}
        <label>
          Token
          <input
            type="password"
            autocomplete="off"
            required
            value={token}
            aria-describedby="token-help"
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        <p id="token-help" class="muted">
          <code>wfg token create NAME --scopes read,submit</code> makes one.
        </p>
        {error !== "" && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <button type="submit" class="primary" disabled={isSending || token.trim() === ""}>
          Sign in
        </button>
      </form>
    </main>
  );
}
