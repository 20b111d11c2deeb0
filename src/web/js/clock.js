/** By how much the service's clock is ahead of this one. A header tells whole seconds, so less than two say nothing. */
const TRUSTED_MS = 2_000
const TICK_MS = 250
let ahead_ms = 0

/** @param {number} service_ms what the service's clock said a moment ago */
export function setClock(service_ms) {
  const difference_ms = service_ms + 500 - Date.now()
  ahead_ms = Math.abs(difference_ms) < TRUSTED_MS ? 0 : difference_ms
}

/** The time by the service's clock, in ms. */
export const now = () => Date.now() + ahead_ms

/** Calls a few times a second, for whatever counts down. @param {() => void} update */
export function onTick(update) {
  setInterval(update, TICK_MS)
}
