// Serves the page over the stand-in, to look at it by hand. Usage: npm run stand-in
import { fileURLToPath } from "node:url";
import { demo } from "../browser/workflows.mjs";
import { StandIn } from "./server.mjs";

const server = new StandIn({ auth: process.argv.includes("--auth") });
await server.start();
for (let i = 1; i <= 3; i++) server.engine.worker(`runner-${i}`, i === 3 ? ["linux"] : []);
server.engine.submit(JSON.stringify(demo()), "application/json", true);
console.log(`A stand-in, not wfg (${fileURLToPath(import.meta.url)}): ${server.url}`);
if (server.auth) console.log(`Token: ${server.token("demo", ["read", "submit"])}`);
