import type { Sample } from '../figures.ts'
import type { Ground } from '../ground.ts'
import type { HttpRequest } from '../load/jobs.ts'
import type { Options } from '../options.ts'
import type { Stage } from '../stage.ts'

/** What a scenario works with. `samples` is what the run has measured so far. */
export type Context = {
  stage: Stage
  ground: Ground
  options: Options
  samples: Sample[]
  say: (line: string) => void
}

const JSON_HEADERS = { 'content-type': 'application/json' }

/** A hold of one unit. */
export function holdRequest(product_id: number): HttpRequest {
  return {
    method: 'POST',
    path: '/api/holds',
    headers: JSON_HEADERS,
    body: JSON.stringify({ product_id, qty: 1 }),
  }
}

export const readRequest = (product_id: number): HttpRequest => ({
  method: 'GET',
  path: `/api/products/${product_id}`,
})
