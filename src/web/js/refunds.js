import { command, sayOutcome } from './admin.js'
import { isGood } from './api.js'
import { at, h } from './dom.js'
import { money } from './words.js'

const PATH = '/api/payments?outcome=refund_due&refunded=false&limit=20'
let shown = ''

/** @param {any} payment */
function rowOf({ idempotency_key, order_id, amount, currency, reason }) {
  const sum = amount === null || currency === null ? 'The whole amount' : money(amount, currency)
  const why = String(reason ?? '').replaceAll('_', ' ')
  const button = h('button', { type: 'button', className: 'small' }, 'Paid back')
  button.setAttribute('aria-label', `${sum} of ${order_id} is paid back`)
  button.addEventListener('click', async () => {
    button.disabled = true
    const answer = await command('POST', `/api/payments/${encodeURIComponent(idempotency_key)}/refunded`)
    button.disabled = false
    sayOutcome(answer, `${sum} of ${order_id} is noted as paid back.`)
  })
  const code = h('code', { className: 'muted' }, order_id)
  return h('li', {}, h('span', { className: 'name' }, `${sum}${why ? `, ${why}` : ''} `, code), button)
}

/** Lists the payments whose money has to go back. */
export async function readRefunds() {
  const answer = await command('GET', PATH)
  if (!isGood(answer)) return
  const { data } = answer.body
  const keys = JSON.stringify(data)
  if (keys === shown) return
  shown = keys
  const none = h('li', { className: 'muted' }, 'None: no money has to go back.')
  at('refunds').replaceChildren(...(data.length === 0 ? [none] : data.map(rowOf)))
}
