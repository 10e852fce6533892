import * as scenarios from './scenarios.ts';
import { testSeeds } from './seeds.ts';

testSeeds(scenarios, {
  undisturbed: 'inv-I1 nothing above a limit',
  lossyNetwork: 'inv-I5 nothing above a limit, each id charged once, with messages lost, doubled and late',
  crashes: 'inv-L5 slots of dead sidecars come back',
  shortStops: 'T2 nothing above a limit with sidecars stopped for less than a lifetime',
  longStops:
    'T4 no more than twice the limit with sidecars stopped for longer, and nothing charged that was never sent',
  cutOffs: 'F5 no more than twice the limit with sidecars cut off from Redis only',
  skew: 'T1 nothing above a limit with clocks apart by seconds',
  clockSteps: 'T1 nothing above a limit with clocks set by an hour, at most one window more for each step forward',
  localShares: 'F4 no more than its share started by each sidecar while Redis is away',
});
