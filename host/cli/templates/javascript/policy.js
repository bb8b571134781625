// @ts-check
// Permits the definition workspace itself, and the workspaces on its list.
import { deny, permit, policy as exported } from './countersign.js';

/** @typedef {{ also?: string[] }} Settings */

export const policy = exported({
  name: 'NAME',
  version: '0.1.0',
  summary: 'Permits the definition workspace itself and the workspaces on its list',
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      also: {
        description: 'Workspaces that may use the definitions as well.',
        type: 'array',
        items: { type: 'string', pattern: '^[a-z0-9]+(-[a-z0-9]+)*$', maxLength: 63 },
      },
    },
  },

  /**
   * What is wrong with the settings. Called once; what it leaves behind, evaluations begin with.
   * @param {any} settings
   */
  check(settings) {
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
  },

  /**
   * Numbers of 64 bits are BigInt: `run.number`, `run.definition.version` and `token.issuedAt` are compared with `3n`.
   * @param {Settings} settings
   */
  evaluate(settings, run, _token) {
    const consumer = run.buildingBlock.workspace;
    if (consumer === run.definition.workspace || settings.also?.includes(consumer)) {
      return permit();
    }
    return deny('not-listed', `ask the platform team to put workspace \`${consumer}\` on the list`);
  },
});
