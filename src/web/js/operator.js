import { command, hasToken, onCommand, setToken } from './admin.js'
import { isGood } from './api.js'
import { openCharts } from './charts.js'
import { at, h, mark, say } from './dom.js'
import { startLevers } from './levers.js'
import { readRefunds } from './refunds.js'
import { count } from './words.js'

const LOOK_EVERY_MS = 5_000
/** @type {{ show: (series: any) => void } | undefined} */
let charts

const dash = (/** @type {number | null} */ value, unit = '') =>
  value === null ? '–' : `${count(value)}${unit}`

/** @param {any} desk */
function tilesOf({ refunds_open, journal_entries, journal_age_seconds, fence, workers }) {
  const closed = fence.filter((/** @type {any} */ one) => !one.is_open).length
  const fence_words = closed === 0 ? 'Open' : `${closed} of ${fence.length} closed`
  const age = journal_age_seconds === null ? null : Math.round(journal_age_seconds * 10) / 10
  return [
    { label: 'Refunds due', value: dash(refunds_open), is_alarm: refunds_open > 0 },
    { label: 'Journal entries', value: dash(journal_entries), is_alarm: journal_entries > 10_000 },
    { label: 'Journal age', value: dash(age, ' s'), is_alarm: age !== null && age > 10 },
    { label: 'Fence', value: fence.length === 0 ? '–' : fence_words, is_alarm: closed > 0 },
    ...(workers === null ? [] : [{ label: 'Workers', value: dash(workers), is_alarm: false }]),
  ]
}

/** @param {any} desk */
function showTiles(desk) {
  const tiles = tilesOf(desk)
  const list = at('tiles')
  while (list.children.length < tiles.length) list.append(h('div', {}, h('dt'), h('dd')))
  for (const [nth, { label, value, is_alarm }] of tiles.entries()) {
    const tile = list.children[nth]
    say(tile.firstElementChild, label)
    say(tile.lastElementChild, value)
    mark(tile, 'alarm', is_alarm)
  }
}

/** Reads the desk; answers the status. */
async function look() {
  const answer = await command('GET', '/api/desk')
  if (answer.status === 401) askForToken()
  if (!isGood(answer)) return answer.status
  at('admin-form').hidden = true
  at('desk').hidden = false
  showTiles(answer.body.data)
  charts ??= await openCharts()
  charts.show(answer.body.data.series)
  void readRefunds()
  return answer.status
}

function askForToken() {
  setToken(null)
  at('desk').hidden = true
  at('admin-form').hidden = false
}

/** @param {SubmitEvent} event */
async function enter(event) {
  event.preventDefault()
  setToken(at('admin-token').value.trim())
  const status = await look()
  say(
    at('admin-problem'),
    status === 401
      ? 'That is not the admin token.'
      : status === 200
        ? ''
        : 'The desk can not be read now: try again.',
  )
  if (status !== 200) return
  at('admin-token').value = ''
  at('operator').focus()
}

/** @param {import('./page.js').Settings} settings */
export function startOperator({ admin }) {
  if (admin === 'closed') {
    say(
      at('operator-note'),
      'This service has no admin token and is reached from elsewhere, so nobody may operate it: set ADMIN_TOKEN.',
    )
    return
  }
  at('admin-form').addEventListener('submit', enter)
  at('forget').hidden = admin === 'open'
  at('forget').addEventListener('click', () => {
    askForToken()
    at('admin-token').focus()
  })
  startLevers()
  onCommand(look)
  if (admin === 'open' || hasToken()) void look()
  else askForToken()
  setInterval(() => {
    if (!at('desk').hidden && !document.hidden) void look()
  }, LOOK_EVERY_MS)
}
