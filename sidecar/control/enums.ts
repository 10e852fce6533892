/** The closed sets of the protocol beside ours. */
import type { Currency, ErrorClass as CatalogErrorClass } from '../catalog/terms.ts';
import { Billing as WireBilling, ErrorClass as WireErrorClass } from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { Billing } from './terms.ts';

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

const CURRENCY: Readonly<Record<Currency, string>> = { USD: 'USD', CNY: 'CNY' };

export const BILLINGS = inverse(WIRE_BILLING);
export const ERROR_CLASSES = inverse(WIRE_ERROR_CLASS);
export const CURRENCIES = inverse(CURRENCY);

function inverse<K extends string>(record: Readonly<Record<K, unknown>>): ReadonlyMap<unknown, K> {
  return new Map(Object.entries(record).map(([key, value]) => [value, key as K]));
}
