import { at, say } from './dom.js'
import { allProducts, onProducts, takeStock } from './products.js'

/** Browsers give up on a stream that was refused; it is asked for again, at random so that not all come at once. */
const RETRY_MS = 1_500
/** @type {EventSource | undefined} */
let source
let followed = ''

/** @param {'connecting' | 'live' | 'lost'} state */
function tell(state) {
  at('link').dataset.state = state
  say(at('link-words'), { connecting: 'Connecting', live: 'Live', lost: 'Reconnecting' }[state])
}

function stop() {
  source?.close()
  source = undefined
  followed = ''
}

/** Follows all products over one connection: a browser has only six for all its tabs. */
function follow() {
  const wanted = allProducts()
    .map(({ id }) => id)
    .join(',')
  if (document.hidden || wanted === '' || wanted === followed) return
  stop()
  followed = wanted
  const stream = new EventSource(`/api/stock/stream?product_ids=${wanted}`)
  source = stream
  stream.addEventListener('open', () => tell('live'))
  stream.addEventListener('stock', (event) => takeStock(JSON.parse(event.data)))
  stream.addEventListener('error', () => {
    tell('lost')
    if (stream.readyState !== EventSource.CLOSED || source !== stream) return
    stop()
    setTimeout(follow, RETRY_MS * (0.5 + Math.random()))
  })
}

/** Follows the stock of all products, and of those that come, while somebody looks. */
export function startStream() {
  onProducts(follow)
  follow()
  if (followed === '') tell('live')
  document.addEventListener('visibilitychange', () => (document.hidden ? stop() : follow()))
}
