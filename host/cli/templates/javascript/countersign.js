// @ts-check
// Adapts a policy to the contract. Written by `countersign policy new`.

/** @typedef {import('countersign:policy/policy@1.0.0').Run} Run */
/** @typedef {import('countersign:policy/policy@1.0.0').Token} Token */
/** @typedef {import('countersign:policy/policy@1.0.0').Verdict} Verdict */
/** @typedef {import('countersign:policy/policy@1.0.0').Problem} Problem */

// A policy has no clock and no random numbers. The engine would return values frozen at build time, so asking for
// either throws.
/** @param {string} what @returns {() => never} */
const none = (what) => () => {
  throw new Error(`a policy has no ${what}: all that it may know is in run and token`);
};
const WithClock = Date;
/** @type {any} */
const scope = globalThis;
scope.Date = class extends WithClock {
  /** @param {any[]} parts */
  constructor(...parts) {
    if (parts.length === 0) {
      none('clock')();
    }
    // @ts-ignore: as many as there are
    super(...parts);
  }
  static now = none('clock');
};
Math.random = none('random numbers');
for (const [name, value] of Object.entries({
  performance: { now: none('clock') },
  crypto: { getRandomValues: none('random numbers'), randomUUID: none('random numbers') },
})) {
  Object.defineProperty(scope, name, { value });
}

/** @type {Run} */
const SAMPLE_RUN = {
  id: 'b3116611-e08b-4b00-91c5-10365b25a6ef',
  number: 1n,
  behavior: 'apply',
  buildingBlock: {
    id: '68ce5455-2a4a-4a4b-a324-6a6c18cab85a',
    workspace: 'my-workspace',
    project: 'my-project',
    platform: 'my-platform.my-location',
    parents: [],
  },
  definition: {
    id: 'b23cfb9a-6974-444f-9d33-62134a632373',
    workspace: 'my-workspace',
    version: 1n,
    implementation: 'terraform',
  },
  facts: [],
};

/** @type {Token} */
const SAMPLE_TOKEN = {
  subject:
    'system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373',
  audiences: ['aws-workload-identity-provider:demo', 'api://AzureADTokenExchange'],
  ttlSeconds: 7200,
  issuedAt: 1790000000n,
};

/** @typedef {{ maxTtl?: number, audiences?: string[], claims?: Record<string, string> }} Grant */

/**
 * @param {Grant} grant
 * @returns {import('countersign:policy/policy@1.0.0').Grant}
 */
function contractGrant({ maxTtl, audiences, claims = {} }) {
  return { maxTtl, audiences, claims: Object.entries(claims).map(([name, value]) => ({ name, value })) };
}

/**
 * The token may be issued. A grant narrows it: the maximum TTL in seconds, the audiences to keep.
 * @param {Grant} [grant]
 * @returns {Verdict}
 */
export function permit(grant = {}) {
  return { tag: 'permit', val: contractGrant(grant) };
}

/**
 * If the token is issued, then within the grant: narrows as a permit does, and never counts as one. The answer of a
 * policy that limits tokens and does not say who may have them.
 * @param {Grant} [grant]
 * @returns {Verdict}
 */
export function restrict(grant = {}) {
  return { tag: 'restrict', val: contractGrant(grant) };
}

/**
 * The token must not be issued.
 * @param {string} code For machines: lower-case letters, digits and dashes; it stays the same over versions.
 * @param {string} message For people: what was wrong, and what would be right.
 * @returns {Verdict}
 */
export function deny(code, message) {
  return { tag: 'deny', val: [{ code, message }] };
}

/**
 * The policy has nothing to say about this run.
 * @returns {Verdict}
 */
export function abstain() {
  return { tag: 'abstain' };
}

/**
 * A grant never widens: the maximum TTL is at most the requested one, and audiences are among the requested ones.
 * @param {Verdict} verdict @param {Token} token
 * @returns {Verdict}
 */
function narrowed(verdict, token) {
  if (verdict.tag !== 'permit' && verdict.tag !== 'restrict') {
    return verdict;
  }
  const { maxTtl, audiences, claims } = verdict.val;
  return {
    tag: verdict.tag,
    val: {
      maxTtl: maxTtl === undefined ? undefined : Math.min(maxTtl, token.ttlSeconds),
      audiences: audiences?.filter((audience) => token.audiences.includes(audience)),
      claims,
    },
  };
}

/**
 * Makes the contract's functions of a policy. A thrown error is a fault, and refuses.
 * @param {{
 *   name: string,
 *   version: string,
 *   summary: string,
 *   settingsSchema?: object,
 *   check?: (settings: any) => Problem[],
 *   evaluate: (settings: any, run: Run, token: Token) => Verdict,
 * }} policy
 */
export function policy({ name, version, summary, settingsSchema, check, evaluate }) {
  /** @type {any} */
  let settings;
  return {
    describe() {
      const schema = settingsSchema === undefined ? '' : JSON.stringify(settingsSchema);
      return { name, version, summary, settingsSchema: schema };
    },

    /** @param {string} json */
    configure(json) {
      settings = JSON.parse(json);
      const problems = check?.(settings) ?? [];
      if (problems.length > 0) {
        // The contract's error result: the bindings return what is thrown.
        throw problems;
      }
      // Warms up whatever the engine does lazily: every evaluation starts from the memory that this leaves behind.
      try {
        evaluate(settings, SAMPLE_RUN, SAMPLE_TOKEN);
      } catch {
        // The verdict on the sample does not matter.
      }
    },

    /** @param {Run} run @param {Token} token */
    evaluate(run, token) {
      return narrowed(evaluate(settings, run, token), token);
    },
  };
}
