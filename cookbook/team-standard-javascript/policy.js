// The standard of a platform: runs of `team-` workspaces, with OpenTofu 1.8 or later. Machines alone destroy, and on
// weekdays in Berlin; a dry run gets ten minutes.
import { deny, localTime, permit } from 'countersign';

/** @type {unknown[]} */
const MACHINES = ['api-key', 'api-user'];
const NUMBER = '(0|[1-9][0-9]{0,8})';
const VERSION = new RegExp(`^v?${NUMBER}\\.${NUMBER}(\\.${NUMBER})?$`);

/** @param {string | undefined} version */
function isCurrent(version) {
  const [, major, minor] = VERSION.exec(version ?? '') ?? [];
  // What is no version has no numbers, and `undefined` is not greater than any.
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 8);
}

/** @type {(settings: object, run: import('countersign').Run, token: import('countersign').Token) => import('countersign').Verdict} */
export function evaluate(settings, run, token) {
  const destroys = run.behavior === 'destroy';
  const reasons = [];
  if (!run.buildingBlock.workspace.startsWith('team-')) {
    reasons.push({ code: 'not-a-team', message: 'expected a workspace whose name begins with `team-`' });
  }
  if (destroys && !MACHINES.includes(run.trigger?.authorKind)) {
    reasons.push({ code: 'destroy-by-machines', message: 'destroy by a pipeline with an API key' });
  }
  if (destroys && localTime('Europe/Berlin', token.issuedAt).weekday >= 6) {
    reasons.push({ code: 'destroy-on-weekdays', message: 'destroy from Monday to Friday, in Berlin' });
  }
  if (run.definition.implementation === 'terraform' && !isCurrent(run.facts['opentofu-version'])) {
    reasons.push({ code: 'opentofu-too-old', message: 'let the definition ask for OpenTofu 1.8 or later' });
  }
  if (reasons.length > 0) {
    return deny(reasons);
  }
  return run.behavior === 'detect' ? permit({ maxTtl: 600 }) : permit();
}
