/** The closed sets of the protocol beside ours. */
import type { Currency, ErrorClass as CatalogErrorClass } from '../catalog/terms.ts';
import type { WaitPolicy } from '../engine/terms.ts';
import type { PriorityClass } from '../engine/tree-terms.ts';
import {
  Billing as WireBilling,
  Durability as WireDurability,
  ErrorClass as WireErrorClass,
  PriorityClass as WirePriorityClass,
  StorePolicy as WireStorePolicy,
  WaitMode as WireWaitMode,
} from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { Billing, SidecarSnapshot, StoreFailurePolicy } from './terms.ts';

type Durability = SidecarSnapshot['binding']['durability'];

export const WIRE_BILLING: Readonly<Record<Billing, WireBilling>> = {
  CodingPlan: WireBilling.CODING_PLAN,
  TeamSeat: WireBilling.TEAM_SEAT,
  PayAsYouGo: WireBilling.PAY_AS_YOU_GO,
};

export const WIRE_ERROR_CLASS: Readonly<Record<CatalogErrorClass, WireErrorClass>> = {
  Concurrency: WireErrorClass.CONCURRENCY,
  Rate: WireErrorClass.RATE,
  Overload: WireErrorClass.OVERLOAD,
  Quota: WireErrorClass.QUOTA,
  AccountStop: WireErrorClass.ACCOUNT_STOP,
  ClientError: WireErrorClass.CLIENT_ERROR,
  Retry: WireErrorClass.RETRY,
};

export const WIRE_WAIT_MODE: Readonly<Record<WaitPolicy['mode'], WireWaitMode>> = {
  Reject: WireWaitMode.REJECT,
  UntilSlot: WireWaitMode.UNTIL_SLOT,
  UntilWindow: WireWaitMode.UNTIL_WINDOW,
};

export const WIRE_PRIORITY_CLASS: Readonly<Record<PriorityClass, WirePriorityClass>> = {
  System: WirePriorityClass.SYSTEM,
  High: WirePriorityClass.HIGH,
  Normal: WirePriorityClass.NORMAL,
  Low: WirePriorityClass.LOW,
};

export const WIRE_DURABILITY: Readonly<Record<Durability, WireDurability>> = {
  Async: WireDurability.ASYNC,
  Strict: WireDurability.STRICT,
};

export const WIRE_STORE_POLICY: Readonly<Record<StoreFailurePolicy['policy'], WireStorePolicy>> = {
  Closed: WireStorePolicy.CLOSED,
  LocalShare: WireStorePolicy.LOCAL_SHARE,
  Open: WireStorePolicy.OPEN,
};

const CURRENCY: Readonly<Record<Currency, string>> = { USD: 'USD', CNY: 'CNY' };

export const BILLINGS = inverse(WIRE_BILLING);
export const ERROR_CLASSES = inverse(WIRE_ERROR_CLASS);
export const WAIT_MODES = inverse(WIRE_WAIT_MODE);
export const PRIORITY_CLASSES = inverse(WIRE_PRIORITY_CLASS);
export const DURABILITIES = inverse(WIRE_DURABILITY);
export const STORE_POLICIES = inverse(WIRE_STORE_POLICY);
export const CURRENCIES = inverse(CURRENCY);

function inverse<K extends string>(record: Readonly<Record<K, unknown>>): ReadonlyMap<unknown, K> {
  return new Map(Object.entries(record).map(([key, value]) => [value, key as K]));
}
