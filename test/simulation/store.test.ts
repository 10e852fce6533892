import { testSeeds } from './seeds.ts';
import * as scenarios from './store-scenarios.ts';

testSeeds(scenarios, {
  stalls: 'T3 nothing above a limit with Redis standing still',
  restarts: 'T7 nothing above a limit with Redis restarting',
  lostSuffixes: 'F5 nothing above a limit with Redis restarting without its last writes, windows short of those only',
  lossyFailOver: 'F5 nothing above a limit after a fail-over that forgot the last writes, once all have registered',
  totalLoss: 'F3 nothing above a limit when all is lost, windows short of what came after the checkpoint only',
  splits: 'F5 no more than twice the limit while the network is split',
  cutOffsWithFailOver: 'F5 no more than twice the limit with sidecars cut off and a replica taking over meanwhile',
  slotMoves: 'F6 nothing above a limit, and no call lost, with the slot of the tree moving',
  shortages: 'F1 nothing above a limit with no memory left or no operator there',
});
