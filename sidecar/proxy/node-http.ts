/**
 * `node:http` without its ES module facade: that one reads every export, among them lazy ones that load Node's whole
 * fetch and WebSocket code: time and memory of every start for nothing.
 */
import type { createServer as CreateServer } from 'node:http';

export const createServer: typeof CreateServer = process.getBuiltinModule('node:http').createServer;
