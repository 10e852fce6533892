/** One JSON line an event. Never bodies, header values or keys. */
import { pino } from 'pino';

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>;

export interface Log {
  /** `event` is a dotted constant such as `lease.expired`; facts go into `fields`. */
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields & { readonly cause?: string }): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Log;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

type Sink = Pick<ReturnType<typeof pino>, 'debug' | 'info' | 'warn' | 'error' | 'child'>;

function wrap(sink: Sink): Log {
  return {
    debug: (event, fields) => sink.debug({ event, ...fields }),
    info: (event, fields) => sink.info({ event, ...fields }),
    warn: (event, fields) => sink.warn({ event, ...fields }),
    error: (event, fields) => sink.error({ event, ...fields }),
    with: (fields) => wrap(sink.child(fields)),
  };
}

/** Logs to standard output, synchronously: what was logged before a crash is there. */
export function createLog(level: LogLevel): Log {
  return wrap(
    pino({
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    }),
  );
}
