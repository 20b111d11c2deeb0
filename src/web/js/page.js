import { startBuyer } from './buyer.js'
import { startOperator } from './operator.js'
import { readProducts, startProducts } from './products.js'
import { startStream } from './stream.js'

const RETRY_MS = 1_500

/**
 * @typedef {{ customers: 'open' | 'tokens', admin: 'open' | 'token' | 'closed', simulator: boolean }} Settings
 * @type {Settings}
 */
const settings = await (await fetch('/web/settings.json')).json()

const { choose } = startBuyer(settings)
startProducts(choose)
startOperator(settings)
while (!(await readProducts())) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
startStream()
