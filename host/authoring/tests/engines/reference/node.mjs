// Decides by a policy in JavaScript in node itself: one run a line, one answer a line. The arguments are a folder
// with policy.js, in which the module `countersign` is put, and the policy's settings.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const folder = process.argv[2];
const settings = JSON.parse(process.argv[3]);
const here = join(folder, 'node_modules', 'countersign');
mkdirSync(here, { recursive: true });
writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
writeFileSync(join(here, 'package.json'), '{"name": "countersign", "type": "module", "exports": "./index.js"}');
writeFileSync(
  join(here, 'index.js'),
  `const grant = (verdict) => (grant = {}) => ({ verdict, grant });
export const permit = grant('permit');
export const restrict = grant('restrict');
export const deny = (code, message) => (Array.isArray(code) ? code : [{ code, message }]);
export const abstain = () => 'abstain';
`,
);
const { evaluate } = await import(pathToFileURL(join(folder, 'policy.js')));

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const WHOLE = new Set(['number', 'version', 'issued_at']);
// As the contract has them.
const ORDER = ['reason', 'author', 'author_kind'];
const seen = (value) => {
  if (Array.isArray(value)) {
    return value.map(seen);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const names = Object.keys(value).sort((one, other) => ORDER.indexOf(one) - ORDER.indexOf(other));
  const entries = names.map((name) => [camel(name), WHOLE.has(name) ? BigInt(value[name]) : seen(value[name])]);
  return Object.fromEntries(entries);
};

function answer({ run, token }) {
  let found;
  try {
    found = evaluate(settings, seen(run), seen(token));
  } catch {
    return 'fault';
  }
  if (found === 'abstain') {
    return found;
  }
  if (Array.isArray(found)) {
    return found.map(({ code, message }) => `${code} ${message}`);
  }
  const { maxTtl = token.ttl_seconds, audiences = token.audiences, claims = {} } = found.grant;
  return {
    verdict: found.verdict,
    seconds: Math.min(maxTtl, token.ttl_seconds),
    audiences: audiences.filter((audience) => token.audiences.includes(audience)).sort(),
    claims,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + '\n');
}
