import type { FastifyReply } from 'fastify'
import type { PlaceHold } from '../engine/holds.ts'
import { problem, sendProblem, sendProblemText } from './problem.ts'

type Refusal = Exclude<PlaceHold, { status: 'placed' | 'replayed' | 'product_not_found' }>

const REASONS = {
  sold_out: 'All units are sold.',
  all_held: 'All units are held or wait for payment; some may come back.',
  too_many: 'Fewer units are free than were asked for.',
}

const NOT_IN_ONE_SHARD =
  'Their stock lives in different shards: hold them one by one. Products that are created with the same shelf can be held together.'

const shortage_texts = new Map<string, string>()
const MAX_TEXTS = 256

/** When all is gone, thousands get the same answer in the same second: its text is made once. */
function shortageText(refusal: Extract<Refusal, { status: 'insufficient_stock' }>): string {
  const { product_id, reason, available } = refusal
  const name = `${product_id} ${reason} ${available}`
  const known = shortage_texts.get(name)
  if (known !== undefined) return known
  if (shortage_texts.size === MAX_TEXTS) shortage_texts.clear()
  const document = problem(refusal.status, REASONS[reason], { product_id, reason, available })
  const text = JSON.stringify(document)
  shortage_texts.set(name, text)
  return text
}

/** Answers a request for a hold that was refused. */
export function sendRefusal(reply: FastifyReply, refusal: Refusal): FastifyReply {
  switch (refusal.status) {
    case 'key_reused':
      return sendProblem(reply, 'idempotency_key_reused')
    case 'not_in_one_shard':
      return sendProblem(reply, 'not_in_one_shard', NOT_IN_ONE_SHARD)
    case 'insufficient_stock': {
      const seconds =
        refusal.reason === 'all_held' ? Math.max(1, Math.floor(refusal.retry_after_ms / 1000)) : undefined
      return sendProblemText(reply, refusal.status, shortageText(refusal), seconds)
    }
    case 'limit_exceeded':
      return sendProblem(reply, refusal.status, undefined, {
        product_id: refusal.product_id,
        limit: refusal.limit,
      })
    default:
      return sendProblem(reply, refusal.status, undefined, { product_id: refusal.product_id })
  }
}
