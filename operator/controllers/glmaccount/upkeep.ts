/** What is looked after in a tree that Redis holds: that its configuration is ours (W5), and that its counters add up. */
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { EventRecorder, Happening } from '../../runtime/events.ts';
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import type { AuditReport } from '../../../sidecar/engine/terms.ts';
import type { Revision, TreeConfig, TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import type { TreeMetrics } from '../metrics.ts';
import { GLM_ACCOUNTS } from '../world/kinds.ts';
import type { TreeHashes } from '../world/tree-hashes.ts';
import { compareFences } from './plan.ts';

const COMPARE_MS = 10_000;
const AUDIT_MS = 600_000;
const SHOWN_DRIFTS = 3;
const ROTATED = ", and the account's sidecars get another password";
const NOT_ROTATED = '. All sidecars share one Redis user, which the operator cannot give another password';

export interface UpkeepOptions {
  readonly engine: Pick<AdminEngine, 'config' | 'fingerprint' | 'snapshot' | 'configure' | 'audit' | 'hashOf'>;
  readonly hashes: TreeHashes;
  readonly recorder: Pick<EventRecorder, 'record'>;
  /** Gives the account's sidecars another password at Redis; null: all sidecars share a user that somebody else made. */
  readonly rotate: ((account: TreeConfig['account'], signal: AbortSignal) => Promise<void>) | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: TreeMetrics;
}

interface Times {
  comparedMs: number;
  auditedMs: number;
}

/** A record as we wrote it. */
interface Written {
  readonly revision: string;
  readonly fingerprint: string | null;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #times = new Map<TreeKey, Times>();
  readonly #written = new Map<TreeKey, Written>();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** Does what is due for this tree, which Redis holds under `revision`. Fails when Redis cannot be asked. */
  async look(tree: TreeConfig, revision: Revision, signal: AbortSignal): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const times = this.#times.get(tree.key) ?? { comparedMs: nowMs, auditedMs: nowMs };
    this.#times.set(tree.key, times);
    if (this.#written.get(tree.key)?.revision !== this.#name(tree, revision)) await this.#take(tree, revision, signal);
    if (nowMs - times.comparedMs >= COMPARE_MS) {
      await this.#compare(tree, revision, signal);
      times.comparedMs = nowMs;
    }
    if (nowMs - times.auditedMs >= AUDIT_MS) {
      await this.#audit(tree, signal);
      times.auditedMs = nowMs;
    }
  }

  async #compare(tree: TreeConfig, revision: Revision, signal: AbortSignal): Promise<void> {
    const { rotate, metrics, log } = this.#options;
    if (await this.#isOurs(tree, revision, signal)) return;
    // Of a newer leader, which we are told with the next look.
    if (await this.#isNewer(tree, revision, signal)) return;
    // First: were it to fail once the record is repaired, nobody would try it again.
    await rotate?.(tree.account, signal);
    if (!(await this.#write(tree, revision, signal))) return;
    metrics.repairs.inc();
    log.error('tree.repaired', { tree: tree.key });
    this.#tell(tree, {
      type: 'Warning',
      reason: 'ConfigRepaired',
      action: 'Compare',
      note: `the configuration in Redis was not the one the operator wrote; it was written again${rotate === null ? NOT_ROTATED : ROTATED}. Whoever may write it there is not one of our sidecars`,
    });
  }

  /**
   * Notes what the whole record is like when nobody but us has written it; for that it is written once more. Where that
   * cannot be, its text is compared alone until it can.
   */
  async #take(tree: TreeConfig, revision: Revision, signal: AbortSignal): Promise<void> {
    try {
      await this.#write(tree, revision, signal);
    } catch (reason) {
      if (signal.aborted) throw reason;
      this.#options.log.debug('tree.notTaken', { tree: tree.key, cause: AppError.from(reason).message });
    }
  }

  /** False: a newer leader has written another. */
  async #write(tree: TreeConfig, revision: Revision, signal: AbortSignal): Promise<boolean> {
    const { engine } = this.#options;
    const { kind } = await engine.configure(tree, revision, {}, signal);
    if (kind !== 'applied') return false;
    const fingerprint = await engine.fingerprint(tree.key, signal);
    this.#written.set(tree.key, { revision: this.#name(tree, revision), fingerprint });
    return true;
  }

  #name(tree: TreeConfig, { leaseCreatedMs, transitions, generation }: Revision): string {
    return [leaseCreatedMs, transitions, generation, this.#options.hashes.of(tree)].join(' ');
  }

  /**
   * Whether the record reads back as what was written: its text, and what the engine goes by. A record that cannot be
   * read is not ours.
   */
  async #isOurs(tree: TreeConfig, revision: Revision, signal: AbortSignal): Promise<boolean> {
    const { engine, hashes } = this.#options;
    try {
      const held = await engine.config(tree.key, signal);
      if (held === null || engine.hashOf(held) !== hashes.of(tree)) return false;
      const written = this.#written.get(tree.key);
      if (written?.revision !== this.#name(tree, revision)) return true;
      return written.fingerprint === (await engine.fingerprint(tree.key, signal));
    } catch (reason) {
      return notReadable(reason);
    }
  }

  /** Whether the record says that a newer leader wrote it: what we are to compare it with is outdated then. */
  async #isNewer(tree: TreeConfig, revision: Revision, signal: AbortSignal): Promise<boolean> {
    try {
      const held = await this.#options.engine.snapshot(tree.key, signal);
      return held !== null && compareFences(held.revision, revision) > 0;
    } catch (reason) {
      return notReadable(reason);
    }
  }

  async #audit(tree: TreeConfig, signal: AbortSignal): Promise<void> {
    const { engine, metrics, log } = this.#options;
    let report: AuditReport;
    try {
      report = await engine.audit(tree.key, signal);
    } catch (reason) {
      const error = AppError.from(reason);
      if (error.code === 'cancelled') throw error;
      metrics.audits.inc({ result: 'failed' });
      log.warn('tree.auditFailed', { tree: tree.key, cause: error.message });
      return;
    }
    metrics.audits.inc({ result: report.drifts.length === 0 ? 'clean' : 'drift' });
    if (report.drifts.length === 0) return;
    log.error('tree.drift', { tree: tree.key, drifts: report.drifts.length });
    this.#tell(tree, { type: 'Warning', reason: 'AuditFailed', action: 'Audit', note: describeDrifts(report) });
  }

  #tell({ account }: TreeConfig, happening: Happening): void {
    const { namespace, name, uid } = account;
    const regarding = { apiVersion: API_VERSION, kind: GLM_ACCOUNTS.kind, namespace, name, uid };
    this.#options.recorder.record(regarding, happening);
  }
}

/** False, unless Redis could not be asked. */
function notReadable(reason: unknown): false {
  const error = AppError.from(reason);
  if (error.transient || error.code === 'cancelled') throw error;
  return false;
}

function describeDrifts({ drifts }: AuditReport): string {
  const shown = drifts
    .slice(0, SHOWN_DRIFTS)
    .map(({ node, counter, stored, recounted }) => `${node} ${counter} is ${stored}, its leases say ${recounted}`);
  const more = drifts.length > SHOWN_DRIFTS ? `, and ${drifts.length - SHOWN_DRIFTS} more` : '';
  return `counters differ from a recount: ${shown.join('; ')}${more}. Please report this`;
}
