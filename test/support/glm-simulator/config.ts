/** Reads accounts and configuration files; what is wrong is said with its path. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Facts } from './facts.ts';
import { isFields, type Fields } from './surfaces/surface.ts';
import { defaultKnobs, type AccountConfig, type FaultRule, type KnobsPatch, type SimulatorConfig } from './terms.ts';

const ACCOUNT_FIELDS = [
  'id',
  'keys',
  'billing',
  'region',
  'plan',
  'planExpired',
  'windows',
  'models',
  'concurrency',
  'releaseLagMs',
  'rate',
  'balanceUsd',
  'promptUnit',
  'weightedPrompts',
  'mcpUsed',
];
const CONFIG_FIELDS = ['region', 'clock', 'knobs', 'accounts'];

function refuseUnknown(value: Fields, known: string[], at: string): void {
  const unknown = Object.keys(value).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new TypeError(`${at}: unknown ${unknown.join(', ')}`);
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

function checkWindow(window: unknown, at: string): void {
  if (!isFields(window) || !isText(window['name'])) throw new TypeError(`${at}: name is missing`);
  if (window['resource'] !== 'Prompts' && window['resource'] !== 'Credits')
    throw new TypeError(`${at}.resource must be Prompts or Credits`);
  for (const name of ['amount', 'durationMs'])
    if (typeof window[name] !== 'number' || window[name] < 0) throw new TypeError(`${at}.${name} must be a number`);
}

const BILLINGS: unknown[] = ['CodingPlan', 'TeamSeat', 'PayAsYouGo'];

function checkPurchase({ plan, billing }: Fields, at: string, facts: Facts): void {
  if (plan !== undefined && !(isText(plan) && Object.hasOwn(facts.plans, plan)))
    throw new TypeError(`${at}.plan must be one of ${Object.keys(facts.plans).join(', ')}`);
  if (billing !== undefined && !BILLINGS.includes(billing))
    throw new TypeError(`${at}.billing must be one of ${BILLINGS.join(', ')}`);
}

/** An account of a configuration or of the control API. */
export function parseAccount(value: unknown, at: string, facts: Facts): AccountConfig {
  if (!isFields(value)) throw new TypeError(`${at} must be an object`);
  refuseUnknown(value, ACCOUNT_FIELDS, at);
  const { id, keys, windows } = value;
  if (!isText(id)) throw new TypeError(`${at}.id must be a text`);
  if (!Array.isArray(keys) || !keys.every(isText)) throw new TypeError(`${at}.keys must be a list of texts`);
  checkPurchase(value, at, facts);
  if (windows !== undefined && !Array.isArray(windows)) throw new TypeError(`${at}.windows must be a list`);
  for (const [index, window] of (windows ?? []).entries()) checkWindow(window, `${at}.windows[${index}]`);
  return value as unknown as AccountConfig;
}

function parseConfig(value: unknown, facts: Facts): SimulatorConfig {
  if (!isFields(value)) throw new TypeError('the configuration must be an object');
  refuseUnknown(value, CONFIG_FIELDS, 'configuration');
  const { accounts } = value;
  if (accounts !== undefined && !Array.isArray(accounts)) throw new TypeError('accounts must be a list');
  for (const [index, account] of (accounts ?? []).entries()) parseAccount(account, `accounts[${index}]`, facts);
  parseKnobs(value['knobs'] ?? {});
  return value as SimulatorConfig;
}

const ACTIONS = [
  'Code',
  'Http',
  'Delay',
  'Reset',
  'Silence',
  'MidReset',
  'MidSilence',
  'Drip',
  'StreamError',
  'Truncated',
];
const RULE_FIELDS = ['id', 'account', 'key', 'model', 'surface', 'header', 'skip', 'times', 'percent', 'action'];

/** A fault rule of the control API. */
export function parseFault(value: unknown): FaultRule {
  if (!isFields(value)) throw new TypeError('a fault must be an object');
  refuseUnknown(value, RULE_FIELDS, 'fault');
  const action = value['action'];
  if (!isFields(action) || !ACTIONS.some((type) => type === action['type']))
    throw new TypeError(`fault.action.type must be one of ${ACTIONS.join(', ')}`);
  return value as unknown as FaultRule;
}

/** A patch of the knobs: sections and names must exist. */
export function parseKnobs(value: unknown): KnobsPatch {
  if (!isFields(value)) throw new TypeError('knobs must be an object');
  const known: Fields = { ...defaultKnobs };
  refuseUnknown(value, Object.keys(known), 'knobs');
  for (const [name, section] of Object.entries(value)) {
    const names = known[name];
    if (isFields(section) && isFields(names)) refuseUnknown(section, Object.keys(names), `knobs.${name}`);
  }
  return value;
}

/** YAML or JSON. */
export function readConfigFile(path: string, facts: Facts): SimulatorConfig {
  return parseConfig(parse(readFileSync(path, 'utf8')) ?? {}, facts);
}

/** The vendor's facts from a file instead of those shipped: sections given replace the shipped ones. */
export function readFactsFile(path: string, shipped: Facts): Facts {
  const given: unknown = parse(readFileSync(path, 'utf8'));
  if (!isFields(given)) throw new TypeError(`${path} must hold an object`);
  refuseUnknown(given, Object.keys(shipped), path);
  return { ...shipped, ...given } as Facts;
}
