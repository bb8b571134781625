// The parts of JavaScript that policies use, told in the reason of a denial: the engine and node must say the same.
import { abstain, deny, permit, restrict } from 'countersign';

const FORM = /^(?<team>team|my|abstain)(?:-(?<rest>[a-z-]+))?$/u;
const CEILINGS = new Map([['apply', 3600], ['detect', 600], ['destroy', 900]]);

class Word {
  #text;
  static made = 0;
  constructor(text) {
    this.#text = text;
  }
  get text() {
    return this.#text;
  }
  [Symbol.toPrimitive](hint) {
    return hint === 'number' ? this.#text.length : `<${this.#text}>`;
  }
}

class Loud extends Word {
  get text() {
    return super.text.toUpperCase();
  }
}

function* parts(text) {
  for (const part of text.split('-')) {
    yield part;
  }
}

const texts = ({ buildingBlock: { workspace: owner }, trigger }, token) => [
  () => owner.padStart(14, '.').padEnd(16, '*'),
  () => [...parts(owner)].map((part) => part[0].toUpperCase() + part.slice(1).toLowerCase()).join(' '),
  () => owner.replace(/-(\w)/g, (_, letter, at) => `${letter.toUpperCase()}${at}`),
  () => owner.replaceAll('-', '--').split(/--?/).reverse().join(),
  () => [...owner.matchAll(/[aeiou]+/g)].map((match) => match.index + match[0]).join(';'),
  () => owner.match(FORM)?.groups?.rest ?? 'none',
  () => String(owner.search(/(?<=m)y|(?<!t)e/)),
  () => `${owner.at(-1)}${owner.charCodeAt(0)}${owner.codePointAt(1)}${owner.indexOf('team')}${owner.lastIndexOf('-')}`,
  () => `${owner < 'team-b'}${owner.startsWith('team', 0)}${owner.includes('-a')}`,
  () => (trigger?.author ?? ' absent ').trim(),
  () => [...(trigger?.author ?? '')].length + '/' + (trigger?.author ?? '').length,
  () => JSON.stringify({ b: trigger ?? null, a: [owner, undefined, token.audiences], c: undefined, 2: 1, 1: 2 }),
  () => JSON.stringify(JSON.parse('{"z":[1,2.50,1e3,-0,"\\u00e4\\n"],"a":null}'), (key, value) => (key === 'a' ? 7 : value)),
  () => encodeURIComponent(trigger?.author ?? 'a&b=c ü') + decodeURIComponent('%C3%A4'),
  () => owner.split('').sort().join('') + [...new Set(owner)].join(''),
];

const numbers = (run, token) => {
  const number = Number(run.number);
  const ttl = token.ttlSeconds;
  return [
    () => String(number / 7),
    () => (number / 3).toFixed(3),
    () => (number / 3).toPrecision(5),
    () => (number + 0.5).toExponential(2),
    () => number.toString(36) + ttl.toString(2),
    () => `${0.1 + 0.2}|${1e21 + number}|${1 / (number + 1)}|${-0}|${number % 7}|${-number % 7}`,
    () => `${number << 5}|${number >>> 3}|${~number}|${number ^ ttl}|${(2 ** 31 + number) | 0}`,
    () => `${Math.round(number / 7)}|${Math.floor(-number / 7)}|${Math.trunc(number / 7)}|${Math.max(ttl, number)}`,
    () => `${Math.sqrt(number)}|${Math.clz32(number)}|${Math.imul(number, ttl)}|${Math.sign(-number)}|${Math.fround(number / 3)}`,
    () => `${parseInt('12px', 10)}|${parseFloat('3.14.15')}|${Number('')}|${Number('0x1f')}|${Number('1_0')}|${+[]}`,
    () => `${run.number ** 3n % 1000n}|${BigInt.asIntN(8, run.number)}|${BigInt(ttl) - token.issuedAt}|${run.number > ttl}`,
    () => `${Number.isSafeInteger(number)}|${Number.EPSILON > 0}|${isNaN('x')}|${[10, 9, 1].sort()}|${[10, 9, 1].sort((a, b) => a - b)}`,
  ];
};

const lists = ({ buildingBlock: { parents, workspace }, behavior }, token) => {
  const sizes = { ...parents.map(({ definition }) => definition.slice(0, 4)), length: parents.length };
  const [first, ...rest] = token.audiences;
  const grouped = token.audiences.reduce((all, one) => ({ ...all, [one.split(':')[0]]: (all[one.split(':')[0]] ?? 0) + 1 }), {});
  let text = '';
  outer: for (const one of [1, 2, 3]) {
    for (const other of [1, 2, 3]) {
      if (other === 2) continue outer;
      text += one * other;
    }
  }
  return [
    () => Object.entries(sizes).flat().join(),
    () => `${first}+${rest.length}${Array.from({ length: 3 }, (_, at) => at ** 2)}`,
    () => JSON.stringify(grouped),
    () => text + [3, 1, 2].toSorted?.().join('') + [1, [2, [3, [4]]]].flat(Infinity).length,
    () => [[1, 'b'], [1, 'a'], [0, 'c']].sort(([one], [other]) => one - other).join('/'),
    () => `${[1, 2, 3].findLast((one) => one < 3)}${[1, , 3].length}${[NaN].includes(NaN)}${[NaN].indexOf(NaN)}`,
    () => `${Object.hasOwn({ a: 1 }, 'a')}${'a' in { a: 1 }}${delete { a: 1 }.a}${typeof null}${typeof run}${void 0}`,
    () => new Word(workspace) + '' + +new Word(workspace) + new Loud(behavior).text + (new Loud('a') instanceof Word),
    () => [...CEILINGS].map(([word, most]) => word + most).join() + CEILINGS.get(behavior),
    () => switched(behavior) + tried(behavior),
  ];
};

function switched(behavior) {
  switch (behavior) {
    case 'apply':
      return 1;
    case 'detect':
    // falls through
    default:
      return [behavior].concat(['x', ['y']]).length;
  }
}

function tried(behavior) {
  try {
    if (behavior === 'destroy') {
      throw new RangeError('no');
    }
    null.there;
  } catch ({ name, constructor }) {
    return `${name}${constructor === RangeError}`;
  } finally {
    Word.made += 1;
  }
}

const dates = (token) => {
  const when = new Date(Number(token.issuedAt) * 1000);
  const month = new Date(Date.UTC(when.getUTCFullYear(), when.getUTCMonth() + 1, 0));
  return [
    () => when.toISOString(),
    () => `${when.getUTCDay()} ${when.getUTCHours()} ${when.getTime() % 86400000} ${month.getUTCDate()}`,
    () => `${Date.parse('2026-03-29T01:59:59+02:00')}|${new Date('not a date').getTime()}|${new Date(8.65e15).getTime()}`,
    () => JSON.stringify(new Date(2026, 1, 29, 25)) + new Date(0).toUTCString(),
  ];
};

export function evaluate(settings, run, token) {
  const { workspace: owner } = run.buildingBlock;
  if (token.ttlSeconds === 901) {
    return permit({ maxTtl: CEILINGS.get(run.behavior), claims: { team: owner.split('-')[0] } });
  }
  if (token.ttlSeconds === 1801) {
    return restrict({ audiences: token.audiences.filter((audience) => !audience.startsWith('https:')) });
  }
  if (token.ttlSeconds === 599) {
    return run.trigger.authorKind === 'user' ? abstain() : deny('kind', run.trigger.authorKind);
  }
  const told = [...texts(run, token), ...numbers(run, token), ...lists(run, token), ...dates(token)];
  // Which of them is told turns with the number of the run.
  const at = Number(run.number % BigInt(told.length));
  return deny('told', `${at} ${told[at]()}`);
}
