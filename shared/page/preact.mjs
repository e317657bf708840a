// Preact for the build: from its sources, without what the page doesn't use. That is a fifth of Preact, or 1.1 KB by gzip.
import { readFileSync } from "node:fs";
import path from "node:path";

/** Conditions in the sources that are false on this page. The code behind them is left out. */
const NEVER = [
  // Class components.
  "isClassComponent",
  "c.componentWillUpdate",
  "c.getChildContext",
  "r.componentWillUnmount",
  "component.componentDidCatch",
  // Contexts.
  "provider",
  // Portals.
  "newProps._parentDom",
  "vnode.props._parentDom",
  "parentVNode.props._parentDom",
  // Elements of a server that are taken over.
  "isHydrating",
  "excessDomChildren",
  "resumed",
  // Components that suspend.
  "oldVNode._flags & MODE_SUSPENDED",
  "e && e.then",
  // HTML as text.
  "i == 'dangerouslySetInnerHTML'",
  "newHtml",
  "oldHtml",
  // Elements other than those of HTML, and some of these.
  "nodeType == 'svg'",
  "nodeType == 'math'",
  "nodeType == 'foreignObject'",
  "namespace == SVG_NAMESPACE",
  "namespace == MATH_NAMESPACE",
  "nodeType == 'progress'",
  "nodeType == 'template'",
  // Others that listen to what Preact does.
  "options._hook",
  "options._skipEffects",
  "options.vnode",
  "options.event",
  "oldBeforeDiff",
  "oldBeforeRender",
  "oldAfterDiff",
  "oldCommit",
  "oldBeforeUnmount",
  "oldRoot",
  "prevScu",
];

/** Where a condition is asked for, not where it is declared, set or passed on. */
const ASKED = NEVER.map((condition) => {
  const text = condition.replace(/[.&]/g, "\\$&");
  return new RegExp(`(?<=[(!:=?&|]\\s*)\\b${text}(?=\\s*(\\)|&&|\\|\\||\\?))`, "g");
});

/** A plugin of esbuild. It fails if a version of Preact doesn't ask for each of the conditions. */
export function preact(root) {
  const sources = path.join(root, "node_modules/preact");
  const left = new Set(ASKED);
  return {
    name: "preact",
    setup(build) {
      build.onResolve({ filter: /^preact(\/hooks)?$/ }, ({ path: name }) => ({
        path: path.join(sources, name.slice("preact".length), "src/index.js"),
      }));
      build.onLoad({ filter: /[\\/]node_modules[\\/]preact[\\/]/ }, ({ path: file }) => {
        let contents = readFileSync(file, "utf8");
        for (const asked of ASKED) {
          const without = contents.replace(asked, "false");
          if (without !== contents) left.delete(asked);
          contents = without;
        }
        return { contents };
      });
      build.onEnd(({ errors }) => {
        const missing = NEVER.filter((_, i) => left.has(ASKED[i]));
        if (errors.length === 0 && missing.length > 0) throw new Error(`Preact never asks for ${missing.join(", ")}`);
      });
    },
  };
}
