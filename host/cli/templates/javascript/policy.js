// @ts-check
// Permits the definition workspace itself, and the workspaces on its list.
import { deny, permit } from 'countersign';

/** @typedef {{ also?: string[] }} Settings */

/**
 * Returns the problems of the settings. Called once, before any evaluation.
 * @param {any} settings
 * @returns {import('countersign').Problem[]}
 */
export function check(settings) {
  for (const key of Object.keys(settings)) {
    if (key !== 'also') {
      return [{ pointer: `/${key}`, message: 'unknown key, expected `also`' }];
    }
  }
  const also = settings.also ?? [];
  if (!Array.isArray(also) || also.some((workspace) => typeof workspace !== 'string')) {
    return [{ pointer: '/also', message: 'expected a list of workspaces' }];
  }
  return [];
}

/**
 * Decides on one run. It says who may have a token, so it permits; a policy that only limits tokens answers
 * `restrict({ maxTtl: 900 })`.
 *
 * 64-bit numbers are BigInt: compare `run.number`, `run.definition.version` and `token.issuedAt` with `3n`.
 * @param {Settings} settings
 * @param {import('countersign').Run} run
 * @param {import('countersign').Token} _token
 * @returns {import('countersign').Verdict}
 */
export function evaluate(settings, run, _token) {
  const consumer = run.buildingBlock.workspace;
  if (consumer === run.definition.workspace || settings.also?.includes(consumer)) {
    return permit();
  }
  return deny('not-listed', `ask the platform team to put workspace \`${consumer}\` on the list`);
}

// What a policy compares with, in the contract's words, which are not the run object's ('apply', not 'APPLY'):
//   run.behavior                   'apply', 'detect' (a dry run), 'destroy'
//   run.definition.implementation  'manual', 'terraform', 'github-workflow', 'gitlab-cicd', 'azure-devops', 'other'
//   run.trigger?.authorKind        'user', 'api-key', 'api-user', 'system', 'other'
// Absent, that is undefined: run.trigger of a run that nobody triggered, run.trigger.reason, run.runner,
// run.buildingBlock.project and run.buildingBlock.platform. run.facts['name'] is a text or undefined.
