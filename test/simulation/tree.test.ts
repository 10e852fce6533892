import { testSeeds } from './seeds.ts';
import * as scenarios from './tree-scenarios.ts';

testSeeds(scenarios, {
  limitChanges: 'N4 nothing granted above a limit as it is at that moment, and nobody left waiting',
  reParenting: 'W1 calls counted where they were granted, and nobody left waiting, with a node moving',
  deletedNodes: 'W4 windows that run survive a node that goes and comes back',
  observing: 'N6 nothing granted above a limit that is enforced again',
  freezes: 'N5 nothing granted at a frozen node before its time',
  upheavals: 'inv-I1 nothing above a limit with everything changed at once and pods dying',
  hiddenLimits: 'M1 at most 5 refusals for 100 calls once hidden limits are learnt',
});
