/**
 * What one request asks of the simulator: `[[sim tokens=50 ms=200]]` anywhere in its body (the last one counts),
 * or the same words in the header `x-sim`, which wins.
 *
 * tokens, reasoning, cached (percent), prompt (tokens), chunk (tokens), ms, ttft: numbers.
 * tool=name: the answer calls that tool. finish=reason. hold=name: wait for its release before the first byte.
 * midhold=name: wait after the first frame. fault=kind[:argument]: see `faultOf`.
 */
import type { FaultAction } from './terms.ts';

export interface Directive {
  tokens?: number;
  reasoning?: number;
  cached?: number;
  prompt?: number;
  chunk?: number;
  ms?: number;
  ttft?: number;
  tool?: string;
  finish?: string;
  hold?: string;
  midhold?: string;
  fault?: FaultAction | undefined;
  /** A word that says nothing: the call is refused rather than misunderstood. */
  unknown?: string;
}

const OPEN = '[[sim ';
const none: Directive = {};

/** reset · silence · delay:ms · midreset:frames · midsilence:frames · drip:bytes · truncated:frames · code:1302 · http:503 · streamerror:1302 */
function faultOf(text: string): FaultAction | undefined {
  const [kind = '', argument = ''] = text.split(':');
  const amount = argument === '' ? undefined : Number(argument);
  const afterFrames = amount === undefined ? {} : { afterFrames: amount };
  const actions: Record<string, FaultAction> = {
    reset: { type: 'Reset' },
    silence: { type: 'Silence' },
    delay: { type: 'Delay', ms: amount ?? 1000 },
    midreset: { type: 'MidReset', ...afterFrames },
    midsilence: { type: 'MidSilence', ...afterFrames },
    drip: { type: 'Drip', bytes: amount ?? 1, everyMs: 1 },
    truncated: { type: 'Truncated', ...afterFrames },
    code: { type: 'Code', code: argument },
    http: { type: 'Http', status: amount ?? 503 },
    streamerror: { type: 'StreamError', code: argument || '1302' },
  };
  return actions[kind.toLowerCase()];
}

const NUMBERS = new Set(['tokens', 'reasoning', 'cached', 'prompt', 'chunk', 'ms', 'ttft']);
const WORDS = new Set(['tool', 'finish', 'hold', 'midhold']);

function readWords(text: string): Directive {
  const found: Record<string, unknown> = {};
  for (const word of text.trim().split(/\s+/)) {
    const at = word.indexOf('=');
    const name = word.slice(0, at);
    const value = word.slice(at + 1);
    const fault = name === 'fault' ? faultOf(value) : undefined;
    if (NUMBERS.has(name) && Number.isFinite(Number(value))) found[name] = Number(value);
    else if (WORDS.has(name)) found[name] = value;
    else if (fault) found['fault'] = fault;
    else found['unknown'] = word;
  }
  return found as Directive;
}

export function readDirective(body: string, header: string | undefined): Directive {
  if (header !== undefined) return readWords(header);
  const from = body.lastIndexOf(OPEN);
  if (from < 0) return none;
  const to = body.indexOf(']]', from);
  return to < 0 ? none : readWords(body.slice(from + OPEN.length, to));
}
