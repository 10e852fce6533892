/** Words of the simulator's configuration and knobs; its control API speaks the same. */

export type Billing = 'CodingPlan' | 'TeamSeat' | 'PayAsYouGo';
export type Region = 'International' | 'China';

/** A window that opens at the first billable use and lasts `durationMs`. */
export interface WindowConfig {
  name: string;
  resource: 'Prompts' | 'Credits';
  /** Whole units; up to three decimals. */
  amount: number;
  durationMs: number;
  /** Code answered when it is used up: 1308 for hours, 1310 for weeks. */
  code?: string;
  /** Words of the 1308 message: `Usage limit reached for <label>`. */
  label?: string;
  /** Row of the monitor API; by default hours, 3 and the duration in hours. */
  row?: { type: string; unit: number; number: number };
  /** Units the vendor lets pass beyond the amount before it notices. */
  tolerance?: number;
}

export interface AccountConfig {
  id: string;
  keys: string[];
  billing?: Billing;
  region?: Region;
  /** Name of a plan of the facts file; its windows come first, then `windows`. */
  plan?: string;
  planExpired?: boolean;
  windows?: WindowConfig[];
  /** Routed models the plan includes; default: those of the facts file, or any known one when paying as one goes. */
  models?: string[];
  /** Calls in flight per routed model; absent = unlimited. `slack` more get through, but count as over-admission. */
  concurrency?: { default?: number; models?: Record<string, number>; slack?: number };
  /** A slot stays taken this long after its response ended. */
  releaseLagMs?: number;
  rate?: { perSecond: number; burst: number; code?: string };
  /** Dollars left for pay-as-you-go calls; absent on such an account = unlimited. */
  balanceUsd?: number;
  /** What one prompt is: every call, or only calls whose last message is the user's own words. */
  promptUnit?: 'Call' | 'UserTurn';
  /** V2 plans weigh prompts by model and hour. */
  weightedPrompts?: boolean;
  /** Calls of MCP tools used this month, as the monitor shows them. */
  mcpUsed?: number;
}

/** How an answer looks when the request says nothing else. Times in real milliseconds. */
export interface AnswerKnobs {
  outputTokens: number;
  reasoningTokens: number;
  /** Of the prompt. */
  cachedPercent: number;
  tokensPerChunk: number;
  firstTokenMs: number;
  totalMs: number;
}

export interface StreamKnobs {
  /** `Cut` breaks frames (and characters) over writes, `Glued` puts several in one write. */
  framing: 'Whole' | 'Cut' | 'Glued';
  comments: boolean;
  lineEnd: 'LF' | 'CRLF';
  /** Chunks carry `object`. */
  object: boolean;
  done: boolean;
  /** `Auto`: in the last content chunk, or in one with empty choices when `include_usage` was asked for. */
  usage: 'Auto' | 'LastChunk' | 'EmptyChoices' | 'None';
}

export interface ErrorKnobs {
  language: 'English' | 'Chinese' | 'ByHeader';
  /** The Anthropic surface sometimes has the code in the message only. */
  messagesCode: boolean;
  unknownPath: 'Error500' | 'NotFound404';
}

export interface AccountingKnobs {
  enforceConcurrency: boolean;
  enforceWindows: boolean;
  /** What a call costs whose client went away, or that the vendor broke off. */
  billAborted: 'Full' | 'Delivered' | 'None';
  /** When the first use counts as the window's start. */
  anchor: 'Arrival' | 'End';
  /** Window that pays for a call running over a reset. */
  chargeTo: 'Arrival' | 'End';
  messagesInputIncludesCached: boolean;
  /** Without `cache_control` the Anthropic surface caches nothing. */
  messagesCacheNeedsMarker: boolean;
}

interface MonitorKnobs {
  answer: 'Normal' | 'BadKey' | 'NoPlan' | 'EmptyLimits' | 'Html502' | 'Hang';
  successCode: 0 | 200;
  omitValues: boolean;
  /** Replaces CREDIT_LIMIT and TOKENS_LIMIT. */
  rowType: string | null;
  reversed: boolean;
  unknownRow: boolean;
  /** Usage is shown as it was this long ago. */
  lagMs: number;
}

export interface Knobs {
  answer: AnswerKnobs;
  stream: StreamKnobs;
  errors: ErrorKnobs;
  accounting: AccountingKnobs;
  monitor: MonitorKnobs;
  /** Connections are cut and new ones closed at once, as if the vendor were gone: turn it through `controlUrl`. */
  isDown: boolean;
}

export type KnobsPatch = { [K in keyof Knobs]?: Knobs[K] extends object ? Partial<Knobs[K]> : Knobs[K] };

/** Everything a simulator starts with; `accounts` defaults to one unlimited account. */
export interface SimulatorConfig {
  region?: Region;
  clock?: { mode?: 'System' | 'Manual'; nowMs?: number };
  knobs?: KnobsPatch;
  accounts?: AccountConfig[];
}

export const defaultKnobs: Knobs = {
  answer: {
    outputTokens: 16,
    reasoningTokens: 0,
    cachedPercent: 0,
    tokensPerChunk: 4,
    firstTokenMs: 0,
    totalMs: 0,
  },
  stream: { framing: 'Whole', comments: false, lineEnd: 'LF', object: true, done: true, usage: 'Auto' },
  errors: { language: 'English', messagesCode: true, unknownPath: 'Error500' },
  accounting: {
    enforceConcurrency: true,
    enforceWindows: true,
    billAborted: 'Delivered',
    anchor: 'Arrival',
    chargeTo: 'End',
    messagesInputIncludesCached: false,
    messagesCacheNeedsMarker: false,
  },
  monitor: {
    answer: 'Normal',
    successCode: 200,
    omitValues: false,
    rowType: null,
    reversed: false,
    unknownRow: false,
    lagMs: 0,
  },
  isDown: false,
};

/** What breaks one call. `afterFrames` counts frames of a stream; a plain answer is cut in its middle. */
export type FaultAction =
  | { type: 'Code'; code: string; status?: number; message?: string }
  | { type: 'Http'; status: number; body?: string; contentType?: string }
  | { type: 'Delay'; ms: number }
  | { type: 'Reset'; afterMs?: number }
  | { type: 'Silence'; forMs?: number }
  | { type: 'MidReset'; afterFrames?: number }
  | { type: 'MidSilence'; afterFrames?: number; forMs?: number }
  | { type: 'Drip'; bytes: number; everyMs: number }
  | { type: 'StreamError'; code: string; afterFrames?: number; message?: string }
  | { type: 'Truncated'; afterFrames?: number };

/** Calls that match everything named here suffer `action`. */
export interface FaultRule {
  id?: string;
  account?: string;
  key?: string;
  /** Requested or routed name. */
  model?: string;
  surface?: 'chat' | 'messages' | 'responses';
  /** A request header with exactly this value. */
  header?: { name: string; value: string };
  /** Matching calls left alone first. */
  skip?: number;
  /** Calls hit before the rule ends; absent = for ever. */
  times?: number;
  /** Of the matching calls, spread evenly. */
  percent?: number;
  action: FaultAction;
}
