// hclwrite, the formatter within `tofu fmt`: prints what it makes of each file, as a list.

import { readFile } from "node:fs/promises";
import { format } from "@cdktn/hcl-tools";

const formatted = [];
for (const file of process.argv.slice(2)) {
  formatted.push(await format(await readFile(file, "utf8")));
}
// The formatter's own loop never ends, so the process is ended when this is written.
process.stdout.write(JSON.stringify(formatted), () => process.exit(0));
