/**
 * The simulator as a process of its own:
 * `node test/support/glm-simulator/main.ts [--host H] [--port N] [--control-port N] [--config FILE] [--facts FILE] [--cert FILE --key FILE]`
 * Prints one JSON line with its addresses when it is ready; ends on SIGTERM or SIGINT.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readConfigFile, readFactsFile } from './config.ts';
import { vendorFacts } from './facts.ts';
import { startSimulator } from './simulator.ts';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string' },
    config: { type: 'string' },
    facts: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
  },
});

const facts = values.facts === undefined ? vendorFacts : readFactsFile(values.facts, vendorFacts);
const { cert, key } = values;
if ((cert === undefined) !== (key === undefined)) throw new TypeError('--cert and --key belong together');
const controlPort = values['control-port'];
const simulator = await startSimulator({
  facts,
  host: values.host,
  port: Number(values.port),
  config: values.config === undefined ? {} : readConfigFile(values.config, facts),
  ...(controlPort === undefined ? {} : { controlPort: Number(controlPort) }),
  ...(cert === undefined || key === undefined
    ? {}
    : { tls: { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') } }),
});
console.log(JSON.stringify({ event: 'simulator.ready', url: simulator.url, controlUrl: simulator.controlUrl }));
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void simulator.close());
