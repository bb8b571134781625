// Decides by a policy in CEL with another implementation: the rules in the first line, one run a line, one answer a line. The
// argument is a folder whose node_modules have `@marcbachmann/cel-js`.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const folder = resolve(process.argv[2]);
const found = createRequire(join(folder, 'here.js')).resolve('@marcbachmann/cel-js');
const { Environment } = await import(pathToFileURL(found));

const environment = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false, enableOptionalTypes: true });

// Whole numbers are `int`s, and all that a run has.
const seen = (value) => {
  if (typeof value === 'number') {
    return BigInt(value);
  }
  if (Array.isArray(value)) {
    return value.map(seen);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, seen(member)]));
};

let rules;
function answer({ run, token }) {
  const context = { run: seen(run), token: seen(token) };
  try {
    const applies = rules.filter(({ when }) => when(context));
    return applies.length === 0 ? 'abstain' : applies.map(({ message }) => `told ${message(context)}`);
  } catch (error) {
    if (process.env.SHOWN !== undefined) {
      console.error(run.number, error.message);
    }
    return 'fault';
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const read = JSON.parse(line);
  if (rules === undefined) {
    rules = read.map(({ when, message }) => ({ when: environment.parse(when), message: environment.parse(message) }));
  } else {
    process.stdout.write(JSON.stringify(answer(read)) + '\n');
  }
}
