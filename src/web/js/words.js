const HOUR_S = 3_600
const DAY_S = 86_400
const number = new Intl.NumberFormat('en')

/** @param {number} value */
export const count = (value) => number.format(value)

/** 12:05 or 1:02:03; past a day, days and hours. @param {number} ms */
export function clockOf(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  const two = (/** @type {number} */ value) => String(value).padStart(2, '0')
  if (seconds >= DAY_S) {
    const days = Math.floor(seconds / DAY_S)
    return `${days} ${days === 1 ? 'day' : 'days'} ${Math.floor((seconds % DAY_S) / HOUR_S)} h`
  }
  const minutes = Math.floor((seconds % HOUR_S) / 60)
  if (seconds >= HOUR_S) return `${Math.floor(seconds / HOUR_S)}:${two(minutes)}:${two(seconds % 60)}`
  return `${minutes}:${two(seconds % 60)}`
}

/** 40 s, or as clockOf from two minutes on. @param {number} ms */
export const soonOf = (ms) => (ms < 120_000 ? `${Math.max(0, Math.ceil(ms / 1000))} s` : clockOf(ms))

/** @param {number} unit_amount in minor units @param {string} currency */
export function money(unit_amount, currency) {
  try {
    const format = new Intl.NumberFormat('en', { style: 'currency', currency })
    const digits = format.resolvedOptions().maximumFractionDigits ?? 2
    return format.format(unit_amount / 10 ** digits)
  } catch {
    return `${unit_amount} ${currency}`
  }
}

/** How many minor units a price has in this currency. @param {number} price @param {string} currency */
export function minorUnits(price, currency) {
  const { maximumFractionDigits = 2 } = new Intl.NumberFormat('en', {
    style: 'currency',
    currency,
  }).resolvedOptions()
  return Math.round(price * 10 ** maximumFractionDigits)
}

/**
 * @typedef {{ state: string, starts_at: string | null, ends_at: string | null }} Times
 * @param {Times & { next_chance_at?: string | null }} product @param {number} now_ms
 */
export function stateWords(product, now_ms) {
  switch (product.state) {
    case 'available':
      return 'On sale'
    case 'all_held': {
      const left_ms = product.next_chance_at ? Date.parse(product.next_chance_at) - now_ms : 0
      return left_ms > 0
        ? `All held, next chance in ${soonOf(left_ms)}`
        : 'All held, the next chance may come at any moment'
    }
    case 'sold_out':
      return 'Sold out'
    case 'not_started':
      return 'Not started yet'
    case 'ended':
      return 'The sale has ended'
    default:
      return 'Paused'
  }
}

/** The countdown to the start or the end of the sale, or nothing. @param {Times} product @param {number} now_ms */
export function countdownWords({ state, starts_at, ends_at }, now_ms) {
  const until = (/** @type {string} */ at) => clockOf(Date.parse(at) - now_ms)
  if (state === 'not_started' && starts_at) return `Starts in ${until(starts_at)}`
  if (state !== 'ended' && ends_at) return `Ends in ${until(ends_at)}`
  return ''
}
