/**
 * How much is proved: `npm test` runs the short form, `npm run proof` sets `GLMQUOTA_PROOF=full`. What the short form
 * leaves out is told to `left-out.ts`, so that it can be printed.
 */
export const isFull = process.env['GLMQUOTA_PROOF'] === 'full';
