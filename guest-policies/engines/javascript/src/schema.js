// The problems of settings by a JSON Schema, of which this knows what settings need. A keyword that it does not know is an
// error: what is not checked must not look as if it were.
((schema, settings) => {
  'use strict';
  const problems = [];
  const escaped = (key) => key.replaceAll('~', '~0').replaceAll('/', '~1');
  const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
  const isNumber = (value) => typeof value === 'number' || typeof value === 'bigint';
  const types = {
    object: isObject,
    array: Array.isArray,
    string: (value) => typeof value === 'string',
    number: isNumber,
    integer: (value) => typeof value === 'bigint' || Number.isInteger(value),
    boolean: (value) => typeof value === 'boolean',
    null: (value) => value === null,
  };
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const only = (is, holds) => (limit, value) => !is(value) || holds(value, limit);
  const keywords = {
    type: (type, value) => {
      const names = Array.isArray(type) ? type : [type];
      for (const name of names) {
        if (!Object.hasOwn(types, name)) {
          throw new TypeError(`settingsSchema: unknown type \`${name}\``);
        }
      }
      return names.some((name) => types[name](value)) || `expected ${names.join(' or ')}`;
    },
    const: (wanted, value) => same(wanted, value) || `expected ${JSON.stringify(wanted)}`,
    enum: (wanted, value) => wanted.some((one) => same(one, value)) || `expected one of ${wanted.map((one) => JSON.stringify(one)).join(', ')}`,
    minimum: only(isNumber, (value, limit) => value >= limit || `expected at least ${limit}`),
    maximum: only(isNumber, (value, limit) => value <= limit || `expected at most ${limit}`),
    minLength: only(types.string, (value, limit) => [...value].length >= limit || `expected at least ${limit} characters`),
    maxLength: only(types.string, (value, limit) => [...value].length <= limit || `expected at most ${limit} characters`),
    pattern: only(types.string, (value, limit) => new RegExp(limit, 'u').test(value) || `expected a text that matches ${limit}`),
    minItems: only(Array.isArray, (value, limit) => value.length >= limit || `expected at least ${limit} items`),
    maxItems: only(Array.isArray, (value, limit) => value.length <= limit || `expected at most ${limit} items`),
    uniqueItems: only(
      Array.isArray,
      (value, unique) => !unique || new Set(value.map((item) => JSON.stringify(item))).size === value.length || 'expected no item twice',
    ),
  };
  const ignored = ['$schema', '$comment', 'title', 'description', 'default', 'examples'];
  const nested = ['properties', 'required', 'additionalProperties', 'items'];
  const walk = (schema, value, pointer) => {
    if (schema === true) {
      return;
    }
    if (!isObject(schema)) {
      throw new TypeError('settingsSchema: expected an object');
    }
    for (const [key, limit] of Object.entries(schema)) {
      if (Object.hasOwn(keywords, key)) {
        const found = keywords[key](limit, value);
        if (found !== true) {
          problems.push({ pointer, message: found });
        }
      } else if (!ignored.includes(key) && !nested.includes(key)) {
        throw new TypeError(`settingsSchema: \`${key}\` is not supported; find wrong settings in \`check\``);
      }
    }
    const { properties = {}, required = [], additionalProperties = true, items = true } = schema;
    if (Array.isArray(value)) {
      value.forEach((item, index) => walk(items, item, `${pointer}/${index}`));
    }
    if (!isObject(value)) {
      return;
    }
    for (const key of required.filter((key) => !Object.hasOwn(value, key))) {
      problems.push({ pointer: `${pointer}/${escaped(key)}`, message: 'missing' });
    }
    for (const [key, member] of Object.entries(value)) {
      const at = `${pointer}/${escaped(key)}`;
      if (Object.hasOwn(properties, key)) {
        walk(properties[key], member, at);
      } else if (additionalProperties === false) {
        const known = Object.keys(properties).map((key) => `\`${key}\``);
        problems.push({ pointer: at, message: known.length === 0 ? 'unknown key' : `unknown key, expected ${known.join(', ')}` });
      } else {
        walk(additionalProperties, member, at);
      }
    }
  };
  walk(schema, settings, '');
  return problems;
})
