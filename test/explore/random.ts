import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { randomPart } from '../../src/engine/ids.ts'
import type { createRandom } from './chance.ts'

/** Random bytes that a process keeps for ids. */
const POOL = 256

/** From now on whatever is random comes from this chance. */
export function drawFrom(chance: ReturnType<typeof createRandom>): void {
  let is_drawn = false
  const randomBytes = (size: number): Buffer => {
    is_drawn = true
    return chance.bytes(size)
  }
  const hex = () => chance.bytes(16).toString('hex')
  const randomUUID = () => hex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  Object.assign(crypto, { randomBytes, randomUUID })
  Math.random = chance.next
  syncBuiltinESMExports()
  // What was drawn before is used up.
  for (let at = 0; at < POOL && !is_drawn; at += 1) randomPart()
}
