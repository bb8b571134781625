(() => {
  'use strict';
  const none = (what, instead) => () => {
    throw new Error(`a policy has no ${what}: ${instead}`);
  };
  const noClock = none('clock', 'the time is token.issuedAt');
  const noRandom = none('random numbers', 'all that it may know is in run and token');
  const Original = Date;
  const { construct } = Reflect;
  function PolicyDate(...parts) {
    if (new.target === undefined || parts.length === 0) {
      noClock();
    }
    return construct(Original, parts, new.target);
  }
  const define = (object, name, value) =>
    Object.defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
  Object.defineProperty(PolicyDate, 'name', { value: 'Date' });
  Object.defineProperty(PolicyDate, 'length', { value: 7 });
  Object.defineProperty(PolicyDate, 'prototype', { value: Original.prototype, writable: false });
  define(PolicyDate, 'UTC', Original.UTC);
  define(PolicyDate, 'parse', Original.parse);
  define(PolicyDate, 'now', noClock);
  // Otherwise a date would lead back to the clock.
  define(Original.prototype, 'constructor', PolicyDate);
  define(globalThis, 'Date', PolicyDate);
  define(Math, 'random', noRandom);
  define(globalThis, 'performance', { now: noClock });
  define(globalThis, 'crypto', { getRandomValues: noRandom, randomUUID: noRandom });
  // Their answers depend on when memory is collected.
  delete globalThis.WeakRef;
  delete globalThis.FinalizationRegistry;
})();
